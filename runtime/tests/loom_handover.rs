//! The hand-over between two structures of a queue, every interleaving of two or three threads up to two preemptions.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_handover
//! ```
//!
//! crossbeam's queues stand for structures that cannot be closed: to loom each of their operations is one step that
//! orders nothing, which is less than they do. The ring stands for those that can, and is explored itself.
#![cfg(rt_loom)]

use loom::sync::Arc;
use loom::thread;
use rheostat_runtime::queue::{Kind, PopError, PushError, Queue};
use rheostat_runtime::sync::Backoff;

fn model(threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2)); // LOOM_MAX_PREEMPTIONS, or this.
    builder.check(threads);
}

fn queue(kind: Kind, capacity: usize) -> Arc<Queue<Arc<usize>>> {
    Arc::new(Queue::new(kind, capacity).unwrap())
}

fn push(queue: &Queue<Arc<usize>>, value: usize) {
    let (mut item, mut backoff) = (Arc::new(value), Backoff::new());
    while let Err(error) = queue.try_push(item) {
        item = error.into_inner();
        backoff.snooze();
    }
}

fn pop(queue: &Queue<Arc<usize>>) -> usize {
    let mut backoff = Backoff::new();
    loop {
        match queue.try_pop() {
            Ok(item) => return *item,
            Err(_) => backoff.snooze(),
        }
    }
}

fn a_producer_keeps_its_order(from: Kind, to: Kind) {
    model(move || {
        let queue = queue(from, 2);
        let producer = queue.clone();
        let producer = thread::spawn(move || (1..=2).for_each(|value| push(&producer, value)));
        let turner = queue.clone();
        let turner = thread::spawn(move || {
            let _ = turner.turn(to, 2).unwrap();
        });
        (1..=2).for_each(|value| assert_eq!(pop(&queue), value));
        producer.join().unwrap();
        turner.join().unwrap();
        assert_eq!(queue.try_pop().unwrap_err(), PopError::Empty);
        assert!(queue.settle());
    });
}

#[test]
fn a_producer_keeps_its_order_across_a_grace_period() {
    a_producer_keeps_its_order(Kind::SegQueue, Kind::ArrayQueue);
}

#[test]
fn a_producer_keeps_its_order_across_a_close() {
    a_producer_keeps_its_order(Kind::Ring, Kind::SegQueue);
}

#[test]
fn two_turns_are_one_chain() {
    model(|| {
        let queue = queue(Kind::SegQueue, 4);
        let producer = queue.clone();
        let producer = thread::spawn(move || (1..=2).for_each(|value| push(&producer, value)));
        let turner = queue.clone();
        let turner = thread::spawn(move || {
            let _ = turner.turn(Kind::ArrayQueue, 4).unwrap();
            let _ = turner.turn(Kind::SegQueue, 4).unwrap();
        });
        producer.join().unwrap();
        (1..=2).for_each(|value| assert_eq!(pop(&queue), value));
        turner.join().unwrap();
    });
}

#[test]
fn what_was_pushed_before_a_pop_began_is_found() {
    model(|| {
        let queue = queue(Kind::SegQueue, 2);
        let turner = queue.clone();
        let turner = thread::spawn(move || {
            let _ = turner.turn(Kind::ArrayQueue, 2).unwrap();
        });
        push(&queue, 1);
        assert_eq!(*queue.try_pop().unwrap(), 1, "there is one, in whichever structure");
        turner.join().unwrap();
    });
}

#[test]
fn close_takes_what_was_accepted_and_nothing_after() {
    model(|| {
        let queue = queue(Kind::SegQueue, 2);
        let producer = queue.clone();
        let producer = thread::spawn(move || match producer.try_push(Arc::new(1)) {
            Ok(()) => 1,
            Err(PushError::Closed(item)) => *item - 1,
            Err(PushError::Full(_)) => unreachable!("room for two, one item"),
        });
        let closer = queue.clone();
        let closer = thread::spawn(move || {
            closer.close();
            assert!(matches!(closer.try_push(Arc::new(2)), Err(PushError::Closed(_))));
        });
        let (mut popped, mut backoff) = (0, Backoff::new());
        loop {
            match queue.try_pop() {
                Ok(item) => popped += *item,
                Err(PopError::Empty) => backoff.snooze(),
                Err(PopError::Closed) => break,
            }
        }
        assert_eq!(popped, producer.join().unwrap(), "accepted and popped");
        closer.join().unwrap();
    });
}

#[test]
fn a_blocked_pop_moves_across() {
    model(|| {
        let queue = queue(Kind::SegQueue, 1);
        let consumer = queue.clone();
        let consumer = thread::spawn(move || *consumer.pop().unwrap());
        let turner = queue.clone();
        let turner = thread::spawn(move || {
            let _ = turner.turn(Kind::ArrayQueue, 1).unwrap();
        });
        push(&queue, 1);
        assert_eq!(consumer.join().unwrap(), 1);
        turner.join().unwrap();
    });
}

#[test]
fn a_blocked_push_moves_across() {
    model(|| {
        let queue = queue(Kind::ArrayQueue, 1);
        push(&queue, 1);
        let producer = queue.clone();
        let producer = thread::spawn(move || producer.push(Arc::new(2)).unwrap());
        let _ = queue.turn(Kind::SegQueue, 2).unwrap();
        producer.join().unwrap();
        assert_eq!((pop(&queue), pop(&queue)), (1, 2));
    });
}
