//! What a pool keeps free, at five levels over the same blocks, and the change from one level to another.
//!
//! Free blocks of a class are in one of four places:
//!
//! | place | who takes from it and puts into it | at level |
//! |---|---|---|
//! | `shared`, a tagged list | anybody, at any time, by compare-exchange | all: the way home for what comes by an unusual way |
//! | `locked`, a list | who holds its lock | `mutex` |
//! | rounds of a row: a hand, or two magazines | the row's holder behind its gate, or who has claimed that | a hand at `lock_free` and `fixed`, magazines at `thread_cached` and `unlocked` |
//! | `depot`, magazines | who holds its lock | `thread_cached` |
//!
//! Every level looks into `shared` before it grows, so that is where a hand-over puts what it finds. A level is a protocol
//! for reaching blocks, not a kind of block: blocks in use are no part of it, and are freed by the level that is then in
//! force. `unlocked` is a row's rounds without a depot, for one row only, the owner's: the first that allocates. At
//! `lock_free` and `fixed` half a hand at a time goes to `shared` and comes from there, by one exchange.
//!
//! What a thread may do with a class stands in its own gate before it, as the station: the level, or nothing while the gate
//! is claimed or vacant. A holder at no station is as a thread that has no row: it works on `shared` alone, which is right
//! at any level.
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
//! I1  The rows' stations and `level`: a gate is at no station but `level`, unless its holder is inside, or the change of
//!     level has not come to it yet.
//! I2  A change claims every gate, waits for every holder, and only then touches places other than `shared`; gates are
//!     vacated after. So a place is reached by one level's protocol at a time: rounds and depot by threads at caching
//!     stations, `locked` by those at `mutex`. Nothing is held when a gate is opened, so rounds can then be made a hand or
//!     magazines.
//! I3  Rows are made under `control`, so a change knows all that could be at a station.
//! O1  `level` is stored Release before the heavy half of the change, and loaded Acquire inside by a holder that is at no
//!     station: it sees the new level, or the change waits for it (O1 of `gate`). It opens its gate at what it loaded by a
//!     compare-exchange, which a claim in between makes fail.
//! O2  `rows[i]` is stored Release and loaded Acquire: it publishes the row.
//! Progress: wait-free while what is loaded has a block, or room; else that of the place behind: lock-free at `lock_free`
//! and `fixed`, blocking at `thread_cached`, where a magazine is exchanged under the depot's lock, and at `mutex`; growth
//! is blocking. A change, and a search at the limit, block until every holder was outside once.
//!
//! Not promised: that an allocation beside a change finds a block that the change has in hand; it grows, or, at the limit,
//! waits for the change (`core`).

use super::control::Control;
use super::gate::{Pass, Station, Visit};
use super::level::Level;
use super::magazine::Rounds;
use super::row::{Counting, Counts, Event, LOOK_EVERY, Row, SLOTS, Slot};
use super::shelf::{Run, Shelf};
use crate::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::sync::{MODELLED, Mutex, barrier};
use std::ptr::{NonNull, null_mut};

/// Rows that a stock has places for; a model has two.
pub const ROWS: usize = if MODELLED { 2 } else { 64 };

/// The bit that lets the quick paths work at a station. The words without it are below all that have it, so that the one
/// comparison of `caches` tells them too.
pub(super) const QUICK: u32 = 8;

pub(super) const UNLOCKED: Station = quick(Level::Unlocked);
pub(super) const MUTEX: Station = quick(Level::Mutex);
pub(super) const LOCK_FREE: Station = quick(Level::LockFree);
pub(super) const THREAD_CACHED: Station = quick(Level::ThreadCached);
pub(super) const FIXED: Station = quick(Level::Fixed);

const fn quick(level: Level) -> Station {
    assert!((level as u32) < QUICK && level as u32 >= Level::Mutex as u32);
    Station((level as u32 | QUICK) as u8)
}

/// Whether blocks are kept in rounds at a station where the quick paths work.
#[inline(always)]
pub(super) fn caches(station: Station) -> bool {
    station.0 > MUTEX.0
}

/// The same for who has entered quickly, and does not if nothing is known.
#[inline(always)]
fn caches_quickly(station: Station) -> bool {
    (MUTEX.0 + 1..=Station::LAST).contains(&station.0)
}

/// The word in `level` of a pool that is closed.
pub(super) const CLOSED: u32 = 1;
/// The word in `owner` when there is none.
pub(super) const NOBODY: u32 = u32::MAX;

/// Whether a free is one that looks at what idles.
#[inline(always)]
fn looks_due(pass: &Pass<'_>) -> bool {
    pass.visits().puts_due(LOOK_EVERY)
}

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
    /// Not at all: the thread has no row, or may not use it, perhaps because the pool is closed.
    Past,
}

