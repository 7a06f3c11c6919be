//! The segmented queue's orderings, every interleaving of two or three threads up to two preemptions. Two slots a
//! segment.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_segmented
//! ```
//!
//! Items are loom's own `Arc`s: a lost item is a leak to loom, one handed out twice is used after it was dropped, and a
//! slot that is read while it is written is a race on its cell.
#![cfg(rt_loom)]

use loom::sync::Arc;
use loom::thread;
use rheostat_runtime::queue::{Kind, Queue, Segmented};
use rheostat_runtime::sync::Backoff;

type Item = Arc<usize>;

fn model(threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2)); // LOOM_MAX_PREEMPTIONS, or this.
    builder.check(threads);
}

fn pop(queue: &Segmented<Item>) -> usize {
    let mut backoff = Backoff::new();
    loop {
        match queue.pop() {
            Some(item) => return *item,
            None => backoff.snooze(),
        }
    }
}

#[test]
fn a_lane_is_filled_and_drained_across_segments() {
    model(|| {
        let queue = Arc::new(Segmented::<Item>::new());
        let consumer = queue.clone();
        let consumer = thread::spawn(move || (1..=3).for_each(|value| assert_eq!(pop(&consumer), value)));
        let mut producer = Segmented::producer(&queue);
        (1..=3).for_each(|value| producer.push(Arc::new(value)));
        consumer.join().unwrap();
        assert!(queue.is_empty());
    });
}

#[test]
fn two_consumers_share_a_lane() {
    model(|| {
        let queue = Arc::new(Segmented::<Item>::new());
        queue.push_bulk(&mut (1..=3).map(Arc::new).collect());
        let consumers = [(); 2].map(|()| {
            let queue = queue.clone();
            thread::spawn(move || queue.pop().map_or(0, |item| *item))
        });
        let own = queue.pop().map_or(0, |item| *item);
        let sum: usize = consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum();
        assert_eq!(own + sum, 6, "three items, three pops, all pushed before");
    });
}

#[test]
fn two_producers_push_without_handles() {
    model(|| {
        let queue = Arc::new(Segmented::<Item>::new());
        let producers = [1, 2].map(|value| {
            let queue = queue.clone();
            thread::spawn(move || queue.push(Arc::new(value)))
        });
        assert_eq!(pop(&queue) + pop(&queue), 3);
        for producer in producers {
            producer.join().unwrap();
        }
        assert_eq!(queue.len(), 0);
    });
}

#[test]
fn runs_race_in_and_out() {
    model(|| {
        let queue = Arc::new(Segmented::<Item>::new());
        let producer = queue.clone();
        let producer =
            thread::spawn(move || Segmented::producer(&producer).push_bulk(&mut (1..=3).map(Arc::new).collect()));
        let consumer = queue.clone();
        let consumer = thread::spawn(move || {
            let mut out = Vec::new();
            consumer.pop_bulk(&mut out, 2);
            out
        });
        let mut rest = Vec::new();
        queue.pop_bulk(&mut rest, 2);
        producer.join().unwrap();
        let first = consumer.join().unwrap();
        while queue.pop_bulk(&mut rest, 3) > 0 {}
        for run in [&first, &rest] {
            assert!(run.is_sorted_by_key(|item| **item), "each consumer sees the producer's order");
        }
        assert_eq!(first.iter().chain(&rest).map(|item| **item).sum::<usize>(), 6);
    });
}

/// The face takes its limit along with every push. What a push knows of pops may be old, never ahead.
#[test]
fn a_limit_holds_at_every_push() {
    model(|| {
        let queue = Arc::new(Queue::<Item>::new(Kind::Segmented, 2).unwrap());
        let producer = queue.clone();
        let producer =
            thread::spawn(move || (0..4).filter(|&value| producer.try_push(Arc::new(value)).is_ok()).count());
        let popped = usize::from(queue.try_pop().is_ok()) + usize::from(queue.try_pop().is_ok());
        let pushed = producer.join().unwrap();
        assert!((2..=2 + popped).contains(&pushed), "{pushed} pushed, {popped} popped");
        assert_eq!(queue.len(), pushed - popped);
    });
}

#[test]
fn a_lane_passes_from_handle_to_handle() {
    model(|| {
        let queue = Arc::new(Segmented::<Item>::new());
        Segmented::producer(&queue).push(Arc::new(1));
        let next = queue.clone();
        let next = thread::spawn(move || Segmented::producer(&next).push(Arc::new(2)));
        let other = queue.clone();
        let other = thread::spawn(move || Segmented::producer(&other).push(Arc::new(3)));
        next.join().unwrap();
        other.join().unwrap();
        assert_eq!(pop(&queue) + pop(&queue) + pop(&queue), 6);
    });
}

#[test]
fn what_is_in_flight_is_dropped_once() {
    model(|| {
        let queue = Arc::new(Segmented::<Item>::new());
        let producer = queue.clone();
        let producer = thread::spawn(move || {
            let mut producer = Segmented::producer(&producer);
            (0..3).for_each(|value| producer.push(Arc::new(value)));
        });
        drop(queue.pop());
        drop(queue);
        producer.join().unwrap();
    });
}
