//! What sleepers of a queue wait for, and those who work on it ring: nearly free to ring while nobody sleeps.

use std::time::Duration;

use super::wait::{Wait, Waits, wait_async};
use crate::sync::atomic::{AtomicU8, Ordering::Relaxed};
use crate::sync::{Flag, barrier};

/// Sleepers with an announcement of their own, for structures that have no word to announce them in.
///
/// O1  A sleeper announces itself, passes the heavy side of the asymmetric fence and looks once more; whoever changes
///     something passes the light side and looks for an announcement. One of the two sees the other. The heavy side
///     lies inside the sleepers' lock, so a second sleeper, which finds the announcement made, has it behind itself as
///     well.
pub(super) struct Bell {
    /// `AWAITED` beside what the barrier's halves are.
    announced: AtomicU8,
    waits: Waits,
}

/// The announcement.
#[derive(Clone, Copy)]
pub(super) struct Announced<'a>(&'a AtomicU8);

const AWAITED: u8 = 1;

impl Flag for Announced<'_> {
    fn raise(&self) {
        self.0.store(barrier::settled() | AWAITED, Relaxed);
        barrier::heavy(); // O1
    }
    fn lower(&self) {
        self.0.store(barrier::settled(), Relaxed);
    }
}

impl Bell {
    pub(super) fn new() -> Self {
        barrier::prepare();
        Self { announced: AtomicU8::new(barrier::settled()), waits: Waits::new() }
    }

    /// After a change: false when nobody sleeps, true when that takes a closer look. The little that is inlined.
    #[inline(always)]
    pub(super) fn may_be_awaited(&self) -> bool {
        !barrier::light_load_is_zero(&self.announced) // O1
    }

    /// After a change: true when somebody sleeps who may have to be told.
    pub(super) fn is_awaited(&self) -> bool {
        barrier::light_load(&self.announced) & AWAITED != 0 // O1
    }

    /// Wakes one sleeper, if there is one: for changes that one can make use of.
    #[cold]
    pub(super) fn ring_one(&self) {
        if self.is_awaited() {
            self.waits.parking.wake_one(&Announced(&self.announced));
        }
    }

    /// Wakes every sleeper.
    pub(super) fn ring_all(&self) {
        self.waits.parking.wake_all(&Announced(&self.announced));
    }

    /// A blocked call's wait on this bell.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> Wait<'_, Announced<'_>> {
        Wait::new(&self.waits, Announced(&self.announced), timeout)
    }

    /// A task's wait on this bell: see [`wait_async`]. Returns whether it was ever announced, too.
    pub(super) async fn wait_async<R>(
        &self,
        attempt: impl FnMut() -> Option<R>,
        nothing_moved: impl Fn() -> bool,
    ) -> (R, bool) {
        wait_async(&self.waits, Announced(&self.announced), attempt, nothing_moved).await
    }
}
