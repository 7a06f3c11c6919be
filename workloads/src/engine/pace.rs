//! How fast a phase goes while it goes on: its worst tenth of a second, and whether it has come to rest.
//!
//! Rest, after SNIA's performance test specification as fio has it: over eight windows of a quarter of a second, a line
//! fitted through the throughputs rises or falls by at most 5 % of their mean from end to end, and none of them lies
//! further than 20 % from another.

use std::collections::VecDeque;
use std::time::Duration;

const WINDOW: Duration = Duration::from_millis(250);
const WINDOWS: usize = 8;
const DRIFT_MAX: f64 = 0.05;
const SPREAD_MAX: f64 = 0.2;
/// The span whose worst is kept.
const TENTH: Duration = Duration::from_millis(100);

/// The throughput of a phase, as looks at a counter show it.
#[derive(Debug, Default)]
pub(super) struct Pace {
    tenth: Option<(Duration, u64)>,
    slowest: Option<f64>,
    window: Option<(Duration, u64)>,
    recent: VecDeque<f64>,
}

impl Pace {
    /// Notes how many operations were done after that time.
    pub fn look(&mut self, elapsed: Duration, items: u64) {
        if let Some(rate) = passed(&mut self.tenth, TENTH, elapsed, items) {
            self.slowest = Some(self.slowest.map_or(rate, |slowest| slowest.min(rate)));
        }
        if let Some(rate) = passed(&mut self.window, WINDOW, elapsed, items) {
            self.recent.push_back(rate);
            if self.recent.len() > WINDOWS {
                self.recent.pop_front();
            }
        }
    }

    /// Operations a second of the worst tenth of a second; `None` before there was any, or where nothing is counted.
    pub fn slowest(&self) -> Option<f64> {
        self.slowest.filter(|_| self.tenth.is_some_and(|(_, items)| items > 0))
    }

    /// True once the throughput has come to rest.
    pub fn is_steady(&self) -> bool {
        if self.recent.len() < WINDOWS {
            return false;
        }
        let n = WINDOWS as f64;
        let mean = self.recent.iter().sum::<f64>() / n;
        let middle = (n - 1.0) / 2.0;
        let weighed = self.recent.iter().enumerate().map(|(index, rate)| (index as f64 - middle) * (rate - mean));
        let slope = weighed.sum::<f64>() / (n * (n * n - 1.0) / 12.0);
        let most = self.recent.iter().fold(f64::MIN, |most, rate| most.max(*rate));
        let least = self.recent.iter().fold(f64::MAX, |least, rate| least.min(*rate));
        mean > 0.0 && (slope * n / mean).abs() <= DRIFT_MAX && (most - least) / mean <= SPREAD_MAX
    }
}

/// The rate since the mark was set, if that is long enough ago; the mark then moves here.
fn passed(mark: &mut Option<(Duration, u64)>, span: Duration, elapsed: Duration, items: u64) -> Option<f64> {
    let (at, before) = *mark.get_or_insert((elapsed, items));
    let passed = elapsed.saturating_sub(at);
    if passed < span {
        return None;
    }
    *mark = Some((elapsed, items));
    Some(items.saturating_sub(before) as f64 / passed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every 50 ms at a counter that moves by `rate` of the step.
    fn watched(steps: u32, rate: impl Fn(u32) -> u64) -> Pace {
        let (mut pace, mut items) = (Pace::default(), 0);
        for step in 0..steps {
            pace.look(Duration::from_millis(50) * step, items);
            items += rate(step);
        }
        pace
    }

    #[test]
    fn an_even_pace_is_steady_after_two_seconds() {
        assert!(!watched(40, |_| 100).is_steady());
        assert!(watched(42, |_| 100).is_steady());
        assert!(watched(100, |step| 100 + u64::from(step % 3)).is_steady());
    }

    #[test]
    fn one_that_rises_or_jumps_is_not() {
        assert!(!watched(60, |step| 100 + u64::from(step)).is_steady());
        assert!(!watched(60, |step| if step == 50 { 600 } else { 100 }).is_steady());
        assert!(!watched(60, |_| 0).is_steady());
    }

    #[test]
    fn the_worst_tenth_of_a_second_is_kept() {
        let pace = watched(60, |step| if (30..32).contains(&step) { 10 } else { 100 });
        assert_eq!(pace.slowest(), Some(200.0));
        assert_eq!(watched(60, |_| 0).slowest(), None);
    }
}
