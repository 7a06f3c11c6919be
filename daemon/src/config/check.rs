//! From what was written to what it means, finding every fault of meaning in one go.

use super::fault::Fault;
use super::raw::*;
use super::*;
use crate::allocator;
use rheostat_runtime::map::{FIXED_BUCKETS, FIXED_BUCKETS_MAX, FIXED_BUCKETS_MIN, MapLimits};
use rheostat_runtime::observe::{Address, Kind};
use rheostat_runtime::pipeline::{self, StageOptions};
use rheostat_runtime::pool::{Level, OnFault, PoolLimits, PoolSetup};
use rheostat_runtime::queue::{self, HOSTED_CAPACITY_MAX};
use rheostat_runtime::scheduler;
use serde_spanned::Spanned;
use std::ops::{Range, RangeInclusive};

const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9746);
const POOL: &str = "batches";

/// Collects faults while values are checked; a value at fault is replaced by its default and checking goes on.
struct Check<'f> {
    faults: &'f mut Vec<Fault>,
    /// Nothing had to be cut out for its form; else what is missing may only seem so.
    whole: bool,
    /// How far the knobs of hosted pipelines go.
    knobs: pipeline::Limits,
}

pub(super) fn check(
    origin: Origin,
    raw: RawConfig,
    base: &Path,
    overrides: &Overrides,
    faults: &mut Vec<Fault>,
) -> Config {
    let mut check = Check { whole: faults.is_empty(), faults, knobs: pipeline::Limits::default() };
    let limits = check.limits(raw.limits);
    check.knobs = limits.knobs.clone();
    let state_dir = overrides.state_dir.clone().unwrap_or_else(|| match raw.state.dir {
        Some(dir) => base.join(dir.into_inner()),
        None => default_state_dir(),
    });
    let written = raw.control.socket.map(|socket| {
        let path = base.join(socket.get_ref());
        check.socket(socket.span(), &path);
        path
    });
    if let Some(socket) = &overrides.socket {
        let said = socket.to_str().unwrap_or_default();
        check.outside(["--socket", "RHEOSTAT_SOCKET"], said, |check| check.socket(0..0, socket));
    }
    let socket = overrides.socket.clone().or(written).unwrap_or_else(rheostat_api::default_socket);
    let allocator = check.allocator(raw.allocator);
    let listen = Listen { key: "control.listen", names: ["--listen", "RHEOSTAT_LISTEN"], default: None };
    let listen = check.listen(&listen, overrides.listen.as_ref(), raw.control.listen);
    let metrics = Listen { key: "metrics.listen", names: ["--metrics", "RHEOSTAT_METRICS"], default: Some(METRICS) };
    let metrics = check.listen(&metrics, overrides.metrics.as_ref(), raw.metrics.listen);
    Config {
        origin,
        overrides: overrides.clone(),
        control: Control {
            socket,
            listen,
            token_file: raw
                .control
                .token_file
                .map_or_else(|| state_dir.join("token"), |file| base.join(file.into_inner())),
        },
        metrics,
        allocator,
        limits,
        stop_limit: check.millis("stop.limit_ms", raw.stop.limit_ms, 10_000, 100..=3_600_000),
        state_dir,
        resources: check.resources(base, raw.map, raw.queue, raw.pool, raw.scheduler, raw.pipeline),
    }
}

/// An address to listen on.
struct Listen {
    key: &'static str,
    /// The flag and the variable that go over the file.
    names: [&'static str; 2],
    default: Option<SocketAddr>,
}

/// What the file says, unless the environment has said it.
fn unless<T>(in_environment: bool, written: Option<T>) -> Option<T> {
    written.filter(|_| !in_environment)
}

/// `$XDG_STATE_HOME/rheostat`, `~/.local/state/rheostat`, `/var/lib/rheostat` for root, or a folder beside the socket.
fn default_state_dir() -> PathBuf {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(state) = folder("XDG_STATE_HOME") {
        return state.join("rheostat");
    }
    if rustix::process::geteuid().is_root() {
        return "/var/lib/rheostat".into();
    }
    match folder("HOME") {
        Some(home) => home.join(".local/state/rheostat"),
        None => rheostat_api::default_socket().with_file_name("state"),
    }
}

impl Check<'_> {
    fn fault(&mut self, at: Range<usize>, message: String) {
        self.faults.push(Fault::new(at, message));
    }

