//! The clock of the runtime: monotonic nanoseconds, about 10 ns to read (std's `Instant` costs 23).

use crate::sync::OnceLock;
use std::time::Duration;

/// A point on the monotonic clock, in nanoseconds since the process first asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// Time since `earlier`; zero if `earlier` is in fact later, as clocks of two cores may say.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Time from this moment until now.
    pub fn elapsed(self) -> Duration {
        now().since(self)
    }
}

/// Reads the clock. The first call calibrates it, which takes some milliseconds: hosts call it once at start.
pub fn now() -> Moment {
    static START: OnceLock<(quanta::Clock, quanta::Instant)> = OnceLock::new();
    let (clock, start) = START.get_or_init(|| {
        let clock = quanta::Clock::new();
        let start = clock.now();
        (clock, start)
    });
    Moment(clock.now().duration_since(*start).as_nanos() as u64)
}
