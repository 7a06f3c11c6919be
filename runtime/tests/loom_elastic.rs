//! The elastic set: never two workers in a slot, never a slot below the target without one.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_elastic
//! ```
#![cfg(rt_loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use rheostat_runtime::pipeline::elastic::{ElasticSet, Seat};

fn model(threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(threads);
}

/// What a worker has to itself while it sits in a slot: loom calls it a race if two ever do.
struct Benches([UnsafeCell<usize>; 2]);

// SAFETY: this is the claim under test; loom checks each access.
unsafe impl Sync for Benches {}
// SAFETY: as above.
unsafe impl Send for Benches {}

impl Benches {
    fn new() -> Arc<Self> {
        Arc::new(Self([UnsafeCell::new(0), UnsafeCell::new(0)]))
    }
    fn work(&self, seat: &Seat) {
        // SAFETY: the owner of a seat is alone in its slot, as the model shows.
        self.0[seat.index()].with_mut(|batches| unsafe { *batches += 1 });
    }
}

/// A worker's life, cut off after some batches: the seat if it still sits.
fn batches(mut seat: Seat, benches: &Benches, count: usize) -> Option<Seat> {
    for _ in 0..count {
        benches.work(&seat);
        if seat.should_leave() {
            seat = seat.leave()?;
        }
    }
    Some(seat)
}

/// Lets those leave that should by now; then what sits must be what the target says.
fn settle(set: &ElasticSet, seats: impl IntoIterator<Item = Seat>, benches: &Benches) {
    let seats: Vec<Seat> = seats.into_iter().filter_map(|seat| batches(seat, benches, 1)).collect();
    let mut indices: Vec<usize> = seats.iter().map(Seat::index).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..set.target()).collect::<Vec<_>>(), "the slots with a worker");
    assert!(set.wait_settled(None));
}

#[test]
fn shrink_and_grow_against_a_leaver() {
    model(|| {
        let (set, benches) = (ElasticSet::new(2), Benches::new());
        let mut seats = set.set_target(2).unwrap();
        let (idle, seat) = (seats.pop().unwrap(), seats.pop().unwrap());
        let worker = {
            let (set, benches) = (set.clone(), benches.clone());
            thread::spawn(move || {
                let seat = batches(seat, &benches, 2);
                // A fence is no step to loom: it lets the leaver go before the controller is through with the table,
                // and any later fence, only if the leaver has a look at the same table.
                assert!(set.running() <= 2);
                seat
            })
        };
        assert!(set.set_target(0).unwrap().is_empty());
        let started = set.set_target(2).unwrap();
        started.iter().for_each(|seat| benches.work(seat));
        settle(&set, started.into_iter().chain([idle]).chain(worker.join().unwrap()), &benches);
    });
}

#[test]
fn two_controllers_against_a_leaver() {
    model(|| {
        let (set, benches) = (ElasticSet::new(2), Benches::new());
        let seat = set.set_target(1).unwrap().pop().unwrap();
        let worker = {
            let benches = benches.clone();
            thread::spawn(move || batches(seat, &benches, 2))
        };
        let other = {
            let (set, benches) = (set.clone(), benches.clone());
            thread::spawn(move || {
                let started = set.set_target(2).unwrap();
                started.into_iter().filter_map(|seat| batches(seat, &benches, 1)).collect::<Vec<_>>()
            })
        };
        let started = set.set_target(0).unwrap();
        assert!(started.is_empty());
        let seats: Vec<Seat> = worker.join().unwrap().into_iter().chain(other.join().unwrap()).collect();
        settle(&set, seats, &benches);
    });
}

#[test]
fn a_dropped_seat_can_be_refilled() {
    model(|| {
        let (set, benches) = (ElasticSet::new(1), Benches::new());
        let seat = set.set_target(1).unwrap().pop().unwrap();
        let worker = {
            let benches = benches.clone();
            // As a panic would: the seat goes in the middle of a batch.
            thread::spawn(move || benches.work(&seat))
        };
        let early = set.refill();
        early.iter().for_each(|seat| benches.work(seat));
        worker.join().unwrap();
        let late = set.refill();
        settle(&set, early.into_iter().chain(late), &benches);
    });
}

#[test]
fn waiting_for_the_set_to_settle_ends() {
    model(|| {
        let (set, benches) = (ElasticSet::new(1), Benches::new());
        let mut seat = set.set_target(1).unwrap().pop().unwrap();
        let worker = {
            let benches = benches.clone();
            thread::spawn(move || {
                loop {
                    benches.work(&seat);
                    if seat.should_leave() {
                        let Some(wanted) = seat.leave() else { return };
                        seat = wanted;
                    }
                    thread::yield_now();
                }
            })
        };
        set.set_target(0).unwrap();
        assert!(set.wait_settled(None));
        assert_eq!(set.running(), 0);
        worker.join().unwrap();
    });
}
