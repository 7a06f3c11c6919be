//! What a map counts: per thread, and off the path of a read that meets nobody.
//!
//! Entries that came and went are a table set's own, and their difference is its length. Everything else is what
//! operations met, and may be shared with whoever had the map's entries before: a hand-over starts with no entries, but
//! no total ever falls.

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

#[cfg(any(rt_loom, rt_shuttle))]
const COUNTS: usize = Count::Outgrown as usize + 1;

#[cfg(not(any(rt_loom, rt_shuttle)))]
pub(super) use live::Counts;
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub(in crate::map) use live::Met;
#[cfg(any(rt_loom, rt_shuttle))]
pub(super) use modelled::Counts;

#[cfg(not(any(rt_loom, rt_shuttle)))]
mod live {
    use super::Count;
    use crate::observe::{Cells, Moment, Snapshot, Spread, now};
    use crate::sync::Arc;

    /// Counts before this one are of entries.
    const FIRST_MET: usize = Count::Retried as usize;
    const MET: usize = Count::Outgrown as usize + 1 - FIRST_MET;

    /// What operations met.
    #[derive(Default)]
    pub(in crate::map) struct Met {
        cells: Cells<MET>,
        waits: Spread,
    }

    impl Met {
        pub(in super::super) fn sum(&self, count: Count) -> u64 {
            self.cells.sum(count as usize - FIRST_MET)
        }

        /// Writers' waits for one another.
        pub(in crate::map) fn waits(&self) -> Snapshot {
            self.waits.snapshot()
        }
    }

    #[derive(Default)]
    pub(in super::super) struct Counts {
        entries: Cells<FIRST_MET>,
        met: Arc<Met>,
    }

    impl Counts {
        /// Of a map that has been on such tables before, perhaps.
        pub(in super::super) fn beside(met: Arc<Met>) -> Self {
            Self { entries: Cells::new(), met }
        }

        #[inline(always)]
        pub(in super::super) fn add(&self, count: Count, n: u64) {
            match (count as usize).checked_sub(FIRST_MET) {
                None => self.entries.add(count as usize, n),
                Some(met) => self.met.cells.add(met, n),
            }
        }

        pub(in super::super) fn sum(&self, count: Count) -> u64 {
            match count {
                Count::Inserted | Count::Removed => self.entries.sum(count as usize),
                _ => self.met.sum(count),
            }
        }

        /// The start of a wait, which is taken once a try has failed.
        pub(in super::super) fn start_wait(&self) -> Moment {
            now()
        }

        pub(in super::super) fn end_wait(&self, start: Moment) {
            self.met.waits.record(start.elapsed().as_nanos() as u64);
        }

        pub(in super::super) fn waits(&self) -> Snapshot {
            self.met.waits()
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
