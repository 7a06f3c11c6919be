//! A pool for one thread: no lock, no atomic, no fence but where it grows.
//!
//! The same chunks, numbers and magazines as a [`Pool`](super::Pool) has, without gates: the type is not `Sync`, and its
//! blocks borrow it, so what is allocated on a thread is freed there, before the pool is gone.
//!
//! I1  A shelf's `loaded` and `list` are reached by one call at a time: calls come from one thread, and none runs user code
//!     while it has them (a handler of faults is user code).

use super::chain::List;
use super::core::magazine_blocks;
use super::error::{PoolError, PoolLimits, PoolSetupError};
use super::ground::{Ground, NoMemory};
use super::guard::LocalGuard;
use super::magazine::Rounds;
use super::number::{Geometry, Links};
use super::setup::CACHE_BYTES;
#[cfg(rt_asan)]
use super::shadow;
use super::size_class::{CLASSES, GREATEST, SizeClass};
use crate::sync::Arc;
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::mem::offset_of;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A pool that stays on its thread. Lengths up to 64 KiB. It can be [guarded](Self::guarded), from its beginning; one that is not
/// pays nothing for that.
///
/// ```
/// use rheostat_runtime::pool::{LocalPool, PoolLimits};
///
/// let pool = LocalPool::new(PoolLimits::default()).unwrap();
/// let mut block = pool.alloc(100).unwrap();
/// block.fill(7);
/// assert_eq!((block.len(), pool.live()), (100, 1));
/// ```
///
/// It is not to be shared:
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<rheostat_runtime::pool::LocalPool>();
/// ```
pub struct LocalPool {
    pub(super) shelves: [LocalShelf; CLASSES],
    /// Before the ground, as its end looks at what is there.
    pub(super) guard: Option<Arc<LocalGuard>>,
    ground: Ground,
}

/// A class. Of a guarded pool it has no magazines, so that its blocks go the long way.
///
/// What the quick way touches, all that comes before the geometry, is one cache line, and a shelf is found by a shift.
#[repr(C, align(64))]
pub(super) struct LocalShelf {
    loaded: UnsafeCell<Loaded>,
    pub(super) live: Cell<usize>,
    pub(super) geometry: Geometry,
    links: Links,
    guard: Option<Arc<LocalGuard>>,
    /// Free blocks that are in no magazine.
    list: UnsafeCell<List>,
}

const _: () = assert!(offset_of!(LocalShelf, geometry) <= 64 && size_of::<LocalShelf>() == 128);

/// Its magazines, and how many blocks are in the one that is loaded.
#[derive(Default)]
struct Loaded {
    rounds: Rounds,
    held: u32,
}

/// A block of a [`LocalPool`], given back when dropped. Initialised, though perhaps with what an earlier holder wrote.
pub struct LocalBlock<'p> {
    shelf: &'p LocalShelf,
    start: NonNull<u8>,
    len: usize,
}

impl LocalPool {
    /// An empty pool; memory comes as blocks are needed.
    ///
    /// # Errors
    /// When the system refuses the addresses.
    pub fn new(limits: PoolLimits) -> Result<Self, PoolSetupError> {
        Self::make(limits, None)
    }

    pub(super) fn make(limits: PoolLimits, guard: Option<Arc<LocalGuard>>) -> Result<Self, PoolSetupError> {
        let bytes = limits.bytes_max;
        let refused = || PoolSetupError::System { pool: LOCAL.to_owned(), bytes };
        let ground = Ground::new(bytes, false).ok_or_else(refused)?;
        let shelves = std::array::from_fn(|index| {
            let (geometry, links) = ground.lay_out(SizeClass::at(index));
            let (loaded, live, list) = (UnsafeCell::default(), Cell::new(0), UnsafeCell::default());
            LocalShelf { loaded, live, geometry, links, guard: guard.clone(), list }
        });
        Ok(Self { shelves, guard, ground })
    }

    /// Blocks in use.
    pub fn live(&self) -> usize {
        self.shelves.iter().map(|shelf| shelf.live.get()).sum()
    }

    /// Bytes held from the system.
    pub fn held_bytes(&self) -> usize {
        self.ground.held()
    }