/// The places and the rows of a pool.
#[derive(Debug)]
pub struct Stock {
    pub(super) level: AtomicU32,
    pub(super) owner: AtomicU32,
    rows: [AtomicPtr<Row>; ROWS],
    /// Counts for all that no gate counts: threads that have no row, and large blocks. Its own gates are not used.
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

    /// Blocks of a class freed inside gates.
    pub fn frees_of_rows(&self, class: usize) -> u64 {
        self.all_rows().map(|row| row.visits(class).1).sum()
    }

    /// Blocks handed out and given back so far through each row that there may be, and without any at the end.
    pub fn operations(&self) -> Vec<u64> {
        let of_row = |index| self.row(index).map_or(0, Row::operations);
        (0..ROWS).map(of_row).chain([self.past.past_operations()]).collect()
    }

    /// A class's counts over all rows.
    pub fn counts(&self, class: usize) -> Counts {
        let mut sum = Counts::default();
        self.past.add_past_to(class, &mut sum);
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

    /// Counts an allocation that no gate counts.
    pub fn count_past_alloc(&self, class: usize, len: usize) {
        self.past.count_past_take(class);
        self.past.slot(class).count_requested(Counting::Among, len as u64);
    }

    /// Counts a free that no gate counts.
    pub fn count_past_free(&self, class: usize, len: usize) {
        self.past.count_past_put(class);
        self.past.slot(class).count_requested(Counting::Among, (len as u64).wrapping_neg());
    }

    /// A block for `len` bytes from what the thread has loaded, if there is any.
    #[inline(always)]
    pub fn take_quick(&self, index: usize, class: usize, len: usize) -> Option<NonNull<u8>> {
        let slot = self.row(index)?.slot(class);
        let pass = slot.gate.enter_quickly(Visit::TAKE_HELD);
        if !caches_quickly(pass.station()) {
            return None;
        }
        let mut held = pass.held();
        // SAFETY: inside, at a station that caches (I1 of `row`).
        let block = unsafe { slot.rounds(|rounds| rounds.pop(&mut held)) }?;
        slot.count_requested(Counting::Alone, len as u64);
        pass.leave();
        Some(block)
    }

    /// Puts a block of `len` bytes that was taken through the same row to what the thread has loaded, if there is room.
    /// False when there is none, and once in `LOOK_EVERY`, so that the thread comes by [`put`](Self::put) and has a look at
    /// what idles.
    #[inline(always)]
    pub fn put_quick(&self, index: usize, class: usize, len: usize, from: usize, block: NonNull<u8>) -> bool {
        if from != index {
            return false;
        }
        let Some(row) = self.row(index) else { return false };
        let slot = row.slot(class);
        let pass = slot.gate.enter_quickly(Visit::PUT_HELD);
        if !caches_quickly(pass.station()) || looks_due(&pass) {
            return false;
        }
        let mut held = pass.held();
        // SAFETY: inside, at a station that caches (I1 of `row`).
        if !unsafe { slot.rounds(|rounds| rounds.push(&mut held, block)) } {
            return false;
        }
        // Inside: once outside, the pool may be closed, and gone with its last block.
        slot.count_requested(Counting::Alone, (len as u64).wrapping_neg());
        pass.leave();
        true
    }

    /// A block for `len` bytes from what is at hand: also from behind the lock, and where light halves are fences.
    #[inline]
    pub fn take_usual(&self, index: usize, class: usize, len: usize) -> Option<NonNull<u8>> {
        let row = self.row(index)?;
        let slot = row.slot(class);
        let mut pass = slot.gate.enter(Visit::TAKE);
        let block = match pass.station() {
            MUTEX => self.pop_locked(row, class)?,
            station if caches(station) => {
                let mut held = pass.held();
                // SAFETY: inside, at a station that caches (I1 of `row`).
                let block = unsafe { slot.rounds(|rounds| rounds.pop(&mut held)) }?;
                pass.hold(held);
                block
            }
            _ => return None,
        };
        slot.count_requested(Counting::Alone, len as u64);
        if pass.visits().takes_due(LOOK_EVERY) {
            row.follow(class, &pass);
        }
        pass.leave();
        Some(block)
    }

    /// Puts a block of `len` bytes, taken through whatever row, to what is at hand, as [`take_usual`](Self::take_usual)
    /// takes it from there. False when there is no room, and once in `LOOK_EVERY`.
    #[inline]
    pub fn put_usual(&self, index: usize, class: usize, len: usize, from: usize, block: NonNull<u8>) -> bool {
        let Some(row) = self.row(index) else { return false };
        let slot = row.slot(class);
        let mut pass = slot.gate.enter(Visit::PUT);
        if looks_due(&pass) {
            return false;
        }
        match pass.station() {
            MUTEX => self.put_locked(row, class, block),
            station if caches(station) => {
                let mut held = pass.held();
                // SAFETY: inside, at a station that caches (I1 of `row`).
                if !unsafe { slot.rounds(|rounds| rounds.push(&mut held, block)) } {
                    return false;
                }
                pass.hold(held);
            }
            _ => return false,
        }
        // Inside, as in `put_quick`.
        slot.count_requested(Counting::Alone, (len as u64).wrapping_neg());
        if from != index {
            row.count(Counting::Alone, class, Event::RemoteFree, 1);
        }
        pass.leave();
        true
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
        if let Some(row) = self.ensure_row(index) {
            let slot = row.slot(class);
            let mut pass = slot.gate.enter(Visit::TAKE);
            if let Some(station) = self.settle(row, index, class, &mut pass, true)? {
                let taken = match station {
                    MUTEX => self.take_locked(row, class, grow),
                    _ => self.take_cached(row, class, station, &mut pass, grow),
                };
                let block = taken.map_err(Refused::NoGrowth)?;
                slot.count_requested(Counting::Alone, len as u64);
                row.follow(class, &pass);
                pass.leave();
                return Ok(block);
            }
        } else if self.level() == Some(Level::Unlocked) {
            return Err(Refused::NotOwner);
        }
        let block = self.take_shared(class, None, grow).map_err(Refused::NoGrowth)?;
        self.count_past_alloc(class, len);
        Ok(block)
    }

    /// Puts a block into any place there is, but for a thread that has no row or may not use it: that one does it by
    /// [`put_past`](Self::put_past).
    pub fn put(&self, index: usize, class: usize, len: usize, from: usize, block: NonNull<u8>) -> Home {
        let Some(row) = self.row(index) else { return Home::Past };
        let slot = row.slot(class);
        let mut pass = slot.gate.enter(Visit::PUT);
        let looks = looks_due(&pass);
        match self.settle::<()>(row, index, class, &mut pass, false) {
            Ok(Some(MUTEX)) => self.put_locked(row, class, block),
            Ok(Some(station)) => self.put_cached(row, class, station, &mut pass, block),
            Ok(None) | Err(_) => return Home::Past,
        }
        slot.count_requested(Counting::Alone, (len as u64).wrapping_neg());
        if from != index {
            row.count(Counting::Alone, class, Event::RemoteFree, 1);
        }
        row.follow(class, &pass);
        pass.leave();
        if looks { Home::Look } else { Home::Kept }
    }

    /// Puts a block on `shared`, for a thread that has no row. The free is not counted.
    pub fn put_past(&self, class: usize, block: NonNull<u8>) {
        self.put_shared(None, class, self.shelf(class).geometry.id(block));
    }

    /// The station of a holder that is inside, its gate opened if that is vacant and the thread has promised to vacate it.
    /// None, and it is as one who has no row. For one who has come by the long way it is the same whether the pool is
    /// watched or not.
    fn settle<E>(
        &self,
        row: &Row,
        index: usize,
        class: usize,
        pass: &mut Pass<'_>,
        allocates: bool,
    ) -> Result<Option<Station>, Refused<E>> {
        let station = pass.station();
        if station.0 >= Station::FIRST {
            return Ok(Some(Station(station.0 | QUICK as u8)));
        }
        let level = self.level.load(Ordering::Acquire); // O1
        let tenanted = row.is_tenanted();
        if level | QUICK == u32::from(UNLOCKED.0) && !(tenanted && self.owns(index, allocates)) {
            return if allocates { Err(Refused::NotOwner) } else { Ok(None) };
        }
        let may = station == Station::VACANT && level != CLOSED && tenanted;
        if !may || !pass.open(Station(level as u8)) {
            return Ok(None);
        }
        let station = Station((level | QUICK) as u8);
        self.furnish(row.slot(class), class, station);
        Ok(Some(station))
    }

    /// Has the rounds of a gate that has just been opened be what they are at its station.
    fn furnish(&self, slot: &Slot, class: usize, station: Station) {
        let hand = || slot.hand();
        let work = |rounds: &mut Rounds| match station {
            // SAFETY: rows stay where they are, and a slot's hand is only used by its rounds.
            LOCK_FREE | FIXED => unsafe { rounds.use_hand(hand(), self.shelf(class).hand_blocks()) },
            _ => rounds.use_magazines(),
        };
        // SAFETY: inside, at a station that we opened (I1 of `row`), and nothing is held (I2).
        unsafe { slot.rounds(work) }
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
