//! The resources of a run: made in the host's registry for its time, or found there; and taken away again whatever
//! happens.

use super::RunError;
use super::context::Context;
use super::flow::Flow;
use super::pool_load::Pooled;
use crate::script::{KnobName, MapValue, PipelineTarget, Target, TargetKind, Workload};
use rheostat_runtime::map::{BytesMap, CounterMap, FIXED_BUCKETS, MapLimits, WordMap};
use rheostat_runtime::observe::{Actor, Address, Change, RegistryError, Resource, Value};
use rheostat_runtime::pool::{Pool, PoolLimits};
use rheostat_runtime::queue::{HostedQueue, Ring};
use rheostat_runtime::sync::{Arc, Mutex};
use std::any::Any;
use std::collections::BTreeMap;

/// A target as it stands in the registry.
#[derive(Clone)]
pub(super) enum Player {
    /// A map of counters.
    Counters(Arc<CounterMap>),
    /// A map of byte strings.
    Bytes(Arc<BytesMap>),
    /// A map of numbers by number.
    Words(Arc<WordMap>),
    /// A queue.
    Queue(Arc<HostedQueue>),
    /// A pool.
    Pool(Pooled),
}

/// Blocks that may be on their way from one worker of a pool to another.
const PASSED_MAX: usize = 1024;

/// Everything a run drives.
pub(super) struct Cast<'r> {
    context: &'r Context,
    workload: &'r Workload,
    players: BTreeMap<String, Player>,
    /// Pipelines that have been started, by target.
    flows: BTreeMap<String, Flow>,
    /// What the run put into the registry.
    own: Vec<Address>,
    /// Knobs of the host's own resources, as they stood before the run turned them.
    borrowed: Mutex<BTreeMap<KnobName, Value>>,
}

impl<'r> Cast<'r> {
    /// Makes the maps, queues and pools, and finds those the host has. Pipelines are made when their first phase begins.
    pub fn assemble(context: &'r Context, workload: &'r Workload) -> Result<Self, RunError> {
        let mut cast = Self {
            context,
            workload,
            players: BTreeMap::new(),
            flows: BTreeMap::new(),
            own: Vec::new(),
            borrowed: Mutex::default(),
        };
        // Pools first, as values of maps live in them.
        let is_pool = |target: &&Target| matches!(target.kind, TargetKind::Pool(_));
        let (pools, others): (Vec<_>, Vec<_>) = workload.targets.iter().partition(is_pool);
        for target in pools.into_iter().chain(others) {
            if let Some(player) = cast.engage(target)? {
                cast.players.insert(target.name.clone(), player);
            }
        }
        Ok(cast)
    }

    fn engage(&mut self, target: &Target) -> Result<Option<Player>, RunError> {
        if target.hosted {
            return self.find(target);
        }
        let failed = |error: &dyn std::fmt::Display| RunError::target(target, error);
        Ok(match &target.kind {
            TargetKind::Map(map) => {
                let mut limits = MapLimits::default();
                let items = map.keys.map_or(0, |keys| keys.items() as usize);
                limits.entries_max = map.entries_max.map_or(limits.entries_max.max(items), |max| max as usize);
                let (name, backend) = (target.address.name(), map.backend);
                // About as many as there will be entries, as one who hosts a map on `fixed` is advised.
                let buckets = FIXED_BUCKETS.max(items);
                Some(match map.value {
                    MapValue::Counter => {
                        let map = CounterMap::with_buckets(name, backend, limits, buckets);
                        let map = map.map_err(|error| failed(&error))?;
                        self.host(map.clone())?;
                        Player::Counters(map)
                    }
                    MapValue::Bytes(..) => {
                        let pool = map.pool.as_ref().and_then(|pool| self.pooled(pool));
                        let map = match pool.map(|pooled| pooled.pool.clone()) {
                            Some(pool) => BytesMap::in_pool(name, backend, limits, buckets, pool),
                            None => BytesMap::with_buckets(name, backend, limits, buckets),
                        };
                        let map = map.map_err(|error| failed(&error))?;
                        self.host(map.clone())?;
                        Player::Bytes(map)
                    }
                    MapValue::Word => {
                        let map = WordMap::with_buckets(name, backend, limits, buckets);
                        let map = map.map_err(|error| failed(&error))?;
                        self.host(map.clone())?;
                        Player::Words(map)
                    }
                })
            }
            TargetKind::Queue(queue) => {
                let queue = HostedQueue::new(target.address.name(), queue.backend, queue.capacity as usize)
                    .map_err(|error| failed(&error))?;
                self.host(queue.clone())?;
                Some(Player::Queue(queue))
            }
            TargetKind::Pool(pool) => {
                let limits = PoolLimits { bytes_max: pool.bytes_max as usize };
                let pool = Pool::new(target.address.name(), pool.level, limits).map_err(|error| failed(&error))?;
                self.host(pool.clone())?;
                Some(Player::Pool(pooled(target, pool)?))
            }
            TargetKind::Pipeline(_) => None,
        })
    }

