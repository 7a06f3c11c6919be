//! Everything at a glance: the host, every resource with its trend, what runs, what was turned last.

use super::table::Column;
use super::{MEDIUM, Scene, allocator, bars, changes, chart, cut_bottom, cut_top, table};
use crate::family::*;
use crate::theme::Tone;
use crate::units::{self, or_unknown};
use crate::wording;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use rheostat_api::{Resource, RunState};

static COLUMNS: &[Column<Resource>] = &[
    Column {
        head: "RESOURCE",
        width: 23,
        right: false,
        from: 0,
        cell: |scene, resource, _| scene.line(Tone::Plain, resource.address.clone()),
    },
    Column {
        head: "RATE",
        width: 9,
        right: true,
        from: 0,
        cell: |scene, resource, _| {
            let rate = scene.look().throughput(resource);
            scene.line(Tone::Plain, or_unknown(rate, chart::throughput(&resource.kind)))
        },
    },
    chart::trend(MEDIUM),
    Column { head: "NOW", width: 27, right: false, from: 62, cell: |scene, resource, _| now(scene, resource) },
];

/// Changes shown at the foot.
const CHANGES_SHOWN: usize = 3;

/// Draws the screen.
pub fn draw(scene: &Scene, mut area: Rect, buf: &mut Buffer) {
    scene.put(host(scene), cut_top(&mut area, 1), buf);
    cut_top(&mut area, 1);
    let listed = scene.app.listed();
    // The list comes first; what is below it takes only room that it leaves.
    let spare = area.height.saturating_sub(listed.len() as u16 + 1);
    let mut foot = cut_bottom(&mut area, spare);
    let left = table::draw(scene, COLUMNS, &listed, scene.app.selected(), area, buf);
    foot.y -= left.height;
    foot.height += left.height;
    cut_top(&mut foot, 1);
    draw_runs(scene, &mut foot, buf);
    draw_changes(scene, &mut foot, buf);
    chart::draw_below(scene, scene.app.subject(), foot, buf);
}

/// `host demo  up 3m12s  cpu 1.62 of 2  rss 61 MiB  threads 14  cpu pressure 12%`.
fn host(scene: &Scene) -> Line<'static> {
    let Some(latest) = scene.look().latest() else { return Line::default() };
    let host = &latest.host;
    let cpu =
        or_unknown(scene.look().rate_of(|snapshot| Some(snapshot.host.cpu_seconds)), |cores| format!("{cores:.2}"));
    let (pressure_tone, pressure) = match host.cpu_pressure {
        None => (Tone::Quiet, "psi n/a".to_owned()),
        Some(share) if share > 0.5 => (Tone::Warn, format!("psi {} {}", units::percent(share), scene.theme.signs.warn)),
        Some(share) => (Tone::Plain, format!("psi {}", units::percent(share))),
    };
    let text = format!(
        " {}  up {}  cpu {cpu} of {}  rss {}  threads {}  ",
        host.config,
        units::elapsed(latest.uptime_s),
        host.cores,
        units::memory(host.rss_bytes as f64),
        host.threads
    );
    let mut line = Line::from_iter([scene.span(Tone::Plain, text), scene.span(pressure_tone, pressure)]);
    if host.history_left_out > 0 {
        // How much, and what to do about it, is what `rheostat stream` has room to say.
        line.push_span(scene.span(Tone::Warn, format!("  history full {}", scene.theme.signs.warn)));
    }
    line
}

/// What matters most about a resource besides its rate.
fn now(scene: &Scene, resource: &Resource) -> Line<'static> {
    let value = |family| resource.value(family);
    let text = match resource.kind.as_str() {
        "pipeline" => {
            let records = or_unknown(scene.look().rate(&resource.address, PIPELINE_SOURCE_ITEMS), units::rate);
            let p99 = or_unknown(resource.quantiles(PIPELINE_LATENCY).and_then(|spread| spread.p99), units::latency);
            let word = if value(PIPELINE_RUNNING) == Some(1.0) { records } else { "drained".to_owned() };
            format!("{word}  p99 {p99}")
        }
        "stage" => return stage(scene, resource),
        "queue" => return bars::fill(scene, value(QUEUE_DEPTH), value(QUEUE_CAPACITY), 8),
        "map" => {
            let entries = or_unknown(value(MAP_ENTRIES), units::grouped);
            format!("{entries} entries")
        }
        "pool" => {
            let live = or_unknown(value(POOL_LIVE), units::memory);
            format!("{live} live")
        }
        "allocator" => format!("{} live", or_unknown(allocator::live(resource), units::memory)),
        "scheduler" => {
            let threads = or_unknown(value(SCHEDULER_THREADS), units::count);
            format!("{threads} threads")
        }
        _ => String::new(),
    };
    scene.line(Tone::Plain, text)
}

/// `▲ ██████▒▒ 2 w  q 12/64`.
fn stage(scene: &Scene, resource: &Resource) -> Line<'static> {
    let value = |family| or_unknown(resource.value(family), units::count);
    let mut spans = vec![];
    if let Some(shares) = scene.look().shares(&resource.address, STAGE_STATE) {
        spans.extend([bars::stage_sign(scene, shares), Span::raw(" ")]);
        spans.extend(bars::stage_bar(scene, shares, 8));
    }
    let queue = format!("{}/{}", value(STAGE_QUEUE_BATCHES), value(STAGE_QUEUE_CAPACITY));
    spans.push(scene.span(Tone::Plain, format!(" x{} q {queue}", value(STAGE_WORKERS))));
    Line::from(spans)
}

fn draw_runs(scene: &Scene, area: &mut Rect, buf: &mut Buffer) {
    let Some(latest) = scene.look().latest() else { return };
    let under_way: Vec<_> = latest.runs.iter().filter(|run| run.state != RunState::Finished).collect();
    if under_way.is_empty() || area.height < 2 {
        return;
    }
    scene.heading("runs", cut_top(area, 1), buf);
    for run in under_way {
        let text = format!(" {}  {}", run.id, wording::run(run, wording::mean_rates(run)));
        scene.put(scene.line(Tone::Plain, text), cut_top(area, 1), buf);
    }
}

fn draw_changes(scene: &Scene, area: &mut Rect, buf: &mut Buffer) {
    if scene.app.changes().is_empty() || area.height < 2 {
        return;
    }
    scene.heading("changes", cut_top(area, 1), buf);
    for change in scene.app.changes().iter().rev().take(CHANGES_SHOWN) {
        scene.put(changes::line(scene, change), cut_top(area, 1), buf);
    }
}
