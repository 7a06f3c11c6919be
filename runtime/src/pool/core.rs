//! The part of a pool that blocks know: what is free, the memory, and how long that lives.
//!
//! A block has a plain pointer to it and counts nothing. The pool's end counts instead: it closes the stock, waits until
//! nobody is inside a gate, and then knows how many blocks are out. Each of them counts itself home, and the last takes
//! the memory along.
//!
//! Writers: `out` who closes adds, once; each block freed after takes one off. `past_frees` threads that have no row, or find
//! their gate claimed, and who closes sets its top bit.
//! I1  From close on nobody allocates: it is the pool that closes, when nobody has it any more.
//! I2  A block that is freed inside a gate before close has been counted in its row when the gates have been waited for;
//!     one freed after finds the gate claimed, for good. A thread at a claimed gate or without a row learns by its own add
//!     to `past_frees` on which side of the close it was, and counts in `out` if it was after.
//! I3  So `out` comes to zero once: at close if no block is left, else with the last one. Whoever finds it zero ends the
//!     core's own count of itself, taken before anything of close is done: a close that panics leaves the core to the
//!     blocks that are out, and it is never freed.
//! I4  A thread that frees touches the core inside its gate, or holds a count of it that it took while its block was out.
//! O1  Adds to `out` are AcqRel: who ends the core has heard from every free. `past_frees` likewise.

use super::control::Control;
use super::error::{LevelRefused, LevelTurned, PoolError};
use super::ground::{Ground, NoMemory};
use super::guard::{Claim, Door, GUARDED, Guard};
use super::large::Large;
use super::level::Level;
use super::number::CHUNK_BYTES;
use super::row::{Counts, Event, SLOTS};
use super::setup::PoolSetup;
#[cfg(rt_asan)]
use super::shadow;
use super::size_class::{CLASSES, Fit, GREATEST, SizeClass};
use super::stock::{Home, ROWS, Refused, Stock};
use super::tenancy;
use crate::observe::{Moment, THREAD_ROWS, now, row, row_if_known};
use crate::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Arc, Weak};
use std::ptr::NonNull;
use std::time::Duration;

/// The index under which large blocks are counted.
pub(super) const LARGE: usize = CLASSES;

const _: () = assert!(LARGE + 1 == SLOTS && ROWS == THREAD_ROWS);

/// A magazine holds at most a block for so many bytes that it may hold.
const MAGAZINE_BYTES_A_BLOCK: usize = 256;
/// More is not cached of a class, whatever the setup says.
pub(super) const CACHE_BYTES_MAX: usize = 1 << 20;
/// From a search at the limit that found nothing to the next.
const SEARCH_PAUSE: Duration = Duration::from_millis(1);
const PAST_CLOSED: u64 = 1 << 63;

/// The core.
#[derive(Debug)]
pub struct Core {
    name: Box<str>,
    this: Weak<Core>,
    pub(super) stock: Stock,
    pub(super) ground: Ground,
    pub(super) large: Large,
    pub(super) fit: Fit,
    idle_bytes: usize,
    /// By class: looks in a row that found too much idle.
    surplus: [AtomicU32; CLASSES],
    /// When a search at the limit last found nothing; 0 before the first.
    searched: AtomicU64,
    past_frees: AtomicU64,
    out: AtomicI64,
    pub(super) guard: Guard,
}

/// What an allocation came to by the longest way: a block with its tag, or an error.
type Slow = Result<(NonNull<u8>, usize), PoolError>;

#[cold]
#[inline(never)]
#[expect(clippy::boxed_local, reason = "so that who allocates does not free the box in line")]
fn unboxed(slow: Box<Slow>) -> Slow {
    *slow
}

/// Blocks that move between a thread's magazine and the depot at a time, where a thread caches so many bytes of a class.
pub(super) fn magazine_blocks(class: SizeClass, cache_bytes: usize) -> u32 {
    // A thread has two magazines.
    let bytes = cache_bytes.min(CACHE_BYTES_MAX) / 2;
    (bytes / class.bytes()).min(bytes / MAGAZINE_BYTES_A_BLOCK).max(1) as u32
}

