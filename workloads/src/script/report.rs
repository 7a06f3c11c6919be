//! What a run is judged by and what it prints: checks, thresholds, tables.

use super::document::{Section, Walk};
use super::expression::{Condition, Vocabulary};
use super::group::{MAP_OPS, MapOp, QUEUE_OPS, ROUND_TRIP, Work};
use super::limits;
use super::phase::{Extent, Phase, Role};
use super::pool::POOL_OPS;
use super::target::{END_TO_END, Keys, MapTarget, MapValue, StageOp, Target, TargetKind, Targets};
use std::collections::BTreeSet;
use toml::Spanned;

/// Checks made at the end, whatever the figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checks {
    /// Pushed equals popped plus left, nothing twice, in order per producer; what one stage handed on, the next took;
    /// allocated equals freed, and no block was held by two.
    pub conservation: bool,
    /// The sum of acknowledged updates equals the sum in the map.
    pub lost_updates: bool,
    /// The values that increments of a key found there are 0, 1, 2 ..., each once.
    pub increments: bool,
    /// Every value that is read is one that was put in at its key, whole.
    pub values: bool,
    /// A walk meets every key that stays once, and none twice.
    pub walks: bool,
    /// Some order of the operations on every key, which keeps to their times, explains what each was answered.
    pub linearizable: bool,
    /// What a pipeline counted equals what a plain loop over the same input counts.
    pub oracle: bool,
}

/// A condition on the figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// The phase it looks at; `None` if it only asks for checks.
    pub on: Option<String>,
    /// The condition.
    pub condition: Condition,
}

/// The greatest entries of a map, to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    /// Heading.
    pub title: String,
    /// The map target.
    pub map: String,
    /// How many rows.
    pub rows: u64,
}

pub(super) fn read_checks(
    root: &mut Section<'_, '_>,
    walk: &Walk<'_>,
    targets: &Targets,
    phases: &[Option<Phase>],
) -> Checks {
    let Some(mut section) = root.table("check", "[check]") else { return Checks::default() };
    let checks = Checks {
        conservation: section.flag("conservation"),
        lost_updates: section.flag("lost_updates"),
        increments: section.flag("increments"),
        values: section.flag("values"),
        walks: section.flag("walks"),
        linearizable: section.flag("linearizable"),
        oracle: read_oracle(&mut section, walk),
    };
    if targets.all_read() {
        let own = || targets.iter().filter(|target| !target.hosted).map(|target| &target.kind);
        let checkable = own().any(|kind| !matches!(kind, TargetKind::Map(_)));
        if checks.conservation && !checkable {
            section.fault("`conservation` needs a queue, a pool or a pipeline that the run makes itself");
        }
        let counters = own()
            .any(|kind| matches!(kind, TargetKind::Map(MapTarget { value: MapValue::Counter, keys: Some(_), .. })));
        if checks.lost_updates && !counters {
            section.fault("`lost_updates` needs a map of counters with `keys` that the run makes itself");
        }
        if checks.values && !own().any(|kind| matches!(kind, TargetKind::Map(map) if map.value != MapValue::Counter)) {
            section.fault("`values` needs a map of bytes or words that the run makes itself: one with a `value`");
        }
        if checks.linearizable && !targets.iter().any(is_recorded) {
            section.fault("`linearizable` needs a map of counters or words with `keys` that the run makes itself");
        }
        if phases.iter().all(Option::is_some) {
            check_driven(&section, &checks, targets, phases);
        }
        let counts = own().any(|kind| match kind {
            TargetKind::Pipeline(p) => !p.repeat && p.stages.iter().any(|s| matches!(s.op, StageOp::Count(_))),
            _ => false,
        });
        let replayed = targets.iter().any(|target| {
            let driven = map_ops(phases.iter().flatten(), &target.name);
            is_replayable(target, &driven)
        });
        if checks.oracle && !counts && !replayed {
            section.fault(
                "`oracle` needs a pipeline with a `count` stage that comes to the end of its input, or a map of counters \
                 that groups only `get`, `update` or read through",
            );
        }
    }
    if checks.oracle || checks.lost_updates {
        check_apart(&section, targets, phases);
    }
    section.finish();
    checks
}

/// Checks that depend on what groups do to a map.
fn check_driven(section: &Section<'_, '_>, checks: &Checks, targets: &Targets, phases: &[Option<Phase>]) {
    let own = || {
        let maps = targets.iter().filter(|target| !target.hosted && matches!(target.kind, TargetKind::Map(_)));
        maps.map(|target| (target, map_ops(phases.iter().flatten(), &target.name))).filter(|(_, ops)| !ops.is_empty())
    };
    if checks.increments && !own().any(|(target, ops)| is_incremented(target, &ops)) {
        section.fault("`increments` needs a map of counters that groups neither `insert` into nor `remove` from");
    }
    let recorded = targets.iter().filter(|target| checks.linearizable && is_recorded(target));
    for target in recorded {
        let operations = |phase: &Phase| {
            let filled =
                phase.insert.as_ref().filter(|insert| insert.target == target.name).map_or(0, |insert| insert.count);
            let driven = phase.groups.iter().any(|group| group.work.targets().contains(&target.name.as_str()));
            match phase.extent {
                _ if !driven => Some(filled),
                Extent::Count(count) => Some(filled.max(count)),
                _ => None,
            }
        };
        let kept = phases.iter().flatten().map(operations).sum::<Option<u64>>();
        if kept.is_none_or(|kept| kept > limits::RECORDED_MAX) {
            section.fault(format_args!(
                "`linearizable` keeps every operation on `{}`: end the phases that drive it by `count`, {} together at most",
                target.name,
                limits::RECORDED_MAX
            ));
        }
    }
    if checks.walks && !own().any(|(_, ops)| is_walked(&ops)) {
        section.fault("`walks` needs a map that groups `walk` and do not `remove` from");
    }
}

