//! What workers do to maps and queues.

use super::drive::{Driver, Performed};
use super::gate::Gate;
use super::ledger::{MapBook, QueueBook, Tag};
use crate::generate::{KEY_BYTES, KeyStream, Stream};
use crate::script::{MapOp, Mix, QueueOp};
use rheostat_runtime::map::{BytesMap, CounterMap};
use rheostat_runtime::queue::{HostedQueue, PopError, PushError};
use rheostat_runtime::sync::Arc;
use std::time::Duration;

/// How long a worker waits on a queue before it looks whether the phase has ended.
const PATIENCE: Duration = Duration::from_millis(10);

/// Chooses among operations by weight.
#[derive(Debug)]
pub(super) struct Chooser<O> {
    /// Each with the sum of the weights up to it.
    ops: Vec<(u64, O)>,
    total: u64,
    stream: Stream,
}

impl<O: Copy> Chooser<O> {
    pub fn new(mix: &Mix<O>, stream: Stream) -> Self {
        let mut total = 0;
        let ops = mix.0.iter().map(|(op, weight)| {
            total += weight;
            (total, *op)
        });
        Self { ops: ops.collect(), total, stream }
    }

    /// The operation at `index` and its place in the mix.
    #[inline]
    fn at(&self, index: u64) -> (usize, O) {
        let draw = self.stream.below(index, self.total);
        let place = self.ops.iter().position(|(sum, _)| draw < *sum).unwrap_or(0);
        (place, self.ops[place].1)
    }
}

/// A map as a worker sees it.
pub(super) trait Loaded: Send {
    /// What is put in.
    type Value: Send;
    fn value(&self, key: u64) -> Self::Value;
    fn get(&self, key: &[u8]) -> bool;
    fn insert(&self, key: &[u8], value: Self::Value, book: &mut MapBook) -> bool;
    fn update(&self, key: &[u8], value: Self::Value, book: &mut MapBook) -> bool;
    fn remove(&self, key: &[u8], book: &mut MapBook) -> bool;
}

/// Counters: `insert` sets to 1, `update` adds one. So an update that comes to 1 has found nothing there.
pub(super) struct Counters(pub Arc<CounterMap>);

impl Loaded for Counters {
    type Value = ();

    fn value(&self, _: u64) {}

    fn get(&self, key: &[u8]) -> bool {
        self.0.get(key).is_some()
    }

    fn insert(&self, key: &[u8], (): (), book: &mut MapBook) -> bool {
        match self.0.insert(key, 1) {
            Ok(replaced) => {
                book.acknowledged += 1;
                book.net += 1 - i128::from(replaced.unwrap_or(0));
                replaced.is_some()
            }
            Err(_) => refused(book),
        }
    }

    fn update(&self, key: &[u8], (): (), book: &mut MapBook) -> bool {
        match self.0.add(key, 1) {
            Ok(sum) => {
                book.acknowledged += 1;
                book.net += 1;
                sum != 1
            }
            Err(_) => refused(book),
        }
    }

    fn remove(&self, key: &[u8], book: &mut MapBook) -> bool {
        let removed = self.0.remove(key);
        if let Some(value) = removed {
            book.acknowledged += 1;
            book.net -= i128::from(value);
        }
        removed.is_some()
    }
}

/// Byte strings of one length, the key's number in front.
pub(super) struct Bytes(pub Arc<BytesMap>, pub usize);

impl Loaded for Bytes {
    type Value = Arc<[u8]>;

    fn value(&self, key: u64) -> Arc<[u8]> {
        let mut value = vec![0xa5; self.1];
        value.iter_mut().zip(key.to_le_bytes()).for_each(|(to, from)| *to = from);
        value.into()
    }

    fn get(&self, key: &[u8]) -> bool {
        self.0.get(key).is_some()
    }

    fn insert(&self, key: &[u8], value: Arc<[u8]>, book: &mut MapBook) -> bool {
        match self.0.insert(key, value) {
            Ok(replaced) => {
                book.acknowledged += 1;
                replaced.is_some()
            }
            Err(_) => refused(book),
        }
    }