impl Core {
    /// A core without blocks, at a level; `None` when the system refuses.
    pub fn new(name: &str, level: Level, fit: Fit, setup: &PoolSetup) -> Option<Arc<Self>> {
        let PoolSetup { limits, bytes_initial, cache_bytes, idle_bytes, huge_pages, on_fault, .. } = *setup;
        let ground = Ground::new(limits.bytes_max, huge_pages)?;
        let shelves = SizeClass::all().map(|class| ground.shelf(class, magazine_blocks(class, cache_bytes))).collect();
        let stock = Stock::new(level, shelves)?;
        if level == Level::Fixed {
            ground.fix().ok()?;
            // Rows are memory too.
            (0..THREAD_ROWS).try_for_each(|index| stock.ensure_row(index).map(drop))?;
        } else {
            ground.provide(bytes_initial).ok()?;
        }
        let guard = Guard::new(on_fault);
        if setup.guarded {
            guard.begin(&stock);
        }
        Some(Arc::new_cyclic(|this| Self {
            name: name.into(),
            this: this.clone(),
            stock,
            ground,
            large: Large::default(),
            fit,
            idle_bytes,
            surplus: std::array::from_fn(|_| AtomicU32::new(0)),
            searched: AtomicU64::new(0),
            past_frees: AtomicU64::new(0),
            out: AtomicI64::new(0),
            guard,
        }))
    }

    pub(super) fn address(&self) -> String {
        format!("pool.{}", self.name)
    }

    /// A block of a class for `len` bytes: where it begins, its row, and its class as it is to say it when it comes home.
    #[inline(always)]
    pub(super) fn alloc(
        &self,
        class: SizeClass,
        len: usize,
        door: Door,
    ) -> Result<(NonNull<u8>, usize, usize), PoolError> {
        let index = row_if_known();
        let (block, index, tag) = match self.stock.take_quick(index, class.index(), len) {
            Some(block) => (block, index, class.index()),
            None => match self.alloc_unusual(class, len, door) {
                Ok(block) => (block, row(), class.index()),
                Err(slow) => {
                    let (block, tag) = unboxed(slow)?;
                    (block, row(), tag)
                }
            },
        };
        #[cfg(rt_asan)]
        shadow::lend(block, tag, len);
        Ok((block, index, tag))
    }

    /// A block by whatever way. A guarded one and an error are boxed, so that what is returned fits registers: through
    /// memory, the address of every block would be on its way for as long as the rest of an allocation takes.
    #[inline(never)]
    fn alloc_unusual(&self, class: SizeClass, len: usize, door: Door) -> Result<NonNull<u8>, Box<Slow>> {
        let index = row();
        if let Some(block) = self.stock.take_usual(index, class.index(), len) {
            return Ok(block);
        }
        match self.alloc_slow(index, class, len, door) {
            Ok((block, tag)) if tag == class.index() => Ok(block),
            slow => Err(Box::new(slow)),
        }
    }

    #[cold]
    fn alloc_slow(
        &self,
        index: usize,
        class: SizeClass,
        len: usize,
        door: Door,
    ) -> Result<(NonNull<u8>, usize), PoolError> {
        self.promise(index);
        while let Some(plan) = self.plan(class.index(), len, door) {
            match self.alloc_guarded(index, plan) {
                // Turned to `fixed` since it was planned, where a block with its canary is too long.
                Err(PoolError::TooLong { .. }) => {}
                done => return done,
            }
        }
        loop {
            let block = self.take_anyhow(index, class, len)?;
            if self.let_out(index, class.index(), len, block) {
                return Ok((block, class.index()));
            }
        }
    }

    /// From the stock, or at the limit from wherever blocks idle.
    pub(super) fn take_anyhow(&self, index: usize, class: SizeClass, len: usize) -> Result<NonNull<u8>, PoolError> {
        let refused = match self.take(index, class, len) {
            Ok(block) => return Ok(block),
            // What is longer than the limit is not worth a search.
            Err(Refused::NoGrowth(_)) if class.bytes() <= self.ground.bytes_max() => {
                match self.take_at_limit(index, class, len) {
                    Ok(block) => return Ok(block),
                    Err(refused) => refused,
                }
            }
            Err(refused) => refused,
        };
        self.stock.count(index, class.index(), Event::Refusal, 1);
        Err(match refused {
            Refused::NotOwner => PoolError::NotOwner { pool: self.address() },
            Refused::NoGrowth(why) => self.refusal(why, class.bytes()),
        })
    }

