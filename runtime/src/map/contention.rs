//! Where a map of shards is busy, and where it makes threads wait: operations by shard, lock acquisitions that had to
//! wait, and for how long. Operations are sampled, on a map that stays; the clock starts after a try has failed.

use super::structure::{Operation, Structure, position};
use crate::observe::{Moment, SAMPLE_EVERY, Snapshot, Spread, is_due, now, space};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use dashmap::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// The skew is that of a window between one and two of these long.
const SKEW_WINDOW: Duration = Duration::from_secs(5);

/// What each shard has done, and what waiting for their locks has cost.
#[derive(Debug)]
pub(super) struct Contention {
    shards: Box<[Shard]>,
    waits: Spread,
    window: Mutex<Window>,
}

/// Counts are Relaxed: they publish nothing.
#[derive(Debug, Default)]
struct Shard {
    /// Estimated: a sampled operation counts for all those that were not.
    operations: AtomicU64,
    contentions: AtomicU64,
}

/// The operations of every shard at the start of the window before, and of the present one.
#[derive(Debug)]
struct Window {
    before: Box<[u64]>,
    present: Box<[u64]>,
    since: Moment,
}

impl Contention {
    pub(super) fn new(shards: usize) -> Self {
        let none = || vec![0; shards].into_boxed_slice();
        let window = Window { before: none(), present: none(), since: now() };
        let shards = (0..shards).map(|_| Shard::default()).collect();
        Self { shards, waits: Spread::new(), window: Mutex::new(window) }
    }

    #[inline(always)]
    pub(super) fn read<'a, T>(&self, shard: usize, lock: &'a RwLock<T>) -> RwLockReadGuard<'a, T> {
        lock.try_read().unwrap_or_else(|| self.wait(shard, || lock.read()))
    }

    #[inline(always)]
    pub(super) fn write<'a, T>(&self, shard: usize, lock: &'a RwLock<T>) -> RwLockWriteGuard<'a, T> {
        lock.try_write().unwrap_or_else(|| self.wait(shard, || lock.write()))
    }

    /// Counts an operation in a shard if it is one of the sample; nothing to those that are not.
    #[inline(always)]
    pub(super) fn sampled<K, V, S, O>(&self, operation: O, structure: &S) -> O::Output
    where
        S: Structure<K, V>,
        O: Operation<K, V>,
    {
        if is_due() { self.count(operation, structure) } else { operation.on(structure) }
    }

    #[cold]
    #[inline(never)]
    fn count<K, V, S, O>(&self, operation: O, structure: &S) -> O::Output
    where
        S: Structure<K, V>,
        O: Operation<K, V>,
    {
        space();
        let shard = structure.stripe_of(position(operation.hash()));
        self.shards[shard].operations.fetch_add(SAMPLE_EVERY, Relaxed);
        operation.on(structure)
    }

    #[cold]
    #[inline(never)]
    fn wait<G>(&self, shard: usize, acquire: impl FnOnce() -> G) -> G {
        self.shards[shard].contentions.fetch_add(1, Relaxed);
        let start = now();
        let guard = acquire();
        self.waits.record(start.elapsed().as_nanos() as u64);
        guard
    }

    /// Every wait so far; their number is the number of contentions.
    pub(super) fn waits(&self) -> Snapshot {
        self.waits.snapshot()
    }

    /// Operations by shard, estimated.
    pub(super) fn operations(&self) -> Box<[u64]> {
        self.shards.iter().map(|shard| shard.operations.load(Relaxed)).collect()
    }

    /// Contended acquisitions by shard.
    pub(super) fn contentions(&self) -> Box<[u64]> {
        self.shards.iter().map(|shard| shard.contentions.load(Relaxed)).collect()
    }

    /// Operations of the busiest shard over the mean of all in the last seconds; `None` while there were none.
    pub(super) fn skew(&self) -> Option<f64> {
        self.skew_at(now())
    }

    fn skew_at(&self, at: Moment) -> Option<f64> {
        let operations = self.operations();
        let mut window = self.window.lock();
        if at.since(window.since) >= SKEW_WINDOW {
            window.before = std::mem::replace(&mut window.present, operations.clone());
            window.since = at;
        }
        let recent = operations.iter().zip(&window.before).map(|(now, then)| now - then);
        let (busiest, sum) = recent.fold((0, 0), |(busiest, sum), n| (n.max(busiest), sum + n));
        (sum > 0).then(|| busiest as f64 * self.shards.len() as f64 / sum as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_skew_is_that_of_the_last_seconds() {
        let contention = Contention::new(4);
        let work = |shards: [u64; 4]| {
            let each = contention.shards.iter().zip(shards);
            each.for_each(|(shard, operations)| _ = shard.operations.fetch_add(operations, Relaxed));
        };
        let begun = now();
        let skew_after = |windows: u32| {
            let passed = (SKEW_WINDOW * windows).as_nanos() as u64;
            contention.skew_at(Moment(begun.0 + passed))
        };
        assert_eq!(skew_after(0), None, "nothing happened");
        work([1000, 0, 0, 0]);
        assert_eq!(skew_after(0), Some(4.0));
        assert_eq!(skew_after(1), Some(4.0), "the window before has it");
        work([10, 10, 10, 10]);
        assert_eq!(skew_after(2), Some(1.0), "a shard that was busy long ago");
        assert_eq!(skew_after(3), None, "nothing happened since");
    }
}