    fn update(&self, key: &[u8], value: Arc<[u8]>, book: &mut MapBook) -> bool {
        self.insert(key, value, book)
    }

    fn remove(&self, key: &[u8], book: &mut MapBook) -> bool {
        let removed = self.0.remove(key).is_some();
        book.acknowledged += u64::from(removed);
        removed
    }
}

fn refused(book: &mut MapBook) -> bool {
    book.refused += 1;
    false
}

/// A mix of operations on a map.
pub(super) struct MapLoad<M> {
    pub map: M,
    pub keys: KeyStream,
    pub ops: Chooser<MapOp>,
    pub book: MapBook,
}

/// An operation on a map about to be done.
pub(super) struct MapAsk<V> {
    place: usize,
    op: MapOp,
    key: [u8; KEY_BYTES],
    value: Option<V>,
}

impl<M: Loaded> Driver for MapLoad<M> {
    type Op = MapAsk<M::Value>;

    #[inline]
    fn draw(&mut self, index: u64) -> Self::Op {
        let (place, op) = self.ops.at(index);
        let key = self.keys.at(index);
        // Made here, so that the making is not timed.
        let value = matches!(op, MapOp::Insert | MapOp::Update).then(|| self.map.value(key));
        MapAsk { place, op, key: KeyStream::spell(key), value }
    }

    #[inline]
    fn perform(&mut self, ask: Self::Op, _: &Gate) -> Option<Performed> {
        let book = &mut self.book;
        let hit = match (ask.op, ask.value) {
            (MapOp::Insert, Some(value)) => self.map.insert(&ask.key, value, book),
            (MapOp::Update, Some(value)) => self.map.update(&ask.key, value, book),
            (MapOp::Remove, _) => self.map.remove(&ask.key, book),
            _ => self.map.get(&ask.key),
        };
        Some(Performed { op: ask.place, hit })
    }
}

/// Every key of a range put in once.
pub(super) struct Fill<M> {
    pub map: M,
    pub first: u64,
    pub book: MapBook,
}

impl<M: Loaded> Driver for Fill<M> {
    type Op = (u64, M::Value);

    fn draw(&mut self, index: u64) -> Self::Op {
        let key = self.first + index;
        (key, self.map.value(key))
    }

    fn perform(&mut self, (key, value): Self::Op, _: &Gate) -> Option<Performed> {
        Some(Performed { op: 0, hit: self.map.insert(&KeyStream::spell(key), value, &mut self.book) })
    }
}

/// One worker's end of a queue.
pub(super) struct End {
    pub queue: Arc<HostedQueue>,
    /// Names this worker in the tags of what it pushes.
    pub producer: u64,
    pub bytes: usize,
    /// Items tagged so far.
    pub tagged: u64,
    pub book: QueueBook,
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

    /// Pops, waiting for an item; `None` when the phase ended before there was one.
    fn pop(&mut self, gate: &Gate) -> Option<Box<[u8]>> {
        let mut waiting = None;
        loop {
            match self.queue.pop_timeout(PATIENCE) {
                Ok(item) => {
                    self.book.pop(&item);
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
}

impl Driver for QueueLoad {
    type Op = (usize, Option<(Tag, Box<[u8]>)>);

    fn draw(&mut self, index: u64) -> Self::Op {
        let (place, op) = self.ops.at(index);
        (place, matches!(op, QueueOp::Push).then(|| self.end.item()))
    }

    fn perform(&mut self, (op, item): Self::Op, gate: &Gate) -> Option<Performed> {
        match item {
            Some(item) => self.end.push(item, gate).then_some(Performed { op, hit: true }),
            None => self.end.pop(gate).map(|_| Performed { op, hit: true }),
        }
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

    fn perform(&mut self, item: Self::Op, gate: &Gate) -> Option<Performed> {
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

    fn perform(&mut self, (): (), gate: &Gate) -> Option<Performed> {
        let _ = self.recv.pop(gate)?;
        let answer = self.send.item();
        self.send.push(answer, gate).then_some(Performed { op: 0, hit: true })
    }
}