    fn take(&self, index: usize, class: SizeClass, len: usize) -> Result<NonNull<u8>, Refused<NoMemory>> {
        let taken = self.stock.take(index, class.index(), len, |most| self.ground.carve(class, most));
        #[cfg(rt_asan)]
        if let Ok(block) = &taken {
            shadow::allow(*block, class.index(), len);
        }
        taken
    }

    /// At the limit, blocks that idle elsewhere are worth a search: in magazines of other threads first, then as chunks of
    /// other classes. A change of level that is under way is waited for, as it may have them in hand.
    fn take_at_limit(&self, index: usize, class: SizeClass, len: usize) -> Result<NonNull<u8>, Refused<NoMemory>> {
        let control = self.stock.control();
        let searches = self.may_search();
        if searches || control.finds(class.index()) {
            control.sweep(class.index());
        }
        drop(control);
        match self.take(index, class, len) {
            Err(Refused::NoGrowth(_)) if searches && self.trim_at_limit() => self.take(index, class, len),
            taken => taken,
        }
    }

    /// Whether to search for what idles: not within a moment of a search that found nothing. A search empties everybody's
    /// magazines, and a pool that is full of blocks in use would be searched at every request.
    fn may_search(&self) -> bool {
        let last = self.searched.load(Ordering::Relaxed);
        last == 0 || Moment(last).elapsed() >= SEARCH_PAUSE
    }

    /// Gives what idles back, for another class to have; false when there was nothing.
    fn trim_at_limit(&self) -> bool {
        let found = self.trim(0) > 0;
        if !found {
            self.searched.store(now().0.max(1), Ordering::Relaxed);
        }
        found
    }

    /// Has the calling thread vacate its row at its end, if it has one and has not promised so yet.
    fn promise(&self, index: usize) {
        if let Some(row) = self.stock.ensure_row(index)
            && !row.is_tenanted()
            && let Some(this) = self.this.upgrade()
            && tenancy::promise(&this, index)
        {
            row.promised();
        }
    }

    fn refusal(&self, why: NoMemory, bytes: usize) -> PoolError {
        let (pool, max) = (self.address(), self.ground.bytes_max());
        match why {
            NoMemory::Limit { held } => PoolError::Exhausted { pool, bytes, held, max },
            NoMemory::System { bytes } => PoolError::System { pool, bytes },
        }
    }

    /// A large block for `len` bytes: where it begins, its row, its class as it is to say it when it comes home, and whether
    /// it may hold anything but zeroes.
    #[cold]
    pub(super) fn alloc_large(&self, len: usize, door: Door) -> Result<(NonNull<u8>, usize, usize, bool), PoolError> {
        let index = row();
        if let Some(plan) = self.plan(LARGE, len, door) {
            return self.alloc_guarded(index, plan).map(|(start, tag)| (start, index, tag, true));
        }
        loop {
            let (start, used) = self.take_large(index, len, len)?;
            if self.let_out(index, LARGE, len, start) {
                return Ok((start, index, LARGE, used));
            }
        }
    }

    /// A large block of at least `bytes` for `len` of them, and whether it may hold what an earlier holder wrote.
    pub(super) fn take_large(&self, index: usize, len: usize, bytes: usize) -> Result<(NonNull<u8>, bool), PoolError> {
        let refuse = |refusal| {
            self.stock.count(index, LARGE, Event::Refusal, 1);
            Err(refusal)
        };
        if self.stock.level() == Some(Level::Fixed) {
            return refuse(PoolError::TooLong { pool: self.address(), bytes: len, max: GREATEST });
        }
        // What is longer than the limit is not worth a search.
        let Some(bytes) = Large::bytes_for(bytes).filter(|&bytes| bytes <= self.ground.bytes_max()) else {
            return refuse(self.refusal(NoMemory::Limit { held: self.ground.held() }, len));
        };
        let take = || self.large.take(bytes, &self.ground);
        // What is kept and does not fit stands in the way of what would, at the limit and where the system has one.
        let taken = take().or_else(|why| if self.release_kept() > 0 { take() } else { Err(why) });
        let taken = match taken {
            Err(NoMemory::Limit { .. }) if self.may_search() && self.trim_at_limit() => take(),
            taken => taken,
        };
        match taken {
            Ok((start, used)) => {
                self.stock.count_past_alloc(LARGE, len);
                #[cfg(rt_asan)]
                shadow::allow(start, LARGE, bytes);
                Ok((start, used))
            }
            Err(why) => refuse(self.refusal(why, len)),
        }
    }

