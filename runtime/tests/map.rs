//! Maps on every backend.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use proptest::prelude::*;
use rheostat_runtime::map::{
    Backend, Bytes, BytesMap, CounterMap, Cursor, HostedMap, Map, MapError, MapLimits, WordMap,
};
use rheostat_runtime::observe::families::{
    MAP_BACKEND, MAP_BYTES, MAP_BYTES_LIMIT, MAP_CAS_FAILURES, MAP_ENTRIES, MAP_ENTRIES_LIMIT, MAP_LOCK_CONTENTIONS,
    MAP_LOCK_WAIT, MAP_OPS, MAP_REFUSED, MAP_SHARD_CONTENTIONS, MAP_SHARD_OPS, MAP_SHARD_SKEW,
};
use rheostat_runtime::observe::{Family, Measure, Reading, Resource, TurnError, Value};
use rheostat_runtime::reclaim;
use std::borrow::Borrow;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;

const THREADS: usize = 4;
/// Rounds of a stress test: enough to interleave, short in an unoptimised build.
const ROUNDS: usize = if cfg!(debug_assertions) { 20_000 } else { 200_000 };

fn on_every_backend<K, V>(check: impl Fn(Map<K, V>))
where
    K: Hash + Ord + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Backend::ALL.into_iter().for_each(|backend| check(Map::new(backend)));
}

fn counters(limits: MapLimits, check: impl Fn(&CounterMap)) {
    Backend::ALL.into_iter().for_each(|backend| check(&CounterMap::new("tested", backend, limits).unwrap()));
}

fn read(map: &impl Resource) -> Reading {
    let mut reading = Reading::default();
    map.read(&mut reading);
    reading
}

/// All entries, page by page.
fn scan_all<K, V>(map: &Map<K, V>, limit: usize) -> Vec<(K, V)>
where
    K: Hash + Ord + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    let (mut entries, mut cursor) = (Vec::new(), None);
    loop {
        let (page, next) = map.scan(cursor, limit);
        entries.extend(page);
        match next {
            Some(_) => cursor = next,
            None => return entries,
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    Insert(u8, i32),
    Remove(u8),
    InsertIfAbsent(u8, i32),
    Update(u8, i32),
    Upsert(u8, i32),
    CompareExchange(u8, i32, i32),
    RemoveIf(u8, i32),
    Retain(i32),
    Reserve(usize),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..40u8;
    // Few values, so that comparisons hit.
    let value = || 0..4i32;
    let step = prop_oneof![
        4 => key().prop_map(Step::Get),
        6 => (key(), value()).prop_map(|(key, value)| Step::Insert(key, value)),
        4 => key().prop_map(Step::Remove),
        4 => (key(), any::<i32>()).prop_map(|(key, value)| Step::Update(key, value)),
        4 => (key(), any::<i32>()).prop_map(|(key, value)| Step::Upsert(key, value)),
        4 => (key(), value()).prop_map(|(key, value)| Step::InsertIfAbsent(key, value)),
        4 => (key(), value(), value()).prop_map(|(key, seen, new)| Step::CompareExchange(key, seen, new)),
        4 => (key(), value()).prop_map(|(key, value)| Step::RemoveIf(key, value)),
        1 => value().prop_map(Step::Retain),
        1 => (0..500usize).prop_map(Step::Reserve),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_thread_sees_a_plain_map(steps in steps(), limit in 1..50usize) {
        for backend in Backend::ALL {
            let map = Map::<u8, i32>::new(backend);
            let mut model = HashMap::new();
            for step in &steps {
                match *step {
                    Step::Get(key) => {
                        prop_assert_eq!(map.get(&key), model.get(&key).copied());
                        prop_assert_eq!(map.get_with(&key, |value| value / 2), model.get(&key).map(|value| value / 2));
                        prop_assert_eq!(map.contains(&key), model.contains_key(&key));
                    }
                    Step::Insert(key, value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    Step::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    Step::Update(key, n) => {
                        let replaced = model.get_mut(&key).map(|value| {
                            let old = *value;
                            *value = old.wrapping_mul(3) ^ n;
                            old
                        });
                        prop_assert_eq!(map.update(&key, |value| value.wrapping_mul(3) ^ n), replaced);
                    }
                    Step::Upsert(key, n) => {
                        let replaced = model.get(&key).copied();
                        model.entry(key).and_modify(|value| *value ^= n).or_insert(n);
                        prop_assert_eq!(map.upsert(key, n, |value| value ^ n), replaced);
                    }
                    Step::InsertIfAbsent(key, value) => {
                        let there = model.contains_key(&key);
                        prop_assert_eq!(map.insert_if_absent(key, value), if there { Err(value) } else { Ok(()) });
                        model.entry(key).or_insert(value);
                    }
                    Step::CompareExchange(key, seen, new) => {
                        let expected = match model.get_mut(&key) {
                            Some(value) if *value == seen => Ok(std::mem::replace(value, new)),
                            other => Err(other.copied()),
                        };
                        prop_assert_eq!(map.compare_exchange(&key, &seen, &new), expected);
                    }
                    Step::RemoveIf(key, limit) => {
                        let goes = model.get(&key).copied().filter(|value| *value <= limit);
                        goes.inspect(|_| _ = model.remove(&key));
                        prop_assert_eq!(map.remove_if(&key, |value| *value <= limit), goes);
                    }
                    Step::Retain(limit) => {
                        let before = model.len();
                        model.retain(|key, value| *value != limit || key % 2 == 0);
                        prop_assert_eq!(map.retain(|key, value| *value != limit || key % 2 == 0), before - model.len());
                    }
                    Step::Reserve(additional) => map.reserve(additional),
                    Step::Clear => {
                        prop_assert_eq!(map.clear(), model.len());
                        model.clear();
                    }
                }
                prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
            }
            let scanned = scan_all(&map, limit);
            prop_assert_eq!(scanned.len(), model.len());
            prop_assert_eq!(scanned.into_iter().collect::<HashMap<_, _>>(), model.clone());
            let sum = |sum: i64, value: &i32| sum.wrapping_add(i64::from(*value));
            prop_assert_eq!(map.fold(0, |so_far, _, value| sum(so_far, value)), model.values().fold(0, sum));
        }
    }

    #[test]
    fn the_top_is_the_head_of_the_sorted(counts in prop::collection::btree_map(0..60u8, -5..5i64, 0..60), n in 0..70usize) {
        for backend in Backend::ALL {
            let map = CounterMap::new("tested", backend, MapLimits::default()).unwrap();
            counts.iter().for_each(|(&key, &count)| assert_eq!(map.add(&[key], count), Ok(count)));
            let mut sorted: Vec<(Box<[u8]>, i64)> = counts.iter().map(|(&key, &n)| (Box::from([key]), n)).collect();
            sorted.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
            sorted.truncate(n);
            prop_assert_eq!(map.top(n), sorted);
        }
    }
}

#[test]
fn no_update_is_lost() {
    on_every_backend(|map: Map<u32, i64>| {
        let added = AtomicI64::new(0);
        thread::scope(|scope| {
            for seed in 0..THREADS {
                let (map, added) = (&map, &added);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed as u64);
                    for _ in 0..ROUNDS / 2 {
                        let (key, n) = (random.u32(0..4), random.i64(1..10));
                        map.upsert(key, n, |value| value + n);
                        added.fetch_add(n, Relaxed);
                    }
                });
            }
        });
        assert_eq!(map.fold(0, |sum, _, value| sum + value), added.load(Relaxed), "{}", map.backend());
    });
}

