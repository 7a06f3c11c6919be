//! What the daemon is told: read from TOML, checked as a whole, printed back as what is in force.
//!
//! Two types: what was written (`raw`) and what it means ([`Config`]). Precedence, here and nowhere else:
//! defaults, then the file, then [`Overrides`] (which `main` fills from flags, and where a flag is missing from the
//! environment). Options of the allocator: mimalloc's defaults, then the file, then `MIMALLOC_*` in the environment.

mod check;
mod fault;
mod print;
mod raw;
mod reader;

pub use fault::{Fault, Faults};

use rheostat_runtime::map::Backend;
use rheostat_runtime::pool::PoolSetup;
use rheostat_runtime::{pipeline, queue};
use rheostat_workloads::script::Known;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The demo that comes with the daemon.
    Demo,
    /// A file.
    File(PathBuf),
    /// The program that the daemon is part of.
    Program,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Demo => f.write_str("demo"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Program => f.write_str("program"),
        }
    }
}

/// What flags and the environment say over the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The configuration file; the demo without one.
    pub config: Option<PathBuf>,
    /// The control socket.
    pub socket: Option<PathBuf>,
    /// Address of the control listener on TCP.
    pub listen: Option<String>,
    /// Address of the metrics listener, or `off`.
    pub metrics: Option<String>,
    /// Serve metrics on any free port when theirs is taken: for a daemon that lives inside another program.
    pub metrics_may_move: bool,
    /// Folder of journal, token and results.
    pub state_dir: Option<PathBuf>,
}

/// What the daemon and its clients read from the environment.
const VARIABLES: [&str; 7] = [
    "RHEOSTAT_CONFIG",
    "RHEOSTAT_SOCKET",
    "RHEOSTAT_LISTEN",
    "RHEOSTAT_METRICS",
    "RHEOSTAT_STATE_DIR",
    "RHEOSTAT_LOG",
    "RHEOSTAT_TOKEN",
];

/// Everything the daemon does, decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where it came from.
    pub origin: Origin,
    /// What was said over it.
    pub overrides: Overrides,
    /// The control listeners.
    pub control: Control,
    /// Address of the metrics listener; `None` when it is off.
    pub metrics: Option<SocketAddr>,
    /// Options of the allocator beneath the process.
    pub allocator: Allocator,
    /// What the daemon refuses to exceed.
    pub limits: Limits,
    /// How long stopping may take.
    pub stop_limit: Duration,
    /// Folder of journal, token and results.
    pub state_dir: PathBuf,
    /// The resources.
    pub resources: Resources,
}

/// The control listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The Unix socket.
    pub socket: PathBuf,
    /// Loopback TCP, when asked for.
    pub listen: Option<SocketAddr>,
    /// The bearer token that TCP needs.
    pub token_file: PathBuf,
}

/// What the daemon refuses to exceed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Fields of a request's head.
    pub headers: usize,
    /// Time a client has to send a head.
    pub header_timeout: Duration,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Bytes of a submitted workload, and of what goes into or comes out of a map or a queue at a time.
    pub upload_bytes: usize,
    /// Time a request may take, its body included; streams are exempt once they began.
    pub request_timeout: Duration,
    /// Control connections open at once.
    pub connections: usize,
    /// How many of them only the Unix socket can use, so that a flood on TCP never locks its owner out.
    pub connections_reserved: usize,
    /// Clients of the stream.
    pub streams: usize,
    /// Runs that wait for the one under way.
    pub runs_queued: usize,
    /// Series kept in history, 16 KiB each and 48 a histogram: some 130 MiB at most by default, of which the demo takes 6.
    /// Memory is taken as series come.
    pub history_series: usize,
    /// Operations of a batch, and items of a push or a pop.
    pub operations: usize,
    /// Bytes of a key in a hosted map.
    pub key_bytes: usize,
    /// Bytes of a value in a hosted map, and of an item pushed to a queue.
    pub value_bytes: usize,
    /// Bytes of the journal's file; one predecessor of as many is kept beside it.
    pub journal_bytes: usize,
    /// Workers, records of a batch and batches in a queue of one stage: how far its knobs go.
    pub knobs: pipeline::Limits,
}

