//! Everything a host runs, by address.

use super::{Actor, Address, Change, Journal, Knob, Moment, Outcome, OwnTurn, Reading, TurnError, Turned, Value, now};
use crate::sync::{Arc, Mutex, RwLock};
use std::any::Any;
use std::collections::BTreeMap;
use std::time::Duration;

/// Anything that can be hosted. The exporter, the history, the API and the dashboard are written against this
/// trait alone: a new kind of resource adds no line to them. Who knows a kind and needs the rest of it gets there
/// by `Any`.
pub trait Resource: Any + Send + Sync {
    /// What it is called; fixed for its life.
    fn address(&self) -> &Address;

    /// Its place among those it is listed with: a stage's in the flow of its pipeline, from 0.
    fn position(&self) -> usize {
        0
    }

    /// The pool that what it holds lives in, where there is one.
    fn pool(&self) -> Option<&Address> {
        None
    }

    /// Says everything its families declare. Never blocks the resource's hot path, never resets a counter.
    fn read(&self, reading: &mut Reading);

    /// Its knobs as they stand.
    fn knobs(&self) -> Vec<Knob>;

    /// Turns a knob. The registry has already checked that the knob exists and that `to` is in its range; what
    /// was accepted by the resource before stays accepted.
    ///
    /// # Errors
    /// When the hand-over failed; the resource then runs on as it was.
    fn turn(&self, knob: &str, to: &Value) -> Result<Turned, TurnError>;

    /// How a turn to that value ended which had not settled when it returned; `None` while it is still settling. Hosts ask
    /// through [`Registry::settle`], which journals the answer.
    fn settled(&self, _knob: &str, _to: &Value) -> Option<Result<(), TurnError>> {
        Some(Ok(()))
    }

    /// Lets it look at itself and turn a knob of its own, if it has one that it was told to choose the value of; hosts call
    /// it about once a second, through [`Registry::tend`], which journals what comes of it. May take as long as a turn.
    fn tend(&self, _at: Moment) -> Option<OwnTurn> {
        None
    }
}

/// Why the registry refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No resource of that address.
    #[error("there is no resource `{0}`; list them with `rheostat resources`")]
    UnknownResource(Address),
    /// The address is taken.
    #[error("there is a resource `{0}` already")]
    Taken(Address),
    /// The resource refused the turn.
    #[error(transparent)]
    Turn(#[from] TurnError),
}

/// The resources of a host and the journal of their changes.
///
/// Control path only: one reader-writer lock around an ordered map, never taken by a hot path. Turning a knob
/// holds no registry lock, so a long hand-over delays nobody who reads.
#[derive(Default)]
pub struct Registry {
    resources: RwLock<BTreeMap<Address, Arc<dyn Resource>>>,
    journal: Journal,
    settling: Mutex<Vec<Settling>>,
}

/// A change that had not settled when its turn returned.
struct Settling {
    change: Change,
    began: Moment,
}

impl Registry {
    /// An empty registry with a journal of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hosts a resource.
    ///
    /// # Errors
    /// [`RegistryError::Taken`] when the address is in use; the resource in place stays.
    pub fn add(&self, resource: Arc<dyn Resource>) -> Result<(), RegistryError> {
        let address = resource.address().clone();
        let mut resources = self.resources.write();
        if resources.contains_key(&address) {
            return Err(RegistryError::Taken(address));
        }
        resources.insert(address, resource);
        Ok(())
    }

    /// Stops hosting a resource and returns it.
    pub fn remove(&self, address: &Address) -> Option<Arc<dyn Resource>> {
        self.resources.write().remove(address)
    }

    /// The resource of that address.
    ///
    /// # Errors
    /// [`RegistryError::UnknownResource`].
    pub fn get(&self, address: &Address) -> Result<Arc<dyn Resource>, RegistryError> {
        self.resources.read().get(address).cloned().ok_or_else(|| RegistryError::UnknownResource(address.clone()))
    }

    /// All resources, ordered by address; stages follow their pipeline in the order of its flow.
    pub fn all(&self) -> Vec<Arc<dyn Resource>> {
        let mut all: Vec<_> = self.resources.read().values().cloned().collect();
        // Stable, so that what has no place of its own stays where its address put it.
        all.sort_by_cached_key(|resource| {
            let address = resource.address();
            (address.of_whole(), address.stage_name().is_some(), resource.position())
        });
        all
    }