#[test]
fn concurrent_adds_return_each_sum_once() {
    counters(MapLimits::default(), |map| {
        let sums: Vec<HashSet<i64>> = thread::scope(|scope| {
            let adders: Vec<_> = (0..THREADS)
                .map(|_| scope.spawn(|| (0..ROUNDS / 4).map(|_| map.add(b"hot", 1).unwrap()).collect()))
                .collect();
            adders.into_iter().map(|adder| adder.join().unwrap()).collect()
        });
        let total = THREADS * (ROUNDS / 4);
        let all: HashSet<i64> = sums.into_iter().flatten().collect();
        assert_eq!(all, (1..=total as i64).collect(), "{}", map.backend());
        assert_eq!((map.get(b"hot"), map.len()), (Some(total as i64), 1));
    });
}

/// Adders, removers and replacers on few keys: whatever was accepted is in a value that came out, or still inside.
#[test]
fn removal_accounts_for_every_add() {
    counters(MapLimits::default(), |map| {
        let (put_in, taken_out) = (AtomicI64::new(0), AtomicI64::new(0));
        thread::scope(|scope| {
            for seed in 0..THREADS {
                let (put_in, taken_out) = (&put_in, &taken_out);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed as u64);
                    for _ in 0..ROUNDS {
                        let key = [random.u8(0..3)];
                        match random.u8(0..8) {
                            0 | 1 => _ = taken_out.fetch_add(map.remove(&key).unwrap_or(0), Relaxed),
                            2 => {
                                let replaced = map.insert(&key, 100).unwrap();
                                put_in.fetch_add(100, Relaxed);
                                taken_out.fetch_add(replaced.unwrap_or(0), Relaxed);
                            }
                            _ => {
                                assert!(map.add(&key, 7).unwrap() >= 7);
                                put_in.fetch_add(7, Relaxed);
                            }
                        }
                    }
                });
            }
        });
        let inside: i64 = map.scan(None, 10).0.into_iter().map(|(_, value)| value).sum();
        assert_eq!(put_in.load(Relaxed), taken_out.load(Relaxed) + inside, "{}", map.backend());
        assert_eq!(map.len(), map.scan(None, 10).0.len(), "places taken and entries agree when it is quiet");
    });
}