    /// A block of `len` bytes, at most 64 KiB. Constant time, but once in as many blocks as go into a magazine: then so
    /// many are carved or linked, and now and then the system is asked for memory. Freeing one never asks it for any.
    ///
    /// # Errors
    /// When it is longer, the pool at its limit, or the system out of memory.
    #[inline]
    pub fn alloc(&self, len: usize) -> Result<LocalBlock<'_>, PoolError> {
        // All that is not the usual way is one call, so that this much may be inlined.
        if let Some(class) = SizeClass::of(len)
            && let Some(block) = self.shelves[class.index()].take(len)
        {
            return Ok(block);
        }
        self.alloc_slow(len)
    }

    #[cold]
    #[inline(never)]
    fn alloc_slow(&self, len: usize) -> Result<LocalBlock<'_>, PoolError> {
        let class = SizeClass::of(len).ok_or_else(|| too_long(len))?;
        if let Some(guard) = &self.guard {
            return self.alloc_guarded(guard, class, len);
        }
        let shelf = &self.shelves[class.index()];
        // SAFETY: one call at a time (I1), and the borrow ends here.
        let loaded = unsafe { &mut *shelf.loaded.get() };
        if loaded.rounds.furnish(magazine_blocks(class, CACHE_BYTES)) {
            loaded.rounds.swap_for_blocks(&mut loaded.held);
        }
        Ok(shelf.hand_out(self.take_slow(class)?, len))
    }

    /// A free block, or one of fresh memory.
    pub(super) fn take_slow(&self, class: SizeClass) -> Result<NonNull<u8>, PoolError> {
        let shelf = &self.shelves[class.index()];
        // SAFETY: one call at a time (I1), and the borrows end with this one.
        let (loaded, list) = unsafe { (&mut *shelf.loaded.get(), &mut *shelf.list.get()) };
        if let Some(start) = loaded.pop() {
            return Ok(start);
        }
        if let Some(id) = list.pop(&shelf.links) {
            return Ok(shelf.geometry.start(id));
        }
        let carved = self.ground.carve(class, magazine_blocks(class, CACHE_BYTES));
        let run = carved.map_err(|why| self.refusal(why, class))?;
        run.rest().for_each(|id| list.push(id, &shelf.links));
        Ok(shelf.geometry.start(run.first))
    }

    #[cold]
    fn refusal(&self, why: NoMemory, class: SizeClass) -> PoolError {
        let (pool, bytes, max) = (LOCAL.to_owned(), class.bytes(), self.ground.bytes_max());
        match why {
            NoMemory::Limit { held } => PoolError::Exhausted { pool, bytes, held, max },
            NoMemory::System { bytes } => PoolError::System { pool, bytes },
        }
    }
}

/// What a local pool is called in errors.
pub(super) const LOCAL: &str = "a local pool";

#[cold]
fn too_long(bytes: usize) -> PoolError {
    PoolError::TooLong { pool: LOCAL.to_owned(), bytes, max: GREATEST }
}

impl Loaded {
    #[inline(always)]
    fn pop(&mut self) -> Option<NonNull<u8>> {
        self.rounds.pop(&mut self.held)
    }

    #[inline(always)]
    fn push(&mut self, start: NonNull<u8>) -> bool {
        self.rounds.push(&mut self.held, start)
    }
}

impl LocalShelf {
    /// From the loaded magazine.
    #[inline(always)]
    fn take(&self, len: usize) -> Option<LocalBlock<'_>> {
        // SAFETY: one call at a time (I1), and the borrow ends here.
        let start = unsafe { &mut *self.loaded.get() }.pop()?;
        Some(self.hand_out(start, len))
    }

    #[cfg(rt_asan)]
    fn class(&self) -> usize {
        SizeClass::of(self.geometry.bytes()).expect("blocks are as long as their class says").index()
    }

    #[inline(always)]
    pub(super) fn hand_out(&self, start: NonNull<u8>, len: usize) -> LocalBlock<'_> {
        self.live.set(self.live.get() + 1);
        #[cfg(rt_asan)]
        if self.guard.is_none() {
            shadow::lend(start, self.class(), len);
        }
        LocalBlock { shelf: self, start, len }
    }

    #[inline(always)]
    fn put(&self, start: NonNull<u8>) {
        // A block that comes home twice is counted out again once that is noticed (`come_home`).
        self.live.set(self.live.get().wrapping_sub(1));
        #[cfg(rt_asan)]
        if self.guard.is_none() {
            shadow::forbid(start, self.class(), 0);
        }
        // SAFETY: one call at a time (I1), and the borrow ends here.
        if !unsafe { &mut *self.loaded.get() }.push(start) {
            self.put_slow(start);
        }
    }

    /// With the loaded magazine full: what is in it goes to the list, unless the other one has room.
    #[cold]
    #[inline(never)]
    fn put_slow(&self, start: NonNull<u8>) {
        if let Some(guard) = &self.guard {
            return self.come_home(guard, start);
        }
        // SAFETY: one call at a time (I1), and the borrows end with this one.
        let (loaded, list) = unsafe { (&mut *self.loaded.get(), &mut *self.list.get()) };
        if !loaded.rounds.swap_for_room(&mut loaded.held) {
            while let Some(block) = loaded.pop() {
                list.push(self.geometry.id(block), &self.links);
            }
        }
        if !loaded.push(start) {
            list.push(self.geometry.id(start), &self.links);
        }
    }

    /// Puts a block on the list.
    pub(super) fn keep(&self, start: NonNull<u8>) {
        // SAFETY: one call at a time (I1), and the borrow ends with this one.
        unsafe { &mut *self.list.get() }.push(self.geometry.id(start), &self.links);
    }
}

impl Deref for LocalBlock<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: ours alone until we are dropped, initialised (I4 of `ground`), and `len` fits the class.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for LocalBlock<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`; `&mut self` makes this the only view of them.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for LocalBlock<'_> {
    #[inline]
    fn drop(&mut self) {
        self.shelf.put(self.start);
    }
}

impl fmt::Debug for LocalPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPool").field("live", &self.live()).field("held_bytes", &self.held_bytes()).finish()
    }
}

impl fmt::Debug for LocalBlock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalBlock").field("len", &self.len).finish_non_exhaustive()
    }
}
