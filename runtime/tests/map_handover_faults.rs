//! Hand-overs in which somebody panics: wherever that is, it leaves the map whole.

#![cfg(not(any(rt_loom, rt_shuttle)))]

mod migrator;

use migrator::{LONG, is_migrator, pairs, until};
use rheostat_runtime::map::handover::Phase;
use rheostat_runtime::map::{Backend, Map};
use rheostat_runtime::reclaim;
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Arc, Mutex, Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// What is to panic, and at which call of the migrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    CloneKey,
    CloneValue,
    Hash,
    Drop,
}

/// Counts down the migrator's calls of one kind, and panics at the last, or at every one from then on.
struct Mine {
    call: Call,
    left: AtomicUsize,
    again: bool,
    armed: AtomicBool,
}

impl Mine {
    fn step(&self, call: Call) {
        if call != self.call || !self.armed.load(Relaxed) || !is_migrator() || thread::panicking() {
            return;
        }
        let left = self.left.load(Relaxed);
        self.left.store(left.saturating_sub(1), Relaxed);
        assert!(left > 1 || left == 0 && !self.again, "{PURPOSE}");
    }
}

const PURPOSE: &str = "on purpose";

/// Keeps those panics that are meant out of the output.
fn hush() {
    static HUSHED: Once = Once::new();
    HUSHED.call_once(|| {
        let loud = take_hook();
        set_hook(Box::new(move |panic| {
            if panic.payload_as_str() != Some(PURPOSE) {
                loud(panic);
            }
        }));
    });
}

struct Mined {
    number: u32,
    mine: Arc<Mine>,
    is_key: bool,
}

impl Clone for Mined {
    fn clone(&self) -> Self {
        self.mine.step(if self.is_key { Call::CloneKey } else { Call::CloneValue });
        Self { number: self.number, mine: self.mine.clone(), is_key: self.is_key }
    }
}

impl Drop for Mined {
    fn drop(&mut self) {
        self.mine.step(Call::Drop);
    }
}

impl Hash for Mined {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.mine.step(Call::Hash);
        self.number.hash(state);
    }
}

impl PartialEq for Mined {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Mined {}

impl PartialOrd for Mined {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Mined {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.number.cmp(&other.number)
    }
}

/// A hand-over whose migrator panics, and what must be true after it.
fn mined_hand_over(from: Backend, to: Backend, call: Call, at: usize, again: bool) {
    const ENTRIES: u32 = 120;
    let what = format!("{from} to {to}, {call:?} number {at}{}", if again { " and all after" } else { "" });
    let mine = Arc::new(Mine { call, left: AtomicUsize::new(at), again, armed: AtomicBool::new(false) });
    let key = |number| Mined { number, mine: mine.clone(), is_key: true };
    let value = |number| Mined { number, mine: mine.clone(), is_key: false };
    let map = Map::<Mined, Mined>::new(from);
    (0..ENTRIES).for_each(|number| _ = map.insert(key(number), value(number)));
    mine.armed.store(true, Relaxed);
    let handover = map.turn(to).unwrap();
    if again {
        // It may have to try for ever.
        handover.wait(Some(Duration::from_millis(2)));
        (0..ENTRIES).for_each(|number| assert!(map.contains(&key(number)), "{what}: {number} is not there"));
        mine.armed.store(false, Relaxed);
    }
    assert!(handover.wait(Some(LONG)), "{what}: never over, {handover:?}");
    mine.armed.store(false, Relaxed);
    let backend = if handover.phase() == Phase::Done { to } else { from };
    assert_eq!((map.backend(), map.len()), (backend, ENTRIES as usize), "{what}");
    (0..ENTRIES).for_each(|number| {
        assert_eq!(map.remove(&key(number)).map(|value| value.number), Some(number), "{what}");
    });
    assert!(map.is_empty());
    let next = map.turn(from).unwrap_or_else(|refused| panic!("{what}: {refused}"));
    assert!(next.wait(Some(LONG)));
}

/// Deals hand-overs out among threads, for most of one is waiting.
fn dealt_out<T>(all: impl Iterator<Item = T> + Clone + Send + Sync, each: impl Fn(T) + Sync) {
    const LANES: usize = 4;
    thread::scope(|scope| {
        for lane in 0..LANES {
            let (all, each) = (&all, &each);
            scope.spawn(move || all.clone().skip(lane).step_by(LANES).for_each(each));
        }
    });
}

#[test]
fn a_panic_at_any_call_of_the_migrator_leaves_the_map_whole() {
    hush();
    // Each N and each call, from one pair of backends after another.
    dealt_out((1..=200).zip(pairs().cycle()), |(at, (from, to))| {
        for call in [Call::CloneKey, Call::CloneValue, Call::Hash, Call::Drop] {
            // Where memory is freed by others' rules, a `Drop` that panics ends the process.
            let is_promised = |backend| call != Call::Drop || backend != Backend::LockFree;
            if is_promised(from) && is_promised(to) {
                mined_hand_over(from, to, call, at, false);
            }
        }
    });
}

#[test]
fn panics_at_every_call_from_some_on_leave_the_map_whole() {
    hush();
    dealt_out(pairs(), |(from, to)| {
        for call in [Call::CloneKey, Call::CloneValue, Call::Hash] {
            [1, 5, 14, 20].into_iter().for_each(|at| mined_hand_over(from, to, call, at, true));
        }
    });
}

/// Every copy that was ever made, and how often it was dropped.
#[derive(Default)]
struct Ledger(Mutex<Vec<Arc<AtomicU32>>>);

struct Counted {
    drops: Arc<AtomicU32>,
    ledger: &'static Ledger,
}

impl Counted {
    fn new(ledger: &'static Ledger) -> Self {
        let drops = Arc::<AtomicU32>::default();
        ledger.0.lock().unwrap().push(drops.clone());
        Self { drops, ledger }
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        assert_eq!(self.drops.load(Relaxed), 0, "a copy of what was dropped");
        Self::new(self.ledger)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert_eq!(self.drops.fetch_add(1, Relaxed), 0, "dropped twice");
    }
}

#[test]
fn every_copy_is_dropped_exactly_once_in_a_storm() {
    static LEDGER: OnceLock<Ledger> = OnceLock::new();
    let ledger = LEDGER.get_or_init(Ledger::default);
    let map = Map::<u32, Counted>::new(Backend::Sharded);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 0..3 {
            let (map, done) = (&map, &done);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                while !done.load(Relaxed) {
                    let key = random.u32(0..300);
                    match random.u8(0..4) {
                        0 => _ = map.remove(&key),
                        1 => _ = map.insert_if_absent(key, Counted::new(ledger)),
                        2 => _ = map.get(&key),
                        _ => _ = map.insert(key, Counted::new(ledger)),
                    }
                }
            });
        }
        let mut random = fastrand::Rng::with_seed(9);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            let handover = map.turn(Backend::ALL[random.usize(0..Backend::ALL.len())]).unwrap();
            if random.bool() {
                thread::sleep(Duration::from_micros(random.u64(0..1000)));
                handover.cancel();
            }
            assert!(handover.wait(Some(LONG)));
        }
        done.store(true, Relaxed);
    });
    drop(map);
    // The thread of the last hand-over lets go of its tables after it has said that it is over, and threads that end leave
    // what they have retired to others.
    until("every copy to be dropped once", || {
        reclaim::process_domain().flush();
        ledger.0.lock().unwrap().iter().all(|drops| drops.load(Relaxed) == 1)
    });
}

