//! The flat map: against std's, under threads with values that show a tear, through growth and shrinking, with hashers
//! that collide and that panic.

use fastrand::Rng;
use proptest::prelude::*;
use rheostat_runtime::map::{Backend, FlatMap, Map};
use rheostat_runtime::reclaim;
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use rheostat_runtime::sync::thread;
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier};

const SEED: u64 = 0x5eed_f1a7;

/// Leaves integers as they are, or sends all of them to one place.
#[derive(Clone, Copy, Debug)]
enum Weak {
    Identity,
    Constant,
    HighBits,
}

impl BuildHasher for Weak {
    type Hasher = WeakHasher;
    fn build_hasher(&self) -> WeakHasher {
        WeakHasher { how: *self, hash: 0 }
    }
}

struct WeakHasher {
    how: Weak,
    hash: u64,
}

impl Hasher for WeakHasher {
    fn finish(&self) -> u64 {
        self.hash
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys here are integers");
    }
    fn write_u64(&mut self, n: u64) {
        self.hash = match self.how {
            Weak::Identity => n,
            Weak::Constant => 42,
            Weak::HighBits => n << 48,
        };
    }
}

/// Gives the core away now and then: on few cores races need help.
fn jitter(rng: &mut Rng) {
    if rng.u8(..) == 0 {
        thread::yield_now();
    }
}

#[derive(Debug, Clone)]
enum Op {
    Insert(u64, u64),
    InsertAbsent(u64, u64),
    Update(u64, u64),
    Upsert(u64, u64),
    Exchange(u64, u64, u64),
    Remove(u64),
    RemoveIf(u64, u64),
    Get(u64),
    Retain(u64),
    Clear,
    Reserve(usize),
    Shrink,
    Grow,
}

fn op() -> impl Strategy<Value = Op> {
    let (key, value) = (0..80_u64, 0..4_u64);
    prop_oneof![
        12 => (key.clone(), value.clone()).prop_map(|(key, value)| Op::Insert(key, value)),
        6 => (key.clone(), value.clone()).prop_map(|(key, value)| Op::InsertAbsent(key, value)),
        4 => (key.clone(), value.clone()).prop_map(|(key, value)| Op::Update(key, value)),
        4 => (key.clone(), value.clone()).prop_map(|(key, value)| Op::Upsert(key, value)),
        4 => (key.clone(), value.clone(), value.clone()).prop_map(|(key, seen, new)| Op::Exchange(key, seen, new)),
        12 => key.clone().prop_map(Op::Remove),
        4 => (key.clone(), value.clone()).prop_map(|(key, value)| Op::RemoveIf(key, value)),
        8 => key.prop_map(Op::Get),
        1 => value.prop_map(Op::Retain),
        1 => Just(Op::Clear),
        1 => (0..300_usize).prop_map(Op::Reserve),
        1 => Just(Op::Shrink),
        2 => Just(Op::Grow),
    ]
}

