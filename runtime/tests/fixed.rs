//! The fixed map on real threads: against std's, under colliding keys, under panics, and with every value dropped once.

use rheostat_runtime::map::FixedMap;
use rheostat_runtime::reclaim;
use rheostat_runtime::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use rheostat_runtime::sync::{Arc, thread};
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Keys of an adversary: all alike.
#[derive(Default)]
struct Same;

impl Hasher for Same {
    fn finish(&self) -> u64 {
        7
    }
    fn write(&mut self, _: &[u8]) {}
}

fn entries<S: BuildHasher>(map: &FixedMap<u32, u64, S>) -> HashMap<u32, u64> {
    let mut entries = HashMap::new();
    for bucket in 0..map.buckets() {
        map.walk(bucket, |key, value| assert!(entries.insert(*key, *value).is_none(), "{key} is there twice"));
    }
    entries
}

fn same_as_std<S: BuildHasher>(map: &FixedMap<u32, u64, S>, keys: u32, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut model = HashMap::new();
    for step in 0..4000 {
        let key = random.u32(..keys);
        match random.u32(..6) {
            0 => assert_eq!(map.put(key, step, |old| *old), model.insert(key, step)),
            1 => {
                assert_eq!(map.put_absent(key, step).is_ok(), !model.contains_key(&key));
                model.entry(key).or_insert(step);
            }
            2 => assert_eq!(map.take(&key, |old| *old), model.remove(&key)),
            3 => {
                let even = |value: &u64| value.is_multiple_of(2);
                let expected = model.get(&key).copied().filter(even).and_then(|_| model.remove(&key));
                assert_eq!(map.take_if(&key, even, |old| *old), expected);
            }
            4 => {
                let known = model.get_mut(&key).map(|value| *value += 1);
                assert_eq!(map.revise(&key, |value| Some(value + 1)), known);
            }
            _ => assert_eq!(map.view(&key, |value| *value), model.get(&key).copied()),
        }
    }
    assert_eq!(entries(map), model);
}

#[test]
fn does_what_std_does() {
    for seed in 0..4 {
        same_as_std(&FixedMap::new(16, RandomState::new()), 64, seed);
        same_as_std(&FixedMap::new(16, BuildHasherDefault::<Same>::default()), 64, seed);
        same_as_std(&FixedMap::new(0, RandomState::new()), 8, seed);
    }
}

/// A value that counts how many there are.
struct Counted(u64, Arc<AtomicI64>);

impl Counted {
    fn new(number: u64, live: &Arc<AtomicI64>) -> Self {
        live.fetch_add(1, Ordering::Relaxed);
        Self(number, live.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Increments, removals that say what they took, and re-insertions of zero: every increment is in a removal or in the
/// end.
#[test]
fn no_increment_is_lost_and_every_value_is_dropped_once() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 5_000;
    let live = Arc::new(AtomicI64::new(0));
    for buckets in [1, 8] {
        let map = FixedMap::new(buckets, RandomState::new());
        let sum = thread::scope(|scope| {
            let (map, live) = (&map, &live);
            let work = |seed| {
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    let (mut added, mut taken) = (0, 0);
                    for _ in 0..ROUNDS {
                        let key = random.u32(..8);
                        match random.u32(..8) {
                            0 => taken += map.take(&key, |value: &Counted| value.0).unwrap_or(0),
                            1 => taken += map.put(key, Counted::new(0, live), |old| old.0).unwrap_or(0),
                            2 => drop(map.put_absent(key, Counted::new(0, live))),
                            3 => _ = map.view(&key, |value| assert!(value.0 <= THREADS * ROUNDS)),
                            _ => {
                                let update = map.revise(&key, |value| {
                                    if random.u32(..64) == 0 {
                                        thread::yield_now();
                                    }
                                    Some(Counted::new(value.0 + 1, live))
                                });
                                added += u64::from(update.is_some());
                            }
                        }
                    }
                    (added, taken)
                })
            };
            let threads: Vec<_> = (0..THREADS).map(work).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
        });
        let mut left = 0;
        (0..map.buckets()).for_each(|bucket| map.walk(bucket, |_, value| left += value.0));
        assert_eq!(sum.0, sum.1 + left, "increments that succeeded are in what was taken or in what is left");
        drop(map);
    }
    // The domain is the process's, and other tests may be reading.
    while live.load(Ordering::Relaxed) > 0 {
        reclaim::synchronize().unwrap();
    }
    assert_eq!(live.load(Ordering::Relaxed), 0);
}

