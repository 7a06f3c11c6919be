//! What has been seen of a host: the last second of snapshots for rates, and trends for the last minutes.
//!
//! Rates divide differences of counters by differences of the host's own `uptime_s`; our clock has no part in it.
//! With one snapshot there is no rate yet, and none is shown.

use super::trend::Trend;
use crate::family;
use rheostat_api::{History, Resource, Snapshot};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Rates are taken over this much of the host's time: long enough to be steady, short enough to show a turn.
const WINDOW_S: f64 = 1.0;

/// States of a stage, as `state` labels spell them.
const BUSY: &str = "busy";
const IDLE: &str = "idle";
const BACKPRESSURED: &str = "backpressured";

/// How the workers of a stage spent the window; the three sum to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// Working on records.
    pub busy: f64,
    /// Waiting for records.
    pub idle: f64,
    /// Waiting to hand records on.
    pub backpressured: f64,
}

/// A host as seen so far. Cheap to clone: freezing the screen clones it.
#[derive(Debug, Clone, Default)]
pub struct Look {
    window: VecDeque<Arc<Snapshot>>,
    trends: BTreeMap<String, Trend>,
}

impl Look {
    /// Takes the newest snapshot in.
    pub fn take(&mut self, snapshot: Snapshot) {
        let restarted = self.latest().is_some_and(|last| {
            last.host.pid != snapshot.host.pid || last.uptime_s > snapshot.uptime_s || last.seq >= snapshot.seq
        });
        if restarted {
            self.window.clear();
        }
        self.window.push_back(Arc::new(snapshot));
        while self.seconds_since(1).is_some_and(|seconds| seconds >= WINDOW_S) {
            self.window.pop_front();
        }
        self.extend_trends();
    }

    /// Takes in what the host remembers from before we came.
    pub fn remember(&mut self, history: &History) {
        if history.step_ms != Trend::STEP_MS {
            return;
        }
        let mut past: BTreeMap<&str, Trend> = BTreeMap::new();
        for series in &history.series {
            if self.resource(&series.address).and_then(|r| family::throughput(&r.kind)) == Some(&series.family) {
                past.entry(&series.address).or_default().add_series(series.start_ms, &series.points);
            }
        }
        for (address, past) in past {
            self.trends.entry(address.to_owned()).or_default().put_before(past);
        }
    }

    /// The newest snapshot.
    pub fn latest(&self) -> Option<&Snapshot> {
        self.window.back().map(Arc::as_ref)
    }

    /// All resources of the newest snapshot, ordered by address.
    pub fn resources(&self) -> &[Resource] {
        self.latest().map_or(&[], |snapshot| &snapshot.resources)
    }

    /// The resource of that address.
    pub fn resource(&self, address: &str) -> Option<&Resource> {
        find(self.latest()?, address)
    }

    /// The trend of a resource's throughput, a point a second.
    pub fn trend(&self, address: &str) -> Option<&Trend> {
        self.trends.get(address)
    }

    /// How fast a counter of a resource grows, summed over labels.
    pub fn rate(&self, address: &str, family: &str) -> Option<f64> {
        self.rate_of(|snapshot| find(snapshot, address)?.value(family))
    }

    /// How fast a counter grows under one value of a label, summed over its other labels.
    pub fn rate_where(&self, address: &str, family: &str, label: &str, is: &str) -> Option<f64> {
        self.rate_of(|snapshot| {
            let samples = find(snapshot, address)?.samples.iter();
            let matching = samples
                .filter(|sample| sample.family == family && sample.labels.get(label).is_some_and(|value| value == is));
            matching.filter_map(|sample| sample.value).reduce(|a, b| a + b)
        })
    }

    /// How fast the resource works: the rate of its kind's throughput family.
    pub fn throughput(&self, resource: &Resource) -> Option<f64> {
        self.rate(&resource.address, family::throughput(&resource.kind)?)
    }

    /// How fast any figure of the whole snapshot grows. `None` in the first window, and after a reset.
    pub fn rate_of(&self, figure: impl Fn(&Snapshot) -> Option<f64>) -> Option<f64> {
        let (old, new) = (self.window.front()?, self.window.back()?);
        let seconds = new.uptime_s - old.uptime_s;
        let grown = figure(new)? - figure(old)?;
        (seconds > 0.0 && grown >= 0.0).then(|| grown / seconds)
    }

