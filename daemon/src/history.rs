//! What was: rings of a fixed size per series, so that a dashboard that connects late sees the past.
//!
//! One point a second for 15 minutes and one every ten seconds for 6 hours: 12 KiB of points a line, which with its name and
//! what the allocator rounds up to was measured as 16. Counters are kept as rates, gauges as levels, histograms as two
//! lines, the median and the 99th percentile of each step, beside 16 KiB of buckets. Nothing but those is allocated once a series is known. When the limit is reached, series that fell silent make room; while all are
//! live, newcomers are left out, counted, and said to be: in the log, to who asks for the host, and to Prometheus.
//!
//! How many there are goes with what is hosted, as measured: 17 a queue, 41 a map, 24 a stage, 33 the allocator, and 17 a pool
//! with 13 for every size class that it was asked for. The demo has 355; 8 pools that were asked for 69 classes each, 16
//! maps, 8 queues and 4 pipelines have 8400.

use rheostat_api as api;
use rheostat_runtime::observe::{Address, Family, Measure, Moment, Reading, Sample, Snapshot, What};
use std::collections::HashMap;

/// Seconds between fine points, and how many are kept.
const FINE: (u64, usize) = (1, 900);
/// Seconds between coarse points, and how many are kept.
const COARSE: (u64, usize) = (10, 2160);

/// Names one series.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub address: Address,
    pub family: &'static str,
    pub labels: Vec<&'static str>,
}

impl Key {
    pub(crate) fn new(address: &Address, sample: &Sample) -> Self {
        Self { address: address.clone(), family: sample.family.name, labels: sample.labels.clone() }
    }
}

/// The history of everything a host reads.
pub(crate) struct History {
    tracks: HashMap<Key, Track>,
    limit: usize,
    rejected: u64,
    /// Series left out at the last step.
    left_out: u64,
    /// The most of them that was told.
    told: u64,
    /// Steps taken; step `n` is kept at `n % length` of each ring.
    steps: u64,
    last_ms: u64,
    last_coarse_ms: u64,
}

/// One series: where it stood, and one line of points per thing shown.
struct Track {
    family: &'static Family,
    seen: u64,
    at: Moment,
    last: Measure,
    /// A histogram as it was at the last coarse point. Nothing for others: an empty one has all of its buckets.
    last_coarse: Option<Snapshot>,
    lines: Vec<Line>,
}

struct Line {
    quantile: Option<f64>,
    fine: Box<[f32]>,
    coarse: Box<[f32]>,
}

impl Line {
    fn new(quantile: Option<f64>) -> Self {
        let ring = |length| vec![f32::NAN; length].into_boxed_slice();
        Self { quantile, fine: ring(FINE.1), coarse: ring(COARSE.1) }
    }
}

