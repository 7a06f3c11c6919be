//! A block in use.

use super::depot::{FreeBlock, LARGE};
use super::rack::Rack;
use super::size_class::SizeClass;
use super::slab::Slab;
use crate::observe::row;
use crate::sync::Arc;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes from a [`Pool`](super::Pool), given back when dropped, on whatever thread. It keeps its pool's memory
/// alive. The bytes are initialised, though perhaps with what an earlier holder wrote.
pub struct Block {
    start: NonNull<u8>,
    len: usize,
    origin: Origin,
    rack: Arc<Rack>,
}

/// Where a block goes back to.
enum Origin {
    Class(SizeClass),
    /// The slab is taken out once, when the block is dropped.
    System(Option<Slab>),
}

// SAFETY: a block is the sole right to its bytes; racks and slabs may be used from any thread.
unsafe impl Send for Block {}
// SAFETY: a shared block only lets its bytes be read.
unsafe impl Sync for Block {}

impl Block {
    pub(super) fn of_class(rack: Arc<Rack>, class: SizeClass, free: FreeBlock, len: usize) -> Self {
        debug_assert!(len <= class.bytes(), "{len} bytes do not fit a block of {}", class.bytes());
        rack.depot.count_alloc(class.index());
        Self { start: free.into_start(), len, origin: Origin::Class(class), rack }
    }

    pub(super) fn of_system(rack: Arc<Rack>, slab: Slab, len: usize) -> Self {
        debug_assert!(len <= slab.bytes(), "{len} bytes do not fit a block of {}", slab.bytes());
        rack.depot.count_alloc(LARGE);
        Self { start: slab.start(), len, origin: Origin::System(Some(slab)), rack }
    }

    /// Bytes there is room for: the block's size class, or for a large block what was asked for.
    pub fn capacity(&self) -> usize {
        match &self.origin {
            Origin::Class(class) => class.bytes(),
            Origin::System(slab) => slab.as_ref().map_or(0, Slab::bytes),
        }
    }
}

impl Deref for Block {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the block's bytes are ours alone until we are dropped, initialised (I2 of `depot`), and `len` is
        // at most its size.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Block {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`; `&mut self` makes this the only view of them.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        match &mut self.origin {
            Origin::Class(class) => {
                // SAFETY: `start` came out of a free block when we were made, and nobody uses our bytes after us.
                let free = unsafe { FreeBlock::from_start(self.start) };
                self.rack.put(row(), *class, free);
                self.rack.depot.count_free(class.index());
            }
            Origin::System(slab) => {
                slab.take().into_iter().for_each(|slab| self.rack.depot.put_large(slab));
                self.rack.depot.count_free(LARGE);
            }
        }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("len", &self.len).field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
