//! One thread's part of a pool: by class its gate, its magazines and its counts.
//!
//! A pool has a row for each row of the table that counters use (`observe::Cells`), made when a thread first needs it, so a
//! row has one holder at a time and outlives the threads that use it. What an operation touches of a class is one line, the
//! slot's first, beside the blocks: stores to one line retire two at a time.
//!
//! I1  `rounds` are touched by the holder, inside, at a station that caches; or by who has claimed the gate and waited.
//!     How many blocks are loaded is the gate's `held`.
//! I2  Counts are the holder's, added to by load and store, and read by anybody: Relaxed, as they publish nothing. What is
//!     counted of threads that have no row is added to by read-modify-write, in a row that has no holder.
//! I3  A row whose rounds hold blocks is `tenanted`: its thread has promised to have it vacated at its end. The promise is
//!     renewed when a successor on the row finds it vacated.
//! I4  Takes and puts are counted by the gate, as far as its word reaches, and the tally follows: whoever comes the long way
//!     brings it up to date, which is at least once in [`LOOK_EVERY`] puts, and in as many takes as there are blocks in two magazines
//!     beside that. So the tally is never 2^24 behind, and together they are exact.

use super::gate::{Gate, Pass};
use super::magazine::{Hand, Rounds};
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicBool, AtomicU64};
use crate::sync::{MODELLED, UnsafeCell};

/// What a row counts of a class, beside what every operation counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Event {
    /// A block was freed by another thread than allocated it.
    RemoteFree,
    /// Magazines were filled from behind.
    Fill,
    /// Magazines were emptied to behind.
    Flush,
    /// Whole magazines were exchanged at the depot.
    Exchange,
    /// A lock was taken that somebody else had.
    LockWait,
    /// A compare-exchange was lost to another thread.
    CasFailure,
    /// An allocation was refused.
    Refusal,
}

/// Classes that a row has slots for, large blocks among them; a model has one.
pub const SLOTS: usize = if MODELLED { 1 } else { 98 };

/// One in so many frees of a thread and class looks at what idles.
pub const LOOK_EVERY: u64 = 1024;

/// How many kinds of event there are.
pub const EVENTS: usize = 7;

/// A class in a row.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct Slot {
    pub(super) gate: Gate,
    /// Bytes asked for by what was allocated here, less by what was freed here. Wraps.
    requested: AtomicU64,
    rounds: UnsafeCell<Rounds>,
    hand: UnsafeCell<Hand>,
}

// SAFETY: the rounds are reached by one thread at a time (I1); the rest is atomic.
unsafe impl Sync for Slot {}

/// How a count is raised: by its only writer, or by many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// By load and store.
    Alone,
    /// By read-modify-write.
    Among,
}

impl Counting {
    #[inline(always)]
    pub(super) fn add(self, count: &AtomicU64, n: u64) {
        match self {
            Counting::Alone => count.store(count.load(Relaxed).wrapping_add(n), Relaxed),
            Counting::Among => _ = count.fetch_add(n, Relaxed),
        }
    }
}

impl Slot {
    /// # Safety
    /// The caller may touch the rounds (I1), and does so by nothing else while `work` runs.
    #[inline(always)]
    pub(super) unsafe fn rounds<R>(&self, work: impl FnOnce(&mut Rounds) -> R) -> R {
        // SAFETY: by the caller.
        self.rounds.with_mut(|rounds| work(unsafe { &mut *rounds }))
    }

    /// The rounds' own hand. It is to be used through them (I1).
    pub(super) fn hand(&self) -> *mut Hand {
        self.hand.with_mut(|hand| hand)
    }

    #[inline(always)]
    pub(super) fn count_requested(&self, counting: Counting, len: u64) {
        counting.add(&self.requested, len);
    }
}

/// What is counted of a class beside the gate (I4).
#[derive(Debug, Default)]
struct Tally {
    takes: AtomicU64,
    puts: AtomicU64,
    events: [AtomicU64; EVENTS],
}

impl Tally {
    /// The exact numbers of takes and puts, with what the gate says (I4).
    fn visits(&self, gate: &Gate) -> (u64, u64) {
        loop {
            let known = (self.takes.load(Acquire), self.puts.load(Acquire));
            let visits = gate.visits();
            // A reader that was kept from running in between might have missed a round of the gate's.
            if known == (self.takes.load(Relaxed), self.puts.load(Relaxed)) {
                return visits.onward(known);
            }
        }
    }
}

/// A class's figures, summed over rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Blocks handed out.
    pub allocs: u64,
    /// Blocks given back.
    pub frees: u64,
    /// Bytes asked for by the blocks in use. Wraps while they are summed beside operations.
    pub requested: u64,
    /// Rarer things, by [`Event`].
    pub events: [u64; EVENTS],
}

