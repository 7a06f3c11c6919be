//! Levels and totals of a map on flat tables, for those who look.

use super::counts::Count;
#[cfg(not(any(rt_loom, rt_shuttle)))]
use super::counts::Met;
use super::tables::Tables;
use super::words::Plain;
use crate::reclaim;

/// A look at a map: levels, and totals since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FlatStatistics {
    /// Entries.
    pub entries: usize,
    /// Home buckets of the current table.
    pub buckets: usize,
    /// Buckets linked behind full ones.
    pub spares: usize,
    /// Memory set aside for tables, in bytes; parts that were never touched need not be resident.
    pub bytes: usize,
    /// Reads begun again, as a writer was inside.
    pub read_retries: u64,
    /// Reads that took the lock after 64 tries.
    pub read_fallbacks: u64,
    /// Writes that waited for another.
    pub contentions: u64,
    /// Stripes moved to another table.
    pub helps: u64,
    /// Buckets moved to another table.
    pub moved_buckets: u64,
    /// Tables left for another.
    pub resizes: u64,
    /// Stripes that the move under way has done, and how many it has; 0 of 0 while nothing moves.
    pub move_progress: (usize, usize),
}

/// What operations met while a map was on `flat`, in all that time together. Nothing in it ever falls.
#[cfg(not(any(rt_loom, rt_shuttle)))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FlatTotals {
    /// Reads begun again, as a writer was inside.
    pub read_retries: u64,
    /// Reads that took the lock after 64 tries.
    pub read_fallbacks: u64,
    /// Stripes that writers moved to another table in passing.
    pub helps: u64,
    /// Buckets moved to another table.
    pub moved_buckets: u64,
    /// Tables left for another.
    pub resizes: u64,
}

#[cfg(not(any(rt_loom, rt_shuttle)))]
impl Met {
    pub(in crate::map) fn totals(&self) -> FlatTotals {
        FlatTotals {
            read_retries: self.sum(Count::Retried),
            read_fallbacks: self.sum(Count::FellBack),
            helps: self.sum(Count::Helped),
            moved_buckets: self.sum(Count::MovedBuckets),
            resizes: self.sum(Count::Outgrown),
        }
    }
}

impl<K: Plain, V: Plain> Tables<K, V> {
    pub(super) fn statistics(&self) -> FlatStatistics {
        let guard = reclaim::pin();
        let table = self.current(&guard);
        let counts = &self.counts;
        let next = table.next();
        FlatStatistics {
            entries: self.len(),
            buckets: table.buckets(),
            spares: table.spares.in_use() + next.map_or(0, |next| next.spares.in_use()),
            bytes: table.bytes() + next.map_or(0, |next| next.bytes()),
            read_retries: counts.sum(Count::Retried),
            read_fallbacks: counts.sum(Count::FellBack),
            contentions: counts.sum(Count::Contended),
            helps: counts.sum(Count::Helped),
            moved_buckets: counts.sum(Count::MovedBuckets),
            resizes: counts.sum(Count::Outgrown),
            move_progress: next.map_or((0, 0), |_| (table.growth.moved(), table.stripes())),
        }
    }

    /// Shows how many buckets there are in each of about so many chains, spread evenly over the table.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub(super) fn glance(&self, chains: usize, mut show: impl FnMut(usize)) {
        let guard = reclaim::pin();
        let table = self.current(&guard);
        for index in (0..table.buckets()).step_by(table.buckets().div_ceil(chains)) {
            // None where the chain has moved on.
            let buckets = table.bucket(index).glance_length();
            if buckets > 0 {
                show(buckets);
            }
        }
    }

    /// How full the table is, and how far a key that is not there is looked for.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub(super) fn shape(&self) -> crate::map::TableShape {
        use super::bucket::Bucket;
        use crate::map::shape::{CHAINS, TableShape};
        let mut shape = TableShape::default();
        self.glance(CHAINS, |buckets| shape.look_at(buckets));
        let guard = reclaim::pin();
        let table = self.current(&guard);
        shape.load = self.len() as f64 / (table.buckets() * Bucket::<K, V>::SLOTS) as f64;
        shape.moved = table.next().map(|_| table.growth.moved() as f64 / table.stripes() as f64);
        shape
    }
}
