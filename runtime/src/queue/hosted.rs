//! A queue of byte strings that a host runs, with limits and counters; its kind and its capacity turn.

use super::{CapacityError, Closed, HandOver, HandOverError, Kind, PopError, PushError, Queue};
use crate::observe::families::*;
use crate::observe::{
    self, Address, AddressError, Cells, Knob, Moment, Range, Reading, Resource, Spread, TurnError, Turned, Value,
    is_sampled, now, words,
};
use crate::sync::{Arc, thread};
use std::time::{Duration, Instant};

/// As far as the capacity of a hosted queue turns. A ring of so many items is 1.5 MiB.
pub const HOSTED_CAPACITY_MAX: usize = 1 << 16;

/// How long a turn waits for consumers to drain what was there; what is left then drains on.
const SETTLE_LIMIT: Duration = Duration::from_millis(50);

const REJECTED_FULL: usize = 0;
const REJECTED_CLOSED: usize = 1;
const EMPTY_POPS: usize = 2;
const FULL_NS: usize = 3;
const EMPTY_NS: usize = 4;
const ENQUEUED: usize = 5;
const DEQUEUED: usize = 6;

/// Why a hosted queue cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostedQueueError {
    /// The name breaks the rule for names.
    #[error(transparent)]
    Name(#[from] AddressError),
    /// The capacity is out of its range.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
}

/// A bounded queue of byte strings: `queue.NAME`, knobs `kind` and `capacity`.
///
/// Pushes and pops are those of [`Queue`], FIFO for each producer. Turning loses nothing: a queue turned down refuses
/// pushes, or lets them wait, until it has drained below; one turned to another kind pops what it held before what is
/// pushed from then on.
#[derive(Debug)]
pub struct HostedQueue {
    address: Address,
    queue: Queue<Item>,
    counters: Cells<7>,
    waits: Spread,
}

struct Item {
    bytes: Box<[u8]>,
    /// When it was pushed, for those that are timed.
    pushed: Option<Moment>,
}

impl Item {
    fn new(bytes: Box<[u8]>) -> Self {
        Self { bytes, pushed: is_sampled().then(now) }
    }
}

fn bytes_back(error: PushError<Item>) -> PushError<Box<[u8]>> {
    match error {
        PushError::Full(item) => PushError::Full(item.bytes),
        PushError::Closed(item) => PushError::Closed(item.bytes),
    }
}

impl HostedQueue {
    /// An empty queue of that kind and capacity.
    ///
    /// # Errors
    /// A name that is none, or a capacity of 0 or above [`HOSTED_CAPACITY_MAX`].
    pub fn new(name: &str, kind: Kind, capacity: usize) -> Result<Arc<Self>, HostedQueueError> {
        let address = Address::new(observe::Kind::Queue, name)?;
        if capacity > HOSTED_CAPACITY_MAX {
            return Err(CapacityError { requested: capacity, max: HOSTED_CAPACITY_MAX }.into());
        }
        let queue =
            Queue::new(kind, capacity).map_err(|_| CapacityError { requested: capacity, max: HOSTED_CAPACITY_MAX })?;
        Ok(Arc::new(Self { address, queue, counters: Cells::new(), waits: Spread::new() }))
    }

    /// Pushes if there is room.
    ///
    /// # Errors
    /// Full or closed; the item comes back.
    pub fn try_push(&self, item: Box<[u8]>) -> Result<(), PushError<Box<[u8]>>> {
        self.pushed(self.queue.try_push(Item::new(item)))
    }

    /// Pushes, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// Still full at the end of that time, or closed; the item comes back.
    pub fn push_timeout(&self, item: Box<[u8]>, timeout: Duration) -> Result<(), PushError<Box<[u8]>>> {
        let item = match self.queue.try_push(Item::new(item)) {
            Err(PushError::Full(item)) => item,
            pushed => return self.pushed(pushed),
        };
        // The clock is read only once the queue was found full.
        let began = now();
        let pushed = self.queue.push_timeout(item, timeout);
        self.counters.add(FULL_NS, began.elapsed().as_nanos() as u64);
        self.pushed(pushed)
    }

    /// Pops if there is something.
    ///
    /// # Errors
    /// Empty, or closed and drained.
    pub fn try_pop(&self) -> Result<Box<[u8]>, PopError> {
        self.popped(self.queue.try_pop())
    }

