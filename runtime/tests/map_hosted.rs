//! Maps that a host runs, on every backend: what they hold, limit, count and turn.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_runtime::map::{Backend, Bytes, BytesMap, CounterMap, Cursor, HostedMap, MapError, MapLimits, WordMap};
use rheostat_runtime::observe::families::{
    MAP_BACKEND, MAP_BYTES, MAP_BYTES_LIMIT, MAP_CAS_FAILURES, MAP_ENTRIES, MAP_ENTRIES_LIMIT, MAP_LOCK_CONTENTIONS,
    MAP_LOCK_WAIT, MAP_OPS, MAP_REFUSED, MAP_SHARD_CONTENTIONS, MAP_SHARD_OPS, MAP_SHARD_SKEW,
};
use rheostat_runtime::observe::{Family, Measure, Reading, Resource, Sample, TurnError, Value};
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::collections::HashSet;
use std::thread;

const THREADS: usize = 4;

/// Rounds of a stress test: enough to interleave, short in an unoptimised build.
const ROUNDS: usize = if cfg!(debug_assertions) { 20_000 } else { 200_000 };

fn counters(limits: MapLimits, check: impl Fn(&CounterMap)) {
    Backend::ALL.into_iter().for_each(|backend| check(&CounterMap::new("tested", backend, limits).unwrap()));
}

fn read(map: &impl Resource) -> Reading {
    let mut reading = Reading::default();
    map.read(&mut reading);
    reading
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
        // So many of each that no count can be taken for another.
        (0..4).for_each(|_| _ = map.get(b"x"));
        (0..2).for_each(|_| _ = map.get(b"a"));
        (0..5).for_each(|_| _ = map.insert(b"b", 3).unwrap());
        (0..7).for_each(|_| _ = map.add(b"a", 0).unwrap());
        assert_eq!((map.get(b"a"), map.get(b"x")), (Some(2), None));
        assert_eq!(map.remove(b"b"), Some(3));
        (0..9).for_each(|_| assert_eq!(map.remove(b"b"), None));
        let reading = read(&*map);
        let ops: Vec<_> = reading.samples.iter().filter(|sample| sample.family == &MAP_OPS).collect();
        let counted = |sample: &Sample| match sample.measure {
            Measure::Total(total) => (sample.labels[0], sample.labels[1], total),
            _ => panic!("{sample:?}"),
        };
        let [get, insert, add, remove] = [("get", 3, 5), ("insert", 6, 1), ("add", 8, 1), ("remove", 1, 9)]
            .map(|(op, hits, misses)| [(op, "hit", hits), (op, "miss", misses)]);
        let ops: Vec<_> = ops.into_iter().map(counted).collect();
        assert_eq!(ops, [get, insert, add, remove].concat());
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
