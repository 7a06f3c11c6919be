//! How hard the thread works that moves keys.
//!
//! Others want the cores for the map itself. A thread that never rests is taken off its core by the system every so
//! often, with a stripe or a shard in its hands as likely as not, and all who come to that wait for as long as the
//! others' turns last: milliseconds. One that rests of its own accord does so with nothing in its hands, and is let in
//! at once when it comes back. So the migrator works for a while and then rests for as long, whether or not anybody
//! wants its core: it cannot know, and a hand-over takes twice as long at most.

#[cfg(not(any(rt_loom, rt_shuttle)))]
pub(super) use clocked::Pace;
#[cfg(any(rt_loom, rt_shuttle))]
pub(super) use modelled::Pace;

#[cfg(not(any(rt_loom, rt_shuttle)))]
mod clocked {
    use crate::observe::{Moment, now};
    use crate::sync::thread;
    use std::cell::Cell;
    use std::time::Duration;

    /// Shorter than the system's time slice, long beside what it takes to fall asleep and wake.
    const SPELL: Duration = Duration::from_micros(300);
    /// Steps between two looks at the clock: some microseconds.
    const STEPS: u32 = 32;

    pub(in super::super) struct Pace {
        began: Cell<Moment>,
        steps: Cell<u32>,
        rest_max: Duration,
    }

    impl Pace {
        /// For steps that are short beside a spell. One that was long because others had the core is no reason for a longer rest.
        pub(in super::super) fn begin() -> Self {
            Self::with_rests_up_to(SPELL)
        }

        /// For steps that may take so long themselves.
        pub(in super::super) fn with_rests_up_to(rest_max: Duration) -> Self {
            Self { began: Cell::new(now()), steps: Cell::new(0), rest_max }
        }

        /// After each step, with nothing in hand that others could wait for, no lock and no guard of the process's own
        /// domain. Rests when it is time.
        pub(in super::super) fn keep(&self) {
            self.steps.set(self.steps.get() + 1);
            if !self.steps.get().is_multiple_of(STEPS) {
                return;
            }
            let worked = self.began.get().elapsed();
            if worked >= SPELL {
                thread::sleep(worked.min(self.rest_max));
                self.began.set(now());
            }
        }
    }
}

/// Models have no clock.
#[cfg(any(rt_loom, rt_shuttle))]
mod modelled {
    use std::time::Duration;

    pub(in super::super) struct Pace;

    impl Pace {
        pub(in super::super) fn begin() -> Self {
            Self
        }

        pub(in super::super) fn with_rests_up_to(_: Duration) -> Self {
            Self
        }

        pub(in super::super) fn keep(&self) {}
    }
}
