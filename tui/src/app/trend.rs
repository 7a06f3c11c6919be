//! A figure over the last minutes, one point a second of the host's calendar.

use std::collections::VecDeque;

/// Points a second apart, the newest last; `None` where nothing is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trend {
    /// Second of the first point, since 1970.
    start: u64,
    points: VecDeque<Option<f64>>,
}

impl Trend {
    /// Distance of points.
    pub const STEP_MS: u64 = 1000;
    /// As much as a host remembers at this step: 15 minutes.
    const POINTS_MAX: usize = 900;

    /// How many seconds it covers.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether it covers none.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Sets the point of the second that `at_ms` lies in. The newest word on a second counts.
    pub fn put(&mut self, at_ms: u64, value: Option<f64>) {
        let second = at_ms / Self::STEP_MS;
        let ahead = second.saturating_sub(self.start) as usize;
        if self.points.is_empty() || second < self.start || ahead > self.points.len() + Self::POINTS_MAX {
            // Nothing yet, or the host's calendar was set: what was before has no place on the new one.
            self.start = second;
            self.points.clear();
        }
        let index = (second - self.start) as usize;
        while self.points.len() <= index {
            self.points.push_back(None);
        }
        if value.is_some() {
            self.points[index] = value;
        }
        self.trim();
    }

    /// Adds a series to it point by point: families with labels have a series for each.
    pub fn add_series(&mut self, start_ms: u64, points: &[Option<f64>]) {
        for (offset, value) in points.iter().enumerate() {
            let at_ms = start_ms + offset as u64 * Self::STEP_MS;
            let sum = match (self.at(at_ms / Self::STEP_MS), value) {
                (Some(sum), Some(value)) => Some(sum + value),
                (sum, value) => sum.or(*value),
            };
            self.put(at_ms, sum);
        }
    }

    /// Puts an older trend before this one; where both know a point, this one's stands.
    pub fn put_before(&mut self, older: Trend) {
        let newer = std::mem::replace(self, older);
        for (offset, value) in newer.points.iter().enumerate() {
            self.put((newer.start + offset as u64) * Self::STEP_MS, *value);
        }
    }

    /// The last `n` points, oldest first, each with its second; fewer if there are fewer.
    pub fn last(&self, n: usize) -> impl Iterator<Item = (u64, Option<f64>)> {
        let skipped = self.points.len().saturating_sub(n);
        let first = self.start + skipped as u64;
        self.points.range(skipped..).enumerate().map(move |(offset, value)| (first + offset as u64, *value))
    }

    /// The point of that second.
    fn at(&self, second: u64) -> Option<f64> {
        *self.points.get(second.checked_sub(self.start)? as usize)?
    }

    fn trim(&mut self) {
        let surplus = self.points.len().saturating_sub(Self::POINTS_MAX);
        self.points.drain(..surplus);
        self.start += surplus as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(trend: &Trend) -> Vec<Option<f64>> {
        trend.last(usize::MAX).map(|(_, value)| value).collect()
    }

    #[test]
    fn a_missed_second_is_a_gap() {
        let mut trend = Trend::default();
        trend.put(5_000, Some(1.0));
        trend.put(7_100, Some(2.0));
        trend.put(7_900, Some(3.0));
        assert_eq!(values(&trend), [Some(1.0), None, Some(3.0)]);
        assert_eq!(trend.last(2).next(), Some((6, None)));
    }

    #[test]
    fn no_more_than_it_promises_is_kept() {
        let mut trend = Trend::default();
        (0..2000).for_each(|second| trend.put(second * 1000, Some(second as f64)));
        assert_eq!(trend.len(), Trend::POINTS_MAX);
        assert_eq!(trend.last(1).next(), Some((1999, Some(1999.0))));
    }

    #[test]
    fn a_calendar_that_jumps_starts_anew() {
        let mut trend = Trend::default();
        trend.put(9_000_000, Some(1.0));
        trend.put(5_000, Some(2.0));
        assert_eq!(values(&trend), [Some(2.0)]);
        trend.put(u64::MAX, Some(3.0));
        assert_eq!(values(&trend), [Some(3.0)]);
    }

    #[test]
    fn series_of_a_family_are_added_up_and_put_before() {
        let mut past = Trend::default();
        past.add_series(1000, &[Some(1.0), None, Some(3.0)]);
        past.add_series(1000, &[Some(10.0), Some(20.0), None]);
        let mut trend = Trend::default();
        trend.put(3000, Some(7.0));
        trend.put_before(past);
        assert_eq!(values(&trend), [Some(11.0), Some(20.0), Some(7.0)]);
    }
}
