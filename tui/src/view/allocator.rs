//! The process's allocator: what each class of scopes does and which stages most of it, and what mimalloc has from the
//! system.

use super::table::Column;
use super::{MEDIUM, Scene, chart, cut_top, table};
use crate::family::*;
use crate::theme::Tone;
use crate::units::{self, or_unknown};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use rheostat_api::Resource;

/// Rows below the list of who allocates: a blank one and two of figures.
const SYSTEM_ROWS: u16 = 3;

/// A class of scopes, or a scope.
struct Allocating {
    name: String,
    /// Bytes it has allocated so far.
    total: f64,
    allocated: Option<f64>,
    freed: Option<f64>,
    blocks: Option<f64>,
}

static ALLOCATING: &[Column<Allocating>] = &[
    Column {
        head: "WHO",
        width: 10,
        right: false,
        from: 0,
        cell: |scene, who, _| scene.line(Tone::Plain, who.name.clone()),
    },
    Column {
        head: "ALLOC",
        width: 9,
        right: true,
        from: 0,
        cell: |scene, who, _| scene.line(Tone::Plain, or_unknown(who.allocated, units::bytes_rate)),
    },
    Column {
        head: "FREED",
        width: 9,
        right: true,
        from: 0,
        cell: |scene, who, _| scene.line(Tone::Plain, or_unknown(who.freed, units::bytes_rate)),
    },
    Column {
        head: "BLOCKS",
        width: 9,
        right: true,
        from: 40,
        cell: |scene, who, _| scene.line(Tone::Plain, or_unknown(who.blocks, units::rate)),
    },
];

/// Draws what there is below the list of pools.
pub fn draw(scene: &Scene, allocator: &Resource, mut area: Rect, buf: &mut Buffer) {
    cut_top(&mut area, 1);
    scene.heading(&format!("{}: who allocates", allocator.address), cut_top(&mut area, 1), buf);
    let mut who: Vec<_> = classes(scene, allocator).into_iter().chain(scopes(scene)).collect();
    let rows = usize::from(area.height.saturating_sub(SYSTEM_ROWS + 1));
    if who.len() > rows {
        let others = who.split_off(rows.saturating_sub(1));
        who.extend(rest(others));
    }
    let narrow = Rect { width: area.width.min(MEDIUM), height: area.height.saturating_sub(SYSTEM_ROWS), ..area };
    let below = table::draw(scene, ALLOCATING, &who.iter().collect::<Vec<_>>(), None, narrow, buf);
    area = Rect { width: area.width, height: below.height + area.height.min(SYSTEM_ROWS), ..below };
    cut_top(&mut area, 1);
    for line in system(scene, allocator).into_iter().chain(profile(scene, allocator)) {
        scene.put(line, cut_top(&mut area, 1), buf);
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

/// Whether blocks are sampled for a heap profile, and how many of them are remembered.
fn profile(scene: &Scene, allocator: &Resource) -> Option<Line<'static>> {
    let every = allocator.value(ALLOCATOR_SAMPLING)?;
    let (samples, dropped) = (allocator.value(ALLOCATOR_SAMPLES)?, allocator.value(ALLOCATOR_SAMPLES_DROPPED)?);
    let mut text = match every {
        0.0 => " heap profile off: `rheostat heap` takes one".to_owned(),
        every => format!(" heap profile: a block in {} is sampled", units::memory(every)),
    };
    if samples > 0.0 {
        text += &format!("  {} samples in use", units::count(samples));
    }
    if dropped > 0.0 {
        text += &format!("  {} dropped for want of room", units::count(dropped));
    }
    Some(scene.line(Tone::Plain, text))
}

/// The classes of scopes in the order in which they are told.
fn classes(scene: &Scene, allocator: &Resource) -> Vec<Allocating> {
    let told = allocator.samples.iter().filter(|sample| sample.family == ALLOCATOR_BYTES);
    let class = |(label, total): (&String, f64)| {
        let rate = |family| scene.look().rate_where(&allocator.address, family, "class", label);
        Allocating {
            name: label.clone(),
            total,
            allocated: rate(ALLOCATOR_BYTES),
            freed: rate(ALLOCATOR_FREED_BYTES),
            blocks: rate(ALLOCATOR_ALLOCATIONS),
        }
    };
    told.filter_map(|sample| sample.labels.get("class").zip(sample.value)).map(class).collect()
}

/// Those for whom there is no row, in one.
fn rest(others: Vec<Allocating>) -> Option<Allocating> {
    let name = format!("  {} more", others.len());
    let sum =
        |one: Option<f64>, other: Option<f64>| one.zip(other).map_or(one.or(other), |(one, other)| Some(one + other));
    others
        .into_iter()
        .reduce(|all, other| Allocating {
            name: String::new(),
            total: all.total + other.total,
            allocated: sum(all.allocated, other.allocated),
            freed: sum(all.freed, other.freed),
            blocks: sum(all.blocks, other.blocks),
        })
        .map(|all| Allocating { name, ..all })
}

/// Stages and sources, those first that allocate most, by the rate that is shown; of the same rate those that have so far.
fn scopes(scene: &Scene) -> Vec<Allocating> {
    let scope = |resource: &Resource| {
        let (allocated, freed, name) = match resource.kind.as_str() {
            "stage" => (STAGE_ALLOC_BYTES, STAGE_FREED_BYTES, format!("  {}", resource.address)),
            _ => {
                let name = format!("  {} (its source)", resource.address);
                (PIPELINE_SOURCE_ALLOC_BYTES, PIPELINE_SOURCE_FREED_BYTES, name)
            }
        };
        let rate = |family| scene.look().rate(&resource.address, family);
        Some(Allocating {
            name,
            total: resource.value(allocated)?,
            allocated: rate(allocated),
            freed: rate(freed),
            blocks: rate(STAGE_ALLOCATIONS),
        })
    };
    let mut scopes: Vec<_> = scene.look().resources().iter().filter_map(scope).collect();
    let key = |who: &Allocating| (who.allocated.unwrap_or(0.0), who.total);
    scopes.sort_by(|one, other| {
        let ((one, all), (other, all_of_other)) = (key(one), key(other));
        other.total_cmp(&one).then(all_of_other.total_cmp(&all))
    });
    scopes
}