#[test]
fn one_thread_at_a_time_wins_a_key() {
    on_every_backend(|map: Map<u32, usize>| {
        for key in 0..200 {
            let start = Barrier::new(THREADS);
            let inserted = AtomicUsize::new(0);
            let removed = AtomicUsize::new(0);
            thread::scope(|scope| {
                for index in 0..THREADS {
                    let (map, start, inserted, removed) = (&map, &start, &inserted, &removed);
                    scope.spawn(move || {
                        start.wait();
                        if map.upsert(key, index, |winner| *winner).is_none() {
                            inserted.fetch_add(1, Relaxed);
                        }
                        start.wait();
                        if map.remove(&key).is_some() {
                            removed.fetch_add(1, Relaxed);
                        }
                    });
                }
            });
            assert_eq!((inserted.into_inner(), removed.into_inner()), (1, 1), "{}", map.backend());
        }
    });
}

#[test]
fn counters_stop_at_both_ends() {
    counters(MapLimits::default(), |map| {
        assert_eq!(map.add(b"up", i64::MAX), Ok(i64::MAX));
        assert_eq!(map.add(b"up", 1), Ok(i64::MAX));
        assert_eq!(map.add(b"down", i64::MIN), Ok(-i64::MAX));
        assert_eq!(map.add(b"down", -1), Ok(-i64::MAX));
        assert_eq!(map.insert(b"down", i64::MIN), Ok(Some(-i64::MAX)));
        assert_eq!((map.get(b"down"), map.remove(b"down")), (Some(-i64::MAX), Some(-i64::MAX)));
    });
}

#[test]
fn closures_may_use_the_map_they_are_given_to() {
    on_every_backend(|map: Map<u32, u32>| {
        (0..1000).for_each(|key| _ = map.insert(key, key));
        // The key itself and, among a thousand, one of its own shard: a lock held here would never be had again.
        map.update(&7, |value| {
            (0..1000).for_each(|key| assert!(map.contains(&key)));
            (1000..2000).for_each(|key| _ = map.insert(key, 0));
            value + 1
        });
        assert_eq!((map.get(&7), map.len()), (Some(8), 2000));
        map.upsert(8, 0, |value| map.insert(9, 0).unwrap_or(*value));
        assert_eq!(map.remove_if(&10, |_| map.remove(&11).is_some()), Some(10));
        assert_eq!(map.retain(|key, _| key % 2 == 0 || !map.contains(key)), 999);
        map.for_each(|key, _| _ = map.remove(key));
        assert!(map.is_empty());
    });
}

#[test]
fn a_view_that_uses_a_map_panics_rather_than_hangs() {
    on_every_backend(|map: Map<u32, u32>| {
        map.insert(1, 10);
        let entered = catch_unwind(AssertUnwindSafe(|| map.get_with(&1, |_| map.insert(1, 11))));
        let message = *entered.unwrap_err().downcast::<&str>().unwrap();
        assert!(message.contains("get_with"), "{message}");
        assert_eq!((map.get(&1), map.insert(1, 12), map.get_with(&1, |value| *value)), (Some(10), Some(10), Some(12)));
    });
}

#[test]
fn a_closure_that_panics_leaves_the_map_whole() {
    on_every_backend(|map: Map<u32, u32>| {
        (0..100).for_each(|key| _ = map.insert(key, key));
        let panics = |call: &dyn Fn()| assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
        panics(&|| _ = map.update(&5, |_| panic!("update")));
        panics(&|| _ = map.upsert(5, 0, |_| panic!("upsert")));
        panics(&|| _ = map.remove_if(&5, |_| panic!("remove_if")));
        panics(&|| _ = map.retain(|key, _| panic!("retain {key}")));
        panics(&|| _ = map.get_with(&5, |_| panic!("get_with")));
        panics(&|| map.for_each(|key, _| assert_ne!(*key, 50, "for_each")));
        panics(&|| map.fold((), |(), key, _| assert_ne!(*key, 50, "fold")));
        // From another thread: a lock left behind would show.
        thread::scope(|scope| {
            scope.spawn(|| (0..100).for_each(|key| assert_eq!(map.insert(key, key + 1), Some(key))));
        });
        assert_eq!((map.len(), map.fold(0, |sum, _, value| sum + value)), (100, 5050));
    });
}

