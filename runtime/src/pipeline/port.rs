//! The bounded queue in front of a stage, its dials and its counters.

use super::batch::{Batch, Parcel};
use crate::observe::Cells;
use crate::queue::{CapacityError, PopError, PushError, Ring};
use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

const ENQUEUED: usize = 0;
const DEQUEUED: usize = 1;

/// A ring of parcels. Its capacity is a dial up to what was allocated; so is the batch size that those who push
/// read once per batch.
pub(super) struct Port<B: Batch> {
    ring: Ring<Parcel<B>>,
    batch_limit: AtomicUsize,
    /// Records in and out; depth is their difference, so it cannot drift.
    items: Cells<2>,
}

impl<B: Batch> Port<B> {
    pub fn new(capacity: usize, capacity_max: usize, batch_limit: usize) -> Result<Self, CapacityError> {
        let ring = Ring::with_allocation(capacity, capacity_max)?;
        Ok(Self { ring, batch_limit: AtomicUsize::new(batch_limit), items: Cells::new() })
    }

    /// Records at most in a batch that is put in here.
    pub fn batch_limit(&self) -> usize {
        // Relaxed: a dial. A batch begun before the turn may be of the old size.
        self.batch_limit.load(Relaxed)
    }

    /// Turns the batch size; returns the one before.
    pub fn set_batch_limit(&self, limit: usize) -> usize {
        self.batch_limit.swap(limit, Relaxed)
    }

    pub fn capacity(&self) -> usize {
        self.ring.limit()
    }

    pub fn set_capacity(&self, capacity: usize) -> Result<usize, CapacityError> {
        self.ring.set_limit(capacity)
    }

    pub fn try_push(&self, parcel: Parcel<B>) -> Result<(), PushError<Parcel<B>>> {
        let records = parcel.batch.len() as u64;
        self.ring.try_push(parcel)?;
        self.items.add(ENQUEUED, records);
        Ok(())
    }

    /// Waits for room. A port is closed under a producer only when its pipeline is abandoned, and then the parcel
    /// is dropped with it.
    pub fn push(&self, parcel: Parcel<B>) {
        let records = parcel.batch.len() as u64;
        if self.ring.push(parcel).is_ok() {
            self.items.add(ENQUEUED, records);
        }
    }

    pub fn try_pop(&self) -> Result<Parcel<B>, PopError> {
        self.count(self.ring.try_pop())
    }

    pub fn pop_until(&self, give_up: impl Fn() -> bool, timeout: Duration) -> Result<Parcel<B>, PopError> {
        self.count(self.ring.pop_until(give_up, Some(timeout)))
    }

    fn count(&self, popped: Result<Parcel<B>, PopError>) -> Result<Parcel<B>, PopError> {
        popped.inspect(|parcel| self.items.add(DEQUEUED, parcel.batch.len() as u64))
    }

    pub fn wake_consumers(&self) {
        self.ring.wake_consumers();
    }

    pub fn close(&self) {
        self.ring.close();
    }

    pub fn is_drained(&self) -> bool {
        self.ring.is_closed() && self.ring.is_empty()
    }

    /// Records put in and taken out so far. Taken out is read first; even so it may be ahead by a push in flight, which
    /// is counted once it has succeeded.
    pub fn items(&self) -> (u64, u64) {
        let dequeued = self.items.sum(DEQUEUED);
        (self.items.sum(ENQUEUED), dequeued)
    }

    pub fn batches(&self) -> usize {
        self.ring.len()
    }
}