    fn missing(&mut self, at: Range<usize>, message: String) {
        if self.whole {
            self.fault(at, message);
        }
    }

    fn number<T: Into<i64>>(
        &mut self,
        key: &str,
        written: Written<T>,
        default: i64,
        range: RangeInclusive<i64>,
    ) -> usize {
        let written = written.map(|written| Spanned::new(written.span(), written.into_inner().into()));
        let value = match written {
            Some(value) if !range.contains(value.get_ref()) => {
                let (least, greatest) = (range.start(), range.end());
                self.fault(
                    value.span(),
                    format!("{key} = {}: must be a whole number from {least} to {greatest}", value.get_ref()),
                );
                default
            }
            Some(value) => value.into_inner(),
            None => default,
        };
        usize::try_from(value).unwrap_or_default()
    }

    fn stage_number(&mut self, key: &str, written: Written<i64>, default: usize, max: usize) -> usize {
        self.number(key, written, default as i64, 1..=max as i64)
    }

    fn millis(&mut self, key: &str, written: Written<i64>, default: i64, range: RangeInclusive<i64>) -> Duration {
        Duration::from_millis(self.number(key, written, default, range) as u64)
    }

    /// Checks what the flag or the variable of these names says: that is where its faults are.
    fn outside<T>(&mut self, [flag, variable]: [&'static str; 2], said: &str, check: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.faults.len();
        let checked = check(self);
        // A flag goes over its variable.
        let in_environment = std::env::var_os(variable).is_some_and(|value| value == said);
        let outside = Some(if in_environment { variable } else { flag });
        self.faults[before..].iter_mut().for_each(|fault| fault.outside = outside);
        checked
    }

    /// What the file says is checked even where it is not what counts.
    fn listen(&mut self, listen: &Listen, said: Option<&String>, written: Written<String>) -> Option<SocketAddr> {
        let Listen { key, names, default } = *listen;
        let written = self.loopback(key, written, default);
        let Some(said) = said else { return written };
        self.outside(names, said, |check| check.loopback(key, Some(Spanned::new(0..0, said.clone())), default))
    }

    fn loopback(&mut self, key: &str, written: Written<String>, default: Option<SocketAddr>) -> Option<SocketAddr> {
        let Some(written) = written else { return default };
        let text = written.get_ref();
        match text.parse::<SocketAddr>() {
            _ if text == "off" => None,
            Ok(address) if address.ip().is_loopback() => Some(address),
            Ok(address) => {
                let message = format!(
                    "{key} = \"{address}\": refused, other machines could reach it and there is no TLS; \
                     listen on 127.0.0.1 and forward the port, e.g. with `ssh -L`"
                );
                self.fault(written.span(), message);
                None
            }
            Err(_) => {
                self.fault(
                    written.span(),
                    format!("{key} = \"{text}\": must be ADDRESS:PORT, as in 127.0.0.1:9746, or off"),
                );
                None
            }
        }
    }

    fn socket(&mut self, at: Range<usize>, socket: &Path) {
        // What fits into sockaddr_un, its final zero not counted.
        const PATH_BYTES_MAX: usize = 107;
        let bytes = socket.as_os_str().len();
        if bytes > PATH_BYTES_MAX {
            let message = format!(
                "control.socket: the path has {bytes} bytes, the system takes {PATH_BYTES_MAX}; choose a shorter one"
            );
            self.fault(at, message);
        }
    }

    fn allocator(&mut self, raw: RawAllocator) -> Allocator {
        const PURGE_DELAY_MAX: i64 = 3_600_000;
        let in_force = allocator::in_force();
        let [eager_commit, large_os_pages, purge_delay, statistics_at_exit] = allocator::from_environment();
        let delay = raw.purge_delay_ms.map(|delay| {
            if !(-1..=PURGE_DELAY_MAX).contains(delay.get_ref()) {
                let message = format!(
                    "allocator.purge_delay_ms = {}: must be a whole number from 0 to {PURGE_DELAY_MAX}, or -1 to keep \
                     memory for ever",
                    delay.get_ref()
                );
                self.fault(delay.span(), message);
            }
            u64::try_from(delay.into_inner()).ok().map(Duration::from_millis)
        });
        let commit = raw.eager_commit.map(|commit| match commit.into_inner() {
            RawEagerCommit::Auto => EagerCommit::Auto,
            RawEagerCommit::Switched(Switch(true)) => EagerCommit::On,
            RawEagerCommit::Switched(Switch(false)) => EagerCommit::Off,
        });
        Allocator {
            eager_commit: unless(eager_commit, commit).unwrap_or(in_force.eager_commit),
            large_os_pages: unless(large_os_pages, raw.large_os_pages.map(switched)).unwrap_or(in_force.large_os_pages),
            purge_delay: unless(purge_delay, delay).unwrap_or(in_force.purge_delay),
            statistics_at_exit: unless(statistics_at_exit, raw.statistics_at_exit.map(switched))
                .unwrap_or(in_force.statistics_at_exit),
        }
    }

    fn limits(&mut self, raw: RawLimits) -> Limits {
        let connections = self.number("limits.connections", raw.connections, 256, 2..=65_536);
        let reserved = raw.connections_reserved;
        let knobs = pipeline::Limits::default();
        Limits {
            // hyper's buffers are 8 KiB at least.
            header_bytes: self.number("limits.header_bytes", raw.header_bytes, 16 << 10, 8 << 10..=1 << 20),
            headers: self.number("limits.headers", raw.headers, 64, 16..=1024),
            header_timeout: self.millis("limits.header_timeout_ms", raw.header_timeout_ms, 10_000, 100..=600_000),
            body_bytes: self.number("limits.body_bytes", raw.body_bytes, 256 << 10, 1 << 10..=64 << 20),
            upload_bytes: self.number("limits.upload_bytes", raw.upload_bytes, 8 << 20, 1 << 10..=256 << 20),
            request_timeout: self.millis(
                "limits.request_timeout_ms",
                raw.request_timeout_ms,
                30_000,
                1_000..=3_600_000,
            ),
            connections,
            connections_reserved: self.number(
                "limits.connections_reserved",
                reserved,
                8.min(connections as i64 - 1),
                1..=connections as i64 - 1,
            ),
            streams: self.number("limits.streams", raw.streams, 32, 1..=4096),
            runs_queued: self.number("limits.runs_queued", raw.runs_queued, 4, 0..=1024),
            history_series: self.number("limits.history_series", raw.history_series, 8192, 0..=65_536),
            operations: self.number("limits.operations", raw.operations, 10_000, 1..=1 << 20),
            key_bytes: self.number("limits.key_bytes", raw.key_bytes, 64 << 10, 1..=1 << 20),
            value_bytes: self.number("limits.value_bytes", raw.value_bytes, 1 << 20, 1..=256 << 20),
            journal_bytes: self.number("limits.journal_bytes", raw.journal_bytes, 64 << 20, 64 << 10..=1 << 40),
            knobs: pipeline::Limits {
                workers_max: self.stage_number("limits.workers", raw.workers, knobs.workers_max, 1024),
                batch_max: self.stage_number("limits.batch", raw.batch, knobs.batch_max, 1 << 20),
                capacity_max: self.stage_number("limits.capacity", raw.capacity, knobs.capacity_max, 1 << 16),
            },
        }
    }

    fn resources(
        &mut self,
        base: &Path,
        maps: Named<RawMap>,
        queues: Named<RawQueue>,
        pools: Named<RawPool>,
        schedulers: Named<RawScheduler>,
        pipelines: Named<RawPipeline>,
    ) -> Resources {
        let queues = self.named(Kind::Queue, queues, |check, name, raw| Queue {
            kind: raw.kind.map_or_else(queue::Kind::default, |written| written.into_inner().0),
            capacity: check.number(
                &format!("queue.{name}.capacity"),
                raw.capacity,
                4096,
                1..=HOSTED_CAPACITY_MAX as i64,
            ),
            name: name.to_owned(),
        });
        let mut pools = self
            .named(Kind::Pool, pools, |check, name, raw| Pool { setup: check.pool(name, raw), name: name.to_owned() });
        let schedulers = self.named(Kind::Scheduler, schedulers, |check, name, raw| Scheduler {
            threads: check.number(
                &format!("scheduler.{name}.threads"),
                raw.threads,
                cores(),
                1..=scheduler::Scheduler::threads_max() as i64,
            ),
            name: name.to_owned(),
        });
        // A pipeline that names no pool gets this one, and the pool need not be written down for it.
        let unnamed = pipelines.values().any(|pipeline| pipeline.pool.is_none());
        if unnamed && pools.iter().all(|pool| pool.name != POOL) {
            pools.push(Pool { name: POOL.into(), setup: PoolSetup::default() });
        }
        let known_pools: Vec<_> = pools.iter().map(|pool| pool.name.clone()).collect();
        let maps = self.named(Kind::Map, maps, |check, name, raw| {
            let values = match raw.values.map(Spanned::into_inner) {
                Some(RawValues::Bytes) => Values::Bytes,
                Some(RawValues::Words) => Values::Words,
                Some(RawValues::Counters) | None => Values::Counters,
            };
            Map {
                values,
                pool: check.pool_of_values(name, values, &known_pools, raw.pool),
                backend: raw.backend.map_or_else(Backend::default, |written| written.into_inner().0),
                // Printed as it will be in force.
                buckets: check
                    .number(
                        &format!("map.{name}.buckets"),
                        raw.buckets,
                        FIXED_BUCKETS as i64,
                        FIXED_BUCKETS_MIN as i64..=FIXED_BUCKETS_MAX as i64,
                    )
                    .next_power_of_two(),
                entries_max: check.number(
                    &format!("map.{name}.entries_max"),
                    raw.entries_max,
                    MapLimits::default().entries_max as i64,
                    1..=1 << 32,
                ),
                bytes_max: check.number(
                    &format!("map.{name}.bytes_max"),
                    raw.bytes_max,
                    MapLimits::default().bytes_max as i64,
                    1 << 10..=1 << 40,
                ),
                turn_bytes_max: check.number(
                    &format!("map.{name}.turn_bytes_max"),
                    raw.turn_bytes_max,
                    MapLimits::default().turn_bytes_max as i64,
                    1 << 10..=1 << 40,
                ),
                name: name.to_owned(),
            }
        });
        let known = Known {
            maps: maps.iter().map(|map| map.name.clone()).collect(),
            counters: maps.iter().filter(|map| map.values == Values::Counters).map(|map| map.name.clone()).collect(),
            pools: known_pools,
        };
        let mut checked: Vec<Pipeline> = Vec::new();
        let mut pool_places = Vec::new();
        for (name, raw) in pipelines {
            self.name(Kind::Pipeline, &name);
            let at = name.span();
            pool_places.push(raw.pool.as_ref().map_or_else(|| at.clone(), Spanned::span));
            let pipeline = self.pipeline(base, &known, name, raw);
            let reads_stdin = |pipeline: &Pipeline| pipeline.source == Source::Stdin;
            if reads_stdin(&pipeline)
                && let Some(other) = checked.iter().find(|other| reads_stdin(other))
            {
                let message = format!(
                    "pipeline.{} and pipeline.{} both read standard input; only one can",
                    other.name, pipeline.name
                );
                self.missing(at, message);
            }
            checked.push(pipeline);
        }
        self.unlocked_pools(&pools, &checked, &pool_places);
        Resources { maps, queues, pools, schedulers, pipelines: checked }
    }

    fn pool(&mut self, name: &str, raw: RawPool) -> PoolSetup {
        let key = |setting: &str| format!("pool.{name}.{setting}");
        let preset = raw.preset.map_or_else(PoolSetup::default, |written| written.into_inner().0.setup());
        let (limit, align) = (preset.limits.bytes_max as i64, PoolSetup::ALIGNMENTS_MAX as i64);
        let bytes_max = self.number(&key("bytes_max"), raw.bytes_max, limit, 1 << 20..=1 << 40);
        // Who writes as much as the limit asks for a pool that never grows. A preset's figure that the limit is too
        // small for does not, and is half of it then.
        let initial = match preset.bytes_initial {
            PoolSetup::ALL => bytes_max,
            initial => initial.min(bytes_max / 2),
        };
        let initial = self.number(&key("bytes_initial"), raw.bytes_initial, initial as i64, 0..=bytes_max as i64);
        let alignment = raw.alignment.filter(|alignment| {
            let good = (2..=align).contains(alignment.get_ref()) && alignment.get_ref().count_ones() == 1;
            if !good {
                let (key, value) = (key("alignment"), alignment.get_ref());
                let message = format!("{key} = {value}: must be a power of two from 2 to {align}");
                self.fault(alignment.span(), message);
            }
            good
        });
        PoolSetup {
            level: raw.level.map_or(preset.level, |level| level.into_inner().0),
            limits: PoolLimits { bytes_max },
            bytes_initial: if initial == bytes_max { PoolSetup::ALL } else { initial },
            alignment: alignment.map_or(preset.alignment, |alignment| alignment.into_inner() as usize),
            cache_bytes: self.number(&key("cache_bytes"), raw.cache_bytes, preset.cache_bytes as i64, 0..=1 << 20),
            idle_bytes: self.number(&key("idle_bytes"), raw.idle_bytes, preset.idle_bytes as i64, 0..=1 << 40),
            huge_pages: raw.huge_pages.map_or(preset.huge_pages, switched),
            guarded: raw.guarded.map_or(preset.guarded, switched),
            // Never a panic: what is found is logged and counted.
            on_fault: OnFault::Count,
        }
    }

    /// A pool at `unlocked` refuses all threads but one. A pipeline's source takes blocks, and so does every worker that has
    /// a stage behind it to hand records on to.
    fn unlocked_pools(&mut self, pools: &[Pool], pipelines: &[Pipeline], places: &[Range<usize>]) {
        for pool in pools.iter().filter(|pool| pool.setup.level == Level::Unlocked.into()) {
            let mut threads = 0;
            for (pipeline, place) in pipelines.iter().zip(places).filter(|(pipeline, _)| pipeline.pool == pool.name) {
                let handing_on = pipeline.stages.split_last().map_or(&[][..], |(_, before)| before);
                threads += 1 + handing_on.iter().map(|stage| stage.workers).sum::<usize>();
                if threads > 1 {
                    let Pipeline { name, .. } = pipeline;
                    let message = format!(
                        "pipeline.{name} takes blocks from pool.{pool} on more than one thread, and at level unlocked \
                         it serves one: choose level = \"thread_cached\" or \"mutex\" for it",
                        pool = pool.name
                    );
                    self.fault(place.clone(), message);
                    break;
                }
            }
        }
    }

    fn named<R, C>(&mut self, kind: Kind, raw: Named<R>, mut make: impl FnMut(&mut Self, &str, R) -> C) -> Vec<C> {
        raw.into_iter()
            .map(|(name, raw)| {
                self.name(kind, &name);
                make(self, name.get_ref(), raw)
            })
            .collect()
    }

    fn name(&mut self, kind: Kind, name: &Spanned<String>) {
        if let Err(error) = Address::new(kind, name.get_ref()) {
            self.fault(name.span(), format!("{kind}.{}: {error}", name.get_ref()));
        }
    }

    fn pipeline(&mut self, base: &Path, known: &Known, name: Spanned<String>, raw: RawPipeline) -> Pipeline {
        let (at, name) = (name.span(), name.into_inner());
        let pool = raw.pool.unwrap_or_else(|| Spanned::new(at.clone(), POOL.into()));
        self.known(&format!("pipeline.{name}.pool"), "pool", &known.pools, &pool);
        let source = self.source(base, &format!("pipeline.{name}.source"), at.clone(), raw.source);
        if raw.stage.is_empty() {
            self.missing(at, format!("pipeline.{name} has no stage; add [[pipeline.{name}.stage]]"));
        }
        let mut stages: Vec<Stage> = Vec::new();
        for raw in raw.stage {
            let at = raw.span();
            let stage = self.stage(base, known, &name, at.clone(), raw.into_inner());
            if stages.iter().any(|other| other.name == stage.name) {
                self.fault(
                    at,
                    format!("pipeline.{name} has two stages called `{}`; give each its own name", stage.name),
                );
            }
            stages.push(stage);
        }
        Pipeline { name, source, pool: pool.into_inner(), stages }
    }

    /// The pool of a map's values, for those that do not stand in the map itself.
    fn pool_of_values(&mut self, map: &str, values: Values, known: &[String], pool: Written<String>) -> Option<String> {
        let (pool, key) = (pool?, format!("map.{map}.pool"));
        let inline = match values {
            Values::Bytes => {
                self.known(&key, "pool", known, &pool);
                return Some(pool.into_inner());
            }
            Values::Counters => "counters",
            Values::Words => "words",
        };
        let message = format!(
            "{key} = \"{pool}\": {inline} stand in the map itself and take nothing from a pool; remove it, or keep byte \
             strings with values = \"bytes\""
        );
        self.fault(pool.span(), message);
        None
    }

    fn known(&mut self, key: &str, kind: &str, known: &[String], name: &Spanned<String>) {
        if !known.contains(name.get_ref()) {
            let has = match known {
                [] => format!("no {kind} is configured"),
                [one] => format!("there is {kind}.{one} alone"),
                _ => format!("there are {}", known.join(", ")),
            };
            let message = format!("{key} = \"{name}\": there is no {kind} `{name}`, {has}; add [{kind}.{name}]");
            self.fault(name.span(), message);
        }
    }

    fn source(&mut self, base: &Path, key: &str, at: Range<usize>, raw: Written<RawSource>) -> Source {
        let wants = "give it files = [\"PATH\", ..] or stdin = true";
        let Some(raw) = raw else {
            self.missing(at, format!("{key} is missing: {wants}"));
            return Source::Stdin;
        };
        let at = raw.span();
        let raw = raw.into_inner();
        let stdin = raw.stdin.is_some_and(switched);
        match raw.files {
            Some(files) if stdin => {
                self.fault(files.span(), format!("{key} reads both files and standard input; keep one of them"));
                Source::Stdin
            }
            Some(files) => {
                if files.get_ref().is_empty() {
                    self.fault(files.span(), format!("{key}.files is empty; name files, directories or globs"));
                }
                let paced = raw.bytes_per_second.is_some();
                let pace = self.number(&format!("{key}.bytes_per_second"), raw.bytes_per_second, 1, 1..=1 << 40);
                Source::Files {
                    patterns: files.into_inner(),
                    base: raw.base.map_or_else(|| base.to_path_buf(), |written| base.join(written.into_inner())),
                    repeat: raw.repeat.is_some_and(switched),
                    bytes_per_second: paced.then_some(pace as u64),
                }
            }
            None => {
                if !stdin {
                    self.missing(at, format!("{key} names no input: {wants}"));
                }
                Source::Stdin
            }
        }
    }

    fn stage(&mut self, base: &Path, known: &Known, pipeline: &str, at: Range<usize>, raw: RawStage) -> Stage {
        let named = raw.name.is_some();
        let name = raw.name.unwrap_or_else(|| Spanned::new(at.clone(), "stage".into()));
        if !named {
            self.missing(
                at.clone(),
                format!("a stage of pipeline.{pipeline} has no name; add name = \"split\" or the like"),
            );
        } else if let Err(error) = Address::stage("pipeline", name.get_ref()) {
            self.fault(name.span(), format!("pipeline.{pipeline}.{name}: {error}"));
        }
        let key = |setting: &str| format!("pipeline.{pipeline}.{name}.{setting}");
        // Each op with the one setting it takes; any other is a fault.
        let mut options = vec![("contains", raw.contains), ("regex", raw.regex), ("map", raw.map), ("path", raw.path)];
        let mut take = |setting: &str| options.iter_mut().find(|(known, _)| *known == setting).and_then(|o| o.1.take());
        let mut missing = None;
        let op = match raw.op.map(Spanned::into_inner) {
            Some(RawOp::Lines) => Op::Lines,
            Some(RawOp::Words) => Op::Words,
            Some(RawOp::Filter) => match (take("contains"), take("regex")) {
                (Some(text), None) => Op::Contains(text.into_inner()),
                (None, Some(regex)) => {
                    if let Err(error) = regex::bytes::Regex::new(regex.get_ref()) {
                        let error = error.to_string().replace('\n', " ");
                        self.fault(regex.span(), format!("{}: {error}", key("regex")));
                    }
                    Op::Matches(regex.into_inner())
                }
                _ => {
                    missing = Some("op = \"filter\" takes either contains = \"TEXT\" or regex = \"PATTERN\"");
                    Op::Contains(String::new())
                }
            },
            Some(RawOp::Count) => match take("map") {
                Some(map) => {
                    self.known(&key("map"), "map", &known.maps, &map);
                    if known.maps.contains(map.get_ref()) && !known.counters.contains(map.get_ref()) {
                        let message = format!(
                            "{} = \"{map}\": op = \"count\" counts into a map of counters, which map.{map} is not",
                            key("map")
                        );
                        self.fault(map.span(), message);
                    }
                    Op::Count { map: map.into_inner() }
                }
                None => {
                    missing = Some("op = \"count\" counts into a map; add map = \"NAME\"");
                    Op::Count { map: String::new() }
                }
            },
            Some(RawOp::Write) => match take("path") {
                Some(path) => Op::Write { path: base.join(path.into_inner()) },
                None => {
                    missing = Some("op = \"write\" writes to a file; add path = \"FILE\"");
                    Op::Write { path: PathBuf::new() }
                }
            },
            None => {
                missing = Some("it has no op; add op = \"lines\", \"words\", \"filter\", \"count\" or \"write\"");
                Op::Lines
            }
        };
        for (setting, left) in &options {
            if let Some(left) = left {
                self.fault(left.span(), format!("{}: this op has no such setting; remove it", key(setting)));
            }
        }
        if let Some(missing) = missing {
            self.missing(at, format!("pipeline.{pipeline}.{name}: {missing}"));
        }
        let (default, limits) = (StageOptions::default(), self.knobs.clone());
        let default = StageOptions {
            workers: default.workers.min(limits.workers_max),
            batch: default.batch.min(limits.batch_max),
            capacity: default.capacity.min(limits.capacity_max),
        };
        Stage {
            workers: self.stage_number(&key("workers"), raw.workers, default.workers, limits.workers_max),
            batch: self.stage_number(&key("batch"), raw.batch, default.batch, limits.batch_max),
            capacity: self.stage_number(&key("capacity"), raw.capacity, default.capacity, limits.capacity_max),
            name: name.into_inner(),
            op,
        }
    }
}

fn switched(written: Spanned<Switch>) -> bool {
    written.into_inner().0
}

/// What a pipeline can refer to.
struct Known {
    maps: Vec<String>,
    /// Those of the maps that hold counters.
    counters: Vec<String>,
    pools: Vec<String>,
}

fn cores() -> i64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as i64)
}
