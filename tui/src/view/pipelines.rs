//! Pipelines and their stages: how their workers spend their time, and where records wait.

use super::table::Column;
use super::{FULL, Scene, bars, chart, table};
use crate::family::*;
use crate::theme::Tone;
use crate::units::{self, UNKNOWN, or_unknown};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use rheostat_api::{Quantiles, Resource};

/// From this width on there is room for what allocates, beside a trend.
const WIDE: u16 = FULL + 30;

static COLUMNS: &[Column<Resource>] = &[
    Column {
        head: "PIPELINE / STAGE",
        width: 21,
        right: false,
        from: 0,
        cell: |scene, row, _| scene.line(Tone::Plain, row.address.clone()),
    },
    Column {
        head: "IN",
        width: 9,
        right: true,
        from: 0,
        cell: |scene, row, _| {
            let rate = scene.look().throughput(row);
            scene.line(Tone::Plain, or_unknown(rate, chart::throughput(&row.kind)))
        },
    },
    Column {
        head: "OUT",
        width: 8,
        right: true,
        from: FULL,
        cell: |scene, row, _| {
            let family = if row.kind == "stage" { STAGE_OUT_ITEMS } else { PIPELINE_SOURCE_ITEMS };
            scene.line(Tone::Plain, or_unknown(scene.look().rate(&row.address, family), units::rate))
        },
    },
    Column {
        head: "W>TGT",
        width: 5,
        right: true,
        from: 60,
        cell: |scene, row, _| scene.line(Tone::Plain, workers(row)),
    },
    Column {
        head: "  BUSY/IDLE/HELD",
        width: 18,
        right: false,
        from: 50,
        cell: |scene, row, _| {
            let family = if row.kind == "stage" { STAGE_STATE } else { PIPELINE_SOURCE_STATE };
            bars::stage(scene, scene.look().shares(&row.address, family))
        },
    },
    Column {
        head: "WAIT50",
        width: 6,
        right: true,
        from: FULL,
        cell: |scene, row, _| quantile(scene, row.quantiles(STAGE_QUEUE_WAIT), |spread| spread.p50),
    },
    Column {
        head: "WAIT99",
        width: 6,
        right: true,
        from: 66,
        cell: |scene, row, _| quantile(scene, row.quantiles(STAGE_QUEUE_WAIT), |spread| spread.p99),
    },
    Column {
        head: "WORK50",
        width: 6,
        right: true,
        from: FULL,
        cell: |scene, row, _| quantile(scene, work(row), |spread| spread.p50),
    },
    Column {
        head: "WORK99",
        width: 6,
        right: true,
        from: 72,
        cell: |scene, row, _| quantile(scene, work(row), |spread| spread.p99),
    },
    Column {
        head: "QUEUE",
        width: 7,
        right: true,
        from: 79,
        cell: |scene, row, _| scene.line(Tone::Plain, queue(row)),
    },
    Column {
        head: "SET ASIDE",
        width: 9,
        right: true,
        from: FULL,
        cell: |scene, row, _| {
            let family = if row.kind == "stage" { STAGE_ERRORS } else { PIPELINE_DEAD_LETTERS };
            let aside = row.value(family);
            let tone = if aside.is_some_and(|records| records > 0.0) { Tone::Bad } else { Tone::Plain };
            scene.line(tone, or_unknown(aside, units::count))
        },
    },
    Column {
        head: "ALLOC",
        width: 9,
        right: true,
        from: WIDE,
        cell: |scene, row, _| memory_rate(scene, row, PIPELINE_SOURCE_ALLOC_BYTES, STAGE_ALLOC_BYTES),
    },
    Column {
        head: "FREED",
        width: 9,
        right: true,
        from: WIDE,
        cell: |scene, row, _| memory_rate(scene, row, PIPELINE_SOURCE_FREED_BYTES, STAGE_FREED_BYTES),
    },
    chart::trend(FULL),
];

/// Bytes a second that a source or a stage allocates or frees.
fn memory_rate(scene: &Scene, row: &Resource, of_source: &str, of_stage: &str) -> Line<'static> {
    let family = if row.kind == "stage" { of_stage } else { of_source };
    scene.line(Tone::Plain, or_unknown(scene.look().rate(&row.address, family), units::bytes_rate))
}

/// Draws the screen.
pub fn draw(scene: &Scene, area: Rect, buf: &mut Buffer) {
    let left = table::draw(scene, COLUMNS, &scene.app.listed(), scene.app.selected(), area, buf);
    chart::draw_below(scene, scene.app.subject(), left, buf);
}

/// `4`, or `4>5` while workers are on their way.
fn workers(row: &Resource) -> String {
    if row.kind != "stage" {
        return String::new();
    }
    match (row.value(STAGE_WORKERS), row.value(STAGE_WORKERS_TARGET)) {
        (Some(running), Some(asked)) if running != asked => format!("{running}>{asked}"),
        (running, _) => or_unknown(running, units::count),
    }
}

/// Time spent on a batch by a stage; by a pipeline, from source to sink.
fn work(row: &Resource) -> Option<&Quantiles> {
    row.quantiles(if row.kind == "stage" { STAGE_SERVICE } else { PIPELINE_LATENCY })
}

fn queue(row: &Resource) -> String {
    match (row.value(STAGE_QUEUE_BATCHES), row.value(STAGE_QUEUE_CAPACITY)) {
        (Some(batches), Some(capacity)) => format!("{}/{}", units::count(batches), units::count(capacity)),
        _ if row.kind == "stage" => UNKNOWN.to_owned(),
        _ => String::new(),
    }
}

/// A quantile of the last seconds; blank where the resource has no such histogram.
pub fn quantile(scene: &Scene, spread: Option<&Quantiles>, which: fn(&Quantiles) -> Option<f64>) -> Line<'static> {
    match spread {
        None => scene.line(Tone::Plain, ""),
        Some(spread) => scene.line(Tone::Plain, or_unknown(which(spread), units::latency)),
    }
}