    /// Pops, waiting for an item for at most `timeout`.
    ///
    /// # Errors
    /// Still empty at the end of that time, or closed and drained.
    pub fn pop_timeout(&self, timeout: Duration) -> Result<Box<[u8]>, PopError> {
        if let Ok(item) = self.queue.try_pop() {
            return self.popped(Ok(item));
        }
        let began = now();
        let popped = self.queue.pop_timeout(timeout);
        self.counters.add(EMPTY_NS, began.elapsed().as_nanos() as u64);
        self.popped(popped)
    }

    /// Pushes all of `items` in their order, waiting for room without holding the thread, on any executor. Dropped
    /// before it is done, it leaves in `items` what was not pushed; who gives up on that
    /// [counts it](Self::count_rejected).
    ///
    /// # Errors
    /// Closed; what was not pushed stays in `items`.
    pub async fn push_all_async(&self, items: &mut Vec<Box<[u8]>>) -> Result<(), Closed> {
        let left = items.drain(..).map(Item::new).collect();
        let mut pushing = Pushing { left, given: items };
        self.count(ENQUEUED, self.queue.push_bulk(&mut pushing.left));
        if pushing.left.is_empty() {
            return Ok(());
        }
        let _waiting = self.waiting(FULL_NS);
        while !pushing.left.is_empty() {
            self.count(ENQUEUED, self.queue.push_bulk_async(&mut pushing.left).await?);
        }
        Ok(())
    }

    /// Pops, waiting for an item without holding the thread, on any executor. Dropped before it is done, it has taken
    /// nothing; who gives up then [counts that](Self::count_empty_pop).
    ///
    /// # Errors
    /// Closed and drained.
    pub async fn pop_async(&self) -> Result<Box<[u8]>, Closed> {
        if let Ok(item) = self.queue.try_pop() {
            return Ok(self.taken(item));
        }
        let _waiting = self.waiting(EMPTY_NS);
        self.queue.pop_async().await.map(|item| self.taken(item))
    }

    /// Counts items whose push was given up, as [`try_push`](Self::try_push) does by itself.
    pub fn count_rejected(&self, items: usize) {
        self.count(if self.is_closed() { REJECTED_CLOSED } else { REJECTED_FULL }, items);
    }

    /// Counts a pop that was given up, as [`try_pop`](Self::try_pop) does by itself.
    pub fn count_empty_pop(&self) {
        self.count(EMPTY_POPS, 1);
    }

    /// Closes the queue: pushes fail from now on, what is in it can still be popped.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Items in the queue, give or take operations in flight.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Items the queue takes before it is full.
    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// The kind in force; `None` when closed.
    pub fn kind(&self) -> Option<Kind> {
        self.queue.kind()
    }

    fn pushed(&self, pushed: Result<(), PushError<Item>>) -> Result<(), PushError<Box<[u8]>>> {
        let (counter, pushed) = match pushed {
            Ok(()) => (ENQUEUED, Ok(())),
            Err(error @ PushError::Full(_)) => (REJECTED_FULL, Err(bytes_back(error))),
            Err(error @ PushError::Closed(_)) => (REJECTED_CLOSED, Err(bytes_back(error))),
        };
        self.counters.add(counter, 1);
        pushed
    }

    fn popped(&self, popped: Result<Item, PopError>) -> Result<Box<[u8]>, PopError> {
        popped.inspect_err(|_| self.counters.add(EMPTY_POPS, 1)).map(|item| self.taken(item))
    }

    fn taken(&self, item: Item) -> Box<[u8]> {
        self.counters.add(DEQUEUED, 1);
        if let Some(pushed) = item.pushed {
            self.waits.record(pushed.elapsed().as_nanos() as u64);
        }
        item.bytes
    }

    fn count(&self, cell: usize, items: usize) {
        self.counters.add(cell, items as u64);
    }

