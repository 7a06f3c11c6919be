//! User code that panics at its Nth call, for every N and on every backend: the operation has happened or it has not, the
//! map is whole, and every copy is dropped once. And keys that all have one hash.
#![cfg(not(any(rt_loom, rt_shuttle)))]

mod bitmap;

use bitmap::{Bitmap, Item};
use rheostat_runtime::map::{Backend, Map};
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Arc, Once};
use std::thread;

/// More copies of keys and values than a trial makes.
const COPIES: usize = 1 << 18;

/// Which calls of user code are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    CloneKey,
    CloneValue,
    CompareKeys,
    CompareValues,
    Hash,
    Closure,
    Drop,
}

const CALLS: [Call; 7] =
    [Call::CloneKey, Call::CloneValue, Call::CompareKeys, Call::CompareValues, Call::Hash, Call::Closure, Call::Drop];

/// Counts down the calls of one kind and panics at the last.
struct Fuse {
    call: Call,
    left: AtomicUsize,
    armed: AtomicBool,
}

const PURPOSE: &str = "on purpose";

impl Fuse {
    fn new(call: Call) -> Arc<Self> {
        Arc::new(Self { call, left: AtomicUsize::new(0), armed: AtomicBool::new(false) })
    }

    /// Blows at the call of that number from now on.
    fn set(&self, at: usize) {
        self.left.store(at, Relaxed);
    }

    fn step(&self, call: Call) {
        if call == self.call && self.armed.load(Relaxed) && !thread::panicking() {
            let left = self.left.load(Relaxed);
            self.left.store(left.saturating_sub(1), Relaxed);
            assert_ne!(left, 1, "{PURPOSE}");
        }
    }

    fn arm(&self, armed: bool) {
        self.armed.store(armed, Relaxed);
    }

    fn has_blown(&self) -> bool {
        self.left.load(Relaxed) == 0
    }
}

/// Keeps those panics that are meant out of the output.
fn hush() {
    static HUSHED: Once = Once::new();
    HUSHED.call_once(|| {
        let loud = take_hook();
        set_hook(Box::new(move |panic| {
            if !panic.payload_as_str().is_some_and(|message| message.contains(PURPOSE)) {
                loud(panic);
            }
        }));
    });
}

struct Key {
    item: Item,
    fuse: Arc<Fuse>,
}

impl Clone for Key {
    fn clone(&self) -> Self {
        self.fuse.step(Call::CloneKey);
        Self { item: self.item.clone(), fuse: self.fuse.clone() }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fuse.step(Call::Hash);
        self.item.number.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.fuse.step(Call::CompareKeys);
        self.item == other.item
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.fuse.step(Call::CompareKeys);
        self.item.number.cmp(&other.item.number)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.fuse.step(Call::Drop);
    }
}

struct Value {
    item: Item,
    fuse: Arc<Fuse>,
}

impl Clone for Value {
    fn clone(&self) -> Self {
        self.fuse.step(Call::CloneValue);
        Self { item: self.item.clone(), fuse: self.fuse.clone() }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.fuse.step(Call::CompareValues);
        self.item == other.item
    }
}

impl Eq for Value {}

impl Drop for Value {
    fn drop(&mut self) {
        self.fuse.step(Call::Drop);
    }
}

/// What an operation gave, or `None` when it panicked.
fn attempt<R>(operation: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(operation)).ok()
}

/// A map, and what must be in it.
struct Trial {
    map: Map<Key, Value>,
    model: BTreeMap<u64, u64>,
    bitmap: Arc<Bitmap>,
    fuse: Arc<Fuse>,
    /// Times that everything was done to a key.
    rounds: usize,
}

impl Trial {
    fn new(backend: Backend, fuse: Arc<Fuse>) -> Self {
        Self { map: Map::new(backend), model: BTreeMap::new(), bitmap: Bitmap::new(COPIES), fuse, rounds: 0 }
    }

    fn key(&self, number: u64) -> Key {
        Key { item: Item::new(number, &self.bitmap), fuse: self.fuse.clone() }
    }

    fn value(&self, number: u64) -> Value {
        Value { item: Item::new(number, &self.bitmap), fuse: self.fuse.clone() }
    }

    fn what(&self) -> String {
        format!("{} after a panic in {:?}", self.map.backend(), self.fuse.call)
    }

    /// Runs an operation on a key with the fuse armed. It has to return `expected`, or panic; the key is to be as before, or
    /// as `after`, and that if it returned.
    fn run<R: PartialEq + std::fmt::Debug>(
        &mut self,
        number: u64,
        operation: impl FnOnce(&Self, &Key) -> R,
        expected: R,
        after: Option<u64>,
    ) {
        let before = self.model.get(&number).copied();
        let key = self.key(number);
        self.fuse.arm(true);
        let returned = attempt(|| operation(self, &key));
        self.fuse.arm(false);
        let now = self.map.get_with(&key, |value| value.item.number);
        match returned {
            Some(returned) => assert_eq!((returned, now), (expected, after), "key {number}, {}", self.what()),
            None => assert!(now == before || now == after, "{now:?}, was {before:?}, to be {after:?}: {}", self.what()),
        }
        now.map(|now| self.model.insert(number, now)).unwrap_or_else(|| self.model.remove(&number));
    }

