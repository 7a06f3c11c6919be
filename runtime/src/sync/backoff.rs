//! Waiting a little: spin, then yield, then be told that it is time to park.

#[cfg(not(any(rt_loom, rt_shuttle)))]
use super::hint;
use super::thread;

/// Grows from a few pauses to yields of the time slice. Make a new one for each wait.
///
/// Under a model every step is a yield, and parking is due at once: a model explores schedules, not durations.
#[derive(Debug, Default)]
pub struct Backoff {
    step: u32,
}

impl Backoff {
    /// 2^0 ..= 2^6 pauses: some microseconds together, the span in which a thread that runs gets its step done.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    const SPIN_STEPS: u32 = 6;
    /// Then four yields (half a microsecond each when nobody else wants the core) before parking pays.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    const YIELD_STEPS: u32 = 10;

    /// Starts at the shortest wait.
    pub const fn new() -> Self {
        Self { step: 0 }
    }

    /// After a lost race, where somebody else made progress: never yields.
    #[inline]
    pub fn spin(&mut self) {
        #[cfg(not(any(rt_loom, rt_shuttle)))]
        {
            let step = self.step.min(Self::SPIN_STEPS);
            for _ in 0..1_u32 << step {
                hint::spin_loop();
            }
            self.step = step + 1;
        }
        #[cfg(any(rt_loom, rt_shuttle))]
        thread::yield_now();
    }

    /// While somebody else has to move first: spins, then yields.
    #[inline]
    pub fn snooze(&mut self) {
        #[cfg(not(any(rt_loom, rt_shuttle)))]
        {
            if self.step <= Self::SPIN_STEPS {
                for _ in 0..1_u32 << self.step {
                    hint::spin_loop();
                }
            } else {
                thread::yield_now();
            }
            self.step = (self.step + 1).min(Self::YIELD_STEPS);
        }
        #[cfg(any(rt_loom, rt_shuttle))]
        thread::yield_now();
    }

    /// True when waiting longer is better done parked.
    #[inline]
    pub fn is_completed(&self) -> bool {
        #[cfg(not(any(rt_loom, rt_shuttle)))]
        return self.step >= Self::YIELD_STEPS;
        #[cfg(any(rt_loom, rt_shuttle))]
        true
    }
}
