//! One resource of any kind: its trend, its knobs, everything it says of itself. Kinds without a screen of their own
//! are seen here.

use super::table::Column;
use super::{FULL, MEDIUM, Scene, chart, cut_bottom, cut_top, heat, table};
use crate::app::Mode;
use crate::theme::Tone;
use crate::units::{self, or_unknown};
use crate::wording;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use rheostat_api::{Entry, Knob, MapValue, Resource, Sample};

static KNOBS: &[Column<Knob>] = &[
    Column {
        head: "KNOB",
        width: 14,
        right: false,
        from: 0,
        cell: |scene, knob, _| scene.line(Tone::Plain, knob.name.clone()),
    },
    Column {
        head: "NOW",
        width: 11,
        right: true,
        from: 0,
        cell: |scene, knob, _| scene.line(Tone::Plain, knob.value.to_string()),
    },
    Column { head: "STAGED", width: 11, right: true, from: 50, cell: |scene, knob, _| staged(scene, knob) },
    Column {
        head: "RANGE",
        width: 24,
        right: false,
        from: 60,
        cell: |scene, knob, _| scene.line(Tone::Plain, wording::range(&knob.range, &knob.unit)),
    },
    Column {
        head: "WHAT IT DOES",
        width: 0,
        right: false,
        from: 100,
        cell: |scene, knob, _| scene.line(Tone::Quiet, knob.help.clone()),
    },
];

/// A sample and whose it is.
struct Row {
    address: String,
    sample: Sample,
}

static SAMPLES: &[Column<Row>] = &[
    Column {
        head: "FAMILY",
        width: 0,
        right: false,
        from: 0,
        cell: |scene, row, _| scene.line(Tone::Plain, name(&row.sample)),
    },
    Column {
        head: "VALUE",
        width: 16,
        right: true,
        from: 0,
        cell: |scene, row, _| scene.line(Tone::Plain, value(&row.sample)),
    },
    Column { head: "RATE", width: 9, right: true, from: 60, cell: |scene, row, _| rate(scene, row) },
    Column {
        head: "P50",
        width: 7,
        right: true,
        from: 70,
        cell: |scene, row, _| quantile(scene, row, |spread| spread.p50),
    },
    Column {
        head: "P90",
        width: 7,
        right: true,
        from: FULL,
        cell: |scene, row, _| quantile(scene, row, |spread| spread.p90),
    },
    Column {
        head: "P99",
        width: 7,
        right: true,
        from: 70,
        cell: |scene, row, _| quantile(scene, row, |spread| spread.p99),
    },
    Column {
        head: "P99.9",
        width: 7,
        right: true,
        from: FULL,
        cell: |scene, row, _| quantile(scene, row, |spread| spread.p999),
    },
    Column {
        head: "MAX",
        width: 7,
        right: true,
        from: FULL,
        cell: |scene, row, _| quantile(scene, row, |spread| Some(spread.max)),
    },
];

/// Rows of the chart where there is room for everything.
const CHART_ROWS: u16 = 10;
/// Rows of the chart on a small screen.
const CHART_ROWS_SMALL: u16 = 5;

