//! Maps that move between backends while they are used: nothing is lost, nothing comes back, nothing is dropped twice.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_runtime::map::handover::Phase;
use rheostat_runtime::map::{Backend, CounterMap, HandoverRefused, Map, MapLimits};
use rheostat_runtime::observe::families::{
    MAP_HANDOVER_KEYS, MAP_HANDOVER_MOVED, MAP_HANDOVER_MOVES, MAP_HANDOVER_PHASE, MAP_HANDOVER_STALL, MAP_HANDOVERS,
};
use rheostat_runtime::observe::{
    Actor, Family, Measure, Outcome, Reading, Registry, Resource, TurnError, Turned, Value,
};
use rheostat_runtime::reclaim;
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// How many hand-overs a storm has.
const STORM: usize = if cfg!(debug_assertions) { 10 } else { 200 };

fn pairs() -> impl Iterator<Item = (Backend, Backend)> {
    Backend::ALL.into_iter().flat_map(|from| Backend::ALL.map(|to| (from, to)))
}

/// Turns to random backends, now and then cancelling, and then says that it is done.
fn storm(map: &Map<u32, u64>, seed: u64, done: &AtomicBool) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..STORM {
        let handover = map.turn(Backend::ALL[random.usize(0..Backend::ALL.len())]).unwrap();
        if random.u8(0..3) == 0 {
            thread::sleep(Duration::from_micros(random.u64(0..500)));
            handover.cancel();
        }
        handover.wait(None);
        thread::sleep(Duration::from_micros(random.u64(0..2000)));
    }
    done.store(true, Relaxed);
}

/// Runs `work` on `threads` threads until a storm is over, each with its seed.
fn in_a_storm<R: Send>(map: &Map<u32, u64>, threads: usize, work: impl Fn(u64, &AtomicBool) -> R + Sync) -> Vec<R> {
    let (done, work) = (&AtomicBool::new(false), &work);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads as u64).map(|seed| scope.spawn(move || work(seed, done))).collect();
        storm(map, threads as u64, done);
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    })
}

#[test]
fn every_pair_of_backends_hands_over_whole() {
    for (from, to) in pairs() {
        let map = Map::<u32, String>::new(from);
        (0..5000).for_each(|key| _ = map.insert(key, format!("value {key}")));
        let handover = map.turn(to).unwrap();
        assert!(handover.wait(None));
        assert_eq!((handover.phase(), map.backend(), map.len()), (Phase::Done, to, 5000), "{from} to {to}");
        (0..5000).for_each(|key| assert_eq!(map.get(&key), Some(format!("value {key}")), "{from} to {to}"));
        assert_eq!(handover.keys(), (5000, 5000));
    }
}

#[test]
fn increments_are_a_permutation_in_a_storm() {
    for threads in [2, 8] {
        const KEYS: u32 = 64;
        let map = Map::<u32, u64>::new(Backend::Sharded);
        (0..2000).for_each(|key| _ = map.insert(key, 0));
        let returned = in_a_storm(&map, threads, |seed, done| {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut returned = HashMap::<u32, Vec<u64>>::new();
            while !done.load(Relaxed) {
                let key = random.u32(0..KEYS);
                let old = map.upsert(key, u64::MAX, |value| value + 1).expect("it is there");
                returned.entry(key).or_default().push(old);
            }
            returned
        });
        let mut all = HashMap::<u32, Vec<u64>>::new();
        for (key, olds) in returned.into_iter().flatten() {
            all.entry(key).or_default().extend(olds);
        }
        for (key, mut olds) in all {
            olds.sort_unstable();
            let operations = olds.len() as u64;
            assert!(olds.into_iter().eq(0..operations), "old values of {key} are no permutation");
            assert_eq!(map.get(&key), Some(operations));
        }
        assert_eq!(map.len(), 2000);
    }
}

