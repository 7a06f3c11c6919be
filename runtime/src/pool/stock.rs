//! What a pool keeps free, at five levels over the same blocks, and the change from one level to another.
//!
//! Free blocks of a class are in one of four places:
//!
//! | place | who takes from it and puts into it | at level |
//! |---|---|---|
//! | `shared`, a tagged list | anybody, at any time, by compare-exchange | `lock_free`, `fixed`; at the others the way home for what comes by an unusual way |
//! | `locked`, a list | who holds its lock | `mutex` |
//! | rounds of a row, two magazines | the row's holder behind its gate, or who has claimed that | `thread_cached`, `unlocked` |
//! | `depot`, magazines | who holds its lock | `thread_cached` |
//!
//! Every level looks into `shared` before it grows, so that is where a hand-over puts what it finds. A level is a protocol
//! for reaching blocks, not a kind of block: blocks in use are no part of it, and are freed by the level that is then in
//! force. `unlocked` is a row's rounds without a depot, for one row only, the owner's: the first that allocates.
//!
//! What a thread may do stands in its own gate, as the station: the level, or nothing while the gate is claimed or vacant.
//! A holder at no station works on `shared` alone, which is right at any level; so is every thread that has no row.
//!
//! ```text
//! station, and `level`   3       2 .. 0
//!                        QUICK   level
//! ```
//! Without `QUICK` a pool is watched (`guard`): the quick paths know no such station, so every operation comes by `take` and
//! `put`, which work on the level's places all the same. To watch and to look away again are changes like those of level.
//!
//! Writers: `level` and `owner` under `control` (`owner` also by the compare-exchange of who becomes it); `rows[i]` once,
//! under `control`. What is in gates and places, as said there.
//! I1  The rows' stations and `level`: a row is at no station but `level`, unless its holder is inside, or the change of
//!     level has not come to its gate yet.
//! I2  A change claims every gate, waits for every holder, and only then touches places other than `shared`; gates are
//!     vacated after. So a place is reached by one level's protocol at a time: rounds and depot by threads at caching
//!     stations, `locked` by those at `mutex`.
//! I3  Rows are made under `control`, so a change knows all that could be at a station.
//! O1  `level` is stored Release before the heavy half of the change, and loaded Acquire inside by a holder that is at no
//!     station: it sees the new level, or the change waits for it (O1 of `gate`). It opens its gate at what it loaded by a
//!     compare-exchange, which a claim in between makes fail.
//! O2  `rows[i]` is stored Release and loaded Acquire: it publishes the row.
//! Progress: of the operations that of their place, and wait-free on a magazine that is not empty. A change blocks until
//! every holder was outside once.
//!
//! Not promised: that an allocation beside a change finds a block that the change has in hand; it grows, or, at the limit,
//! waits for the change (`core`).

use super::control::Control;
use super::gate::{Pass, Station};
use super::level::Level;
use super::row::{Counting, Counts, Event, Row, SLOTS};
use super::shelf::{Run, Shelf};
use crate::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::sync::{MODELLED, Mutex, barrier};
use std::ptr::{NonNull, null_mut};

/// Rows that a stock has places for; a model has two.
pub const ROWS: usize = if MODELLED { 2 } else { 64 };

/// The bit that lets the quick paths work at a station. The words without it are below all that have it, so that the one
/// comparison of `caches` tells them too.
pub(super) const QUICK: u32 = 8;

pub(super) const UNLOCKED: Station = Station(Level::Unlocked as u32 | QUICK);
pub(super) const MUTEX: Station = Station(Level::Mutex as u32 | QUICK);
pub(super) const LOCK_FREE: Station = Station(Level::LockFree as u32 | QUICK);
pub(super) const THREAD_CACHED: Station = Station(Level::ThreadCached as u32 | QUICK);
pub(super) const FIXED: Station = Station(Level::Fixed as u32 | QUICK);

const _: () = assert!((Level::Unlocked as u32) < QUICK && (Level::ThreadCached as u32) < QUICK);
const _: () = assert!(THREAD_CACHED.0 > FIXED.0 && UNLOCKED.0 > FIXED.0 && FIXED.0 > LOCK_FREE.0 && FIXED.0 > MUTEX.0);

