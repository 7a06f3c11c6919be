//! Waiting a little: spin, then yield.

use super::{hint, thread};

/// True when the crate is compiled for a model checker.
pub const MODELLED: bool = cfg!(any(rt_loom, rt_shuttle));

/// Grows from a few pauses to yields of the time slice. Make a new one for each wait.
///
/// Under a model every step is a yield, and parking is due at once: a model explores schedules, not durations. Loom
/// would never come to the end of two threads that yield to each other while the third is not chosen: from the second
/// wait in a row on, it follows the path that it is on without trying others.
#[derive(Debug, Default)]
pub struct Backoff {
    step: u32,
}

impl Backoff {
    /// 2^0 ..= 2^6 pauses: some microseconds together, the span in which a thread that runs gets its step done.
    const SPIN_STEPS: u32 = 6;

    /// Starts at the shortest wait.
    pub const fn new() -> Self {
        Self { step: 0 }
    }

    /// Starts at a wait of 2^`step` pauses.
    pub const fn after(step: u32) -> Self {
        Self { step: if MODELLED { 0 } else { step } }
    }

    /// After a lost race, where somebody else made progress: never yields.
    #[inline]
    pub fn spin(&mut self) {
        if MODELLED {
            self.give_way();
        } else {
            Self::pause(self.step.min(Self::SPIN_STEPS));
        }
        self.step = self.step.saturating_add(1);
    }

    /// While somebody else has to move first: spins, then yields.
    #[inline]
    pub fn snooze(&mut self) {
        if MODELLED || self.step > Self::SPIN_STEPS {
            self.give_way();
        } else {
            Self::pause(self.step);
        }
        self.step = self.step.saturating_add(1);
    }

    /// True after that many yields, when waiting longer may be better done parked.
    #[inline]
    pub fn has_yielded(&self, times: u32) -> bool {
        MODELLED || self.step > Self::SPIN_STEPS + times
    }

    fn give_way(&self) {
        #[cfg(rt_loom)]
        if self.step >= 1 {
            loom::skip_branch();
        }
        thread::yield_now();
    }

    fn pause(step: u32) {
        for _ in 0..1_u32 << step {
            hint::spin_loop();
        }
    }
}
