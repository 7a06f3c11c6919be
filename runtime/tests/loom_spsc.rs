//! The SPSC ring's orderings and its wake-ups, every interleaving of its two ends up to three preemptions.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_spsc
//! ```
//!
//! Items are loom's own `Arc`s: a lost item is a leak to loom, one handed out twice is used after it was dropped, and
//! both ends in one slot at a time are a race on its cell.
#![cfg(rt_loom)]

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use loom::sync::Arc;
use loom::thread;
use rheostat_runtime::queue::spsc::{self, Consumer, Producer};
use rheostat_runtime::queue::{PopError, PushError};
use rheostat_runtime::sync::Backoff;

type Item = Arc<usize>;

fn model(ends: impl Fn(Producer<Item>, Consumer<Item>) + Send + Sync + 'static) {
    let schedules = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = schedules.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3)); // LOOM_MAX_PREEMPTIONS, or this.
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        let (producer, consumer) = spsc::ring_with_start(2, usize::MAX - 1).unwrap();
        ends(producer, consumer);
    });
    assert!(schedules.load(Relaxed) > 20, "the model saw {schedules:?} schedules");
}

fn push(producer: &mut Producer<Item>, value: usize) {
    let (mut item, mut backoff) = (Arc::new(value), Backoff::new());
    while let Err(error) = producer.try_push(item) {
        item = error.into_inner();
        backoff.snooze();
    }
}

fn pop(consumer: &mut Consumer<Item>) -> usize {
    let mut backoff = Backoff::new();
    loop {
        match consumer.try_pop() {
            Ok(item) => return *item,
            Err(_) => backoff.snooze(),
        }
    }
}

#[test]
fn items_arrive_across_the_wrap() {
    model(|mut producer, mut consumer| {
        let consumer = thread::spawn(move || (1..=4).for_each(|value| assert_eq!(pop(&mut consumer), value)));
        (1..=4).for_each(|value| push(&mut producer, value));
        consumer.join().unwrap();
    });
}

#[test]
fn a_slot_is_used_again_only_when_it_was_left() {
    model(|mut producer, mut consumer| {
        let producer = thread::spawn(move || (1..=4).for_each(|value| push(&mut producer, value)));
        (1..=4).for_each(|value| assert_eq!(pop(&mut consumer), value));
        producer.join().unwrap();
    });
}

#[test]
fn runs_arrive_in_order() {
    model(|mut producer, mut consumer| {
        let producer = thread::spawn(move || {
            let mut items = vec![Arc::new(1), Arc::new(2), Arc::new(3)];
            producer.push_bulk(&mut items);
            producer.push_bulk(&mut items);
            3 - items.len()
        });
        let mut out = Vec::new();
        consumer.pop_bulk(&mut out, 2);
        consumer.pop_bulk(&mut out, 2);
        let pushed = producer.join().unwrap();
        consumer.pop_bulk(&mut out, 4);
        assert_eq!(out.iter().map(|item| **item).collect::<Vec<_>>(), (1..=pushed).collect::<Vec<_>>());
    });
}

#[test]
fn a_sleeping_consumer_gets_the_item() {
    model(|mut producer, mut consumer| {
        let consumer = thread::spawn(move || assert_eq!(*consumer.pop().unwrap(), 7));
        producer.try_push(Arc::new(7)).unwrap();
        consumer.join().unwrap();
    });
}

#[test]
fn a_sleeping_producer_gets_the_room() {
    model(|mut producer, mut consumer| {
        producer.try_push(Arc::new(1)).unwrap();
        producer.try_push(Arc::new(2)).unwrap();
        let producer = thread::spawn(move || producer.push(Arc::new(3)).unwrap());
        assert_eq!(*consumer.try_pop().unwrap(), 1);
        producer.join().unwrap();
    });
}

#[test]
fn what_was_pushed_before_the_producer_went_is_popped() {
    model(|mut producer, mut consumer| {
        let producer = thread::spawn(move || producer.try_push(Arc::new(1)).unwrap());
        let mut backoff = Backoff::new();
        let mut popped = 0;
        loop {
            match consumer.try_pop() {
                Ok(item) => popped += *item,
                Err(PopError::Empty) => backoff.snooze(),
                Err(PopError::Closed) => break,
            }
        }
        assert_eq!(popped, 1);
        producer.join().unwrap();
    });
}

#[test]
fn a_sleeping_consumer_hears_the_producer_go() {
    model(|producer, mut consumer| {
        let consumer = thread::spawn(move || assert!(consumer.pop().is_err()));
        drop(producer);
        consumer.join().unwrap();
    });
}

#[test]
fn what_is_in_flight_when_the_consumer_goes_is_dropped_once() {
    model(|mut producer, consumer| {
        let producer = thread::spawn(move || {
            for value in 0..3 {
                if let Err(PushError::Closed(item)) = producer.try_push(Arc::new(value)) {
                    assert_eq!(*item, value);
                }
            }
        });
        drop(consumer);
        producer.join().unwrap();
    });
}
