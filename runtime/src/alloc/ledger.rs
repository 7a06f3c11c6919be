//! Where allocations are written down: a row of tallies for each thread, a tally in it for each scope.
//!
//! A thread that allocates adds to the tally of the scope it is in, in the row it holds: a relaxed load and store, no
//! lock, no shared cache line. Rows are never freed, and the row of a thread that has ended goes to the next one with
//! what stands in it, so the counts of dead threads stay in the sums. Scopes are numbered from a table of [`SCOPES`]
//! places; a place is used again when its scope is closed, and what the closed scope came to is kept under its class.
//!
//! Writers: the tallies of a row, the thread that holds it, plainly; those of `shared`, every thread without a row, by
//! `fetch_add`; `taken`, whoever takes the row by compare-exchange, and its holder when it gives it back; `rows`,
//! whoever has made a row; `next`, its maker, before the row is published; `places`, those who open and close, under
//! its lock.
//! I1  A row has at most one holder.
//! I2  Rows are freed with the ledger and not before, and the process's own ledger is never freed.
//! I3  A place belongs to one open scope at a time. No thread is in a scope that is being closed: guards borrow it.
//!     A guard that was forgotten breaks this: its thread goes on to count for whoever has the place next, which
//!     misleads and harms nobody.
//! O1  Taking a row by Acquire pairs with giving it back by Release: who takes it goes on from its last counts.
//! O2  `rows` is Release on push and Acquire on a walk, which publishes `next` and the tallies as zero.
//! O3  Tallies are Relaxed: they publish nothing. A sum may miss what is being counted, but is never torn, and does not
//!     fall from one look to the next, because every tally only grows.
//! O4  What was counted in a scope is seen whole by who closes it: the threads that were in it have left it, and that
//!     has happened before the scope could be dropped (I3). The lock on `places` hands the sum on to the place's next
//!     scope as its zero.
//! Progress: counting is wait-free. Taking a row is lock-free but for the allocation of a new one. Opening, closing and
//! reading take the lock, which nobody takes who allocates.

use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use crate::sync::{CachePadded, MODELLED, Mutex};
use std::alloc::{GlobalAlloc, Layout, System};
use std::array;
use std::ops::{Add, Sub};

/// Places for scopes, with [`OUTSIDE`] and [`OTHER`]: 4 KiB of tallies for each thread. Models take few.
pub const SCOPES: usize = if MODELLED { 4 } else { 128 };
/// The place of what is done outside of every scope.
pub const OUTSIDE: usize = 0;
/// The place that scopes share for which there is no other.
pub const OTHER: usize = 1;

const GIVE_BACK: Ordering =
    if cfg!(rt_mutant = "ledger_row_unordered") { Ordering::Relaxed } else { Ordering::Release };

/// What kind of work a scope stands for; the bounded set of labels under which a process is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// No scope was entered.
    Outside,
    /// Stages and sources of pipelines.
    Pipelines,
    /// Workers of workload runs.
    Runs,
    /// Scopes past the limit.
    Other,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 4] = [Class::Outside, Class::Pipelines, Class::Runs, Class::Other];

    /// The class as it is spelled in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Outside => "outside",
            Class::Pipelines => "pipelines",
            Class::Runs => "runs",
            Class::Other => "other",
        }
    }
}

/// What was allocated and freed so far. Bytes are those asked for, not what the allocator rounds them up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blocks allocated.
    pub allocations: u64,
    /// Bytes allocated.
    pub allocated_bytes: u64,
    /// Blocks freed, whoever had allocated them.
    pub frees: u64,
    /// Bytes freed, whoever had allocated them.
    pub freed_bytes: u64,
}

impl Counts {
    /// One block of `bytes` bytes, allocated.
    pub const fn allocation(bytes: usize) -> Self {
        Self { allocations: 1, allocated_bytes: bytes as u64, frees: 0, freed_bytes: 0 }
    }

    /// One block of `bytes` bytes, freed.
    pub const fn free(bytes: usize) -> Self {
        Self { allocations: 0, allocated_bytes: 0, frees: 1, freed_bytes: bytes as u64 }
    }

    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            allocations: with(self.allocations, other.allocations),
            allocated_bytes: with(self.allocated_bytes, other.allocated_bytes),
            frees: with(self.frees, other.frees),
            freed_bytes: with(self.freed_bytes, other.freed_bytes),
        }
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_add)
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_sub)
    }
}

