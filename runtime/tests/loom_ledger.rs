//! Models of the ledger of allocations: no count is lost when a row changes hands, and none is told twice or not at all
//! when a scope's place does.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_ledger
//! ```
//!
//! Who counts runs on the model's main thread where that is possible: loom 0.7.2 hides what other threads loaded
//! from a thread that loads a cell before it stores to it, and counting does (see `loom_state_clock`).
#![cfg(rt_loom)]

use loom::sync::Arc;
use loom::thread;
use rheostat_runtime::alloc::ledger::{Ledger, OUTSIDE};
use rheostat_runtime::alloc::{Class, Counts};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(check);
}

fn total(ledger: &Ledger, class: Class) -> Counts {
    ledger.totals().into_iter().find(|(known, _)| *known == class).expect("every class").1
}

/// O1: whoever takes a row goes on from its last counts.
#[test]
fn a_row_that_changes_hands_loses_nothing() {
    static SHARED: AtomicUsize = AtomicUsize::new(0);
    static ALONE: AtomicUsize = AtomicUsize::new(0);
    model(|| {
        let ledger = Arc::new(Ledger::new());
        let work = |ledger: &Ledger| {
            let row = ledger.take_row().expect("memory");
            row.tally(OUTSIDE).allocated(10);
            let seen = std::ptr::from_ref(row) as usize;
            row.give_back();
            seen
        };
        let other = {
            let ledger = ledger.clone();
            thread::spawn(move || work(&ledger))
        };
        let mine = work(&ledger);
        let theirs = other.join().unwrap();
        if mine == theirs { &SHARED } else { &ALONE }.fetch_add(1, Relaxed);
        let expected = Counts { allocations: 2, allocated_bytes: 20, ..Counts::default() };
        assert_eq!(ledger.counts(OUTSIDE), expected);
    });
    assert!(SHARED.load(Relaxed) > 0 && ALONE.load(Relaxed) > 0, "the model reached one of two cases only");
}

/// O3, O4: who looks on while a scope ends and another takes its place sees totals that never fall, and in the end all.
#[test]
fn a_place_that_changes_hands_is_told_once() {
    static SEEN: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());
    model(|| {
        let ledger = Arc::new(Ledger::new());
        let onlooker = {
            let ledger = ledger.clone();
            thread::spawn(move || {
                let first = total(&ledger, Class::Runs).allocated_bytes;
                let second = total(&ledger, Class::Runs).allocated_bytes;
                assert!(first <= second && second <= 11, "{first}, then {second}");
                SEEN.lock().unwrap().insert((first, second));
            })
        };
        let row = ledger.take_row().expect("memory");
        let first = ledger.open(Class::Runs);
        row.tally(first).allocated(1);
        ledger.close(first);
        let second = ledger.open(Class::Runs);
        assert_eq!((second, ledger.counts(second)), (first, Counts::default()), "the place starts at zero again");
        row.tally(second).allocated(10);
        assert_eq!(ledger.counts(second), Counts::allocation(10));
        ledger.close(second);
        row.give_back();
        onlooker.join().unwrap();
        assert_eq!(total(&ledger, Class::Runs), Counts { allocations: 2, allocated_bytes: 11, ..Counts::default() });
    });
    let seen = SEEN.lock().unwrap();
    for pair in [(0, 0), (0, 1), (0, 11), (1, 1), (1, 11), (11, 11)] {
        assert!(seen.contains(&pair), "the model never saw {pair:?}, only {seen:?}");
    }
}

/// O4: a scope's workers have left it when it is closed by another thread, which counts all they did.
#[test]
fn who_closes_a_scope_has_seen_all_of_it() {
    model(|| {
        let ledger = Arc::new(Ledger::new());
        let place = ledger.open(Class::Pipelines);
        let worker = {
            let ledger = ledger.clone();
            thread::spawn(move || {
                let row = ledger.take_row().expect("memory");
                row.tally(place).allocated(5);
                row.tally(place).freed(3);
                row.give_back();
            })
        };
        let early = total(&ledger, Class::Pipelines);
        assert!(early.allocated_bytes <= 5 && early.freed_bytes <= 3);
        worker.join().unwrap();
        ledger.close(place);
        let expected = Counts { allocations: 1, allocated_bytes: 5, frees: 1, freed_bytes: 3 };
        assert_eq!(total(&ledger, Class::Pipelines), expected);
        assert_eq!(ledger.counts(ledger.open(Class::Runs)), Counts::default());
    });
}