thread_local! {
    /// How many more comparisons, hashes and clones of [`Touchy`] go well on this thread.
    static PATIENCE: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn touch() {
    let left = PATIENCE.get();
    PATIENCE.set(left.wrapping_sub(1));
    assert_ne!(left, 0, "touched once too often");
}

/// A key and value whose every operation may panic.
#[derive(Debug, PartialOrd, Ord, Eq)]
struct Touchy(u32);

impl PartialEq for Touchy {
    fn eq(&self, other: &Self) -> bool {
        touch();
        self.0 == other.0
    }
}

impl Hash for Touchy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        touch();
        self.0.hash(state);
    }
}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        touch();
        Self(self.0)
    }
}

/// Lets each of the first touches of `call` panic in turn, until none is left to.
fn at_every_touch(mut call: impl FnMut()) {
    for patience in 0.. {
        PATIENCE.set(patience);
        let ended = catch_unwind(AssertUnwindSafe(&mut call));
        PATIENCE.set(usize::MAX);
        if ended.is_ok() {
            return;
        }
    }
}

#[test]
fn keys_and_values_that_panic_leave_the_map_whole() {
    on_every_backend(|map: Map<Touchy, Touchy>| {
        // Few keys: flurry clones keys as it grows, and does not survive a panic there (see its module).
        let keys = || (0..8).map(Touchy);
        keys().for_each(|key| _ = map.insert(key, Touchy(0)));
        for key in 0..8 {
            at_every_touch(|| _ = map.get(&Touchy(key)));
            at_every_touch(|| _ = map.insert(Touchy(key), Touchy(1)));
            at_every_touch(|| _ = map.update(&Touchy(key), |value| Touchy(value.0 + 1)));
            at_every_touch(|| _ = map.upsert(Touchy(key), Touchy(9), |value| Touchy(value.0 + 1)));
            at_every_touch(|| _ = map.insert_if_absent(Touchy(key), Touchy(1)));
            at_every_touch(|| _ = map.compare_exchange(&Touchy(key), &map.get(&Touchy(key)).unwrap(), &Touchy(3)));
            at_every_touch(|| _ = map.remove_if(&Touchy(key), |_| false));
            at_every_touch(|| _ = map.retain(|_, _| true));
            at_every_touch(|| _ = map.scan(None, 3));
            at_every_touch(|| map.for_each(|_, _| ()));
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                let found: BTreeMap<u32, u32> =
                    scan_all(&map, 3).into_iter().map(|(key, value)| (key.0, value.0)).collect();
                assert_eq!(found.into_keys().collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
                keys().for_each(|key| assert!(map.remove(&key).is_some()));
                assert!(map.is_empty());
            });
        });
    });
}

#[test]
fn a_map_grows_whole_past_keys_that_panic() {
    on_every_backend(|map: Map<Touchy, ()>| {
        if map.backend() == Backend::LockFree {
            return; // See its module.
        }
        for key in 0..5000 {
            at_every_touch(|| _ = map.insert(Touchy(key), ()));
        }
        assert_eq!(map.len(), 5000);
        (0..5000).for_each(|key| assert!(map.contains(&Touchy(key)), "{key} was lost"));
    });
}

/// A value whose comparison uses a map.
#[derive(Clone)]
struct Nosy(std::sync::Weak<Map<u32, Nosy>>);

impl PartialEq for Nosy {
    fn eq(&self, _: &Self) -> bool {
        self.0.upgrade().unwrap().contains(&1)
    }
}

impl Eq for Nosy {}

#[test]
fn a_comparison_that_uses_a_map_panics_rather_than_hangs() {
    for backend in Backend::ALL {
        let map = Arc::new(Map::new(backend));
        map.insert(1, Nosy(Arc::downgrade(&map)));
        let entered = catch_unwind(AssertUnwindSafe(|| map.update(&1, Nosy::clone).is_some()));
        let message = *entered.unwrap_err().downcast::<&str>().unwrap();
        assert!(message.contains("Eq or Clone"), "{message}");
        assert_eq!(map.len(), 1);
    }
}

/// Every backend is asked for one key by many: whoever is told that it removed or exchanged did so alone.
#[test]
fn conditions_hold_when_they_take_effect() {
    on_every_backend(|map: Map<u32, usize>| {
        const LAST: usize = 2000;
        map.insert(0, 0);
        let exchanged = AtomicUsize::new(0);
        let removed = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                let (map, exchanged, removed) = (&map, &exchanged, &removed);
                scope.spawn(move || {
                    while removed.load(Relaxed) == 0 {
                        let Some(seen) = map.get(&0) else { continue };
                        let stepped = seen < LAST && map.compare_exchange(&0, &seen, &(seen + 1)).is_ok();
                        exchanged.fetch_add(usize::from(stepped), Relaxed);
                        removed.fetch_add(usize::from(map.remove_if(&0, |value| *value == LAST).is_some()), Relaxed);
                    }
                });
            }
        });
        assert_eq!((exchanged.into_inner(), removed.into_inner()), (LAST, 1), "{}", map.backend());
    });
}