    /// How fast each part of a structure counts under a strip family.
    pub fn strip_rates(&self, address: &str, family: &str) -> Option<Vec<f64>> {
        let (old, new) = (self.window.front()?, self.window.back()?);
        let seconds = new.uptime_s - old.uptime_s;
        let (before, after) = (find(old, address)?.strip(family)?, find(new, address)?.strip(family)?);
        // Another number of parts is another structure: a hand-over lies between.
        let comparable = seconds > 0.0 && before.len() == after.len();
        comparable.then(|| before.iter().zip(after).map(|(old, new)| (new - old).max(0.0) / seconds).collect())
    }

    /// How the workers behind a family of state seconds spent the window.
    pub fn shares(&self, address: &str, family: &str) -> Option<Shares> {
        let state = |is| self.rate_where(address, family, "state", is);
        let (busy, idle, backpressured) = (state(BUSY)?, state(IDLE)?, state(BACKPRESSURED)?);
        let sum = busy + idle + backpressured;
        (sum > 0.0).then(|| Shares { busy: busy / sum, idle: idle / sum, backpressured: backpressured / sum })
    }

    /// Host seconds between the snapshot at `index` and the newest.
    fn seconds_since(&self, index: usize) -> Option<f64> {
        Some(self.window.back()?.uptime_s - self.window.get(index)?.uptime_s)
    }

    fn extend_trends(&mut self) {
        let Some(latest) = self.window.back().cloned() else { return };
        for resource in &latest.resources {
            if family::throughput(&resource.kind).is_some() {
                let rate = self.throughput(resource);
                match self.trends.get_mut(&resource.address) {
                    Some(trend) => trend.put(latest.at_ms, rate),
                    None => self.trends.entry(resource.address.clone()).or_default().put(latest.at_ms, rate),
                }
            }
        }
        self.trends.retain(|address, _| find(&latest, address).is_some());
    }
}

fn find<'a>(snapshot: &'a Snapshot, address: &str) -> Option<&'a Resource> {
    snapshot.resources.iter().find(|resource| resource.address == address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch;

    #[test]
    fn the_first_window_is_blank_and_the_next_uses_the_hosts_clock() {
        let mut look = Look::default();
        look.take(sketch::snapshot(0));
        assert_eq!(look.rate("pipeline.words", family::PIPELINE_SOURCE_BYTES), None);
        look.take(sketch::snapshot(1));
        let rate = look.rate("pipeline.words", family::PIPELINE_SOURCE_BYTES).unwrap();
        assert!((rate - sketch::BYTES_PER_S).abs() < 1.0, "{rate}");
    }

    #[test]
    fn the_window_is_a_second_long() {
        let mut look = Look::default();
        (0..40).for_each(|step| look.take(sketch::snapshot(step)));
        let (old, new) = (look.window.front().unwrap(), look.window.back().unwrap());
        assert!((new.uptime_s - old.uptime_s - WINDOW_S).abs() < 0.3, "{}", new.uptime_s - old.uptime_s);
    }

    #[test]
    fn a_restarted_host_begins_a_new_window() {
        let mut look = Look::default();
        (0..9).for_each(|step| look.take(sketch::snapshot(step)));
        let mut reborn = sketch::snapshot(0);
        reborn.host.pid += 1;
        look.take(reborn);
        assert_eq!(look.rate("pipeline.words", family::PIPELINE_SOURCE_BYTES), None);
    }

    #[test]
    fn shares_sum_to_one() {
        let mut look = Look::default();
        (0..9).for_each(|step| look.take(sketch::snapshot(step)));
        let shares = look.shares("pipeline.words.count", family::STAGE_STATE).unwrap();
        assert!((shares.busy + shares.idle + shares.backpressured - 1.0).abs() < 1e-9, "{shares:?}");
        assert!(shares.busy > shares.backpressured, "{shares:?}");
    }

    #[test]
    fn history_is_put_before_what_was_seen() {
        let mut look = Look::default();
        (0..9).for_each(|step| look.take(sketch::snapshot(step)));
        let seen = look.trend("pipeline.words").unwrap().len();
        look.remember(&sketch::history(60));
        assert!(look.trend("pipeline.words").unwrap().len() >= seen + 50);
    }
}