/// Whether blocks are kept in magazines at a station where the quick paths work.
#[inline(always)]
fn caches(station: Station) -> bool {
    station.0 > FIXED.0
}

/// The word in `level` of a pool that is closed.
pub(super) const CLOSED: u32 = 1;
/// The word in `owner` when there is none.
pub(super) const NOBODY: u32 = u32::MAX;

/// Why no block was had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused<E> {
    /// The pool is another thread's.
    NotOwner,
    /// It could not grow.
    NoGrowth(E),
}

/// How a block came home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// It is there.
    Kept,
    /// It is there, and it is time to see whether too much idles.
    Look,
    /// Not at all: the thread has no row.
    Past,
    /// Not at all: the pool is closed.
    Closed,
}

/// The places and the rows of a pool.
#[derive(Debug)]
pub struct Stock {
    pub(super) level: AtomicU32,
    pub(super) owner: AtomicU32,
    rows: [AtomicPtr<Row>; ROWS],
    /// Counts for all threads that have no row; its gate and rounds are not used.
    pub(super) past: Box<Row>,
    pub(super) shelves: Box<[Shelf]>,
    control: Mutex<()>,
}

impl Stock {
    /// Nothing in it, at a level; `None` when there is no memory for it. Counts are kept for [`SLOTS`] classes, which may
    /// be more than there are shelves.
    pub fn new(level: Level, shelves: Box<[Shelf]>) -> Option<Self> {
        barrier::prepare();
        assert!(shelves.len() <= SLOTS, "{} classes, and rows with {SLOTS} slots", shelves.len());
        Some(Self {
            level: AtomicU32::new(level as u32 | QUICK),
            owner: AtomicU32::new(NOBODY),
            rows: std::array::from_fn(|_| AtomicPtr::new(null_mut())),
            past: Row::new()?,
            shelves,
            control: Mutex::new(()),
        })
    }

    /// The level in force, if it is not closed.
    pub fn level(&self) -> Option<Level> {
        Level::from_word(self.level.load(Ordering::Acquire) & !QUICK)
    }

    pub(super) fn shelf(&self, class: usize) -> &Shelf {
        &self.shelves[class]
    }

