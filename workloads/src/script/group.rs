//! Groups: what workers do to a target, how often, and when.

use super::document::{Section, Walk};
use super::limits;
use super::pool::{POOL_OPS, PoolOp};
use super::target::{TargetKind, Targets};
use std::collections::BTreeSet;
use std::time::Duration;

/// Operations of which one is timed where a file says nothing else.
const SAMPLE: u64 = 64;
/// Operations of which one is timed at least.
const SAMPLE_MAX: u64 = 1_000_000;
/// Longest time between two operations of a worker.
const THINK_MAX: Duration = Duration::from_secs(60);

/// Workers that do the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// What they do.
    pub work: Work,
    /// How many there are; a pipeline's are in its stages.
    pub workers: u64,
    /// When an operation starts.
    pub arrival: Arrival,
    /// How long a worker is busy with something else after each operation.
    pub think: Duration,
    /// One in how many operations is timed, on average; with arrivals by plan every one is.
    pub sample: u64,
}

/// When the operations of a group start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrival {
    /// A closed loop: the next operation starts when the last has ended.
    Closed,
    /// An open loop: operations have times they are due at, whatever became of those before them.
    Planned(Schedule),
}

/// When operations are due, for a group as a whole: each worker has its share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// True for independent arrivals (Poisson), false for even distances.
    pub poisson: bool,
    /// Operations a second.
    pub rate: f64,
    /// The rate at the end of the phase, which it goes to steadily.
    pub ramp: Option<f64>,
    /// Operations come only in the first of these two times, over and over.
    pub burst: Option<(Duration, Duration)>,
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
        /// Entries of a scan at most, and of a page of a walk.
        scan: u64,
        /// How long a `hold` stands still.
        hold: Duration,
    },
    /// A mix of operations on a queue.
    Queue {
        /// The queue target.
        target: String,
        /// Operations by weight.
        mix: Mix<QueueOp>,
        /// Whether a push to a full queue waits for room, or is counted as rejected.
        waits: bool,
    },
    /// A mix of operations on a pool.
    Pool {
        /// The pool target.
        target: String,
        /// Operations by weight.
        mix: Mix<PoolOp>,
        /// Blocks a worker holds, for operations on those it holds.
        live: u64,
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

impl MapOp {
    /// True if a key that comes to be stays, and a counter only counts: what a map holds then follows from what it was
    /// asked for, in whatever order.
    pub(crate) fn only_adds(self) -> bool {
        !matches!(self, MapOp::Insert | MapOp::Remove | MapOp::ReadModifyWrite)
    }

    /// True if it works on a key that is drawn.
    fn draws(self) -> bool {
        !matches!(self, MapOp::InsertNew | MapOp::Scan | MapOp::Walk | MapOp::Hold)
    }
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
    /// Puts a value at a key that nobody has used before: the next past all there are.
    InsertNew,
    /// Adds one to a counter, in one step; replaces bytes.
    Update,
    /// Gets, then inserts what came of it: two steps, as in YCSB. On counters, two that do it at once lose an update.
    ReadModifyWrite,
    /// Takes a key out.
    Remove,
    /// Reads some entries on from a random place; the maps keep no order of keys.
    Scan,
    /// Reads every entry, page by page.
    Walk,
    /// Goes through the entries and stands still inside: a reader that sleeps.
    Hold,
}

/// An operation on a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueueOp {
    /// Puts an item in.
    Push,
    /// Takes an item out, waiting for one.
    Pop,
    /// Puts an item in, then takes one out: never waits for one that nobody is left to push.
    Pair,
}

/// The words for the operations on a map.
pub(crate) const MAP_OPS: [(&str, MapOp); 9] = [
    ("get", MapOp::Get),
    ("insert", MapOp::Insert),
    ("insert_new", MapOp::InsertNew),
    ("update", MapOp::Update),
    ("read_modify_write", MapOp::ReadModifyWrite),
    ("remove", MapOp::Remove),
    ("scan", MapOp::Scan),
    ("walk", MapOp::Walk),
    ("hold", MapOp::Hold),
];

