//! Maps on every backend.

#![cfg(not(any(rt_loom, rt_shuttle)))]

mod pages;

use pages::scan_all;
use rheostat_runtime::map::{Backend, CounterMap, Map, MapLimits};
use rheostat_runtime::reclaim;
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::borrow::Borrow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
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
        // What `papaya`, `fixed` and `flat` have unlinked is freed for the whole process, and other tests may be reading.
        let is_freed_late = matches!(backend, Backend::Papaya | Backend::Fixed | Backend::Flat);
        while is_freed_late && Arc::strong_count(&token) > 1 {
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
fn names_go_both_ways() {
    for backend in Backend::ALL {
        assert_eq!(backend.as_str().parse(), Ok(backend));
    }
    assert!("Sharded".parse::<Backend>().unwrap_err().to_string().contains("sharded, lock_free, papaya, fixed, flat"));
    assert!(CounterMap::new("No Name", Backend::Sharded, MapLimits::default()).is_err());
}
