//! Hand-overs in which somebody sleeps or panics: frozen at each plan a map is exact, and a panic anywhere leaves it whole.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_runtime::map::handover::Phase;
use rheostat_runtime::map::{Backend, FixedMap, Map};
use rheostat_runtime::reclaim;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for any machine; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(20);
const MIGRATOR: &str = "map-handover";

fn pairs() -> impl Iterator<Item = (Backend, Backend)> + Clone {
    Backend::ALL.into_iter().flat_map(|from| Backend::ALL.map(|to| (from, to)))
}

fn is_migrator() -> bool {
    thread::current().name() == Some(MIGRATOR)
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "waited in vain for: {what}");
        thread::sleep(Duration::from_micros(100));
    }
}

/// Where the migrator waits with a key in its hands.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    moved: Condvar,
    waiting: AtomicBool,
}

impl Gate {
    fn set(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.moved.notify_all();
    }

    fn pass(&self) {
        let mut shut = self.shut.lock().unwrap();
        while *shut {
            self.waiting.store(true, Relaxed);
            shut = self.moved.wait(shut).unwrap();
        }
        self.waiting.store(false, Relaxed);
    }
}

/// A value that the migrator copies only through the gate, if it has one.
struct Gated {
    value: u64,
    gate: Option<Arc<Gate>>,
}

impl Clone for Gated {
    fn clone(&self) -> Self {
        if let Some(gate) = self.gate.as_ref().filter(|_| is_migrator()) {
            gate.pass();
        }
        Self { value: self.value, gate: self.gate.clone() }
    }
}

