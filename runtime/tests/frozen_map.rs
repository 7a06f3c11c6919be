//! Storms of hand-overs of a map in which one thread after another is held up at each step of the protocol: who does
//! not need what that one has goes on, and in the end every update is there once and every copy dropped once.
//!
//! Steps are named where debug assertions are on.
#![cfg(all(debug_assertions, not(any(rt_loom, rt_shuttle))))]

mod bitmap;
mod steps;

use bitmap::{Bitmap, Item};
use rheostat_runtime::map::{Backend, Map};
use rheostat_runtime::sync::Step;
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use steps::{LONG, hold, until_grown, watched};

const SEED: u64 = 0x5eed_2028;
/// More copies of values than a storm makes.
const COPIES: usize = 1 << 23;
/// Keys that everybody adds to.
const SHARED: u32 = 32;
/// Keys each of which one thread puts and removes.
const OWNED: std::ops::Range<u32> = 100..164;
/// Keys that stay as they are.
const STAYING: std::ops::Range<u32> = 1000..1400;

/// What the storm has been asked so far.
#[derive(Default)]
struct Counts {
    reads: AtomicU64,
    writes: AtomicU64,
}

struct Scene {
    map: Map<u32, Item>,
    bitmap: Arc<Bitmap>,
    counts: Counts,
    done: AtomicBool,
}

impl Scene {
    fn new(backend: Backend) -> Self {
        let bitmap = Bitmap::new(COPIES);
        let map = Map::new(backend);
        (0..SHARED).chain(STAYING).for_each(|key| _ = map.insert(key, Item::new(0, &bitmap)));
        Self { map, bitmap, counts: Counts::default(), done: AtomicBool::new(false) }
    }

    fn item(&self, number: u64) -> Item {
        Item::new(number, &self.bitmap)
    }

    fn get(&self, key: u32) -> Option<u64> {
        self.map.get_with(&key, |item| item.number)
    }

    /// Adds to shared keys, and does all there is to its own. Returns the numbers that it has replaced in shared ones.
    fn write(&self, index: u32, threads: u32) -> Vec<(u32, u64)> {
        fastrand::seed(SEED ^ u64::from(index) << 32);
        let (mut replaced, mut own) = (Vec::new(), HashMap::<u32, u64>::new());
        for number in 1.. {
            if self.done.load(Relaxed) {
                break;
            }
            let owned = OWNED.start + fastrand::u32(..OWNED.len() as u32 / threads) * threads + index;
            let value = |item: Option<Item>| item.map(|item| item.number);
            match fastrand::u8(..8) {
                0..=3 => {
                    let key = fastrand::u32(..SHARED);
                    let old = self.map.update(&key, |item| item.with(item.number + 1)).expect("never removed");
                    replaced.push((key, old.number));
                }
                4 => assert_eq!(value(self.map.remove(&owned)), own.remove(&owned), "key {owned}"),
                5 => assert_eq!(value(self.map.insert(owned, self.item(number))), own.insert(owned, number)),
                6 => {
                    let refused = self.map.insert_if_absent(owned, self.item(number)).is_err();
                    assert_eq!(refused, own.contains_key(&owned), "key {owned}");
                    own.entry(owned).or_insert(number);
                }
                _ => assert_eq!(self.get(owned), own.get(&owned).copied(), "key {owned}"),
            }
            self.counts.writes.fetch_add(1, Relaxed);
        }
        own.iter().for_each(|(key, number)| assert_eq!(self.get(*key), Some(*number), "key {key}"));
        replaced
    }

    /// Shared keys only grow, and those that stay are there.
    fn read(&self) {
        let mut seen = [0; SHARED as usize];
        while !self.done.load(Relaxed) {
            let key = fastrand::u32(..SHARED);
            let now = self.get(key).expect("never removed");
            let before = std::mem::replace(&mut seen[key as usize], now);
            assert!(now >= before, "{key} went back from {before} to {now}");
            let stays = fastrand::u32(STAYING);
            assert_eq!(self.get(stays), Some(0), "{stays} was never touched");
            self.counts.reads.fetch_add(1, Relaxed);
        }
    }

    /// Five to fifty hand-overs a second, one in four of them called off.
    fn turn(&self, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        while !self.done.load(Relaxed) {
            let handover = self.map.turn(Backend::ALL[random.usize(..Backend::ALL.len())]).unwrap();
            if random.u8(..4) == 0 {
                thread::sleep(Duration::from_micros(random.u64(..1000)));
                handover.cancel();
            }
            assert!(handover.wait(Some(2 * LONG)), "{handover:?}");
            thread::sleep(Duration::from_millis(random.u64(20..200)));
        }
    }
}

/// Holds a thread up at each step in turn, while the others use the map.
fn freeze_each_step(scene: &Scene, random: &mut fastrand::Rng) {
    for step in [Step::MapPlanned, Step::MapLocked, Step::MapCopied, Step::MapMoved, Step::MapSwept] {
        let pass = if step == Step::MapPlanned { random.u32(..3) } else { random.u32(..60) };
        let held = hold(step, pass);
        held.wait();
        // Reads lock nothing; a writer may need the stripe that the one who is held has.
        until_grown("reads", || scene.counts.reads.load(Relaxed), 300);
        if matches!(step, Step::MapPlanned | Step::MapSwept) {
            until_grown("writes", || scene.counts.writes.load(Relaxed), 300);
        }
    }
}

fn storm(threads: u32, seed: u64) {
    let _watched = watched(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let scene = Scene::new(Backend::ALL[random.usize(..Backend::ALL.len())]);
    let mut replaced = HashMap::<u32, Vec<u64>>::new();
    thread::scope(|scope| {
        let scene = &scene;
        let writers: Vec<_> = (0..threads).map(|index| scope.spawn(move || scene.write(index, threads))).collect();
        scope.spawn(|| scene.read());
        scope.spawn(|| scene.turn(seed));
        freeze_each_step(scene, &mut random);
        scene.done.store(true, Relaxed);
        for (key, old) in writers.into_iter().flat_map(|writer| writer.join().unwrap()) {
            replaced.entry(key).or_default().push(old);
        }
    });
    for (key, mut olds) in replaced {
        olds.sort_unstable();
        let additions = olds.len() as u64;
        assert!(olds.into_iter().eq(0..additions), "what was replaced under {key} is no permutation");
        assert_eq!(scene.get(key), Some(additions), "key {key}");
    }
    let Scene { map, bitmap, .. } = scene;
    drop(map);
    bitmap.assert_all_dropped(&format!("{threads} threads"));
}

#[test]
fn two_threads_in_a_storm_with_one_held_up_at_each_step() {
    (0..2).for_each(|round| storm(2, SEED + round));
}

#[test]
fn four_threads_in_a_storm_with_one_held_up_at_each_step() {
    storm(4, SEED + 4);
}

#[test]
fn eight_threads_in_a_storm_with_one_held_up_at_each_step() {
    storm(8, SEED + 8);
}

#[test]
fn sixteen_threads_in_a_storm_with_one_held_up_at_each_step() {
    storm(16, SEED + 16);
}
