//! Phases: who does what for how long, and which knobs are turned meanwhile.

use super::document::{Section, Walk};
use super::event::{Event, read_event};
use super::group::{Arrival, Group, Work, check_together, read_group};
use super::target::{PipelineTarget, Target, TargetKind, Targets};
use super::{NOT_A_NAME, is_name, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use toml::Spanned;

/// A phase of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// What its figures are for.
    pub role: Role,
    /// When it ends.
    pub extent: Extent,
    /// Keys put into a map before anything is measured.
    pub insert: Option<Insert>,
    /// Who works, all at once.
    pub groups: Vec<Group>,
    /// Knobs turned meanwhile.
    pub events: Vec<Event>,
}

/// What the figures of a phase are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Fills structures.
    Prepare,
    /// Brings them to their working state; its figures are shown but judged by no threshold that names no phase.
    Warmup,
    /// Is what the run is about.
    Measure,
    /// Lets them settle.
    Cooldown,
}

impl Role {
    /// The word for it in files and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Prepare => "prepare",
            Role::Warmup => "warmup",
            Role::Measure => "measure",
            Role::Cooldown => "cooldown",
        }
    }
}

/// When a phase ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// After a time.
    Duration(Duration),
    /// When the throughput has come to rest, or after a time at most.
    Steady(Duration),
    /// After so many operations, shared among the workers.
    Count(u64),
    /// When its pipelines have done with their input.
    Input,
}

/// Keys `0..count` put into a map, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insert {
    /// The map target.
    pub target: String,
    /// How many.
    pub count: u64,
    /// Threads that insert.
    pub workers: u64,
}

pub(super) fn read_all(root: &mut Section<'_, '_>, walk: &Walk<'_>, targets: &Targets) -> Vec<Option<Phase>> {
    root.require("phase", "the phases, in order: [[phase]] with a name and a group");
    let mut names = BTreeSet::new();
    let mut ended = BTreeMap::<String, String>::new();
    let sections = root.tables("phase", limits::PHASES_MAX, |n| format!("[[phase]] {n}"));
    let read = |section| {
        let phase = read(section, walk, targets, &mut names)?;
        let (phase, span) = phase;
        let pipelines: BTreeSet<_> = phase.groups.iter().filter_map(|group| group.work.pipeline()).collect();
        for target in pipelines {
            match ended.get(target) {
                Some(before) => {
                    let message = format!("`{target}` has come to the end of its input in phase `{before}`");
                    walk.fault(span.clone(), message);
                }
                None if phase.extent == Extent::Input => _ = ended.insert(target.to_owned(), phase.name.clone()),
                None => {}
            }
        }
        Some(phase)
    };
    sections.into_iter().map(read).collect()
}