#[test]
fn clearing_says_how_many_there_were() {
    let map = FixedMap::new(4, RandomState::new());
    (0..100).for_each(|key| _ = map.put(key, 0, |_| ()));
    let (cleared, taken) = thread::scope(|scope| {
        let clears = [(); 2].map(|()| scope.spawn(|| map.clear()));
        let taken = (0..100).filter(|key| map.take(key, |_: &u64| ()).is_some()).count();
        (clears.map(|thread| thread.join().unwrap()).iter().sum::<usize>(), taken)
    });
    assert_eq!(cleared + taken, 100, "each entry goes once");
    assert_eq!(entries(&map), HashMap::new());
}

#[test]
fn closures_may_use_the_map() {
    let map = FixedMap::new(1, RandomState::new());
    map.put(1, 1, |_| ());
    map.view(&1, |one| map.put(2, one + 1, |_| ()));
    map.revise(&1, |one| {
        map.revise(&2, |two| Some(two + one));
        Some(one + 10)
    });
    map.take(&1, |value| assert_eq!(*value, 11));
    assert_eq!(entries(&map), HashMap::from([(2, 3)]));
}

thread_local! {
    /// Calls into user code that are left before one panics.
    static FUSE: Cell<u32> = const { Cell::new(u32::MAX) };
}

fn burn() {
    FUSE.set(FUSE.get().saturating_sub(1));
    assert!(FUSE.get() > 0, "as the test wants it");
}

struct Touchy(u32, &'static AtomicU32);

impl Touchy {
    fn new(number: u32, live: &'static AtomicU32) -> Self {
        live.fetch_add(1, Ordering::Relaxed);
        Self(number, live)
    }
}

impl Drop for Touchy {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        burn();
        Self::new(self.0, self.1)
    }
}

impl PartialEq for Touchy {
    fn eq(&self, other: &Self) -> bool {
        burn();
        self.0 == other.0
    }
}

impl Eq for Touchy {}

impl Hash for Touchy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        burn();
        self.0.hash(state);
    }
}

#[test]
fn a_panic_of_user_code_leaves_the_map_whole() {
    static LIVE: AtomicU32 = AtomicU32::new(0);
    let key = |number| Touchy::new(number, &LIVE);
    for fuse in 1..=200 {
        let map = FixedMap::new(2, RandomState::new());
        FUSE.set(fuse);
        let torn = catch_unwind(AssertUnwindSafe(|| {
            for number in 0..8 {
                map.put(key(number), key(0), |_| burn());
                map.revise(&key(number), |_| Some(key(number + 1)));
                map.put(key(number), key(number + 2), |_| burn());
                _ = map.put_absent(key(number), key(9));
                map.view(&key(number), |_| burn());
                if number % 2 == 0 {
                    map.take_if(&key(number), |_| true, |_| burn());
                }
            }
        }))
        .is_err();
        FUSE.set(u32::MAX);
        // Whole: every key is found where the walk shows it, and can be taken, once.
        let mut keys = Vec::new();
        (0..map.buckets()).for_each(|bucket| map.walk(bucket, |key, _| keys.push(key.0)));
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), keys.len(), "fuse {fuse}: {keys:?}");
        for number in keys {
            assert_eq!(map.take(&key(number), |_| ()), Some(()), "fuse {fuse}, torn {torn}");
            assert_eq!(map.take(&key(number), |_| ()), None);
        }
    }
    while LIVE.load(Ordering::Relaxed) > 0 {
        reclaim::synchronize().unwrap();
    }
}