impl History {
    /// Keeps at most `limit` series.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            tracks: HashMap::new(),
            limit,
            rejected: 0,
            left_out: 0,
            told: 0,
            steps: 0,
            last_ms: 0,
            last_coarse_ms: 0,
        }
    }

    /// Series left out so far because the limit was reached, counted once per step.
    pub(crate) fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Series left out at the last step, and the limit.
    pub(crate) fn left_out(&self) -> (u64, usize) {
        (self.left_out, self.limit)
    }

    /// How many series are left out, if that is worth a line in a log: at the first time, and when they are twice as many.
    pub(crate) fn news(&mut self) -> Option<u64> {
        let worse = self.left_out > 2 * self.told;
        worse.then(|| {
            self.told = self.left_out;
            self.left_out
        })
    }

    /// Takes one second's readings.
    pub(crate) fn step<'r>(&mut self, at_ms: u64, readings: impl Iterator<Item = (&'r Address, &'r Reading)>) {
        self.steps += 1;
        self.last_ms = at_ms;
        self.left_out = 0;
        let mut silent = None;
        for (address, reading) in readings {
            // A line for each part of a strip would be hundreds; what of it is worth remembering is a gauge of its own.
            for sample in reading.samples.iter().filter(|sample| sample.family.what != What::Strip) {
                let key = Key::new(address, sample);
                if let Some(track) = self.tracks.get_mut(&key) {
                    track.step(self.steps, reading.at, sample);
                } else if self.make_room(&mut silent) {
                    self.tracks.insert(key, Track::new(self.steps, reading.at, sample));
                } else {
                    self.left_out += 1;
                }
            }
        }
        self.rejected += self.left_out;
        let steps = self.steps;
        self.tracks.values_mut().filter(|track| track.seen != steps).for_each(|track| track.silent(steps));
        if steps.is_multiple_of(COARSE.0) {
            self.last_coarse_ms = at_ms;
            self.tracks.values_mut().for_each(|track| track.coarsen(steps));
        }
    }

    /// Sees to it that there is room for another series. `silent` is for the step: those that may go, the longest silent last.
    fn make_room(&mut self, silent: &mut Option<Vec<Key>>) -> bool {
        if self.tracks.len() < self.limit {
            return true;
        }
        // One that spoke in this step or the last is live. Looked for once a step, as a host may have thousands too many.
        let silent = silent.get_or_insert_with(|| {
            let mut silent: Vec<_> = self.tracks.iter().filter(|(_, track)| track.seen + 1 < self.steps).collect();
            silent.sort_unstable_by_key(|(_, track)| std::cmp::Reverse(track.seen));
            silent.into_iter().map(|(key, _)| key.clone()).collect()
        });
        // One of them may have spoken since, later in this step.
        while let Some(key) = silent.pop() {
            if self.tracks.get(&key).is_some_and(|track| track.seen + 1 < self.steps) {
                return self.tracks.remove(&key).is_some();
            }
        }
        false
    }

    /// The series of a resource, all of them or those of one family.
    pub(crate) fn of(&self, address: &Address, family: Option<&str>, step_ms: u64) -> api::History {
        let fine = step_ms < COARSE.0 * 1000;
        let (step_s, length) = if fine { FINE } else { COARSE };
        let newest = self.steps / step_s;
        let end_ms = if fine { self.last_ms } else { self.last_coarse_ms };
        let wanted = |key: &&Key| key.address == *address && family.is_none_or(|family| family == key.family);
        let mut keys: Vec<_> = self.tracks.keys().filter(wanted).collect();
        keys.sort_by_key(|key| (key.family, &key.labels));
        let lines = keys.into_iter().flat_map(|key| {
            let track = &self.tracks[key];
            track.lines.iter().map(move |line| (key, track.family, line))
        });
        let series = lines.map(|(key, family, line)| {
            let ring = if fine { &line.fine } else { &line.coarse };
            let oldest = newest.saturating_sub(length as u64) + 1;
            let known = (oldest..=newest).map(|step| ring[(step % length as u64) as usize]);
            let points: Vec<_> = known.skip_while(|point| point.is_nan()).collect();
            let mut labels: std::collections::BTreeMap<_, _> = std::iter::zip(family.labels, &key.labels)
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            labels.extend(line.quantile.map(|q| ("quantile".to_owned(), q.to_string())));
            api::Series {
                address: key.address.to_string(),
                family: key.family.to_owned(),
                labels,
                start_ms: end_ms.saturating_sub((points.len() as u64).saturating_sub(1) * step_s * 1000),
                points: points.into_iter().map(|point| (!point.is_nan()).then_some(f64::from(point))).collect(),
            }
        });
        api::History { step_ms: step_s * 1000, series: series.collect() }
    }

    /// Seconds taken in so far.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// The points of a family up to the step `end`, `count` at most, summed over its labels; unknown ones left out.
    pub(crate) fn rates(&self, address: &Address, family: &Family, end: u64, count: u64) -> Vec<f64> {
        let wanted = |key: &&Key| key.address == *address && key.family == family.name;
        let lines: Vec<_> = self.tracks.keys().filter(wanted).flat_map(|key| &self.tracks[key].lines).collect();
        if lines.is_empty() {
            return Vec::new();
        }
        let at = |step: u64| lines.iter().map(|line| f64::from(line.fine[(step % FINE.1 as u64) as usize])).sum();
        let first = (end + 1).saturating_sub(count.min(FINE.1 as u64)).max(1);
        (first..=end).map(at).filter(|rate: &f64| !rate.is_nan()).collect()
    }
}

