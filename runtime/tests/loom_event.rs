//! The parking ends: no wake-up is lost. A waiter that sleeps for ever is a deadlock, which loom reports.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_event
//! ```
#![cfg(rt_loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use loom::thread;
use rheostat_runtime::queue::{PopError, Ring};
use rheostat_runtime::sync::Event;

fn model(threads: impl Fn() + Send + Sync + 'static) {
    model_to(2, threads);
}

fn model_to(preemptions: usize, threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions)); // LOOM_MAX_PREEMPTIONS, or this.
    builder.check(threads);
}

#[test]
fn a_condition_that_turned_true_is_seen() {
    model(|| {
        let shared = Arc::new((AtomicBool::new(false), Event::new()));
        let waiter = shared.clone();
        let waiter = thread::spawn(move || waiter.1.wait_until(None, || waiter.0.load(Relaxed)));
        shared.0.store(true, Relaxed);
        shared.1.notify_all();
        assert!(waiter.join().unwrap());
    });
}

#[test]
fn each_of_two_waiters_gets_its_wake() {
    model(|| {
        let shared = Arc::new((AtomicUsize::new(0), Event::new()));
        let waiters = [(); 2].map(|()| {
            let shared = shared.clone();
            thread::spawn(move || {
                let take = || shared.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
                while !take() {
                    let entry = shared.1.prepare();
                    if take() {
                        return;
                    }
                    entry.wait(None);
                }
            })
        });
        for _ in 0..2 {
            shared.0.fetch_add(1, Relaxed);
            shared.1.notify_one();
        }
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn a_sleeping_consumer_gets_the_item() {
    model(|| {
        let ring = Arc::new(Ring::new(2).unwrap());
        let consumer = ring.clone();
        let consumer = thread::spawn(move || consumer.pop().unwrap());
        ring.try_push(7).unwrap();
        assert_eq!(consumer.join().unwrap(), 7);
    });
}

#[test]
fn a_sleeping_producer_gets_the_room() {
    model(|| {
        let ring = Arc::new(Ring::new(1).unwrap());
        ring.try_push(1).unwrap();
        let producer = ring.clone();
        let producer = thread::spawn(move || producer.push(2).unwrap());
        assert_eq!(ring.try_pop(), Ok(1));
        producer.join().unwrap();
        assert_eq!(ring.try_pop(), Ok(2));
    });
}

#[test]
fn two_sleeping_consumers_share_two_pushes() {
    model(|| {
        let ring = Arc::new(Ring::new(2).unwrap());
        let consumers = [(); 2].map(|()| {
            let ring = ring.clone();
            thread::spawn(move || ring.pop().unwrap())
        });
        ring.try_push(1).unwrap();
        ring.try_push(2).unwrap();
        assert_eq!(consumers.map(|consumer| consumer.join().unwrap()).iter().sum::<i32>(), 3);
    });
}

#[test]
fn two_sleeping_consumers_share_a_run() {
    model(|| {
        let ring = Arc::new(Ring::new(2).unwrap());
        let consumers = [(); 2].map(|()| {
            let ring = ring.clone();
            thread::spawn(move || ring.pop().unwrap())
        });
        assert_eq!(ring.push_bulk(&mut vec![1, 2]), 2);
        assert_eq!(consumers.map(|consumer| consumer.join().unwrap()).iter().sum::<i32>(), 3);
    });
}

#[test]
fn two_sleeping_producers_share_a_run_of_room() {
    // With two preemptions this one takes half a minute; it was seen to pass.
    model_to(1, || {
        let ring = Arc::new(Ring::new(2).unwrap());
        ring.push_bulk(&mut vec![0, 0]);
        let producers = [1, 2].map(|item| {
            let ring = ring.clone();
            thread::spawn(move || ring.push(item).unwrap())
        });
        assert_eq!(ring.pop_bulk(&mut Vec::new(), 2), 2);
        for producer in producers {
            producer.join().unwrap();
        }
        assert_eq!(ring.try_pop().unwrap() + ring.try_pop().unwrap(), 3);
    });
}

#[test]
fn a_raised_limit_lets_a_sleeping_producer_in() {
    model(|| {
        let ring = Arc::new(Ring::with_allocation(1, 2).unwrap());
        ring.try_push(1).unwrap();
        let producer = ring.clone();
        let producer = thread::spawn(move || producer.push(2).unwrap());
        ring.set_limit(2).unwrap();
        producer.join().unwrap();
        assert_eq!(ring.len(), 2);
    });
}

#[test]
fn draining_below_a_lowered_limit_wakes_a_producer() {
    model(|| {
        let ring = Arc::new(Ring::new(2).unwrap());
        ring.push_bulk(&mut vec![1, 2]);
        let producer = ring.clone();
        let producer = thread::spawn(move || producer.push(3).unwrap());
        let consumer = ring.clone();
        let consumer = thread::spawn(move || consumer.try_pop().is_ok());
        ring.set_limit(1).unwrap();
        let popped = usize::from(ring.try_pop().is_ok()) + usize::from(consumer.join().unwrap());
        assert_eq!(popped, 2);
        producer.join().unwrap();
        assert_eq!(ring.try_pop(), Ok(3));
    });
}

#[test]
fn close_wakes_both_ends() {
    model(|| {
        let (full, empty) = (Arc::new(Ring::new(1).unwrap()), Arc::new(Ring::<i32>::new(1).unwrap()));
        full.try_push(1).unwrap();
        let (producer, consumer) = (full.clone(), empty.clone());
        let producer = thread::spawn(move || assert_eq!(producer.push(2).unwrap_err().0, 2));
        let consumer = thread::spawn(move || assert!(consumer.pop().is_err()));
        full.close();
        empty.close();
        producer.join().unwrap();
        consumer.join().unwrap();
    });
}

#[test]
fn one_that_gives_up_passes_its_wake_on() {
    model(|| {
        let ring = Arc::new(Ring::new(2).unwrap());
        let retire = Arc::new(AtomicBool::new(false));
        let (leaver, flag) = (ring.clone(), retire.clone());
        let leaver = thread::spawn(move || leaver.pop_until(|| flag.load(Relaxed), None));
        let stayer = ring.clone();
        let stayer = thread::spawn(move || stayer.pop().unwrap());
        retire.store(true, Relaxed);
        ring.try_push(1).unwrap();
        ring.wake_consumers();
        match leaver.join().unwrap() {
            Ok(item) => {
                assert_eq!(item, 1);
                ring.try_push(2).unwrap();
            }
            Err(error) => assert_eq!(error, PopError::Empty),
        }
        stayer.join().unwrap();
    });
}

#[test]
fn a_wake_of_all_reaches_the_one_it_is_for() {
    model(|| {
        let ring = Arc::new(Ring::new(2).unwrap());
        let retire = Arc::new(AtomicBool::new(false));
        let (leaver, flag) = (ring.clone(), retire.clone());
        let leaver = thread::spawn(move || leaver.pop_until(|| flag.load(Relaxed), None));
        let stayer = ring.clone();
        let stayer = thread::spawn(move || stayer.pop().unwrap());
        retire.store(true, Relaxed);
        ring.wake_consumers();
        assert_eq!(leaver.join().unwrap(), Err(PopError::Empty));
        ring.try_push(1).unwrap();
        stayer.join().unwrap();
    });
}
