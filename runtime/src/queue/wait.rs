//! One blocked call's way from its first failed try to success or giving up: spin, yield, park. A future's way:
//! announce its task, look once more, and leave the thread to others.
//!
//! Parking costs a wake-up, which can take longer than the other side needs to fill or drain the whole ring. Then each
//! side finds the other asleep in turn, and every ringful costs two wake-ups. So what the last sleeps were like decides
//! how long the next call yields before it parks: short sleeps were not worth it, long ones were.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
use crate::sync::{Backoff, Flag, MODELLED, Parking};

/// A sleep shorter than this was mostly the wake-up itself.
const SHORT_SLEEP: Duration = Duration::from_micros(200);
/// Yields before parking: at most about as long as a wake-up takes, half a microsecond each on a core of one's own.
const YIELDS: std::ops::RangeInclusive<u32> = 4..=128;
/// Pauses of the first wait, as a power of two: long enough for the other side to hand over a run, and to leave its
/// cache lines alone while it does. Tried from 0 to 5 with one producer and one consumer: 75 ns an item down to 22.
const FIRST_PAUSES: u32 = 5;

/// Those who wait on one end of a queue.
pub(super) struct Waits {
    pub(super) parking: Parking,
    /// Yields before parking; a hint, so racing updates may overwrite each other.
    patience: AtomicU32,
}

impl Waits {
    pub(super) fn new() -> Self {
        Self { parking: Parking::new(), patience: AtomicU32::new(*YIELDS.start()) }
    }

    /// How often to yield before parking. Models park at once.
    fn yields(&self) -> u32 {
        if MODELLED { 0 } else { self.patience.load(Relaxed) }
    }

    fn learn(&self, slept: Duration) {
        if MODELLED {
            return; // There is no clock, and a hint is not worth its states.
        }
        let patience = self.patience.load(Relaxed);
        let learned = if slept < SHORT_SLEEP { patience * 2 } else { patience / 2 };
        self.patience.store(learned.clamp(*YIELDS.start(), *YIELDS.end()), Relaxed);
    }
}

/// The state of one blocked call. Takes the clock only after a try has failed.
pub(super) struct Wait<'a, F: Flag + Copy> {
    waits: &'a Waits,
    flag: F,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    backoff: Backoff,
    announced: bool,
    woken: bool,
}

impl<'a, F: Flag + Copy> Wait<'a, F> {
    pub(super) fn new(waits: &'a Waits, flag: F, timeout: Option<Duration>) -> Self {
        let backoff = Backoff::after(FIRST_PAUSES);
        Self { waits, flag, timeout, deadline: None, backoff, announced: false, woken: false }
    }

    /// After a failed try: returns true when it is time for another, false when time is up or `give_up` says so.
    ///
    /// `nothing_moved` must be false once anybody has taken a step since that could let a try succeed, even a step
    /// that is not finished: the one that finishes it may have looked for sleepers before there was one.
    pub(super) fn pause(&mut self, nothing_moved: impl Fn() -> bool, give_up: impl Fn() -> bool) -> bool {
        if give_up() || self.is_over() {
            // What we were woken for is still there for somebody else.
            if self.woken {
                self.waits.parking.wake_one(&self.flag);
            }
            return false;
        }
        if !self.backoff.has_yielded(self.waits.yields()) || !nothing_moved() {
            self.backoff.snooze();
            return true;
        }
        let entry = self.waits.parking.enter(self.flag);
        self.announced = true;
        if nothing_moved() && !give_up() {
            let asleep = Instant::now();
            self.woken = entry.wait(self.deadline);
            self.waits.learn(asleep.elapsed());
            self.backoff = Backoff::after(FIRST_PAUSES);
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

/// Tries until `attempt` succeeds, as a future: registers its task where threads park, and never blocks the one it is
/// polled on. Returns with the result whether it ever announced itself, as a wake may have come for more than it took.
///
/// `nothing_moved` is as for [`Wait::pause`]. Dropped before it is done it leaves no announcement, and a wake that it
/// was given goes on to another.
pub(super) async fn wait_async<R, F: Flag + Copy>(
    waits: &Waits,
    flag: F,
    mut attempt: impl FnMut() -> Option<R>,
    nothing_moved: impl Fn() -> bool,
) -> (R, bool) {
    let mut place = waits.parking.place(flag);
    let mut announced = false;
    poll_fn(|context| {
        if let Some(done) = attempt() {
            place.retract(); // If it was woken, then for what it has got.
            return Poll::Ready((done, announced));
        }
        place.announce(context.waker());
        announced = true;
        let mut backoff = Backoff::new();
        while !nothing_moved() {
            if let Some(done) = attempt() {
                place.retract();
                return Poll::Ready((done, announced));
            }
            if backoff.has_yielded(0) {
                // Somebody is halfway through a step, and may have looked for sleepers before this one announced
                // itself. Others may need the thread to get that somebody on.
                context.waker().wake_by_ref();
                break;
            }
            backoff.snooze();
        }
        Poll::Pending
    })
    .await
}
