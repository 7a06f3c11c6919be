//! Lock acquisitions that had to wait, and for how long. The clock starts after a try has failed.

use crate::observe::{Snapshot, Spread, now};
use dashmap::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What waiting for a map's locks has cost.
#[derive(Debug, Default)]
pub(super) struct Contention {
    waits: Spread,
}

impl Contention {
    pub(super) fn read<'a, T>(&self, lock: &'a RwLock<T>) -> RwLockReadGuard<'a, T> {
        lock.try_read().unwrap_or_else(|| self.wait(|| lock.read()))
    }

    pub(super) fn write<'a, T>(&self, lock: &'a RwLock<T>) -> RwLockWriteGuard<'a, T> {
        lock.try_write().unwrap_or_else(|| self.wait(|| lock.write()))
    }

    #[cold]
    fn wait<G>(&self, acquire: impl FnOnce() -> G) -> G {
        let start = now();
        let guard = acquire();
        self.waits.record(start.elapsed().as_nanos() as u64);
        guard
    }

    /// Every wait so far; their number is the number of contentions.
    pub(super) fn waits(&self) -> Snapshot {
        self.waits.snapshot()
    }
}