    /// Every operation there is.
    fn run_all(&mut self, number: u64) {
        let number_of = |value: &Value| value.item.number;
        let taken = |value: Option<Value>| value.map(|value| value.item.number);
        let had = |trial: &Self| trial.model.get(&number).copied();
        let next = 1 + had(self).unwrap_or(0);

        let was = had(self);
        self.run(number, |trial, key| taken(trial.map.get(key)), was, was);
        self.run(number, |trial, key| trial.map.contains(key), was.is_some(), was);
        let look = |trial: &Self, key: &Key| {
            trial.map.get_with(key, |value| {
                trial.fuse.step(Call::Closure);
                number_of(value)
            })
        };
        self.run(number, look, was, was);
        self.run(number, |trial, key| taken(trial.map.insert(key.clone(), trial.value(next))), was, Some(next));

        let was = had(self);
        let add = |trial: &Self, value: &Value| {
            trial.fuse.step(Call::Closure);
            trial.value(number_of(value) + 1)
        };
        let after = was.map(|was| was + 1);
        self.run(number, |trial, key| taken(trial.map.update(key, |value| add(trial, value))), was, after);

        let was = had(self);
        let after = Some(was.map_or(7, |was| was + 1));
        let upsert =
            |trial: &Self, key: &Key| taken(trial.map.upsert(key.clone(), trial.value(7), |value| add(trial, value)));
        self.run(number, upsert, was, after);

        let was = had(self);
        let refused = |trial: &Self, key: &Key| taken(trial.map.insert_if_absent(key.clone(), trial.value(8)).err());
        self.run(number, refused, was.map(|_| 8), was.or(Some(8)));

        let was = had(self);
        let exchange = |trial: &Self, key: &Key| {
            let (current, new) = (trial.value(was.unwrap_or(0)), trial.value(next));
            trial.map.compare_exchange(key, &current, &new).map(|value| number_of(&value)).map_err(taken)
        };
        self.run(number, exchange, was.ok_or(None), was.and(Some(next)));

        let was = had(self);
        self.rounds += 1;
        if self.rounds.is_multiple_of(100) {
            self.walk(number);
        }
        let remove_if = |trial: &Self, key: &Key| {
            taken(trial.map.remove_if(key, |value| {
                trial.fuse.step(Call::Closure);
                number_of(value) % 2 == 0
            }))
        };
        let is_even = was.is_some_and(|was| was % 2 == 0);
        self.run(number, remove_if, was.filter(|_| is_even), was.filter(|_| !is_even));

        let was = had(self);
        if number % 2 == 1 {
            self.run(number, |trial, key| taken(trial.map.remove(key)), was, None);
        }
    }

    /// What looks at every entry.
    fn walk(&mut self, number: u64) {
        let was = self.model.get(&number).copied();
        let keeps = |trial: &Self, key: &Key| {
            trial.map.retain(|_, _| {
                trial.fuse.step(Call::Closure);
                true
            }) + usize::from(trial.map.remove_if(key, |_| false).is_some())
        };
        self.run(number, keeps, 0, was);
        let len = self.model.len();
        let shown = |trial: &Self, _: &Key| {
            let mut shown = 0;
            trial.map.for_each(|_, _| {
                trial.fuse.step(Call::Closure);
                shown += 1;
            });
            (shown, trial.map.scan(None, 1000).0.len(), trial.map.len())
        };
        self.run(number, shown, (len, len, len), was);
    }

    /// From another thread, that would find a lock left behind: what must be there is, and goes out once.
    fn end(self) {
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut shown, what) = (BTreeMap::new(), self.what());
                self.map.for_each(|key, value| _ = shown.insert(key.item.number, value.item.number));
                assert_eq!((&shown, self.map.len()), (&self.model, self.model.len()), "{what}");
                let removed = |number: &u64| self.map.remove(&self.key(*number)).map(|value| value.item.number);
                self.model.iter().for_each(|(number, value)| assert_eq!(removed(number), Some(*value), "{what}"));
                assert!(self.map.is_empty(), "{what}");
            });
        });
        let (what, is_foreign) = (self.what(), matches!(self.map.backend(), Backend::Papaya | Backend::LockFree));
        let Self { map, bitmap, fuse, .. } = self;
        drop(map);
        // What a function is about to return is leaked when the drop of something local to it panics
        // (https://github.com/rust-lang/rust/issues/47949), and papaya and flurry leak the entry on its way in when a
        // comparison does. Nothing is dropped twice, which its drop would say.
        if fuse.call != Call::Drop && !(fuse.call == Call::CompareKeys && is_foreign) {
            bitmap.assert_all_dropped(&what);
        }
    }
}

/// What the headers of the backends do not promise.
fn is_promised(backend: Backend, call: Call) -> bool {
    // Where memory is freed by others' rules, a `Drop` that panics ends the process.
    !(call == Call::Drop && backend == Backend::LockFree)
}