    fn find(&self, target: &Target) -> Result<Option<Player>, RunError> {
        let found = self.context.registry.get(&target.address)?;
        let any: Arc<dyn Any + Send + Sync> = found;
        let player = match &target.kind {
            TargetKind::Map(_) => match any.downcast::<CounterMap>() {
                Ok(map) => Some(Player::Counters(map)),
                Err(any) => match any.downcast::<BytesMap>() {
                    Ok(map) => Some(Player::Bytes(map)),
                    Err(any) => any.downcast::<WordMap>().ok().map(Player::Words),
                },
            },
            TargetKind::Queue(_) => any.downcast::<HostedQueue>().ok().map(Player::Queue),
            TargetKind::Pool(_) => match any.downcast::<Pool>() {
                Ok(pool) => Some(Player::Pool(pooled(target, pool)?)),
                Err(_) => None,
            },
            TargetKind::Pipeline(_) => return Ok(None),
        };
        player.map(Some).ok_or_else(|| RunError::target(target, &"this kind of it cannot be driven from a workload"))
    }

    /// Puts a resource into the registry until the run ends.
    pub fn host(&mut self, resource: Arc<dyn Resource>) -> Result<(), RunError> {
        let address = resource.address().clone();
        self.context.registry.add(resource).map_err(|error| match error {
            RegistryError::Taken(address) => RunError::Taken { address },
            error => error.into(),
        })?;
        self.own.push(address);
        Ok(())
    }

    /// A map, a queue or a pool; parsing has checked that it is there.
    pub fn player(&self, target: &str) -> Option<&Player> {
        self.players.get(target)
    }

    /// The counters a stage counts into.
    pub fn counters(&self, target: &str) -> Option<&Arc<CounterMap>> {
        match self.players.get(target) {
            Some(Player::Counters(map)) => Some(map),
            _ => None,
        }
    }

    /// The queue of that target.
    pub fn queue(&self, target: &str) -> Option<&Arc<HostedQueue>> {
        match self.players.get(target) {
            Some(Player::Queue(queue)) => Some(queue),
            _ => None,
        }
    }

    /// The pool of that target.
    pub fn pooled(&self, target: &str) -> Option<&Pooled> {
        match self.players.get(target) {
            Some(Player::Pool(pooled)) => Some(pooled),
            _ => None,
        }
    }

    /// How many values of the run's maps live in the pool of that target; `None` if none can.
    pub fn values_in(&self, pool: &str) -> Option<u64> {
        let lives_there =
            |target: &&Target| matches!(&target.kind, TargetKind::Map(map) if map.pool.as_deref() == Some(pool));
        let mut maps =
            self.workload.targets.iter().filter(lives_there).filter_map(|target| self.player(&target.name)).peekable();
        maps.peek()?;
        let entries = |player: &Player| if let Player::Bytes(map) = player { map.len() as u64 } else { 0 };
        Some(maps.map(entries).sum())
    }

    /// Every pool, by target.
    pub fn pools(&self) -> impl Iterator<Item = (&String, &Pooled)> {
        self.players.iter().filter_map(|(name, player)| match player {
            Player::Pool(pooled) => Some((name, pooled)),
            _ => None,
        })
    }

    /// Starts a pipeline unless it runs already. True if it was started now.
    pub fn start(&mut self, target: &Target, pipeline: &PipelineTarget) -> Result<bool, RunError> {
        if self.flows.contains_key(&target.name) {
            return Ok(false);
        }
        let flow = if target.hosted {
            Flow::find(&self.context.registry, target)?
        } else {
            Flow::start(self, self.workload, target, pipeline)?
        };
        self.flows.insert(target.name.clone(), flow);
        Ok(true)
    }

    /// A pipeline that has been started.
    pub fn flow(&self, target: &str) -> Option<&Flow> {
        self.flows.get(target)
    }

    /// Every pipeline that has been started, by target.
    pub fn flows(&self) -> impl Iterator<Item = (&String, &Flow)> {
        self.flows.iter()
    }

    /// Whether that is a pipeline of the run's own, or a stage of one, which takes no more input.
    pub fn is_ending(&self, address: &Address) -> bool {
        let flow = self.flows.values().find(|flow| flow.is_of(address));
        flow.and_then(Flow::own).is_some_and(|own| own.is_ending())
    }

    /// Turns a knob as this run. A knob of the host's own is turned back when the run ends.
    pub fn turn(&self, knob: &KnobName, to: Value) -> Result<Change, RegistryError> {
        let actor = Actor::Run(self.context.run.clone());
        let change = self.context.registry.turn(&knob.resource, &knob.knob, to, actor)?;
        if !self.own.contains(&knob.resource) {
            self.borrowed.lock().entry(knob.clone()).or_insert_with(|| change.from.clone());
        }
        Ok(change)
    }

    /// The value of a knob as it stands.
    pub fn value(&self, knob: &KnobName) -> Option<Value> {
        let resource = self.context.registry.get(&knob.resource).ok()?;
        resource.knobs().into_iter().find(|known| known.name == knob.knob).map(|known| known.value)
    }
}

fn pooled(target: &Target, pool: Arc<Pool>) -> Result<Pooled, RunError> {
    let passed = Ring::new(PASSED_MAX).map_err(|error| RunError::target(target, &error))?;
    Ok(Pooled { pool, passed: Arc::new(passed) })
}

impl Drop for Cast<'_> {
    /// Also on an error and on a panic: nothing of a run stays behind.
    fn drop(&mut self) {
        for (knob, before) in std::mem::take(&mut *self.borrowed.lock()) {
            let actor = Actor::Run(self.context.run.clone());
            // Refused only if the resource has gone meanwhile, and then there is nothing to turn back.
            let _ = self.context.registry.turn(&knob.resource, &knob.knob, before, actor);
        }
        self.flows.values().for_each(Flow::abandon);
        for address in self.own.iter().rev() {
            self.context.registry.remove(address);
        }
    }
}
