//! Allocator pools: what they hold, who uses them, and the size classes of the selected one; the process's allocator beside
//! them.

use super::facts::Fact;
use super::maps::in_force;
use super::table::Column;
use super::{FULL, Scene, allocator, bars, chart, cut_top, facts, pool_classes, table};
use crate::family::*;
use crate::theme::Tone;
use crate::units::{self, or_unknown};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use rheostat_api::{KnobValue, Resource, RunState};

/// Cells of the bar of what a pool holds.
const HELD_BAR: u16 = 12;
/// The heading of the classes and two of them.
const CLASS_ROWS: u16 = 3;

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
        head: "CONTENDED",
        width: 9,
        right: true,
        from: 70,
        cell: |scene, row, _| {
            let rate = |family| scene.look().rate(&row.address, family);
            let contended = rate(POOL_LOCK_CONTENTIONS).zip(rate(POOL_CAS_FAILURES));
            scene.line(Tone::Plain, or_unknown(contended.map(|(waits, lost)| waits + lost), units::rate))
        },
    },
    Column {
        head: "LEVEL",
        width: 18,
        right: false,
        from: 66,
        cell: |scene, row, _| scene.line(Tone::Plain, level(row)),
    },
    Column {
        head: "CLASSES",
        width: 20,
        right: false,
        from: FULL,
        cell: |scene, row, width| {
            let columns = pool_classes::strip(scene, row).unwrap_or_default();
            Line::from_iter(columns.into_iter().take(usize::from(width)))
        },
    },
    chart::trend(FULL),
];

/// The level in force, and whether the pool chose it.
fn level(row: &Resource) -> String {
    let level = in_force(row, POOL_LEVEL, "level");
    let chooses = row.knob("level").is_some_and(|knob| knob.value == KnobValue::Choice("auto".into()));
    if chooses { format!("{level} auto") } else { level }
}

/// Draws the screen.
pub fn draw(scene: &Scene, area: Rect, buf: &mut Buffer) {
    let mut left = table::draw(scene, COLUMNS, &scene.app.listed(), scene.app.selected(), area, buf);
    let Some(pool) = scene.app.subject() else { return };
    if pool.kind == "allocator" {
        return allocator::draw(scene, pool, left, buf);
    }
    let classes = pool_classes::of(pool);
    let used = match classes.len() {
        0 => "nothing was asked of it yet".to_owned(),
        1 => "1 size class used".to_owned(),
        classes => format!("{classes} size classes used"),
    };
    let title = format!("{}  {used}, contention counted where it happens", pool.address);
    let below = if classes.is_empty() { 0 } else { CLASS_ROWS };
    facts::draw(scene, &title, facts_of(scene, pool), below, &mut left, buf);
    if !classes.is_empty() {
        cut_top(&mut left, 1);
        left = pool_classes::draw(scene, &classes, left, buf);
    }
    chart::draw_below(scene, Some(pool), left, buf);
}

fn facts_of(scene: &Scene, pool: &Resource) -> Vec<Fact> {
    vec![
        ("held", held(scene, pool)),
        ("waste", waste(scene, pool)),
        ("contention", contention(scene, pool)),
        ("caches", caches(scene, pool)),
        ("refused", refused(scene, pool)),
        ("guard", guard(scene, pool)),
        ("used by", used_by(scene, pool)),
    ]
}

fn plain(scene: &Scene, text: String) -> Span<'static> {
    scene.span(Tone::Plain, text)
}

/// What it has from the system, and how much of that it may have.
fn held(scene: &Scene, pool: &Resource) -> Vec<Span<'static>> {
    let Some((held, limit)) = pool.value(POOL_SLABS).or(Some(0.0)).zip(pool.value(POOL_LIMIT)) else { return vec![] };
    let tone = if held > bars::NEARLY_FULL * limit { Tone::Warn } else { Tone::Good };
    let [full, empty] = bars::share(scene, held, limit, tone, HELD_BAR);
    let bar = Span::styled(full.content.into_owned() + &empty.content, full.style);
    let share = units::percent(if limit > 0.0 { held / limit } else { 0.0 });
    vec![
        plain(scene, format!("{} of {}", units::memory(held), units::memory(limit))),
        bar,
        plain(scene, format!("{share} of its limit")),
    ]
}

/// What it holds and nobody uses: inside of blocks that are longer than was asked for, and as free blocks.
fn waste(scene: &Scene, pool: &Resource) -> Vec<Span<'static>> {
    let value = |family| pool.value(family).unwrap_or(0.0);
    let (requested, live, held, mapped) =
        (value(POOL_REQUESTED), value(POOL_LIVE), value(POOL_SLABS), value(POOL_MAPPED));
    let mut parts = Vec::new();
    if live > 0.0 {
        parts.push(format!("inside {} of blocks in use", units::percent((1.0 - requested / live).max(0.0))));
    }
    if held > 0.0 {
        let free = (held - live).max(0.0);
        parts.push(format!("outside {}: {} free", units::percent(free / held), units::memory(free)));
    }
    if mapped > held {
        parts.push(format!("{} of chunks untouched", units::memory(mapped - held)));
    }
    parts.into_iter().map(|part| plain(scene, part)).collect()
}