fn panics_at_any_call(backend: Backend) {
    hush();
    for call in CALLS.into_iter().filter(|call| is_promised(backend, *call)) {
        let fuse = Fuse::new(call);
        let mut trial = Trial::new(backend, fuse.clone());
        for at in 1..=200 {
            fuse.set(at);
            // Few keys: flurry clones keys as it grows, and does not survive a panic there (see its module).
            for number in (0..7).cycle().take(7 * 40) {
                trial.run_all(number);
                if fuse.has_blown() {
                    break;
                }
            }
            assert!(fuse.has_blown(), "{backend} has not come to {call:?} number {at}");
            trial.run_all(3);
        }
        trial.end();
    }
}

#[test]
fn a_panic_at_any_call_leaves_sharded_whole() {
    panics_at_any_call(Backend::Sharded);
}

#[test]
fn a_panic_at_any_call_leaves_lock_free_whole() {
    panics_at_any_call(Backend::LockFree);
}

#[test]
fn a_panic_at_any_call_leaves_papaya_whole() {
    panics_at_any_call(Backend::Papaya);
}

#[test]
fn a_panic_at_any_call_leaves_fixed_whole() {
    panics_at_any_call(Backend::Fixed);
}

#[test]
fn a_panic_at_any_call_leaves_flat_whole() {
    panics_at_any_call(Backend::Flat);
}

#[test]
fn a_panic_at_any_call_while_a_map_grows_leaves_it_whole() {
    hush();
    // Those that grow, but flurry (see its module).
    for backend in [Backend::Sharded, Backend::Papaya, Backend::Flat] {
        for call in [Call::CloneKey, Call::CompareKeys, Call::Hash] {
            for at in 1..=200 {
                let fuse = Fuse::new(call);
                fuse.set(at);
                let mut trial = Trial::new(backend, fuse);
                for number in 0..100 {
                    let insert = |trial: &Trial, key: &Key| trial.map.insert(key.clone(), trial.value(1)).is_some();
                    trial.run(number, insert, false, Some(1));
                }
                trial.end();
            }
        }
    }
}

/// A key that hashes as every other does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Same(u32);

impl Hash for Same {
    fn hash<H: Hasher>(&self, state: &mut H) {
        0_u32.hash(state);
    }
}

/// As many keys of one hash as a backend holds: papaya takes some twenty (see its module).
fn same_keys(backend: Backend) -> u32 {
    if backend == Backend::Papaya { 12 } else { 200 }
}

/// Threads that add to all keys, and put and remove one of their own each. Returns how often each was added to.
fn use_same_keys(map: &Map<Same, u64>, keys: u32, each: usize, meanwhile: impl FnOnce()) {
    const THREADS: u32 = 4;
    let olds: Vec<(u32, u64)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    fastrand::seed(u64::from(thread));
                    let own = Same(keys - 1 - thread);
                    let mut olds = Vec::new();
                    for number in 0..each as u64 {
                        assert_eq!(map.insert(own.clone(), number), None);
                        let key = fastrand::u32(..keys - THREADS);
                        olds.push((key, map.update(&Same(key), |old| old + 1).expect("never removed")));
                        assert_eq!(map.remove(&own), Some(number));
                        assert_eq!(map.get(&own), None);
                    }
                    olds
                })
            })
            .collect();
        meanwhile();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let mut by_key = BTreeMap::<u32, Vec<u64>>::new();
    olds.into_iter().for_each(|(key, old)| by_key.entry(key).or_default().push(old));
    for (key, mut olds) in by_key {
        olds.sort_unstable();
        let added = olds.len() as u64;
        assert!(olds.into_iter().eq(0..added), "old values of {key} are no permutation on {}", map.backend());
        assert_eq!(map.get(&Same(key)), Some(added));
        map.insert(Same(key), 0);
    }
    assert_eq!(map.len(), (keys - THREADS) as usize);
}

fn map_of_same_keys(backend: Backend, keys: u32) -> Map<Same, u64> {
    let map = Map::new(backend);
    (0..keys - 4).for_each(|key| assert_eq!(map.insert(Same(key), 0), None));
    map
}

#[test]
fn keys_of_one_hash_are_kept_apart_under_many_threads() {
    for backend in Backend::ALL {
        let keys = same_keys(backend);
        let map = map_of_same_keys(backend, keys);
        use_same_keys(&map, keys, 1000, || ());
        assert_eq!(map.scan(None, 1).0.len(), (keys - 4) as usize, "entries of one position come in one page");
        assert_eq!(map.clear(), (keys - 4) as usize);
    }
}

#[test]
fn keys_of_one_hash_are_kept_apart_while_the_map_moves() {
    for from in Backend::ALL {
        for to in Backend::ALL {
            let keys = same_keys(from).min(same_keys(to));
            let map = map_of_same_keys(from, keys);
            use_same_keys(&map, keys, 200, || _ = map.turn(to).unwrap().wait(None));
            assert_eq!(map.backend(), to);
        }
    }
}
