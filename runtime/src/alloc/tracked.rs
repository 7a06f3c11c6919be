//! The wrapper around a process's global allocator.

use super::profile::{self, Due};
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
/// Costs 0.4 ns for an allocation and its free together where one block is made at a time, some 4 ns among blocks of
/// mixed sizes (`rheostat-bench alloc`), whatever the number of threads: two relaxed loads and stores each, to a cache
/// line of the thread's own, and a countdown in its own storage. A block that is resized counts as freed at its old
/// size and allocated at its new one, moved or not.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tracked<A>(A);

impl<A> Tracked<A> {
    /// Counts what goes through `beneath`.
    pub const fn new(beneath: A) -> Self {
        Self(beneath)
    }
}

impl<A: GlobalAlloc> Tracked<A> {
    /// A block at which the countdown to the next sample ended. Never inlined: a sample's stack begins outside of it.
    #[cold]
    #[inline(never)]
    unsafe fn alloc_due(&self, layout: Layout, zeroed: bool) -> *mut u8 {
        let here = 0;
        // SAFETY: the caller's promise.
        unsafe { self.alloc_as(layout, zeroed, profile::decide(layout.size(), &here)) }
    }

    /// A block that is a sample if it is due for it, and there is room for one.
    unsafe fn alloc_as(&self, layout: Layout, zeroed: bool, sample: Option<Due>) -> *mut u8 {
        if let Some(due) = sample
            && let Some(wide) = profile::layout_of_sample(layout)
        {
            // SAFETY: the caller's promise; the layout is as large, and not of size zero.
            let block = unsafe { self.beneath(wide, zeroed) };
            if !block.is_null() {
                if profile::keep(block, layout.size(), due) {
                    return block;
                }
                // SAFETY: allocated above, with this layout.
                unsafe { self.0.dealloc(block, wide) };
            }
        }
        // SAFETY: the caller's promise.
        unsafe { self.beneath(layout, zeroed) }
    }

    unsafe fn beneath(&self, layout: Layout, zeroed: bool) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { if zeroed { self.0.alloc_zeroed(layout) } else { self.0.alloc(layout) } }
    }

    /// A block that may be a sample, and then was allocated with a layout of its own.
    #[cold]
    unsafe fn dealloc_at_page(&self, block: *mut u8, layout: Layout) {
        let wide = if profile::take(block) { profile::layout_of_sample(layout) } else { None };
        // SAFETY: the caller's promise, or ours: a sample was allocated with its layout (I2 of `profile`).
        unsafe { self.0.dealloc(block, wide.unwrap_or(layout)) }
    }

    /// A block that may be a sample, or is to be one. Then it is moved by hand, as the allocator beneath does not know
    /// of that; else it is the allocator's, which may not need to move it. Never inlined, as `alloc_due`.
    #[cold]
    #[inline(never)]
    unsafe fn realloc_closely(&self, block: *mut u8, layout: Layout, size: usize, due: bool) -> *mut u8 {
        let here = 0;
        let sample = if due { profile::decide(size, &here) } else { None };
        if sample.is_none() && !(profile::may_be_sample(block) && profile::is_sample(block)) {
            // SAFETY: the caller's promise.
            return unsafe { self.0.realloc(block, layout, size) };
        }
        // SAFETY: the caller's promise: the size is not zero and does not overflow when rounded up to the alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: as above.
        let moved = unsafe { self.alloc_as(new, false, sample) };
        if !moved.is_null() {
            // SAFETY: two blocks, each as large as what is copied; the old one is the caller's to give.
            unsafe {
                moved.copy_from_nonoverlapping(block, layout.size().min(size));
                if profile::may_be_sample(block) {
                    self.dealloc_at_page(block, layout);
                } else {
                    self.0.dealloc(block, layout);
                }
            }
        }
        moved
    }
}

// SAFETY: every block comes from the allocator beneath and goes back to it with the layout it was allocated with, which
// is the caller's but for samples (I2 of `profile`). What is done beside that neither allocates through this allocator
// without end (I2 of `scope`, I1 of `profile`) nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Tracked<A> {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe {
            if profile::is_due(layout.size()) { self.alloc_due(layout, false) } else { self.0.alloc(layout) }
        };
        if !block.is_null() {
            scope::allocated(layout.size());
        }
        block
    }

    #[inline(always)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe {
            if profile::is_due(layout.size()) { self.alloc_due(layout, true) } else { self.0.alloc_zeroed(layout) }
        };
        if !block.is_null() {
            scope::allocated(layout.size());
        }
        block
    }

    #[inline(always)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        scope::freed(layout.size());
        // SAFETY: the caller's promise.
        unsafe {
            if profile::may_be_sample(block) {
                self.dealloc_at_page(block, layout);
            } else {
                self.0.dealloc(block, layout);
            }
        }
    }

    #[inline(always)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let due = profile::is_due(size);
        // SAFETY: the caller's promise.
        let moved = unsafe {
            if due || profile::may_be_sample(block) {
                self.realloc_closely(block, layout, size, due)
            } else {
                self.0.realloc(block, layout, size)
            }
        };
        if !moved.is_null() {
            scope::freed(layout.size());
            scope::allocated(size);
        }
        moved
    }
}
