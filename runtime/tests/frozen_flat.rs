//! Flat maps that grow and shrink while one thread after another is held up at each step of a move: who does not need
//! the chain that one has locked goes on, and in the end every update is there once.
//!
//! Steps are named where debug assertions are on.
#![cfg(all(debug_assertions, not(any(rt_loom, rt_shuttle))))]

mod bitmap;
mod steps;

use bitmap::{Bitmap, Item};
use rheostat_runtime::map::structure::{Revision, Structure, Under};
use rheostat_runtime::map::{FlatMap, Pointed};
use rheostat_runtime::sync::Step;
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use steps::{hold, until_grown, watched};

const SEED: u64 = 0x5eed_2030;
/// More copies of values than a storm makes.
const COPIES: usize = 1 << 23;
/// Keys that everybody adds to: one in so many.
const SHARED_EVERY: u64 = 16;
/// Keys there may be: some thousand chains.
const KEYS: u64 = 16_000;

/// A flat map of either form, as a storm sees it.
trait Subject: Sync {
    fn of_capacity(capacity: usize, bitmap: &Arc<Bitmap>) -> Self;
    fn get(&self, key: u64) -> Option<u64>;
    fn put(&self, key: u64, number: u64) -> Option<u64>;
    fn take(&self, key: u64) -> Option<u64>;
    /// Adds one and returns the number before.
    fn increment(&self, key: u64) -> Option<u64>;
    fn len(&self) -> usize;
    fn grow(&self);
    fn shrink(&self);
}

impl Subject for FlatMap<u64, u64> {
    fn of_capacity(capacity: usize, _: &Arc<Bitmap>) -> Self {
        FlatMap::with_capacity(capacity)
    }
    fn get(&self, key: u64) -> Option<u64> {
        FlatMap::get(self, &key)
    }
    fn put(&self, key: u64, number: u64) -> Option<u64> {
        self.insert(key, number)
    }
    fn take(&self, key: u64) -> Option<u64> {
        self.remove(&key)
    }
    fn increment(&self, key: u64) -> Option<u64> {
        self.update(&key, |number| number + 1)
    }
    fn len(&self) -> usize {
        FlatMap::len(self)
    }
    fn grow(&self) {
        self.begin_growth();
    }
    fn shrink(&self) {
        self.shrink_to_fit();
    }
}

/// Entries behind pointers, each copy of which is on a bitmap.
struct Behind {
    map: Pointed<u64, Item>,
    bitmap: Arc<Bitmap>,
}

