//! Queues: those that are hosted, and those in front of stages.

use super::maps::in_force;
use super::pipelines::quantile;
use super::table::Column;
use super::{FULL, Scene, bars, chart, table};
use crate::family::*;
use crate::theme::Tone;
use crate::units::{self, or_unknown};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use rheostat_api::Resource;

static COLUMNS: &[Column<Resource>] = &[
    Column {
        head: "QUEUE",
        width: 22,
        right: false,
        from: 0,
        cell: |scene, row, _| scene.line(Tone::Plain, row.address.clone()),
    },
    Column {
        head: "IN",
        width: 8,
        right: true,
        from: 50,
        cell: |scene, row, _| rate(scene, row, STAGE_QUEUE_ENQUEUED, QUEUE_ENQUEUED),
    },
    Column {
        head: "OUT",
        width: 8,
        right: true,
        from: 0,
        cell: |scene, row, _| rate(scene, row, STAGE_QUEUE_DEQUEUED, QUEUE_DEQUEUED),
    },
    Column {
        head: "FILL",
        width: 20,
        right: false,
        from: 60,
        cell: |scene, row, _| {
            let (level, limit) = if row.kind == "stage" {
                (STAGE_QUEUE_BATCHES, STAGE_QUEUE_CAPACITY)
            } else {
                (QUEUE_DEPTH, QUEUE_CAPACITY)
            };
            bars::fill(scene, row.value(level), row.value(limit), 10)
        },
    },
    Column {
        head: "WAIT50",
        width: 6,
        right: true,
        from: 72,
        cell: |scene, row, _| quantile(scene, row.quantiles(waits(row)), |spread| spread.p50),
    },
    Column {
        head: "WAIT99",
        width: 6,
        right: true,
        from: 79,
        cell: |scene, row, _| quantile(scene, row.quantiles(waits(row)), |spread| spread.p99),
    },
    Column { head: "KIND", width: 13, right: false, from: 95, cell: |scene, row, _| kind(scene, row) },
    Column {
        head: "RECORDS",
        width: 8,
        right: true,
        from: FULL,
        cell: |scene, row, _| {
            let depth = row.value(if row.kind == "stage" { STAGE_QUEUE_DEPTH } else { QUEUE_DEPTH });
            scene.line(Tone::Plain, or_unknown(depth, units::count))
        },
    },
    Column {
        head: "PUSH WAITS",
        width: 10,
        right: true,
        from: FULL,
        cell: |scene, row, _| threads(scene, row, QUEUE_FULL_TIME),
    },
    Column {
        head: "POP WAITS",
        width: 9,
        right: true,
        from: FULL,
        cell: |scene, row, _| threads(scene, row, QUEUE_EMPTY_TIME),
    },
    chart::trend(FULL),
];

/// Draws the screen.
pub fn draw(scene: &Scene, area: Rect, buf: &mut Buffer) {
    let left = table::draw(scene, COLUMNS, &scene.app.listed(), scene.app.selected(), area, buf);
    chart::draw_below(scene, scene.app.subject(), left, buf);
}

fn rate(scene: &Scene, row: &Resource, of_stage: &str, of_queue: &str) -> Line<'static> {
    let family = if row.kind == "stage" { of_stage } else { of_queue };
    scene.line(Tone::Plain, or_unknown(scene.look().rate(&row.address, family), units::rate))
}

/// How long what is taken out has waited. A hosted queue times one item in 64.
fn waits(row: &Resource) -> &'static str {
    if row.kind == "stage" { STAGE_QUEUE_WAIT } else { QUEUE_WAIT }
}

/// The structure in force, with a sign while the one before it drains. A stage's queue is always a ring.
fn kind(scene: &Scene, row: &Resource) -> Line<'static> {
    let Some(draining) = row.value(QUEUE_HANDING_OVER) else { return Line::default() };
    let kind = in_force(row, QUEUE_KIND, "kind");
    let to = scene.theme.signs.to;
    if draining > 0.0 { scene.line(Tone::Mark, format!("{to} {kind}")) } else { scene.line(Tone::Plain, kind) }
}

/// How many threads wait on average: seconds waited per second. Blank for queues that do not say.
fn threads(scene: &Scene, row: &Resource, family: &str) -> Line<'static> {
    if row.value(family).is_none() {
        return Line::default();
    }
    let waiting = scene.look().rate(&row.address, family);
    scene.line(Tone::Plain, or_unknown(waiting, |threads| format!("{threads:.2} thr")))
}
