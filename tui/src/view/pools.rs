//! Allocator pools, and the size classes of the selected one; the process's allocator beside them.

use super::maps::in_force;
use super::table::Column;
use super::{FULL, MEDIUM, Scene, allocator, bars, chart, cut_top, table};
use crate::family::*;
use crate::theme::Tone;
use crate::units::{self, or_unknown};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use rheostat_api::Resource;

static COLUMNS: &[Column<Resource>] = &[
    Column {
        head: "POOL",
        width: 18,
        right: false,
        from: 0,
        cell: |scene, row, _| scene.line(Tone::Plain, row.address.clone()),
    },
    Column {
        head: "ALLOCS",
        width: 9,
        right: true,
        from: 0,
        cell: |scene, row, _| {
            scene.line(Tone::Plain, or_unknown(scene.look().throughput(row), chart::throughput(&row.kind)))
        },
    },
    Column {
        head: "LIVE",
        width: 8,
        right: true,
        from: 40,
        cell: |scene, row, _| memory(scene, row.value(POOL_LIVE).or_else(|| allocator::live(row))),
    },
    Column {
        head: "HELD",
        width: 8,
        right: true,
        from: 50,
        cell: |scene, row, _| memory(scene, row.value(POOL_SLABS).or_else(|| row.value(ALLOCATOR_COMMITTED))),
    },
    Column {
        head: "LOCK WAITS",
        width: 10,
        right: true,
        from: 70,
        cell: |scene, row, _| {
            let rate = scene.look().rate(&row.address, POOL_LOCK_CONTENTIONS);
            scene.line(Tone::Plain, or_unknown(rate, units::rate))
        },
    },
    Column {
        head: "LEVEL",
        width: 13,
        right: false,
        from: 60,
        cell: |scene, row, _| scene.line(Tone::Plain, in_force(row, POOL_LEVEL, "level")),
    },
    Column {
        head: "TREND",
        width: 0,
        right: false,
        from: FULL,
        cell: |scene, row, width| chart::spark(scene, &row.address, width),
    },
];

/// A size class of a pool.
struct Class {
    address: String,
    label: String,
    live: Option<f64>,
    held: Option<f64>,
}

static CLASSES: &[Column<Class>] = &[
    Column {
        head: "CLASS",
        width: 10,
        right: true,
        from: 0,
        cell: |scene, class, _| scene.line(Tone::Plain, size(class)),
    },
    Column { head: "ALLOCS", width: 8, right: true, from: 0, cell: |scene, class, _| rate(scene, class, POOL_ALLOCS) },
    Column { head: "LIVE", width: 8, right: true, from: 40, cell: |scene, class, _| memory(scene, class.live) },
    Column { head: "HELD", width: 8, right: true, from: 50, cell: |scene, class, _| memory(scene, class.held) },
    Column {
        head: "IN USE",
        width: 12,
        right: false,
        from: 60,
        cell: |scene, class, width| {
            let bar = bars::fill(scene, class.live, class.held, width);
            // The figures stand in the columns before it.
            Line::from_iter(bar.spans.into_iter().take(2))
        },
    },
    Column {
        head: "FILLS",
        width: 8,
        right: true,
        from: 70,
        cell: |scene, class, _| rate(scene, class, POOL_CACHE_FILLS),
    },
    Column {
        head: "LOCK WAITS",
        width: 10,
        right: true,
        from: 79,
        cell: |scene, class, _| rate(scene, class, POOL_LOCK_CONTENTIONS),
    },
];

/// Draws the screen.
pub fn draw(scene: &Scene, area: Rect, buf: &mut Buffer) {
    let mut left = table::draw(scene, COLUMNS, &scene.app.listed(), scene.app.selected(), area, buf);
    let Some(pool) = scene.app.subject() else { return };
    if pool.kind == "allocator" {
        return allocator::draw(scene, pool, left, buf);
    }
    let classes = classes(pool);
    if classes.is_empty() || left.height < 4 {
        return;
    }
    cut_top(&mut left, 1);
    scene.heading(&format!("{}: size classes", pool.address), cut_top(&mut left, 1), buf);
    // Figures that belong together would drift apart over the whole of a wide window.
    let narrow = Rect { width: left.width.min(MEDIUM), ..left };
    let below = table::draw(scene, CLASSES, &classes.iter().collect::<Vec<_>>(), None, narrow, buf);
    chart::draw_below(scene, Some(pool), Rect { width: left.width, ..below }, buf);
}

/// The classes of a pool in the order it names them.
fn classes(pool: &Resource) -> Vec<Class> {
    let mut labels: Vec<&String> = vec![];
    for sample in pool.samples.iter().filter(|sample| sample.family == POOL_ALLOCS) {
        labels.extend(sample.labels.get("size_class").filter(|label| !labels.contains(label)));
    }
    let class = |label: &String| Class {
        address: pool.address.clone(),
        label: label.clone(),
        live: pool.value_where(POOL_LIVE, "size_class", label),
        held: pool.value_where(POOL_SLABS, "size_class", label),
    };
    labels.into_iter().map(class).collect()
}

/// A class is named by the bytes of its blocks; one that is not keeps its name.
fn size(class: &Class) -> String {
    class.label.parse().map_or_else(|_| class.label.clone(), units::memory)
}

fn rate(scene: &Scene, class: &Class, family: &str) -> Line<'static> {
    let rate = scene.look().rate_where(&class.address, family, "size_class", &class.label);
    scene.line(Tone::Plain, or_unknown(rate, units::rate))
}

fn memory(scene: &Scene, bytes: Option<f64>) -> Line<'static> {
    scene.line(Tone::Plain, or_unknown(bytes, units::memory))
}
