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

use super::chain::{Chain, List};
use super::gate::{Pass, Station};
use super::level::Level;
use super::magazine::{Depot, Spare};
use super::number::{BlockId, Geometry, Links};
use super::row::{Counting, Counts, Event, Row, SLOTS};
use super::tagged::TaggedList;
use crate::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::sync::{CachePadded, MODELLED, Mutex, MutexGuard, barrier};
use std::ptr::{NonNull, null_mut};

/// Rows that a stock has places for; a model has two.
pub const ROWS: usize = if MODELLED { 2 } else { 64 };

const UNLOCKED: Station = Station(Level::Unlocked as u32);
const MUTEX: Station = Station(Level::Mutex as u32);
const LOCK_FREE: Station = Station(Level::LockFree as u32);
const THREAD_CACHED: Station = Station(Level::ThreadCached as u32);
const FIXED: Station = Station(Level::Fixed as u32);

const _: () = assert!(THREAD_CACHED.0 > FIXED.0 && UNLOCKED.0 > FIXED.0 && FIXED.0 > LOCK_FREE.0 && FIXED.0 > MUTEX.0);

/// Whether blocks are kept in magazines at a station.
#[inline(always)]
fn caches(station: Station) -> bool {
    station.0 > FIXED.0
}

/// The word in `level` of a pool that is closed.
const CLOSED: u32 = 1;
/// The word in `owner` when there is none.
const NOBODY: u32 = u32::MAX;

/// One size class.
#[derive(Debug)]
pub struct Shelf {
    pub(super) geometry: Geometry,
    pub(super) links: Links,
    magazine_blocks: u32,
    pub(super) shared: CachePadded<TaggedList>,
    locked: CachePadded<Mutex<List>>,
    depot: CachePadded<Mutex<Depot>>,
    /// Held by who grows the class, and by who has taken its free blocks away to look through them.
    pub(super) growth: Mutex<()>,
}

impl Shelf {
    /// With nothing in it.
    pub fn new(geometry: Geometry, links: Links, magazine_blocks: u32, tag: u32) -> Self {
        Self {
            geometry,
            links,
            magazine_blocks,
            shared: CachePadded::new(TaggedList::with_tag(tag)),
            locked: CachePadded::default(),
            depot: CachePadded::default(),
            growth: Mutex::new(()),
        }
    }

    /// Puts a list's blocks on `shared`.
    pub(super) fn share(&self, mut list: List, lost: &mut u64) {
        if let Some(chain) = list.take() {
            self.shared.push(chain, &self.links, lost);
        }
    }
}

/// Fresh blocks, side by side: the first, and how many.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// The first.
    pub first: BlockId,
    /// How many, at least one.
    pub len: u32,
}

impl Run {
    /// All but the first, the last one first: pushed so, they come out in their order.
    pub fn rest(self) -> impl Iterator<Item = BlockId> {
        let places = self.first.place() + 1..self.first.place() + self.len;
        places.rev().map(move |place| BlockId::new(self.first.chunk(), place))
    }
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
    /// Not at all: the thread has no row.
    Past,
    /// Not at all: the pool is closed.
    Closed,
}

/// The places and the rows of a pool.
#[derive(Debug)]
pub struct Stock {
    level: AtomicU32,
    owner: AtomicU32,
    rows: [AtomicPtr<Row>; ROWS],
    /// Counts for all threads that have no row; its gate and rounds are not used.
    past: Box<Row>,
    shelves: Box<[Shelf]>,
    control: Mutex<()>,
}

/// The right to claim gates and to change the level.
#[derive(Debug)]
pub struct Control<'a> {
    stock: &'a Stock,
    _guard: MutexGuard<'a, ()>,
}

