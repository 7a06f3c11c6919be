//! What a map lets be seen of its contention, and how.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_runtime::map::{Backend, CounterMap, FIXED_BUCKETS_MIN, Map, MapLimits};
use rheostat_runtime::observe::families::{
    MAP_CONTENTION_SEEN, MAP_GROWTH, MAP_HELPS, MAP_LOAD, MAP_LOCK_CONTENTIONS, MAP_MIGRATED, MAP_PROBE_MAX,
    MAP_PROBE_MEAN, MAP_RESIZES, MAP_SAMPLED_OPS, MAP_SAMPLED_STALLS, MAP_SEQLOCK_FALLBACKS, MAP_SEQLOCK_RETRIES,
    RECLAIM_OLDEST_PIN,
};
use rheostat_runtime::observe::{Measure, Reading, Resource};
use rheostat_runtime::reclaim::{self, HostedDomain};
use rheostat_runtime::sync::thread;
use std::time::Duration;

const SAMPLED: [Backend; 3] = [Backend::LockFree, Backend::Papaya, Backend::Fixed];

fn read(resource: &dyn Resource) -> Reading {
    let mut reading = Reading::default();
    resource.read(&mut reading);
    reading
}

/// How the reading says that contention is seen.
fn seen(reading: &Reading) -> Vec<&'static str> {
    let samples = reading.samples.iter().filter(|sample| sample.family == &MAP_CONTENTION_SEEN);
    samples.filter(|sample| matches!(sample.measure, Measure::Level(1.0))).map(|sample| sample.labels[0]).collect()
}

#[test]
fn a_reading_says_how_contention_is_seen_and_nothing_of_what_is_not() {
    for backend in Backend::ALL {
        let map = CounterMap::new("tested", backend, MapLimits::default()).unwrap();
        (0..1000_u32).for_each(|key| _ = map.add(&key.to_be_bytes(), 1).unwrap());
        let reading = read(&*map);
        let sampled = SAMPLED.contains(&backend);
        assert_eq!(seen(&reading), if sampled { ["sample"] } else { ["hook"] }, "{backend}");
        assert_eq!(reading.total_of(&MAP_LOCK_CONTENTIONS).is_some(), !sampled, "{backend}");
        let timed = reading.total_of(&MAP_SAMPLED_OPS);
        // Each key was looked for and put in: 2000 operations, one in 64 of them timed.
        assert!(if sampled { (10..80).contains(&timed.unwrap()) } else { timed.is_none() }, "{backend}: {timed:?}");
        assert_eq!(reading.total_of(&MAP_SAMPLED_STALLS).is_some(), sampled, "{backend}");
        let is_flat = backend == Backend::Flat;
        for family in [&MAP_SEQLOCK_RETRIES, &MAP_SEQLOCK_FALLBACKS] {
            assert_eq!(reading.total_of(family), is_flat.then_some(0), "{backend}");
        }
        for family in [&MAP_HELPS, &MAP_MIGRATED, &MAP_RESIZES] {
            assert_eq!(reading.total_of(family).is_some_and(|total| total > 0), is_flat, "{backend}");
        }
        let has_table = is_flat || backend == Backend::Fixed;
        for family in [&MAP_LOAD, &MAP_GROWTH, &MAP_PROBE_MEAN, &MAP_PROBE_MAX] {
            assert_eq!(reading.level_of(family).is_some(), has_table, "{backend}");
        }
    }
}

#[test]
fn a_sampled_operation_that_takes_long_is_a_stall() {
    for backend in SAMPLED {
        let map = Map::<u32, u32>::new(backend);
        map.insert(1, 1);
        let stalls = || map.sampled_stalls().unwrap().stalls;
        let before = stalls();
        let slow = Duration::from_micros(50);
        while stalls().since(&before).count() < 3 {
            map.get_with(&1, |_| thread::sleep(slow));
        }
        assert!(stalls().since(&before).quantile(0.0) >= Some(slow.as_nanos() as u64), "{backend}");
        assert!(map.lock_waits().is_none() && map.flat_totals().is_none(), "{backend} has no hooks");
    }
}

#[test]
fn what_was_seen_stays_when_a_map_is_turned_away_and_back() {
    let map = Map::<u64, u64>::new(Backend::Flat);
    (0..10_000).for_each(|key| _ = map.insert(key, key));
    let grown = map.flat_totals().unwrap();
    assert!(grown.resizes > 0 && grown.moved_buckets >= grown.helps && grown.helps > grown.resizes, "{grown:?}");
    let shape = map.shape().unwrap();
    assert!((0.3..1.5).contains(&shape.load) && (1.0..2.0).contains(&shape.mean()), "{shape:?}");
    map.turn(Backend::Papaya).unwrap().wait(None);
    // A table that is emptied shrinks.
    let left = map.flat_totals().unwrap();
    assert!(left.resizes >= grown.resizes && map.shape().is_none(), "{grown:?}, then {left:?}");
    assert!(map.sampled_stalls().is_some(), "papaya is looked at by sampling");
    map.turn(Backend::Flat).unwrap().wait(None);
    let back = map.flat_totals().unwrap();
    assert!(back.resizes >= left.resizes && back.helps >= left.helps, "{left:?}, then {back:?}");
    assert!(map.sampled_stalls().is_some(), "what was sampled stays too");
}

#[test]
fn fixed_has_as_many_buckets_as_it_was_told() {
    let map = Map::<u64, u64>::with_buckets(Backend::Fixed, 1000);
    (0..512).for_each(|key| _ = map.insert(key, key));
    assert_eq!(map.shape().unwrap().load, 0.5, "1000 buckets are 1024");
    map.turn(Backend::Sharded).unwrap().wait(None);
    (512..4096).for_each(|key| _ = map.insert(key, key));
    map.turn(Backend::Fixed).unwrap().wait(None);
    assert_eq!(map.shape().unwrap().load, 1.0, "a hand-over makes as many as there are entries");
    let least = Map::<u64, u64>::with_buckets(Backend::Fixed, 0);
    (0..64).for_each(|key| _ = least.insert(key, key));
    let shape = least.shape().unwrap();
    assert_eq!((shape.load, shape.chains), (64.0 / FIXED_BUCKETS_MIN as f64, FIXED_BUCKETS_MIN as u64));
    assert_eq!((shape.steps, shape.mean()), (64, 4.0));
}

/// Gauges of seconds are read in nanoseconds, as counters of them are.
#[test]
fn what_maps_retire_shows_for_how_long_a_guard_holds_it_up() {
    let domain = HostedDomain::of_process("tested").unwrap();
    let age = || read(&*domain).level_of(&RECLAIM_OLDEST_PIN).unwrap();
    let guard = reclaim::pin();
    age();
    let held = Duration::from_millis(20);
    thread::sleep(held);
    let seen = age();
    assert!((held.as_nanos() as f64..60e9).contains(&seen), "{seen} ns");
    drop(guard);
}
