//! What a workload drives: maps, queues, pools and pipelines, its own or the host's.

use super::data::Declared;
use super::document::{Known, Section, Walk};
use super::expression::RESERVED;
use super::pool::{PoolTarget, read_pool};
use super::{NOT_A_NAME, is_name, limits};
use rheostat_runtime::map::Backend;
use rheostat_runtime::observe::{Address, Kind};
use rheostat_runtime::queue;
use std::collections::BTreeSet;
use toml::Spanned;

/// A named target.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The name groups, events and thresholds use.
    pub name: String,
    /// Its address on the host.
    pub address: Address,
    /// True if the host has it already (`use = ".."`); else the run makes it and removes it again.
    pub hosted: bool,
    /// What it is.
    pub kind: TargetKind,
}

impl Target {
    /// About how many bytes one entry of it needs.
    pub(super) fn entry_bytes(&self) -> u64 {
        // What a key, its entry and its share of the table's slack come to, measured on both backends.
        const ENTRY_BYTES: u64 = 96;
        match &self.kind {
            // A pool's memory is counted as its own.
            TargetKind::Map(MapTarget { value: MapValue::Bytes(_, longest), pool: None, .. }) => ENTRY_BYTES + longest,
            _ => ENTRY_BYTES,
        }
    }

    /// About how many bytes it needs, as far as the file can tell.
    pub fn memory(&self) -> u64 {
        const SLOT_BYTES: u64 = 48;
        const BATCH_BYTES: u64 = 64 << 10;
        match &self.kind {
            _ if self.hosted => 0,
            TargetKind::Map(map) => map.keys.map_or(0, Keys::items).saturating_mul(self.entry_bytes()),
            TargetKind::Queue(queue) => queue.capacity.saturating_mul(SLOT_BYTES + queue.item),
            TargetKind::Pool(pool) => pool.bytes_max,
            TargetKind::Pipeline(pipeline) => {
                pipeline.stages.iter().map(|stage| (stage.capacity + stage.workers) * BATCH_BYTES).sum()
            }
        }
    }
}

/// The kinds of target.
#[derive(Debug, Clone, PartialEq)]
pub enum TargetKind {
    /// A map.
    Map(MapTarget),
    /// A queue.
    Queue(QueueTarget),
    /// An allocator pool.
    Pool(PoolTarget),
    /// A pipeline.
    Pipeline(PipelineTarget),
}

/// A map and the keys it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct MapTarget {
    /// Which structure implements it; of no account for a hosted one.
    pub backend: Backend,
    /// What it holds.
    pub value: MapValue,
    /// The keys; `None` for a map that only a pipeline fills.
    pub keys: Option<Keys>,
    /// Entries it takes.
    pub entries_max: Option<u64>,
    /// The pool target that its byte strings live in; the heap without one, where its keys are in any case.
    pub pool: Option<String>,
}

/// What a map holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapValue {
    /// Counters, which `update` adds one to.
    Counter,
    /// So many bytes, which `update` replaces: any length in this range alike.
    Bytes(u64, u64),
    /// A number of 64 bits under such a number, which `update` replaces.
    Word,
}

/// How keys are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Keys {
    /// All alike.
    Uniform {
        /// How many there are.
        items: u64,
    },
    /// Rank r with probability proportional to r^-theta, exactly.
    Zipfian {
        /// How many there are.
        items: u64,
        /// The exponent.
        theta: f64,
    },
    /// What YCSB calls zipfian; see [`YcsbZipf`](crate::generate::YcsbZipf).
    YcsbZipfian {
        /// How many there are.
        items: u64,
    },
    /// The newer the hotter, by a zipfian over the latest of them.
    Latest {
        /// How many of the latest are asked for.
        items: u64,
        /// The exponent.
        theta: f64,
    },
    /// Some get most, all alike within both parts.
    Hotspot {
        /// How many there are.
        items: u64,
        /// The share of the keys that is hot.
        hot_set: f64,
        /// The share of the draws that goes there.
        hot_share: f64,
    },
    /// One after the other, over and over; every worker from a place of its own.
    Sequential {
        /// How many there are.
        items: u64,
    },
}

