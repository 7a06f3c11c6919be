//! Stalls of backends whose waiting cannot be seen from outside: one operation in 64 of each thread's is timed, and those
//! that took long are kept.
//!
//! Of operations on a map that stays: while it is handed over, waits for stripes are told instead. What is timed is the backend's work, the map's short closures included. A long one need not have waited for another
//! thread: it may have grown the table, met a page fault, or lost its core meanwhile. So a stall says that somebody
//! waited, not for what.

use super::structure::{Operation, Structure};
use crate::observe::{Cells, Snapshot, Spread, is_due, now, passes, space};
use std::time::Duration;

/// A sampled operation that took longer than this has stalled. A hundred cache misses in a row take less, and so does any
/// operation that waits for nothing. A power of two of nanoseconds: an exact bound of the exported histogram.
pub(super) const STALL: Duration = Duration::from_nanos(1 << 14);

/// What is kept of the operations that were timed.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    timed: Cells<1>,
    long: Spread,
}

/// What sampling has found on backends that do not show contention: `lock_free`, `papaya` and `fixed`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SampledStalls {
    /// Operations that were timed, one in 64.
    pub timed: u64,
    /// How long those took that took over 16.4 us, in nanoseconds; [`Snapshot::count`] is how many.
    pub stalls: Snapshot,
}

impl Stalls {
    /// Does an operation on a structure, and times it if it is one of the sample.
    #[inline(always)]
    pub(super) fn sampled<K, V, S, O>(&self, operation: O, structure: &S) -> O::Output
    where
        S: Structure<K, V>,
        O: Operation<K, V>,
    {
        if is_due() { self.time(operation, structure) } else { operation.on(structure) }
    }

    /// A glance, but at what is to be timed.
    #[inline(always)]
    pub(super) fn unless_sampled<R>(&self, glance: impl FnOnce() -> Option<R>) -> Option<R> {
        if passes() { glance() } else { None }
    }

    #[cold]
    #[inline(never)]
    fn time<K, V, S, O>(&self, operation: O, structure: &S) -> O::Output
    where
        S: Structure<K, V>,
        O: Operation<K, V>,
    {
        space();
        let began = now();
        let output = operation.on(structure);
        let took = began.elapsed();
        self.timed.add(0, 1);
        if took > STALL {
            self.long.record(took.as_nanos() as u64);
        }
        output
    }

    pub(super) fn look(&self) -> SampledStalls {
        SampledStalls { timed: self.timed.sum(0), stalls: self.long.snapshot() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::keyed::keyed;
    use super::super::lock_free::LockFree;
    use super::super::record::Record;
    use super::*;
    use crate::sync::thread;

    /// Takes its time, whatever the structure.
    struct Take(Duration);

    impl Operation<u64, u64> for Take {
        type Output = ();

        fn hash(&self) -> u64 {
            0
        }

        fn on<S: Structure<u64, u64>>(self, _: &S) {
            if !self.0.is_zero() {
                thread::sleep(self.0);
            }
        }
    }

    #[test]
    fn one_operation_in_64_is_timed_and_the_long_ones_kept() {
        let map = LockFree::<u64, u64>::with_capacity(keyed(), &Record::default(), 0);
        let stalls = Stalls::default();
        (0..64_000).for_each(|_| stalls.sampled(Take(Duration::ZERO), &map));
        let quick = stalls.look();
        assert!((800..1200).contains(&quick.timed), "{} of 64000 were timed", quick.timed);
        while stalls.look().timed < quick.timed + 3 {
            stalls.sampled(Take(2 * STALL), &map);
        }
        let slow = stalls.look().stalls.since(&quick.stalls);
        assert!(slow.count() == 3 && slow.quantile(0.0) > Some(STALL.as_nanos() as u64), "{slow:?}");
    }
}
