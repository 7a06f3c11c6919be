//! zipora's five levels. It gives out offsets, and copies bytes in and out under a lock where a level has one; only
//! taking a block and giving it back is measured, as of all others.

use super::heap::{BYTES_MAX, Heap};
use std::cell::UnsafeCell;
use zipora::memory::five_level_pool::{
    FiveLevelPoolConfig, FixedCapacityPool, LockFreePool, MemOffset, MutexBasedPool, NoLockingPool, ThreadLocalPool,
};

/// A level.
pub trait Level: Sized {
    fn new() -> Self;
    fn alloc(&self, len: usize) -> MemOffset;
    fn free(&self, at: MemOffset, len: usize);
}

/// A level at work.
pub struct Zipora<L>(pub L);

/// A block of it.
pub struct Held<'a, L: Level> {
    level: &'a L,
    at: MemOffset,
    len: usize,
}

impl<L: Level> Drop for Held<'_, L> {
    #[inline]
    fn drop(&mut self) {
        self.level.free(self.at, self.len);
    }
}

impl<L: Level> Heap for Zipora<L> {
    type Held<'a>
        = Held<'a, L>
    where
        L: 'a;

    #[inline]
    fn take(&self, len: usize) -> Held<'_, L> {
        Held { level: &self.0, at: self.0.alloc(len), len }
    }

    fn start(held: &Held<'_, L>) -> *const u8 {
        // The offset itself is kept private; where it is kept depends on it having been written.
        (&raw const held.at).cast()
    }
}

/// All memory there, as ours may have; blocks of up to 64 KiB by size, alignment as of the other contenders.
fn config() -> FiveLevelPoolConfig {
    FiveLevelPoolConfig {
        initial_capacity: BYTES_MAX,
        fixed_capacity: Some(BYTES_MAX),
        ..FiveLevelPoolConfig::performance_optimized()
    }
}

const LARGE_ENOUGH: &str = "the pool is large enough";

macro_rules! shared {
    ($($pool:ty),*) => {$(
        impl Level for $pool {
            fn new() -> Self {
                <$pool>::new(config()).expect("the system has room for a pool")
            }

            #[inline]
            fn alloc(&self, len: usize) -> MemOffset {
                self.alloc(len).expect(LARGE_ENOUGH)
            }

            #[inline]
            fn free(&self, at: MemOffset, len: usize) {
                self.free(at, len).expect("it was taken from there");
            }
        }
    )*};
}

shared!(MutexBasedPool, LockFreePool, ThreadLocalPool);

/// A level that one thread uses by exclusive reference: which blocks that give themselves back cannot have.
pub struct Owned<P>(UnsafeCell<P>);

macro_rules! owned {
    ($($pool:ty),*) => {$(
        impl Level for Owned<$pool> {
            fn new() -> Self {
                Self(UnsafeCell::new(<$pool>::new(config()).expect("the system has room for a pool")))
            }

            #[inline]
            fn alloc(&self, len: usize) -> MemOffset {
                // SAFETY: one thread has it, as it is not `Sync`, and the reference ends with this call.
                unsafe { &mut *self.0.get() }.alloc(len).expect(LARGE_ENOUGH)
            }

            #[inline]
            fn free(&self, at: MemOffset, len: usize) {
                // SAFETY: as above.
                unsafe { &mut *self.0.get() }.free(at, len).expect("it was taken from there");
            }
        }
    )*};
}

owned!(NoLockingPool, FixedCapacityPool);
