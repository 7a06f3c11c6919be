//! Phases: who does what for how long, and which knobs are turned meanwhile.

use super::document::{Known, Node, Section, Walk, integer};
use super::target::{PIPELINE_KNOB, PipelineTarget, QUEUE_KNOB, STAGE_KNOBS, Target, TargetKind, Targets};
use super::{NOT_A_NAME, is_name, limits};
use rheostat_runtime::observe::{Address, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

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

/// Workers that do the same, each in a closed loop: the next operation starts when the last has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// What they do.
    pub work: Work,
    /// How many there are; a pipeline's are in its stages.
    pub workers: u64,
}

/// What the workers of a group do.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// A mix of operations on a map.
    Map {
        /// The map target.
        target: String,
        /// Operations by weight.
        mix: Mix<MapOp>,
    },
    /// A mix of operations on a queue.
    Queue {
        /// The queue target.
        target: String,
        /// Operations by weight.
        mix: Mix<QueueOp>,
    },
    /// Pushes to one queue, then waits for the answer in the other: one operation.
    RoundTrip {
        /// The queue target that takes the question.
        send: String,
        /// The queue target that brings the answer.
        recv: String,
    },
    /// Pops from one queue and pushes what it got to the other; serves round trips and is not counted itself.
    Echo {
        /// The queue target that brings questions.
        recv: String,
        /// The queue target that takes answers.
        send: String,
    },
    /// A pipeline runs.
    Pipeline {
        /// The pipeline target.
        target: String,
    },
}

/// Operations with their weights; the sum is not 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix<O>(pub Vec<(O, u64)>);

/// An operation on a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MapOp {
    /// Looks a key up.
    Get,
    /// Puts a value at a key, in the place of any there.
    Insert,
    /// Adds one to a counter; replaces bytes.
    Update,
    /// Takes a key out.
    Remove,
}

/// An operation on a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueueOp {
    /// Puts an item in, waiting for room.
    Push,
    /// Takes an item out, waiting for one.
    Pop,
}

/// The words for the operations on a map.
pub(crate) const MAP_OPS: [(&str, MapOp); 4] =
    [("get", MapOp::Get), ("insert", MapOp::Insert), ("update", MapOp::Update), ("remove", MapOp::Remove)];

/// The words for the operations on a queue.
pub(crate) const QUEUE_OPS: [(&str, QueueOp); 2] = [("push", QueueOp::Push), ("pop", QueueOp::Pop)];

/// The word for a round trip.
pub(crate) const ROUND_TRIP: &str = "round_trip";

impl Work {
    /// The targets it touches.
    pub fn targets(&self) -> Vec<&str> {
        match self {
            Work::Map { target, .. } | Work::Queue { target, .. } | Work::Pipeline { target } => vec![target],
            Work::RoundTrip { send, recv } | Work::Echo { recv, send } => vec![send, recv],
        }
    }

    /// The pipeline that runs, if this is one.
    pub fn pipeline(&self) -> Option<&str> {
        match self {
            Work::Pipeline { target } => Some(target),
            _ => None,
        }
    }
}

/// A knob turned once or many times during a phase.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What it is called in messages.
    pub name: String,
    /// When it happens first, from the start of the phase.
    pub at: Duration,
    /// The time from one turn to the next.
    pub every: Duration,
    /// How many turns there are.
    pub count: u64,
    /// The knobs, each with the values it is turned to in turn.
    pub set: Vec<(KnobName, Vec<Value>)>,
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
    let events: Vec<_> = sections.into_iter().map(|event| read_event(event, walk, targets, end)).collect();
    let events: Option<Vec<Event>> = events.into_iter().collect();
    let turns: u64 = events.iter().flatten().map(|event| event.count * event.set.len() as u64).sum();
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

