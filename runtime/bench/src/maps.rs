//! Maps of u64 to u64 under foldhash: ours that keeps plain data in place, beside std's without a lock and the field's.
//!
//! Keys are random, from a seed of each repetition that all contenders share, and so is the order of operations; a
//! thread's operations are made beforehand. A case is run on one thread and on two, pinned to two cores; figures are
//! wall time by the number of operations of all threads together, so perfect scaling halves them. std's map is run on
//! one thread only.
//!
//! - *read*: keys that are there.
//! - *95/5*: 95 % reads, 5 % values replaced, of keys that are there.
//! - *mixed*: 70 % reads, 10 % insertions of new keys, 10 % replacements, 10 % removals; as many go in as come out.
//! - *insert*: that many new keys into a map made empty.
//!
//! Proof: the sum of values read, of the last repetition: equal for all contenders of a case on one thread.

use crate::measure::{Contender, compare, pin};
use foldhash::fast::RandomState;
use rheostat_runtime::map::FlatMap;
use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::sync::Barrier;
use std::time::Instant;

const REPETITIONS: usize = 5;

/// What every contender can do.
trait Peer: Sync {
    fn empty() -> Self;
    fn get(&self, key: u64) -> Option<u64>;
    fn put(&self, key: u64, value: u64);
    fn remove(&self, key: u64);
}

impl Peer for FlatMap<u64, u64, RandomState> {
    fn empty() -> Self {
        Self::default()
    }
    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        FlatMap::get(self, &key)
    }
    #[inline]
    fn put(&self, key: u64, value: u64) {
        self.insert(key, value);
    }
    #[inline]
    fn remove(&self, key: u64) {
        FlatMap::remove(self, &key);
    }
}

impl Peer for dashmap::DashMap<u64, u64, RandomState> {
    fn empty() -> Self {
        Self::default()
    }
    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        dashmap::DashMap::get(self, &key).map(|entry| *entry)
    }
    #[inline]
    fn put(&self, key: u64, value: u64) {
        self.insert(key, value);
    }
    #[inline]
    fn remove(&self, key: u64) {
        dashmap::DashMap::remove(self, &key);
    }
}

impl Peer for scc::HashMap<u64, u64, RandomState> {
    fn empty() -> Self {
        Self::default()
    }
    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        self.read_sync(&key, |_, value| *value)
    }
    #[inline]
    fn put(&self, key: u64, value: u64) {
        self.upsert_sync(key, value);
    }
    #[inline]
    fn remove(&self, key: u64) {
        self.remove_sync(&key);
    }
}

/// std's map as it is, for one thread.
struct Alone(UnsafeCell<HashMap<u64, u64, RandomState>>);

// SAFETY: cases with more than one thread leave this contender out.
unsafe impl Sync for Alone {}

impl Peer for Alone {
    fn empty() -> Self {
        Self(UnsafeCell::default())
    }
    #[inline]
    fn get(&self, key: u64) -> Option<u64> {
        // SAFETY: one thread, and no reference is kept beyond a call.
        unsafe { &*self.0.get() }.get(&key).copied()
    }
    #[inline]
    fn put(&self, key: u64, value: u64) {
        // SAFETY: as in `get`.
        unsafe { &mut *self.0.get() }.insert(key, value);
    }
    #[inline]
    fn remove(&self, key: u64) {
        // SAFETY: as in `get`.
        unsafe { &mut *self.0.get() }.remove(&key);
    }
}