impl Stock {
    /// Nothing in it, at a level; `None` when there is no memory for it. Counts are kept for [`SLOTS`] classes, which may
    /// be more than there are shelves.
    pub fn new(level: Level, shelves: Box<[Shelf]>) -> Option<Self> {
        barrier::prepare();
        assert!(shelves.len() <= SLOTS, "{} classes, and rows with {SLOTS} slots", shelves.len());
        Some(Self {
            level: AtomicU32::new(level as u32),
            owner: AtomicU32::new(NOBODY),
            rows: std::array::from_fn(|_| AtomicPtr::new(null_mut())),
            past: Row::new()?,
            shelves,
            control: Mutex::new(()),
        })
    }

    /// The level in force, if it is not closed.
    pub fn level(&self) -> Option<Level> {
        Level::from_word(self.level.load(Ordering::Acquire))
    }

    pub(super) fn shelf(&self, class: usize) -> &Shelf {
        &self.shelves[class]
    }

    /// Nobody else claims gates while this is held. Not to be taken inside a gate.
    pub fn control(&self) -> Control<'_> {
        Control { stock: self, _guard: self.control.lock() }
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

    fn all_rows(&self) -> impl Iterator<Item = &Row> + Clone {
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

    /// A block for `len` bytes without leaving the usual way: from a magazine, a list or under a lock that is at hand.
    #[inline(always)]
    pub fn take_quick(&self, index: usize, class: usize, len: usize) -> Option<NonNull<u8>> {
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

    // Not inlined, so that those who cache do not pay for its registers.
    #[inline(never)]
    fn take_listed(&self, row: &Row, station: Station, class: usize) -> Option<NonNull<u8>> {
        let shelf = self.shelf(class);
        let mut lost = 0;
        let id = match station {
            LOCK_FREE | FIXED => shelf.shared.pop(&shelf.links, &mut lost),
            MUTEX => {
                let mut locked = self.lock(row, class, &shelf.locked);
                if locked.is_empty()
                    && let Some(chain) = shelf.shared.take_all(&shelf.links)
                {
                    locked.append(chain, &shelf.links);
                }
                locked.pop(&shelf.links)
            }
            _ => None,
        };
        if lost > 0 {
            row.count(Counting::Alone, class, Event::CasFailure, lost);
        }
        Some(shelf.geometry.start(id?))
    }

    #[inline(always)]
    fn lock<'a, T>(&self, row: &Row, class: usize, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        mutex.try_lock().unwrap_or_else(|| {
            row.count(Counting::Alone, class, Event::LockWait, 1);
            mutex.lock()
        })
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
            if self.level.load(Ordering::Acquire) == Level::Unlocked as u32 {
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

    /// The station of a holder that is inside, opened if the gate is vacant and the thread has promised to vacate it.
    fn settle<E>(&self, row: &Row, index: usize, pass: &Pass<'_>, allocates: bool) -> Result<Station, Refused<E>> {
        let station = pass.station();
        if station != Station::VACANT && station != Station::CLAIMED {
            return Ok(station);
        }
        let level = self.level.load(Ordering::Acquire); // O1
        let tenanted = row.is_tenanted();
        if level == Level::Unlocked as u32 && !(tenanted && self.owns(index, allocates)) {
            return if allocates { Err(Refused::NotOwner) } else { Ok(Station::VACANT) };
        }
        let may = station == Station::VACANT && level != CLOSED && tenanted;
        Ok(if may && pass.open(Station(level)) { Station(level) } else { Station::VACANT })
    }

    /// Whether the row at `index` is the owner's; if nobody is and it allocates, it becomes that.
    fn owns(&self, index: usize, allocates: bool) -> bool {
        let index = index as u32;
        let owner = self.owner.load(Ordering::Relaxed);
        owner == index
            || allocates
                && owner == NOBODY
                && self.owner.compare_exchange(NOBODY, index, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// From `shared`, or fresh: the rest of what is fresh goes to `shared`.
    fn take_shared<E>(
        &self,
        class: usize,
        row: Option<&Row>,
        grow: impl FnOnce(u32) -> Result<Run, E>,
    ) -> Result<NonNull<u8>, E> {
        let shelf = self.shelf(class);
        let mut lost = 0;
        let taken = match shelf.shared.pop(&shelf.links, &mut lost) {
            Some(id) => Ok(id),
            None => self.fresh(shelf, &mut lost, grow).map(|fresh| match fresh {
                Fresh::Found(id) => id,
                Fresh::Run(run) => {
                    let mut rest = List::default();
                    run.rest().for_each(|id| rest.push(id, &shelf.links));
                    shelf.share(rest, &mut lost);
                    run.first
                }
            }),
        };
        if lost > 0 {
            match row {
                Some(row) => row.count(Counting::Alone, class, Event::CasFailure, lost),
                None => self.past.count(Counting::Among, class, Event::CasFailure, lost),
            }
        }
        taken.map(|id| shelf.geometry.start(id))
    }

    /// Fresh blocks, unless some came home while the class's growth was somebody else's.
    fn fresh<E>(&self, shelf: &Shelf, lost: &mut u64, grow: impl FnOnce(u32) -> Result<Run, E>) -> Result<Fresh, E> {
        let _growth = shelf.growth.lock();
        match shelf.shared.pop(&shelf.links, lost) {
            Some(id) => Ok(Fresh::Found(id)),
            None => grow(shelf.magazine_blocks).map(Fresh::Run),
        }
    }

    /// From the holder's magazines, filled from behind if they are empty. Inside, at a station that caches.
    #[cold]
    fn take_cached<E>(
        &self,
        row: &Row,
        class: usize,
        exchanges: bool,
        grow: impl FnOnce(u32) -> Result<Run, E>,
    ) -> Result<NonNull<u8>, E> {
        let shelf = self.shelf(class);
        let slot = row.slot(class);
        let work = |rounds: &mut super::magazine::Rounds| {
            if let Some(block) = rounds.pop() {
                return Ok(block);
            }
            if !rounds.furnish(shelf.magazine_blocks) {
                return self.take_shared(class, Some(row), grow);
            }
            if rounds.swap_for_blocks() {
                return Ok(rounds.pop().expect("a magazine that holds something was loaded"));
            }
            row.count(Counting::Alone, class, Event::Fill, 1);
            if exchanges && rounds.fill(&mut self.lock(row, class, &shelf.depot)) {
                row.count(Counting::Alone, class, Event::Exchange, 1);
                return Ok(rounds.pop().expect("the depot has full magazines"));
            }
            // What is shared came one by one, and goes so.
            let mut lost = 0;
            while rounds.room() > 0
                && let Some(id) = shelf.shared.pop(&shelf.links, &mut lost)
            {
                rounds.push(shelf.geometry.start(id));
            }
            let block = match rounds.pop() {
                Some(block) => Ok(block),
                None => self.fresh(shelf, &mut lost, grow).map(|fresh| match fresh {
                    Fresh::Found(id) => shelf.geometry.start(id),
                    Fresh::Run(run) => {
                        for id in run.rest() {
                            let kept = rounds.push(shelf.geometry.start(id));
                            assert!(kept, "growth gave {} blocks, more than a magazine holds", run.len);
                        }
                        shelf.geometry.start(run.first)
                    }
                }),
            };
            if lost > 0 {
                row.count(Counting::Alone, class, Event::CasFailure, lost);
            }
            block
        };
        // SAFETY: inside, at a station that caches (I1 of `row`).
        unsafe { slot.rounds(work) }
    }

    /// Puts a block of `len` bytes into the usual place, if there is room. False when there is none, and once in
    /// `LOOK_EVERY`, so that the thread comes by [`put`](Self::put) and has a look at what idles.
    #[inline(always)]
    pub fn put_quick(&self, index: usize, class: usize, len: usize, from: usize, block: NonNull<u8>) -> bool {
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

    #[inline(never)]
    fn put_listed(&self, row: &Row, station: Station, class: usize, block: NonNull<u8>) -> bool {
        let shelf = self.shelf(class);
        let id = shelf.geometry.id(block);
        match station {
            LOCK_FREE | FIXED => self.put_shared(Some(row), class, id),
            MUTEX => self.lock(row, class, &shelf.locked).push(id, &shelf.links),
            _ => return false,
        }
        true
    }

    #[inline(always)]
    fn put_shared(&self, row: Option<&Row>, class: usize, id: BlockId) {
        let shelf = self.shelf(class);
        let mut lost = 0;
        shelf.shared.push(Chain { first: id, last: id, len: 1 }, &shelf.links, &mut lost);
        if lost > 0 {
            match row {
                Some(row) => row.count(Counting::Alone, class, Event::CasFailure, lost),
                None => self.past.count(Counting::Among, class, Event::CasFailure, lost),
            }
        }
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

    /// Puts a block on `shared`, for a thread that has no row. The free is not counted.
    pub fn put_past(&self, class: usize, block: NonNull<u8>) {
        self.put_shared(None, class, self.shelf(class).geometry.id(block));
    }

    /// Whether it was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.level.load(Ordering::Acquire) == CLOSED
    }

    #[cold]
    fn put_cached(&self, row: &Row, class: usize, exchanges: bool, block: NonNull<u8>) -> Home {
        let shelf = self.shelf(class);
        let work = |rounds: &mut super::magazine::Rounds| {
            if rounds.push(block) {
                return Home::Kept;
            }
            if !rounds.furnish(shelf.magazine_blocks) {
                self.put_shared(Some(row), class, shelf.geometry.id(block));
                return Home::Kept;
            }
            if rounds.push(block) || rounds.swap_for_room() && rounds.push(block) {
                return Home::Kept;
            }
            if exchanges {
                let flushed = rounds.flush(&mut self.lock(row, class, &shelf.depot), &mut Spare::none()) || {
                    let mut spare = Spare::new(shelf.magazine_blocks);
                    rounds.flush(&mut self.lock(row, class, &shelf.depot), &mut spare)
                };
                if flushed && rounds.push(block) {
                    row.count(Counting::Alone, class, Event::Flush, 1);
                    row.count(Counting::Alone, class, Event::Exchange, 1);
                    return Home::Kept;
                }
            } else {
                // Nobody to exchange with: one magazine's worth goes out on the shared list, and the other stays.
                let mut list = List::default();
                while let Some(block) = rounds.pop() {
                    list.push(shelf.geometry.id(block), &shelf.links);
                }
                shelf.share(list, &mut 0);
                rounds.push(block);
                row.count(Counting::Alone, class, Event::Flush, 1);
                return Home::Kept;
            }
            self.put_shared(Some(row), class, shelf.geometry.id(block));
            Home::Kept
        };
        // SAFETY: inside, at a station that caches (I1 of `row`).
        unsafe { row.slot(class).rounds(work) }
    }
}

/// What growth came to.
enum Fresh {
    Found(BlockId),
    Run(Run),
}

impl Control<'_> {
    /// Claims gates and waits until their holders are outside.
    fn claim<'r>(rows: impl Iterator<Item = &'r Row> + Clone) {
        rows.clone().for_each(|row| row.gate.claim());
        barrier::heavy();
        rows.for_each(|row| row.gate.wait_outside());
    }

    /// Moves what is in a claimed row's magazines of a class to the shared list; says how many blocks.
    fn drain_row(&self, row: &Row, class: usize) -> usize {
        let shelf = self.stock.shelf(class);
        let mut list = List::default();
        // SAFETY: the gate is claimed, and its holder outside (I1 of `row`).
        unsafe { row.slot(class).rounds(|rounds| rounds.empty_into(&mut list, &shelf.geometry, &shelf.links)) };
        let blocks = list.len();
        if blocks > 0 {
            row.count(Counting::Among, class, Event::Flush, 1);
            shelf.share(list, &mut 0);
        }
        blocks
    }

    /// Turns to another level: new operations work at it from some point of this call on, and when it returns every one
    /// does. Says how many free blocks it moved.
    pub fn turn(&self, to: Level) -> usize {
        self.change(to as u32)
    }

    /// Ends all allocating: frees are told so from now on, and none is under way when this returns.
    pub fn close(&self) {
        self.change(CLOSED);
    }

    fn change(&self, to: u32) -> usize {
        let stock = self.stock;
        stock.level.store(to, Ordering::Release); // O1
        if !cfg!(rt_mutant = "pool_turn_unclaimed") {
            Self::claim(stock.all_rows());
        }
        stock.owner.store(NOBODY, Ordering::Relaxed);
        let mut moved = 0;
        for (class, shelf) in stock.shelves.iter().enumerate() {
            moved += stock.all_rows().map(|row| self.drain_row(row, class)).sum::<usize>();
            let mut list = List::default();
            shelf.depot.lock().empty_into(&mut list, &shelf.geometry, &shelf.links);
            if let Some(chain) = shelf.locked.lock().take() {
                list.append(chain, &shelf.links);
            }
            moved += list.len();
            shelf.share(list, &mut 0);
        }
        if to != CLOSED {
            stock.all_rows().for_each(|row| row.gate.vacate());
        }
        moved
    }

    /// Moves what idles of a class in threads' magazines, in the depot and behind the lock to the shared list, where a
    /// thread that has no row finds it too.
    pub fn sweep(&self, class: usize) {
        let stock = self.stock;
        if stock.level().is_some_and(Level::caches) {
            Self::claim(stock.all_rows());
            stock.all_rows().for_each(|row| _ = self.drain_row(row, class));
            stock.all_rows().for_each(|row| row.gate.vacate());
        }
        let shelf = stock.shelf(class);
        let mut list = List::default();
        shelf.depot.lock().empty_into(&mut list, &shelf.geometry, &shelf.links);
        list.append_if(shelf.locked.lock().take(), &shelf.links);
        shelf.share(list, &mut 0);
    }

    /// Moves what idles in threads' magazines of all classes to the shared lists.
    pub fn sweep_all(&self) {
        let stock = self.stock;
        if stock.level().is_some_and(Level::caches) {
            Self::claim(stock.all_rows());
            for class in 0..stock.shelves.len() {
                stock.all_rows().for_each(|row| _ = self.drain_row(row, class));
            }
            stock.all_rows().for_each(|row| row.gate.vacate());
        }
    }

    /// A thread's end: moves all that is in its row to the shared lists, and takes back what it may do.
    pub fn vacate(&self, index: usize) {
        let Some(row) = self.stock.row(index) else { return };
        row.leave();
        if !cfg!(rt_mutant = "pool_vacate_unclaimed") {
            Self::claim(std::iter::once(row));
        }
        if self.stock.is_closed() {
            return;
        }
        (0..self.stock.shelves.len()).for_each(|class| _ = self.drain_row(row, class));
        let index = index as u32;
        _ = self.stock.owner.compare_exchange(index, NOBODY, Ordering::Relaxed, Ordering::Relaxed);
        row.gate.vacate();
    }

    /// What may be idle of a class: everything on the shared list and behind the lock. The caller puts back what it does
    /// not keep.
    pub fn take_idle(&self, class: usize) -> Option<Chain> {
        let shelf = self.stock.shelf(class);
        let mut list = List::default();
        shelf.depot.lock().empty_into(&mut list, &shelf.geometry, &shelf.links);
        list.append_if(shelf.locked.lock().take(), &shelf.links);
        list.append_if(shelf.shared.take_all(&shelf.links), &shelf.links);
        list.take()
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