/// The counts of one scope on one thread.
#[derive(Debug)]
pub struct Tally {
    allocations: AtomicU64,
    allocated_bytes: AtomicU64,
    frees: AtomicU64,
    freed_bytes: AtomicU64,
}

impl Tally {
    fn zero() -> Self {
        let zero = || AtomicU64::new(0);
        Self { allocations: zero(), allocated_bytes: zero(), frees: zero(), freed_bytes: zero() }
    }

    /// Counts a block allocated. Only for the thread that holds the row (I1): others' counts would be lost.
    #[inline(always)]
    pub fn allocated(&self, bytes: usize) {
        bump(&self.allocations, 1);
        bump(&self.allocated_bytes, bytes as u64);
    }

    /// Counts a block freed; as [`allocated`](Self::allocated).
    #[inline(always)]
    pub fn freed(&self, bytes: usize) {
        bump(&self.frees, 1);
        bump(&self.freed_bytes, bytes as u64);
    }

    /// Adds from any thread.
    fn add_shared(&self, counts: Counts) {
        self.allocations.fetch_add(counts.allocations, Ordering::Relaxed);
        self.allocated_bytes.fetch_add(counts.allocated_bytes, Ordering::Relaxed);
        self.frees.fetch_add(counts.frees, Ordering::Relaxed);
        self.freed_bytes.fetch_add(counts.freed_bytes, Ordering::Relaxed);
    }

    fn counts(&self) -> Counts {
        Counts {
            allocations: self.allocations.load(Ordering::Relaxed),
            allocated_bytes: self.allocated_bytes.load(Ordering::Relaxed),
            frees: self.frees.load(Ordering::Relaxed),
            freed_bytes: self.freed_bytes.load(Ordering::Relaxed),
        }
    }
}

/// Adds to a count of the caller's own.
#[inline(always)]
fn bump(count: &AtomicU64, n: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// The tallies of one thread, a place for each scope.
#[derive(Debug)]
#[repr(align(128))] // A thread's stores must not disturb its neighbours'. 128: cores fetch lines in pairs.
pub struct Row {
    tallies: [Tally; SCOPES],
    taken: AtomicBool,
    next: *const Row,
}

// SAFETY: `next` is written before the row is published and never after, and what it points to lives as long (I2).
unsafe impl Send for Row {}
// SAFETY: as above.
unsafe impl Sync for Row {}

impl Row {
    /// The tally of a place.
    ///
    /// # Panics
    /// When `place` is none.
    pub fn tally(&self, place: usize) -> &Tally {
        &self.tallies[place]
    }

    /// The place of one of this row's tallies.
    pub fn place_of(&self, tally: *const Tally) -> usize {
        (tally.addr() - self.tallies.as_ptr().addr()) / size_of::<Tally>()
    }

    fn try_take(&self) -> bool {
        !self.taken.load(Ordering::Relaxed)
            && self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok() // O1
    }

    /// Gives the row to the next thread. Its holder counts in it no more.
    pub fn give_back(&self) {
        self.taken.store(false, GIVE_BACK); // O1
    }
}

/// A place for a scope.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// Of the scope that has it.
    class: Option<Class>,
    /// What earlier scopes came to here.
    before: Counts,
}

#[derive(Debug)]
struct Places {
    places: [Place; SCOPES],
    /// What closed scopes came to, by class.
    closed: [Counts; Class::ALL.len()],
}