fn read_group(mut section: Section<'_, '_>, walk: &Walk<'_>, targets: &Targets) -> Option<Group> {
    if section.place("arrival").is_some() {
        section.word("arrival", &[("closed", ())]);
    }
    let workers_at = section.place("workers");
    let group = if section.place("op").is_some() {
        read_exchange(&mut section, walk, targets)
    } else {
        section.require("target", "the name of a [target.NAME]");
        section.string("target", "the name of a [target.NAME]").and_then(|name| {
            let target = targets.find(walk, &name)?;
            let mix_at = section.place("mix");
            if !matches!(target.kind, TargetKind::Pipeline(_)) && mix_at.is_none() {
                section.require("mix", "operations by weight: mix = { get = 95, update = 5 }");
            }
            let target_name = target.name.clone();
            match &target.kind {
                TargetKind::Map(map) => {
                    if map.keys.is_none() {
                        let message =
                            format!("`{target_name}` has no `keys` to draw from; give [target.{target_name}] some");
                        walk.fault(name.span(), message);
                    }
                    read_mix(&mut section, &MAP_OPS).map(|mix| Work::Map { target: target_name, mix })
                }
                TargetKind::Queue(_) => {
                    read_mix(&mut section, &QUEUE_OPS).map(|mix| Work::Queue { target: target_name, mix })
                }
                TargetKind::Pipeline(_) => {
                    for (key, at) in [("mix", mix_at), ("workers", workers_at.clone())] {
                        if let Some(at) = at {
                            let _ = section.take(if key == "mix" { "mix" } else { "workers" });
                            walk.fault(
                                at,
                                format!("a pipeline has no `{key}` here: its stages say what is done and by how many"),
                            );
                        }
                    }
                    Some(Work::Pipeline { target: target_name })
                }
            }
        })
    };
    let workers = match section.place("workers") {
        Some(_) => section.count("workers", 1..=limits::workers_max()),
        None => Some(1),
    };
    // A group whose target is unknown may hold a mix for it.
    if group.is_none() {
        let _ = section.take("mix");
    }
    section.finish();
    Some(Group { work: group?, workers: workers? })
}

fn read_exchange(section: &mut Section<'_, '_>, walk: &Walk<'_>, targets: &Targets) -> Option<Work> {
    let echo = section.word("op", &[(ROUND_TRIP, false), ("echo", true)]);
    let mut queue = |key| {
        section.require(key, "the name of a queue target");
        let name = section.string(key, "the name of a queue target")?;
        let target = targets.find(walk, &name)?;
        if !matches!(target.kind, TargetKind::Queue(_)) {
            walk.fault(name.span(), format!("`{}` is no queue", name.get_ref()));
            return None;
        }
        Some(name)
    };
    let (send, recv) = (queue("send"), queue("recv"));
    let (send, recv) = (send?, recv?);
    if send.get_ref() == recv.get_ref() {
        walk.fault(recv.span(), "`send` and `recv` are the same queue; a round trip takes two");
    }
    let (send, recv) = (send.into_inner(), recv.into_inner());
    Some(if echo? { Work::Echo { recv, send } } else { Work::RoundTrip { send, recv } })
}