/// What groups do to a map, each operation once.
pub(crate) fn map_ops<'p>(phases: impl Iterator<Item = &'p Phase>, map: &str) -> BTreeSet<MapOp> {
    let mixes = phases.flat_map(|phase| &phase.groups).filter_map(|group| match &group.work {
        Work::Map { target, mix, .. } if target == map => Some(mix),
        _ => None,
    });
    mixes.flat_map(|mix| mix.0.iter().map(|(op, _)| *op)).collect()
}

fn is_counter(target: &Target) -> bool {
    matches!(target.kind, TargetKind::Map(MapTarget { value: MapValue::Counter, .. }))
}

/// True if operations on it are kept when they are to be explained by an order.
pub(crate) fn is_recorded(target: &Target) -> bool {
    let numbers = |map: &MapTarget| map.keys.is_some() && !matches!(map.value, MapValue::Bytes(..));
    !target.hosted && matches!(&target.kind, TargetKind::Map(map) if numbers(map))
}

/// True if the old values of increments can be told to be a permutation: nothing else changes the counters.
pub(crate) fn is_incremented(target: &Target, ops: &BTreeSet<MapOp>) -> bool {
    let counts = |op: &MapOp| op.only_adds() || *op == MapOp::ReadModifyWrite;
    let adds = [MapOp::Update, MapOp::InsertNew, MapOp::ReadModifyWrite];
    is_counter(target) && !target.hosted && ops.iter().all(counts) && adds.iter().any(|op| ops.contains(op))
}

/// True if what the map holds can be had again by asking for the same in any order.
pub(crate) fn is_replayable(target: &Target, ops: &BTreeSet<MapOp>) -> bool {
    let drawn = matches!(&target.kind, TargetKind::Map(MapTarget { keys: Some(keys), .. })
        if !matches!(keys, Keys::Latest { .. }));
    let same = |op: &MapOp| op.only_adds() && *op != MapOp::InsertNew;
    is_counter(target) && !target.hosted && drawn && ops.contains(&MapOp::Update) && ops.iter().all(same)
}

/// True if walks can be held to what they promise: keys stay.
pub(crate) fn is_walked(ops: &BTreeSet<MapOp>) -> bool {
    ops.contains(&MapOp::Walk) && !ops.contains(&MapOp::Remove)
}

/// A map that a pipeline fills and a group drives cannot be held against either.
fn check_apart(section: &Section<'_, '_>, targets: &Targets, phases: &[Option<Phase>]) {
    for target in targets.iter() {
        let TargetKind::Pipeline(pipeline) = &target.kind else { continue };
        for map in pipeline.stages.iter().filter_map(|stage| match &stage.op {
            StageOp::Count(map) => Some(map),
            _ => None,
        }) {
            let drives = |phase: &&Phase| {
                let groups = phase.groups.iter().any(|group| group.work.targets().contains(&&**map));
                groups || phase.insert.as_ref().is_some_and(|insert| insert.target == *map)
            };
            if let Some(phase) = phases.iter().flatten().find(drives) {
                section.fault(format_args!(
                    "`{map}` is filled by `{}` and driven in phase `{}`: what came of which cannot be told; use two maps",
                    target.name, phase.name
                ));
            }
            if targets.iter().any(|target| target.name == *map && target.hosted) {
                section.fault(format_args!(
                    "`{map}` is the host's, and may hold counts of others; count into a map of the run's own"
                ));
            }
        }
    }
}

fn read_oracle(section: &mut Section<'_, '_>, walk: &Walk<'_>) -> bool {
    let Some(node) = section.take("oracle") else { return false };
    match (node.get_ref().as_str(), node.get_ref().as_bool()) {
        (Some("sequential"), _) => true,
        // A boolean too, so that a variable can switch it.
        (_, Some(word)) => word,
        _ => {
            walk.fault(node.span(), "`oracle` of [check] takes \"sequential\", true or false");
            false
        }
    }
}