#[test]
fn every_value_is_dropped_once() {
    on_every_backend(|map: Map<u32, Arc<()>>| {
        let (token, backend) = (Arc::new(()), map.backend());
        let mut out = Vec::new();
        for key in 0..500 {
            map.insert(key, token.clone());
            out.extend(map.insert(key, token.clone()));
        }
        out.extend((0..100).filter_map(|key| map.remove(&key)));
        assert_eq!(out.len(), 600);
        assert!(Arc::strong_count(&token) > 1000, "600 out, 400 in, and ours");
        map.for_each(|_, value| assert!(Arc::ptr_eq(value, &token)));
        drop((map, out));
        // What `fixed` and `flat` have unlinked is freed for the whole process, and other tests may be reading.
        while matches!(backend, Backend::Fixed | Backend::Flat) && Arc::strong_count(&token) > 1 {
            reclaim::synchronize().unwrap();
        }
        assert_eq!(Arc::strong_count(&token), 1, "{backend}");
    });
}

/// What a `u8` may be looked up as, beside itself.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Digit(u8);

impl Borrow<Digit> for u8 {
    fn borrow(&self) -> &Digit {
        static DIGITS: [Digit; 3] = [Digit(0), Digit(1), Digit(2)];
        &DIGITS[usize::from(*self)]
    }
}

#[test]
fn an_integer_may_be_looked_up_as_another_type() {
    on_every_backend(|map: Map<u8, u64>| {
        map.insert(1, 10);
        assert_eq!((map.get(&Digit(1)), map.get(&Digit(2)), map.get(&1)), (Some(10), None, Some(10)));
        assert_eq!(map.update(&Digit(1), |n| n + 1), Some(10));
        assert_eq!((map.remove(&Digit(1)), map.remove(&Digit(1)), map.len()), (Some(11), None, 0));
    });
}

/// All keys with one hash: pages must still end, and hold each key once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Alike(u32);

impl Hash for Alike {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(0);
    }
}

#[test]
fn keys_of_equal_hash_come_in_one_page() {
    on_every_backend(|map: Map<Alike, u32>| {
        if map.backend() == Backend::Papaya {
            return; // See its module.
        }
        (0..50).for_each(|key| _ = map.insert(Alike(key), key));
        let entries = scan_all(&map, 7);
        assert_eq!(entries, (0..50).map(|key| (Alike(key), key)).collect::<Vec<_>>());
        (0..50).for_each(|key| assert_eq!(map.remove(&Alike(key)), Some(key)));
    });
}

#[test]
fn pages_are_of_the_size_asked_for() {
    on_every_backend(|map: Map<u32, u32>| {
        assert_eq!(map.scan(None, 10), (vec![], None));
        (0..1000).for_each(|key| _ = map.insert(key, key));
        for limit in [1, 10, 999] {
            let (page, next) = map.scan(None, limit);
            assert!(page.len() == limit && next.is_some(), "{} entries of {limit}", page.len());
        }
        assert_eq!(map.scan(None, usize::MAX).0.len(), 1000);
        assert_eq!(map.scan(None, 0).0.len(), 1, "a page that holds nothing would never end");
    });
}

#[test]
fn a_scan_amid_writes_meets_what_stays_once_and_nothing_twice() {
    counters(MapLimits::default(), |map| {
        const STAY: u32 = 1000;
        (0..STAY).for_each(|key| _ = map.insert(&key.to_be_bytes(), 1).unwrap());
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for seed in 0..2 {
                let done = &done;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    while !done.load(Relaxed) {
                        // Comers and goers, and adds to those that stay; the map grows all the while.
                        let key = random.u32(STAY..10 * STAY).to_be_bytes();
                        map.add(&key, 1).unwrap();
                        map.add(&random.u32(0..STAY).to_be_bytes(), 1).unwrap();
                        map.remove(&random.u32(STAY..10 * STAY).to_be_bytes());
                    }
                });
            }
            for _ in 0..3 {
                let (mut seen, mut cursor) = (HashSet::new(), None::<Cursor>);
                loop {
                    let (page, next) = map.scan(cursor, 200);
                    for (key, _) in page {
                        assert!(seen.insert(key.clone()), "{key:?} came twice on {}", map.backend());
                    }
                    // As a client would: by way of text.
                    let Some(next) = next else { break };
                    cursor = Some(next.to_string().parse().unwrap());
                }
                let missing = (0..STAY).find(|key| !seen.contains(&key.to_be_bytes()[..]));
                assert_eq!(missing, None, "never came on {}", map.backend());
            }
            done.store(true, Relaxed);
        });
    });
}