    /// Begins a wait: its time goes into `cell` when it ends, however it does.
    fn waiting(&self, cell: usize) -> Waiting<'_> {
        Waiting { counters: &self.counters, cell, began: now() }
    }

    /// True when nothing is left of a hand-over, or not after a while.
    fn settles(&self) -> bool {
        let began = Instant::now();
        while !self.queue.settle() {
            if began.elapsed() > SETTLE_LIMIT {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

/// Items on their way in; those that did not get there go back to their owner, also when the push is given up.
struct Pushing<'i> {
    left: Vec<Item>,
    given: &'i mut Vec<Box<[u8]>>,
}

impl Drop for Pushing<'_> {
    fn drop(&mut self) {
        self.given.extend(self.left.drain(..).map(|item| item.bytes));
    }
}

struct Waiting<'q> {
    counters: &'q Cells<7>,
    cell: usize,
    began: Moment,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counters.add(self.cell, self.began.elapsed().as_nanos() as u64);
    }
}

const KIND: &str = "kind";
const CAPACITY: &str = "capacity";
const KINDS: Range = Range::Choice(&words!(Kind));

impl Resource for HostedQueue {
    fn address(&self) -> &Address {
        &self.address
    }

    fn read(&self, reading: &mut Reading) {
        // What was taken out first. An item can be popped before its producer has counted it, hence the floor at 0.
        let popped = self.counters.sum(DEQUEUED);
        let pushed = self.counters.sum(ENQUEUED);
        reading.total(&QUEUE_ENQUEUED, &[], pushed);
        reading.total(&QUEUE_DEQUEUED, &[], popped);
        reading.level(&QUEUE_DEPTH, &[], pushed.saturating_sub(popped) as f64);
        reading.level(&QUEUE_CAPACITY, &[], self.capacity() as f64);
        reading.total(&QUEUE_REJECTED, &["full"], self.counters.sum(REJECTED_FULL));
        reading.total(&QUEUE_REJECTED, &["closed"], self.counters.sum(REJECTED_CLOSED));
        reading.total(&QUEUE_EMPTY_POPS, &[], self.counters.sum(EMPTY_POPS));
        if let Some(failures) = self.queue.cas_failures() {
            reading.total(&QUEUE_CAS_FAILURES, &["push"], failures.pushes);
            reading.total(&QUEUE_CAS_FAILURES, &["pop"], failures.pops);
        }
        reading.total(&QUEUE_FULL_TIME, &[], self.counters.sum(FULL_NS));
        reading.total(&QUEUE_EMPTY_TIME, &[], self.counters.sum(EMPTY_NS));
        reading.spread(&QUEUE_WAIT, &[], self.waits.snapshot());
        for kind in Kind::ALL {
            reading.level(&QUEUE_KIND, &[kind.as_str()], f64::from(u8::from(self.kind() == Some(kind))));
        }
        // Also the look that leaves a drained structure behind when nobody pops any more.
        reading.level(&QUEUE_HANDING_OVER, &[], f64::from(u8::from(!self.queue.settle())));
    }

    fn knobs(&self) -> Vec<Knob> {
        // Closed, it has no kind that could be turned.
        let kind = self.kind().map(|kind| Knob {
            name: KIND,
            value: Value::Choice(kind.as_str().into()),
            range: KINDS,
            unit: "",
            help: "The structure that holds the items; what it held is popped before what is pushed into the next.",
        });
        let capacity = Knob {
            name: CAPACITY,
            value: Value::Integer(self.capacity() as i64),
            range: Range::Integer { min: 1, max: HOSTED_CAPACITY_MAX as i64 },
            unit: "items",
            help: "Items the queue takes before those who push are held back; turned down it drains, losing nothing.",
        };
        kind.into_iter().chain([capacity]).collect()
    }

    fn turn(&self, knob: &str, to: &Value) -> Result<Turned, TurnError> {
        let began = Instant::now();
        let failed = |why: HandOverError| TurnError::Failed { knob: knob.to_owned(), why: why.to_string() };
        let from = match to {
            Value::Choice(kind) => {
                let kind = kind.parse().expect("the registry checked the word");
                let HandOver { kind, .. } = self.queue.set_kind(kind).map_err(failed)?;
                Value::Choice(kind.as_str().into())
            }
            Value::Integer(capacity) => {
                let HandOver { capacity, .. } = self.queue.set_capacity(*capacity as usize).map_err(failed)?;
                Value::Integer(capacity as i64)
            }
        };
        let settled = self.settles();
        Ok(Turned { from, to: to.clone(), took: began.elapsed(), settled, reason: None })
    }

    fn settled(&self, _knob: &str, _to: &Value) -> Option<Result<(), TurnError>> {
        self.queue.settle().then_some(Ok(()))
    }
}
