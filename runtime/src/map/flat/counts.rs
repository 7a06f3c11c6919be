//! What a map counts: per thread, and off the path of a read that meets nobody.

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Inserted,
    Removed,
    /// A read found a writer inside, or that one had been, and was begun again.
    Retried,
    /// A read gave up trying and took the lock.
    FellBack,
    /// A writer found another inside.
    Contended,
    /// A writer moved a stripe to the next table.
    Helped,
    MovedBuckets,
    /// A table gave its entries to another.
    Outgrown,
}

const COUNTS: usize = Count::Outgrown as usize + 1;

#[cfg(not(any(rt_loom, rt_shuttle)))]
pub(super) use live::Counts;
#[cfg(any(rt_loom, rt_shuttle))]
pub(super) use modelled::Counts;

#[cfg(not(any(rt_loom, rt_shuttle)))]
mod live {
    use super::{COUNTS, Count};
    use crate::observe::{Cells, Moment, Snapshot, Spread, now};

    #[derive(Default)]
    pub(in super::super) struct Counts {
        cells: Cells<COUNTS>,
        waits: Spread,
    }

    impl Counts {
        #[inline(always)]
        pub(in super::super) fn add(&self, count: Count, n: u64) {
            self.cells.add(count as usize, n);
        }

        pub(in super::super) fn sum(&self, count: Count) -> u64 {
            self.cells.sum(count as usize)
        }

        /// The start of a wait, which is taken once a try has failed.
        pub(in super::super) fn start_wait(&self) -> Moment {
            now()
        }

        pub(in super::super) fn end_wait(&self, start: Moment) {
            self.waits.record(start.elapsed().as_nanos() as u64);
        }

        pub(in super::super) fn waits(&self) -> Snapshot {
            self.waits.snapshot()
        }
    }
}

/// A model checks what a map does, not what it counts; its growth is begun by hand.
#[cfg(any(rt_loom, rt_shuttle))]
mod modelled {
    use super::{COUNTS, Count};

    #[derive(Default)]
    pub(in super::super) struct Counts;

    impl Counts {
        pub(in super::super) fn add(&self, count: Count, _: u64) {
            debug_assert!((count as usize) < COUNTS);
        }

        pub(in super::super) fn sum(&self, _: Count) -> u64 {
            0
        }

        pub(in super::super) fn start_wait(&self) {}

        pub(in super::super) fn end_wait(&self, (): ()) {}
    }
}