fn apply(map: &FlatMap<u64, u64, Weak>, model: &mut HashMap<u64, u64>, op: &Op) {
    match *op {
        Op::Insert(key, value) => assert_eq!(map.insert(key, value), model.insert(key, value)),
        Op::InsertAbsent(key, value) => {
            let there = model.get(&key).copied();
            assert_eq!(map.insert_if_absent(key, value), there);
            model.entry(key).or_insert(value);
        }
        Op::Update(key, n) => {
            let before = model.get(&key).copied();
            assert_eq!(map.update(&key, |value| value + n), before);
            model.entry(key).and_modify(|value| *value += n);
        }
        Op::Upsert(key, n) => {
            let before = model.get(&key).copied();
            assert_eq!(map.upsert(key, n, |value| value + n), before);
            model.entry(key).and_modify(|value| *value += n).or_insert(n);
        }
        Op::Exchange(key, seen, new) => {
            let there = model.get(&key).copied();
            let expected = if there == Some(seen) { Ok(seen) } else { Err(there) };
            assert_eq!(map.compare_exchange(&key, seen, new), expected);
            if expected.is_ok() {
                model.insert(key, new);
            }
        }
        Op::Remove(key) => assert_eq!(map.remove(&key), model.remove(&key)),
        Op::RemoveIf(key, value) => {
            let expected = model.get(&key).copied().filter(|there| *there == value);
            assert_eq!(map.remove_if(&key, |there| *there == value), expected);
            model.retain(|known, there| *known != key || *there != value);
        }
        Op::Get(key) => assert_eq!(map.get(&key), model.get(&key).copied()),
        Op::Retain(value) => {
            map.retain(|_, there| *there != value);
            model.retain(|_, there| *there != value);
        }
        Op::Clear => {
            assert_eq!(map.clear(), model.len());
            model.clear();
        }
        Op::Reserve(entries) => map.reserve(entries),
        Op::Shrink => map.shrink_to_fit(),
        Op::Grow => {
            if map.statistics().buckets < 1 << 12 {
                map.begin_growth();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]
    #[test]
    fn agrees_with_std(weak in prop_oneof![Just(Weak::Identity), Just(Weak::Constant), Just(Weak::HighBits)],
                       capacity in 0..9_usize, ops in prop::collection::vec(op(), 1..400)) {
        let map = FlatMap::with_capacity_and_hasher(capacity, weak);
        let mut model = HashMap::new();
        for op in &ops {
            apply(&map, &mut model, op);
            assert_eq!(map.len(), model.len());
        }
        let mut shown = HashMap::new();
        map.for_each(|key, value| assert_eq!(shown.insert(*key, *value), None, "{key} shown twice"));
        assert_eq!(shown, model);
    }
}

#[test]
fn any_size_of_plain_data() {
    let map = FlatMap::<[u8; 3], [u8; 21]>::new();
    let value = |n: u32| std::array::from_fn(|index| (n as usize * 31 + index) as u8);
    let key = |n: u32| [n as u8, (n >> 8) as u8, 7];
    (0..3000).for_each(|n| assert_eq!(map.insert(key(n), value(n)), None));
    (0..3000).for_each(|n| assert_eq!(map.get(&key(n)), Some(value(n))));
    let set = FlatMap::<u64, ()>::new();
    (0..3000).for_each(|n| assert_eq!(set.insert(n, ()), None));
    (0..6000).for_each(|n| assert_eq!(set.contains(&n), n < 3000));
}

/// A value whose words belong together.
fn whole(key: u64, n: u64) -> [u64; 3] {
    [n, !n, n.rotate_left(17) ^ key]
}

fn assert_whole(key: u64, value: [u64; 3]) {
    assert_eq!(value, whole(key, value[0]), "a torn value of key {key}");
}

/// Writers that insert, remove and replace, readers that check, while the table grows and shrinks.
fn churn(threads: usize, keys: u64, hasher: impl BuildHasher + Sync, start: u64, rounds: usize) {
    let map = FlatMap::with_sequences_at(start, 0, hasher);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..threads)
            .map(|seed| {
                let map = &map;
                scope.spawn(move || {
                    let mut rng = Rng::with_seed(SEED + seed as u64);
                    for round in 0..rounds {
                        jitter(&mut rng);
                        let (key, n) = (rng.u64(..keys), rng.u64(..));
                        let before = match rng.u8(..16) {
                            0..7 => map.insert(key, whole(key, n)),
                            7..9 => map.update(&key, |value| whole(key, value[0] + 1)),
                            9..14 => map.remove(&key),
                            14 => map.insert_if_absent(key, whole(key, n)),
                            _ => map.get(&key),
                        };
                        before.into_iter().for_each(|value| assert_whole(key, value));
                        if seed == 0 && round % (rounds / 8) == 7 && map.statistics().buckets < 1 << 14 {
                            map.begin_growth();
                        }
                        if seed == 1 && round % (rounds / 8) == 9 {
                            map.shrink_to_fit();
                        }
                    }
                })
            })
            .collect();
        for seed in 0..2 {
            let (map, stop) = (&map, &stop);
            scope.spawn(move || {
                let mut rng = Rng::with_seed(!SEED + seed);
                while !stop.load(Relaxed) {
                    let key = rng.u64(..keys);
                    map.get(&key).into_iter().for_each(|value| assert_whole(key, value));
                    if rng.u16(..) == 0 {
                        map.for_each(|key, value| assert_whole(*key, *value));
                    }
                }
            });
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        stop.store(true, Relaxed);
    });
    let mut counted = 0;
    map.for_each(|_, _| counted += 1);
    assert_eq!(map.len(), counted);
    assert_eq!(map.clear(), counted);
}

#[test]
fn no_value_is_torn_on_a_few_hot_keys() {
    for threads in [2, 4] {
        churn(threads, 6, Weak::Constant, 0, 8_000);
    }
}

#[test]
fn no_value_is_torn_while_the_table_grows_and_shrinks() {
    for threads in [2, 8] {
        churn(threads, 4000, foldhash::fast::RandomState::default(), 0, 8_000);
    }
}

#[test]
fn sequences_wrap() {
    churn(3, 8, Weak::Constant, u64::MAX - 3, 4_000);
    let map = FlatMap::with_sequences_at(u64::MAX - 1, 0, Weak::Identity);
    for n in 0..8_u64 {
        assert_eq!(map.insert(1_u64, n), n.checked_sub(1));
        assert_eq!(map.get(&1), Some(n));
    }
}

