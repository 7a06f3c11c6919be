//! Allocation scopes in a process that tracks.

use rheostat_runtime::alloc::{Class, Counts, SCOPES_MAX, Scope, Tracked, open_scopes, totals};
use rheostat_runtime::observe::{Reading, families};
use rheostat_runtime::pipeline::{Pipeline, StageOptions};
use rheostat_runtime::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::alloc::System;
use std::cell::RefCell;
use std::hint::black_box;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

#[global_allocator]
static GLOBAL: Tracked<System> = Tracked::new(System);

/// The tests share the places of one process.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn bytes(n: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(n))
}

#[test]
fn what_is_done_in_a_scope_is_counted_in_it_and_nowhere_else() {
    let _alone = alone();
    let (outer, inner) = (Scope::new(Class::Runs, "test"), Scope::new(Class::Runs, "test"));
    let handed_on = {
        let _outer = outer.enter();
        let mut kept = bytes(100);
        let handed_on = {
            let _inner = inner.enter();
            bytes(1000)
        };
        // Resized: freed at the old size, allocated at the new.
        kept.reserve_exact(300);
        handed_on
    };
    let expected = Counts { allocations: 2, allocated_bytes: 400, frees: 2, freed_bytes: 400 };
    assert_eq!(outer.counts(), Some(expected));
    assert_eq!(inner.counts(), Some(Counts::allocation(1000)));
    drop(handed_on);
    assert_eq!(inner.counts(), Some(Counts::allocation(1000)), "it was freed elsewhere");
}

#[test]
fn zeroed_and_over_aligned_blocks_are_counted_too() {
    let _alone = alone();
    #[repr(align(4096))]
    struct Page(#[expect(dead_code)] [u8; 4096]);
    let scope = Scope::new(Class::Runs, "test");
    {
        let _in = scope.enter();
        drop(black_box(vec![0u64; 16]));
        drop(black_box(Box::new(Page([1; 4096]))));
    }
    let expected = Counts { allocations: 2, allocated_bytes: 128 + 4096, frees: 2, freed_bytes: 128 + 4096 };
    assert_eq!(scope.counts(), Some(expected));
}

#[test]
fn counts_of_threads_that_come_and_go_add_up() {
    let _alone = alone();
    let scope = Scope::new(Class::Runs, "test");
    for _ in 0..40 {
        thread::scope(|threads| {
            for _ in 0..25 {
                threads.spawn(|| {
                    let _in = scope.enter();
                    (0..10).for_each(|_| drop(bytes(7)));
                });
            }
        });
    }
    let expected = Counts { allocations: 10_000, allocated_bytes: 70_000, frees: 10_000, freed_bytes: 70_000 };
    assert_eq!(scope.counts(), Some(expected));
}

/// A destructor that runs after the thread's row may have been given back.
struct Late;

impl Drop for Late {
    fn drop(&mut self) {
        let scope = LATE_SCOPE.get().expect("set by the test");
        let _in = scope.enter();
        drop(bytes(LATE_BYTES));
    }
}

/// So many that starting and ending a thread allocates nothing like it.
const LATE_BYTES: usize = 1 << 20;
static LATE_SCOPE: std::sync::OnceLock<Scope> = std::sync::OnceLock::new();
thread_local! { static LATE: RefCell<Option<Late>> = const { RefCell::new(None) }; }

#[test]
fn a_thread_that_is_torn_down_counts_somewhere() {
    let _alone = alone();
    let scope = LATE_SCOPE.get_or_init(|| Scope::new(Class::Runs, "test"));
    let all = || totals().unwrap().iter().fold(Counts::default(), |sum, (_, counts)| sum + *counts);
    let before = all();
    for _ in 0..50 {
        // Registered before the row is taken in half of the threads, after it in the others.
        thread::spawn(|| LATE.set(Some(Late))).join().unwrap();
        thread::spawn(|| {
            drop(bytes(1));
            LATE.set(Some(Late));
        })
        .join()
        .unwrap();
    }
    let (in_scope, whole) = (scope.counts().unwrap(), all() - before);
    let late = LATE_BYTES as u64;
    assert!(in_scope.allocated_bytes <= 100 * late && in_scope.allocated_bytes % late == 0, "{in_scope:?}");
    assert!(whole.allocated_bytes >= 100 * late && whole.freed_bytes >= 100 * late, "{whole:?}");
}

#[test]
fn scopes_past_the_limit_are_counted_as_other() {
    let _alone = alone();
    let class = |class| totals().unwrap().iter().find(|(known, _)| *known == class).unwrap().1;
    let scopes: Vec<_> = (open_scopes()..SCOPES_MAX).map(|_| Scope::new(Class::Runs, "test")).collect();
    assert!(scopes.iter().all(|scope| scope.counts() == Some(Counts::default())));
    let before = class(Class::Other);
    let extra = Scope::new(Class::Runs, "test");
    {
        let _in = extra.enter();
        drop(bytes(123));
    }
    assert_eq!(extra.counts(), None, "it is not told apart");
    assert_eq!((class(Class::Other) - before).allocated_bytes, 123);
    drop(extra);
    drop(scopes);
    // A place that was used before starts at zero.
    assert_eq!(Scope::new(Class::Runs, "test").counts(), Some(Counts::default()));
}

#[test]
fn totals_never_fall_while_scopes_come_and_go() {
    let _alone = alone();
    let stop = AtomicBool::new(false);
    let before = totals().unwrap();
    let mut opened = 0;
    thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                while !stop.load(Relaxed) {
                    let scope = Scope::new(Class::Runs, "test");
                    let _in = scope.enter();
                    (1..20).for_each(|n| drop(bytes(n)));
                }
            });
        }
        let (mut last, mut looks) = (before, 0);
        // On a busy machine they all look before the first scope is opened.
        while looks < 2000 || opened == 0 {
            looks += 1;
            let now = totals().unwrap();
            for ((class, earlier), (_, later)) in last.iter().zip(&now) {
                for (earlier, later) in [
                    (earlier.allocations, later.allocations),
                    (earlier.allocated_bytes, later.allocated_bytes),
                    (earlier.frees, later.frees),
                    (earlier.freed_bytes, later.freed_bytes),
                ] {
                    assert!(later >= earlier, "{} fell from {earlier} to {later}", class.as_str());
                }
            }
            last = now;
            opened = opened.max(open_scopes());
        }
        stop.store(true, Relaxed);
    });
    let runs = |totals: &[(Class, Counts)]| totals.iter().find(|(class, _)| *class == Class::Runs).unwrap().1;
    let came_to = runs(&totals().unwrap()) - runs(&before);
    assert_eq!(came_to.allocated_bytes, came_to.freed_bytes, "every block was freed where it was allocated");
    assert_eq!(came_to.allocated_bytes % 190, 0, "every scope was counted whole: {came_to:?}");
}

