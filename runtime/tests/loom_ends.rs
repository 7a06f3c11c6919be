//! The bias of a sole handle: plain stores race those who have to change the same word, every interleaving up to two
//! preemptions. The bias comes back after one undisturbed step here, so that both ways are taken.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_ends
//! ```
#![cfg(rt_loom)]

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use loom::sync::Arc;
use loom::thread;
use rheostat_runtime::queue::{Consumer, PopError, Producer, PushError, Ring};
use rheostat_runtime::sync::Backoff;

type Item = Arc<usize>;

fn model(capacity: usize, ends: impl Fn(Producer<Item>, Consumer<Item>) + Send + Sync + 'static) {
    let schedules = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = schedules.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2)); // LOOM_MAX_PREEMPTIONS, or this.
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        let (producer, consumer) = Ring::with_start(capacity, capacity, usize::MAX).unwrap().split();
        ends(producer, consumer);
    });
    assert!(schedules.load(Relaxed) > 20, "the model saw {schedules:?} schedules");
}

fn pop(consumer: &Consumer<Item>) -> usize {
    let mut backoff = Backoff::new();
    loop {
        match consumer.try_pop() {
            Ok(item) => return *item,
            Err(_) => backoff.snooze(),
        }
    }
}

#[test]
fn a_sole_producer_and_a_sole_consumer_hand_over() {
    model(2, |producer, consumer| {
        let producer = thread::spawn(move || {
            for value in 1..=3 {
                let (mut item, mut backoff) = (Arc::new(value), Backoff::new());
                while let Err(error) = producer.try_push(item) {
                    item = error.into_inner();
                    backoff.snooze();
                }
            }
        });
        (1..=3).for_each(|value| assert_eq!(pop(&consumer), value));
        producer.join().unwrap();
    });
}

#[test]
fn a_consumer_goes_to_sleep_while_the_sole_producer_pushes() {
    model(2, |producer, consumer| {
        let consumer = thread::spawn(move || {
            assert_eq!(*consumer.pop().unwrap(), 1);
            assert_eq!(*consumer.pop().unwrap(), 2);
        });
        producer.try_push(Arc::new(1)).unwrap();
        producer.try_push(Arc::new(2)).unwrap();
        consumer.join().unwrap();
    });
}

#[test]
fn a_producer_goes_to_sleep_while_the_sole_consumer_pops() {
    model(1, |producer, consumer| {
        producer.try_push(Arc::new(1)).unwrap();
        let producer = thread::spawn(move || {
            producer.push(Arc::new(2)).unwrap();
            producer.push(Arc::new(3)).unwrap();
        });
        (1..=3).for_each(|value| assert_eq!(pop(&consumer), value));
        producer.join().unwrap();
    });
}

#[test]
fn the_ring_is_closed_while_the_sole_producer_pushes() {
    model(4, |producer, consumer| {
        let closer = thread::spawn(move || {
            consumer.close();
            let (mut popped, mut backoff) = (0, Backoff::new());
            loop {
                match consumer.try_pop() {
                    Ok(_) => popped += 1,
                    Err(PopError::Empty) => backoff.snooze(),
                    Err(PopError::Closed) => return popped,
                }
            }
        });
        let accepted = (0..2)
            .filter(|&value| match producer.try_push(Arc::new(value)) {
                Ok(()) => true,
                Err(PushError::Closed(item)) => *item != value,
                Err(PushError::Full(_)) => unreachable!("four slots, two items"),
            })
            .count();
        assert_eq!(closer.join().unwrap(), accepted, "popped and accepted");
        assert!(matches!(producer.try_push(Arc::new(9)), Err(PushError::Closed(_))));
    });
}

#[test]
fn a_second_producer_comes_and_goes() {
    model(4, |producer, consumer| {
        producer.try_push(Arc::new(1)).unwrap();
        let another = producer.clone();
        let another = thread::spawn(move || another.try_push(Arc::new(2)).unwrap());
        producer.try_push(Arc::new(4)).unwrap();
        producer.try_push(Arc::new(8)).unwrap();
        another.join().unwrap();
        drop(producer);
        let mut sum = 0;
        while let Ok(item) = consumer.try_pop() {
            sum += *item;
        }
        assert_eq!(sum, 15);
    });
}

#[test]
fn a_second_consumer_takes_its_share() {
    model(2, |producer, consumer| {
        producer.try_push(Arc::new(1)).unwrap();
        producer.try_push(Arc::new(2)).unwrap();
        drop(producer);
        let another = consumer.clone();
        let take = |consumer: Consumer<Item>| {
            let mut sum = 0;
            while let Ok(item) = consumer.try_pop() {
                sum += *item;
            }
            sum
        };
        let taken = thread::spawn(move || take(another));
        let rest = take(consumer);
        assert_eq!(taken.join().unwrap() + rest, 3);
    });
}

#[test]
fn what_is_pushed_while_the_last_consumer_goes_is_dropped_once() {
    model(2, |producer, consumer| {
        let producer = thread::spawn(move || {
            for value in 0..2 {
                drop(producer.try_push(Arc::new(value)));
            }
        });
        drop(consumer);
        producer.join().unwrap();
    });
}
