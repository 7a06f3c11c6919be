//! A map handed over again and again, there and back, with writers, a reader and copies that panic, on random schedules
//! and on schedules with few, well-placed preemptions (PCT).
//!
//! ```text
//! RUSTFLAGS="--cfg rt_shuttle" CARGO_TARGET_DIR=target/shuttle cargo test -p rheostat-runtime --release --test shuttle_map_handover
//! ```
//!
//! Tables are a lock and a list, of two stripes each; grace periods a reader-writer lock that is taken and let go.
//! Every ordering is SeqCst in here: what is looked for are lost and doubled updates, deletes that come back, reads
//! that miss or go back, and hand-overs that do not end. `loom_map_handover` has the orderings, on fewer steps.
#![cfg(rt_shuttle)]

mod grace;

use grace::Readers;
use rheostat_runtime::map::handover::{Course, Phase};
use rheostat_runtime::map::structure::{Revision, Structure, Under, hash_at, position};
use rheostat_runtime::map::switch::Switch;
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use rheostat_runtime::sync::{Arc, Mutex, RwLock, thread};
use shuttle::rand::{Rng, thread_rng};
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// One copy of all in a run panics, whoever makes it.
#[derive(Debug, Default)]
struct Fuse {
    copies: AtomicUsize,
    /// The copy that panics; 0 for none.
    bad: AtomicUsize,
}

const PURPOSE: &str = "on purpose";

/// Copies that have panicked, in all runs: not of the model, which would begin anew with each.
static PANICS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

#[derive(Debug)]
struct Number {
    number: u64,
    fuse: Arc<Fuse>,
}

impl Clone for Number {
    fn clone(&self) -> Self {
        let copies = self.fuse.copies.fetch_add(1, Relaxed) + 1;
        if copies == self.fuse.bad.load(Relaxed) {
            PANICS.fetch_add(1, Relaxed);
            panic!("{PURPOSE}");
        }
        Self { number: self.number, fuse: self.fuse.clone() }
    }
}

/// Keeps the panic that is meant out of the output. Put in front of the hook with which shuttle prints a schedule.
fn hush() {
    static HUSHED: Once = Once::new();
    HUSHED.call_once(|| {
        let loud = take_hook();
        set_hook(Box::new(move |panic| {
            let is_meant = panic.payload_as_str().is_some_and(|message| message.contains(PURPOSE));
            if !is_meant {
                loud(panic);
            }
        }));
    });
}

/// The smallest table of two stripes. `free` ones let a walk change them.
struct List {
    stripes: [Mutex<Vec<(u64, Number)>>; 2],
    free: bool,
}

impl List {
    fn new(free: bool) -> Self {
        Self { stripes: [Mutex::new(Vec::new()), Mutex::new(Vec::new())], free }
    }

    fn random() -> Self {
        Self::new(thread_rng().r#gen())
    }

    fn stripe(&self, hash: u64) -> &Mutex<Vec<(u64, Number)>> {
        &self.stripes[self.stripe_of(position(hash))]
    }
}

impl Structure<u64, Number> for List {
    fn view<Q, R>(&self, _: Under<'_>, hash: u64, _: &Q, look: impl FnOnce(&Number) -> R) -> Option<R>
    where
        u64: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.stripe(hash).lock().iter().find(|entry| entry.0 == hash).map(|entry| look(&entry.1))
    }

    fn copy<Q>(&self, hash: u64, _: &Q) -> Option<(u64, Number)>
    where
        u64: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.stripe(hash).lock().iter().find(|entry| entry.0 == hash).cloned()
    }

