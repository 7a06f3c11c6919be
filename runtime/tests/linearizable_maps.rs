//! Few hot keys under two to eight threads, on every backend and while the map moves between them: what each operation
//! returned can be explained, key by key, by one order that keeps to the times of the operations.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_linearize::{Limits, Operation, Recorder, Register, RegisterCall, RegisterReturn, check, split};
use rheostat_runtime::map::handover::Phase;
use rheostat_runtime::map::{Backend, Map};
use rheostat_runtime::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::hash::Hash;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

const SEED: u64 = 0x5eed_2026;
const KEYS: u8 = 3;
/// Operations of one history: more threads do fewer each.
const OPERATIONS: usize = 3_000;

type History = Vec<Operation<(u8, RegisterCall), RegisterReturn>>;

/// Gives the core away now and then: on few cores races need help.
fn jitter() {
    if fastrand::u8(..) < 8 {
        thread::yield_now();
    }
}

/// What a map is asked for. Each value that is put in differs from every other by more than is ever added to it: one
/// that is found says which put it was, and how many additions came on top. `seen` is what the thread found last.
fn draw(unique: i64, seen: i64) -> RegisterCall {
    match fastrand::u8(..16) {
        0..=3 => RegisterCall::Get,
        4 | 5 => RegisterCall::Insert(unique),
        6 => RegisterCall::InsertIfAbsent(unique),
        7 | 8 => RegisterCall::Remove,
        9 => RegisterCall::RemoveIf(seen),
        10 | 11 => RegisterCall::Add(1),
        12 | 13 => RegisterCall::AddOrInsert(1),
        _ => RegisterCall::CompareExchange { current: seen, new: unique },
    }
}

/// Keys as they are, or on the heap: a backend may have a form of its own for integers.
trait Key: From<u8> + Hash + Ord + Clone + Send + Sync + 'static {}
impl Key for u8 {}
impl Key for Box<u8> {}

fn perform<K: Key>(map: &Map<K, i64>, key: u8, call: RegisterCall) -> RegisterReturn {
    let key = K::from(key);
    // Between what a closure reads and what comes of it is where an update is lost.
    let adding = |n: i64| {
        move |value: &i64| {
            jitter();
            value + n
        }
    };
    RegisterReturn::Found(match call {
        RegisterCall::Get => map.get(&key),
        RegisterCall::Insert(value) => map.insert(key, value),
        RegisterCall::InsertIfAbsent(value) => return RegisterReturn::Did(map.insert_if_absent(key, value).is_ok()),
        RegisterCall::Remove => map.remove(&key),
        RegisterCall::RemoveIf(seen) => {
            let is_it = |value: &i64| {
                jitter();
                *value == seen
            };
            return RegisterReturn::Did(map.remove_if(&key, is_it).is_some());
        }
        RegisterCall::Add(n) => map.update(&key, adding(n)),
        RegisterCall::AddOrInsert(n) => map.upsert(key, n, adding(n)),
        RegisterCall::CompareExchange { current, new } => match map.compare_exchange(&key, &current, &new) {
            Ok(replaced) => {
                assert_eq!(replaced, current, "exchanged for what it was not to be");
                Some(replaced)
            }
            Err(found) => {
                assert_ne!(found, Some(current), "not exchanged, and it was there");
                found
            }
        },
    })
}

