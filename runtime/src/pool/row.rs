//! One thread's part of a pool: its gate, its magazines and its counts.
//!
//! A pool has a row for each row of the table that counters use (`observe::Cells`), made when a thread first needs it, so a
//! row has one holder at a time and outlives the threads that use it.
//!
//! I1  `rounds` are touched by the holder, inside, at a station that caches; or by who has claimed the gate and waited.
//! I2  Counts are the holder's, added to by load and store, and read by anybody: Relaxed, as they publish nothing.
//! I3  A row whose rounds hold blocks is `tenanted`: its thread has promised to have it vacated at its end. The promise is
//!     renewed when a successor on the row finds it vacated.

use super::gate::Gate;
use super::magazine::Rounds;
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
#[repr(align(64))]
#[derive(Debug, Default)]
pub struct Slot {
    rounds: UnsafeCell<Rounds>,
    allocs: AtomicU64,
    frees: AtomicU64,
    /// Bytes asked for by what was allocated here, less by what was freed here. Wraps.
    requested: AtomicU64,
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

    #[inline(always)]
    pub(super) fn count_alloc(&self, counting: Counting, len: usize) {
        counting.add(&self.allocs, 1);
        counting.add(&self.requested, len as u64);
    }

    /// Whether the next free is one that looks at what idles.
    #[inline(always)]
    pub(super) fn looks_due(&self) -> bool {
        self.frees.load(Relaxed) % LOOK_EVERY == LOOK_EVERY - 1
    }

    /// Blocks freed by the row's holders.
    pub fn frees(&self) -> u64 {
        self.frees.load(Relaxed)
    }

    #[inline(always)]
    pub(super) fn count_free(&self, counting: Counting, len: usize) {
        counting.add(&self.frees, 1);
        counting.add(&self.requested, (len as u64).wrapping_neg());
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
    pub(super) gate: Gate,
    tenanted: AtomicBool,
    /// In the row itself, so that a slot is found without another load.
    slots: [Slot; SLOTS],
    events: [[AtomicU64; EVENTS]; SLOTS],
}

impl Row {
    /// `None` when there is no memory for it.
    pub fn new() -> Option<Box<Self>> {
        let mut row = Vec::new();
        row.try_reserve_exact(1).ok()?;
        row.push(Self {
            gate: Gate::default(),
            tenanted: AtomicBool::new(false),
            slots: std::array::from_fn(|_| Slot::default()),
            events: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
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

    pub(super) fn count(&self, counting: Counting, class: usize, event: Event, n: u64) {
        counting.add(&self.events[class][event as usize], n);
    }

    /// Blocks handed out and given back.
    pub(super) fn operations(&self) -> u64 {
        self.slots.iter().map(|slot| slot.allocs.load(Relaxed) + slot.frees.load(Relaxed)).sum()
    }

    /// Adds the row's counts of a class. Frees are read first, so that those in flight seldom show as too many.
    pub(super) fn add_to(&self, class: usize, sum: &mut Counts) {
        let slot = self.slot(class);
        sum.frees += slot.frees.load(Relaxed);
        sum.allocs += slot.allocs.load(Relaxed);
        sum.requested = sum.requested.wrapping_add(slot.requested.load(Relaxed));
        for (sum, event) in sum.events.iter_mut().zip(&self.events[class]) {
            *sum += event.load(Relaxed);
        }
    }
}