#[test]
fn deletes_stay_dead_and_reads_never_go_back_in_a_storm() {
    const KEYS: u32 = 512;
    let map = Map::<u32, u64>::new(Backend::Papaya);
    (KEYS..4000).for_each(|key| _ = map.insert(key, 0));
    let threads = 4;
    in_a_storm(&map, threads, |seed, done| {
        // Each key has one writer, which knows what must be there; the others watch it grow, never shrink.
        let mut random = fastrand::Rng::with_seed(seed);
        let mut mine = HashMap::<u32, u64>::new();
        let mut seen = HashMap::<u32, u64>::new();
        let mut clock = 0;
        while !done.load(Relaxed) {
            let key = random.u32(0..KEYS);
            if u64::from(key) % threads as u64 == seed {
                clock += 1;
                match random.u8(0..4) {
                    0 => assert_eq!(map.remove(&key), mine.remove(&key)),
                    1 => assert_eq!(map.insert(key, clock), mine.insert(key, clock)),
                    2 => {
                        let there = mine.contains_key(&key);
                        assert_eq!(map.insert_if_absent(key, clock), if there { Err(clock) } else { Ok(()) });
                        mine.entry(key).or_insert(clock);
                    }
                    _ => assert_eq!(map.get(&key), mine.get(&key).copied(), "key {key}"),
                }
            } else if let Some(value) = map.get(&key) {
                let before = seen.insert(key, value).unwrap_or(0);
                assert!(value >= before, "{key} went back from {before} to {value}");
            }
            let stays = random.u32(KEYS..4000);
            assert_eq!(map.get(&stays), Some(0), "{stays} was never removed");
        }
    });
}

#[test]
fn scans_in_a_storm_meet_what_stays_once_and_nothing_twice() {
    let map = Map::<u32, u64>::new(Backend::Sharded);
    (0..3000).for_each(|key| _ = map.insert(key, 0));
    in_a_storm(&map, 3, |seed, done| {
        let mut random = fastrand::Rng::with_seed(seed);
        while !done.load(Relaxed) {
            if seed > 0 {
                map.insert(random.u32(3000..9000), 1);
                map.remove(&random.u32(3000..9000));
                map.update(&random.u32(0..3000), |value| value + 1);
                continue;
            }
            let (mut seen, mut cursor) = (HashSet::new(), None);
            loop {
                let (page, next) = map.scan(cursor, 700);
                page.into_iter().for_each(|(key, _)| assert!(seen.insert(key), "{key} came twice"));
                let Some(next) = next else { break };
                cursor = Some(next);
            }
            assert_eq!((0..3000).find(|key| !seen.contains(key)), None, "never came in pages");
            let mut shown = HashSet::new();
            map.for_each(|key, _| assert!(shown.insert(*key), "{key} was shown twice"));
            assert_eq!((0..3000).find(|key| !shown.contains(key)), None, "never shown");
        }
    });
}

#[test]
fn counters_keep_every_add_in_a_storm() {
    let map = CounterMap::new("tested", Backend::Sharded, MapLimits::default()).unwrap();
    (0..1000_u32).for_each(|key| _ = map.insert(&key.to_be_bytes(), 0).unwrap());
    let done = AtomicBool::new(false);
    let (mut put_in, mut taken_out) = (0, 0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|seed| {
                let (map, done) = (&map, &done);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    let (mut put_in, mut taken_out) = (0, 0);
                    while !done.load(Relaxed) {
                        let key = random.u32(0..20).to_be_bytes();
                        if random.u8(0..20) == 0 {
                            taken_out += map.remove(&key).unwrap_or(0);
                        } else {
                            map.add(&key, 3).unwrap();
                            put_in += 3;
                        }
                    }
                    (put_in, taken_out)
                })
            })
            .collect();
        let mut random = fastrand::Rng::with_seed(7);
        let mut totals = totals(&read(&*map));
        for _ in 0..STORM {
            let handover = map.turn_backend(Backend::ALL[random.usize(0..Backend::ALL.len())]).unwrap();
            while !handover.is_over() {
                none_fell(&mut totals, &read(&*map));
            }
        }
        none_fell(&mut totals, &read(&*map));
        done.store(true, Relaxed);
        for worker in workers {
            let (ours, theirs) = worker.join().unwrap();
            put_in += ours;
            taken_out += theirs;
        }
    });
    let mut inside = 0;
    map.for_each(|_, value| inside += value);
    assert_eq!(put_in, taken_out + inside);
}

fn read(map: &impl Resource) -> Reading {
    let mut reading = Reading::default();
    map.read(&mut reading);
    reading
}

type Series = (&'static str, Vec<&'static str>, usize);

/// All that only ever grows, by series; strips by part, histograms by their count and sum.
fn totals(reading: &Reading) -> HashMap<Series, u64> {
    let numbers = |measure: &Measure| match measure {
        Measure::Total(total) => vec![*total],
        Measure::Strip(parts) => parts.to_vec(),
        Measure::Spread(spread) => vec![spread.count(), spread.sum(), spread.max()],
        Measure::Level(_) => vec![],
    };
    let samples = reading.samples.iter();
    samples
        .flat_map(|sample| {
            let series = |(part, total)| ((sample.family.name, sample.labels.clone(), part), total);
            numbers(&sample.measure).into_iter().enumerate().map(series)
        })
        .collect()
}

