//! The ring's handles: who closes it, what is dropped when, and every item once while handles come and go.
//!
//! `ends_fences` runs the same file again with real fences on both sides of the barrier.
#![cfg(not(any(rt_loom, rt_shuttle)))]

mod executor;
mod ledger;

use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use executor::block_on;
use ledger::{Item, Ledger, Order};
use rheostat_runtime::queue::{Closed, Consumer, PopError, Producer, PushError, Ring};
use rheostat_runtime::sync::barrier;

/// In a process that has settled on the barrier under test before the first.
fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    if env!("CARGO_CRATE_NAME") == "ends_fences" {
        assert!(barrier::prefer_fences(), "settled otherwise");
    }
    Ring::with_start(capacity, capacity, usize::MAX - 1000).unwrap().split()
}

#[test]
fn the_last_producer_closes_behind_the_last_item() {
    let (producer, consumer) = ring(4);
    let another = producer.clone();
    producer.push(1).unwrap();
    drop(producer);
    assert!(!consumer.is_closed());
    another.push(2).unwrap();
    drop(another);
    assert!(consumer.is_closed());
    assert_eq!((consumer.len(), consumer.capacity()), (2, 4));
    assert_eq!(consumer.try_pop(), Ok(1));
    assert_eq!(consumer.pop_timeout(Duration::from_secs(9)), Ok(2));
    assert_eq!(consumer.try_pop(), Err(PopError::Closed));
    assert!(consumer.pop().is_err());
    assert_eq!(consumer.pop_bulk_wait(&mut Vec::new(), 1, None), Err(PopError::Closed));
    assert!(block_on(consumer.pop_async()).is_err());
}

#[test]
fn the_last_consumer_closes_and_drops_what_is_left() {
    let witness = Rc::new(());
    let (producer, consumer) = ring(4);
    producer.push_bulk(&mut vec![witness.clone(); 2]);
    let another = consumer.clone();
    drop(consumer);
    assert_eq!((producer.is_closed(), producer.len()), (false, 2));
    drop(another);
    assert_eq!(Rc::strong_count(&witness), 1, "although the producer is still there");
    assert!(matches!(producer.try_push(witness.clone()), Err(PushError::Closed(_))));
    assert!(matches!(producer.push(witness.clone()), Err(Closed(_))));
    assert!(matches!(block_on(producer.push_async(witness.clone())), Err(Closed(_))));
    assert_eq!(Rc::strong_count(&witness), 1);
}

#[test]
fn closed_by_hand_it_gives_back_and_drains() {
    let (producer, consumer) = ring(1);
    producer.try_push(1).unwrap();
    assert!(matches!(producer.try_push(2), Err(PushError::Full(2))) && producer.is_full());
    assert!(matches!(producer.push_timeout(2, Duration::from_millis(5)), Err(PushError::Full(2))));
    producer.close();
    assert!(matches!(producer.try_push(2), Err(PushError::Closed(2))));
    let mut rest = vec![2];
    assert!(producer.push_all(&mut rest).is_err() && block_on(producer.push_all_async(&mut rest)).is_err());
    assert_eq!(block_on(consumer.pop_bulk_async(&mut rest, 9)).unwrap(), 1);
    assert_eq!(rest, [2, 1]);
}

#[test]
fn one_thread_gets_the_same_answers_with_the_bias_and_without() {
    let (producer, consumer) = ring(3);
    let mut next = 0;
    // The bias goes with every clone, and is back long before the next.
    for round in 0..5 {
        for step in 0..5_000 {
            let items = 1 + step % 3;
            for item in next..next + items {
                producer.try_push(item).unwrap();
            }
            assert_eq!(producer.try_push(0).is_err(), items == 3);
            for item in next..next + items {
                assert_eq!(consumer.try_pop(), Ok(item));
            }
            if items == 3 {
                next += 3;
            } else {
                next += items + 1;
                assert_eq!(consumer.try_pop(), Ok(0));
            }
            assert_eq!(consumer.try_pop(), Err(PopError::Empty));
        }
        if round % 2 == 0 { drop(producer.clone()) } else { drop(consumer.clone()) }
    }
}

const ITEMS: usize = 30_000;

fn produce(mut producer: Producer<Item>, items: impl Iterator<Item = Item>, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut guest = None;
    for item in items {
        match rng.u8(..) {
            0..4 => thread::yield_now(),
            4..6 => guest = Some(producer.clone()),
            6..8 => drop(guest.take()),
            8..10 => producer = producer.clone(),
            _ => {}
        }
        match rng.u8(..8) {
            0 => producer.push_all(&mut vec![item]).unwrap(),
            1 => block_on(producer.push_async(item)).unwrap(),
            2 => {
                let mut item = item;
                while let Err(error) = producer.try_push(item) {
                    item = error.into_inner();
                    thread::yield_now();
                }
            }
            _ => producer.push(item).unwrap(),
        }
    }
}

fn consume(mut consumer: Consumer<Item>, seed: u64) -> usize {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut order, mut run, mut guest) = (Order::default(), Vec::new(), None);
    loop {
        match rng.u8(..) {
            0..4 => thread::yield_now(),
            4..6 => guest = Some(consumer.clone()),
            6..8 => drop(guest.take()),
            8..10 => consumer = consumer.clone(),
            _ => {}
        }
        let popped = match rng.u8(..8) {
            0 => consumer.pop_bulk_wait(&mut run, 9, None).map(drop),
            1 => block_on(consumer.pop_async()).map(|item| run.push(item)).map_err(|_| PopError::Closed),
            2 => consumer.try_pop().map(|item| run.push(item)),
            3 => consumer.pop_timeout(Duration::from_micros(20)).map(|item| run.push(item)),
            _ => consumer.pop().map(|item| run.push(item)).map_err(|_| PopError::Closed),
        };
        run.drain(..).for_each(|item| order.see(&item));
        if popped == Err(PopError::Closed) {
            return order.seen;
        }
    }
}

#[test]
fn every_item_arrives_once_while_handles_come_and_go() {
    for (producers, consumers) in [(1, 1), (1, 3), (3, 1), (4, 4)] {
        for capacity in [1, 64] {
            let ledger = Ledger::new(producers, ITEMS / producers);
            let (producer, consumer) = ring(capacity);
            let popping: Vec<_> = (0..consumers)
                .map(|seed| {
                    let consumer = consumer.clone();
                    thread::spawn(move || consume(consumer, seed))
                })
                .collect();
            drop(consumer);
            let pushing: Vec<_> = (0..producers)
                .map(|index| {
                    let (producer, ledger): (_, Arc<Ledger>) = (producer.clone(), ledger.clone());
                    thread::spawn(move || produce(producer, ledger.items(index), 100 + index as u64))
                })
                .collect();
            drop(producer);
            pushing.into_iter().for_each(|thread| thread.join().unwrap());
            let seen: usize = popping.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(seen, ITEMS / producers * producers);
            ledger.assert_each_dropped_once();
        }
    }
}

#[test]
fn consumers_that_go_early_leave_nothing_undropped() {
    for enough in [0, 100, 10_000] {
        let ledger = Ledger::new(1, ITEMS);
        let (producer, consumer) = ring(16);
        let items = ledger.items(0);
        let pushing = thread::spawn(move || {
            items
                .take_while(|_| !producer.is_closed())
                .map(|item| producer.push(item).is_ok())
                .filter(|&pushed| pushed)
                .count()
        });
        let popped = (0..enough).filter(|_| consumer.pop().is_ok()).count();
        drop(consumer);
        assert!(pushing.join().unwrap() >= popped);
        ledger.assert_each_dropped_once();
    }
}