impl Limits {
    /// Every limit by its name in the configuration, in the unit of that name.
    pub(crate) fn named(&self) -> [(&'static str, u64); 18] {
        [
            ("header_bytes", self.header_bytes as u64),
            ("headers", self.headers as u64),
            ("header_timeout_ms", self.header_timeout.as_millis() as u64),
            ("body_bytes", self.body_bytes as u64),
            ("upload_bytes", self.upload_bytes as u64),
            ("request_timeout_ms", self.request_timeout.as_millis() as u64),
            ("connections", self.connections as u64),
            ("connections_reserved", self.connections_reserved as u64),
            ("streams", self.streams as u64),
            ("runs_queued", self.runs_queued as u64),
            ("history_series", self.history_series as u64),
            ("operations", self.operations as u64),
            ("key_bytes", self.key_bytes as u64),
            ("value_bytes", self.value_bytes as u64),
            ("journal_bytes", self.journal_bytes as u64),
            ("workers", self.knobs.workers_max as u64),
            ("batch", self.knobs.batch_max as u64),
            ("capacity", self.knobs.capacity_max as u64),
        ]
    }
}

/// Options of mimalloc. Where the file says nothing, they are as mimalloc has them, from its own defaults or from its
/// variables in the environment, which win over the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocator {
    /// Whether memory of a new arena is committed at once. Means something before the process's first allocation only.
    pub eager_commit: EagerCommit,
    /// Whether arenas may lie on pages of 2 MiB that the administrator has set aside: fewer misses of the address
    /// cache, memory that is never given back. Before the first allocation only.
    pub large_os_pages: bool,
    /// How long memory that was freed is kept before it is given back to the system; `None` for ever.
    pub purge_delay: Option<Duration>,
    /// Whether mimalloc prints its statistics when the process ends.
    pub statistics_at_exit: bool,
}

/// Whether memory of a new arena is committed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EagerCommit {
    /// Where the system overcommits, as Linux does unless told otherwise.
    Auto,
    /// Always: no page is committed later, in the middle of work.
    On,
    /// Page by page, when it is used.
    Off,
}

/// The resources to host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Hosted maps.
    pub maps: Vec<Map>,
    /// Hosted queues.
    pub queues: Vec<Queue>,
    /// Allocator pools.
    pub pools: Vec<Pool>,
    /// Schedulers.
    pub schedulers: Vec<Scheduler>,
    /// Pipelines.
    pub pipelines: Vec<Pipeline>,
}

/// A hosted map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Name.
    pub name: String,
    /// What stands in it.
    pub values: Values,
    /// The pool that its values live in; on the heap without one, as its keys are in any case.
    pub pool: Option<String>,
    /// Which structure implements it.
    pub backend: Backend,
    /// Buckets it has at least whenever it is on the backend `fixed`, a power of two.
    pub buckets: usize,
    /// Entries it takes before it refuses new keys.
    pub entries_max: usize,
    /// Bytes of keys and values it takes before it refuses more.
    pub bytes_max: usize,
    /// Bytes that the new table of a hand-over may need before it is refused.
    pub turn_bytes_max: usize,
}

/// What stands in a map under its keys, which are byte strings but for words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Whole numbers, added to in place.
    Counters,
    /// Byte strings.
    Bytes,
    /// Unsigned numbers of 64 bits, by such numbers.
    Words,
}

/// A queue of byte strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Name.
    pub name: String,
    /// Which structure holds the items at the start.
    pub kind: queue::Kind,
    /// Items it takes.
    pub capacity: usize,
}

/// An allocator pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Name.
    pub name: String,
    /// How it is made: its preset's setup, or the default one, with what was written over it.
    pub setup: PoolSetup,
}

/// A scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduler {
    /// Name.
    pub name: String,
    /// Threads to start with.
    pub threads: usize,
}

/// A pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// Name.
    pub name: String,
    /// What feeds it.
    pub source: Source,
    /// The pool its batches come from.
    pub pool: String,
    /// Its stages, in order.
    pub stages: Vec<Stage>,
}

