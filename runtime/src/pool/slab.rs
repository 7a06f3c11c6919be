//! Memory as it comes from the system: zeroed, aligned to a cache line, given back when dropped.

use super::size_class::ALIGNMENT;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// A stretch of memory of our own.
#[derive(Debug)]
pub(super) struct Slab {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a slab owns its memory, which no thread is special to.
unsafe impl Send for Slab {}
// SAFETY: a shared slab gives out its start and length, neither of which changes.
unsafe impl Sync for Slab {}

impl Slab {
    /// Asks the system for `bytes` zeroed bytes; `None` when it refuses. Never aborts.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let layout = Layout::from_size_align(bytes.max(1), ALIGNMENT).ok()?;
        // SAFETY: the layout's size is at least 1.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self { start, layout })
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(super) fn bytes(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: `start` came from the system with this layout and is given back once, here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}
