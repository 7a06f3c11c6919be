//! Maps: how they are used, how full they are, where they contend.

use super::table::Column;
use super::{FULL, Scene, chart, contention, heat, table};
use crate::family::*;
use crate::theme::Tone;
use crate::units::{self, UNKNOWN, or_unknown};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use rheostat_api::Resource;

static COLUMNS: &[Column<Resource>] = &[
    Column {
        head: "MAP",
        width: 18,
        right: false,
        from: 0,
        cell: |scene, row, _| scene.line(Tone::Plain, row.address.clone()),
    },
    Column {
        head: "OPS",
        width: 8,
        right: true,
        from: 0,
        cell: |scene, row, _| scene.line(Tone::Plain, or_unknown(scene.look().throughput(row), units::rate)),
    },
    Column {
        head: "HITS",
        width: 5,
        right: true,
        from: 50,
        cell: |scene, row, _| {
            let hits = scene.look().rate_where(&row.address, MAP_OPS, "outcome", "hit");
            let share =
                hits.zip(scene.look().throughput(row)).filter(|(_, all)| *all > 0.0).map(|(hits, all)| hits / all);
            scene.line(Tone::Plain, or_unknown(share, units::percent))
        },
    },
    Column {
        head: "ENTRIES",
        width: 10,
        right: true,
        from: 40,
        cell: |scene, row, _| scene.line(Tone::Plain, or_unknown(row.value(MAP_ENTRIES), units::grouped)),
    },
    Column { head: "BACKEND", width: 15, right: false, from: 60, cell: |scene, row, _| backend(scene, row) },
    Column { head: "WAITS", width: 10, right: true, from: 70, cell: |scene, row, _| contention::waits(scene, row) },
    Column { head: "WAIT99", width: 6, right: true, from: 76, cell: |scene, row, _| contention::wait99(scene, row) },
    Column { head: "SEEN BY", width: 7, right: false, from: FULL, cell: |scene, row, _| contention::seen(scene, row) },
    chart::trend(FULL),
];

/// Phases of a hand-over that is not over.
const UNDER_WAY: [&str; 3] = ["opening", "moving", "going_back"];

/// Draws the screen.
pub fn draw(scene: &Scene, area: Rect, buf: &mut Buffer) {
    let mut left = table::draw(scene, COLUMNS, &scene.app.listed(), scene.app.selected(), area, buf);
    heat::draw(scene, scene.app.subject(), &mut left, buf);
    contention::draw(scene, scene.app.subject(), &mut left, buf);
    chart::draw_below(scene, scene.app.subject(), left, buf);
}

/// The backend in force; while a hand-over is under way the one it goes to, and how far it is.
fn backend(scene: &Scene, row: &Resource) -> Line<'static> {
    let backend = in_force(row, MAP_BACKEND, "backend");
    if !UNDER_WAY.contains(&in_force(row, MAP_HANDOVER_PHASE, "phase").as_str()) {
        return scene.line(Tone::Plain, backend);
    }
    let share = row.value(MAP_HANDOVER_MOVED).zip(row.value(MAP_HANDOVER_KEYS)).filter(|(_, keys)| *keys > 0.0);
    let share = or_unknown(share.map(|(moved, keys)| (moved / keys).min(1.0)), units::percent);
    scene.line(Tone::Mark, format!("{} {backend} {share}", scene.theme.signs.to))
}

/// The label of the sample that is 1 in a family that says which of several is in force.
pub fn in_force(resource: &Resource, family: &str, label: &str) -> String {
    let mut samples = resource.samples.iter().filter(|sample| sample.family == family);
    let sample = samples.find(|sample| sample.value == Some(1.0));
    sample.and_then(|sample| sample.labels.get(label)).map_or_else(|| UNKNOWN.to_owned(), Clone::clone)
}