/// Rows and places. A process has one; models make their own.
#[derive(Debug)]
pub struct Ledger {
    rows: AtomicPtr<Row>,
    /// For threads that have no row: those on their way out, and those the system gave no memory for one.
    shared: CachePadded<Tally>,
    places: Mutex<Places>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl Ledger {
    /// An empty ledger. Allocates nothing.
    pub fn new() -> Self {
        let mut places = [Place::default(); SCOPES];
        places[OUTSIDE].class = Some(Class::Outside);
        places[OTHER].class = Some(Class::Other);
        Self {
            rows: AtomicPtr::new(std::ptr::null_mut()),
            shared: CachePadded::new(Tally::zero()),
            places: Mutex::new(Places { places, closed: Default::default() }),
        }
    }

    /// A row for the calling thread, which has to give it back; `None` when the system has no memory for one.
    pub fn take_row(&self) -> Option<&Row> {
        if let Some(row) = self.each_row().find(|row| row.try_take()) {
            return Some(row);
        }
        // From the system's allocator: the one that is being counted may be waiting for this very row.
        let layout = Layout::new::<Row>();
        // SAFETY: a row is not of size zero.
        let made = unsafe { System.alloc(layout) }.cast::<Row>();
        if made.is_null() {
            return None;
        }
        let row =
            Row { tallies: array::from_fn(|_| Tally::zero()), taken: AtomicBool::new(true), next: std::ptr::null() };
        // SAFETY: fresh memory of a row's size and alignment.
        unsafe { made.write(row) };
        let mut first = self.rows.load(Ordering::Relaxed);
        loop {
            // SAFETY: nobody else knows of it yet.
            unsafe { (*made).next = first };
            match self.rows.compare_exchange_weak(first, made, Ordering::Release, Ordering::Relaxed) {
                // SAFETY: published, and freed with the ledger (I2).
                Ok(_) => return Some(unsafe { &*made }), // O2
                Err(now) => first = now,
            }
        }
    }

    /// Counts for a thread that has no row, outside of every scope.
    pub fn add_shared(&self, counts: Counts) {
        self.shared.add_shared(counts);
    }

    /// A place for a new scope; [`OTHER`] when all are taken.
    pub fn open(&self, class: Class) -> usize {
        let mut table = self.places.lock();
        let Some(place) = table.places.iter().position(|place| place.class.is_none()) else { return OTHER };
        table.places[place].class = Some(class);
        place
    }

    /// Ends the scope that has a place, and keeps what it came to under its class.
    pub fn close(&self, place: usize) {
        if place == OTHER {
            return;
        }
        let mut table = self.places.lock();
        let now = self.sum(place);
        let Place { class, before } = &mut table.places[place];
        let came_to = now - *before;
        if !cfg!(rt_mutant = "ledger_place_keeps_counts") {
            *before = now;
        }
        if let Some(class) = class.take() {
            let closed = &mut table.closed[class as usize];
            *closed = *closed + came_to;
        }
    }

    /// What the scope that has a place has come to.
    pub fn counts(&self, place: usize) -> Counts {
        let before = self.places.lock().places[place].before;
        self.sum(place) - before
    }

    /// What every class has come to, its closed scopes included. Everything that was counted is in one of them.
    pub fn totals(&self) -> [(Class, Counts); Class::ALL.len()] {
        let table = self.places.lock();
        let mut totals = table.closed;
        for (place, Place { class, before }) in table.places.iter().enumerate() {
            if let Some(class) = class {
                let total = &mut totals[*class as usize];
                *total = *total + (self.sum(place) - *before);
            }
        }
        Class::ALL.map(|class| (class, totals[class as usize]))
    }

    /// Scopes that have a place of their own.
    pub fn open_scopes(&self) -> usize {
        let table = self.places.lock();
        table.places[OTHER + 1..].iter().filter(|place| place.class.is_some()).count()
    }

    fn sum(&self, place: usize) -> Counts {
        let shared = if place == OUTSIDE { self.shared.counts() } else { Counts::default() };
        self.each_row().fold(shared, |sum, row| sum + row.tallies[place].counts())
    }

    fn each_row(&self) -> impl Iterator<Item = &Row> {
        let mut next = self.rows.load(Ordering::Acquire).cast_const(); // O2
        std::iter::from_fn(move || {
            // SAFETY: null, or a row that was published and lives as long as the ledger (I2).
            let row = unsafe { next.as_ref() }?;
            next = row.next;
            Some(row)
        })
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let mut next = self.rows.load(Ordering::Relaxed);
        while !next.is_null() {
            let row = next;
            // SAFETY: rows were written where the system's allocator gave room for one, and who held them borrowed the
            // ledger (I2).
            unsafe {
                next = (*row).next.cast_mut();
                row.drop_in_place();
                System.dealloc(row.cast(), Layout::new::<Row>());
            }
        }
    }
}
