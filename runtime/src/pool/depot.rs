//! The shared part of a pool: per size class a shelf of free blocks behind a lock, and the slabs they are cut from.
//!
//! I1  A [`FreeBlock`] is the right to its block: there is one for each block nobody holds, it moves and is never
//!     copied, and whoever has it alone touches the block's bytes.
//! I2  Every byte of every slab is initialised: slabs come zeroed, and blocks are only ever written to.
//! I3  Slabs live as long as the depot. Blocks hold the depot through their rack, so none outlives its slab.
//! I4  `held` counts the bytes taken from the system, large blocks included, and never exceeds the limit: it is
//!     raised before the system is asked, and lowered again when the system refuses.
//! O1  A block's bytes go from one holder to the next through the lock of a shelf or a rack. `held` is Relaxed: it
//!     bounds, and publishes nothing.
//! Progress: blocking, per class. No lock is taken while a shelf's is held, and no caller's code runs under it.
//!
//! What it does not promise: slabs go back to the system when the pool ends, not before, so each class keeps what
//! its peak needed. The lists of free blocks (8 bytes a block) are not counted in the limit.

use super::PoolError;
use super::size_class::{CLASSES, SizeClass};
use super::slab::Slab;
use crate::observe::Cells;
use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use crate::sync::{CachePadded, Mutex, MutexGuard};
use std::ptr::NonNull;

/// Bytes asked from the system at a time, unless the limit leaves less.
const SLAB_BYTES: usize = 64 << 10;

/// The index under which large blocks are counted.
pub(super) const LARGE: usize = CLASSES;

/// Allocations and frees are counted per thread, in pairs by class.
type Counts = Cells<{ 2 * (CLASSES + 1) }>;

/// A block nobody holds (I1).
#[derive(Debug)]
pub(super) struct FreeBlock(NonNull<u8>);

// SAFETY: having it is the sole right to the block's bytes (I1), which no thread is special to.
unsafe impl Send for FreeBlock {}

impl FreeBlock {
    /// Takes back a block whose holder is done with it.
    ///
    /// # Safety
    /// `start` came out of [`into_start`](Self::into_start), once for each call, and nothing uses the block any more.
    pub(super) unsafe fn from_start(start: NonNull<u8>) -> Self {
        Self(start)
    }

    pub(super) fn into_start(self) -> NonNull<u8> {
        self.0
    }
}

/// One size class.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    free: Vec<FreeBlock>,
    slabs: Vec<Slab>,
    slab_bytes: usize,
    /// Blocks of the last slab that were never handed out, cut off from its end.
    uncut: usize,
    contentions: u64,
    fills: u64,
    flushes: u64,
}

/// What a class has come to, as its locks saw it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct ShelfFigures {
    pub(super) slab_bytes: usize,
    pub(super) contentions: u64,
    pub(super) fills: u64,
    pub(super) flushes: u64,
}

/// The shelves of a pool and its limit.
pub(super) struct Depot {
    name: Box<str>,
    shelves: Box<[CachePadded<Mutex<Shelf>>]>,
    held: AtomicUsize,
    bytes_max: usize,
    large_bytes: AtomicUsize,
    counts: Counts,
}

impl Depot {
    pub(super) fn new(name: Box<str>, bytes_max: usize) -> Self {
        let shelves = SizeClass::all().map(|_| CachePadded::default()).collect();
        let (held, large_bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { name, shelves, held, bytes_max, large_bytes, counts: Counts::new() }
    }

    fn shelf(&self, class: SizeClass) -> MutexGuard<'_, Shelf> {
        let lock = &self.shelves[class.index()];
        lock.try_lock().unwrap_or_else(|| {
            let mut shelf = lock.lock();
            shelf.contentions += 1;
            shelf
        })
    }

    /// One block.
    pub(super) fn take(&self, class: SizeClass) -> Result<FreeBlock, PoolError> {
        let mut shelf = self.shelf(class);
        match shelf.free.pop() {
            Some(block) => Ok(block),
            None => self.cut(&mut shelf, class),
        }
    }