#[test]
fn limits_are_kept_named_and_counted() {
    let limits = MapLimits { key_bytes_max: 4, value_bytes_max: 8, entries_max: 3, ..MapLimits::default() };
    for backend in Backend::ALL {
        let map = BytesMap::new("tested", backend, limits).unwrap();
        let value = |bytes: usize| Bytes::from(vec![b'v'; bytes]);
        assert_eq!(
            map.insert(b"long!", value(1)).unwrap_err(),
            MapError::KeyTooLong { map: "map.tested".into(), bytes: 5, max: 4 }
        );
        let long = map.insert(b"key", value(9)).unwrap_err();
        assert_eq!(long, MapError::ValueTooLong { map: "map.tested".into(), bytes: 9, max: 8 });
        assert!(long.to_string().contains("at most 8 bytes, not 9"), "{long}");
        for key in [b"a", b"b", b"c"] {
            assert_eq!(map.insert(key, value(8)), Ok(None));
        }
        assert_eq!(map.insert(b"d", value(1)), Err(MapError::Full { map: "map.tested".into(), max: 3 }));
        assert_eq!(map.insert(b"a", value(2)), Ok(Some(value(8))), "a full map still takes new values of its keys");
        assert_eq!(map.remove(b"b"), Some(value(8)));
        assert_eq!(map.insert(b"d", value(1)), Ok(None));
        map.clear();
        assert!(map.is_empty());
        (0..3).for_each(|key| assert_eq!(map.insert(&[key], value(0)), Ok(None)));

        let refused = read(&*map);
        let refused = refused.samples.iter().filter(|sample| sample.family == &MAP_REFUSED);
        let refused: Vec<_> = refused.map(|sample| (sample.labels[0], format!("{:?}", sample.measure))).collect();
        let once = || "Total(1)".to_owned();
        assert_eq!(refused[..3], [("full", once()), ("key_too_long", once()), ("value_too_long", once())]);
        assert_eq!(refused[3..], ["out_of_bytes", "no_block"].map(|reason| (reason, "Total(0)".to_owned())));
    }
}

#[test]
fn a_hand_over_that_needs_too_much_memory_is_refused_before_it_starts() {
    let limits = MapLimits { turn_bytes_max: 10_000, ..MapLimits::default() };
    let map = CounterMap::new("tested", Backend::Sharded, limits).unwrap();
    (0..1000u32).for_each(|key| _ = map.add(&key.to_le_bytes(), 1).unwrap());
    let to = Value::Choice("flat".into());
    let refused = map.turn("backend", &to).unwrap_err().to_string();
    assert!(refused.contains("1000 entries on flat need about") && refused.contains("turn_bytes_max"), "{refused}");
    assert_eq!((map.backend(), map.len()), (Backend::Sharded, 1000));
    (100..1000u32).for_each(|key| _ = map.remove(&key.to_le_bytes()).unwrap());
    map.turn("backend", &to).unwrap();
    assert_eq!((map.backend(), map.len()), (Backend::Flat, 100));
}

#[test]
fn bytes_are_limited_and_given_back() {
    let value = |bytes: usize| Bytes::from(vec![b'v'; bytes]);
    // A slot of two fat pointers, the key, the value with its two counts.
    let entry = |bytes: usize| 2 * size_of::<Box<[u8]>>() + 1 + bytes + 2 * size_of::<usize>();
    let limits = MapLimits { bytes_max: entry(10) + entry(20), ..MapLimits::default() };
    for backend in Backend::ALL {
        let map = BytesMap::new("tested", backend, limits).unwrap();
        assert_eq!((map.insert(b"a", value(10)), map.insert(b"b", value(20))), (Ok(None), Ok(None)));
        assert_eq!(map.bytes(), limits.bytes_max);
        let full = map.insert(b"c", value(0)).unwrap_err();
        let (used, max) = (limits.bytes_max, limits.bytes_max);
        assert_eq!(full, MapError::OutOfBytes { map: "map.tested".into(), used, bytes: entry(0), max });
        assert_eq!(
            full.to_string(),
            format!(
                "map.tested is full at {max} of {max} bytes, too near for an entry of {}: remove some or raise bytes_max",
                entry(0)
            )
        );
        // A value that grows needs room as well; one of the same size or smaller does not.
        assert!(matches!(map.insert(b"a", value(11)), Err(MapError::OutOfBytes { .. })), "on {backend}");
        assert_eq!((map.get(b"a"), map.len()), (Some(value(10)), 2));
        assert_eq!(map.insert(b"b", value(19)), Ok(Some(value(20))));
        assert_eq!(map.insert(b"a", value(11)), Ok(Some(value(10))));
        assert_eq!(map.bytes(), limits.bytes_max);
        let reading = read(&*map);
        assert_eq!(reading.level_of(&MAP_BYTES), Some(max as f64));
        assert_eq!(reading.level_of(&MAP_BYTES_LIMIT), Some(max as f64));
        assert_eq!(reading.total_of(&MAP_REFUSED), Some(2));
        assert_eq!(map.remove(b"b"), Some(value(19)));
        assert_eq!(map.bytes(), entry(11));
        map.clear();
        assert_eq!((map.bytes(), map.len()), (0, 0));
    }
}

