//! The process's allocator: what each class of scopes does, and what mimalloc has from the system.

use super::table::Column;
use super::{MEDIUM, Scene, chart, cut_top, put, table};
use crate::family::*;
use crate::theme::Tone;
use crate::units::{self, or_unknown};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use rheostat_api::Resource;

/// A class of scopes.
struct Class {
    address: String,
    label: String,
}

static CLASSES: &[Column<Class>] = &[
    Column {
        head: "CLASS",
        width: 10,
        right: false,
        from: 0,
        cell: |scene, class, _| scene.line(Tone::Plain, class.label.clone()),
    },
    Column {
        head: "ALLOC",
        width: 9,
        right: true,
        from: 0,
        cell: |scene, class, _| rate(scene, class, ALLOCATOR_BYTES, units::bytes_rate),
    },
    Column {
        head: "FREED",
        width: 9,
        right: true,
        from: 0,
        cell: |scene, class, _| rate(scene, class, ALLOCATOR_FREED_BYTES, units::bytes_rate),
    },
    Column {
        head: "BLOCKS",
        width: 9,
        right: true,
        from: 40,
        cell: |scene, class, _| rate(scene, class, ALLOCATOR_ALLOCATIONS, units::rate),
    },
];

/// Draws what there is below the list of pools.
pub fn draw(scene: &Scene, allocator: &Resource, mut area: Rect, buf: &mut Buffer) {
    cut_top(&mut area, 1);
    scene.heading(&format!("{}: who allocates", allocator.address), cut_top(&mut area, 1), buf);
    let mut labels: Vec<&String> = vec![];
    for sample in allocator.samples.iter().filter(|sample| sample.family == ALLOCATOR_BYTES) {
        labels.extend(sample.labels.get("class").filter(|label| !labels.contains(label)));
    }
    let class = |label: &String| Class { address: allocator.address.clone(), label: label.clone() };
    let classes: Vec<_> = labels.into_iter().map(class).collect();
    let narrow = Rect { width: area.width.min(MEDIUM), ..area };
    let below = table::draw(scene, CLASSES, &classes.iter().collect::<Vec<_>>(), None, narrow, buf);
    area = Rect { width: area.width, ..below };
    cut_top(&mut area, 1);
    for line in system(scene, allocator) {
        put(line, cut_top(&mut area, 1), buf);
    }
    chart::draw_below(scene, Some(allocator), area, buf);
}

/// Bytes allocated and not freed, as they were asked for.
pub fn live(allocator: &Resource) -> Option<f64> {
    Some(allocator.value(ALLOCATOR_BYTES)? - allocator.value(ALLOCATOR_FREED_BYTES)?)
}

/// What mimalloc says, in two lines; nothing with one that says nothing.
fn system(scene: &Scene, allocator: &Resource) -> Vec<Line<'static>> {
    let Some(committed) = allocator.value(ALLOCATOR_COMMITTED) else { return vec![] };
    let memory = |family| or_unknown(allocator.value(family), units::memory);
    let count = |family| or_unknown(allocator.value(family), units::count);
    let rate = |family, show: fn(f64) -> String| or_unknown(scene.look().rate(&allocator.address, family), show);
    let resident = or_unknown(scene.look().latest().map(|latest| latest.host.rss_bytes as f64), units::memory);
    let held = format!(
        " committed {} (at most {})  resident {resident}  reserved {}",
        units::memory(committed),
        memory(ALLOCATOR_COMMITTED_PEAK),
        memory(ALLOCATOR_RESERVED),
    );
    let done = format!(
        " purged {}  mmap {}  pages {}  heaps {}",
        rate(ALLOCATOR_PURGED, units::bytes_rate),
        rate(ALLOCATOR_MMAPS, units::rate),
        count(ALLOCATOR_PAGES),
        count(ALLOCATOR_HEAPS),
    );
    vec![scene.line(Tone::Plain, held), scene.line(Tone::Plain, done)]
}

fn rate(scene: &Scene, class: &Class, family: &str, show: fn(f64) -> String) -> Line<'static> {
    let rate = scene.look().rate_where(&class.address, family, "class", &class.label);
    scene.line(Tone::Plain, or_unknown(rate, show))
}