    /// One block, and up to `more` for the caller's magazine. Grows for the one, not for the rest.
    pub(super) fn fill(
        &self,
        class: SizeClass,
        more: usize,
        magazine: &mut Vec<FreeBlock>,
    ) -> Result<FreeBlock, PoolError> {
        let mut shelf = self.shelf(class);
        let first = match shelf.free.pop() {
            Some(block) => block,
            None => self.cut(&mut shelf, class)?,
        };
        let from_free = shelf.free.len().saturating_sub(more);
        magazine.extend(shelf.free.drain(from_free..));
        while magazine.len() < more && shelf.uncut > 0 {
            magazine.push(self.cut(&mut shelf, class)?);
        }
        shelf.fills += 1;
        Ok(first)
    }

    pub(super) fn put(&self, class: SizeClass, block: FreeBlock) {
        self.shelf(class).free.push(block);
    }

    pub(super) fn flush(&self, class: SizeClass, blocks: impl Iterator<Item = FreeBlock>) {
        let mut shelf = self.shelf(class);
        shelf.free.extend(blocks);
        shelf.flushes += 1;
    }

    /// Cuts a block that was never handed out, from a new slab if need be.
    fn cut(&self, shelf: &mut Shelf, class: SizeClass) -> Result<FreeBlock, PoolError> {
        let bytes = class.bytes();
        if shelf.uncut == 0 {
            let blocks = self.reserve(bytes, SLAB_BYTES / bytes)?;
            let slab = Slab::new(blocks * bytes).ok_or_else(|| self.refused(blocks * bytes))?;
            shelf.slabs.push(slab);
            shelf.slab_bytes += blocks * bytes;
            shelf.uncut = blocks;
        }
        shelf.uncut -= 1;
        let slab = shelf.slabs.last().expect("a class with uncut blocks has a slab to cut them from");
        // SAFETY: `uncut` was at most the number of blocks in the slab, so the block lies within it.
        let start = unsafe { slab.start().add(shelf.uncut * bytes) };
        // `uncut` only falls until the next slab, so no other block starts here (I1).
        Ok(FreeBlock(start))
    }

    /// Raises `held` by up to `most` times `bytes`, as often as the limit allows, and says how often.
    fn reserve(&self, bytes: usize, most: usize) -> Result<usize, PoolError> {
        let room = |held: usize| ((self.bytes_max - held) / bytes).min(most);
        self.held
            .fetch_update(Relaxed, Relaxed, |held| Some(room(held)).filter(|&n| n > 0).map(|n| held + n * bytes))
            .map(room)
            .map_err(|held| PoolError::Exhausted { pool: self.address(), bytes, held, max: self.bytes_max })
    }

    /// Takes back a reservation that the system did not honour.
    fn refused(&self, bytes: usize) -> PoolError {
        self.held.fetch_sub(bytes, Relaxed);
        PoolError::System { pool: self.address(), bytes }
    }

    /// A block of its own from the system.
    pub(super) fn take_large(&self, bytes: usize) -> Result<Slab, PoolError> {
        self.reserve(bytes, 1)?;
        let slab = Slab::new(bytes).ok_or_else(|| self.refused(bytes))?;
        self.large_bytes.fetch_add(bytes, Relaxed);
        Ok(slab)
    }

    pub(super) fn put_large(&self, slab: Slab) {
        let bytes = slab.bytes();
        drop(slab);
        self.large_bytes.fetch_sub(bytes, Relaxed);
        self.held.fetch_sub(bytes, Relaxed);
    }

    pub(super) fn count_alloc(&self, index: usize) {
        self.counts.add(2 * index, 1);
    }

    pub(super) fn count_free(&self, index: usize) {
        self.counts.add(2 * index + 1, 1);
    }

    /// Allocations and frees of a class so far. Frees are read first, so that those in flight seldom show as too many.
    pub(super) fn counted(&self, index: usize) -> (u64, u64) {
        let frees = self.counts.sum(2 * index + 1);
        (self.counts.sum(2 * index), frees)
    }

    pub(super) fn figures(&self, class: SizeClass) -> ShelfFigures {
        let shelf = self.shelves[class.index()].lock();
        let Shelf { slab_bytes, contentions, fills, flushes, .. } = *shelf;
        ShelfFigures { slab_bytes, contentions, fills, flushes }
    }

    pub(super) fn large_bytes(&self) -> usize {
        self.large_bytes.load(Relaxed)
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    fn address(&self) -> String {
        format!("pool.{}", self.name)
    }
}