    fn put<R>(&self, _: Under<'_>, hash: u64, _: u64, value: Number, look: impl FnOnce(&Number) -> R) -> Option<R> {
        let mut entries = self.stripe(hash).lock();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.0 == hash) {
            return Some(look(&std::mem::replace(&mut entry.1, value)));
        }
        entries.push((hash, value));
        None
    }

    fn put_absent(&self, _: Under<'_>, hash: u64, _: u64, value: Number) -> Result<(), Number> {
        let mut entries = self.stripe(hash).lock();
        if entries.iter().any(|entry| entry.0 == hash) {
            return Err(value);
        }
        entries.push((hash, value));
        Ok(())
    }

    fn revise<Q, R>(
        &self,
        _: Under<'_>,
        hash: u64,
        _: &Q,
        mut revise: impl FnMut(&Number) -> (Revision<Number>, R),
    ) -> Option<R>
    where
        u64: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let mut entries = self.stripe(hash).lock();
        let index = entries.iter().position(|entry| entry.0 == hash)?;
        let (revision, given) = revise(&entries[index].1);
        match revision {
            Revision::Keep => {}
            Revision::Replace(value) => entries[index].1 = value,
            Revision::Remove => _ = entries.swap_remove(index),
        }
        Some(given)
    }

    fn take<Q, R>(&self, _: Under<'_>, hash: u64, _: &Q, look: impl FnOnce(&Number) -> R) -> Option<R>
    where
        u64: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let mut entries = self.stripe(hash).lock();
        let index = entries.iter().position(|entry| entry.0 == hash)?;
        Some(look(&entries.swap_remove(index).1))
    }

    fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().len()).sum()
    }

    fn clear(&self) -> usize {
        self.stripes.iter().map(|stripe| std::mem::take(&mut *stripe.lock()).len()).sum()
    }

    fn reserve(&self, _: usize) {}

    fn stripes(&self) -> usize {
        self.stripes.len()
    }

    fn stripe_of(&self, position: u64) -> usize {
        (position >> 63) as usize
    }

    fn walks_freely(&self) -> bool {
        self.free
    }

    fn walk(&self, stripe: usize, mut visit: impl FnMut(u64, &u64, &Number)) {
        let entries = self.stripes[stripe].lock();
        if !self.free {
            return entries.iter().for_each(|(key, value)| visit(position(*key), key, value));
        }
        // The values that are visited may be out of date, as those of a walk without locks are.
        let seen: Vec<(u64, Number)> = entries
            .iter()
            .map(|(key, value)| (*key, Number { number: value.number, fuse: value.fuse.clone() }))
            .collect();
        drop(entries);
        seen.iter().for_each(|(key, value)| visit(position(*key), key, value));
    }
}

/// A map, what its values share, and the hand-over under way.
struct Scene {
    map: Switch<u64, Number, List, Readers>,
    fuse: Arc<Fuse>,
    course: Mutex<Option<Arc<Course>>>,
    over: AtomicBool,
}

/// Keys are their own hashes; half of them in each stripe.
fn key(n: u64) -> u64 {
    hash_at(n << 62 | n)
}

/// What an operation gave. One whose copy panicked has done nothing, and is made again.
fn done<R>(operation: impl Fn() -> R) -> R {
    loop {
        if let Ok(given) = catch_unwind(AssertUnwindSafe(&operation)) {
            return given;
        }
    }
}

impl Scene {
    fn new() -> Self {
        let map = Switch::new(List::random(), Readers(RwLock::new(())));
        Self { map, fuse: Arc::default(), course: Mutex::new(None), over: AtomicBool::new(false) }
    }

    /// Sees to it that one of the copies to come panics, or none.
    fn arm(&self) {
        self.fuse.bad.store(thread_rng().gen_range(0..8), Relaxed);
    }

    fn number(&self, number: u64) -> Number {
        Number { number, fuse: self.fuse.clone() }
    }

    fn get(&self, key: u64) -> Option<u64> {
        self.map.view(key, &key, |value| value.number)
    }

    fn put(&self, key: u64, number: u64) -> Option<u64> {
        done(|| self.map.put(key, key, self.number(number), |value| value.number))
    }

    fn put_absent(&self, key: u64, number: u64) -> bool {
        done(|| self.map.put_absent(key, key, self.number(number)).is_ok())
    }

    fn take(&self, key: u64) -> Option<u64> {
        done(|| self.map.take(key, &key, |value| value.number))
    }

    /// Adds one and returns the number before.
    fn increment(&self, key: u64) -> Option<u64> {
        let add = |value: &Number| (Revision::Replace(self.number(value.number + 1)), value.number);
        done(|| self.map.revise(key, &key, add))
    }

    /// Some hand-overs, each of which may be called off at any time.
    fn turn(&self) {
        for _ in 0..thread_rng().gen_range(1..=3) {
            let course = Arc::new(Course::default());
            *self.course.lock() = Some(course.clone());
            self.map.hand_over(|_| List::random(), &course);
            assert!(matches!(course.phase(), Phase::Done | Phase::Undone));
            assert!(course.phase() == Phase::Done || course.is_cancelled() || course.failures() > 0);
        }
        self.over.store(true, Relaxed);
    }

    fn cancel_at_random(&self) {
        while !self.over.load(Relaxed) {
            if thread_rng().gen_range(0..4) == 0 {
                let course = self.course.lock().clone();
                course.iter().for_each(|course| course.cancel());
            }
            thread::yield_now();
        }
    }
}