#[test]
fn bytes_add_up_when_values_of_all_sizes_race() {
    for backend in Backend::ALL {
        let limits = MapLimits { bytes_max: 2000, ..MapLimits::default() };
        let map = BytesMap::new("tested", backend, limits).unwrap();
        thread::scope(|scope| {
            for seed in 0..THREADS as u64 {
                let map = &map;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    for _ in 0..ROUNDS / 10 {
                        let key = [random.u8(0..8)];
                        if random.u8(0..4) == 0 {
                            map.remove(&key);
                        } else {
                            _ = map.insert(&key, vec![0; random.usize(0..400)].into());
                        }
                        assert!(map.bytes() <= 2000);
                    }
                });
            }
        });
        let slot = size_of::<(Box<[u8]>, Bytes)>() + 2 * size_of::<usize>();
        let mut inside = 0;
        map.for_each(|key, value| inside += slot + key.len() + value.len());
        assert_eq!(map.bytes(), inside, "on {backend}");
        map.clear();
        assert_eq!(map.bytes(), 0, "on {backend}");
    }
}

#[test]
fn words_are_kept_by_word_also_while_the_map_moves() {
    for backend in Backend::ALL {
        let limits = MapLimits { entries_max: 1001, ..MapLimits::default() };
        let map = WordMap::new("tested", backend, limits).unwrap();
        (0..1000).for_each(|key| assert_eq!(map.insert(&key, u64::MAX - key), Ok(None)));
        assert_eq!(map.bytes(), 16 * 1000);
        for to in Backend::ALL {
            let handover = map.turn_backend(to).unwrap();
            assert_eq!((map.insert(&7, 1), map.remove(&8)), (Ok(Some(u64::MAX - 7)), Some(u64::MAX - 8)));
            assert_eq!((map.get(&7), map.get(&8), map.get(&1000)), (Some(1), None, None));
            assert_eq!((map.insert(&7, u64::MAX - 7), map.insert(&8, u64::MAX - 8)), (Ok(Some(1)), Ok(None)));
            handover.wait(None);
        }
        let (mut page, _) = map.scan(None, 2000);
        page.sort_unstable();
        assert!(page.into_iter().eq((0..1000).map(|key| (key, u64::MAX - key))), "from {backend}");
        assert_eq!(map.insert(&u64::MAX, 0), Ok(None));
        assert!(matches!(map.insert(&5000, 0), Err(MapError::Full { max: 1001, .. })));
    }
}

#[test]
fn threads_that_arrive_together_do_not_pass_the_limit() {
    counters(MapLimits { entries_max: 100, ..MapLimits::default() }, |map| {
        let full = AtomicUsize::new(0);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let full = &full;
                scope.spawn(move || {
                    for n in 0..100 {
                        full.fetch_add(usize::from(map.add(&[thread as u8, n], 1).is_err()), Relaxed);
                        assert!(map.len() <= 100);
                    }
                });
            }
        });
        assert_eq!((map.scan(None, 1000).0.len(), map.len()), (100, 100));
        assert_eq!(full.into_inner(), 100 * (THREADS - 1));
    });
}