/// Draws the resource.
pub fn draw(scene: &Scene, resource: &Resource, mut area: Rect, buf: &mut Buffer) {
    let scale = chart::throughput(&resource.kind);
    let rate = or_unknown(scene.look().throughput(resource), scale);
    let pool = resource.pool.as_ref().map_or_else(String::new, |pool| format!("  in {pool}"));
    let title = format!("{}  ({})  {rate}{pool}", resource.address, resource.kind);
    if scene.look().trend(&resource.address).is_some() && area.width >= MEDIUM && area.height > 12 {
        let rows = if area.height > 30 { CHART_ROWS } else { CHART_ROWS_SMALL };
        chart::draw(scene, &title, &resource.address, scale, cut_top(&mut area, rows), buf);
    } else {
        scene.heading(&title, cut_top(&mut area, 1), buf);
    }
    if area.height > CHART_ROWS {
        heat::draw(scene, Some(resource), &mut area, buf);
    }
    if let Some(entries) = scene.app.top(&resource.address) {
        let rows = (area.height / 2).min(entries.len() as u16 + 1);
        draw_top(scene, entries, cut_bottom(&mut area, rows), buf);
    }
    let selected = scene.app.selected();
    if !resource.knobs.is_empty() {
        let knobs: Vec<_> = resource.knobs.iter().collect();
        let rows = (knobs.len() as u16 + 1).min(area.height / 2);
        let on_knob = selected.filter(|index| *index < knobs.len());
        table::draw(scene, KNOBS, &knobs, on_knob, cut_top(&mut area, rows), buf);
        cut_top(&mut area, 1);
    }
    let rows = resource.samples.iter().map(|sample| Row { address: resource.address.clone(), sample: sample.clone() });
    let rows: Vec<_> = rows.collect();
    let on_sample = selected.and_then(|index| index.checked_sub(resource.knobs.len()));
    table::draw(scene, SAMPLES, &rows.iter().collect::<Vec<_>>(), on_sample, area, buf);
}

fn draw_top(scene: &Scene, entries: &[Entry], mut area: Rect, buf: &mut Buffer) {
    if entries.is_empty() {
        return;
    }
    scene.heading("greatest values", cut_top(&mut area, 1), buf);
    for entry in entries {
        let value = match &entry.value {
            MapValue::Counter(counter) => units::grouped(*counter as f64),
            MapValue::Word(word) => units::grouped(*word as f64),
            MapValue::Bytes(bytes) => bytes.to_string(),
        };
        let text = format!(" {value:>14}  {}", entry.key);
        scene.put(scene.line(Tone::Plain, text), cut_top(&mut area, 1), buf);
    }
}

fn staged(scene: &Scene, knob: &Knob) -> Line<'static> {
    match scene.app.mode() {
        Mode::Staging(staging) if staging.knob == knob.name => scene.line(Tone::Mark, staging.text()),
        _ => Line::default(),
    }
}

/// The family without the prefix that all share, and its labels.
fn name(sample: &Sample) -> String {
    let labels: Vec<_> = sample.labels.values().map(String::as_str).collect();
    let family = sample.family.strip_prefix("rheostat_").unwrap_or(&sample.family);
    if labels.is_empty() { family.to_owned() } else { format!("{family} {}", labels.join(",")) }
}

fn value(sample: &Sample) -> String {
    match (sample.value, &sample.quantiles) {
        (Some(value), _) if sample.family.ends_with("_bytes") => units::memory(value),
        (Some(value), _) if value.fract() == 0.0 => units::grouped(value),
        (Some(value), _) => format!("{value:.3}"),
        (None, Some(spread)) => format!("n {}", units::grouped(spread.count as f64)),
        (None, None) => {
            sample.strip.as_ref().map_or(units::UNKNOWN.to_owned(), |parts| format!("{} parts", parts.len()))
        }
    }
}

/// Only what only grows has a rate.
fn rate(scene: &Scene, row: &Row) -> Line<'static> {
    if !row.sample.family.ends_with("_total") {
        return Line::default();
    }
    let rate = scene.look().rate_of(|snapshot| {
        let resource = snapshot.resources.iter().find(|resource| resource.address == row.address)?;
        let same = |other: &&Sample| other.family == row.sample.family && other.labels == row.sample.labels;
        resource.samples.iter().find(same)?.value
    });
    scene.line(Tone::Plain, or_unknown(rate, units::rate))
}

fn quantile(scene: &Scene, row: &Row, which: fn(&rheostat_api::Quantiles) -> Option<f64>) -> Line<'static> {
    super::pipelines::quantile(scene, row.sample.quantiles.as_ref(), which)
}