    /// Takes a block back from whatever thread. `from` is the row it was allocated through, `tag` its class as `alloc` said
    /// it, or as its layout does.
    ///
    /// # Safety
    /// The block came from this core, has not come back since, and nobody uses it any more.
    #[inline(always)]
    pub(super) unsafe fn free(this: NonNull<Self>, tag: usize, len: usize, from: usize, block: NonNull<u8>) {
        #[cfg(rt_asan)]
        shadow::forbid(block, tag, len);
        // Large ones, and guarded ones of any class.
        // SAFETY: the block is out, so the core is there (I3).
        if tag >= LARGE || !unsafe { this.as_ref() }.stock.put_quick(row_if_known(), tag, len, from, block) {
            // SAFETY: by the caller, and the block is still out.
            unsafe { Self::free_unusual(this, tag, len, from, block) };
        }
    }

    /// # Safety
    /// As for `free`.
    #[inline(never)]
    unsafe fn free_unusual(this: NonNull<Self>, tag: usize, len: usize, from: usize, block: NonNull<u8>) {
        // SAFETY: the block is out, so the core is there (I3).
        if tag >= LARGE || !unsafe { this.as_ref() }.stock.put_usual(row(), tag, len, from, block) {
            // SAFETY: by the caller, and the block is still out.
            unsafe { Self::free_slow(this, row(), tag, len, from, block) };
        }
    }

    /// # Safety
    /// As for `free`.
    #[cold]
    unsafe fn free_slow(this: NonNull<Self>, index: usize, tag: usize, len: usize, from: usize, block: NonNull<u8>) {
        // SAFETY: the block is out, so the core is there (I3), and is counted for as long as it is (I4).
        let core = unsafe { this.as_ref() }.this.upgrade().expect("a core lives as long as its blocks");
        if tag & GUARDED != 0 || core.guard.looks() {
            #[cfg(rt_asan)]
            shadow::allow(block, tag, len);
            // SAFETY: by the caller.
            return unsafe { core.free_watched(index, Claim { tag, len, from }, block) };
        }
        core.put_home(index, tag, len, from, block);
    }

    /// Puts a block where it belongs.
    pub(super) fn put_home(&self, index: usize, class: usize, len: usize, from: usize, block: NonNull<u8>) {
        if class == LARGE {
            return self.free_large(len, block);
        }
        self.promise(index);
        match self.stock.put(index, class, len, from, block) {
            Home::Kept => {}
            Home::Look => self.look(class),
            Home::Past => {
                self.stock.put_past(class, block);
                if from != index {
                    self.stock.count(index, class, Event::RemoteFree, 1);
                }
                self.count_past_free(class, len);
            }
        }
    }

    fn free_large(&self, len: usize, block: NonNull<u8>) {
        let put = self.large.put(block, &self.ground, |start| self.guard.part_with(start));
        assert!(put, "a large block of {} came home twice", self.address());
        // Large blocks are counted as those of threads without a row are: no gate says when they are done.
        self.count_past_free(LARGE, len);
        self.raise_found();
    }

    /// Gives the large blocks that are kept back to the system; says how many bytes that is.
    fn release_kept(&self) -> usize {
        let released = self.large.release_kept(&self.ground, |start| self.guard.part_with(start));
        self.raise_found();
        released
    }

    /// A free outside of gates is done.
    pub(super) fn count_past_free(&self, class: usize, len: usize) {
        self.stock.count_past_free(class, len);
        if self.past_frees.fetch_add(1, Ordering::AcqRel) & PAST_CLOSED != 0 {
            self.count_home(1);
        }
    }

    /// Takes frees off what is out; the last ends the core's count of itself (I3).
    fn count_home(&self, blocks: i64) {
        if self.out.fetch_sub(blocks, Ordering::AcqRel) == blocks {
            // SAFETY: `close` left a count behind, and `out` comes to zero once (I3).
            unsafe { Arc::decrement_strong_count(Weak::as_ptr(&self.this)) };
        }
    }

