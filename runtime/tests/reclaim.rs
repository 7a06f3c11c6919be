//! Grace periods on real threads: what is dropped when, on whose thread, and what the books say.
//!
//! `reclaim_fences` runs the same file again with real fences on both sides.

use rheostat_runtime::observe::{Reading, Resource, families};
use rheostat_runtime::reclaim::{self, Domain, Guard, HostedDomain, Limits, Overload, StillPinned};
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use rheostat_runtime::sync::{Arc, Mutex, barrier, thread};
use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::time::Duration;

const SMALL: Limits =
    Limits { batch_objects: 8, batch_bytes: 1 << 20, garbage_bytes_max: usize::MAX, overload: Overload::Proceed };

/// A domain, in a process that has settled on the barrier under test before the first.
fn domain(limits: Limits) -> Domain {
    settle();
    Domain::new(limits)
}

fn settle() {
    if env!("CARGO_CRATE_NAME") == "reclaim_fences" {
        assert!(barrier::prefer_fences(), "settled otherwise");
    }
}

/// One bit for each object, set by its drop; one that is set already is a double drop.
struct Drops(Vec<AtomicBool>);

impl Drops {
    fn of(objects: usize) -> Arc<Self> {
        Arc::new(Self((0..objects).map(|_| AtomicBool::new(false)).collect()))
    }
    fn count(&self) -> usize {
        self.0.iter().filter(|dropped| dropped.load(Ordering::Relaxed)).count()
    }
}

/// An object that says when it is dropped, and that a reader can tell from a dropped one.
struct Marked {
    alive: AtomicUsize,
    index: usize,
    drops: Arc<Drops>,
}

const ALIVE: usize = 0x600D_CAFE;

impl Marked {
    fn boxed(index: usize, drops: &Arc<Drops>) -> *mut Self {
        Box::into_raw(Box::new(Self { alive: AtomicUsize::new(ALIVE), index, drops: drops.clone() }))
    }
    fn assert_alive(&self) {
        assert_eq!(self.alive.load(Ordering::Relaxed), ALIVE, "object {} was dropped under a guard", self.index);
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        self.assert_alive();
        self.alive.store(0, Ordering::Relaxed);
        assert!(!self.drops.0[self.index].swap(true, Ordering::Relaxed), "object {} dropped twice", self.index);
    }
}

fn retire_new(guard: &Guard<'_>, index: usize, drops: &Arc<Drops>) {
    // SAFETY: nobody else has ever known of it.
    unsafe { guard.retire(Marked::boxed(index, drops)) };
}

#[test]
fn garbage_waits_for_the_guards_of_its_time_and_for_no_others() {
    let (domain, drops) = (domain(SMALL), Drops::of(2));
    thread::scope(|scope| {
        let (pinned, is_pinned) = channel();
        let (release, released) = channel::<()>();
        let (domain, drops) = (&domain, &drops);
        let reader = scope.spawn(move || {
            let _guard = domain.pin();
            pinned.send(()).unwrap();
            released.recv().unwrap();
        });
        is_pinned.recv().unwrap();
        retire_new(&domain.pin(), 0, drops);
        assert_eq!((domain.flush(), drops.count()), (0, 0), "the reader might see it");
        release.send(()).unwrap();
        reader.join().unwrap();
        assert_eq!((domain.flush(), drops.count()), (1, 1));
        let _later = domain.pin();
        assert_eq!(domain.synchronize(), Err(StillPinned));
    });
    domain.synchronize().unwrap();
    retire_new(&domain.pin(), 1, &drops);
    domain.synchronize().unwrap();
    assert_eq!(drops.count(), 2, "what was retired before is dropped when synchronize returns");
}

#[test]
fn who_is_short_of_garbage_waits_for_readers_a_while_and_for_nothing_else() {
    let (domain, drops) = (domain(SMALL), Drops::of(2));
    let limit = Duration::from_millis(1);
    assert!(!domain.flush_within(limit), "there is nothing");
    assert_eq!(domain.statistics().periods, 0);
    retire_new(&domain.pin(), 0, &drops);
    assert!(domain.flush_within(limit));
    assert_eq!((drops.count(), domain.statistics().periods), (1, 1));
    assert!(!domain.flush_within(limit), "it is dropped");
    thread::scope(|scope| {
        let (pinned, is_pinned) = channel();
        let (release, released) = channel::<()>();
        let domain = &domain;
        scope.spawn(move || {
            let _guard = domain.pin();
            pinned.send(()).unwrap();
            _ = released.recv();
        });
        is_pinned.recv().unwrap();
        retire_new(&domain.pin(), 1, &drops);
        // All of these look at one period, which the reader holds up.
        (0..10).for_each(|_| assert!(domain.flush_within(limit)));
        assert!(!{
            let _guard = domain.pin();
            domain.flush_within(Duration::from_secs(3600))
        });
        assert_eq!((drops.count(), domain.statistics().periods), (1, 1));
        drop(release);
        // No limit that a reader who is about to go could be late for.
        domain.flush_within(Duration::from_secs(3600));
        assert_eq!(drops.count(), 2);
    });
    assert!(!domain.flush_within(limit));
    assert_eq!(domain.statistics().periods, 3, "the one that was held up, and its own");
}

