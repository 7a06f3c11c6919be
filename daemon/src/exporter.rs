//! `/metrics`: everything the registry reads, in Prometheus' text format.
//!
//! Whole counters and gauges go through a recorder of metrics-exporter-prometheus, made anew for each exposition:
//! it cannot forget a series, and its counters never fall, so a resource that is gone or made anew would haunt it
//! for ever. What it has no room for, counters of seconds (its counters are whole numbers) and histograms that come
//! with their buckets, is written by the crate's own formatting functions. No histogram is recorded through it, so
//! nothing piles up between scrapes.
//!
//! Scrapes that come together share one exposition, which is good for a tenth of a second.

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
        for sample in reading.samples {
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
                    Measure::Spread(_) => {}
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
            Measure::Level(_) => {}
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
