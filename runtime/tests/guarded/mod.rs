//! Guarded pools, and the raw door to them: pointers that may touch all of a pool's memory.
#![allow(dead_code, reason = "each test uses its part")]

use allocator_api2::alloc::{Allocator, Layout};
use rheostat_runtime::pool::{Fault, InPool, Level, Pool, PoolLimits, PoolSetup};
use rheostat_runtime::sync::Arc;
use std::ptr::NonNull;

pub const MIB: usize = 1 << 20;

pub fn guarded(level: Level) -> Arc<Pool> {
    let limits = PoolLimits { bytes_max: 16 * MIB };
    Pool::with_setup("guarded", PoolSetup { level: level.into(), limits, guarded: true, ..PoolSetup::default() })
        .unwrap()
}

/// Runs a check on a fresh guarded pool of every level.
pub fn at_every_level(check: impl Fn(&Arc<Pool>)) {
    Level::ALL.into_iter().for_each(|level| check(&guarded(level)));
}

pub fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 1).unwrap()
}

/// A block through the raw door: a pointer that may touch all of the pool's memory, so that no misuse here is one of
/// Rust's.
pub fn raw(pool: &Arc<Pool>, layout: Layout) -> NonNull<u8> {
    InPool(pool.clone()).allocate(layout).unwrap().cast()
}

/// Gives it back, rightly or not: the pool is guarded, and survives either.
pub fn give_back(pool: &Arc<Pool>, start: NonNull<u8>, layout: Layout) {
    // SAFETY: a guarded pool looks at what it is given before it believes anything.
    unsafe { InPool(pool.clone()).deallocate(start, layout) };
}

/// The one fault there was since it was last asked.
pub fn only(pool: &Pool, before: usize) -> Fault {
    let faults = pool.faults();
    assert_eq!(faults.len(), before + 1, "{faults:#?}");
    faults.last().unwrap().clone()
}