/// A number whose copy panics once in a while, in whatever thread makes it.
struct Fickle(u64);

impl Clone for Fickle {
    fn clone(&self) -> Self {
        assert!(fastrand::u8(..) > 2, "{PURPOSE}");
        Self(self.0)
    }
}

/// What an operation gave, or `None` when it panicked.
fn attempt<R>(operation: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(operation)).ok()
}

#[test]
fn copies_that_panic_in_a_storm_leave_every_key_as_it_was_or_will_be() {
    const KEYS: u64 = 60;
    const WRITERS: u64 = 3;
    hush();
    let (map, done) = (Map::<u64, Fickle>::new(Backend::Sharded), AtomicBool::new(false));
    let look = |key: u64| map.get_with(&key, |value| value.0);
    thread::scope(|scope| {
        for seed in 0..WRITERS {
            let (map, done) = (&map, &done);
            scope.spawn(move || {
                fastrand::seed(seed);
                // The keys of this thread, whose values nobody else changes.
                let mut model = BTreeMap::new();
                for next in 1.. {
                    if done.load(Relaxed) {
                        break;
                    }
                    let key = fastrand::u64(..KEYS / WRITERS) * WRITERS + seed;
                    let before = model.get(&key).copied();
                    let value = |returned: Option<Fickle>| returned.map(|value| value.0);
                    // What it returned, if it did, what it had to return, and what must be there then.
                    let (returned, expected, after) = match fastrand::u8(..3) {
                        0 => (attempt(|| value(map.remove(&key))), before, None),
                        1 => (attempt(|| value(map.insert(key, Fickle(next)))), before, Some(next)),
                        _ => {
                            let refused = |refused: Result<(), Fickle>| value(refused.err());
                            let returned = attempt(|| refused(map.insert_if_absent(key, Fickle(next))));
                            (returned, before.and(Some(next)), before.or(Some(next)))
                        }
                    };
                    let now = look(key);
                    if let Some(returned) = returned {
                        assert_eq!((returned, now), (expected, after), "key {key}");
                    }
                    assert!(now == before || now == after, "key {key} is {now:?}, was {before:?}, was to be {after:?}");
                    now.map(|now| model.insert(key, now)).unwrap_or_else(|| model.remove(&key));
                }
                model.into_iter().for_each(|(key, value)| assert_eq!(look(key), Some(value), "key {key}"));
            });
        }
        let mut random = fastrand::Rng::with_seed(3);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            let handover = map.turn(Backend::ALL[random.usize(0..Backend::ALL.len())]).unwrap();
            if random.bool() {
                thread::sleep(Duration::from_micros(random.u64(0..1000)));
                handover.cancel();
            }
            assert!(handover.wait(Some(LONG)), "{handover:?}");
        }
        done.store(true, Relaxed);
    });
}
