//! A hosted counter's cell: added to in place, under a shared lock or none at all.
//!
//! Somebody who removes an entry must report its exact value, yet on a backend without locks others may still hold
//! the cell they found just before. So the last value is taken by swapping in `CLOSED`, and a cell once closed takes
//! nothing more.
//! I1  Every add that succeeds is in the value that `close` returns, or in the cell: both are one atomic's history.
//! I2  An add that meets a closed cell did nothing. Its caller looks the key up again, and does not find this cell:
//!     it was unlinked before it was closed.
//! Why this is linearizable: whoever adds to a cell that is already unlinked has found it before, so began before
//! the removal did its unlinking. Those adds, in the order of the atomic, count as made just then, and the removal
//! right after them.
//! O1  All accesses are Relaxed: the count is the only datum, one atomic has one order, and cells are published by
//!     the map's own synchronisation.
//! Progress: lock-free.

use crate::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// The word of a counter whose value has been taken out.
const CLOSED: i64 = i64::MIN;

/// A counter that stops at `-i64::MAX` and `i64::MAX`.
#[derive(Debug)]
pub struct Counter(AtomicI64);

/// A copy of the value as it stands; of a closed counter, one that is closed.
impl Clone for Counter {
    fn clone(&self) -> Self {
        Self(AtomicI64::new(self.0.load(Relaxed)))
    }
}

impl Counter {
    pub(super) fn new(value: i64) -> Self {
        Self(AtomicI64::new(within(value)))
    }

    /// The value; `None` once closed.
    pub(super) fn value(&self) -> Option<i64> {
        Some(self.0.load(Relaxed)).filter(|&value| value != CLOSED)
    }

    /// Adds and returns the new value; `None`, and nothing done, once closed.
    pub(super) fn add(&self, n: i64) -> Option<i64> {
        let step = |value: i64| (value != CLOSED).then(|| within(value.saturating_add(n)));
        self.0.fetch_update(Relaxed, Relaxed, step).ok().map(|old| within(old.saturating_add(n)))
    }

    /// Puts a value in and returns the one before; `None`, and nothing done, once closed.
    pub(super) fn replace(&self, value: i64) -> Option<i64> {
        self.0.fetch_update(Relaxed, Relaxed, |old| (old != CLOSED).then(|| within(value))).ok()
    }

    /// Takes the value out for good. The cell must have been unlinked from its map (I2), which happens once.
    pub(super) fn close(&self) -> i64 {
        let last = self.0.swap(CLOSED, Relaxed);
        debug_assert_ne!(last, CLOSED, "a counter was taken out twice");
        last
    }
}

/// `CLOSED` is no value of a counter.
fn within(value: i64) -> i64 {
    value.max(-i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_at_both_ends() {
        let counter = Counter::new(i64::MIN);
        assert_eq!(counter.value(), Some(-i64::MAX));
        assert_eq!(counter.add(-1), Some(-i64::MAX));
        assert_eq!(counter.replace(i64::MAX - 1), Some(-i64::MAX));
        assert_eq!(counter.add(i64::MAX), Some(i64::MAX));
    }

    #[test]
    fn takes_nothing_more_once_closed() {
        let counter = Counter::new(4);
        assert_eq!((counter.add(3), counter.close()), (Some(7), 7));
        assert_eq!((counter.add(1), counter.replace(1), counter.value()), (None, None, None));
    }
}
