//! When the operations of an open loop are due.
//!
//! A schedule says how many operations are due by a time, L(t); the k-th is due where L reaches its place. Places are
//! even numbers apart, or by independent exponential steps for Poisson arrivals, and each worker has a slice of its
//! own: nobody deals operations out, as that would cost one of few cores.

use crate::generate::Stream;
use crate::script::Schedule;
use std::time::Duration;

/// The arrivals of one worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrivals {
    schedule: Schedule,
    /// Seconds the phase takes, which a ramp is spread over.
    span: f64,
    workers: f64,
    stream: Stream,
    taken: u64,
    /// Where on L the one stands that was taken last.
    place: f64,
}

impl Arrivals {
    /// The slice of a worker, `worker` of `workers`.
    pub fn new(schedule: Schedule, phase: Option<Duration>, worker: u64, workers: u64, stream: Stream) -> Self {
        let span = phase.map_or(f64::INFINITY, |phase| phase.as_secs_f64());
        let workers = workers as f64;
        // So that the next step of an even slice lands on the worker's own place.
        let place = if schedule.poisson { 0.0 } else { worker as f64 - workers };
        Self { schedule, span, workers, stream, taken: 0, place }
    }

    /// When the next operation is due, from the start of the phase.
    pub fn next(&mut self) -> Duration {
        self.place += if self.schedule.poisson {
            -(1.0 - self.stream.unit(self.taken)).ln() * self.workers
        } else {
            self.workers
        };
        self.taken += 1;
        let seconds = self.time_of(self.place);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// How many more are due by that time; for Poisson arrivals, how many are to be expected.
    pub fn due_by(&self, time: Duration) -> u64 {
        let left = (self.due(time.as_secs_f64()) - self.place) / self.workers;
        if self.schedule.poisson { left.round() as u64 } else { left as u64 }
    }

    /// L(t).
    fn due(&self, seconds: f64) -> f64 {
        let busy = match self.schedule.burst {
            None => seconds,
            Some((on, off)) => {
                let (on, cycle) = (on.as_secs_f64(), (on + off).as_secs_f64());
                (seconds / cycle).floor() * on + (seconds % cycle).min(on)
            }
        };
        self.schedule.rate * busy + self.slope() * busy * busy / 2.0
    }

    /// Where L reaches `place`.
    fn time_of(&self, place: f64) -> f64 {
        let (rate, slope) = (self.schedule.rate, self.slope());
        let busy = if slope == 0.0 {
            place / rate
        } else {
            // Of a rate that falls, what lies past its zero is never due.
            ((rate * rate + 2.0 * slope * place).sqrt() - rate) / slope
        };
        match self.schedule.burst {
            _ if busy.is_nan() => f64::INFINITY,
            None => busy,
            Some((on, off)) => {
                let (on, cycle) = (on.as_secs_f64(), (on + off).as_secs_f64());
                (busy / on).floor() * cycle + busy % on
            }
        }
    }

    /// By how much the rate changes in a second.
    fn slope(&self) -> f64 {
        self.schedule.ramp.map_or(0.0, |end| (end - self.schedule.rate) / self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule(rate: f64) -> Schedule {
        Schedule { poisson: false, rate, ramp: None, burst: None }
    }

    fn times(schedule: Schedule, worker: u64, workers: u64, n: usize) -> Vec<f64> {
        let mut arrivals = Arrivals::new(schedule, Some(SECOND), worker, workers, Stream::new(42, worker));
        (0..n).map(|_| arrivals.next().as_secs_f64()).collect()
    }

    fn close(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6)
    }

    #[test]
    fn workers_share_an_even_schedule_without_gaps() {
        let mut all: Vec<f64> = (0..3).flat_map(|worker| times(schedule(100.0), worker, 3, 10)).collect();
        all.sort_unstable_by(f64::total_cmp);
        let even: Vec<f64> = (0..30).map(|k| f64::from(k) / 100.0).collect();
        assert!(close(&all, &even), "{all:?}");
    }

    #[test]
    fn a_ramp_goes_steadily_from_rate_to_rate() {
        let ramp = Schedule { ramp: Some(300.0), ..schedule(100.0) };
        let times = times(ramp, 0, 1, 201);
        // 100 t + 100 t^2: the 75th half way, the 200th at the end.
        assert!(close(&[times[75], times[200]], &[0.5, 1.0]), "{} {}", times[75], times[200]);
        let falling = Schedule { ramp: Some(0.001), ..schedule(100.0) };
        let mut arrivals = Arrivals::new(falling, Some(SECOND), 0, 1, Stream::new(1, 1));
        assert_eq!((0..60).map(|_| arrivals.next()).last(), Some(Duration::MAX), "50 are due before it stands still");
    }

    #[test]
    fn bursts_come_and_go() {
        let burst = Some((Duration::from_millis(10), Duration::from_millis(90)));
        let times = times(Schedule { burst, ..schedule(1000.0) }, 0, 1, 25);
        assert!(close(&times[8..12], &[0.008, 0.009, 0.1, 0.101]), "{times:?}");
        assert!(times.iter().all(|time| time % 0.1 < 0.0101), "{times:?}");
        let mut arrivals = Arrivals::new(Schedule { burst, ..schedule(1000.0) }, None, 0, 1, Stream::new(1, 1));
        arrivals.next();
        assert_eq!(arrivals.due_by(Duration::from_millis(250)), 30);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_no_memory() {
        let poisson = Schedule { poisson: true, ..schedule(1000.0) };
        let times = times(poisson, 1, 2, 20_000);
        // Two workers share the rate, so one does half.
        let rate = times.len() as f64 / times.last().unwrap();
        assert!((485.0..515.0).contains(&rate), "{rate}");
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) * 500.0).collect();
        // Of exponential gaps, 1/e are longer than their mean.
        let long = gaps.iter().filter(|gap| **gap > 1.0).count() as f64 / gaps.len() as f64;
        assert!((0.355..0.381).contains(&long), "{long}");
    }

    #[test]
    fn what_is_left_is_counted() {
        let mut arrivals = Arrivals::new(schedule(1000.0), None, 0, 2, Stream::new(1, 1));
        (0..10).for_each(|_| _ = arrivals.next());
        // The tenth of every second one was due at 18 ms.
        assert_eq!((arrivals.due_by(SECOND), arrivals.due_by(Duration::ZERO)), (491, 0));
    }
}
