//! What a run is judged by and what it prints: checks, thresholds, tables.

use super::document::{Section, Walk};
use super::expression::{Expression, Vocabulary};
use super::limits;
use super::phase::{MAP_OPS, Phase, QUEUE_OPS, ROUND_TRIP, Role, Work};
use super::target::{END_TO_END, MapTarget, MapValue, StageOp, TargetKind, Targets};
use toml::Spanned;

/// Checks made at the end, whatever the figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checks {
    /// Pushed equals popped plus left, nothing twice, in order per producer; what one stage handed on, the next took.
    pub conservation: bool,
    /// The sum of acknowledged updates equals the sum in the map.
    pub lost_updates: bool,
    /// What a pipeline counted equals what a plain loop over the same input counts.
    pub oracle: bool,
}

/// A condition on the figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// The phase it looks at; `None` if it only asks for checks.
    pub on: Option<String>,
    /// The condition.
    pub expr: Expression,
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
        oracle: read_oracle(&mut section, walk),
    };
    if targets.all_read() {
        let own = || targets.iter().filter(|target| !target.hosted).map(|target| &target.kind);
        let checkable = own().any(|kind| !matches!(kind, TargetKind::Map(_)));
        if checks.conservation && !checkable {
            section.fault("`conservation` needs a queue or a pipeline that the run makes itself");
        }
        let counters = own()
            .any(|kind| matches!(kind, TargetKind::Map(MapTarget { value: MapValue::Counter, keys: Some(_), .. })));
        if checks.lost_updates && !counters {
            section.fault("`lost_updates` needs a map of counters with `keys` that the run makes itself");
        }
        let counts = own().any(|kind| match kind {
            TargetKind::Pipeline(p) => !p.repeat && p.stages.iter().any(|s| matches!(s.op, StageOp::Count(_))),
            _ => false,
        });
        if checks.oracle && !counts {
            section.fault("`oracle` needs a pipeline with a `count` stage that comes to the end of its input");
        }
    }
    if checks.oracle || checks.lost_updates {
        check_apart(&section, targets, phases);
    }
    section.finish();
    checks
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
    let words = |target: &super::Target| -> Option<Vec<String>> {
        if target.hosted && matches!(target.kind, TargetKind::Pipeline(_)) {
            return None;
        }
        let mut words: Vec<&str> = match &target.kind {
            TargetKind::Map(_) => MAP_OPS.iter().map(|(name, _)| *name).collect(),
            TargetKind::Queue(_) => {
                let asked = |work: &&Work| matches!(work, Work::RoundTrip { send, .. } if *send == target.name);
                let round_trip = works.iter().any(asked).then_some(ROUND_TRIP);
                QUEUE_OPS.iter().map(|(name, _)| *name).chain(round_trip).collect()
            }
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
        let expr = source.as_ref().and_then(|source| match Expression::parse(source.get_ref(), known.as_ref()) {
            Ok(expr) => Some(expr),
            Err(faults) => {
                for (part, message) in faults {
                    walk.fault(placed(text, source, part), message);
                }
                None
            }
        });
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
        if let Some(expr) = &expr {
            if expr.needs_phase() && on.is_none() && whole && !on_given {
                section.fault("`on` is missing; it takes the name of the phase to look at");
            }
            if expr.needs_checks() && *checks == Checks::default() {
                section.fault("there are no checks to look at; switch some on in [check]");
            }
        }
        section.finish();
        Some(Threshold { on, expr: expr? })
    };
    sections.into_iter().filter_map(read).collect()
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
