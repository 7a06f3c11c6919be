//! Events: which knobs are turned when, and how far they go.

use super::document::{Known, Node, Section, Walk, integer};
use super::target::{PIPELINE_KNOB, STAGE_KNOBS, TargetKind, Targets};
use super::{NOT_A_NAME, is_name, limits};
use rheostat_runtime::map::Backend;
use rheostat_runtime::observe::{Address, Value};
use rheostat_runtime::pool::LevelAsked;
use rheostat_runtime::queue;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// A knob turned once or many times during a phase.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What it is called in messages.
    pub name: String,
    /// When it happens first, from the start of the phase.
    pub at: Duration,
    /// The time from one turn to the next.
    pub every: Duration,
    /// How many times that is.
    pub count: u64,
    /// True if it goes on to the end of the phase, so that turns there was no time for are not missed.
    pub open: bool,
    /// The knobs, each with the values it is turned to in turn.
    pub set: Vec<(KnobName, Vec<Value>)>,
}

impl Event {
    /// Turns of knobs it comes to.
    pub fn turns(&self) -> u64 {
        self.count * self.set.len() as u64
    }
}

/// A knob by resource and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KnobName {
    /// The resource.
    pub resource: Address,
    /// Its knob.
    pub knob: String,
}

impl std::fmt::Display for KnobName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.resource, self.knob)
    }
}

pub(super) fn read_event(
    mut section: Section<'_, '_>,
    walk: &Walk<'_>,
    targets: &Targets,
    phase_end: Option<Duration>,
) -> Option<Event> {
    let name = match section.place("name") {
        Some(_) => section.string("name", "the name of the event").map(Spanned::into_inner),
        None => Some(section.title.split(" of ").next().unwrap_or_default().to_owned()),
    };
    let (at_at, every_at) = (section.place("at"), section.place("every"));
    if every_at.is_none() {
        section.require("at", "the time of the turn, from the start of the phase; or set `every`");
    } else if phase_end.is_none() {
        section.require("count", "the number of turns, as the phase has no `duration` to fill");
    }
    let count_at = section.place("count");
    let at = section.duration("at", Duration::ZERO, limits::PHASE_MAX);
    let every = section.duration("every", Duration::from_micros(100), limits::PHASE_MAX);
    let count = section.count("count", 1..=limits::TURNS_MAX);
    let open = every_at.is_some() && count_at.is_none();
    let (at, every, count) = match (every_at.is_some(), count_at) {
        // Without `at`, the first turn is one interval into the phase.
        (true, given) => {
            let at = if at_at.is_some() { at } else { every };
            let count = if given.is_some() { count } else { turns_until(phase_end, at, every) };
            (at, every, count)
        }
        (false, misplaced) => {
            if let Some(span) = misplaced {
                walk.fault(span, "`count` goes with `every`");
            }
            (at, Some(Duration::ZERO), Some(1))
        }
    };
    if let (Some(at), Some(place), Some(end)) = (at, at_at.or(every_at.clone()), phase_end)
        && at >= end
    {
        let (at, end) = (crate::unit::duration(at), crate::unit::duration(end));
        walk.fault(place, format!("the first turn is at {at}, but the phase ends after {end}"));
    }
    let set = if section.place("knob").is_some() || section.place("cycle").is_some() {
        read_cycle(&mut section, walk, targets)
    } else {
        section.require("set", "knobs and values: set = { \"wc.count.workers\" = 4 }; or set `knob` and `cycle`");
        let title = format!("set of {}", section.title);
        section.table("set", title).and_then(|mut set| {
            let knobs: Vec<_> = set
                .take_all()
                .into_iter()
                .map(|(knob, node)| {
                    let (known, takes) = find_knob(walk, targets, &knob)?;
                    // A variable stands for its value here as anywhere.
                    let value = read_value(walk, &knob, node, &takes)?;
                    Some((known, vec![value]))
                })
                .collect();
            if knobs.is_empty() {
                set.fault("nothing is set");
            }
            set.finish();
            knobs.into_iter().collect::<Option<Vec<_>>>().filter(|knobs| !knobs.is_empty())
        })
    };
    section.finish();
    Some(Event { name: name?, at: at?, every: every?, count: count?, open, set: set? })
}

/// How often something comes round that first comes at `at`; once at least.
fn turns_until(end: Option<Duration>, at: Option<Duration>, every: Option<Duration>) -> Option<u64> {
    let left = end?.saturating_sub(at?);
    Some((left.as_nanos().saturating_sub(1) / every?.as_nanos()) as u64 + 1)
}

fn read_cycle(
    section: &mut Section<'_, '_>,
    walk: &Walk<'_>,
    targets: &Targets,
) -> Option<Vec<(KnobName, Vec<Value>)>> {
    section.require("knob", "the knob to turn: \"wc.count.workers\"");
    section.require("cycle", "the values to turn it to, one after the other: [1, 8, 2]");
    let knob = section.string("knob", "the knob to turn: \"wc.count.workers\"");
    let found = knob.as_ref().and_then(|knob| find_knob(walk, targets, knob));
    let nodes = section.array("cycle", 1000, "values");
    let ((name, takes), knob, nodes) = (found?, knob?, nodes?);
    let values: Vec<_> = nodes.into_iter().map(|node| read_value(walk, &knob, node, &takes)).collect();
    Some(vec![(name, values.into_iter().collect::<Option<_>>()?)])
}

