//! Where a map makes threads wait, and how that is known: counted where it happens, or from operations that were timed.

use super::maps::in_force;
use super::pipelines::quantile;
use super::{MEDIUM, Scene, facts};
use crate::family::*;
use crate::theme::Tone;
use crate::units::{self, or_unknown};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use rheostat_api::Resource;

/// Kind of the resource that keeps what maps of our own have retired.
const DOMAIN: &str = "domain";

/// Whether the backend in force does not show its contention, so that operations are timed now and then.
fn is_sampled(row: &Resource) -> bool {
    in_force(row, MAP_CONTENTION_SEEN, "by") == "sample"
}

/// How waits are seen, in a word.
pub fn seen(scene: &Scene, row: &Resource) -> Line<'static> {
    let by = in_force(row, MAP_CONTENTION_SEEN, "by");
    scene.line(Tone::Quiet, if by == "sample" { "1 in 64".to_owned() } else { by })
}

/// Waits a second: counted, or, with a sign, estimated.
pub fn waits(scene: &Scene, row: &Resource) -> Line<'static> {
    let text = if is_sampled(row) {
        stalls(scene, row).map(|rate| format!("~{}", units::rate(rate)))
    } else {
        scene.look().rate(&row.address, MAP_LOCK_CONTENTIONS).map(units::rate)
    };
    scene.line(Tone::Plain, text.unwrap_or_else(|| units::UNKNOWN.to_owned()))
}

/// How long the longest hundredth of them took.
pub fn wait99(scene: &Scene, row: &Resource) -> Line<'static> {
    let family = if is_sampled(row) { MAP_SAMPLED_STALL } else { MAP_LOCK_WAIT };
    quantile(scene, row.quantiles(family), |spread| spread.p99)
}

/// Stalls of all operations, as many in them as in the sample.
fn stalls(scene: &Scene, row: &Resource) -> Option<f64> {
    let rate = |family| scene.look().rate(&row.address, family);
    let (stalls, timed) = (rate(MAP_SAMPLED_STALLS)?, rate(MAP_SAMPLED_OPS)?);
    if timed == 0.0 { Some(0.0) } else { Some(stalls / timed * scene.look().throughput(row)?) }
}

/// Draws what is known of a map's contention beside the strips of its shards, as far as there is room.
pub fn draw(scene: &Scene, map: Option<&Resource>, area: &mut Rect, buf: &mut Buffer) {
    let contended = |map: &&Resource| map.value(MAP_CONTENTION_SEEN).is_some() && area.width >= MEDIUM;
    let Some(map) = map.filter(contended) else { return };
    let facts = [
        ("waits", waits_of(scene, map)),
        ("table", table_of(scene, map)),
        ("garbage", garbage_of(scene, map)),
        ("hand-over", handover_of(map)),
    ];
    let plain =
        |(word, parts): (_, Vec<String>)| (word, parts.into_iter().map(|part| scene.span(Tone::Plain, part)).collect());
    let how = if is_sampled(map) { "one operation in 64 is timed" } else { "counted where it happens" };
    let title = format!("{}  contention, {how}", map.address);
    facts::draw(scene, &title, facts.into_iter().map(plain).collect(), 0, area, buf);
}

fn waits_of(scene: &Scene, map: &Resource) -> Vec<String> {
    let mut parts = Vec::new();
    if is_sampled(map) {
        let stalls = stalls(scene, map).map_or(units::UNKNOWN.to_owned(), |rate| format!("~{}", units::rate(rate)));
        parts.push(format!("stalls over 16us {stalls}"));
    }
    for (words, family) in [
        ("lock waits", MAP_LOCK_CONTENTIONS),
        ("reads begun again", MAP_SEQLOCK_RETRIES),
        ("reads that locked", MAP_SEQLOCK_FALLBACKS),
        ("lost exchanges", MAP_CAS_FAILURES),
    ] {
        // Totals of a backend that was left stay, but do not grow.
        if map.value(family).is_some_and(|total| total > 0.0) {
            let rate = scene.look().rate(&map.address, family);
            parts.push(format!("{words} {}", or_unknown(rate, units::rate)));
        }
    }
    if parts.is_empty() {
        parts.push("none so far".to_owned());
    }
    parts
}

fn table_of(scene: &Scene, map: &Resource) -> Vec<String> {
    let Some(load) = map.value(MAP_LOAD) else { return Vec::new() };
    let mut parts = vec![format!("load {}", units::percent(load))];
    if let Some(moved) = map.value(MAP_GROWTH).filter(|moved| *moved > 0.0) {
        parts.push(format!("{} {} moved", scene.theme.signs.to, units::percent(moved)));
    }
    if let Some((mean, longest)) = map.value(MAP_PROBE_MEAN).zip(map.value(MAP_PROBE_MAX)) {
        parts.push(format!("misses look at {mean:.2}, at most {longest:.0}"));
    }
    if let Some(resizes) = map.value(MAP_RESIZES).filter(|resizes| *resizes > 0.0) {
        let helps = scene.look().rate(&map.address, MAP_HELPS);
        parts.push(format!("resized {resizes:.0}x, helps {}", or_unknown(helps, units::rate)));
    }
    parts
}

/// The last hand-over, and how long those waited whom one held up, in the last seconds and at all.
fn handover_of(map: &Resource) -> Vec<String> {
    let phase = in_force(map, MAP_HANDOVER_PHASE, "phase");
    if phase == units::UNKNOWN {
        return Vec::new();
    }
    let keys = map.value(MAP_HANDOVER_MOVED).zip(map.value(MAP_HANDOVER_KEYS));
    let keys = keys.map(|(moved, of)| format!("{} of {} moved", units::grouped(moved), units::grouped(of)));
    let stalls = map.quantiles(MAP_HANDOVER_STALL).filter(|stalls| stalls.count > 0);
    let stalls = stalls.map(|stalls| {
        let p99 = stalls.p99.map_or_else(String::new, |p99| format!(", p99 {}", units::latency(p99)));
        format!("{} waited{p99}, longest ever {}", units::count(stalls.count as f64), units::latency(stalls.max))
    });
    [Some(phase.replace('_', " ")), keys, stalls].into_iter().flatten().collect()
}

/// What maps with tables of our own have retired, all of them together: it is kept for the process as a whole.
fn garbage_of(scene: &Scene, map: &Resource) -> Vec<String> {
    let domain = scene.look().resources().iter().find(|resource| resource.kind == DOMAIN);
    let Some(domain) = domain.filter(|_| map.value(MAP_LOAD).is_some()) else { return Vec::new() };
    let backlog = domain.value(RECLAIM_RETIRED_BYTES).zip(domain.value(RECLAIM_FREED_BYTES));
    let backlog = or_unknown(backlog.map(|(retired, freed)| (retired - freed).max(0.0)), units::memory);
    let guard = match domain.value(RECLAIM_OLDEST_PIN) {
        Some(0.0) => "no guard holds it up".to_owned(),
        pin => format!("oldest guard {}", or_unknown(pin, units::latency)),
    };
    vec![format!("{backlog} retired and not yet freed"), guard, domain.address.clone()]
}