/// The words for the operations on a queue.
pub(crate) const QUEUE_OPS: [(&str, QueueOp); 3] =
    [("push", QueueOp::Push), ("pop", QueueOp::Pop), ("pair", QueueOp::Pair)];

/// The word for a round trip.
pub(crate) const ROUND_TRIP: &str = "round_trip";

impl<O: PartialEq> Mix<O> {
    /// True if one of these is in it.
    pub fn has(&self, ops: &[O]) -> bool {
        self.0.iter().any(|(op, _)| ops.contains(op))
    }
}

impl Work {
    /// The targets it touches.
    pub fn targets(&self) -> Vec<&str> {
        match self {
            Work::Map { target, .. }
            | Work::Queue { target, .. }
            | Work::Pool { target, .. }
            | Work::Pipeline { target } => vec![target],
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

pub(super) fn read_group(mut section: Section<'_, '_>, walk: &Walk<'_>, targets: &Targets) -> Option<Group> {
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
                    let mix = read_mix(&mut section, &MAP_OPS);
                    let draws = mix.as_ref().is_none_or(|mix| mix.0.iter().any(|(op, _)| op.draws()));
                    if map.keys.is_none() && draws {
                        let message =
                            format!("`{target_name}` has no `keys` to draw from; give [target.{target_name}] some");
                        walk.fault(name.span(), message);
                    }
                    read_map_work(&mut section, walk, target_name, mix)
                }
                TargetKind::Queue(_) => {
                    let mix = read_mix(&mut section, &QUEUE_OPS);
                    let waits = match section.place("full") {
                        Some(_) => section.word("full", &[("wait", true), ("reject", false)]),
                        None => Some(true),
                    };
                    Some(Work::Queue { target: target_name, mix: mix?, waits: waits? })
                }
                TargetKind::Pool(_) => {
                    let mix = read_mix(&mut section, &POOL_OPS);
                    let live_at = section.place("live");
                    if let (Some(at), Some(mix)) = (&live_at, &mix)
                        && !mix.has(&[PoolOp::Replace, PoolOp::Generation])
                    {
                        walk.fault(at.clone(), "`live` goes with replace or generation in the mix");
                    }
                    let live = match live_at {
                        Some(_) => section.count("live", 1..=limits::LIVE_MAX),
                        None => Some(1000),
                    };
                    Some(Work::Pool { target: target_name, mix: mix?, live: live? })
                }
                TargetKind::Pipeline(_) => {
                    const KEYS: [&str; 5] = ["mix", "workers", "arrival", "think", "sample"];
                    for key in KEYS {
                        if let Some(at) = section.place(key) {
                            let _ = section.take(key);
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
    let pace_at = section.place("arrival").or_else(|| section.place("rate"));
    let arrival = read_arrival(&mut section, walk);
    if let (Some(Work::Echo { .. }), Some(at)) = (&group, pace_at) {
        walk.fault(at, "an echo answers when it is asked; pace the round trips instead");
    }
    let think = match section.place("think") {
        Some(_) => section.duration("think", Duration::from_nanos(1), THINK_MAX),
        None => Some(Duration::ZERO),
    };
    let sample = match section.place("sample") {
        Some(_) => section.count("sample", 1..=SAMPLE_MAX),
        // A round trip costs so much that timing it is nothing beside it.
        None if matches!(group, Some(Work::RoundTrip { .. })) => Some(1),
        None => Some(SAMPLE),
    };
    // A group whose target is unknown may hold a mix for it.
    if group.is_none() {
        ["mix", "scan", "hold", "full", "live"].iter().for_each(|key| _ = section.take(key));
    }
    section.finish();
    Some(Group { work: group?, workers: workers?, arrival: arrival?, think: think?, sample: sample? })
}

fn read_map_work(
    section: &mut Section<'_, '_>,
    walk: &Walk<'_>,
    target: String,
    mix: Option<Mix<MapOp>>,
) -> Option<Work> {
    let sized = |key: &'static str, ops: &[MapOp]| {
        let at = section.place(key);
        if let (Some(at), Some(mix)) = (&at, &mix)
            && !mix.has(ops)
        {
            let words = MAP_OPS.iter().filter(|(_, op)| ops.contains(op)).map(|(word, _)| *word);
            let words: Vec<_> = words.collect();
            walk.fault(at.clone(), format!("`{key}` goes with {} in the mix", words.join(" or ")));
        }
        at.is_some()
    };
    let (has_scan, has_hold) = (sized("scan", &[MapOp::Scan, MapOp::Walk]), sized("hold", &[MapOp::Hold]));
    let scan = if has_scan { section.count("scan", 1..=limits::SCAN_MAX) } else { Some(100) };
    let hold = if has_hold {
        section.duration("hold", Duration::from_micros(1), limits::HOLD_MAX)
    } else {
        Some(Duration::from_millis(100))
    };
    Some(Work::Map { target, mix: mix?, scan: scan?, hold: hold? })
}

/// The arrivals of a group: a closed loop unless there is a rate.
fn read_arrival(section: &mut Section<'_, '_>, walk: &Walk<'_>) -> Option<Arrival> {
    const PROCESSES: [(&str, Option<bool>); 3] = [("closed", None), ("uniform", Some(false)), ("poisson", Some(true))];
    let (arrival_at, rate_at) = (section.place("arrival"), section.place("rate"));
    let poisson = match arrival_at {
        Some(_) => section.word("arrival", &PROCESSES)?,
        None => rate_at.is_some().then_some(false),
    };
    let Some(poisson) = poisson else {
        for key in ["rate", "ramp", "burst"] {
            if let Some(at) = section.place(key) {
                let _ = section.take(key);
                walk.fault(at, format!("`{key}` goes with arrival = \"uniform\" or \"poisson\""));
            }
        }
        return Some(Arrival::Closed);
    };
    section.require("rate", "operations a second of the whole group, such as \"40k/s\"");
    let rate = section.rate("rate", limits::RATE_MIN, limits::RATE_MAX);
    let ramp_at = section.place("ramp");
    let ramp = match &ramp_at {
        Some(_) => section.rate("ramp", limits::RATE_MIN, limits::RATE_MAX).map(Some),
        None => Some(None),
    };
    let burst = match section.place("burst") {
        Some(_) => {
            let title = format!("burst of {}", section.title);
            section.table("burst", title).and_then(|mut burst| {
                burst.require("on", "how long operations come");
                burst.require("off", "how long none come");
                let on = burst.duration("on", Duration::from_micros(10), limits::PHASE_MAX);
                let off = burst.duration("off", Duration::from_micros(10), limits::PHASE_MAX);
                burst.finish();
                Some(Some((on?, off?)))
            })
        }
        None => Some(None),
    };
    if let (Some(at), Some(Some(_))) = (ramp_at, burst) {
        walk.fault(at, "`ramp` and `burst` together are not to be had; make them two phases");
    }
    Some(Arrival::Planned(Schedule { poisson, rate: rate?, ramp: ramp?, burst: burst? }))
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
    // What is misspelled is said as that; then it is not known what the mix would be.
    whole &= mix.is_used_up();
    if weights.is_empty() && whole {
        let names: Vec<_> = ops.iter().map(|(name, _)| *name).collect();
        mix.fault(format_args!("nothing has a weight above 0; choose from {}", names.join(", ")));
        whole = false;
    }
    mix.finish();
    whole.then_some(Mix(weights))
}

/// What no group can know of the others.
pub(super) fn check_together(section: &Section<'_, '_>, walk: &Walk<'_>, groups: &[Group], targets: &Targets) {
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