    /// Nobody else claims gates while this is held. Not to be taken inside a gate.
    pub fn control(&self) -> Control<'_> {
        Control::new(self, self.control.lock())
    }

    /// The row at `index`, if it was made; never one past the table.
    #[inline(always)]
    pub(super) fn row(&self, index: usize) -> Option<&Row> {
        let row = self.rows.get(index)?.load(Ordering::Acquire); // O2
        // SAFETY: rows are freed with the stock.
        unsafe { row.as_ref() }
    }

    /// The row at `index`, made if need be; `None` past the table, and when there is no memory for it.
    pub fn ensure_row(&self, index: usize) -> Option<&Row> {
        let place = self.rows.get(index)?;
        if self.row(index).is_none() {
            let _control = self.control(); // I3
            if self.row(index).is_none() {
                place.store(Box::into_raw(Row::new()?), Ordering::Release); // O2
            }
        }
        self.row(index)
    }

    pub(super) fn all_rows(&self) -> impl Iterator<Item = &Row> + Clone {
        (0..self.rows.len()).filter_map(|index| self.row(index))
    }

    /// Threads that have promised to have their rows vacated, and live.
    pub fn tenants(&self) -> usize {
        self.all_rows().filter(|row| row.is_tenanted()).count()
    }

    /// Blocks of a class freed by threads that have a row.
    pub fn frees_of_rows(&self, class: usize) -> u64 {
        self.all_rows().map(|row| row.slot(class).frees()).sum()
    }

    /// Blocks handed out and given back so far through each row that there may be, and without any at the end.
    pub fn operations(&self) -> Vec<u64> {
        let of_row = |index| self.row(index).map_or(0, Row::operations);
        (0..ROWS).map(of_row).chain([self.past.operations()]).collect()
    }

    /// A class's counts over all rows.
    pub fn counts(&self, class: usize) -> Counts {
        let mut sum = Counts::default();
        self.past.add_to(class, &mut sum);
        self.all_rows().for_each(|row| row.add_to(class, &mut sum));
        sum
    }

    /// Counts something for the thread on row `index`.
    pub fn count(&self, index: usize, class: usize, event: Event, n: u64) {
        if n > 0 {
            match self.row(index) {
                Some(row) => row.count(Counting::Alone, class, event, n),
                None => self.past.count(Counting::Among, class, event, n),
            }
        }
    }

    /// Counts an allocation of a class that has no shelf.
    pub fn count_alloc(&self, index: usize, class: usize, len: usize) {
        match self.row(index) {
            Some(row) => row.slot(class).count_alloc(Counting::Alone, len),
            None => self.past.slot(class).count_alloc(Counting::Among, len),
        }
    }

    /// Counts a free of a class that has no shelf.
    pub fn count_free(&self, index: usize, class: usize, len: usize) {
        match self.row(index) {
            Some(row) => row.slot(class).count_free(Counting::Alone, len),
            None => self.past.slot(class).count_free(Counting::Among, len),
        }
    }

    /// A block for `len` bytes from the loaded magazine, if it has one.
    #[inline(always)]
    pub fn take_quick(&self, index: usize, class: usize, len: usize) -> Option<NonNull<u8>> {
        let row = self.row(index)?;
        let pass = row.gate.enter();
        if !caches(pass.station()) {
            return None;
        }
        let slot = row.slot(class);
        // SAFETY: inside, at a station that caches (I1 of `row`).
        let block = unsafe { slot.rounds(|rounds| rounds.pop()) }?;
        slot.count_alloc(Counting::Alone, len);
        Some(block)
    }

    /// A block for `len` bytes without leaving the usual way: from a magazine, a list or under a lock that is at hand.
    pub fn take_usual(&self, index: usize, class: usize, len: usize) -> Option<NonNull<u8>> {
        let row = self.row(index)?;
        let pass = row.gate.enter();
        let station = pass.station();
        let slot = row.slot(class);
        let block = if caches(station) {
            // SAFETY: inside, at a station that caches (I1 of `row`).
            unsafe { slot.rounds(|rounds| rounds.pop()) }
        } else {
            self.take_listed(row, station, class)
        }?;
        slot.count_alloc(Counting::Alone, len);
        Some(block)
    }

    /// A block by any way there is. `grow` makes fresh ones, up to as many as it is asked for.
    ///
    /// # Errors
    /// At `unlocked` for all threads but the owner; else what `grow` said.
    pub fn take<E>(
        &self,
        index: usize,
        class: usize,
        len: usize,
        grow: impl FnOnce(u32) -> Result<Run, E>,
    ) -> Result<NonNull<u8>, Refused<E>> {
        let Some(row) = self.ensure_row(index) else {
            if self.level() == Some(Level::Unlocked) {
                return Err(Refused::NotOwner);
            }
            let block = self.take_shared(class, None, grow).map_err(Refused::NoGrowth)?;
            self.past.slot(class).count_alloc(Counting::Among, len);
            return Ok(block);
        };
        let pass = row.gate.enter();
        let block = match self.settle(row, index, &pass, true)? {
            THREAD_CACHED => self.take_cached(row, class, true, grow),
            UNLOCKED => self.take_cached(row, class, false, grow),
            station @ (MUTEX | LOCK_FREE | FIXED) => match self.take_listed(row, station, class) {
                Some(block) => Ok(block),
                None => self.take_shared(class, Some(row), grow),
            },
            _ => self.take_shared(class, Some(row), grow),
        }
        .map_err(Refused::NoGrowth)?;
        row.slot(class).count_alloc(Counting::Alone, len);
        Ok(block)
    }

    /// The station of a holder that is inside, opened if the gate is vacant and the thread has promised to vacate it. For
    /// one who has come by the long way it is the same whether the pool is watched or not.
    fn settle<E>(&self, row: &Row, index: usize, pass: &Pass<'_>, allocates: bool) -> Result<Station, Refused<E>> {
        let station = pass.station();
        if station != Station::VACANT && station != Station::CLAIMED {
            return Ok(Station(station.0 | QUICK));
        }
        let level = self.level.load(Ordering::Acquire); // O1
        let tenanted = row.is_tenanted();
        if level | QUICK == UNLOCKED.0 && !(tenanted && self.owns(index, allocates)) {
            return if allocates { Err(Refused::NotOwner) } else { Ok(Station::VACANT) };
        }
        let may = station == Station::VACANT && level != CLOSED && tenanted;
        Ok(if may && pass.open(Station(level)) { Station(level | QUICK) } else { Station::VACANT })
    }

    /// Whether the row at `index` is the owner's; if nobody is and it allocates, it becomes that.
    fn owns(&self, index: usize, allocates: bool) -> bool {
        let index = index as u32;
        let owner = self.owner.load(Ordering::Relaxed);
        cfg!(rt_mutant = "pool_owner_unchecked")
            || owner == index
            || allocates
                && owner == NOBODY
                && self.owner.compare_exchange(NOBODY, index, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Puts a block of `len` bytes that was taken through the same row into the loaded magazine, if there is room. False
    /// when there is none, and once in `LOOK_EVERY`.
    #[inline(always)]
    pub fn put_quick(&self, index: usize, class: usize, len: usize, from: usize, block: NonNull<u8>) -> bool {
        if from != index {
            return false;
        }
        let Some(row) = self.row(index) else { return false };
        let slot = row.slot(class);
        if slot.looks_due() {
            return false;
        }
        let pass = row.gate.enter();
        // SAFETY: inside, at a station that caches (I1 of `row`).
        if !caches(pass.station()) || !unsafe { slot.rounds(|rounds| rounds.push(block)) } {
            return false;
        }
        // Inside: once outside, the pool may be closed, and gone with its last block.
        slot.count_free(Counting::Alone, len);
        true
    }

    /// Puts a block of `len` bytes into the usual place, if there is room. False when there is none, and once in
    /// `LOOK_EVERY`, so that the thread comes by [`put`](Self::put) and has a look at what idles.
    pub fn put_usual(&self, index: usize, class: usize, len: usize, from: usize, block: NonNull<u8>) -> bool {
        let Some(row) = self.row(index) else { return false };
        let slot = row.slot(class);
        if slot.looks_due() {
            return false;
        }
        let pass = row.gate.enter();
        let station = pass.station();
        let kept = if caches(station) {
            // SAFETY: inside, at a station that caches (I1 of `row`).
            unsafe { slot.rounds(|rounds| rounds.push(block)) }
        } else {
            self.put_listed(row, station, class, block)
        };
        if kept {
            // Inside: once outside, the pool may be closed, and gone with its last block.
            slot.count_free(Counting::Alone, len);
            if from != index {
                row.count(Counting::Alone, class, Event::RemoteFree, 1);
            }
        }
        kept
    }

    /// Puts a block into any place there is, but for a thread that has no row: that one does it by
    /// [`put_past`](Self::put_past).
    pub fn put(&self, index: usize, class: usize, len: usize, from: usize, block: NonNull<u8>) -> Home {
        let Some(row) = self.row(index) else { return Home::Past };
        let pass = row.gate.enter();
        let looks = row.slot(class).looks_due();
        let Ok(station) = self.settle::<()>(row, index, &pass, false) else { return Home::Kept };
        let home = match station {
            THREAD_CACHED => self.put_cached(row, class, true, block),
            UNLOCKED => self.put_cached(row, class, false, block),
            _ if self.put_listed(row, station, class, block) => Home::Kept,
            _ if self.is_closed() => return Home::Closed,
            _ => {
                self.put_shared(Some(row), class, self.shelf(class).geometry.id(block));
                Home::Kept
            }
        };
        row.slot(class).count_free(Counting::Alone, len);
        if from != index {
            row.count(Counting::Alone, class, Event::RemoteFree, 1);
        }
        if looks { Home::Look } else { home }
    }

    /// Whether it was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.level.load(Ordering::Acquire) == CLOSED
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        for row in &self.rows {
            let row = row.load(Ordering::Relaxed);
            if !row.is_null() {
                // SAFETY: exclusive; it came from a box.
                drop(unsafe { Box::from_raw(row) });
            }
        }
    }
}