fn read_mix<O: Copy>(section: &mut Section<'_, '_>, ops: &[(&'static str, O)]) -> Option<Mix<O>> {
    let title = format!("mix of {}", section.title);
    let mut mix = section.table("mix", title)?;
    let mut weights = Vec::new();
    let mut whole = true;
    for (name, op) in ops {
        if mix.place(name).is_some() {
            match mix.count(name, 0..=limits::WEIGHT_MAX) {
                Some(0) => {}
                Some(weight) => weights.push((*op, weight)),
                None => whole = false,
            }
        } else {
            let _ = mix.take(name);
        }
    }
    if weights.is_empty() && whole {
        let names: Vec<_> = ops.iter().map(|(name, _)| *name).collect();
        mix.fault(format_args!("nothing has a weight above 0; choose from {}", names.join(", ")));
        whole = false;
    }
    mix.finish();
    whole.then_some(Mix(weights))
}

/// What no group can know of the others.
fn check_together(section: &Section<'_, '_>, walk: &Walk<'_>, groups: &[Group], targets: &Targets) {
    let total: u64 = groups.iter().map(|group| group.workers).sum();
    if total > limits::workers_max() {
        section.fault(format_args!("{total} workers are too many; at most {} in a phase", limits::workers_max()));
    }
    for group in groups {
        if let Work::RoundTrip { send, recv } = &group.work {
            let answered = groups.iter().any(
                |other| matches!(&other.work, Work::Echo { recv: asked, send: back } if asked == send && back == recv),
            );
            if !answered {
                let echo = format!("{{ op = \"echo\", recv = \"{send}\", send = \"{recv}\" }}");
                section.fault(format_args!("nobody answers the round trips through `{send}`; add {echo}"));
            }
        }
    }
    let echoes_only = groups.iter().all(|group| matches!(group.work, Work::Echo { .. }));
    if echoes_only && !groups.is_empty() {
        section.fault("echoes only answer; add a group with op = \"round_trip\"");
    }
    let mut seen = BTreeSet::new();
    for target in targets.iter() {
        let runs = groups.iter().filter(|g| matches!(&g.work, Work::Pipeline { target: t } if *t == target.name));
        if runs.count() > 1 && seen.insert(&target.name) {
            walk.fault(section.span.clone(), format!("`{}` is in two groups; a pipeline runs once", target.name));
        }
    }
}

fn read_event(
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
        section.require("at", "the time of the turn, from the start of the phase; or set `every` and `count`");
    } else {
        section.require("count", "the number of turns");
    }
    let count_at = section.place("count");
    let at = section.duration("at", Duration::ZERO, limits::PHASE_MAX);
    let every = section.duration("every", Duration::from_micros(100), limits::PHASE_MAX);
    let count = section.count("count", 1..=limits::TURNS_MAX);
    let (at, every, count) = match (every_at.is_some(), count_at) {
        // Without `at`, the first turn is one interval into the phase.
        (true, _) => (if at_at.is_some() { at } else { every }, every, count),
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
                    let (known, range) = find_knob(walk, targets, &knob)?;
                    // A variable stands for its value here as anywhere.
                    let value = read_value(walk, &knob, node, range)?;
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
    Some(Event { name: name?, at: at?, every: every?, count: count?, set: set? })
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
    let ((name, range), knob, nodes) = (found?, knob?, nodes?);
    let values: Vec<_> = nodes.into_iter().map(|node| read_value(walk, &knob, node, range)).collect();
    Some(vec![(name, values.into_iter().collect::<Option<_>>()?)])
}

/// Finds the knob that `wc.count.workers` (by target) or `pipeline.words.count.workers` (by address) means, and how
/// far it goes where that can be told before the run.
fn find_knob(walk: &Walk<'_>, targets: &Targets, knob: &Spanned<String>) -> Option<(KnobName, Option<u64>)> {
    let text = knob.get_ref();
    let (head, rest) = text.split_once('.').unwrap_or((text, ""));
    let Some(target) = targets.iter().find(|target| target.name == head) else {
        // A target at fault is declared all the same; its knobs cannot be told.
        if !targets.all_read() {
            return None;
        }
        return match Address::parse_knob(text) {
            Ok((resource, knob)) => Some((KnobName { resource, knob }, None)),
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
                    return Some((knob, None));
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
            Some((KnobName { resource, knob: knob_name.to_owned() }, Some(max).filter(|_| !target.hosted)))
        }
        TargetKind::Queue(_) if rest == QUEUE_KNOB => {
            let knob = KnobName { resource: target.address.clone(), knob: rest.to_owned() };
            Some((knob, Some(limits::QUEUE_CAPACITY_MAX)))
        }
        TargetKind::Queue(_) => refuse(Known::of("knob", [QUEUE_KNOB]).unknown(rest)),
        // A map that the host has may have knobs that those of a run do not.
        TargetKind::Map(_) if target.hosted && is_name(rest) => {
            Some((KnobName { resource: target.address.clone(), knob: rest.to_owned() }, None))
        }
        TargetKind::Map(_) => refuse(format!("`{head}` has no knobs")),
    }
}

fn read_value(walk: &Walk<'_>, knob: &Spanned<String>, node: Node<'_>, max: Option<u64>) -> Option<Value> {
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
    let fits = match (&found, max) {
        (Value::Integer(number), Some(max)) => (1..=max as i64).contains(number),
        (Value::Choice(_), Some(_)) => false,
        (_, None) => true,
    };
    if !fits {
        let max = max.unwrap_or_default();
        walk.fault(span, format!("{found} is out of range: `{}` takes a whole number from 1 to {max}", knob.get_ref()));
        return None;
    }
    Some(found)
}