/// The operations that thresholds can ask of.
fn vocabulary(targets: &Targets, phases: &[Option<Phase>]) -> Vocabulary {
    let works: Vec<&Work> = phases.iter().flatten().flat_map(|phase| &phase.groups).map(|group| &group.work).collect();
    let words = |target: &Target| -> Option<Vec<String>> {
        if target.hosted && matches!(target.kind, TargetKind::Pipeline(_)) {
            return None;
        }
        let mut words: Vec<&str> = match &target.kind {
            TargetKind::Map(_) => MAP_OPS.iter().map(|(name, _)| *name).collect(),
            TargetKind::Queue(_) => {
                let asked = |work: &&Work| matches!(work, Work::RoundTrip { send, .. } if *send == target.name);
                let round_trip = works.iter().any(asked).then_some(ROUND_TRIP);
                QUEUE_OPS.iter().map(|(name, _)| *name).chain(round_trip).chain([END_TO_END]).collect()
            }
            TargetKind::Pool(_) => POOL_OPS.iter().map(|(name, _)| *name).collect(),
            TargetKind::Pipeline(pipeline) => pipeline.stages.iter().map(|stage| stage.name.as_str()).collect(),
        };
        if matches!(target.kind, TargetKind::Pipeline(_)) {
            words.push(END_TO_END);
        }
        Some(words.into_iter().map(str::to_owned).collect())
    };
    targets.iter().map(|target| (target.name.clone(), words(target))).collect()
}

pub(super) fn read_thresholds(
    root: &mut Section<'_, '_>,
    walk: &Walk<'_>,
    text: &str,
    targets: &Targets,
    phases: &[Option<Phase>],
    checks: &Checks,
) -> Vec<Threshold> {
    let sections = root.tables("threshold", limits::THRESHOLDS_MAX, |n| format!("[[threshold]] {n}"));
    // Names are looked up only where all that declares them could be read.
    let whole = targets.all_read() && phases.iter().all(Option::is_some);
    let known = whole.then(|| vocabulary(targets, phases));
    let read = |mut section: Section<'_, '_>| {
        section.require("expr", "a condition such as \"throughput >= 1M/s\"");
        let on = section.string("on", "the name of a phase");
        let on_given = on.is_some();
        let source = section.string("expr", "a condition such as \"throughput >= 1M/s\"");
        let parsed = source.as_ref().map(|source| (source, Condition::parse_all(source.get_ref(), known.as_ref())));
        let conditions = match parsed {
            Some((_, Ok(conditions))) => conditions,
            Some((source, Err(faults))) => {
                for (part, message) in faults {
                    walk.fault(placed(text, source, part), message);
                }
                Vec::new()
            }
            None => Vec::new(),
        };
        let on = match on {
            Some(on) if phases.iter().flatten().any(|phase| phase.name == *on.get_ref()) => Some(on.into_inner()),
            Some(on) => {
                if whole {
                    let names = phases.iter().flatten().map(|phase| phase.name.as_str());
                    walk.fault(on.span(), super::Known::of("phase", names).unknown(on.get_ref()));
                }
                None
            }
            None => {
                let mut measured = phases.iter().flatten().filter(|phase| phase.role == Role::Measure);
                match (measured.next(), measured.next()) {
                    (Some(only), None) => Some(only.name.clone()),
                    _ => None,
                }
            }
        };
        if conditions.iter().any(Condition::needs_phase) && on.is_none() && whole && !on_given {
            section.fault("`on` is missing; it takes the name of the phase to look at");
        }
        if !conditions.iter().all(Condition::needs_phase) && *checks == Checks::default() {
            section.fault("there are no checks to look at; switch some on in [check]");
        }
        section.finish();
        let threshold = |condition| Threshold { on: on.clone(), condition };
        conditions.into_iter().map(threshold).collect::<Vec<_>>()
    };
    sections.into_iter().flat_map(read).collect()
}

/// Where a part of a string stands in the file: exactly if the string is written without escapes, else all of it.
fn placed(text: &str, string: &Spanned<String>, part: std::ops::Range<usize>) -> super::document::Span {
    let span = string.span();
    let quotes = text[span.clone()].bytes().take_while(|byte| matches!(byte, b'"' | b'\'')).count();
    let start = span.start + quotes;
    match text.get(start..start + string.get_ref().len()) {
        Some(written) if written == string.get_ref() && quotes > 0 => start + part.start..start + part.end,
        _ => span,
    }
}

pub(super) fn read_tables(root: &mut Section<'_, '_>, walk: &Walk<'_>, targets: &Targets) -> Vec<Top> {
    let sections = root.tables("table", limits::TABLES_MAX, |n| format!("[[table]] {n}"));
    let read = |mut section: Section<'_, '_>| {
        section.require("map", "the name of a map target");
        let map = section.string("map", "the name of a map target");
        if let Some(target) = map.as_ref().and_then(|map| targets.find(walk, map))
            && !matches!(target.kind, TargetKind::Map(MapTarget { value: MapValue::Counter, .. }))
        {
            section.fault(format_args!("`{}` is no map of counters", target.name));
        }
        let rows = match section.place("top") {
            Some(_) => section.count("top", 1..=limits::ROWS_MAX),
            None => Some(20),
        };
        let title = match section.place("title") {
            Some(_) => section.string("title", "a heading").map(Spanned::into_inner),
            None => map.as_ref().map(|map| format!("top of {}", map.get_ref())),
        };
        section.finish();
        Some(Top { title: title?, map: map?.into_inner(), rows: rows? })
    };
    sections.into_iter().filter_map(read).collect()
}