/// What feeds a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Files, directories and globs.
    Files {
        /// What to read.
        patterns: Vec<String>,
        /// What relative patterns are relative to.
        base: PathBuf,
        /// Begin anew at the end.
        repeat: bool,
        /// Pace of reading.
        bytes_per_second: Option<u64>,
    },
    /// The daemon's standard input.
    Stdin,
}

/// A stage of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Name below its pipeline.
    pub name: String,
    /// What it does to a record.
    pub op: Op,
    /// Worker threads to start with.
    pub workers: usize,
    /// Records at most in a batch.
    pub batch: usize,
    /// Batches its queue takes.
    pub capacity: usize,
}

/// What a stage does to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Splits into lines.
    Lines,
    /// Splits into lower-cased words.
    Words,
    /// Keeps records that contain a text.
    Contains(String),
    /// Keeps records that match a regular expression.
    Matches(String),
    /// Counts each record in a map.
    Count {
        /// The map.
        map: String,
    },
    /// Writes each record, a line each, to a file.
    Write {
        /// The file.
        path: PathBuf,
    },
}

/// Variables of the environment that are called as ours are, and are none, each in a sentence.
pub fn unknown_variables() -> Vec<String> {
    let known = Known::of("variable", VARIABLES);
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let ours = names.filter(|name| name.starts_with("RHEOSTAT_") && !VARIABLES.contains(&name.as_str()));
    ours.map(|name| format!("{} (it is ignored)", known.unknown(&name))).collect()
}

impl Config {
    /// Reads the file that `overrides` names, or the demo, and puts `overrides` on top.
    ///
    /// # Errors
    /// When the file cannot be read, or anything in it or in `overrides` is wrong: all of it at once.
    pub fn load(overrides: &Overrides) -> Result<Self, Faults> {
        match &overrides.config {
            None => crate::demo::config(overrides),
            Some(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Faults::whole(
                        &name,
                        format_args!("cannot read the configuration: {error}; name another with --config"),
                    )
                })?;
                let base = std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_path_buf));
                Self::parse(Origin::File(path.clone()), &text, &base.unwrap_or_default(), overrides)
            }
        }
    }

    /// What is right and may not be what was meant: inputs that are not there yet, and that a start will miss.
    pub fn warnings(&self) -> Vec<String> {
        let missing = |pipeline: &Pipeline| match &pipeline.source {
            Source::Files { patterns, base, .. } => {
                let error = rheostat_runtime::pipeline::text::list(patterns, base).err()?;
                Some(format!("{}: pipeline.{}.source: {error}", self.origin, pipeline.name))
            }
            Source::Stdin => None,
        };
        self.resources.pipelines.iter().filter_map(missing).collect()
    }

    /// Reads the same file again, with the same overrides.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn reload(&self) -> Result<Self, Faults> {
        Self::load(&self.overrides)
    }

    /// Which parts differ from those of `other`.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let parts = [
            ("control", self.control == other.control),
            ("metrics", self.metrics == other.metrics),
            ("allocator", self.allocator == other.allocator),
            ("limits", self.limits == other.limits),
            ("stop", self.stop_limit == other.stop_limit),
            ("state", self.state_dir == other.state_dir),
            ("map", self.resources.maps == other.resources.maps),
            ("queue", self.resources.queues == other.resources.queues),
            ("pool", self.resources.pools == other.resources.pools),
            ("scheduler", self.resources.schedulers == other.resources.schedulers),
            ("pipeline", self.resources.pipelines == other.resources.pipelines),
        ];
        parts.into_iter().filter(|(_, same)| !same).map(|(part, _)| part).collect()
    }

    /// Reads a configuration's text; relative paths in it are relative to `base`.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub fn parse(origin: Origin, text: &str, base: &Path, overrides: &Overrides) -> Result<Self, Faults> {
        let file = origin.to_string();
        let (raw, mut faults) = reader::read(text);
        let config = check::check(origin, raw, base, overrides, &mut faults);
        if faults.is_empty() { Ok(config) } else { Err(Faults::new(&file, text, faults)) }
    }
}
