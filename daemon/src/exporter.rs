//! `/metrics`: everything the registry reads, in Prometheus' text format.
//!
//! Written by the formatting functions of metrics-exporter-prometheus, straight from the readings and in the order of
//! family names and addresses, so that two expositions can be compared line by line. The crate's recorder would stand
//! between: it cannot forget a series, its counters never fall and are whole numbers, it takes no histogram that comes
//! with its buckets, and it gives everything back in the order of its hash tables.
//!
//! Scrapes that come together share one exposition, which is good for a tenth of a second. What one costs is a series
//! itself, `rheostat_scrape_duration_seconds`.

use crate::app::App;
use axum::body::Bytes;
use metrics::{Key, Label};
use metrics_exporter_prometheus::LabelSet;
use metrics_exporter_prometheus::formatting::{write_help_line, write_metric_line, write_type_line};
use rheostat_runtime::observe::{
    Address, Family, Measure, Moment, Reading, Sample, Snapshot, Unit, What, families, now,
};
use rheostat_runtime::sync::Mutex;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

const FRESH: Duration = Duration::from_millis(100);
/// Bounds of histograms: powers of two of nanoseconds, about 1 us to 17 s, which our buckets hit exactly.
const BOUNDS: std::ops::RangeInclusive<u32> = 10..=34;

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
            if let Some(reading) = app.sampler.read_one(&*resource) {
                page.add(Some(resource.address()), reading);
            }
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
        let mut text = String::new();
        for samples in self.families.values() {
            if let Some((_, first)) = samples.first() {
                write_family(&mut text, first.family, samples);
            }
        }
        text
    }
}

fn write_family(text: &mut String, family: &Family, samples: &[(Vec<Label>, Sample)]) {
    let kind = match family.what {
        What::Counter => "counter",
        What::Gauge => "gauge",
        What::Histogram => "histogram",
        // The format has nothing like it; it is for the dashboard alone.
        What::Strip => return,
    };
    write_help_line(text, family.name, None, None, family.help);
    write_type_line(text, family.name, None, None, kind);
    for (labels, sample) in samples {
        let key = Key::from_parts(family.name, labels.clone());
        let labels = LabelSet::from_key_and_global(&key, &Default::default());
        match &sample.measure {
            Measure::Spread(spread) => write_histogram(text, family, &labels, spread),
            Measure::Total(total) if family.unit == Unit::Seconds => {
                write_sample(text, family, None, &labels, *total as f64 * family.scale());
            }
            Measure::Total(total) => write_sample(text, family, None, &labels, *total),
            Measure::Level(level) => write_sample(text, family, None, &labels, level * family.scale()),
            Measure::Strip(_) => {}
        }
    }
    text.push('\n');
}

fn write_sample(
    text: &mut String,
    family: &Family,
    suffix: Option<&'static str>,
    labels: &LabelSet,
    value: impl Display,
) {
    write_metric_line::<&str, _>(text, family.name, suffix, labels, None, value, None);
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
    write_sample(text, family, Some("sum"), labels, spread.sum() as f64 * family.scale());
    write_sample(text, family, Some("count"), labels, count);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rheostat_runtime::observe::Spread;
    use std::collections::HashSet;

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
    fn two_expositions_of_the_same_are_the_same() {
        let (first, second) = (page(40, 5).render(), page(40, 5).render());
        assert_eq!(first, second);
        let families: Vec<_> = first.lines().filter(|line| line.starts_with("# TYPE")).collect();
        assert!(families.is_sorted() && families.len() == 5, "{families:?}");
    }

    #[test]
    fn what_is_gone_is_gone_from_the_next_exposition() {
        assert!(page(2, 0).render().contains("queue=\"q1\""));
        assert!(!page(1, 0).render().contains("queue=\"q1\""));
    }

    /// As many as the default exposition may come to; what a scrape of so many costs is in RESULTS.md.
    #[test]
    fn five_thousand_series_come_out_each_once() {
        let (queues, stages) = (575, 96);
        let text = page(queues, stages).render();
        let (comments, series): (Vec<_>, Vec<_>) = text.lines().filter(|line| !line.is_empty()).partition(is_comment);
        let histogram = BOUNDS.count() + ["+Inf", "sum", "count"].len();
        assert_eq!(series.len(), queues * 4 + stages * histogram);
        assert_eq!(comments.len(), 5 * ["HELP", "TYPE"].len());
        let names: HashSet<_> = series.iter().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
        assert_eq!(names.len(), series.len());
        assert!(text.len() < 1 << 20, "{} bytes", text.len());
    }

    fn is_comment(line: &&str) -> bool {
        line.starts_with('#')
    }
}
