//! The ring's orderings, every interleaving of two or three threads up to two preemptions.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_ring
//! ```
//!
//! Items are loom's own `Arc`s: a lost item is a leak to loom, one handed out twice is used after it was dropped, and
//! both ends of a slot that overlap are a race on its cell.
#![cfg(rt_loom)]

use loom::sync::Arc;
use loom::thread;
use rheostat_runtime::queue::{PopError, PushError, Ring};
use rheostat_runtime::sync::Backoff;

type Item = Arc<usize>;

fn model(threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2)); // LOOM_MAX_PREEMPTIONS, or this.
    builder.check(threads);
}

fn ring(capacity: usize, start: usize) -> Arc<Ring<Item>> {
    Arc::new(Ring::with_start(capacity, capacity, start).unwrap())
}

fn push(ring: &Ring<Item>, value: usize) {
    let (mut item, mut backoff) = (Arc::new(value), Backoff::new());
    while let Err(error) = ring.try_push(item) {
        item = error.into_inner();
        backoff.snooze();
    }
}

fn pop(ring: &Ring<Item>) -> usize {
    let mut backoff = Backoff::new();
    loop {
        match ring.try_pop() {
            Ok(item) => return *item,
            Err(_) => backoff.snooze(),
        }
    }
}

#[test]
fn two_producers_and_a_consumer() {
    model(|| {
        let ring = ring(2, 0);
        let producers = [1, 2].map(|value| {
            let ring = ring.clone();
            thread::spawn(move || push(&ring, value))
        });
        assert_eq!(pop(&ring) + pop(&ring), 3);
        for producer in producers {
            producer.join().unwrap();
        }
        assert!(matches!(ring.try_pop(), Err(PopError::Empty)));
    });
}

#[test]
fn a_producer_and_two_consumers() {
    model(|| {
        let ring = ring(2, 0);
        let consumers = [(); 2].map(|()| {
            let ring = ring.clone();
            thread::spawn(move || pop(&ring))
        });
        push(&ring, 1);
        push(&ring, 2);
        assert_eq!(consumers.map(|consumer| consumer.join().unwrap()).iter().sum::<usize>(), 3);
    });
}

#[test]
fn one_slot_is_handed_back_and_forth() {
    model(|| {
        let ring = ring(1, 0);
        let producer = ring.clone();
        let producer = thread::spawn(move || (1..=3).for_each(|value| push(&producer, value)));
        (1..=3).for_each(|value| assert_eq!(pop(&ring), value));
        producer.join().unwrap();
    });
}

#[test]
fn positions_wrap() {
    model(|| {
        let ring = ring(2, usize::MAX - 1);
        let producer = ring.clone();
        let producer = thread::spawn(move || (1..=3).for_each(|value| push(&producer, value)));
        (1..=3).for_each(|value| assert_eq!(pop(&ring), value));
        producer.join().unwrap();
        assert_eq!((ring.pushed(), ring.popped()), (3, 3));
    });
}

#[test]
fn a_run_races_a_single_push() {
    model(|| {
        let ring = ring(2, usize::MAX);
        let single = ring.clone();
        let single = thread::spawn(move || single.try_push(Arc::new(4)).is_ok());
        let run = ring.clone();
        let run = thread::spawn(move || {
            let mut items = vec![Arc::new(1), Arc::new(2)];
            let pushed = run.push_bulk(&mut items);
            assert_eq!(pushed + items.len(), 2);
            pushed
        });
        let mut out = Vec::new();
        ring.pop_bulk(&mut out, 2);
        let (single, run) = (single.join().unwrap(), run.join().unwrap());
        ring.pop_bulk(&mut out, 3);
        let values: Vec<usize> = out.iter().map(|item| **item).collect();
        assert_eq!(values.len(), usize::from(single) + run);
        let of_run: Vec<usize> = values.into_iter().filter(|&value| value < 4).collect();
        assert_eq!(of_run, (1..=run).collect::<Vec<_>>(), "a run keeps its order");
    });
}

#[test]
fn a_run_out_races_a_single_pop() {
    model(|| {
        let ring = ring(2, usize::MAX);
        ring.push_bulk(&mut vec![Arc::new(1), Arc::new(2)]);
        let single = ring.clone();
        let single = thread::spawn(move || single.try_pop().map_or(0, |item| *item));
        let producer = ring.clone();
        let producer = thread::spawn(move || producer.try_push(Arc::new(4)).is_ok());
        let mut out = Vec::new();
        ring.pop_bulk(&mut out, 2);
        let (single, pushed) = (single.join().unwrap(), producer.join().unwrap());
        ring.pop_bulk(&mut out, 3);
        let sum = single + out.iter().map(|item| **item).sum::<usize>();
        assert_eq!(sum, if pushed { 7 } else { 3 });
    });
}