fn history<K: Key>(map: &Map<K, i64>, threads: usize, operations: usize, seed: u64) -> History {
    let (recorder, start) = (Recorder::new(), Barrier::new(threads));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|index| {
                let (recorder, start) = (&recorder, &start);
                scope.spawn(move || {
                    fastrand::seed(seed ^ (index as u64) << 32);
                    let mut log = recorder.log(index);
                    let mut seen = 0;
                    start.wait();
                    for number in 0..operations / threads {
                        let unique = ((number << 4 | index) as i64) << 20;
                        let (key, call) = (fastrand::u8(..KEYS), draw(unique, seen));
                        if let RegisterReturn::Found(Some(found)) = log.record((key, call), |_| perform(map, key, call))
                        {
                            seen = *found;
                        }
                        jitter();
                    }
                    log.into_operations()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

fn assert_linearizable<K: Key>(backend: Backend) {
    for threads in [2, 3, 4, 8] {
        for seed in SEED..SEED + 2 {
            let keys = split(history(&Map::<K, i64>::new(backend), threads, OPERATIONS, seed));
            assert_eq!(keys.len(), usize::from(KEYS));
            for (key, operations) in keys {
                let what = format!("key {key} of {backend} under {threads} threads, seed {seed}");
                check(&Register, &operations, Limits::default()).assert(what);
            }
        }
    }
}

#[test]
fn every_key_of_every_backend_is_linearizable() {
    Backend::ALL.into_iter().for_each(assert_linearizable::<u8>);
}

#[test]
fn so_is_a_flat_map_of_pointers() {
    assert_linearizable::<Box<u8>>(Backend::Flat);
}

/// Turns the map to one backend after another until told to stop: by turns as fast as it can and with a pause, and one
/// in four is called off in its midst. Returns how many ended there, and how many back where they began.
fn storm(map: &Map<u8, i64>, pause: Duration, seed: u64, stop: &AtomicBool) -> [usize; 2] {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut ends = [0, 0];
    while !stop.load(Relaxed) {
        let handover = map.turn(Backend::ALL[random.usize(..Backend::ALL.len())]).unwrap();
        if random.u8(..4) == 0 {
            (0..random.u8(..40)).for_each(|_| thread::yield_now());
            handover.cancel();
        }
        assert!(handover.wait(Some(Duration::from_secs(20))), "{handover:?}");
        ends[usize::from(handover.phase() == Phase::Undone)] += 1;
        thread::sleep(pause);
    }
    ends
}

/// Histories in a storm, the threads of which give way at every operation, and what became of the hand-overs.
fn in_a_storm(threads: usize, entries: u8, pause: Duration, seed: u64) -> [usize; 2] {
    const OPERATIONS: usize = 20_000;
    let (map, stop) = (Map::new(Backend::ALL[seed as usize % Backend::ALL.len()]), AtomicBool::new(false));
    // Keys that nobody asks for: the more there are, the longer the map stays between two backends.
    (KEYS..entries).for_each(|key| _ = map.insert(key, 0));
    let (history, ends) = thread::scope(|scope| {
        let turner = scope.spawn(|| storm(&map, pause, seed, &stop));
        let history = history(&map, threads, OPERATIONS, seed);
        stop.store(true, Relaxed);
        (history, turner.join().unwrap())
    });
    for (key, operations) in split(history) {
        let what = format!("key {key} of a map that moves, under {threads} threads, seed {seed}");
        check(&Register, &operations, Limits::default()).assert(what);
    }
    ends
}

/// Keys as they are and on the heap, by turns.
fn from_each_to_each<K: Key>(nth: usize) {
    let pairs = Backend::ALL.into_iter().flat_map(|from| Backend::ALL.map(|to| (from, to)));
    for (seed, (from, to)) in (SEED..).zip(pairs).skip(nth).step_by(2) {
        let map = Map::<K, i64>::new(from);
        // Keys that nobody asks for keep the map between the two for longer.
        (KEYS..250).for_each(|key| _ = map.insert(K::from(key), 0));
        let (history, phase) = thread::scope(|scope| {
            let turner = scope.spawn(|| {
                let handover = map.turn(to).unwrap();
                assert!(handover.wait(Some(Duration::from_secs(20))), "{handover:?}");
                handover.phase()
            });
            (history(&map, 3, OPERATIONS, seed), turner.join().unwrap())
        });
        assert_eq!((phase, map.backend()), (Phase::Done, to));
        for (key, operations) in split(history) {
            let what = format!("key {key} of a map that moves from {from} to {to}, seed {seed}");
            check(&Register, &operations, Limits::default()).assert(what);
        }
    }
}

#[test]
fn every_key_is_linearizable_from_each_backend_to_each() {
    from_each_to_each::<u8>(0);
    from_each_to_each::<Box<u8>>(1);
}

#[test]
fn every_key_is_linearizable_while_the_map_moves() {
    let mut ends = [0, 0];
    for threads in [2, 3, 4, 8] {
        for (entries, pause) in [(KEYS, 0), (200, 0), (200, 1), (KEYS, 20)] {
            let seed = SEED + threads as u64 + u64::from(entries);
            let more = in_a_storm(threads, entries, Duration::from_millis(pause), seed);
            (0..2).for_each(|end| ends[end] += more[end]);
        }
    }
    assert!(ends[0] >= 10 && ends[1] > 0, "hardly a storm: {ends:?}");
}