/// Runs all of `works` beside hand-overs, and returns when everybody is done.
fn amid_turns(scene: &Arc<Scene>, works: Vec<Box<dyn FnOnce(&Scene) + Send>>) {
    let turner = |work: fn(&Scene)| {
        let scene = scene.clone();
        thread::spawn(move || work(&scene))
    };
    let mut threads = vec![turner(Scene::turn), turner(Scene::cancel_at_random)];
    threads.extend(works.into_iter().map(|work| {
        let scene = scene.clone();
        thread::spawn(move || work(&scene))
    }));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn check(scenario: impl Fn() + Send + Sync + Clone + 'static) {
    // Shuttle puts its hook in place at its first run.
    shuttle::check_random(|| (), 1);
    hush();
    shuttle::check_random(scenario.clone(), 5_000);
    shuttle::check_pct(scenario, 5_000, 3);
}

/// As `check`, and in many of the runs a copy has panicked.
fn check_with_panics(scenario: impl Fn() + Send + Sync + Clone + 'static) {
    let before = PANICS.load(Relaxed);
    check(scenario);
    assert!(PANICS.load(Relaxed) - before > 1_000, "hardly a copy panicked");
}

#[test]
fn increments_are_a_permutation_and_reads_never_go_back() {
    const WRITERS: u64 = 2;
    const EACH: u64 = 3;
    check_with_panics(|| {
        let scene = Arc::new(Scene::new());
        (0..2).for_each(|n| _ = scene.put(key(n), 0));
        scene.arm();
        let olds = Arc::new(Mutex::new(BTreeSet::new()));
        let mut works: Vec<Box<dyn FnOnce(&Scene) + Send>> = Vec::new();
        for _ in 0..WRITERS {
            let olds = olds.clone();
            works.push(Box::new(move |scene| {
                for _ in 0..EACH {
                    let n = thread_rng().gen_range(0..2);
                    let old = scene.increment(key(n)).expect("never removed");
                    assert!(olds.lock().insert((n, old)), "{old} was replaced twice under {n}");
                }
            }));
        }
        works.push(Box::new(|scene| {
            let mut seen = [0, 0];
            for _ in 0..EACH {
                for (n, seen) in (0..2).zip(&mut seen) {
                    let now = scene.get(key(n)).expect("never removed");
                    assert!(now >= *seen, "{n} went back from {seen} to {now}");
                    *seen = now;
                }
            }
        }));
        amid_turns(&scene, works);
        let ends: Vec<u64> = (0..2).map(|n| scene.get(key(n)).unwrap()).collect();
        let olds = std::mem::take(&mut *olds.lock());
        let expected = (0..2).flat_map(|n| (0..ends[n as usize]).map(move |old| (n, old)));
        assert!(olds.into_iter().eq(expected), "old values are no permutation of 0 to {ends:?}");
        assert_eq!(ends.into_iter().sum::<u64>(), WRITERS * EACH);
        assert_eq!(scene.map.len(), 2);
    });
}

#[test]
fn each_key_is_as_its_only_writer_left_it() {
    check_with_panics(|| {
        let scene = Arc::new(Scene::new());
        (0..4).for_each(|n| _ = scene.put(key(n), n));
        scene.arm();
        let works = (0..2).map(|own| -> Box<dyn FnOnce(&Scene) + Send> {
            Box::new(move |scene| {
                let mut model = BTreeMap::from([(own, own), (own + 2, own + 2)]);
                for number in 10..15 {
                    let n = own + 2 * thread_rng().gen_range(0..2);
                    match thread_rng().gen_range(0..3) {
                        0 => assert_eq!(scene.take(key(n)), model.remove(&n)),
                        1 => assert_eq!(scene.put(key(n), number), model.insert(n, number)),
                        _ => {
                            assert_eq!(scene.put_absent(key(n), number), !model.contains_key(&n));
                            model.entry(n).or_insert(number);
                        }
                    }
                    assert_eq!(scene.get(key(n)), model.get(&n).copied(), "key {n}");
                }
                model.into_iter().for_each(|(n, number)| assert_eq!(scene.get(key(n)), Some(number), "key {n}"));
            })
        });
        amid_turns(&scene, works.collect());
    });
}

#[test]
fn who_looks_through_the_map_meets_what_stays_and_clears_each_key_once() {
    check(|| {
        let scene = Arc::new(Scene::new());
        (0..4).for_each(|n| _ = scene.put(key(n), n));
        let gone = Arc::new(AtomicUsize::new(0));
        let (taken, cleared) = (gone.clone(), gone.clone());
        let taker = move |scene: &Scene| {
            (0..2).for_each(|n| _ = taken.fetch_add(usize::from(scene.take(key(n)).is_some()), Relaxed));
        };
        let clearer = move |scene: &Scene| {
            let mut met = BTreeSet::new();
            scene.map.look_through(|_, key, _| _ = met.insert(*key));
            (2..4).for_each(|n| assert!(met.contains(&key(n)), "{n} was there and was not met"));
            _ = cleared.fetch_add(scene.map.clear(), Relaxed);
        };
        amid_turns(&scene, vec![Box::new(taker), Box::new(clearer)]);
        assert_eq!((scene.map.len(), (0..4).find(|n| scene.get(key(*n)).is_some())), (0, None));
        assert_eq!(gone.load(Relaxed), 4, "each key goes once");
    });
}