#[test]
fn guards_nest_and_go_in_any_order() {
    let (domain, drops) = (domain(SMALL), Drops::of(1));
    let outer = domain.pin();
    let inner = domain.pin();
    retire_new(&outer, 0, &drops);
    drop(outer);
    domain.flush();
    assert_eq!((drops.count(), domain.synchronize()), (0, Err(StillPinned)));
    drop(inner);
    domain.synchronize().unwrap();
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_thread_drops_garbage_only_when_its_own_guards_are_gone() {
    struct Unpinned(Arc<Domain>, Arc<AtomicUsize>);
    impl Drop for Unpinned {
        fn drop(&mut self) {
            // Whoever held a guard would be refused.
            self.1.fetch_add(self.0.synchronize().map_or(1000, |()| 1), Ordering::Relaxed);
        }
    }
    let (domain, count) = (Arc::new(domain(SMALL)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..SMALL.batch_objects * 10 {
        let guard = domain.pin();
        let nested = domain.pin();
        // SAFETY: nobody else has ever known of it.
        unsafe { nested.retire(Box::into_raw(Box::new(Unpinned(domain.clone(), count.clone())))) };
        drop(nested);
        drop(guard);
    }
    let dropped = count.load(Ordering::Relaxed);
    assert!(dropped >= SMALL.batch_objects, "those that retire help: {dropped}");
    assert!(dropped < 1000, "a drop ran under a guard of its thread");
    domain.flush(); // The domain is in its own garbage.
    assert_eq!(count.load(Ordering::Relaxed), SMALL.batch_objects * 10);
}

#[test]
fn a_dropped_domain_drops_its_garbage() {
    let drops = Drops::of(1000);
    let domain = domain(Limits { batch_objects: usize::MAX, ..SMALL });
    thread::scope(|scope| {
        for part in 0..4 {
            let (domain, drops) = (&domain, &drops);
            scope.spawn(move || (0..250).for_each(|n| retire_new(&domain.pin(), part * 250 + n, drops)));
        }
    });
    assert_eq!(drops.count(), 0);
    drop(domain);
    assert_eq!(drops.count(), 1000);
}

#[test]
fn a_drop_that_panics_loses_nobody_elses() {
    struct Bomb(usize, Arc<Drops>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(!self.1.0[self.0].swap(true, Ordering::Relaxed), "dropped twice");
            if self.0.is_multiple_of(3) {
                std::panic::panic_any(Bomb(self.0 + 1000, self.1.clone())); // Even what it throws would panic.
            }
        }
    }
    let (domain, drops) = (domain(SMALL), Drops::of(2000));
    std::panic::set_hook(Box::new(|_| ())); // Hundreds of messages; the assertions of this binary still fail their tests.
    for n in 0..300 {
        // SAFETY: nobody else has ever known of it.
        unsafe { domain.pin().retire(Box::into_raw(Box::new(Bomb(n, drops.clone())))) };
    }
    domain.flush();
    _ = std::panic::take_hook();
    let seen = domain.statistics();
    assert_eq!((drops.count(), seen.freed_objects, seen.panics), (300, 300, 100));
}

#[test]
fn a_drop_may_pin_and_retire() {
    /// Retires another when it is dropped, `left` times over.
    struct Chain {
        left: usize,
        domain: Arc<Domain>,
        dropped: Arc<AtomicUsize>,
    }
    impl Drop for Chain {
        fn drop(&mut self) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            if self.left > 0 {
                let next = Chain { left: self.left - 1, domain: self.domain.clone(), dropped: self.dropped.clone() };
                // SAFETY: nobody else has ever known of it.
                unsafe { self.domain.pin().retire(Box::into_raw(Box::new(next))) };
            }
        }
    }
    let (domain, dropped) = (Arc::new(domain(Limits { batch_objects: 1, ..SMALL })), Arc::new(AtomicUsize::new(0)));
    let first = Chain { left: 999, domain: domain.clone(), dropped: dropped.clone() };
    // SAFETY: nobody else has ever known of it.
    unsafe { domain.pin().retire(Box::into_raw(Box::new(first))) };
    while domain.flush() > 0 {}
    assert_eq!(dropped.load(Ordering::Relaxed), 1000);
}

#[test]
fn ten_thousand_short_lived_threads_leave_nothing_behind() {
    const THREADS: usize = 10_000;
    const AT_ONCE: usize = 4;
    let (domain, drops) = (domain(SMALL), Drops::of(THREADS));
    for wave in 0..THREADS / AT_ONCE {
        let (domain, drops) = (&domain, &drops);
        thread::scope(|scope| {
            // Joined by hand: a scope does not wait for the threads' destructors, and records are given back there.
            let retire = |n| scope.spawn(move || retire_new(&domain.pin(), wave * AT_ONCE + n, drops));
            (0..AT_ONCE).map(retire).collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
    domain.flush();
    let seen = domain.statistics();
    assert_eq!((drops.count(), seen.retired_objects, seen.freed_objects), (THREADS, THREADS as u64, THREADS as u64));
    assert_eq!((seen.retired_bytes, seen.pinned_threads, seen.oldest_pin), (seen.freed_bytes, 0, None));
    assert!(seen.records <= AT_ONCE, "{} records for {AT_ONCE} threads at a time", seen.records);
}

#[test]
fn more_threads_than_any_table() {
    const THREADS: usize = 300;
    let (domain, drops) = (domain(SMALL), Drops::of(THREADS));
    let all_in = Barrier::new(THREADS);
    thread::scope(|scope| {
        for n in 0..THREADS {
            let (domain, drops, all_in) = (&domain, &drops, &all_in);
            scope.spawn(move || {
                let guard = domain.pin();
                all_in.wait();
                retire_new(&guard, n, drops);
            });
        }
    });
    domain.flush();
    assert_eq!((drops.count(), domain.statistics().records), (THREADS, THREADS));
}

#[test]
fn a_sleeping_reader_costs_what_the_policy_says() {
    const PIECE: usize = 1024;
    for overload in [Overload::Proceed, Overload::Wait(Duration::from_millis(1))] {
        let limits = Limits { garbage_bytes_max: 64 * PIECE, overload, ..SMALL };
        let domain = domain(limits);
        thread::scope(|scope| {
            let (pinned, is_pinned) = channel();
            let (release, released) = channel::<()>();
            let domain = &domain;
            let sleeper = scope.spawn(move || {
                let _guard = domain.pin();
                pinned.send(()).unwrap();
                released.recv().unwrap();
            });
            is_pinned.recv().unwrap();
            let retire = |pieces: usize| {
                for _ in 0..pieces {
                    // SAFETY: nobody else has ever known of it.
                    unsafe { domain.pin().retire(Box::into_raw(Box::new([0_u8; PIECE]))) };
                }
            };
            retire(64);
            assert_eq!(domain.statistics().excesses, 0, "the limit itself is allowed");
            retire(64);
            let seen = domain.statistics();
            // Nothing hangs, and each batch over the limit is counted: 64 pieces are 8 batches.
            assert_eq!((seen.freed_objects, seen.excesses, seen.pinned_threads), (0, 8, 1), "{overload:?}");
            assert!(seen.oldest_pin.is_some() && seen.epoch_lag == 1);
            release.send(()).unwrap();
            sleeper.join().unwrap();
            // Those that retire now catch up on the backlog, some at a time, and when it is gone all is as before.
            retire(64);
            assert!(domain.statistics().freed_objects >= 128);
            let excesses = domain.statistics().excesses;
            retire(64);
            assert_eq!(domain.statistics().excesses, excesses);
        });
        domain.flush();
        let seen = domain.statistics();
        assert_eq!((seen.retired_bytes, seen.freed_bytes), (256 * PIECE as u64, 256 * PIECE as u64));
    }
}

#[test]
fn a_sleeping_reader_is_seen_although_nothing_is_retired() {
    let domain = domain(SMALL);
    assert_eq!(domain.statistics().oldest_pin, None);
    let _guard = domain.pin();
    let first = domain.statistics().oldest_pin.expect("the look begins a period, which the guard holds up");
    thread::sleep(Duration::from_millis(2));
    assert!(domain.statistics().oldest_pin.unwrap() >= first + Duration::from_millis(2));
}

#[test]
fn the_process_has_a_domain_of_its_own() {
    struct Late(Arc<AtomicUsize>);
    impl Drop for Late {
        /// Runs when the thread's record may be given back already.
        fn drop(&mut self) {
            let outer = reclaim::pin();
            let inner = reclaim::pin();
            assert_eq!(reclaim::synchronize(), Err(StillPinned));
            // SAFETY: nobody else has ever known of it.
            unsafe { inner.retire(Box::into_raw(Box::new(self.0.clone()))) };
            drop(outer);
            drop(inner);
            reclaim::synchronize().unwrap();
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    std::thread_local! {
        static BEFORE: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) };
        static AFTER: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) };
        static HELD: std::cell::RefCell<Option<Guard<'static>>> = const { std::cell::RefCell::new(None) };
    }
    settle();
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = dropped.clone();
    thread::spawn(move || {
        // One destructor is registered before the record's and one after it, so that one of them runs later.
        BEFORE.set(Some(Late(count.clone())));
        drop(reclaim::pin());
        AFTER.set(Some(Late(count)));
    })
    .join()
    .unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
    // And a guard that outlives the record's return keeps it from being taken.
    thread::spawn(|| {
        HELD.set(None);
        HELD.set(Some(reclaim::pin()));
    })
    .join()
    .unwrap();
    while reclaim::process_domain().flush() > 0 {}
    assert_eq!(Arc::strong_count(&dropped), 1, "what the destructors retired is dropped");
}

#[test]
fn a_host_reads_it_as_any_resource() {
    settle();
    let hosted = HostedDomain::of_process("main").unwrap();
    assert_eq!(hosted.address().to_string(), "domain.main");
    let read = || {
        let mut reading = Reading::default();
        hosted.read(&mut reading);
        reading
    };
    let before = read();
    retire_new(&reclaim::pin(), 0, &Drops::of(1));
    let after = read();
    let grown = |family| after.total_of(family).unwrap() - before.total_of(family).unwrap();
    assert!(grown(&families::RECLAIM_RETIRED_OBJECTS) >= 1 && grown(&families::RECLAIM_RETIRED_BYTES) >= 8);
    assert_eq!(after.samples.len(), families::RECLAIM.len(), "every declared family is said");
    assert!(hosted.knobs().is_empty());
}

/// Readers follow a pointer that writers keep replacing, with pauses in the places that matter: under a guard with the
/// pointer in hand, and between taking an object out and retiring it.
#[test]
fn nothing_is_dropped_under_a_guard_whoever_stops_wherever() {
    const ROUNDS: usize = 2_000;
    for (readers, writers) in [(1, 1), (3, 1), (2, 2), (6, 4)] {
        let (domain, drops) = (domain(SMALL), Drops::of(1 + writers * ROUNDS));
        let shared = AtomicPtr::new(Marked::boxed(0, &drops));
        let done = AtomicBool::new(false);
        // Taken by whoever freezes; the main thread holds it for a while each round of readers.
        let freeze = Mutex::new(());
        thread::scope(|scope| {
            let (domain, drops, shared, done, freeze) = (&domain, &drops, &shared, &done, &freeze);
            for seed in 0..readers {
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    while !done.load(Ordering::Relaxed) {
                        let guard = domain.pin();
                        // SAFETY: it is retired after it was taken out, and the guard was taken before it was found.
                        let object = unsafe { &*shared.load(Ordering::Acquire) };
                        object.assert_alive();
                        match random.u32(..64) {
                            0 => thread::yield_now(),
                            1 => drop(freeze.lock()),
                            2 => drop(domain.pin()),
                            _ => {}
                        }
                        object.assert_alive();
                        drop(guard);
                    }
                });
            }
            let writing: Vec<_> = (0..writers)
                .map(|writer| {
                    scope.spawn(move || {
                        let mut random = fastrand::Rng::with_seed(1000 + writer as u64);
                        for round in 0..ROUNDS {
                            let new = Marked::boxed(1 + writer * ROUNDS + round, drops);
                            let guard = domain.pin();
                            let old = shared.swap(new, Ordering::AcqRel);
                            match random.u32(..256) {
                                0 => thread::yield_now(),
                                1 => drop(freeze.lock()),
                                _ => {}
                            }
                            // SAFETY: the swap took it out of the only place where it could be found.
                            unsafe { guard.retire(old) };
                            drop(guard);
                            if random.u32(..128) == 0 {
                                domain.synchronize().unwrap();
                            }
                        }
                    })
                })
                .collect();
            while !writing.iter().all(|thread| thread.is_finished()) {
                let frozen = freeze.lock();
                thread::sleep(Duration::from_millis(1));
                drop(frozen);
                thread::sleep(Duration::from_millis(1));
            }
            done.store(true, Ordering::Relaxed);
        });
        domain.flush();
        assert_eq!(drops.count(), writers * ROUNDS, "{readers} readers, {writers} writers");
        // SAFETY: the last one is still in place, and all threads are done.
        drop(unsafe { Box::from_raw(shared.into_inner()) });
        assert_eq!(drops.count(), 1 + writers * ROUNDS);
    }
}
