//! A worker's wall time, split into exclusive states that always sum to it.
//!
//! Writers: all fields by the worker that owns the clock. Readers take a consistent copy by the sequence.
//! I1  `sequence` is odd exactly while the owner changes the rest.
//! I2  At every even sequence, the totals sum to `since` minus the time the clock was off; so totals plus the time
//!     since `since`, charged to `state`, sum to the time the clock has been on.
//! O1  The owner makes the sequence odd, then a Release fence, then the changes: a reader that sees a change and
//!     then (Acquire fence) reads the sequence sees it odd or later, and tries again.
//! O2  The store that makes it even is Release and pairs with the reader's first Acquire load: a reader that starts
//!     from an even sequence sees everything written before it.
//! Progress: the owner is wait-free. A reader retries while the owner writes, which it does a few times a batch.

use crate::sync::atomic::{AtomicU64, Ordering, fence};
use crate::sync::hint;

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum State {
    /// Working on a batch.
    Busy = 0,
    /// Waiting for one.
    Idle = 1,
    /// Holding one that the next queue has no room for.
    BackPressured = 2,
}

impl State {
    /// All states, in the order of [`StateClock::read`].
    pub const ALL: [State; 3] = [State::Busy, State::Idle, State::BackPressured];

    /// The state as it is spelled in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Busy => "busy",
            State::Idle => "idle",
            State::BackPressured => "backpressured",
        }
    }
}

const OFF: u64 = 3;

/// The clock of one worker. Times are nanoseconds of one monotonic clock, given by the caller.
#[derive(Debug)]
pub struct StateClock {
    sequence: AtomicU64,
    state: AtomicU64,
    since: AtomicU64,
    totals: [AtomicU64; 3],
}

impl Default for StateClock {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { sequence: zero(), state: AtomicU64::new(OFF), since: zero(), totals: [zero(), zero(), zero()] }
    }
}

impl StateClock {
    /// Charges the time since the last change to the state left, and enters `state`. Owner only.
    pub fn enter(&self, state: State, at: u64) {
        self.change(state as u64, at);
    }

    /// Stops the clock: time passes uncharged until the next [`enter`](Self::enter). Owner only.
    pub fn stop(&self, at: u64) {
        self.change(OFF, at);
    }

    fn change(&self, to: u64, at: u64) {
        // The owner reads its own writes, so Relaxed loads are exact.
        let sequence = self.sequence.load(Ordering::Relaxed);
        let from = self.state.load(Ordering::Relaxed);
        // Never backwards, whatever two cores' clocks say. A reader whose clock was ahead of `at` may still have been
        // told more than the next one will be; `Stage::read` sees to that.
        let since = self.since.load(Ordering::Relaxed);
        let at = at.max(since);
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        fence(Ordering::Release); // O1
        if let Some(total) = self.totals.get(from as usize) {
            total.store(total.load(Ordering::Relaxed) + (at - since), Ordering::Relaxed);
        }
        self.state.store(to, Ordering::Relaxed);
        self.since.store(at, Ordering::Relaxed);
        self.sequence.store(sequence + 2, Ordering::Release); // O2
    }

    /// Nanoseconds spent in each state until `at`, the current one included.
    pub fn read(&self, at: u64) -> [u64; 3] {
        loop {
            let before = self.sequence.load(Ordering::Acquire); // O2
            let mut totals = [0; 3];
            for (total, cell) in totals.iter_mut().zip(&self.totals) {
                *total = cell.load(Ordering::Relaxed);
            }
            let (state, since) = (self.state.load(Ordering::Relaxed), self.since.load(Ordering::Relaxed));
            fence(Ordering::Acquire); // O1
            if before.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == before {
                if let Some(total) = totals.get_mut(state as usize) {
                    *total += at.saturating_sub(since);
                }
                return totals;
            }
            #[cfg(rt_loom)]
            crate::sync::thread::yield_now();
            hint::spin_loop();
        }
    }
}

#[cfg(all(test, not(any(rt_loom, rt_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn states_sum_to_the_time_it_was_on() {
        let clock = StateClock::default();
        assert_eq!(clock.read(5), [0, 0, 0]);
        clock.enter(State::Idle, 10);
        clock.enter(State::Busy, 25);
        assert_eq!(clock.read(40), [15, 15, 0]);
        clock.enter(State::BackPressured, 40);
        clock.stop(45);
        assert_eq!(clock.read(1000), [15, 15, 5]);
        clock.enter(State::Busy, 1000);
        assert_eq!(clock.read(1001), [16, 15, 5]);
    }
}