impl Track {
    fn new(step: u64, at: Moment, sample: &Sample) -> Self {
        let lines = match sample.family.what {
            What::Histogram => vec![Line::new(Some(0.5)), Line::new(Some(0.99))],
            What::Counter | What::Gauge | What::Strip => vec![Line::new(None)],
        };
        let last_coarse = match &sample.measure {
            Measure::Spread(spread) => Some((**spread).clone()),
            Measure::Total(_) | Measure::Level(_) | Measure::Strip(_) => None,
        };
        let mut track =
            Self { family: sample.family, seen: step, at, last: sample.measure.clone(), last_coarse, lines };
        if let Measure::Level(level) = sample.measure {
            // A level needs no earlier one to compare with.
            track.lines[0].fine[(step % FINE.1 as u64) as usize] = (level * track.family.scale()) as f32;
        }
        track
    }

    fn step(&mut self, step: u64, at: Moment, sample: &Sample) {
        let slot = (step % FINE.1 as u64) as usize;
        let scale = self.family.scale();
        match (&sample.measure, &self.last) {
            (Measure::Total(now), Measure::Total(then)) => {
                let elapsed = at.since(self.at).as_secs_f64();
                // A total that fell belongs to a resource made anew under the same address: no rate across that.
                let rate = now.checked_sub(*then).filter(|_| elapsed > 0.0).map(|n| n as f64 * scale / elapsed);
                self.lines[0].fine[slot] = rate.map_or(f32::NAN, |rate| rate as f32);
            }
            (Measure::Level(level), _) => self.lines[0].fine[slot] = (level * scale) as f32,
            (Measure::Spread(now), Measure::Spread(then)) => {
                let between = now.since(then);
                for line in &mut self.lines {
                    line.fine[slot] = quantile(&between, line.quantile, scale);
                }
            }
            _ => {}
        }
        self.last = sample.measure.clone();
        (self.seen, self.at) = (step, at);
    }

    /// Says nothing for this step, over what the ring said a lap ago.
    fn silent(&mut self, step: u64) {
        self.lines.iter_mut().for_each(|line| line.fine[(step % FINE.1 as u64) as usize] = f32::NAN);
    }

    fn coarsen(&mut self, step: u64) {
        let slot = (step / COARSE.0 % COARSE.1 as u64) as usize;
        let scale = self.family.scale();
        if let (Measure::Spread(now), Some(then)) = (&self.last, &self.last_coarse) {
            let between = now.since(then);
            for line in &mut self.lines {
                line.coarse[slot] = quantile(&between, line.quantile, scale);
            }
            self.last_coarse = Some((**now).clone());
            return;
        }
        let line = &mut self.lines[0];
        let points = (step + 1 - COARSE.0.min(step)..=step).map(|step| line.fine[(step % FINE.1 as u64) as usize]);
        let (sum, count) =
            points.filter(|p| !p.is_nan()).fold((0.0, 0u32), |(sum, n), point| (sum + f64::from(point), n + 1));
        line.coarse[slot] = if count == 0 { f32::NAN } else { (sum / f64::from(count)) as f32 };
    }
}

