//! Grace periods: when everyone who might read a piece of garbage has stopped.
//!
//! One period at a time. The collector gathers the bags, turns the clock, passes the heavy half of the barrier, and
//! looks at every record. A record holds the period up while it has a guard of another epoch than the clock's. Once
//! none does, at one look or over several, what was gathered is ripe.
//!
//! Source: the grace periods of user-level RCU (Desnoyers et al., "User-Level Implementations of Read-Copy Update",
//! 2012), with an epoch where that has a phase bit, so that one turn is enough; the asymmetric barrier is theirs too.
//! Epochs that advance past slow readers and three bags (Fraser; crossbeam-epoch) were not taken: they need two turns
//! before anything is freed. Nor reference counts on batches (Hyaline; seize): they make each reader free what it held
//! up.
//!
//! Writers: everything here, and the domain's `clock`, by the holder of the collector's lock.
//! I1  The lock is never held while user code runs, nor while anybody is waited for.
//! I2  The clock is turned only when no period is under way: it is never more than one epoch ahead of a guard that was
//!     seen. A guard may carry an older epoch than that only if its thread was interrupted between its load of the
//!     clock and its store; it is then waited for without need, once. Epochs are compared for equality, so wrapping
//!     past the last one needs no care, but that such an interruption must end within 2^48 periods.
//! O1  A reader stores its state, passes the light half, and reads; the collector has what was taken out of structures
//!     behind it (the bags' O1), passes the heavy half, and looks at the states. Reader's half first: the look finds
//!     the guard. Collector's first: the reader cannot find what was taken out. This also covers a record that the look
//!     did not find in the list, whose first guard was stored after it was published.
//! O2  A found guard of the clock's own epoch is not waited for: its load of the clock, Acquire, read the turn,
//!     Release, so the reader came after what was gathered had been taken out. (No model shows the Acquire to be
//!     needed: their light half would do instead of it.)
//! O3  A look that finds no guard, or one of this epoch, has loaded by Acquire what the record stored by Release after
//!     all reads of earlier guards (the record's O2). So nothing read under them is still being read.
//! Progress: a step takes time in proportion to records and garbage and waits for nobody. A reader that sleeps stops
//! the period, and with it every later one.

use super::domain::Shared;
use super::pile::Pile;
use super::record::EPOCH;
use crate::sync::atomic::Ordering;
use crate::sync::barrier;
use std::time::Instant;

pub(super) struct Period {
    /// The clock it turned to.
    pub(super) clock: u64,
    /// When it was turned: guards that hold it up are older.
    pub(super) began: Instant,
}

#[derive(Default)]
pub(super) struct Collector {
    pub(super) period: Option<Period>,
    /// What the period under way is for.
    waiting: Pile,
    /// What may be dropped.
    ripe: Pile,
    pub(super) periods: u64,
}

impl Collector {
    /// Ends the period under way if nothing holds it up any more.
    pub(super) fn look(&mut self, shared: &Shared) {
        if let Some(Period { clock, .. }) = self.period
            && !shared.records().any(|record| record.holds_up(clock))
        {
            self.period = None;
            self.periods += 1;
            self.ripe.append(std::mem::take(&mut self.waiting));
        }
    }

    /// Begins a period for all that has been retired. None may be under way.
    pub(super) fn begin(&mut self, shared: &Shared) -> u64 {
        debug_assert!(self.period.is_none(), "a period is under way (I2)");
        self.gather(shared);
        let clock = shared.clock.load(Ordering::Relaxed).wrapping_add(EPOCH); // Turned under this lock only.
        shared.clock.store(clock, Ordering::Release); // O2
        barrier::heavy(); // O1
        self.period = Some(Period { clock, began: Instant::now() });
        clock
    }

    /// Goes on as far as it can without waiting.
    pub(super) fn step(&mut self, shared: &Shared) {
        self.look(shared);
        if self.period.is_none() {
            self.gather(shared);
            if !self.waiting.is_empty() {
                self.begin(shared);
                self.look(shared);
            }
        }
    }

    fn gather(&mut self, shared: &Shared) {
        for record in shared.records() {
            // SAFETY: the caller has the collector by its lock.
            unsafe { record.gather(&mut self.waiting) };
        }
    }

    /// At most `most` objects of what is ripe, or a block.
    pub(super) fn take_ripe(&mut self, most: usize) -> Pile {
        self.ripe.take(most)
    }

    /// Everything there is, ripe or not.
    pub(super) fn take_all(&mut self, shared: &Shared) -> Pile {
        self.gather(shared);
        self.ripe.append(std::mem::take(&mut self.waiting));
        std::mem::take(&mut self.ripe)
    }
}
