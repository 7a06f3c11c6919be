//! Builds what a configuration says and hosts it.

use crate::allocator;
use crate::config::{self, Op, Resources, Values};
use rheostat_runtime::alloc::HostedAllocator;
use rheostat_runtime::map::{BytesMap, CounterMap, MapLimits, WordMap};
use rheostat_runtime::observe::{Address, AddressError, Kind, Moment, Registry, RegistryError, Resource, now};
use rheostat_runtime::pipeline::text::{self, Spec, StageSpec};
use rheostat_runtime::pipeline::{Limits, Pipeline, PipelineError, StageOptions};
use rheostat_runtime::pool::{FAULTS_KEPT, Pool, PoolSetupError};
use rheostat_runtime::queue::{HostedQueue, HostedQueueError};
use rheostat_runtime::reclaim::HostedDomain;
use rheostat_runtime::scheduler::{Scheduler, SchedulerError};
use rheostat_runtime::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The name of the process's own domain of reclamation, and of its allocator: there is always the one.
const PROCESS: &str = "process";

/// The resources of this daemon.
pub(crate) struct Host {
    /// All of them, by address.
    pub registry: Arc<Registry>,
    pipelines: Vec<Arc<Pipeline>>,
    pools: BTreeMap<Address, Arc<Pool>>,
    started: Moment,
}