/// Keys that are there throughout are found throughout, whatever moves.
#[test]
fn growth_hides_no_key() {
    let map = FlatMap::with_capacity_and_hasher(0, foldhash::fast::RandomState::default());
    const STAY: u64 = 3000;
    (0..STAY).for_each(|key| assert_eq!(map.insert(key, key), None));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 0..2 {
            let (map, stop) = (&map, &stop);
            scope.spawn(move || {
                let mut rng = Rng::with_seed(SEED ^ seed);
                while !stop.load(Relaxed) {
                    let key = rng.u64(..STAY);
                    assert_eq!(map.get(&key), Some(key), "key {key} was hidden");
                }
            });
        }
        for thread in 0..2 {
            let map = &map;
            let stop = &stop;
            scope.spawn(move || {
                for _ in 0..4 {
                    let own = |n: u64| STAY + thread * 1_000_000 + n;
                    (0..20_000).for_each(|n| assert_eq!(map.insert(own(n), n), None));
                    (0..20_000).for_each(|n| assert_eq!(map.remove(&own(n)), Some(n)));
                }
                stop.store(true, Relaxed);
            });
        }
    });
    assert_eq!(map.len() as u64, STAY);
    assert!(map.statistics().resizes >= 2, "nothing moved: {:?}", map.statistics());
}

