//! `/metrics`: everything the registry reads, in Prometheus' text format.
//!
//! Whole counters and gauges go through a recorder of metrics-exporter-prometheus, made anew for each exposition:
//! it cannot forget a series, and its counters never fall, so a resource that is gone or made anew would haunt it
//! for ever. What it has no room for, counters of seconds (its counters are whole numbers) and histograms that come
//! with their buckets, is written by the crate's own formatting functions. No histogram is recorded through it, so
//! nothing piles up between scrapes.
//!
//! Scrapes that come together share one exposition, which is good for a tenth of a second. Five thousand series, a
//! hundred histograms among them, take 4.6 ms (release, 2 busy cores; `five_thousand_series` below).

use crate::app::App;
use axum::body::Bytes;
use metrics::{Key, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::formatting::{write_help_line, write_metric_line, write_type_line};
use metrics_exporter_prometheus::{LabelSet, PrometheusBuilder};
use rheostat_runtime::observe::{
    Address, Family, Measure, Moment, Reading, Sample, Snapshot, Unit, What, families, now,
};
use rheostat_runtime::sync::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;

const FRESH: Duration = Duration::from_millis(100);
/// Bounds of histograms: powers of two of nanoseconds, about 1 us to 17 s, which our buckets hit exactly.
const BOUNDS: std::ops::RangeInclusive<u32> = 10..=34;

static METADATA: Metadata<'static> = Metadata::new("rheostat", Level::INFO, None);

/// The last exposition.
#[derive(Default)]
pub(crate) struct Exporter {
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    made: Option<Moment>,
    text: Bytes,
    took: Duration,
    series: usize,
    switches: crate::process::Switches,
}

impl Exporter {
    /// Everything, as it stands now or stood a moment ago.
    pub(crate) fn render(&self, app: &App) -> Bytes {
        // Who comes while one is being made waits for it and finds it fresh.
        let mut last = self.last.lock();
        if last.made.is_some_and(|made| made.elapsed() < FRESH) {
            return last.text.clone();
        }
        let began = now();
        let mut page = Page::default();
        for resource in app.host.registry.all() {
            let mut reading = Reading::default();
            resource.read(&mut reading);
            page.add(Some(resource.address()), reading);
        }
        let mut host = Reading::default();
        app.read(&mut host);
        crate::process::read(&mut host, &mut last.switches);
        host.level(&families::SERIES, &[], last.series as f64);
        host.level(&families::SCRAPE_TIME, &[], last.took.as_nanos() as f64);
        page.add(None, host);
        let text = page.render();
        last.series = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
        last.text = text.into();
        last.took = began.elapsed();
        last.made = Some(now());
        app.sampler.charge(began);
        last.text.clone()
    }
}

/// Samples by family, so that each family's lines stand together, as the format asks.
#[derive(Default)]
struct Page {
    families: BTreeMap<&'static str, Vec<(Vec<Label>, Sample)>>,
}

impl Page {
    fn add(&mut self, address: Option<&Address>, reading: Reading) {
        for sample in reading.samples.into_iter().filter(|sample| sample.family.what != What::Strip) {
            let own =
                address.into_iter().flat_map(Address::labels).map(|(name, value)| Label::new(name, value.to_owned()));
            let further = std::iter::zip(sample.family.labels, &sample.labels);
            let labels = own.chain(further.map(|(&name, &value)| Label::from_static_parts(name, value))).collect();
            self.families.entry(sample.family.name).or_default().push((labels, sample));
        }
    }

    fn render(self) -> String {
        let recorder = PrometheusBuilder::new().build_recorder();
        let mut text = String::new();
        for (name, samples) in self.families {
            let Some((_, first)) = samples.first() else { continue };
            let family = first.family;
            let by_hand =
                family.what == What::Histogram || (family.what == What::Counter && family.unit == Unit::Seconds);
            if by_hand {
                write_family(&mut text, family, samples);
                continue;
            }
            let help = SharedString::const_str(family.help);
            match family.what {
                What::Counter => recorder.describe_counter(name.into(), None, help),
                _ => recorder.describe_gauge(name.into(), None, help),
            }
            for (labels, sample) in samples {
                let key = Key::from_parts(name, labels);
                match sample.measure {
                    Measure::Total(total) => recorder.register_counter(&key, &METADATA).absolute(total),
                    Measure::Level(level) => recorder.register_gauge(&key, &METADATA).set(level * family.scale()),
                    Measure::Spread(_) | Measure::Strip(_) => {}
                }
            }
        }
        let mut all = recorder.handle().render();
        all.push_str(&text);
        all
    }
}

fn write_family(text: &mut String, family: &Family, samples: Vec<(Vec<Label>, Sample)>) {
    let kind = if family.what == What::Histogram { "histogram" } else { "counter" };
    write_help_line(text, family.name, None, None, family.help);
    write_type_line(text, family.name, None, None, kind);
    for (labels, sample) in samples {
        let key = Key::from_parts(family.name, labels);
        let labels = LabelSet::from_key_and_global(&key, &Default::default());
        match &sample.measure {
            Measure::Spread(spread) => write_histogram(text, family, &labels, spread),
            Measure::Total(total) => {
                let value = *total as f64 * family.scale();
                write_metric_line::<&str, f64>(text, family.name, None, &labels, None, value, None);
            }
            Measure::Level(_) | Measure::Strip(_) => {}
        }
    }
    text.push('\n');
}

fn write_histogram(text: &mut String, family: &Family, labels: &LabelSet, spread: &Snapshot) {
    let bucket = Some("bucket");
    for exponent in BOUNDS {
        let bound = 1u64 << exponent;
        let le = bound as f64 * family.scale();
        write_metric_line(text, family.name, bucket, labels, Some(("le", le)), spread.at_most(bound), None);
    }
    let count = spread.count();
    write_metric_line(text, family.name, bucket, labels, Some(("le", "+Inf")), count, None);
    let sum = spread.sum() as f64 * family.scale();
    write_metric_line::<&str, f64>(text, family.name, Some("sum"), labels, None, sum, None);
    write_metric_line::<&str, u64>(text, family.name, Some("count"), labels, None, count, None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rheostat_runtime::observe::Spread;

    fn page(queues: usize, stages: usize) -> Page {
        let mut page = Page::default();
        for queue in 0..queues {
            let mut reading = Reading::default();
            reading.total(&families::QUEUE_ENQUEUED, &[], 7);
            reading.total(&families::QUEUE_FULL_TIME, &[], 1_500_000_000);
            reading.level(&families::QUEUE_CAPACITY, &[], 64.0);
            reading.total(&families::QUEUE_REJECTED, &["full"], 1);
            page.add(Some(&format!("queue.q{queue}").parse().unwrap()), reading);
        }
        for stage in 0..stages {
            let spread = Spread::new();
            [1000, 1024, 1025, 4_000_000].into_iter().for_each(|nanos| spread.record(nanos));
            let mut reading = Reading::default();
            reading.spread(&families::STAGE_SERVICE, &[], spread.snapshot());
            page.add(Some(&format!("pipeline.p.s{stage}").parse().unwrap()), reading);
        }
        page
    }

    #[test]
    fn counters_gauges_times_and_histograms_come_out_in_base_units() {
        let text = page(1, 1).render();
        for line in [
            "rheostat_queue_enqueued_items_total{queue=\"q0\"} 7",
            "rheostat_queue_full_seconds_total{queue=\"q0\"} 1.5",
            "rheostat_queue_capacity_items{queue=\"q0\"} 64",
            "rheostat_queue_rejected_items_total{queue=\"q0\",reason=\"full\"} 1",
            "rheostat_stage_service_seconds_bucket{pipeline=\"p\",stage=\"s0\",le=\"0.000001024\"} 2",
            "rheostat_stage_service_seconds_bucket{pipeline=\"p\",stage=\"s0\",le=\"0.000002048\"} 3",
            "rheostat_stage_service_seconds_bucket{pipeline=\"p\",stage=\"s0\",le=\"+Inf\"} 4",
            "rheostat_stage_service_seconds_count{pipeline=\"p\",stage=\"s0\"} 4",
            "# TYPE rheostat_stage_service_seconds histogram",
            "# TYPE rheostat_queue_full_seconds_total counter",
        ] {
            assert!(text.lines().any(|known| known == line), "no `{line}` in\n{text}");
        }
    }

    #[test]
    fn what_is_gone_is_gone_from_the_next_exposition() {
        assert!(page(2, 0).render().contains("queue=\"q1\""));
        assert!(!page(1, 0).render().contains("queue=\"q1\""));
    }

    /// Prints what five thousand series cost; the bar is 10 ms in a release build.
    #[test]
    #[ignore = "a measurement: run it with --release --ignored --nocapture"]
    fn five_thousand_series() {
        let (queues, stages) = (575, 96);
        let mut best = Duration::MAX;
        for _ in 0..20 {
            let page = page(queues, stages);
            let began = now();
            let text = page.render();
            best = best.min(began.elapsed());
            let series = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
            assert!((4900..5100).contains(&series), "{series}");
        }
        println!("5000 series: {best:?}");
    }
}
