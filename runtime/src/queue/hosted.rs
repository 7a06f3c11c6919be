//! A queue of byte strings that a host runs: the ring, with limits, counters and a capacity that turns.

use super::{CapacityError, PopError, PushError, Ring};
use crate::observe::families::*;
use crate::observe::{
    Address, AddressError, Cells, Kind, Knob, Range, Reading, Resource, TurnError, Turned, Value, now,
};
use crate::sync::Arc;
use std::time::{Duration, Instant};

/// Slots allocated for a hosted queue: how far its capacity can be turned up. 1.5 MiB.
pub const HOSTED_CAPACITY_MAX: usize = 1 << 16;

const REJECTED_FULL: usize = 0;
const REJECTED_CLOSED: usize = 1;
const EMPTY_POPS: usize = 2;
const FULL_NS: usize = 3;
const EMPTY_NS: usize = 4;

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

/// A bounded queue of byte strings: `queue.NAME`, knob `capacity`.
///
/// Pushes and pops are those of [`Ring`], FIFO for each producer; a capacity turned down loses nothing, pushes wait or
/// are refused until the queue has drained below it.
#[derive(Debug)]
pub struct HostedQueue {
    address: Address,
    ring: Ring<Box<[u8]>>,
    counters: Cells<5>,
}

impl HostedQueue {
    /// An empty queue of that capacity.
    ///
    /// # Errors
    /// A name that is none, or a capacity of 0 or above [`HOSTED_CAPACITY_MAX`].
    pub fn new(name: &str, capacity: usize) -> Result<Arc<Self>, HostedQueueError> {
        let address = Address::new(Kind::Queue, name)?;
        let ring = Ring::with_allocation(capacity, HOSTED_CAPACITY_MAX)?;
        Ok(Arc::new(Self { address, ring, counters: Cells::new() }))
    }

    /// Pushes if there is room.
    ///
    /// # Errors
    /// Full or closed; the item comes back.
    pub fn try_push(&self, item: Box<[u8]>) -> Result<(), PushError<Box<[u8]>>> {
        self.ring.try_push(item).inspect_err(|error| self.reject(error))
    }

    /// Pushes, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// Still full at the end of that time, or closed; the item comes back.
    pub fn push_timeout(&self, item: Box<[u8]>, timeout: Duration) -> Result<(), PushError<Box<[u8]>>> {
        let item = match self.ring.try_push(item) {
            Err(PushError::Full(item)) => item,
            pushed => return pushed.inspect_err(|error| self.reject(error)),
        };
        // The clock is read only once the queue was found full.
        let began = now();
        let pushed = self.ring.push_timeout(item, timeout).inspect_err(|error| self.reject(error));
        self.counters.add(FULL_NS, began.elapsed().as_nanos() as u64);
        pushed
    }

    /// Pops if there is something.
    ///
    /// # Errors
    /// Empty, or closed and drained.
    pub fn try_pop(&self) -> Result<Box<[u8]>, PopError> {
        self.ring.try_pop().inspect_err(|_| self.counters.add(EMPTY_POPS, 1))
    }

    /// Pops, waiting for an item for at most `timeout`.
    ///
    /// # Errors
    /// Still empty at the end of that time, or closed and drained.
    pub fn pop_timeout(&self, timeout: Duration) -> Result<Box<[u8]>, PopError> {
        if let Ok(item) = self.ring.try_pop() {
            return Ok(item);
        }
        let began = now();
        let popped = self.ring.pop_timeout(timeout).inspect_err(|_| self.counters.add(EMPTY_POPS, 1));
        self.counters.add(EMPTY_NS, began.elapsed().as_nanos() as u64);
        popped
    }

    /// Closes the queue: pushes fail from now on, what is in it can still be popped.
    pub fn close(&self) {
        self.ring.close();
    }

    /// Items in the queue, give or take operations in flight.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Items the queue takes before it is full.
    pub fn capacity(&self) -> usize {
        self.ring.limit()
    }

    fn reject(&self, error: &PushError<Box<[u8]>>) {
        let reason = if matches!(error, PushError::Full(_)) { REJECTED_FULL } else { REJECTED_CLOSED };
        self.counters.add(reason, 1);
    }
}

const CAPACITY: &str = "capacity";

impl Resource for HostedQueue {
    fn address(&self) -> &Address {
        &self.address
    }

    fn read(&self, reading: &mut Reading) {
        // What was taken out first, so that the depth is never negative.
        let popped = self.ring.popped();
        let pushed = self.ring.pushed();
        reading.total(&QUEUE_ENQUEUED, &[], pushed);
        reading.total(&QUEUE_DEQUEUED, &[], popped);
        reading.level(&QUEUE_DEPTH, &[], pushed.saturating_sub(popped) as f64);
        reading.level(&QUEUE_CAPACITY, &[], self.capacity() as f64);
        reading.total(&QUEUE_REJECTED, &["full"], self.counters.sum(REJECTED_FULL));
        reading.total(&QUEUE_REJECTED, &["closed"], self.counters.sum(REJECTED_CLOSED));
        reading.total(&QUEUE_EMPTY_POPS, &[], self.counters.sum(EMPTY_POPS));
        reading.total(&QUEUE_FULL_TIME, &[], self.counters.sum(FULL_NS));
        reading.total(&QUEUE_EMPTY_TIME, &[], self.counters.sum(EMPTY_NS));
    }

    fn knobs(&self) -> Vec<Knob> {
        vec![Knob {
            name: CAPACITY,
            value: Value::Integer(self.capacity() as i64),
            range: Range::Integer { min: 1, max: HOSTED_CAPACITY_MAX as i64 },
            unit: "items",
            help: "Items the queue takes before those who push are held back; turned down it drains, losing nothing.",
        }]
    }

    fn turn(&self, _capacity: &str, to: &Value) -> Result<Turned, TurnError> {
        let began = Instant::now();
        let Value::Integer(capacity) = *to else { unreachable!("the registry checked the type of the capacity") };
        let failed = |why: CapacityError| TurnError::Failed { knob: CAPACITY.into(), why: why.to_string() };
        let from = self.ring.set_limit(capacity as usize).map_err(failed)?;
        Ok(Turned { from: Value::Integer(from as i64), to: to.clone(), took: began.elapsed(), settled: true })
    }
}