/// Every increment is seen exactly once: the values replaced are each number once.
#[test]
fn increments_through_growth_are_a_permutation() {
    const KEYS: u64 = 40;
    const EACH: u64 = 4000;
    const THREADS: u64 = 4;
    let map = FlatMap::with_capacity_and_hasher(0, foldhash::fast::RandomState::default());
    (0..KEYS).for_each(|key| assert_eq!(map.insert(key, 0), None));
    let start = Barrier::new(THREADS as usize);
    let mut replaced: Vec<(u64, u64)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (map, start) = (&map, &start);
                scope.spawn(move || {
                    let mut rng = Rng::with_seed(SEED + thread);
                    start.wait();
                    (0..EACH)
                        .map(|n| {
                            let key = rng.u64(..KEYS);
                            map.insert(KEYS + thread * EACH + n, n); // makes it grow
                            jitter(&mut rng);
                            (key, map.update(&key, |value| value + 1).expect("nobody removes it"))
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    replaced.sort_unstable();
    let total: u64 = (0..KEYS).map(|key| map.get(&key).unwrap()).sum();
    assert_eq!(total, THREADS * EACH);
    for pair in replaced.windows(2) {
        let expected = if pair[0].0 == pair[1].0 { pair[0].1 + 1 } else { 0 };
        assert_eq!(pair[1].1, expected, "key {} counted one step twice or never", pair[1].0);
    }
    assert!(map.statistics().resizes >= 4);
}

/// A removal that succeeds had a value that somebody put in, and each is taken out once.
#[test]
fn what_goes_in_comes_out_once() {
    const KEYS: u64 = 64;
    let map = FlatMap::with_capacity_and_hasher(0, Weak::Identity);
    let (ins, outs) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (map, ins, outs) = (&map, &ins, &outs);
            scope.spawn(move || {
                let mut rng = Rng::with_seed(SEED * 3 + thread);
                for n in 0..20_000_u64 {
                    let (key, token) = (rng.u64(..KEYS), (thread << 32) + n + 1);
                    jitter(&mut rng);
                    if rng.bool() {
                        if map.insert_if_absent(key, token).is_none() {
                            ins.fetch_add(token, Relaxed);
                        }
                    } else if let Some(token) = map.remove(&key) {
                        outs.fetch_add(token, Relaxed);
                    }
                }
            });
        }
    });
    map.for_each(|_, token| _ = outs.fetch_add(*token, Relaxed));
    assert_eq!(ins.into_inner(), outs.into_inner());
}

/// A writer that sleeps inside its chain holds up that chain, and those who read it wait at the lock, not for ever in
/// tries. Other chains go on.
#[test]
fn a_writer_that_sleeps_inside_is_waited_for() {
    let map = FlatMap::with_capacity_and_hasher(64, Weak::Identity);
    (0..64_u64).for_each(|key| assert_eq!(map.insert(key, key), None));
    let waiting = |map: &FlatMap<u64, u64, Weak>| map.statistics().read_fallbacks;
    thread::scope(|scope| {
        let reader = map.while_locked(&5, || {
            let reader = scope.spawn(|| map.get(&5));
            while waiting(&map) == 0 {
                thread::yield_now();
            }
            assert!((0..64).filter(|key| map.home_of(key) != map.home_of(&5)).all(|key| map.get(&key) == Some(key)));
            reader
        });
        assert_eq!(reader.join().unwrap(), Some(5));
    });
    assert_eq!((waiting(&map), map.statistics().read_retries), (1, 64));
}

#[test]
fn keys_that_all_collide_cost_a_chain_and_no_memory() {
    let map = FlatMap::with_capacity_and_hasher(0, Weak::Constant);
    (0..3000_u64).for_each(|key| assert_eq!(map.insert(key, !key), None));
    let grown = map.statistics();
    assert!(grown.buckets <= 2048, "grew without end: {grown:?}");
    (0..3000).step_by(2).for_each(|key| assert_eq!(map.remove(&key), Some(!key)));
    (0..3000).for_each(|key| assert_eq!(map.get(&key), (key % 2 == 1).then_some(!key)));
    assert!(map.statistics().spares <= 1500_usize.div_ceil(3), "removals left holes in the chain");
}

#[test]
fn memory_follows_the_entries() {
    let map = FlatMap::with_capacity_and_hasher(0, foldhash::fast::RandomState::default());
    (0..100_000_u64).for_each(|key| assert_eq!(map.insert(key, key), None));
    let full = map.statistics();
    let per_entry = full.bytes / full.entries;
    assert!(per_entry < 96, "{per_entry} bytes to an entry: {full:?}");
    (0..99_000_u64).for_each(|key| assert_eq!(map.remove(&key), Some(key)));
    map.shrink_to_fit();
    let lean = map.statistics();
    assert!(lean.bytes * 20 < full.bytes, "{lean:?} after {full:?}");
    (99_000..100_000).for_each(|key| assert_eq!(map.get(&key), Some(key)));
    assert_eq!(map.clear(), 1000);
    let roomy = FlatMap::with_capacity_and_hasher(50_000, Weak::Identity);
    let made = roomy.statistics().buckets;
    (0..50_000_u64).for_each(|key| assert_eq!(roomy.insert(key, key), None));
    assert_eq!((roomy.statistics().buckets, roomy.clear(), roomy.statistics().buckets), (made, 50_000, made));
}

#[test]
fn room_that_cannot_be_made_is_refused_and_the_map_lives_on() {
    let map = FlatMap::with_capacity_and_hasher(0, Weak::Identity);
    let spread = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..10).for_each(|n| _ = map.insert(spread(n), n));
    let small = map.statistics().buckets;
    assert!(catch_unwind(AssertUnwindSafe(|| map.reserve(usize::MAX))).is_err(), "there is no such table");
    assert_eq!((map.len(), map.statistics().buckets, map.statistics().move_progress), (10, small, (0, 0)));
    (0..10_000).for_each(|n| _ = map.insert(spread(n), n));
    map.reserve(0);
    assert!(map.statistics().buckets > 100 * small, "it still grows: {:?}", map.statistics());
    assert!((0..10_000).all(|n| map.get(&spread(n)) == Some(n)));
    assert!(catch_unwind(AssertUnwindSafe(|| map.reserve(usize::MAX))).is_err(), "there is none now either");
    assert_eq!((map.clear(), map.len()), (10_000, 0));
    assert!(map.statistics().buckets < 100 * small, "it still shrinks: {:?}", map.statistics());
}

thread_local! {
    /// Hashes until one panics; zero is never.
    static FUSE: Cell<u64> = const { Cell::new(0) };
}

/// A key whose `Hash` panics when the fuse has burnt down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
struct Touchy(u64);

// SAFETY: one integer.
unsafe impl bytemuck::Zeroable for Touchy {}
// SAFETY: as above, transparent.
unsafe impl bytemuck::Pod for Touchy {}

impl std::hash::Hash for Touchy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let fuse = FUSE.get();
        FUSE.set(fuse.saturating_sub(1));
        assert_ne!(fuse, 1, "the fuse burnt down");
        state.write_u64(self.0);
    }
}

#[test]
fn a_hash_that_panics_leaves_the_map_whole() {
    let silence = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    for nth in 1..=200 {
        let map = FlatMap::with_capacity_and_hasher(0, foldhash::fast::RandomState::default());
        let mut put = Vec::new();
        FUSE.set(nth);
        let burnt = catch_unwind(AssertUnwindSafe(|| {
            for key in 0..600 {
                put.push(key);
                map.insert(Touchy(key), key);
            }
        }));
        assert!(burnt.is_err(), "no hash panicked");
        FUSE.set(0);
        let last = put.pop().unwrap();
        // The one whose insertion was cut short is there or not; all others are, and the table can still grow.
        assert!(put.iter().all(|key| map.get(&Touchy(*key)) == Some(*key)), "call {nth}");
        let other =
            thread::scope(|scope| scope.spawn(|| (last..2000).for_each(|key| _ = map.insert(Touchy(key), key))).join());
        other.unwrap();
        assert!((0..2000).all(|key| map.get(&Touchy(key)) == Some(key)), "call {nth}");
        map.reserve(0);
        assert_eq!((map.len(), map.statistics().move_progress), (2000, (0, 0)));
    }
    std::panic::set_hook(silence);
}