/// Why a resource could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// A pipeline.
    #[error("pipeline.{name}: {error}")]
    Pipeline {
        /// Its name.
        name: String,
        /// What failed, and what to do.
        error: PipelineError,
    },
    /// A queue.
    #[error("queue.{name}: {error}")]
    Queue {
        /// Its name.
        name: String,
        /// What failed, and what to do.
        error: HostedQueueError,
    },
    /// A pool.
    #[error(transparent)]
    Pool(#[from] PoolSetupError),
    /// A scheduler.
    #[error("scheduler.{name}: {error}")]
    Scheduler {
        /// Its name.
        name: String,
        /// What failed, and what to do.
        error: SchedulerError,
    },
    /// A name.
    #[error(transparent)]
    Name(#[from] AddressError),
    /// An address twice.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Host {
    /// Builds and starts everything configured. What was started before something failed is abandoned.
    pub(crate) fn start(resources: &Resources, limits: &config::Limits) -> Result<Self, HostError> {
        let registry = Arc::new(Registry::new());
        let mut pools = BTreeMap::new();
        for config in &resources.pools {
            let pool = Pool::with_setup(&config.name, config.setup)?;
            log_faults(&pool);
            registry.add(pool.clone())?;
            pools.insert(pool.address().clone(), pool);
        }
        let mut maps = BTreeMap::new();
        for config in &resources.maps {
            let limits = MapLimits {
                key_bytes_max: limits.key_bytes,
                value_bytes_max: limits.value_bytes,
                entries_max: config.entries_max,
                bytes_max: config.bytes_max,
                turn_bytes_max: config.turn_bytes_max,
            };
            let config::Map { name, backend, buckets, .. } = config;
            match config.values {
                Values::Counters => {
                    let map = CounterMap::with_buckets(name, *backend, limits, *buckets)?;
                    registry.add(map.clone())?;
                    maps.insert(map.address().clone(), map);
                }
                Values::Words => registry.add(WordMap::with_buckets(name, *backend, limits, *buckets)?)?,
                Values::Bytes => registry.add(match &config.pool {
                    Some(pool) => {
                        let pool = found(&pools, Address::new(Kind::Pool, pool)?)?;
                        BytesMap::in_pool(name, *backend, limits, *buckets, pool)?
                    }
                    None => BytesMap::with_buckets(name, *backend, limits, *buckets)?,
                })?,
            }
        }
        for config in &resources.queues {
            let queue = HostedQueue::new(&config.name, config.kind, config.capacity)
                .map_err(|error| HostError::Queue { name: config.name.clone(), error })?;
            registry.add(queue)?;
        }
        for config in &resources.schedulers {
            let scheduler = Scheduler::new(&config.name, config.threads)
                .map_err(|error| HostError::Scheduler { name: config.name.clone(), error })?;
            registry.add(scheduler)?;
        }
        registry.add(HostedDomain::of_process(PROCESS).expect("a good name"))?;
        registry.add(HostedAllocator::of_process(PROCESS, allocator::read).expect("a good name"))?;
        let mut host = Self { registry, pipelines: Vec::new(), pools, started: now() };
        for config in &resources.pipelines {
            let pipeline = spec(config, &maps, &host.pools, &limits.knobs)?
                .start()
                .map_err(|error| HostError::Pipeline { name: config.name.clone(), error })?;
            for resource in pipeline.resources() {
                host.registry.add(resource)?;
            }
            host.pipelines.push(pipeline);
        }
        Ok(host)
    }

    /// Stops intake, waits until what was taken in is done with or `limit` is over, and names what was not.
    pub(crate) fn stop(&self, limit: Duration) -> Vec<String> {
        let began = now();
        self.pipelines.iter().for_each(|pipeline| pipeline.stop());
        let mut hung = Vec::new();
        for pipeline in &self.pipelines {
            if !pipeline.wait(limit.saturating_sub(began.elapsed())) {
                hung.push(pipeline.address().to_string());
                pipeline.abandon();
            }
        }
        for pool in self.pools.values() {
            let outstanding = pool.outstanding();
            if !outstanding.is_empty() {
                tracing::info!(blocks = outstanding.blocks, bytes = outstanding.bytes, "at the end {outstanding}");
            }
        }
        hung
    }

    /// Time since everything was started.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Has the faults of a guarded pool logged: the first ones each, and then ever fewer, as a program that is wrong is so
/// many times a second.
fn log_faults(pool: &Pool) {
    let faults = AtomicU64::new(0);
    pool.on_fault(move |fault| {
        let nth = faults.fetch_add(1, Relaxed) + 1;
        if nth <= FAULTS_KEPT as u64 || nth.is_power_of_two() {
            tracing::error!(error = %fault, kind = fault.kind.as_str(), nth, "a guarded pool found a fault");
        }
    });
}

fn spec(
    config: &config::Pipeline,
    maps: &BTreeMap<Address, Arc<CounterMap>>,
    pools: &BTreeMap<Address, Arc<Pool>>,
    knobs: &Limits,
) -> Result<Spec, HostError> {
    let (source, rate) = match &config.source {
        config::Source::Files { patterns, base, repeat, bytes_per_second } => {
            let files = text::Source::Files { patterns: patterns.clone(), base: base.clone(), repeat: *repeat };
            (files, bytes_per_second.unwrap_or(0))
        }
        config::Source::Stdin => (text::Source::Reader(Box::new(std::io::stdin())), 0),
    };
    let stage = |stage: &config::Stage| {
        let op = match &stage.op {
            Op::Lines => text::Op::Lines,
            Op::Words => text::Op::Words,
            Op::Contains(part) => text::Op::Contains(part.clone()),
            Op::Matches(regex) => text::Op::Matches(regex.clone()),
            Op::Count { map } => text::Op::CountInto(found(maps, Address::new(Kind::Map, map)?)?),
            Op::Write { path } => text::Op::WriteTo(path.clone()),
        };
        let config::Stage { workers, batch, capacity, .. } = *stage;
        Ok(StageSpec { name: stage.name.clone(), op, options: StageOptions { workers, batch, capacity } })
    };
    Ok(Spec {
        name: config.name.clone(),
        source,
        rate,
        stages: config.stages.iter().map(stage).collect::<Result<_, HostError>>()?,
        pool: found(pools, Address::new(Kind::Pool, &config.pool)?)?,
        limits: knobs.clone(),
    })
}

fn found<T>(known: &BTreeMap<Address, Arc<T>>, address: Address) -> Result<Arc<T>, RegistryError> {
    known.get(&address).cloned().ok_or(RegistryError::UnknownResource(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Origin, Overrides};
    use rheostat_runtime::map::{Backend, Hosted, HostedMap};
    use rheostat_runtime::observe::Reading;
    use rheostat_runtime::observe::families::MAP_LOAD;
    use rheostat_runtime::pool::{Block, Level};
    use std::any::Any;
    use std::fs::File;
    use std::path::Path;

    fn host(base: &Path, text: &str) -> Host {
        let config = Config::parse(Origin::Demo, text, base, &Overrides::default()).unwrap();
        Host::start(&config.resources, &config.limits).unwrap()
    }

    fn hosted<T: Send + Sync + 'static>(host: &Host, address: &str) -> Arc<T> {
        let resource: Arc<dyn Any + Send + Sync> = host.registry.get(&address.parse().unwrap()).unwrap();
        resource.downcast().expect("it is of the kind that was configured")
    }

    #[test]
    fn pools_are_made_as_they_are_written() {
        let text = "[pool.made]\nlevel = \"lock_free\"\nbytes_max = 8388608\nalignment = 64\nidle_bytes = 1073741824\n\
                    guarded = true\n[pool.plain]\n";
        let host = host(Path::new("/"), text);
        let pool = hosted::<Pool>(&host, "pool.made");
        assert_eq!((pool.level(), pool.is_guarded()), (Level::LockFree, true));
        assert!(!hosted::<Pool>(&host, "pool.plain").is_guarded());
        pool.turn_guarded(false);
        let blocks: Vec<Block> = std::iter::from_fn(|| pool.alloc(1000).ok()).collect();
        assert_eq!(blocks.len(), 8192, "its limit, in blocks of 1024 bytes");
        assert!(blocks.iter().all(|block| block.as_ptr().addr().is_multiple_of(64)));
        drop(blocks);
        assert_eq!(pool.held_bytes(), 8 << 20, "so much may idle that all of it stays");
    }

    /// Puts in so many entries that a map of 1024 buckets is half full.
    fn load_of<V: Hosted>(host: &Host, map: &str, put: impl Fn(&HostedMap<V>, u64)) -> (MapLimits, Option<f64>) {
        let map = hosted::<HostedMap<V>>(host, map);
        assert_eq!(map.backend(), Backend::Fixed);
        (0..512).for_each(|key| put(&map, key));
        let mut reading = Reading::default();
        map.read(&mut reading);
        (map.limits(), reading.level_of(&MAP_LOAD))
    }

    #[test]
    fn maps_have_the_limits_and_the_buckets_that_are_written() {
        let of = |name: &str, rest: &str| {
            let limits = "entries_max = 600\nbytes_max = 100000\nturn_bytes_max = 2048\n";
            format!("[map.{name}]\nbackend = \"fixed\"\nbuckets = 1000\n{limits}{rest}\n")
        };
        let text = [
            of("counters", ""),
            of("words", "values = \"words\""),
            of("texts", "values = \"bytes\""),
            of("kept", "values = \"bytes\"\npool = \"values\""),
            "[pool.values]\n[limits]\nkey_bytes = 9\nvalue_bytes = 99\n".to_owned(),
        ];
        let host = host(Path::new("/"), &text.concat());
        let limits = MapLimits {
            key_bytes_max: 9,
            value_bytes_max: 99,
            entries_max: 600,
            bytes_max: 100_000,
            turn_bytes_max: 2048,
        };
        let expected = (limits, Some(0.5));
        let put_text = |map: &BytesMap, key: u64| _ = map.insert(&key.to_le_bytes(), vec![1; 9].into()).unwrap();
        assert_eq!(
            load_of::<i64>(&host, "map.counters", |map, key| _ = map.add(&key.to_le_bytes(), 1).unwrap()),
            expected
        );
        assert_eq!(load_of::<u64>(&host, "map.words", |map, key| _ = map.insert(&key, 1).unwrap()), expected);
        assert_eq!(load_of(&host, "map.texts", put_text), expected);
        assert_eq!(load_of(&host, "map.kept", put_text), expected);
        let pool_of = |map: &str| host.registry.get(&map.parse().unwrap()).unwrap().pool().map(Address::to_string);
        assert_eq!((pool_of("map.texts"), pool_of("map.kept")), (None, Some("pool.values".to_owned())));
    }

    #[test]
    fn a_pipeline_lives_in_the_pool_that_is_written() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("input.txt"), "the quick brown fox\n".repeat(100)).unwrap();
        let text = "[pool.first]\n[pool.second]\n[map.words]\n[pipeline.p]\nsource = { files = [\"input.txt\"] }\n\
                    pool = \"second\"\n[[pipeline.p.stage]]\nname = \"count\"\nop = \"count\"\nmap = \"words\"\n";
        let host = host(folder.path(), text);
        assert_eq!(host.stop(Duration::from_secs(20)), [""; 0]);
        let pipeline = host.registry.get(&"pipeline.p".parse().unwrap()).unwrap();
        assert_eq!(pipeline.pool().map(Address::to_string).as_deref(), Some("pool.second"));
    }

    #[test]
    fn what_a_guarded_pool_finds_is_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let told = tracing_subscriber::fmt().with_writer(File::create(&log).unwrap()).finish();
        tracing::subscriber::with_default(told, || {
            let host = host(Path::new("/"), "[pool.watched]\nguarded = true\n");
            let pool = hosted::<Pool>(&host, "pool.watched");
            for _ in 0..FAULTS_KEPT + 100 {
                let block = pool.alloc(30).unwrap();
                // SAFETY: the copy makes the double free that is to be told; a guarded pool survives it.
                drop(unsafe { std::ptr::read(&raw const block) });
            }
        });
        let said = std::fs::read_to_string(&log).unwrap();
        let lines = said.lines().filter(|line| line.contains("ERROR") && line.contains("pool.watched"));
        assert!(lines.clone().all(|line| line.contains("was freed twice") && line.contains("double_free")), "{said}");
        let lines = lines.count();
        assert!(
            (FAULTS_KEPT..FAULTS_KEPT + 10).contains(&lines),
            "{lines} lines, one for each that is kept, few after"
        );
    }
}