impl Keys {
    /// How many different keys there are before any new ones are inserted.
    pub fn items(self) -> u64 {
        match self {
            Keys::Uniform { items }
            | Keys::Zipfian { items, .. }
            | Keys::YcsbZipfian { items }
            | Keys::Latest { items, .. }
            | Keys::Hotspot { items, .. }
            | Keys::Sequential { items } => items,
        }
    }
}

/// A queue of byte items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueTarget {
    /// Which structure holds its items: what its knob `kind` turns; of no account for a hosted one.
    pub backend: queue::Kind,
    /// Items it takes.
    pub capacity: u64,
    /// Bytes of an item.
    pub item: u64,
}

/// A pipeline over text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineTarget {
    /// The data it reads.
    pub from: String,
    /// True if it reads it over and over until it is stopped.
    pub repeat: bool,
    /// Bytes a second it reads at most.
    pub rate: Option<u64>,
    /// Its stages in order; empty for a hosted one.
    pub stages: Vec<Stage>,
}

/// A stage of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// What it does.
    pub op: StageOp,
    /// Worker threads.
    pub workers: u64,
    /// Records at most in a batch.
    pub batch: u64,
    /// Batches its queue takes.
    pub capacity: u64,
}

/// What a stage does to records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageOp {
    /// Splits into lines.
    Lines,
    /// Splits into words.
    Words,
    /// Lets records pass that contain a text.
    Contains(String),
    /// Lets records pass that match a regular expression.
    Matches(String),
    /// Counts records in the map target of that name.
    Count(String),
    /// Writes records to a file.
    Write(String),
}

/// Knobs of every stage of a pipeline.
pub(super) const STAGE_KNOBS: [&str; 3] = ["workers", "batch", "capacity"];

/// The knob of a pipeline as a whole.
pub(super) const PIPELINE_KNOB: &str = "rate";

/// Name of the operation under which a pipeline's way from source to end is reported.
pub const END_TO_END: &str = "end_to_end";

/// The declared targets: those that could be read, and the names of all.
pub(super) struct Targets {
    read: Vec<Option<Target>>,
    names: Vec<String>,
}

impl Targets {
    pub fn into_read(self) -> Option<Vec<Target>> {
        self.read.into_iter().collect()
    }

