//! What gives out blocks: our levels, and allocators that are called directly, whatever the program's own is.

use rheostat_runtime::pool::{Block, Level, LocalBlock, LocalPool, Pool, PoolLimits};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::Arc;

/// What every pool may hold.
pub const BYTES_MAX: usize = 64 << 20;
const LIMITS: PoolLimits = PoolLimits { bytes_max: BYTES_MAX };

/// Something that gives out blocks, as its user would use it.
pub trait Heap {
    type Held<'a>
    where
        Self: 'a;

    /// A block of `len` bytes.
    fn take(&self, len: usize) -> Self::Held<'_>;
    /// Where it begins, or something else that cannot be known without taking it.
    fn start(held: &Self::Held<'_>) -> *const u8;
}

/// A level of ours.
pub struct Ours(Arc<Pool>);

impl Ours {
    pub fn at(level: Level) -> Self {
        Self(Pool::new("peer", level, LIMITS).expect("the system has room for a pool"))
    }
}

impl Heap for Ours {
    type Held<'a> = Block;

    #[inline(always)]
    fn take(&self, len: usize) -> Block {
        self.0.alloc(len).expect("the pool is large enough")
    }

    fn start(held: &Block) -> *const u8 {
        held.as_ptr()
    }
}

/// Our level unlocked as a type.
pub struct Local(LocalPool);

impl Local {
    pub fn new() -> Self {
        Self(LocalPool::new(LIMITS).expect("the system has room for a pool"))
    }
}

impl Heap for Local {
    type Held<'a> = LocalBlock<'a>;

    #[inline(always)]
    fn take(&self, len: usize) -> LocalBlock<'_> {
        self.0.alloc(len).expect("the pool is large enough")
    }

    fn start(held: &LocalBlock<'_>) -> *const u8 {
        held.as_ptr()
    }
}

/// An allocator.
pub struct Direct<A>(pub A);

/// A block of it.
pub struct Raw<'a, A: GlobalAlloc>(&'a A, *mut u8, Layout);

// SAFETY: a block of a global allocator may be freed on any thread.
unsafe impl<A: GlobalAlloc + Sync> Send for Raw<'_, A> {}

impl<A: GlobalAlloc> Drop for Raw<'_, A> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: allocated there with that layout, and dropped once.
        unsafe { self.0.dealloc(self.1, self.2) }
    }
}

impl<A: GlobalAlloc> Heap for Direct<A> {
    type Held<'a>
        = Raw<'a, A>
    where
        A: 'a;

    #[inline(always)]
    fn take(&self, len: usize) -> Raw<'_, A> {
        let layout = Layout::from_size_align(len, 16).expect("a small block");
        // SAFETY: no case asks for no bytes.
        Raw(&self.0, unsafe { self.0.alloc(layout) }, layout)
    }

    fn start(held: &Raw<'_, A>) -> *const u8 {
        held.1
    }
}

/// Nothing: what is timed is the clock, and what the machine does in between.
pub struct Nothing;

impl Heap for Nothing {
    type Held<'a> = ();

    #[inline(always)]
    fn take(&self, _: usize) {}

    fn start(_: &()) -> *const u8 {
        std::ptr::null()
    }
}