fn quantile(between: &Snapshot, q: Option<f64>, scale: f64) -> f32 {
    q.and_then(|q| between.quantile(q)).map_or(f32::NAN, |value| (value as f64 * scale) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rheostat_runtime::observe::{families, now};

    fn reading(bytes: u64, workers: f64) -> Reading {
        let mut reading = Reading { at: now(), samples: Vec::new() };
        reading.total(&families::PIPELINE_SOURCE_BYTES, &[], bytes);
        reading.level(&families::PIPELINE_RUNNING, &[], workers);
        reading.strip(&families::MAP_SHARD_OPS, &[], Box::new([bytes; 256]));
        reading
    }

    fn at(reading: &mut Reading, seconds: u64) {
        reading.at = Moment(seconds * 1_000_000_000);
    }

    #[test]
    fn rates_levels_and_gaps() {
        let address: Address = "pipeline.words".parse().unwrap();
        let mut history = History::new(10);
        for second in 1..=3000u64 {
            let mut reading = reading(second * 500, second as f64);
            at(&mut reading, second);
            // Silent for ten seconds near the end.
            let silent = (2951..=2960).contains(&second);
            history.step(second * 1000, (!silent).then_some((&address, &reading)).into_iter());
        }
        let fine = history.of(&address, Some("rheostat_pipeline_source_bytes_total"), 1000);
        let points = &fine.series[0].points;
        assert_eq!((points.len(), fine.series[0].start_ms), (900, 2_101_000));
        assert_eq!(
            (points[0], points[849], points[850], points[859], points[899]),
            (Some(500.0), Some(500.0), None, None, Some(500.0))
        );
        let coarse = history.of(&address, Some("rheostat_pipeline_running"), 10_000);
        assert_eq!(coarse.series[0].points.len(), 300);
        assert_eq!(coarse.series[0].points[1], Some(15.5));
        assert_eq!(coarse.series[0].points[295], None);
    }

    #[test]
    fn the_silent_make_room_and_the_live_do_not() {
        let (first, second): (Address, Address) = ("pipeline.a".parse().unwrap(), "pipeline.b".parse().unwrap());
        let mut history = History::new(2);
        let reading = reading(1, 1.0);
        history.step(1000, [(&first, &reading), (&second, &reading)].into_iter());
        assert_eq!(history.rejected(), 2, "both series of the second resource are beyond the limit");
        history.step(2000, std::iter::once((&second, &reading)));
        assert_eq!(history.rejected(), 4, "the first resource spoke a step ago, so it keeps its room");
        history.step(3000, std::iter::once((&second, &reading)));
        assert_eq!((history.rejected(), history.left_out()), (4, (0, 2)));
        assert_eq!(history.of(&second, None, 1000).series.len(), 2);
        assert!(history.of(&first, None, 1000).series.is_empty());
    }

    #[test]
    fn what_is_left_out_is_told_when_it_begins_and_when_it_doubles() {
        let addresses: Vec<Address> = (0..8).map(|n| format!("pipeline.p{n}").parse().unwrap()).collect();
        let reading = reading(1, 1.0);
        let mut history = History::new(2);
        // Two series each.
        for (second, (hosted, left_out, news)) in
            [(1, 0, None), (2, 2, Some(2)), (3, 4, None), (4, 6, Some(6)), (2, 2, None), (8, 14, Some(14))]
                .into_iter()
                .enumerate()
        {
            history.step(second as u64 * 1000, addresses[..hosted].iter().map(|address| (address, &reading)));
            assert_eq!((history.left_out(), history.news()), ((left_out, 2), news), "{hosted} hosted");
            assert_eq!(history.news(), None);
        }
        assert_eq!(history.rejected(), 28);
        assert_eq!(history.of(&addresses[0], None, 1000).series.len(), 2, "those that were first stay");
    }

    #[test]
    fn all_that_fell_silent_make_room_in_one_step() {
        let addresses: Vec<Address> = (0..6).map(|n| format!("pipeline.p{n}").parse().unwrap()).collect();
        let reading = reading(1, 1.0);
        let mut history = History::new(6);
        let mut step = |hosted: &[Address]| {
            history.step(1000, hosted.iter().map(|address| (address, &reading)));
            addresses.iter().map(|address| history.of(address, None, 1000).series.len()).collect::<Vec<_>>()
        };
        assert_eq!(step(&addresses[..3]), [2, 2, 2, 0, 0, 0]);
        step(&addresses[2..3]);
        // The first two have been silent for two steps: four of the newcomers' six series find room, and the last do not.
        assert_eq!(step(&addresses[2..]), [0, 0, 2, 2, 2, 0]);
        assert_eq!(history.left_out(), (2, 6));
    }
}
