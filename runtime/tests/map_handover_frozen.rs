//! Hand-overs in which somebody sleeps: frozen at each plan, there and on the way back, a map is exact.

#![cfg(not(any(rt_loom, rt_shuttle)))]

mod migrator;

use migrator::{LONG, is_migrator, pairs, plans, until, until_planned};
use rheostat_runtime::map::handover::Phase;
use rheostat_runtime::map::{Backend, FixedMap, Map};
use rheostat_runtime::reclaim;
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

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

/// Uses the map while the migrator stands at the gate with a stripe: of many writers only those of that one wait, and
/// no reader. `before` it opens, somebody has a word.
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
    let planned = plans();
    let handover = map.turn(to).unwrap();
    until_planned(planned);
    exercise(&map, &mut model, 0..KEYS, &what("opening"));
    survey(&map, &model, &what("opening"));
    assert_eq!(handover.phase(), Phase::Opening);
    drop(sleeper);

    let (mut sleeper, mut planned) = (None, 0);
    write_around(&map, &mut model, &gate, || {
        assert_eq!(handover.phase(), Phase::Moving);
        planned = plans();
        sleeper = Some(Sleeper::fall_asleep());
        if back {
            handover.cancel();
        }
    });
    // The plan after moving is in force before long, and cannot end.
    if back {
        until("the way back", || handover.phase() == Phase::GoingBack);
    }
    until_planned(planned);
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