    /// The journal of changes.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Turns a knob of a resource and journals the change, also when it was refused by the resource itself.
    ///
    /// # Errors
    /// Unknown resource or knob, a value of the wrong type or out of range, or a hand-over that failed.
    pub fn turn(&self, address: &Address, knob: &str, to: Value, actor: Actor) -> Result<Change, RegistryError> {
        let resource = self.get(address)?;
        let knobs = resource.knobs();
        let Some(current) = knobs.iter().find(|known| known.name == knob) else {
            let has = knobs.iter().map(|knob| knob.name.to_owned()).collect();
            return Err(TurnError::UnknownKnob { resource: address.to_string(), knob: knob.to_owned(), has }.into());
        };
        current.range.check(knob, &to)?;
        // How an earlier turn ended is asked while it is the last.
        self.settle();
        let began = now();
        let turned = resource.turn(knob, &to);
        let (from, outcome, took, reason) = match &turned {
            Ok(Turned { from, took, settled, reason, .. }) => {
                let outcome = if *settled { Outcome::Applied } else { Outcome::Settling };
                (from.clone(), outcome, *took, reason.clone())
            }
            Err(error) => (current.value.clone(), Outcome::Failed(error.to_string()), Duration::ZERO, None),
        };
        let (address, knob) = (address.clone(), knob.to_owned());
        let change =
            self.journal.record(|id, at| Change { id, at, actor, address, knob, from, to, outcome, took, reason });
        if change.outcome == Outcome::Settling {
            self.settling.lock().push(Settling { change: change.clone(), began });
        }
        turned?;
        Ok(change)
    }

    /// Asks after the changes that had not settled when their turns returned, and journals how those ended that have; says
    /// which. A host does so about as often as it looks at its resources; [`turn`](Self::turn) and
    /// [`tend_all`](Self::tend_all) do it too.
    pub fn settle(&self) -> Vec<Change> {
        // Taken out, so that no two ask after the same, and resources are asked under no lock.
        let asked_after = std::mem::take(&mut *self.settling.lock());
        let (mut ended, mut settling) = (Vec::new(), Vec::new());
        for Settling { mut change, began } in asked_after {
            let end = match self.get(&change.address) {
                Ok(resource) => resource.settled(&change.knob, &change.to).map(|end| match end {
                    Ok(()) => Outcome::Applied,
                    Err(error) => Outcome::Failed(error.to_string()),
                }),
                Err(_) => Some(Outcome::Unknown("the resource was gone before it had settled".to_owned())),
            };
            let Some(outcome) = end else {
                settling.push(Settling { change, began });
                continue;
            };
            (change.outcome, change.took) = (outcome, began.elapsed());
            self.journal.end(&change);
            ended.push(change);
        }
        if !settling.is_empty() {
            self.settling.lock().extend(settling);
        }
        ended
    }

    /// Lets a resource turn a knob of its own, and journals it with its reason if it did, or tried to.
    pub fn tend(&self, resource: &dyn Resource, at: Moment) -> Option<Change> {
        let OwnTurn { knob, from, to, reason, turned } = resource.tend(at)?;
        let (outcome, took) = match turned {
            Ok(took) => (Outcome::Applied, took),
            Err(error) => (Outcome::Failed(error.to_string()), Duration::ZERO),
        };
        let (actor, address, knob, reason) = (Actor::Auto, resource.address().clone(), knob.to_owned(), Some(reason));
        Some(self.journal.record(|id, at| Change { id, at, actor, address, knob, from, to, outcome, took, reason }))
    }

    /// Tends all resources, and has changes settle that had not; says what resources turned. A host does so about once a second, on a thread that may wait:
    ///
    /// ```
    /// use rheostat_runtime::observe::{Registry, now};
    /// use rheostat_runtime::pool::{LevelAsked, Pool, PoolLimits};
    ///
    /// let registry = Registry::new();
    /// registry.add(Pool::new("blocks", LevelAsked::Auto, PoolLimits::default()).unwrap()).unwrap();
    /// for change in registry.tend_all(now()) {
    ///     println!("{}: {} to {}, as {}", change.address, change.from, change.to, change.reason.unwrap_or_default());
    /// }
    /// ```
    pub fn tend_all(&self, at: Moment) -> Vec<Change> {
        self.settle();
        self.all().iter().filter_map(|resource| self.tend(&**resource, at)).collect()
    }
}

