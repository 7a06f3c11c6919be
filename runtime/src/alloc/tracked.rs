//! The wrapper around a process's global allocator.

use super::scope;
use std::alloc::{GlobalAlloc, Layout};

/// An allocator that counts what goes through it for the [`Scope`](super::Scope) that the calling thread is in.
///
/// A process opts in with one line; the library never does it for a process:
///
/// ```
/// use rheostat_runtime::alloc::Tracked;
///
/// #[global_allocator]
/// static GLOBAL: Tracked<std::alloc::System> = Tracked::new(std::alloc::System);
/// ```
///
/// Costs 0.3 ns for an allocation and its free together (`rheostat-bench alloc`), whatever the number of threads:
/// two relaxed loads and stores each, to a cache line of the thread's own. A block that is resized counts as freed at its
/// old size and allocated at its new one, moved or not.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tracked<A>(A);

impl<A> Tracked<A> {
    /// Counts what goes through `beneath`.
    pub const fn new(beneath: A) -> Self {
        Self(beneath)
    }
}

// SAFETY: every call is handed to the allocator beneath as it came, and its answer returned. What is done beside that
// neither allocates through this allocator without end (I2 of `scope`) nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Tracked<A> {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { self.0.alloc(layout) };
        if !block.is_null() {
            scope::allocated(layout.size());
        }
        block
    }

    #[inline(always)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { self.0.alloc_zeroed(layout) };
        if !block.is_null() {
            scope::allocated(layout.size());
        }
        block
    }

    #[inline(always)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        scope::freed(layout.size());
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(block, layout) }
    }

    #[inline(always)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        let moved = unsafe { self.0.realloc(block, layout, size) };
        if !moved.is_null() {
            scope::freed(layout.size());
            scope::allocated(size);
        }
        moved
    }
}