/// Three who pop from one run: the first to look says how far it goes, the others must not look where none begins.
#[test]
fn a_run_is_popped_one_by_one() {
    model(|| {
        let ring = ring(4, usize::MAX - 1);
        let consumers = [(); 2].map(|()| {
            let ring = ring.clone();
            thread::spawn(move || pop(&ring))
        });
        ring.push_bulk(&mut [1, 2, 4].map(Arc::new).into());
        let own = pop(&ring);
        assert_eq!(own + consumers.map(|consumer| consumer.join().unwrap()).iter().sum::<usize>(), 7);
    });
}

/// Who has looked at the first run, and is late to say how far it goes, finds that others are past the second.
#[test]
fn what_is_known_of_runs_is_not_forgotten() {
    model(|| {
        let ring = ring(4, 0);
        for run in [[1, 2], [4, 8]] {
            ring.push_bulk(&mut run.map(Arc::new).into());
        }
        let another = ring.clone();
        let another = thread::spawn(move || pop(&another));
        let own = [(); 3].map(|()| pop(&ring)).iter().sum::<usize>();
        assert_eq!(own + another.join().unwrap(), 15);
    });
}

#[test]
fn the_room_that_a_run_left_is_filled_one_by_one() {
    model(|| {
        let ring = ring(4, usize::MAX - 2);
        ring.push_bulk(&mut [0; 4].map(Arc::new).into());
        ring.pop_bulk(&mut Vec::new(), 3);
        let producers = [(); 2].map(|()| {
            let ring = ring.clone();
            thread::spawn(move || assert!(ring.try_push(Arc::new(1)).is_ok(), "three of four slots are vacant"))
        });
        for producer in producers {
            producer.join().unwrap();
        }
        let mut out = Vec::new();
        assert_eq!(ring.pop_bulk(&mut out, 4), 3);
    });
}

/// One who reads `head` and `tail` of a ring that others use.
#[test]
fn a_length_is_never_more_than_was_pushed() {
    model(|| {
        let ring = ring(2, 0);
        let consumer = ring.clone();
        let consumer = thread::spawn(move || drop(consumer.try_pop()));
        let observer = ring.clone();
        let observer = thread::spawn(move || assert!(observer.len() <= 1, "one was pushed at most"));
        push(&ring, 1);
        consumer.join().unwrap();
        observer.join().unwrap();
    });
}

#[test]
fn what_is_in_flight_is_dropped_once() {
    model(|| {
        let ring = ring(2, 0);
        let producer = ring.clone();
        let producer = thread::spawn(move || {
            for value in 0..3 {
                drop(producer.try_push(Arc::new(value)));
            }
        });
        drop(ring.try_pop());
        drop(ring);
        producer.join().unwrap();
    });
}

#[test]
fn the_limit_holds_at_every_push() {
    model(|| {
        let ring = Arc::new(Ring::<Item>::with_allocation(1, 2).unwrap());
        let producer = ring.clone();
        let producer =
            thread::spawn(move || (0..3).filter(|&value| producer.try_push(Arc::new(value)).is_ok()).count());
        let popped = usize::from(ring.try_pop().is_ok());
        let pushed = producer.join().unwrap();
        assert!((1..=1 + popped).contains(&pushed), "{pushed} pushed, {popped} popped");
    });
}

#[test]
fn close_takes_what_was_accepted_and_nothing_after() {
    model(|| {
        let ring = ring(2, 0);
        let producer = ring.clone();
        let producer = thread::spawn(move || match producer.try_push(Arc::new(1)) {
            Ok(()) => 1,
            Err(PushError::Closed(item)) => *item - 1,
            Err(PushError::Full(_)) => unreachable!("two slots, one item"),
        });
        let closer = ring.clone();
        let closer = thread::spawn(move || {
            closer.close();
            assert!(matches!(closer.try_push(Arc::new(2)), Err(PushError::Closed(_))));
        });
        let (mut popped, mut backoff) = (0, Backoff::new());
        loop {
            match ring.try_pop() {
                Ok(item) => popped += *item,
                Err(PopError::Empty) => backoff.snooze(),
                Err(PopError::Closed) => break,
            }
        }
        assert_eq!(popped, producer.join().unwrap(), "accepted and popped");
        closer.join().unwrap();
    });
}
