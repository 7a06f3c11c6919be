//! One blocked call's way from its first failed try to success or giving up: spin, yield, park.

use std::time::{Duration, Instant};

use crate::sync::{Backoff, Flag, Parking};

/// The state of one blocked call. Takes the clock only after a try has failed.
pub(super) struct Wait<'a, F: Flag + Copy> {
    parking: &'a Parking,
    flag: F,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    backoff: Backoff,
    announced: bool,
    woken: bool,
}

impl<'a, F: Flag + Copy> Wait<'a, F> {
    pub(super) fn new(parking: &'a Parking, flag: F, timeout: Option<Duration>) -> Self {
        Self { parking, flag, timeout, deadline: None, backoff: Backoff::new(), announced: false, woken: false }
    }

    /// After a failed try: returns true when it is time for another, false when time is up or `give_up` says so.
    ///
    /// `nothing_moved` must be false once anybody has taken a step since that could let a try succeed, even a step
    /// that is not finished: the one that finishes it may have looked for sleepers before there was one.
    pub(super) fn pause(&mut self, nothing_moved: impl Fn() -> bool, give_up: impl Fn() -> bool) -> bool {
        if give_up() || self.is_over() {
            // What we were woken for is still there for somebody else.
            if self.woken {
                self.parking.wake_one(&self.flag);
            }
            return false;
        }
        if !self.backoff.is_completed() || !nothing_moved() {
            self.backoff.snooze();
            return true;
        }
        let entry = self.parking.enter(self.flag);
        self.announced = true;
        if nothing_moved() && !give_up() {
            self.woken = entry.wait(self.deadline);
            self.backoff = Backoff::new();
        }
        true
    }

    /// True if this call ever announced itself: a wake may have come for more than it took.
    pub(super) fn was_announced(&self) -> bool {
        self.announced
    }

    fn is_over(&mut self) -> bool {
        let Some(timeout) = self.timeout else { return false };
        let now = Instant::now();
        match self.deadline {
            Some(deadline) => now >= deadline,
            None => {
                // A timeout beyond the end of the clock is none.
                self.deadline = now.checked_add(timeout);
                if self.deadline.is_none() {
                    self.timeout = None;
                }
                timeout.is_zero()
            }
        }
    }
}