impl PartialEq for Gated {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for Gated {}

fn free(value: u64) -> Gated {
    Gated { value, gate: None }
}

/// Keys that are written while the migrator sleeps; the gated one is none of them.
const KEYS: u32 = 40;
const FROZEN: u32 = 1000;

/// Every operation on every key of `keys`, against what must be there.
fn exercise(map: &Map<u32, Gated>, model: &mut BTreeMap<u32, u64>, keys: impl Iterator<Item = u32>, what: &str) {
    let value = |gated: Option<Gated>| gated.map(|gated| gated.value);
    for key in keys {
        let before = model.get(&key).copied();
        assert_eq!(value(map.get(&key)), before, "{what}: key {key}");
        let next = before.unwrap_or(0) + 1;
        match next % 4 {
            0 => assert_eq!(value(map.remove(&key)), model.remove(&key), "{what}: key {key}"),
            1 => {
                let fresh = map.insert_if_absent(key, free(next)).is_ok();
                assert_eq!(fresh, before.is_none(), "{what}: key {key}");
                model.entry(key).or_insert(next);
            }
            2 => {
                let added = map.upsert(key, free(next), |gated| free(gated.value + 1));
                assert_eq!(value(added), model.insert(key, next), "{what}: key {key}");
            }
            _ => assert_eq!(value(map.insert(key, free(next))), model.insert(key, next), "{what}: key {key}"),
        }
        assert_eq!(value(map.get(&key)), model.get(&key).copied(), "{what}: key {key}");
    }
}

/// What scans, walks and counts say, against what must be there. Nobody moves or writes.
fn survey(map: &Map<u32, Gated>, model: &BTreeMap<u32, u64>, what: &str) {
    let (mut scanned, mut cursor) = (BTreeMap::new(), None);
    loop {
        let (page, next) = map.scan(cursor, 7);
        page.into_iter().for_each(|(key, gated)| assert_eq!(scanned.insert(key, gated.value), None, "{what}: twice"));
        let Some(next) = next else { break };
        cursor = Some(next);
    }
    assert_eq!(&scanned, model, "{what}: pages");
    let mut shown = BTreeMap::new();
    map.for_each(|key, gated| assert_eq!(shown.insert(*key, gated.value), None, "{what}: twice"));
    assert_eq!(&shown, model, "{what}: for_each");
    assert_eq!(map.len(), model.len(), "{what}: len");
}

/// A reader that sleeps under a guard until it is dropped: no plan ends while it does.
struct Sleeper {
    wake: Arc<Gate>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Sleeper {
    fn fall_asleep() -> Self {
        let wake = Arc::new(Gate::default());
        wake.set(true);
        let gate = wake.clone();
        let sleep = move || {
            let _guard = reclaim::pin();
            gate.pass();
        };
        let thread = Some(thread::spawn(sleep));
        until("the reader to sleep", || wake.waiting.load(Relaxed));
        Self { wake, thread }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.wake.set(false);
        self.thread.take().into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Uses the map while the migrator stands at the gate with a stripe: of many writers only those of that one wait, and no
/// reader. `before` it opens, somebody has a word.
fn write_around(map: &Map<u32, Gated>, model: &mut BTreeMap<u32, u64>, gate: &Gate, before: impl FnOnce()) {
    until("the migrator to reach the gate", || gate.waiting.load(Relaxed));
    assert_eq!(map.get(&FROZEN).map(|gated| gated.value), Some(7));
    (0..KEYS).for_each(|key| assert_eq!(map.get(&key).map(|gated| gated.value), model.get(&key).copied()));
    let written = AtomicU32::new(0);
    thread::scope(|scope| {
        for key in 0..KEYS {
            let (written, had) = (&written, model.insert(key, 100));
            scope.spawn(move || {
                assert_eq!(map.insert(key, free(100)).map(|gated| gated.value), had);
                assert_eq!(map.get(&key).map(|gated| gated.value), Some(100));
                written.fetch_add(1, Relaxed);
            });
        }
        until("writers of other stripes", || written.load(Relaxed) >= KEYS * 3 / 4);
        before();
        gate.set(false);
    });
}

/// Freezes a hand-over in every plan in turn, there or there and back, and uses the map in each.
fn frozen_at_each_plan(from: Backend, to: Backend, back: bool) {
    let what = |step: &str| format!("{from} to {to}, {step}");
    let gate = Arc::<Gate>::default();
    let map = Map::new(from);
    let mut model = BTreeMap::from([(FROZEN, 7)]);
    map.insert(FROZEN, Gated { value: 7, gate: Some(gate.clone()) });
    exercise(&map, &mut model, 0..KEYS, &what("settled"));
    survey(&map, &model, &what("settled"));

    let sleeper = Sleeper::fall_asleep();
    gate.set(true);
    let handover = map.turn(to).unwrap();
    thread::sleep(Duration::from_millis(1));
    exercise(&map, &mut model, 0..KEYS, &what("opening"));
    survey(&map, &model, &what("opening"));
    assert_eq!(handover.phase(), Phase::Opening);
    drop(sleeper);

    let mut sleeper = None;
    write_around(&map, &mut model, &gate, || {
        assert_eq!(handover.phase(), Phase::Moving);
        sleeper = Some(Sleeper::fall_asleep());
        if back {
            handover.cancel();
        }
    });
    // The plan after moving is in force before long, and cannot end.
    if back {
        until("the way back", || handover.phase() == Phase::GoingBack);
    }
    thread::sleep(Duration::from_millis(1));
    exercise(&map, &mut model, 0..2 * KEYS, &what("after moving"));
    survey(&map, &model, &what("after moving"));
    assert!(!handover.wait(Some(Duration::ZERO)), "{}", what("over, with a reader of the plan before"));
    gate.set(back);
    drop(sleeper);
    if back {
        write_around(&map, &mut model, &gate, || assert_eq!(handover.phase(), Phase::GoingBack));
    }
    assert!(handover.wait(Some(LONG)), "{}", what("never over"));
    let end = if back { (Phase::Undone, from) } else { (Phase::Done, to) };
    assert_eq!((handover.phase(), map.backend()), end);
    exercise(&map, &mut model, 0..2 * KEYS, &what("settled again"));
    survey(&map, &model, &what("settled again"));
}

/// Sleepers hold up every hand-over of the process: one such test at a time.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn a_map_frozen_at_any_plan_of_a_hand_over_is_exact() {
    let _alone = alone();
    pairs().for_each(|(from, to)| frozen_at_each_plan(from, to, false));
}

#[test]
fn a_map_frozen_at_any_plan_of_the_way_back_is_exact() {
    let _alone = alone();
    pairs().for_each(|(from, to)| frozen_at_each_plan(from, to, true));
}

#[test]
fn waiting_under_any_guard_panics_rather_than_hangs() {
    let _alone = alone();
    let map = Map::<u32, u64>::new(Backend::Sharded);
    let fixed = FixedMap::new(1, std::hash::RandomState::new());
    fixed.put(1, 1, |_| ());
    let inside = catch_unwind(AssertUnwindSafe(|| fixed.view(&1, |_| map.turn(Backend::Papaya).unwrap().wait(None))));
    assert!(inside.is_err());
    assert!(map.handover().unwrap().wait(Some(LONG)));
}

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

#[test]
fn a_panic_at_any_call_of_the_migrator_leaves_the_map_whole() {
    let _alone = alone();
    hush();
    // Each N and each call, from one pair of backends after another.
    for (at, (from, to)) in (1..=200).zip(pairs().cycle()) {
        for call in [Call::CloneKey, Call::CloneValue, Call::Hash, Call::Drop] {
            // Where memory is freed by others' rules, a `Drop` that panics ends the process.
            let is_promised = |backend| call != Call::Drop || !matches!(backend, Backend::Papaya | Backend::LockFree);
            if is_promised(from) && is_promised(to) {
                mined_hand_over(from, to, call, at, false);
            }
        }
    }
}

#[test]
fn panics_at_every_call_from_some_on_leave_the_map_whole() {
    let _alone = alone();
    hush();
    for (from, to) in pairs() {
        for call in [Call::CloneKey, Call::CloneValue, Call::Hash] {
            [1, 5, 14, 20].into_iter().for_each(|at| mined_hand_over(from, to, call, at, true));
        }
    }
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
    let _alone = alone();
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
    let _alone = alone();
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