/// Series of a backend not in force may be absent, but come back where they were.
fn none_fell(seen: &mut HashMap<Series, u64>, reading: &Reading) {
    for (series, total) in totals(reading) {
        let before = seen.insert(series.clone(), total).unwrap_or(0);
        assert!(total >= before, "{series:?} fell from {before} to {total}");
    }
}

fn phase(reading: &Reading) -> Vec<&'static str> {
    let phases = reading.samples.iter().filter(|sample| sample.family == &MAP_HANDOVER_PHASE);
    phases
        .filter(|sample| matches!(sample.measure, Measure::Level(1.0)))
        .flat_map(|sample| sample.labels.clone())
        .collect()
}

#[test]
fn a_reading_tells_of_hand_overs() {
    let map = CounterMap::new("tested", Backend::Sharded, MapLimits::default()).unwrap();
    (0..1000_u32).for_each(|key| _ = map.insert(&key.to_be_bytes(), 0).unwrap());
    let total = |reading: &Reading, family: &Family| reading.total_of(family).unwrap();
    let fresh = read(&*map);
    assert_eq!((phase(&fresh), total(&fresh, &MAP_HANDOVERS), total(&fresh, &MAP_HANDOVER_MOVES)), (vec![], 0, 0));
    for (turns, to) in [(1, Backend::Papaya), (2, Backend::Sharded), (3, Backend::LockFree)] {
        map.turn_backend(to).unwrap().wait(None);
        let reading = read(&*map);
        assert_eq!((phase(&reading), total(&reading, &MAP_HANDOVERS)), (vec!["done"], turns));
        assert_eq!(total(&reading, &MAP_HANDOVER_MOVES), 1000 * turns);
        assert_eq!(reading.level_of(&MAP_HANDOVER_KEYS), Some(1000.0));
        assert_eq!(reading.level_of(&MAP_HANDOVER_MOVED), Some(1000.0));
        assert!(reading.samples.iter().any(|sample| sample.family == &MAP_HANDOVER_STALL));
    }
}

#[test]
fn contention_is_counted_on_when_the_map_comes_back() {
    let map = Map::<u32, u32>::new(Backend::Sharded);
    (0..10_000).for_each(|key| _ = map.insert(key, 0));
    let (inside, begun) = (Barrier::new(2), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            map.get_with(&1, |_| {
                inside.wait();
                while !begun.load(Relaxed) {
                    thread::yield_now();
                }
                thread::sleep(Duration::from_millis(20));
            })
        });
        inside.wait();
        begun.store(true, Relaxed);
        map.insert(1, 2);
    });
    let (waits, operations) = (map.lock_waits().unwrap(), map.shard_operations().unwrap());
    assert_eq!(waits.count(), 1);
    for to in [Backend::Papaya, Backend::Sharded] {
        map.turn(to).unwrap().wait(None);
        assert_eq!(map.lock_waits().map(|waits| waits.count()), Some(1), "on {to}");
    }
    let on = map.shard_operations().unwrap();
    assert!(on.iter().zip(&operations).all(|(now, then)| now >= then), "{operations:?}, then {on:?}");
    assert_eq!(map.shard_contentions().unwrap().iter().sum::<u64>(), 1);
}