#[test]
fn a_stage_is_charged_for_what_its_workers_do() {
    let _alone = alone();
    const RECORDS: u64 = 1000;
    let options = StageOptions { workers: 2, ..StageOptions::default() };
    let pipeline = Pipeline::source("texts", 0..RECORDS)
        .stage("make", options, |_, out| {
            out.push(bytes(500));
            Ok(())
        })
        .sink("drop", options, |text: &mut Vec<u8>| {
            drop(std::mem::take(text));
            Ok(())
        })
        .start()
        .unwrap();
    assert!(pipeline.wait(Duration::from_secs(20)));
    let read = |index: usize| {
        let mut reading = Reading::default();
        pipeline.resources()[index].read(&mut reading);
        reading
    };
    let total = |index: usize, family| read(index).total_of(family).unwrap();
    assert!(total(0, &families::PIPELINE_SOURCE_ALLOC_BYTES) >= 8 * RECORDS);
    assert!(total(1, &families::STAGE_ALLOC_BYTES) >= 500 * RECORDS);
    assert!(total(1, &families::STAGE_FREED_BYTES) < 250 * RECORDS, "the texts are freed elsewhere");
    assert!(total(2, &families::STAGE_FREED_BYTES) >= 500 * RECORDS);
    assert!(total(2, &families::STAGE_ALLOC_BYTES) < 250 * RECORDS);
    assert!(total(1, &families::STAGE_ALLOCATIONS) >= RECORDS && total(2, &families::STAGE_FREES) >= RECORDS);
}
