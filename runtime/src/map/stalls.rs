//! Stalls of backends whose waiting cannot be seen from outside: one operation in 64 of each thread's is timed, and those
//! that took long are kept.
//!
//! What is timed is the backend's work, the map's short closures included. A long one need not have waited for another
//! thread: it may have grown the table, met a page fault, or lost its core meanwhile. So a stall says that somebody
//! waited, not for what.

use crate::observe::{Cells, Moment, Snapshot, Spread, is_sampled, now};
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
    /// Begins to watch an operation, if it is one of the sample. Ends when what is returned is dropped.
    #[inline(always)]
    pub(super) fn watch(&self) -> Option<Watch<'_>> {
        if is_sampled() { Some(self.start()) } else { None }
    }

    #[cold]
    fn start(&self) -> Watch<'_> {
        Watch { stalls: self, began: now() }
    }

    pub(super) fn look(&self) -> SampledStalls {
        SampledStalls { timed: self.timed.sum(0), stalls: self.long.snapshot() }
    }
}

/// An operation that is being timed.
pub(super) struct Watch<'s> {
    stalls: &'s Stalls,
    began: Moment,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.stalls.timed.add(0, 1);
        if took > STALL {
            self.stalls.long.record(took.as_nanos() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::thread;

    #[test]
    fn one_operation_in_64_is_timed_and_the_long_ones_kept() {
        let stalls = Stalls::default();
        (0..64_000).for_each(|_| drop(stalls.watch()));
        let quick = stalls.look();
        assert!((800..1200).contains(&quick.timed), "{} of 64000 were timed", quick.timed);
        while stalls.look().timed < quick.timed + 3 {
            let watch = stalls.watch();
            if watch.is_some() {
                thread::sleep(2 * STALL);
            }
        }
        let slow = stalls.look().stalls.since(&quick.stalls);
        assert!(slow.count() == 3 && slow.quantile(0.0) > Some(STALL.as_nanos() as u64), "{slow:?}");
    }
}