    /// Finds a target, or says that there is none. `None` in `Some` is one that is at fault already.
    pub fn find(&self, walk: &Walk<'_>, name: &Spanned<String>) -> Option<&Target> {
        if !self.names.contains(name.get_ref()) {
            let known = Known::of("target", self.names.iter().map(String::as_str));
            walk.fault(name.span(), known.unknown(name.get_ref()));
        }
        self.iter().find(|target| target.name == *name.get_ref())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Target> {
        self.read.iter().flatten()
    }

    /// True if every declared target could be read, so that what is absent is absent.
    pub fn all_read(&self) -> bool {
        self.read.iter().all(Option::is_some)
    }
}

/// Names of other targets that targets give, for when all of them are known.
#[derive(Default)]
struct Named {
    /// Maps that stages count into.
    maps: Vec<Spanned<String>>,
    /// Pools that values live in.
    pools: Vec<Spanned<String>>,
}

impl Named {
    fn check(&self, walk: &Walk<'_>, targets: &Targets) {
        for map in &self.maps {
            match targets.find(walk, map).map(|target| &target.kind) {
                Some(TargetKind::Map(MapTarget { value: MapValue::Counter, .. })) | None => {}
                Some(_) => walk.fault(map.span(), format!("`{}` is no map of counters to count into", map.get_ref())),
            }
        }
        for pool in &self.pools {
            match targets.find(walk, pool).map(|target| &target.kind) {
                Some(TargetKind::Pool(_)) | None => {}
                Some(_) => walk.fault(pool.span(), format!("`{}` is no pool for values to live in", pool.get_ref())),
            }
        }
    }
}

pub(super) fn read_all(root: &mut Section<'_, '_>, walk: &Walk<'_>, data: &Declared) -> Targets {
    let mut targets = Targets { read: Vec::new(), names: Vec::new() };
    let mut like = Vec::new();
    let mut named = Named::default();
    root.require("target", "what to drive: [target.NAME] with kind = \"map\", \"queue\", \"pool\" or \"pipeline\"");
    let Some(mut all) = root.table("target", "[target]") else { return targets };
    for (name, node) in all.take_all() {
        if !is_name(name.get_ref()) {
            walk.fault(name.span(), format!("`{}` {NOT_A_NAME}", name.get_ref()));
        } else if RESERVED.contains(&name.get_ref().as_str()) {
            walk.fault(
                name.span(),
                format!("`{}` means something else in thresholds; choose another name", name.get_ref()),
            );
        }
        let title = format!("[target.{}]", name.get_ref());
        let target = all.as_table(name.get_ref(), node, title).and_then(|mut section| {
            let target = match section.string("like", "the name of another target") {
                Some(model) => {
                    like.push((targets.read.len(), name.get_ref().clone(), model));
                    None
                }
                None => read(&name, &mut section, walk, data, &mut named),
            };
            section.finish();
            target
        });
        targets.read.push(target);
        targets.names.push(name.into_inner());
    }
    if targets.names.len() > limits::TARGETS_MAX {
        all.fault(format_args!("at most {} targets", limits::TARGETS_MAX));
    }
    for (index, name, model) in like {
        let Some(found) = targets.find(walk, &model) else { continue };
        if found.hosted || matches!(found.kind, TargetKind::Pipeline(_)) {
            let message = "`like` copies a map, a queue or a pool that the run makes; write this target out";
            walk.fault(model.span(), message);
            continue;
        }
        let kind = found.kind.clone();
        targets.read[index] =
            Address::new(found.address.kind(), &name).ok().map(|address| Target { name, address, hosted: false, kind });
    }
    let memory = targets.iter().fold(0u64, |sum, target| sum.saturating_add(target.memory()));
    if memory > limits::MEMORY_MAX {
        let (needed, max) = (crate::unit::bytes(memory), crate::unit::bytes(limits::MEMORY_MAX));
        all.fault(format_args!("the targets need about {needed}; a run may have {max}: take fewer or smaller items"));
    }
    named.check(walk, &targets);
    targets
}

fn read(
    name: &Spanned<String>,
    section: &mut Section<'_, '_>,
    walk: &Walk<'_>,
    data: &Declared,
    named: &mut Named,
) -> Option<Target> {
    const KINDS: [(&str, Kind); 4] =
        [("map", Kind::Map), ("queue", Kind::Queue), ("pool", Kind::Pool), ("pipeline", Kind::Pipeline)];
    let hosted = section.string("use", "the address of a resource the host has, such as \"map.words\"");
    let (kind, address) = if let Some(hosted) = &hosted {
        let address: Address = match hosted.get_ref().parse() {
            Ok(address) => address,
            Err(error) => {
                walk.fault(hosted.span(), error.to_string());
                return None;
            }
        };
        if !KINDS.iter().any(|(_, kind)| *kind == address.kind()) {
            walk.fault(
                hosted.span(),
                format!("`{address}` cannot be driven: use a map, a queue, a pool or a pipeline"),
            );
            return None;
        }
        (address.kind(), Some(address))
    } else {
        section.require("kind", "one of map, queue, pool, pipeline; or set `use` to the address of a hosted resource");
        let kind = section.word("kind", &KINDS)?;
        (kind, Address::new(kind, name.get_ref()).ok())
    };
    let hosted = hosted.is_some();
    let kind = match kind {
        Kind::Map => TargetKind::Map(read_map(section, walk, hosted, &mut named.pools)?),
        Kind::Queue => TargetKind::Queue(read_queue(section, hosted)?),
        Kind::Pool => TargetKind::Pool(read_pool(section, hosted)?),
        _ if hosted => {
            TargetKind::Pipeline(PipelineTarget { from: String::new(), repeat: true, rate: None, stages: Vec::new() })
        }
        _ => TargetKind::Pipeline(read_pipeline(section, walk, data, &mut named.maps)?),
    };
    Some(Target { name: name.get_ref().clone(), address: address?, hosted, kind })
}

fn read_map(
    section: &mut Section<'_, '_>,
    walk: &Walk<'_>,
    hosted: bool,
    pools: &mut Vec<Spanned<String>>,
) -> Option<MapTarget> {
    let (mut backend, mut value, mut entries_max) = (Some(Backend::Sharded), Some(MapValue::Counter), Some(None));
    let mut pool = Some(None);
    if !hosted {
        if section.place("backend").is_some() {
            backend = section.word("backend", &Backend::ALL.map(|backend| (backend.as_str(), backend)));
        }
        if section.place("value").is_some() {
            value = read_value(section);
        }
        if section.place("entries_max").is_some() {
            entries_max = section.count("entries_max", 1..=limits::ITEMS_MAX).map(Some);
        }
        if section.place("pool").is_some() {
            pool = read_pool_of_values(section, walk, value, pools).map(Some);
        }
    }
    let keys = match section.place("keys") {
        None => Some(None),
        Some(_) => {
            let title = format!("keys of {}", section.title);
            section.table("keys", title).and_then(|keys| read_keys(keys, walk)).map(Some)
        }
    };
    Some(MapTarget { backend: backend?, value: value?, keys: keys?, entries_max: entries_max?, pool: pool? })
}

/// `pool = "values"`: where byte strings live. Other values stand in the map itself.
fn read_pool_of_values(
    section: &mut Section<'_, '_>,
    walk: &Walk<'_>,
    value: Option<MapValue>,
    pools: &mut Vec<Spanned<String>>,
) -> Option<String> {
    let pool = section.string("pool", "the name of a [target.NAME] of kind \"pool\"")?;
    let inline = match value {
        Some(MapValue::Counter) => "counters",
        Some(MapValue::Word) => "words",
        Some(MapValue::Bytes(..)) | None => {
            pools.push(pool.clone());
            return Some(pool.into_inner());
        }
    };
    let message = format!(
        "`pool` of {}: {inline} stand in the map itself and take nothing from a pool; remove it, or give a size as `value`",
        section.title
    );
    walk.fault(pool.span(), message);
    None
}

/// `value = "100B"`, any length in a range: `value = { from = "64B", to = "4KiB" }`, or `value = "word"`.
fn read_value(section: &mut Section<'_, '_>) -> Option<MapValue> {
    if section.take_word("value", "word") {
        return Some(MapValue::Word);
    }
    if !section.is_table("value") {
        return section.size("value", 1, limits::VALUE_BYTES_MAX).map(|bytes| MapValue::Bytes(bytes, bytes));
    }
    let title = format!("value of {}", section.title);
    let mut value = section.table("value", title)?;
    value.require("from", "the shortest, such as \"64B\"");
    value.require("to", "the longest, such as \"4KiB\"");
    let from = value.size("from", 1, limits::VALUE_BYTES_MAX);
    let to = value.size("to", from.unwrap_or(1), limits::VALUE_BYTES_MAX);
    value.finish();
    Some(MapValue::Bytes(from?, to?))
}

fn read_keys(mut keys: Section<'_, '_>, walk: &Walk<'_>) -> Option<Keys> {
    #[derive(Clone, Copy, PartialEq)]
    enum Dist {
        Uniform,
        Zipfian,
        YcsbZipfian,
        Latest,
        Hotspot,
        Sequential,
    }
    const DISTS: [(&str, Dist); 6] = [
        ("uniform", Dist::Uniform),
        ("zipfian", Dist::Zipfian),
        ("ycsb-zipfian", Dist::YcsbZipfian),
        ("latest", Dist::Latest),
        ("hotspot", Dist::Hotspot),
        ("sequential", Dist::Sequential),
    ];
    keys.require("items", "how many keys there are");
    let items = keys.count("items", 1..=limits::ITEMS_MAX);
    let dist = match keys.place("dist") {
        None => Some(Dist::Uniform),
        Some(_) => keys.word("dist", &DISTS),
    };
    let theta_at = keys.place("theta");
    let theta = match theta_at {
        Some(_) => keys.number("theta", 0.0, limits::THETA_MAX),
        None => Some(0.99),
    };
    let hot_at = keys.place("hot_set").or_else(|| keys.place("hot_share"));
    let hot_set = if keys.place("hot_set").is_some() { keys.share("hot_set") } else { Some(0.2) };
    let hot_share = if keys.place("hot_share").is_some() { keys.share("hot_share") } else { Some(0.8) };
    if let Some(dist) = dist {
        if theta_at.is_some() && dist == Dist::Uniform {
            keys.fault("`theta` goes with dist = \"zipfian\" or \"latest\"");
        }
        if let Some(at) = hot_at
            && dist != Dist::Hotspot
        {
            walk.fault(at, "`hot_set` and `hot_share` go with dist = \"hotspot\"");
        }
    }
    keys.finish();
    let (items, theta, hot_set, hot_share) = (items?, theta?, hot_set?, hot_share?);
    Some(match dist? {
        Dist::Uniform => Keys::Uniform { items },
        Dist::Zipfian => Keys::Zipfian { items, theta },
        Dist::YcsbZipfian => Keys::YcsbZipfian { items },
        Dist::Latest => Keys::Latest { items, theta },
        Dist::Hotspot => Keys::Hotspot { items, hot_set, hot_share },
        Dist::Sequential => Keys::Sequential { items },
    })
}

fn read_queue(section: &mut Section<'_, '_>, hosted: bool) -> Option<QueueTarget> {
    let backend = match section.place("backend") {
        Some(_) if !hosted => section.word("backend", &queue::Kind::ALL.map(|kind| (kind.as_str(), kind))),
        _ => Some(queue::Kind::default()),
    };
    let capacity = match section.place("capacity") {
        Some(_) if !hosted => section.count("capacity", 1..=limits::QUEUE_CAPACITY_MAX),
        _ => Some(1024),
    };
    let item = match section.place("item") {
        Some(_) => section.size("item", limits::ITEM_BYTES_MIN, limits::VALUE_BYTES_MAX),
        None => Some(64),
    };
    Some(QueueTarget { backend: backend?, capacity: capacity?, item: item? })
}

fn read_pipeline(
    section: &mut Section<'_, '_>,
    walk: &Walk<'_>,
    data: &Declared,
    maps: &mut Vec<Spanned<String>>,
) -> Option<PipelineTarget> {
    section.require("from", "the name of a [data.NAME]");
    let from = section.string("from", "the name of a [data.NAME]");
    if let Some(from) = &from
        && !data.iter().any(|(name, _)| name == from.get_ref())
    {
        let known = Known::of("data", data.iter().map(|(name, _)| name.as_str()));
        walk.fault(from.span(), known.unknown(from.get_ref()));
    }
    let repeat = section.flag("repeat");
    let rate = match section.place("rate") {
        None => Some(None),
        Some(_) => section.byte_rate("rate", 1024, 1 << 40).map(Some),
    };
    section.require("stage", "the stages: stage = [{ name = \"split\", op = \"words\" }, ..]");
    let title = section.title.clone();
    let sections = section.tables("stage", limits::STAGES_MAX, |n| format!("stage {n} of {title}"));
    let mut names = BTreeSet::new();
    let last = sections.len().saturating_sub(1);
    let read = |(index, section): (usize, Section<'_, '_>)| {
        let span = section.span.clone();
        let stage = read_stage(section, walk, maps, &mut names)?;
        match stage.op {
            StageOp::Count(_) | StageOp::Write(_) if index < last => {
                walk.fault(span, format!("stage `{}` hands nothing on, so no stage can follow it", stage.name));
            }
            StageOp::Lines | StageOp::Words => {}
            _ if index == 0 => {
                let message =
                    format!("stage `{}` comes first, but needs records: begin with lines or words", stage.name);
                walk.fault(span, message);
            }
            _ => {}
        }
        Some(stage)
    };
    let stages: Vec<_> = sections.into_iter().enumerate().map(read).collect();
    Some(PipelineTarget {
        from: from?.into_inner(),
        repeat,
        rate: rate?,
        stages: stages.into_iter().collect::<Option<Vec<_>>>().filter(|stages| !stages.is_empty())?,
    })
}

fn read_stage(
    mut section: Section<'_, '_>,
    walk: &Walk<'_>,
    maps: &mut Vec<Spanned<String>>,
    names: &mut BTreeSet<String>,
) -> Option<Stage> {
    #[derive(Clone, Copy)]
    enum Word {
        Lines,
        Words,
        Filter,
        Count,
        Write,
    }
    const OPS: [(&str, Word); 5] = [
        ("lines", Word::Lines),
        ("words", Word::Words),
        ("filter", Word::Filter),
        ("count", Word::Count),
        ("write", Word::Write),
    ];
    section.require("op", "one of lines, words, filter, count, write");
    let op = section.word("op", &OPS);
    let name_at = section.place("name");
    let name = match name_at.clone() {
        Some(_) => section.string("name", "the name of the stage").map(Spanned::into_inner),
        // A stage is called after what it does.
        None => {
            op.and_then(|op| OPS.iter().find(|(_, word)| *word as u8 == op as u8).map(|(name, _)| (*name).to_owned()))
        }
    };
    if let Some(name) = &name {
        let span = name_at.unwrap_or(section.span.clone());
        if !is_name(name) {
            walk.fault(span, format!("`{name}` {NOT_A_NAME}"));
        } else if name == END_TO_END {
            walk.fault(span, format!("`{END_TO_END}` is the way through the whole pipeline; choose another name"));
        } else if !names.insert(name.clone()) {
            walk.fault(span, format!("there are two stages `{name}`; give one of them another `name`"));
        }
    }
    let op = match op {
        Some(Word::Lines) => Some(StageOp::Lines),
        Some(Word::Words) => Some(StageOp::Words),
        Some(Word::Filter) => {
            let (contains_at, regex_at) = (section.place("contains"), section.place("regex"));
            let contains = section.string("contains", "the text to look for");
            let regex = section.string("regex", "a regular expression");
            match (contains_at, regex_at) {
                (Some(_), None) => contains.map(|text| StageOp::Contains(text.into_inner())),
                (None, Some(_)) => regex.and_then(|regex| match regex::bytes::Regex::new(regex.get_ref()) {
                    Ok(_) => Some(StageOp::Matches(regex.into_inner())),
                    Err(error) => {
                        // Its message draws carets of its own over several lines; the last says what is wrong.
                        let why = error.to_string();
                        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                        walk.fault(regex.span(), format!("`regex` is no regular expression: {why}"));
                        None
                    }
                }),
                _ => {
                    section.fault("a filter takes either `contains` or `regex`");
                    None
                }
            }
        }
        Some(Word::Count) => {
            section.require("map", "the name of a [target.NAME] of kind \"map\"");
            section.string("map", "the name of a [target.NAME] of kind \"map\"").map(|map| {
                maps.push(map.clone());
                StageOp::Count(map.into_inner())
            })
        }
        Some(Word::Write) => {
            section.require("path", "the file to write to");
            section.string("path", "the file to write to").map(|path| StageOp::Write(path.into_inner()))
        }
        None => None,
    };
    let workers = sized(&mut section, "workers", 1, limits::workers_max());
    let batch = sized(&mut section, "batch", 100, limits::BATCH_MAX);
    let capacity = sized(&mut section, "capacity", 16, limits::STAGE_CAPACITY_MAX);
    section.finish();
    Some(Stage { name: name?, op: op?, workers: workers?, batch: batch?, capacity: capacity? })
}

fn sized(section: &mut Section<'_, '_>, key: &'static str, default: u64, max: u64) -> Option<u64> {
    if section.place(key).is_none() { Some(default) } else { section.count(key, 1..=max) }
}
