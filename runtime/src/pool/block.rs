//! A block in use.

use super::core::Core;
use super::guard::GUARDED;
use super::size_class::{CLASSES, SizeClass};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes from a [`Pool`](super::Pool), given back when dropped, on whatever thread. It keeps its pool's memory
/// alive. The bytes are initialised, though perhaps with what an earlier holder wrote.
///
/// Three words: where it begins, the pool, and
///
/// ```text
/// 63 .. 56   55        54 .. 48   47 .. 0
/// row        guarded   class      length
/// ```
pub struct Block {
    start: NonNull<u8>,
    core: NonNull<Core>,
    /// The row it was allocated through, its class, and the length asked for.
    tag: u64,
}

const LEN_BITS: u32 = 48;
const CLASS_BITS: u32 = 8;
const LEN: u64 = (1 << LEN_BITS) - 1;
const CLASS: u64 = (1 << CLASS_BITS) - 1;

// SAFETY: a block is the sole right to its bytes, and comes home from any thread.
unsafe impl Send for Block {}
// SAFETY: a shared block only lets its bytes be read.
unsafe impl Sync for Block {}

impl Block {
    /// # Safety
    /// `start` was just allocated from `core`, by the class and row said, for `len` bytes.
    #[inline(always)]
    pub(super) unsafe fn new(core: &Core, start: NonNull<u8>, class: usize, row: usize, len: usize) -> Self {
        debug_assert!(len as u64 <= LEN, "the system gave {len} bytes");
        let tag = (row as u64) << (LEN_BITS + CLASS_BITS) | (class as u64) << LEN_BITS | len as u64;
        Self { start, core: NonNull::from(core), tag }
    }

    /// Where it begins, for who puts something else than bytes into it.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Whether it is a block of that pool.
    pub(super) fn is_of(&self, core: &Core) -> bool {
        std::ptr::eq(self.core.as_ptr(), core)
    }

    /// With `GUARDED`.
    #[inline(always)]
    fn class(&self) -> usize {
        (self.tag >> LEN_BITS & CLASS) as usize
    }

    #[inline(always)]
    fn length(&self) -> usize {
        (self.tag & LEN) as usize
    }

    /// Whether it was handed out by a pool that was guarded.
    pub fn is_guarded(&self) -> bool {
        self.class() & GUARDED != 0
    }

    /// Bytes there is room for: the block's size class, or what was asked for of a large block and of a guarded one,
    /// behind whose bytes stands what nobody may touch.
    pub fn capacity(&self) -> usize {
        if self.class() < CLASSES { SizeClass::at(self.class()).bytes() } else { self.length() }
    }
}

impl Deref for Block {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the block's bytes are ours alone until we are dropped, initialised (I4 of `ground`), and `length` is
        // at most its size.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length()) }
    }
}

impl DerefMut for Block {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`; `&mut self` makes this the only view of them.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length()) }
    }
}

impl Drop for Block {
    // Were it a call, the block would go through memory to it.
    #[inline(always)]
    fn drop(&mut self) {
        let row = (self.tag >> (LEN_BITS + CLASS_BITS)) as usize;
        // SAFETY: it came from there, this is the one drop, and nobody uses our bytes after us.
        unsafe { Core::free(self.core, self.class(), self.length(), row, self.start) };
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("len", &self.len()).field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