impl Counts {
    /// How often that happened.
    pub fn of(&self, event: Event) -> u64 {
        self.events[event as usize]
    }

    /// Whether nothing was ever asked for.
    pub fn is_untouched(&self) -> bool {
        self.allocs == 0 && self.of(Event::Refusal) == 0
    }

    /// Bytes asked for by the blocks in use; none when frees in flight were seen before their allocations.
    pub fn requested_bytes(&self) -> u64 {
        u64::try_from(self.requested.cast_signed()).unwrap_or(0)
    }

    /// Blocks in use: none when frees in flight were seen before their allocations.
    pub fn live(&self) -> u64 {
        self.allocs.saturating_sub(self.frees)
    }
}

/// The row. On lines of its own.
#[repr(align(128))]
#[derive(Debug)]
pub struct Row {
    tenanted: AtomicBool,
    /// In the row itself, so that a slot is found without another load.
    slots: [Slot; SLOTS],
    tallies: [Tally; SLOTS],
}

impl Row {
    /// `None` when there is no memory for it.
    pub fn new() -> Option<Box<Self>> {
        let mut row = Vec::new();
        row.try_reserve_exact(1).ok()?;
        row.push(Self {
            tenanted: AtomicBool::new(false),
            slots: std::array::from_fn(|_| Slot::default()),
            tallies: std::array::from_fn(|_| Tally::default()),
        });
        let row: *mut [Self] = Box::into_raw(row.into_boxed_slice());
        // SAFETY: a slice of one is laid out as the one.
        Some(unsafe { Box::from_raw(row.cast::<Self>()) })
    }

    /// Notes that the thread which holds the row has promised to have it vacated at its end.
    pub fn promised(&self) {
        self.tenanted.store(true, Release);
    }

    /// Whether a thread has promised that, and not done so yet.
    pub fn is_tenanted(&self) -> bool {
        self.tenanted.load(Acquire)
    }

    /// The promise is being kept.
    pub(super) fn leave(&self) {
        self.tenanted.store(false, Release);
    }

    #[inline(always)]
    pub(super) fn slot(&self, class: usize) -> &Slot {
        &self.slots[class]
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> + Clone {
        self.slots.iter()
    }

    pub(super) fn count(&self, counting: Counting, class: usize, event: Event, n: u64) {
        counting.add(&self.tallies[class].events[event as usize], n);
    }

    /// Counts a take that no gate counts, by one of many threads.
    pub(super) fn count_past_take(&self, class: usize) {
        Counting::Among.add(&self.tallies[class].takes, 1);
    }

    /// Counts a put that no gate counts, by one of many threads.
    pub(super) fn count_past_put(&self, class: usize) {
        Counting::Among.add(&self.tallies[class].puts, 1);
    }

    /// Brings the tally of a class up to the visits before this one, if it is far behind (I4).
    pub(super) fn follow(&self, class: usize, pass: &Pass<'_>) {
        let tally = &self.tallies[class];
        let known = (tally.takes.load(Relaxed), tally.puts.load(Relaxed));
        let (takes, puts) = pass.visits().onward(known);
        if takes - known.0 >= LOOK_EVERY || puts - known.1 >= LOOK_EVERY {
            tally.takes.store(takes, Release);
            tally.puts.store(puts, Release);
        }
    }

    /// Blocks handed out and given back.
    pub(super) fn operations(&self) -> u64 {
        (0..SLOTS).map(|class| self.visits(class)).map(|(takes, puts)| takes + puts).sum()
    }

    /// The same of a row without a holder.
    pub(super) fn past_operations(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.takes.load(Relaxed) + tally.puts.load(Relaxed)).sum()
    }

    /// Takes and puts of a class, exactly.
    pub(super) fn visits(&self, class: usize) -> (u64, u64) {
        self.tallies[class].visits(&self.slots[class].gate)
    }

    /// Adds the row's counts of a class, if it has a holder.
    pub(super) fn add_to(&self, class: usize, sum: &mut Counts) {
        let (takes, puts) = self.visits(class);
        sum.frees += puts;
        sum.allocs += takes;
        self.add_rest_to(class, sum);
    }

    /// Adds what many threads have counted in a row without a holder.
    pub(super) fn add_past_to(&self, class: usize, sum: &mut Counts) {
        let tally = &self.tallies[class];
        sum.frees += tally.puts.load(Relaxed);
        sum.allocs += tally.takes.load(Relaxed);
        self.add_rest_to(class, sum);
    }

    fn add_rest_to(&self, class: usize, sum: &mut Counts) {
        sum.requested = sum.requested.wrapping_add(self.slots[class].requested.load(Relaxed));
        for (sum, event) in sum.events.iter_mut().zip(&self.tallies[class].events) {
            *sum += event.load(Relaxed);
        }
    }
}
