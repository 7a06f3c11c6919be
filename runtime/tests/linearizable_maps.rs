//! Few hot keys under two to eight threads, on every backend: what each operation returned can be explained, key by key,
//! by one order that keeps to the times of the operations.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_linearize::{Limits, Operation, Recorder, Register, RegisterCall, RegisterReturn, check, split};
use rheostat_runtime::map::{Backend, Map};
use std::sync::Barrier;
use std::thread;

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

fn perform(map: &Map<u8, i64>, key: u8, call: RegisterCall) -> RegisterReturn {
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

fn history(map: &Map<u8, i64>, threads: usize, seed: u64) -> History {
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
                    for number in 0..OPERATIONS / threads {
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

#[test]
fn every_key_of_every_backend_is_linearizable() {
    for (backend, threads) in
        Backend::ALL.into_iter().flat_map(|backend| [2, 3, 4, 8].map(|threads| (backend, threads)))
    {
        for seed in SEED..SEED + 2 {
            let keys = split(history(&Map::new(backend), threads, seed));
            assert_eq!(keys.len(), usize::from(KEYS));
            for (key, operations) in keys {
                let what = format!("key {key} of {backend} under {threads} threads, seed {seed}");
                check(&Register, &operations, Limits::default()).assert(what);
            }
        }
    }
}
