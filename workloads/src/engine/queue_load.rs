//! What workers do to queues.

use super::chooser::Chooser;
use super::drive::{Driver, Performed};
use super::gate::Gate;
use super::ledger::{self, QueueBook, Tag};
use crate::script::QueueOp;
use rheostat_runtime::observe::{Moment, Spread};
use rheostat_runtime::queue::{HostedQueue, PopError, PushError};
use rheostat_runtime::sync::Arc;
use std::time::Duration;

/// How long a worker waits on a queue before it looks whether the phase has ended.
const PATIENCE: Duration = Duration::from_millis(10);

/// One worker's end of a queue.
pub(super) struct End {
    pub queue: Arc<HostedQueue>,
    /// Names this worker in the tags of what it pushes.
    pub producer: u64,
    pub bytes: usize,
    /// Items tagged so far.
    pub tagged: u64,
    pub book: QueueBook,
    /// Times from when items set out to when they came out here, of those that say when they did.
    pub transit: Arc<Spread>,
    /// False for a worker that only serves others: its waiting holds nobody up.
    pub counted: bool,
}

impl End {
    /// A fresh item with the next tag.
    fn item(&mut self) -> (Tag, Box<[u8]>) {
        let tag = Tag { producer: self.producer, sequence: self.tagged };
        self.tagged += 1;
        let mut item = vec![0; self.bytes].into_boxed_slice();
        tag.stamp(&mut item);
        (tag, item)
    }

    /// Pushes, waiting for room; false when the phase ended before there was any.
    fn push(&mut self, (tag, mut item): (Tag, Box<[u8]>), gate: &Gate) -> bool {
        let mut waiting = None;
        loop {
            match self.queue.push_timeout(item, PATIENCE) {
                Ok(()) => {
                    self.book.push(tag);
                    return true;
                }
                Err(PushError::Full(back)) if !gate.is_stopped() => item = back,
                Err(_) => return false,
            }
            waiting = waiting.or_else(|| self.counted.then(|| gate.wait()));
        }
    }

    /// Pushes if there is room; says whether there was.
    fn offer(&mut self, (tag, item): (Tag, Box<[u8]>)) -> bool {
        let pushed = self.queue.try_push(item).is_ok();
        if pushed {
            self.book.push(tag);
        }
        pushed
    }

    /// Pops, waiting for an item; `None` when the phase ended before there was one.
    fn pop(&mut self, gate: &Gate) -> Option<Box<[u8]>> {
        let mut waiting = None;
        loop {
            match self.queue.pop_timeout(PATIENCE) {
                Ok(item) => {
                    self.book.pop(&item);
                    if let Some(since) = ledger::since(&item) {
                        self.transit.record(since.elapsed().as_nanos() as u64);
                    }
                    return Some(item);
                }
                Err(PopError::Empty) if !gate.is_stopped() => {}
                Err(_) => return None,
            }
            waiting = waiting.or_else(|| self.counted.then(|| gate.wait()));
        }
    }
}

/// A mix of pushes and pops.
pub(super) struct QueueLoad {
    pub end: End,
    pub ops: Chooser<QueueOp>,
    /// Whether a push waits for room.
    pub waits: bool,
}

impl Driver for QueueLoad {
    type Op = (usize, QueueOp, Option<(Tag, Box<[u8]>)>);

    fn draw(&mut self, index: u64) -> Self::Op {
        let (place, op) = self.ops.at(index);
        (place, op, (op != QueueOp::Pop).then(|| self.end.item()))
    }

    fn perform(&mut self, (place, op, item): Self::Op, since: Option<Moment>, gate: &Gate) -> Option<Performed> {
        let mut hit = true;
        if let Some((tag, mut item)) = item {
            since.inspect(|since| ledger::set_out(&mut item, *since));
            hit = if self.waits { self.end.push((tag, item), gate) } else { self.end.offer((tag, item)) };
            if self.waits && !hit {
                return None;
            }
        }
        // Of a pair whose push was refused, nothing is there to take.
        if op != QueueOp::Push && hit {
            self.end.pop(gate)?;
        }
        Some(Performed { op: place, hit })
    }
}

/// Pushes to one queue and waits for the answer in the other.
pub(super) struct RoundTrips {
    pub send: End,
    pub recv: End,
}

impl Driver for RoundTrips {
    type Op = (Tag, Box<[u8]>);

    fn draw(&mut self, _: u64) -> Self::Op {
        self.send.item()
    }

    fn perform(&mut self, item: Self::Op, _: Option<Moment>, gate: &Gate) -> Option<Performed> {
        if !self.send.push(item, gate) {
            return None;
        }
        self.recv.pop(gate).map(|_| Performed { op: 0, hit: true })
    }
}

/// Pops from one queue and answers in the other. An answer carries a tag of the echo's own: the order of a queue is
/// that of who pushed to it.
pub(super) struct Echoes {
    pub recv: End,
    pub send: End,
}

impl Driver for Echoes {
    type Op = ();

    fn draw(&mut self, _: u64) {}

    fn perform(&mut self, (): (), _: Option<Moment>, gate: &Gate) -> Option<Performed> {
        let _ = self.recv.pop(gate)?;
        let answer = self.send.item();
        self.send.push(answer, gate).then_some(Performed { op: 0, hit: true })
    }
}