#[test]
fn turning_the_knob_back_cancels() {
    let backend = |backend: Backend| Value::Choice(backend.to_string());
    let map = CounterMap::new("tested", Backend::Papaya, MapLimits::default()).unwrap();
    (0..2000_u32).for_each(|key| _ = map.insert(&key.to_be_bytes(), 7).unwrap());
    // The hand-over waits for this guard, so it is under way for sure.
    let guard = reclaim::pin();
    let (there, back) = thread::scope(|scope| {
        let there = scope.spawn(|| map.turn("backend", &backend(Backend::Sharded)));
        while map.handover().is_none() {
            thread::yield_now();
        }
        let back = scope.spawn(|| map.turn("backend", &backend(Backend::Papaya)));
        while !map.handover().unwrap().is_cancelled() {
            thread::yield_now();
        }
        drop(guard);
        (there.join().unwrap(), back.join().unwrap())
    });
    // A turn that has waited long enough says that it is not settled rather than how it ends.
    assert!(matches!(there, Err(TurnError::Failed { .. }) | Ok(Turned { settled: false, .. })), "{there:?}");
    if let Err(TurnError::Failed { why, .. }) = &there {
        assert_eq!(why, "it was turned back; the map is whole, on papaya");
    }
    let back = back.unwrap();
    assert_eq!((back.from, back.to), (backend(Backend::Sharded), backend(Backend::Papaya)));
    assert_eq!(back.reason.as_deref(), Some("turned back after 0 of 2000 keys"));
    assert!(map.handover().unwrap().wait(None));
    let reading = read(&*map);
    assert_eq!((phase(&reading), map.backend(), map.len()), (vec!["undone"], Backend::Papaya, 2000));
    assert_eq!(map.handovers().undone, 1);
    assert_eq!(map.settled("backend", &backend(Backend::Papaya)), Some(Ok(())), "as the one who turned back wanted");
    let undone = map.settled("backend", &backend(Backend::Sharded));
    assert!(matches!(undone, Some(Err(TurnError::Failed { .. }))), "{undone:?}");
    assert!((0..2000_u32).all(|key| map.get(&key.to_be_bytes()) == Some(7)));
    // Once it is over it is turned like any other.
    assert!(map.turn("backend", &backend(Backend::Sharded)).unwrap().settled);
    assert_eq!(map.backend(), Backend::Sharded);
}

#[test]
fn a_turn_longer_than_a_turn_may_take_ends_in_the_journal() {
    let map = CounterMap::new("tested", Backend::Papaya, MapLimits::default()).unwrap();
    let registry = Registry::new();
    registry.add(map.clone()).unwrap();
    let to = Value::Choice(Backend::Flat.to_string());
    // The hand-over waits for this guard, and the turn for the hand-over, two seconds.
    let guard = reclaim::pin();
    let turn = || registry.turn(map.address(), "backend", to.clone(), Actor::Process).unwrap();
    let settling = thread::scope(|scope| scope.spawn(turn).join().unwrap());
    assert_eq!((settling.outcome, registry.settle()), (Outcome::Settling, vec![]));
    drop(guard);
    assert!(map.handover().unwrap().wait(None));
    let [ended] = registry.settle().try_into().unwrap();
    assert_eq!((ended.id, &ended.outcome), (settling.id, &Outcome::Applied));
    assert!(ended.took >= settling.took, "{ended:?}");
    assert_eq!(registry.journal().since(0), [ended]);
}

/// A value that is counted while it lives.
#[derive(Debug)]
struct Live(Arc<AtomicUsize>, u32);

impl Live {
    fn new(alive: &Arc<AtomicUsize>, value: u32) -> Self {
        alive.fetch_add(1, Relaxed);
        Self(alive.clone(), value)
    }
}