    /// The pool's end (I1). The memory goes with the last block.
    pub(super) fn close(self: &Arc<Self>) {
        std::mem::forget(self.clone()); // I3
        self.stock.control().close();
        let past = self.past_frees.fetch_or(PAST_CLOSED, Ordering::AcqRel);
        let of_rows = |class| self.stock.counts(class).allocs as i64 - self.stock.frees_of_rows(class) as i64;
        let out: i64 = (0..CLASSES).map(of_rows).sum::<i64>() + self.stock.counts(LARGE).allocs as i64 - past as i64;
        self.count_home(-out);
        if self.guard.looks() {
            // What is free is not handed out again, so this is the last time that somebody looks at its poison.
            self.check();
        }
    }

    /// A thread's end.
    pub(super) fn vacate(&self, row: usize) {
        self.stock.control().vacate(row);
    }

    /// Gives chunks that idle back to the system if a class has had more idle than in use, and than may be, at two
    /// looks in a row: one might be the moment before everything is used again. A fixed pool keeps everything.
    #[cold]
    fn look(&self, class: usize) {
        if self.stock.level() == Some(Level::Fixed) {
            return;
        }
        let bytes = self.stock.shelf(class).geometry.bytes();
        let live = self.counts(class).live() as usize * bytes;
        let idle = self.ground.extent(class).carved.saturating_sub(live);
        if idle < live.saturating_add(self.idle_bytes) {
            self.surplus[class].store(0, Ordering::Relaxed);
        } else if self.surplus[class].fetch_add(1, Ordering::Relaxed) > 0 {
            self.surplus[class].store(0, Ordering::Relaxed);
            self.trim_class(&self.stock.control(), class, live / 2 + self.idle_bytes / 2);
            self.raise_found();
        }
    }

    fn trim_class(&self, control: &Control<'_>, class: usize, keep: usize) -> usize {
        let shelf = self.stock.shelf(class);
        let _growth = shelf.growth.lock();
        let Some(idle) = control.take_idle(class) else { return 0 };
        let (rest, released) = self.ground.sift(class, idle, shelf, keep, |goes| self.guard.forget(goes));
        shelf.share(rest, &mut 0);
        released
    }

    /// Gives what idles back to the system, but for `keep` bytes of each class; says how many bytes that is.
    pub(super) fn trim(&self, keep: usize) -> usize {
        let released = self.give_back(keep);
        self.raise_found();
        released
    }

    /// The same for those who hold a lock: what the guard finds is left to be raised.
    fn give_back(&self, keep: usize) -> usize {
        if self.stock.level() == Some(Level::Fixed) {
            return 0;
        }
        let control = self.stock.control();
        control.sweep_all();
        let classes: usize = (0..CLASSES).map(|class| self.trim_class(&control, class, keep)).sum();
        drop(control);
        classes + self.large.release_kept(&self.ground, |start| self.guard.part_with(start))
    }

    /// Turns to another level. Blocks in use stay as they are; free ones are handed over. What the guard finds on the way is
    /// the caller's to raise, once it holds no lock.
    pub(super) fn turn(&self, to: Level) -> Result<LevelTurned, LevelRefused> {
        let pool = || self.address();
        if to == Level::Fixed {
            // What idles is not worth refusing for.
            self.give_back(0);
        }
        let control = self.stock.control();
        let from = self.stock.level().expect("a pool that is turned is not closed");
        if from == to {
            return Ok(LevelTurned { from, moved: 0 });
        }
        if to == Level::Unlocked && self.stock.tenants() > 1 {
            return Err(LevelRefused::Shared { pool: pool(), threads: self.stock.tenants() });
        }
        if to == Level::Fixed {
            let (max, (large, _)) = (self.ground.bytes_max(), self.large.bytes());
            let chunks = self.ground.chunks_in_use() * CHUNK_BYTES;
            if chunks + large > max {
                return Err(LevelRefused::Smaller { pool: pool(), held: chunks + large, max });
            }
            if let Err(why) = self.ground.fix() {
                self.ground.unfix(); // Much may have been touched before it failed.
                return Err(match why {
                    NoMemory::Limit { held } => LevelRefused::Smaller { pool: pool(), held, max },
                    NoMemory::System { bytes } => LevelRefused::System { pool: pool(), bytes },
                });
            }
        }
        let moved = control.turn(to);
        if from == Level::Fixed {
            self.ground.unfix();
        }
        Ok(LevelTurned { from, moved })
    }

    /// A class's counts.
    pub(super) fn counts(&self, class: usize) -> Counts {
        self.stock.counts(class)
    }
}