/// Any bijection does for a hash.
fn hash(key: u64) -> u64 {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Subject for Behind {
    fn of_capacity(capacity: usize, bitmap: &Arc<Bitmap>) -> Self {
        Self { map: Pointed::with_capacity(capacity), bitmap: bitmap.clone() }
    }
    fn get(&self, key: u64) -> Option<u64> {
        self.map.view(Under::NOTHING, hash(key), &key, |item| item.number)
    }
    fn put(&self, key: u64, number: u64) -> Option<u64> {
        self.map.put(Under::NOTHING, hash(key), key, Item::new(number, &self.bitmap), |item| item.number)
    }
    fn take(&self, key: u64) -> Option<u64> {
        self.map.take(Under::NOTHING, hash(key), &key, |item| item.number)
    }
    fn increment(&self, key: u64) -> Option<u64> {
        let add = |item: &Item| (Revision::Replace(item.with(item.number + 1)), item.number);
        self.map.revise(Under::NOTHING, hash(key), &key, add)
    }
    fn len(&self) -> usize {
        self.map.len()
    }
    fn grow(&self) {
        self.map.begin_growth();
    }
    /// Removals do that of their own accord.
    fn shrink(&self) {}
}

struct Scene<S> {
    map: S,
    operations: AtomicU64,
    done: AtomicBool,
}

impl<S: Subject> Scene<S> {
    /// Adds to shared keys, puts and removes those of its own, and returns what it has replaced in shared ones.
    fn work(&self, index: u64, threads: u64) -> Vec<(u64, u64)> {
        fastrand::seed(SEED ^ index << 32);
        let (mut replaced, mut own) = (Vec::new(), HashMap::<u64, u64>::new());
        for number in 1.. {
            if self.done.load(Relaxed) {
                break;
            }
            let key = fastrand::u64(..KEYS);
            if key.is_multiple_of(SHARED_EVERY) {
                replaced.push((key, self.map.increment(key).expect("never removed")));
            } else if key / SHARED_EVERY % threads == index {
                match fastrand::u8(..4) {
                    0 => assert_eq!(self.map.take(key), own.remove(&key), "key {key}"),
                    1 => assert_eq!(self.map.put(key, number), own.insert(key, number), "key {key}"),
                    2 => assert_eq!(self.map.get(key), own.get(&key).copied(), "key {key}"),
                    _ => {
                        let added = self.map.increment(key);
                        assert_eq!(added, own.get(&key).copied(), "key {key}");
                        own.entry(key).and_modify(|number| *number += 1);
                    }
                }
            } else {
                self.map.get(key);
            }
            self.operations.fetch_add(1, Relaxed);
        }
        own.iter().for_each(|(key, number)| assert_eq!(self.map.get(*key), Some(*number), "key {key}"));
        replaced
    }
}

/// Holds up a thread at each step of a move in turn, while the others use the map.
fn freeze_each_step<S: Subject>(scene: &Scene<S>, random: &mut fastrand::Rng) {
    for step in [Step::FlatClaimed, Step::FlatCopied, Step::FlatMoved, Step::FlatFinished] {
        let held = hold(step, if step == Step::FlatFinished { 0 } else { random.u32(..10) });
        let caught = AtomicBool::new(false);
        thread::scope(|scope| {
            // It may be held up itself.
            scope.spawn(|| {
                while !caught.load(Relaxed) {
                    scene.map.grow();
                    thread::sleep(Duration::from_millis(2));
                }
            });
            held.wait();
            caught.store(true, Relaxed);
            // One of some thousand chains is locked at most: not everybody needs it.
            until_grown("operations", || scene.operations.load(Relaxed), 60);
            held.let_go();
        });
        scene.map.shrink();
    }
}

fn storm<S: Subject>(threads: u64) {
    let _watched = watched(SEED + threads);
    let mut random = fastrand::Rng::with_seed(SEED + threads);
    let bitmap = Bitmap::new(COPIES);
    let scene = Scene {
        map: S::of_capacity(KEYS as usize, &bitmap),
        operations: AtomicU64::new(0),
        done: AtomicBool::new(false),
    };
    let shared = || (0..KEYS).step_by(SHARED_EVERY as usize);
    shared().for_each(|key| _ = scene.map.put(key, 0));
    let mut replaced = HashMap::<u64, Vec<u64>>::new();
    thread::scope(|scope| {
        let scene = &scene;
        // Two at least beside the one that is held up.
        let threads = threads.max(3);
        let workers: Vec<_> = (0..threads).map(|index| scope.spawn(move || scene.work(index, threads))).collect();
        freeze_each_step(scene, &mut random);
        scene.done.store(true, Relaxed);
        for (key, old) in workers.into_iter().flat_map(|worker| worker.join().unwrap()) {
            replaced.entry(key).or_default().push(old);
        }
    });
    for key in shared() {
        let mut olds = replaced.remove(&key).unwrap_or_default();
        olds.sort_unstable();
        let additions = olds.len() as u64;
        assert!(olds.into_iter().eq(0..additions), "what was replaced under {key} is no permutation");
        assert_eq!(scene.map.get(key), Some(additions), "key {key}");
    }
    assert_eq!(scene.map.len(), (0..KEYS).filter(|key| scene.map.get(*key).is_some()).count());
    drop(scene);
    bitmap.assert_all_dropped(&format!("{threads} threads"));
}

#[test]
fn plain_entries_in_a_storm_of_moves_with_one_held_up_at_each_step() {
    [2, 4, 8, 16].into_iter().for_each(storm::<FlatMap<u64, u64>>);
}

#[test]
fn entries_behind_pointers_in_a_storm_of_moves_with_one_held_up_at_each_step() {
    [2, 4, 8, 16].into_iter().for_each(storm::<Behind>);
}