impl Clone for Live {
    fn clone(&self) -> Self {
        Self::new(&self.0, self.1)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[test]
fn every_copy_is_dropped_once() {
    for (from, to) in pairs() {
        let alive = Arc::new(AtomicUsize::new(0));
        let map = Map::<u32, Live>::new(from);
        (0..500).for_each(|key| _ = map.insert(key, Live::new(&alive, key)));
        let handover = map.turn(to).unwrap();
        (0..100).for_each(|key| assert_eq!(map.remove(&key).unwrap().1, key));
        handover.wait(None);
        assert_eq!(map.len(), 400);
        assert!(alive.load(Relaxed) >= 400);
        drop(map);
        // The thread of the hand-over lets go of its table last, after it has said that it is over.
        let start = Instant::now();
        while alive.load(Relaxed) > 0 && start.elapsed() < Duration::from_secs(20) {
            thread::yield_now();
        }
        assert_eq!(alive.load(Relaxed), 0, "{from} to {to}");
    }
}

/// A key like all others to `Hash`: one stripe has them all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Alike(u32);

impl std::hash::Hash for Alike {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

/// What writes to a map when it is dropped.
struct Meddler(Arc<Map<Alike, u32>>);

impl Drop for Meddler {
    fn drop(&mut self) {
        self.0.update(&Alike(0), |count| count + 1);
    }
}

#[test]
fn garbage_of_others_may_use_the_map_when_it_is_dropped() {
    let map = Arc::new(Map::new(Backend::Flat));
    (0..600).for_each(|key| _ = map.insert(Alike(key), 0));
    let handover = map.turn(Backend::Sharded).unwrap();
    let mut retired = 0;
    let start = Instant::now();
    while !handover.is_over() {
        assert!(start.elapsed() < Duration::from_secs(25), "one waits for a stripe that it holds: {handover:?}");
        let meddler = Box::into_raw(Box::new(Meddler(map.clone())));
        // SAFETY: from a box, and nobody else knows of it.
        unsafe { reclaim::pin().retire(meddler) };
        retired += 1;
        thread::yield_now();
    }
    assert_eq!((handover.phase(), map.len()), (Phase::Done, 600));
    reclaim::synchronize().unwrap();
    assert!(map.get(&Alike(0)).unwrap() <= retired, "one update each");
}

#[test]
fn one_at_a_time_and_within_the_budget() {
    let map = Map::<u32, u64>::new(Backend::Sharded);
    (0..100_000).for_each(|key| _ = map.insert(key, 0));
    let small = map.turn_within(Backend::LockFree, 1000).unwrap_err();
    assert!(matches!(small, HandoverRefused::Budget { entries: 100_000, budget: 1000, .. }), "{small}");
    // The hand-over waits for this closure, so it is under way for sure.
    let second = map.get_with(&1, |_| {
        let turn_twice = || {
            map.turn(Backend::Papaya).unwrap();
            map.turn(Backend::LockFree).unwrap_err()
        };
        thread::scope(|scope| scope.spawn(turn_twice).join().unwrap())
    });
    assert_eq!(second, Some(HandoverRefused::UnderWay { from: Backend::Sharded, to: Backend::Papaya }));
    map.handover().unwrap().wait(None);
    assert_eq!(map.backend(), Backend::Papaya);
}

#[test]
fn waiting_where_the_hand_over_waits_panics_rather_than_hangs() {
    let map = Map::<u32, u64>::new(Backend::Sharded);
    map.insert(1, 1);
    let inside = catch_unwind(AssertUnwindSafe(|| map.get_with(&1, |_| map.turn(Backend::Papaya).is_ok())));
    assert!(inside.is_err());
    let handover = map.turn(Backend::Papaya).unwrap();
    let inside = catch_unwind(AssertUnwindSafe(|| map.get_with(&1, |_| handover.wait(None))));
    assert!(inside.is_err());
    assert!(handover.wait(None));
}

#[test]
fn a_map_may_be_dropped_in_the_midst_of_it() {
    for (from, to) in pairs() {
        let map = Map::<u32, u64>::new(from);
        (0..20_000).for_each(|key| _ = map.insert(key, 0));
        let handover = map.turn(to).unwrap();
        drop(map);
        assert!(handover.wait(Some(Duration::from_secs(20))), "{from} to {to} goes on for nobody");
        let map = Map::<u32, u64>::new(from);
        (0..100).for_each(|key| _ = map.insert(key, 0));
        // It has not begun to move while this guard is held.
        let guard = reclaim::pin();
        let handover = map.turn(to).unwrap();
        drop(map);
        drop(guard);
        handover.wait(None);
        assert_eq!((handover.phase(), handover.keys().0), (Phase::Undone, 0), "{from} to {to}");
    }
}

/// A value whose copy panics as long as it is told to.
#[derive(Debug)]
struct Stubborn(Arc<AtomicBool>, u32);

impl Clone for Stubborn {
    fn clone(&self) -> Self {
        assert!(!self.0.load(Relaxed), "not now");
        Self(self.0.clone(), self.1)
    }
}

#[test]
fn a_value_that_cannot_be_copied_sends_the_map_back_whole() {
    for (from, to) in pairs() {
        let stubborn = Arc::new(AtomicBool::new(false));
        let never = Arc::new(AtomicBool::new(false));
        let map = Map::<u32, Stubborn>::new(from);
        (0..300).for_each(|key| {
            _ = map.insert(key, Stubborn(if key == 7 { stubborn.clone() } else { never.clone() }, key))
        });
        stubborn.store(true, Relaxed);
        let handover = map.turn(to).unwrap();
        handover.wait(None);
        assert_eq!((handover.phase(), map.backend()), (Phase::Undone, from), "{from} to {to}");
        assert!(handover.failures() > 0);
        stubborn.store(false, Relaxed);
        (0..300).for_each(|key| assert_eq!(map.get(&key).map(|value| value.1), Some(key), "{from} to {to}"));
        assert_eq!(map.len(), 300);
        let handover = map.turn(to).unwrap();
        handover.wait(None);
        assert_eq!((handover.phase(), map.len()), (Phase::Done, 300));
    }
}