/// Where threads have met so far, and how often they do now.
fn contention(scene: &Scene, pool: &Resource) -> Vec<Span<'static>> {
    let mut parts = Vec::new();
    for (words, family) in [
        ("lock waits", POOL_LOCK_CONTENTIONS),
        ("lost exchanges", POOL_CAS_FAILURES),
        ("magazines at the depot", POOL_DEPOT_EXCHANGES),
    ] {
        // Totals of a level that was left stay, but do not grow.
        if pool.value(family).is_some_and(|total| total > 0.0) {
            let rate = scene.look().rate(&pool.address, family);
            parts.push(plain(scene, format!("{words} {}", or_unknown(rate, units::rate))));
        }
    }
    if parts.is_empty() {
        parts.push(plain(scene, "none so far".to_owned()));
    }
    parts
}

/// How often threads find a block in their own cache, and whose blocks they free.
fn caches(scene: &Scene, pool: &Resource) -> Vec<Span<'static>> {
    let rate = |family| scene.look().rate(&pool.address, family);
    let mut parts = Vec::new();
    if pool_classes::are_cached(pool) {
        let fills = rate(POOL_CACHE_FILLS);
        let hits = fills.zip(rate(POOL_ALLOCS).filter(|allocs| *allocs > 0.0));
        let hits = hits.map(|(fills, allocs)| (1.0 - fills / allocs).max(0.0));
        parts.push(format!("hits {}", or_unknown(hits, units::percent)));
        parts.push(format!("fills {}", or_unknown(fills, units::rate)));
        parts.push(format!("flushes {}", or_unknown(rate(POOL_CACHE_FLUSHES), units::rate)));
    } else {
        parts.push("none at this level".to_owned());
    }
    if let Some((remote, frees)) = rate(POOL_REMOTE_FREES).zip(rate(POOL_FREES)).filter(|(_, frees)| *frees > 0.0) {
        parts.push(format!("{} freed by other threads", units::percent((remote / frees).min(1.0))));
    }
    parts.into_iter().map(|part| plain(scene, part)).collect()
}

/// Requests that got no block, once there were any.
fn refused(scene: &Scene, pool: &Resource) -> Vec<Span<'static>> {
    let Some(refused) = pool.value(POOL_REFUSALS).filter(|refused| *refused > 0.0) else { return vec![] };
    let now = or_unknown(scene.look().rate(&pool.address, POOL_REFUSALS), units::rate);
    vec![scene.span(Tone::Bad, format!("{} requests got no block, {now}", units::count(refused)))]
}

/// Whether blocks are guarded, and what that has caught.
fn guard(scene: &Scene, pool: &Resource) -> Vec<Span<'static>> {
    let more_than_none = |family| pool.value(family).filter(|value| *value > 0.0);
    let mut parts = Vec::new();
    if more_than_none(POOL_GUARDED).is_some() {
        let blocks = or_unknown(pool.value(POOL_GUARDED_BLOCKS), units::count);
        parts.push(plain(scene, format!("on, {blocks} blocks guarded")));
    }
    if let Some(faults) = more_than_none(POOL_FAULTS) {
        parts.push(scene.span(Tone::Bad, format!("{} faults, named in the log", units::count(faults))));
    }
    parts
}

/// Who takes its blocks: sources and stages, those first that take most, then maps. Nobody counts what a run takes: it is
/// what the others do not, where it is the only one that has no figure of its own.
fn used_by(scene: &Scene, pool: &Resource) -> Vec<Span<'static>> {
    let all = scene.look().resources();
    let lives_here = |resource: &&Resource| resource.pool.as_ref() == Some(&pool.address);
    let mut takers: Vec<(Option<f64>, String)> = Vec::new();
    for user in all.iter().filter(lives_here) {
        let is_part =
            |part: &&Resource| part.address.strip_prefix(&user.address).is_some_and(|rest| rest.starts_with('.'));
        let stages = all.iter().filter(is_part).map(|stage| (stage, STAGE_OUT_BATCHES));
        for (part, family) in std::iter::once((user, PIPELINE_SOURCE_BATCHES)).chain(stages) {
            let taken = part.value(family);
            match scene.look().rate(&part.address, family) {
                Some(rate) if taken > Some(0.0) => {
                    takers.push((Some(rate), format!("{} {}", part.address, units::rate(rate))));
                }
                _ if part.address == user.address => takers.push((None, part.address.clone())),
                // The last stage of a pipeline hands nothing on.
                _ => {}
            }
        }
    }
    let runs = scene.look().latest().map_or(&[][..], |latest| &latest.runs);
    let runs: Vec<_> =
        runs.iter().filter(|run| run.state == RunState::Running && run.uses.contains(&pool.address)).collect();
    let without = takers.iter().filter(|(rate, _)| rate.is_none()).count() + runs.len();
    let taken: f64 = takers.iter().filter_map(|(rate, _)| *rate).sum();
    let rest = scene.look().rate(&pool.address, POOL_ALLOCS).filter(|_| without == 1).map(|all| (all - taken).max(0.0));
    takers.extend(runs.into_iter().map(|run| match rest {
        Some(rest) => (Some(rest), format!("run {} ~{}", run.name, units::rate(rest))),
        None => (None, format!("run {}", run.name)),
    }));
    // A stable sort: those without a figure stay as they are listed.
    takers.sort_by(|(rate, _), (other, _)| other.unwrap_or(0.0).total_cmp(&rate.unwrap_or(0.0)));
    takers.into_iter().map(|(_, taker)| plain(scene, taker)).collect()
}

fn memory(scene: &Scene, bytes: Option<f64>) -> Line<'static> {
    scene.line(Tone::Plain, or_unknown(bytes, units::memory))
}