#[derive(Clone, Copy)]
enum Op {
    Get(u64),
    Put(u64, u64),
    Remove(u64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mix {
    Read,
    Update,
    Mixed,
    Insert,
}

const MIXES: [(&str, Mix); 4] =
    [("read", Mix::Read), ("95/5", Mix::Update), ("mixed", Mix::Mixed), ("insert", Mix::Insert)];

/// SplitMix64: a bijection, so that distinct numbers are distinct keys.
fn key(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        ((u128::from(key(self.0)) * u128::from(bound)) >> 64) as u64
    }
}

/// The operations of one thread; `base` is the first of the `entries` keys that are there.
fn plan(mix: Mix, entries: u64, count: u64, base: u64, thread: u64, threads: u64) -> Vec<Op> {
    let mut chance = Chance(base ^ (thread << 40) ^ 0xabcd);
    let part = entries / threads;
    // New keys, and those removed, belong to one thread each, so that what is there at the end does not depend on luck.
    let (mut fresh, mut oldest) = (base + entries * (2 + thread), base + part * thread);
    (0..count)
        .map(|_| match mix {
            Mix::Read => Op::Get(key(base + chance.below(entries))),
            Mix::Update if chance.below(100) < 95 => Op::Get(key(base + chance.below(entries))),
            Mix::Update => Op::Put(key(base + chance.below(entries)), 1),
            Mix::Insert => {
                fresh += 1;
                Op::Put(key(fresh), fresh)
            }
            Mix::Mixed => match chance.below(10) {
                0..7 => Op::Get(key(base + chance.below(entries))),
                7 => {
                    fresh += 1;
                    Op::Put(key(fresh), fresh)
                }
                8 => Op::Put(key(base + chance.below(entries)), 1),
                _ => {
                    oldest += 1;
                    Op::Remove(key(oldest))
                }
            },
        })
        .collect()
}

fn repetition<P: Peer>(mix: Mix, entries: u64, threads: u64, base: u64) -> (f64, u64) {
    let map = P::empty();
    if mix != Mix::Insert {
        (0..entries).for_each(|n| map.put(key(base + n), n));
    }
    let total = if mix == Mix::Insert { entries } else { entries.clamp(400_000, 1_000_000) };
    let each = total / threads;
    let plans: Vec<Vec<Op>> = (0..threads).map(|thread| plan(mix, entries, each, base, thread, threads)).collect();
    let start = Barrier::new(threads as usize);
    let (map, start) = (&map, &start);
    let results: Vec<(Instant, Instant, u64)> = std::thread::scope(|scope| {
        let workers: Vec<_> = plans
            .iter()
            .enumerate()
            .map(|(thread, plan)| {
                scope.spawn(move || {
                    pin(thread);
                    start.wait();
                    let begun = Instant::now();
                    let sum = plan.iter().fold(0_u64, |sum, op| match *op {
                        Op::Get(key) => sum.wrapping_add(map.get(key).unwrap_or(7)),
                        Op::Put(key, value) => {
                            map.put(key, value);
                            sum
                        }
                        Op::Remove(key) => {
                            map.remove(key);
                            sum
                        }
                    });
                    (begun, Instant::now(), sum)
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker panicked")).collect()
    });
    let begun = results.iter().map(|result| result.0).min().expect("one thread at least");
    let ended = results.iter().map(|result| result.1).max().expect("one thread at least");
    let proof = results.iter().fold(0_u64, |sum, result| sum.wrapping_add(result.2));
    (ended.duration_since(begun).as_nanos() as f64 / (each * threads) as f64, proof)
}

fn contender<P: Peer>(name: &str, mix: Mix, entries: u64, threads: u64, base: u64) -> Contender<'_> {
    let mut base = base;
    Contender::new(name, move || {
        base = base.wrapping_add(1 << 32);
        repetition::<P>(mix, entries, threads, base)
    })
}

/// Prints the tables; `only` picks a case by its name.
pub fn run(only: Option<&str>) {
    let base = std::process::id() as u64 * 0x1_0001;
    for entries in [1_000_000, 10_000] {
        for (name, mix) in MIXES.into_iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
            for threads in [1, 2] {
                let mut contenders =
                    vec![contender::<FlatMap<u64, u64, RandomState>>("flat", mix, entries, threads, base)];
                if threads == 1 {
                    contenders.push(contender::<Alone>("std, no lock", mix, entries, threads, base));
                }
                contenders
                    .push(contender::<dashmap::DashMap<u64, u64, RandomState>>("dashmap", mix, entries, threads, base));
                contenders.push(contender::<scc::HashMap<u64, u64, RandomState>>("scc", mix, entries, threads, base));
                let title = format!("maps: {name}, {entries} entries, threads: {threads}");
                compare(&title, "ns/op", REPETITIONS, contenders);
            }
        }
    }
    memory();
}

fn memory() {
    const ENTRIES: u64 = 1_000_000;
    let map = FlatMap::<u64, u64, RandomState>::default();
    (0..ENTRIES).for_each(|n| map.put(key(n), n));
    let seen = map.statistics();
    println!(
        "\nflat, {ENTRIES} entries grown from empty: {} buckets, {} spares, {:.1} bytes set aside and {:.1} in use per entry; chains by length {:?}",
        seen.buckets,
        seen.spares,
        seen.bytes as f64 / ENTRIES as f64,
        ((seen.buckets + seen.spares) * 64) as f64 / ENTRIES as f64,
        map.probe_lengths()
    );
}