fn read(
    mut section: Section<'_, '_>,
    walk: &Walk<'_>,
    targets: &Targets,
    names: &mut BTreeSet<String>,
) -> Option<(Phase, super::document::Span)> {
    const ROLES: [(&str, Role); 4] = [
        ("prepare", Role::Prepare),
        ("warmup", Role::Warmup),
        ("measure", Role::Measure),
        ("cooldown", Role::Cooldown),
    ];
    section.require("name", "the name of the phase");
    let name = section.string("name", "the name of the phase");
    if let Some(name) = &name {
        if !is_name(name.get_ref()) {
            walk.fault(name.span(), format!("`{}` {NOT_A_NAME}", name.get_ref()));
        } else if !names.insert(name.get_ref().clone()) {
            walk.fault(name.span(), format!("there are two phases `{}`; give one another name", name.get_ref()));
        }
        section.title = format!("[[phase]] `{}`", name.get_ref().chars().take(64).collect::<String>());
    }
    let role = if section.place("role").is_some() { section.word("role", &ROLES) } else { Some(Role::Measure) };
    let (duration_at, count_at) = (section.place("duration"), section.place("count"));
    let until_at = section.place("until");
    let until = if until_at.is_some() { read_until(&mut section) } else { None };
    let duration = section.duration("duration", limits::PHASE_MIN, limits::PHASE_MAX);
    let count = section.count("count", 1..=limits::COUNT_MAX);

    let insert_at = section.place("insert");
    let insert = match &insert_at {
        Some(_) => read_insert(&mut section, walk, targets).map(Some),
        None => Some(None),
    };
    let title = section.title.clone();
    let has_groups = section.place("group").is_some();
    let sections = section.tables("group", limits::GROUPS_MAX, |n| format!("group {n} of {title}"));
    let groups: Vec<_> = sections.into_iter().map(|group| read_group(group, walk, targets)).collect();
    let groups: Option<Vec<Group>> = groups.into_iter().collect();
    match (&insert_at, has_groups) {
        (None, false) => section.fault("nobody works: add `group` (or `insert`, to fill a map)"),
        (Some(at), true) => walk.fault(at.clone(), format!("{title} has `insert` and `group`; make them two phases")),
        _ => {}
    }
    if let Some(groups) = &groups {
        check_together(&section, walk, groups, targets);
    }
    let pipelines = groups.iter().flatten().filter_map(|group| match &group.work {
        Work::Pipeline { target } => targets.iter().find(|known| known.name == *target),
        _ => None,
    });
    let pipelines: Vec<&Target> = pipelines.collect();
    let extent = match (duration_at, count_at) {
        (Some(_), Some(at)) => {
            walk.fault(at, format!("{title} has `duration` and `count`; it ends by one of them"));
            None
        }
        (Some(at), None) | (None, Some(at)) if until_at.is_some() => {
            walk.fault(at, format!("{title} has `until` and another end; it ends by one of them"));
            None
        }
        (None, None) if until_at.is_some() => until.map(Extent::Steady),
        (Some(_), None) => duration.map(Extent::Duration),
        (None, Some(at)) => {
            if !pipelines.is_empty() {
                walk.fault(at, "a pipeline ends with its input or after a `duration`, not by `count`");
            }
            count.map(Extent::Count)
        }
        (None, None) if insert_at.is_some() => Some(Extent::Count(insert.iter().flatten().map(|i| i.count).sum())),
        (None, None) if !pipelines.is_empty() => {
            for target in &pipelines {
                if let TargetKind::Pipeline(PipelineTarget { repeat: true, .. }) = &target.kind {
                    section
                        .fault(format_args!("`{}` never comes to the end of its input; set `duration`", target.name));
                }
            }
            Some(Extent::Input)
        }
        (None, None) => {
            if has_groups && groups.is_some() {
                section.fault("nothing ends it: set `duration` or `count`");
            }
            None
        }
    };
    let sections = section.tables("event", limits::EVENTS_MAX, |n| format!("event {n} of {title}"));
    let end = match extent {
        Some(Extent::Duration(duration)) => Some(duration),
        _ => None,
    };
    if end.is_none() && extent.is_some() {
        let ramps = |group: &&Group| matches!(group.arrival, Arrival::Planned(schedule) if schedule.ramp.is_some());
        if groups.iter().flatten().any(|group| ramps(&group)) {
            section.fault("a `ramp` reaches its rate at the end of the phase; set `duration`");
        }
    }
    let events: Vec<_> = sections.into_iter().map(|event| read_event(event, walk, targets, end)).collect();
    let events: Option<Vec<Event>> = events.into_iter().collect();
    let turns: u64 = events.iter().flatten().map(Event::turns).sum();
    if turns > limits::TURNS_MAX {
        section.fault(format_args!("{turns} turns are too many; at most {} in a phase", limits::TURNS_MAX));
    }
    let span = section.span.clone();
    section.finish();
    let name = name?.into_inner();
    let phase = Phase { name, role: role?, extent: extent?, insert: insert?, groups: groups?, events: events? };
    Some((phase, span))
}

fn read_insert(section: &mut Section<'_, '_>, walk: &Walk<'_>, targets: &Targets) -> Option<Insert> {
    let title = format!("insert of {}", section.title);
    let mut insert = section.table("insert", title)?;
    let target = match insert.place("target") {
        Some(_) => insert.string("target", "the name of a map target").map(|name| (name.get_ref().clone(), name)),
        None => {
            let mut maps = targets.iter().filter(|target| matches!(target.kind, TargetKind::Map(_)));
            match (maps.next(), maps.next()) {
                (Some(only), None) => Some((only.name.clone(), Spanned::new(insert.span.clone(), only.name.clone()))),
                _ => {
                    if targets.all_read() {
                        insert.fault("`target` is missing; it takes the name of the map to fill");
                    }
                    None
                }
            }
        }
    };
    insert.require("count", "how many keys to put in");
    let count_at = insert.place("count");
    let count = insert.count("count", 1..=limits::ITEMS_MAX);
    let workers =
        if insert.place("workers").is_some() { insert.count("workers", 1..=limits::workers_max()) } else { Some(1) };
    insert.finish();
    let (name, spanned) = target?;
    match targets.find(walk, &spanned).map(|target| &target.kind) {
        Some(TargetKind::Map(map)) => match (map.keys, count_at, count) {
            (None, ..) => walk.fault(spanned.span(), format!("`{name}` has no `keys` to insert")),
            (Some(keys), Some(at), Some(count)) if count > keys.items() => {
                let message = format!("`count` is {count}, but `{name}` has {} keys", keys.items());
                walk.fault(at, message);
            }
            _ => {}
        },
        Some(_) => walk.fault(spanned.span(), format!("`{name}` is no map; only maps take `insert`")),
        None => {}
    }
    Some(Insert { target: name, count: count?, workers: workers? })
}

/// `until = { steady = "throughput", max = "20s" }`: for how long at most.
fn read_until(section: &mut Section<'_, '_>) -> Option<Duration> {
    let title = format!("until of {}", section.title);
    let mut until = section.table("until", title)?;
    until.require("steady", "what is to come to rest: \"throughput\"");
    let steady = until.word("steady", &[("throughput", ())]);
    until.require("max", "how long it may take");
    let max = until.duration("max", limits::PHASE_MIN, limits::PHASE_MAX);
    until.finish();
    steady.and(max)
}