#[test]
fn a_reading_says_what_was_done() {
    for backend in Backend::ALL {
        let map = HostedMap::<i64>::new("tested", backend, MapLimits::default()).unwrap();
        map.add(b"a", 1).unwrap();
        map.add(b"a", 1).unwrap();
        map.insert(b"b", 1).unwrap();
        map.insert(b"b", 2).unwrap();
        assert_eq!((map.get(b"a"), map.get(b"x")), (Some(2), None));
        assert_eq!((map.remove(b"b"), map.remove(b"b")), (Some(2), None));
        let reading = read(&*map);
        let ops: Vec<_> = reading.samples.iter().filter(|sample| sample.family == &MAP_OPS).collect();
        let expected = ["get", "insert", "add", "remove"].into_iter().flat_map(|op| [[op, "hit"], [op, "miss"]]);
        assert_eq!(ops.iter().map(|sample| sample.labels.clone()).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert!(ops.iter().all(|sample| matches!(sample.measure, Measure::Total(1))), "{ops:?}");
        assert_eq!(reading.level_of(&MAP_ENTRIES), Some(1.0));
        assert_eq!(reading.level_of(&MAP_ENTRIES_LIMIT), Some(1e7));
        assert_eq!(reading.level_of(&MAP_BACKEND), Some(1.0));
        let sees_locks = backend.shows_contention();
        assert_eq!(reading.total_of(&MAP_LOCK_CONTENTIONS), sees_locks.then_some(0));
        assert_eq!(reading.samples.iter().any(|sample| sample.family == &MAP_LOCK_WAIT), sees_locks);
        assert_eq!(reading.total_of(&MAP_CAS_FAILURES), (backend == Backend::Fixed).then_some(0));
        assert_eq!(map.address().to_string(), "map.tested");
    }
}

#[test]
fn the_backend_is_a_knob() {
    let map = CounterMap::new("tested", Backend::Sharded, MapLimits::default()).unwrap();
    (0..100_u8).for_each(|key| _ = map.add(&[key], i64::from(key)).unwrap());
    for to in [Backend::Papaya, Backend::LockFree, Backend::Fixed, Backend::Sharded, Backend::Sharded] {
        let from = map.backend().to_string();
        let turned = map.turn("backend", &Value::Choice(to.to_string())).unwrap();
        assert_eq!((turned.from, turned.to), (Value::Choice(from), Value::Choice(to.to_string())));
        map.handover().inspect(|handover| assert!(handover.wait(None)));
        assert_eq!(map.knobs()[0].value, Value::Choice(to.to_string()));
        assert_eq!((map.len(), map.get(&[7]), map.scan(None, 200).0.len()), (100, Some(7), 100));
    }
    assert!(matches!(map.turn("backend", &Value::Choice("list".into())), Err(TurnError::Range { .. })));
    assert!(matches!(map.turn("level", &Value::Integer(1)), Err(TurnError::UnknownKnob { .. })));
}

#[test]
fn waiting_for_a_lock_is_counted_and_timed() {
    let map = Map::<u32, u32>::new(Backend::Sharded);
    map.insert(1, 1);
    let (inside, begun) = (Barrier::new(2), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            map.get_with(&1, |_| {
                inside.wait();
                while !begun.load(Relaxed) {
                    thread::yield_now();
                }
                thread::sleep(std::time::Duration::from_millis(20));
            })
        });
        inside.wait();
        begun.store(true, Relaxed);
        map.insert(1, 2);
    });
    let waits = map.lock_waits().unwrap();
    assert_eq!(waits.count(), 1);
    assert!(waits.sum() >= 1_000_000, "waited {} ns", waits.sum());
}

#[test]
fn a_hot_key_shows_as_a_hot_shard() {
    let map = CounterMap::new("tested", Backend::Sharded, MapLimits::default()).unwrap();
    let strip = |reading: &Reading, family: &Family| {
        let samples = reading.samples.iter().filter(|sample| sample.family == family);
        samples.map(|sample| if let Measure::Strip(parts) = &sample.measure { parts.clone() } else { panic!() }).next()
    };
    assert_eq!(read(&*map).level_of(&MAP_SHARD_SKEW), None, "nothing happened yet");
    for n in 0..100_000u32 {
        map.add(&n.to_le_bytes(), 1).unwrap();
    }
    let even = read(&*map).level_of(&MAP_SHARD_SKEW).unwrap();
    (0..100_000).for_each(|_| _ = map.add(b"hot", 1));
    let reading = read(&*map);
    let skew = reading.level_of(&MAP_SHARD_SKEW).unwrap();
    assert!(even < 10.0 && skew > 60.0, "a third of all visits to one of 256 shards: {even}, then {skew}");
    let operations = strip(&reading, &MAP_SHARD_OPS).unwrap();
    let (hottest, all) = (*operations.iter().max().unwrap() as f64, operations.iter().sum::<u64>() as f64);
    assert!((0.28..0.4).contains(&(hottest / all)), "{hottest} of {all}");
    // Each key was looked for and put in, the hot one only looked for: 300 thousand visits, estimated from samples.
    assert!((250e3..350e3).contains(&all), "{all}");
    assert_eq!(strip(&reading, &MAP_SHARD_CONTENTIONS).unwrap().iter().sum::<u64>(), 0);
}

#[test]
fn names_go_both_ways() {
    for backend in Backend::ALL {
        assert_eq!(backend.as_str().parse(), Ok(backend));
    }
    assert!("Sharded".parse::<Backend>().unwrap_err().to_string().contains("sharded, lock_free, papaya, fixed, flat"));
    assert!(CounterMap::new("No Name", Backend::Sharded, MapLimits::default()).is_err());
}