#[cfg(all(test, not(any(rt_loom, rt_shuttle))))]
mod tests {
    use super::*;
    use crate::observe::now;

    /// A resource that tries to turn a knob of its own whenever it is tended.
    struct Restless(Address);

    impl Resource for Restless {
        fn address(&self) -> &Address {
            &self.0
        }

        fn read(&self, _: &mut Reading) {}

        fn knobs(&self) -> Vec<Knob> {
            Vec::new()
        }

        fn turn(&self, knob: &str, _: &Value) -> Result<Turned, TurnError> {
            Err(TurnError::UnknownKnob { resource: self.0.to_string(), knob: knob.to_owned(), has: Vec::new() })
        }

        fn tend(&self, _: Moment) -> Option<OwnTurn> {
            let (from, to) = (Value::Integer(1), Value::Integer(2));
            let why = "no room".to_owned();
            let turned = Err(TurnError::Failed { knob: "size".to_owned(), why });
            Some(OwnTurn { knob: "size", from, to, reason: "ü".repeat(1000), turned })
        }
    }

    /// A resource whose turns settle when a test says how.
    struct Slow {
        address: Address,
        end: Mutex<Option<Result<(), TurnError>>>,
    }

    impl Resource for Slow {
        fn address(&self) -> &Address {
            &self.address
        }

        fn read(&self, _: &mut Reading) {}

        fn knobs(&self) -> Vec<Knob> {
            let (value, range) = (Value::Integer(1), crate::observe::Range::Integer { min: 1, max: 9 });
            vec![Knob { name: "size", value, range, unit: "", help: "" }]
        }

        fn turn(&self, _: &str, to: &Value) -> Result<Turned, TurnError> {
            let (from, took) = (Value::Integer(1), Duration::ZERO);
            Ok(Turned { from, to: to.clone(), took, settled: false, reason: None })
        }

        fn settled(&self, _: &str, _: &Value) -> Option<Result<(), TurnError>> {
            self.end.lock().clone()
        }
    }

    #[test]
    fn a_change_that_settles_late_is_journalled_again_with_its_end() {
        let registry = Registry::new();
        let slow = Arc::new(Slow { address: "map.slow".parse().unwrap(), end: Mutex::new(None) });
        registry.add(slow.clone()).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = heard.clone();
        registry.journal().on_change(move |change| ears.lock().push((change.id, change.outcome.clone())));
        let turn = || registry.turn(&slow.address, "size", Value::Integer(2), Actor::Process).unwrap();
        let end_with = |end| *slow.end.lock() = Some(end);

        assert_eq!(turn().outcome, Outcome::Settling);
        assert_eq!((registry.settle(), registry.journal().since(0)[0].outcome.clone()), (vec![], Outcome::Settling));
        end_with(Ok(()));
        let [ended] = registry.settle().try_into().unwrap();
        assert_eq!((ended.id, &ended.outcome, registry.settle()), (1, &Outcome::Applied, vec![]), "told once");
        assert!(ended.took > Duration::ZERO, "as long as it took to its end");
        assert_eq!(registry.journal().since(0), [ended], "in the place of the one that was settling");

        // The next turn asks first: after it, another's end could not be told from this one's.
        turn();
        end_with(Err(TurnError::Failed { knob: "size".to_owned(), why: "no room".to_owned() }));
        turn();
        let failed = Outcome::Failed("size was not turned: no room".to_owned());
        assert_eq!(registry.journal().since(1)[0].outcome, failed);
        registry.remove(&slow.address);
        assert!(matches!(registry.settle()[0].outcome, Outcome::Unknown(_)), "nobody is left to ask");

        let ids: Vec<_> = heard.lock().iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn what_a_resource_tried_of_its_own_accord_is_journalled_with_both_reasons() {
        let registry = Registry::new();
        registry.add(Arc::new(Restless("pool.restless".parse().unwrap()))).unwrap();
        let [change] = registry.tend_all(now()).try_into().unwrap();
        assert_eq!((change.id, &change.actor, change.knob.as_str()), (1, &Actor::Auto, "size"));
        assert!(matches!(&change.outcome, Outcome::Failed(why) if why.contains("no room")), "{:?}", change.outcome);
        assert_eq!(change.reason.as_deref(), Some("ü".repeat(400).as_str()), "of bounded length");
        assert_eq!(registry.journal().since(0), [change]);
    }
}