/// What a knob takes, as far as that can be told before the run.
enum Takes {
    /// Whole numbers from 1.
    Upto(u64),
    /// One of these words.
    Words(Vec<&'static str>),
    /// Only the host knows.
    Whatever,
}

/// Finds the knob that `wc.count.workers` (by target) or `pipeline.words.count.workers` (by address) means, and what
/// it takes.
fn find_knob(walk: &Walk<'_>, targets: &Targets, knob: &Spanned<String>) -> Option<(KnobName, Takes)> {
    let text = knob.get_ref();
    let (head, rest) = text.split_once('.').unwrap_or((text, ""));
    let Some(target) = targets.iter().find(|target| target.name == head) else {
        // A target at fault is declared all the same; its knobs cannot be told.
        if !targets.all_read() {
            return None;
        }
        return match Address::parse_knob(text) {
            Ok((resource, knob)) => Some((KnobName { resource, knob }, Takes::Whatever)),
            Err(_) => {
                let known = Known::of("target", targets.iter().map(|target| target.name.as_str())).unknown(head);
                walk.fault(knob.span(), format!("`{text}` is no knob: {known}"));
                None
            }
        };
    };
    let refuse = |why: String| {
        walk.fault(knob.span(), format!("`{text}` is no knob: {why}"));
        None
    };
    match &target.kind {
        TargetKind::Pipeline(pipeline) => {
            let Some((stage, knob_name)) = rest.split_once('.') else {
                if rest == PIPELINE_KNOB {
                    let knob = KnobName { resource: target.address.clone(), knob: rest.to_owned() };
                    return Some((knob, Takes::Whatever));
                }
                let knobs = STAGE_KNOBS.join(", ");
                return refuse(format!("write {head}.{PIPELINE_KNOB}, or {head}.STAGE.KNOB with one of {knobs}"));
            };
            if !target.hosted && !pipeline.stages.iter().any(|known| known.name == stage) {
                let stages = pipeline.stages.iter().map(|known| known.name.as_str());
                return refuse(Known::of("stage", stages).unknown(stage));
            }
            if !STAGE_KNOBS.contains(&knob_name) {
                return refuse(Known::of("knob", STAGE_KNOBS).unknown(knob_name));
            }
            let Ok(resource) = Address::stage(target.address.name(), stage) else {
                return refuse(format!("`{stage}` {NOT_A_NAME}"));
            };
            let max = match knob_name {
                "workers" => limits::workers_max(),
                "batch" => limits::BATCH_MAX,
                _ => limits::STAGE_CAPACITY_MAX,
            };
            let takes = if target.hosted { Takes::Whatever } else { Takes::Upto(max) };
            Some((KnobName { resource, knob: knob_name.to_owned() }, takes))
        }
        // What the host has may have knobs that what a run makes does not.
        _ if target.hosted && is_name(rest) => {
            Some((KnobName { resource: target.address.clone(), knob: rest.to_owned() }, Takes::Whatever))
        }
        kind => {
            let knobs = own_knobs(kind);
            let names: Vec<_> = knobs.iter().map(|(name, _)| *name).collect();
            match knobs.into_iter().find(|(name, _)| *name == rest) {
                Some((name, takes)) => {
                    Some((KnobName { resource: target.address.clone(), knob: name.to_owned() }, takes))
                }
                None => refuse(Known::of("knob", names).unknown(rest)),
            }
        }
    }
}

/// The knobs of a map, a queue or a pool that a run makes.
fn own_knobs(kind: &TargetKind) -> Vec<(&'static str, Takes)> {
    match kind {
        TargetKind::Queue(_) => {
            let kinds = Takes::Words(queue::Kind::ALL.map(queue::Kind::as_str).to_vec());
            vec![("kind", kinds), ("capacity", Takes::Upto(limits::QUEUE_CAPACITY_MAX))]
        }
        TargetKind::Map(_) => vec![("backend", Takes::Words(Backend::ALL.map(Backend::as_str).to_vec()))],
        TargetKind::Pool(_) => vec![("level", Takes::Words(LevelAsked::ALL.map(LevelAsked::as_str).to_vec()))],
        TargetKind::Pipeline(_) => Vec::new(),
    }
}

fn read_value(walk: &Walk<'_>, knob: &Spanned<String>, node: Node<'_>, takes: &Takes) -> Option<Value> {
    let node = walk.substituted(node)?;
    let (span, value) = (node.span(), node.into_inner());
    let found = match (&value, integer(&value)) {
        (_, Some(number)) => Value::Integer(number),
        (DeValue::String(word), _) => Value::Choice(word.to_string()),
        _ => {
            walk.fault(span, format!("`{}` takes a whole number or a word", knob.get_ref()));
            return None;
        }
    };
    let wanted = match (&found, takes) {
        (_, Takes::Whatever) => return Some(found),
        (Value::Integer(number), Takes::Upto(max)) if (1..=*max as i64).contains(number) => return Some(found),
        (Value::Choice(word), Takes::Words(words)) if words.contains(&word.as_str()) => return Some(found),
        (_, Takes::Words(words)) => format!("one of {}", words.join(", ")),
        (_, Takes::Upto(max)) => format!("a whole number from 1 to {max}"),
    };
    walk.fault(span, format!("{found} is out of range: `{}` takes {wanted}", knob.get_ref()));
    None
}