#[test]
fn a_closure_may_use_the_map_and_panic() {
    let map = FlatMap::<u64, u64>::new();
    map.insert(1, 1);
    assert_eq!(map.update(&1, |n| n + map.get(&1).unwrap()), Some(1));
    let panicked = catch_unwind(AssertUnwindSafe(|| map.update(&1, |_| panic!("on purpose"))));
    assert!(panicked.is_err());
    thread::scope(|scope| scope.spawn(|| assert_eq!(map.insert(1, 9), Some(2))).join().unwrap());
    map.retain(|key, _| {
        map.insert(key + 100, 0);
        *key >= 100
    });
    assert_eq!((map.get(&1), map.get(&101)), (None, Some(0)));
}

/// A key that shares its hash with a good many others.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Crowded(u32);

impl std::hash::Hash for Crowded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.0 / 4);
    }
}

/// Values behind pointers, alone and in lists, through growth: each is dropped once, whoever took it out.
#[test]
fn what_is_behind_a_pointer_is_dropped_once() {
    const KEYS: u32 = 2000;
    let map = Map::<Crowded, Arc<u32>>::new(Backend::Flat);
    let tokens: Vec<Arc<u32>> = (0..KEYS).map(Arc::new).collect();
    thread::scope(|scope| {
        for seed in 0..4 {
            let (map, tokens) = (&map, &tokens);
            scope.spawn(move || {
                let mut rng = Rng::with_seed(SEED + seed);
                for round in 0..10_000 {
                    jitter(&mut rng);
                    let key = rng.u32(..KEYS);
                    let value = || tokens[key as usize].clone();
                    let found = match rng.u8(..8) {
                        0..3 => map.insert(Crowded(key), value()),
                        3 => map.insert_if_absent(Crowded(key), value()).err(),
                        4 => map.update(&Crowded(key), |_| value()),
                        5 => map.get(&Crowded(key)),
                        _ => map.remove(&Crowded(key)),
                    };
                    assert!(found.is_none_or(|found| *found == key), "the value of another key");
                    if seed == 0 && round % 4000 == 3999 {
                        map.clear();
                    }
                }
            });
        }
    });
    let mut held = 0;
    map.for_each(|_, _| held += 1);
    assert_eq!((map.len(), map.clear(), map.len()), (held, held, 0));
    drop(map);
    // Other tests' readers hold up the process's grace periods a while.
    while tokens.iter().any(|token| Arc::strong_count(token) > 1) {
        reclaim::synchronize().unwrap();
    }
}

/// A value whose `Drop` panics when the fuse has burnt down.
#[derive(Clone, Debug)]
struct Unwilling(Arc<AtomicU64>);

impl Drop for Unwilling {
    fn drop(&mut self) {
        assert_ne!(self.0.fetch_sub(1, Relaxed), 1, "the fuse burnt down");
    }
}

#[test]
fn a_drop_that_panics_leaves_the_map_whole() {
    let silence = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    for nth in 1..=200 {
        let fuse = Arc::new(AtomicU64::new(nth));
        let map = Map::<Crowded, Unwilling>::new(Backend::Flat);
        for key in 0..60 {
            for _ in 0..2 {
                _ = catch_unwind(AssertUnwindSafe(|| drop(map.insert(Crowded(key), Unwilling(fuse.clone())))));
            }
            if key % 3 == 0 {
                _ = catch_unwind(AssertUnwindSafe(|| drop(map.remove(&Crowded(key)))));
            }
            _ = catch_unwind(|| reclaim::process_domain().flush());
        }
        assert_eq!(map.len(), 40, "drop {nth}");
        assert!((0..60).all(|key| map.contains(&Crowded(key)) == (key % 3 != 0)), "drop {nth}");
        _ = catch_unwind(AssertUnwindSafe(|| drop(map)));
        // Each is dropped, by whoever comes to it, also after the one that panicked.
        while Arc::strong_count(&fuse) > 1 {
            _ = catch_unwind(reclaim::synchronize);
        }
    }
    std::panic::set_hook(silence);
}
