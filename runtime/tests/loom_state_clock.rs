//! Model of the worker's state clock: a reader never sees a torn one.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_state_clock
//! ```
//!
//! The owner runs on the model's main thread on purpose. loom 0.7.2 backtracks from an object's *last* access, so a
//! thread that loads a cell before it stores to it, as the owner does, hides the reader's earlier loads from it:
//! with the reader first, the model explored a single schedule.
#![cfg(rt_loom)]

use loom::sync::Arc;
use loom::thread;
use rheostat_runtime::pipeline::{State, StateClock};
use std::collections::BTreeSet;
use std::sync::Mutex;

/// What the clock may say at 100: idle from 0, busy from 10, held back from 30.
const MOMENTS: [[u64; 3]; 3] = [[0, 100, 0], [90, 10, 0], [20, 10, 70]];

#[test]
fn states_sum_to_wall_time_at_every_moment() {
    static SEEN: Mutex<BTreeSet<[u64; 3]>> = Mutex::new(BTreeSet::new());
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let clock = Arc::new(StateClock::default());
        clock.enter(State::Idle, 0);
        let reader = {
            let clock = clock.clone();
            thread::spawn(move || {
                let seen = clock.read(100);
                assert!(MOMENTS.contains(&seen), "{seen:?} is torn");
                SEEN.lock().unwrap().insert(seen);
            })
        };
        clock.enter(State::Busy, 10);
        clock.enter(State::BackPressured, 30);
        reader.join().unwrap();
    });
    assert_eq!(SEEN.lock().unwrap().len(), MOMENTS.len(), "the model did not reach every moment");
}
