//! The SPSC ring: exact answers from one thread, the same answers as a plain deque, and every item once from two.
#![cfg(not(any(rt_loom, rt_shuttle)))]

mod by_hand;
mod executor;
mod ledger;

use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use by_hand::{Calls, poll};
use executor::block_on;
use ledger::{Item, Ledger, Order};
use proptest::prelude::*;
use rheostat_runtime::queue::spsc::{self, Consumer, Producer};
use rheostat_runtime::queue::{CAPACITY_MAX, CapacityError, Closed, PopError, PushError};
use rheostat_runtime::sync::thread;

#[test]
fn a_capacity_out_of_range_is_refused_with_the_range() {
    for requested in [0, CAPACITY_MAX + 1, usize::MAX] {
        assert_eq!(spsc::ring::<u8>(requested).unwrap_err(), CapacityError { requested, max: CAPACITY_MAX });
    }
}

#[test]
fn the_consumer_gets_what_the_producer_left_and_then_hears_that_it_is_gone() {
    let (mut producer, mut consumer) = spsc::ring(3).unwrap();
    producer.push(1).unwrap();
    assert!(!consumer.is_closed());
    drop(producer);
    assert!(consumer.is_closed());
    assert_eq!(consumer.pop_timeout(Duration::from_secs(9)), Ok(1));
    assert_eq!(consumer.try_pop(), Err(PopError::Closed));
    assert_eq!(consumer.pop_timeout(Duration::from_secs(9)), Err(PopError::Closed));
    assert!(consumer.pop().is_err());
    assert_eq!(consumer.pop_bulk_wait(&mut Vec::new(), 3, None), Err(PopError::Closed));
    assert!(block_on(consumer.pop_async()).is_err());
    assert!(block_on(consumer.pop_bulk_async(&mut Vec::new(), 3)).is_err());
}

#[test]
fn the_producer_gets_its_item_back_when_the_consumer_is_gone() {
    let (mut producer, consumer) = spsc::ring(3).unwrap();
    drop(consumer);
    assert!(producer.is_closed());
    assert!(matches!(producer.try_push(1), Err(PushError::Closed(1))));
    assert!(matches!(producer.push(1), Err(Closed(1))));
    assert!(matches!(producer.push_timeout(1, Duration::from_secs(9)), Err(PushError::Closed(1))));
    assert!(matches!(block_on(producer.push_async(1)), Err(Closed(1))));
    let mut rest = vec![1, 2];
    assert_eq!(producer.push_bulk(&mut rest), 0);
    assert_eq!(producer.push_slice(&rest), 0);
    assert!(producer.push_all(&mut rest).is_err());
    assert!(block_on(producer.push_all_async(&mut rest)).is_err());
    assert_eq!(rest, [1, 2]);
}

#[test]
fn time_runs_out_on_both_ends() {
    let (mut producer, mut consumer) = spsc::ring(1).unwrap();
    let (brief, begin) = (Duration::from_millis(20), Instant::now());
    assert_eq!(consumer.pop_timeout(brief), Err(PopError::Empty));
    assert_eq!(consumer.pop_bulk_wait(&mut Vec::new(), 1, Some(brief)), Err(PopError::Empty));
    producer.push(1).unwrap();
    assert!(matches!(producer.push_timeout(2, brief), Err(PushError::Full(2))));
    assert!(begin.elapsed() >= 3 * brief);
    assert_eq!(consumer.pop_timeout(Duration::MAX), Ok(1));
}

#[test]
fn what_is_left_is_dropped_once_and_when_the_consumer_goes() {
    let witness = Rc::new(());
    let (mut producer, mut consumer) = spsc::ring_with_start(3, usize::MAX - 2).unwrap();
    for _ in 0..5 {
        producer.try_push(witness.clone()).unwrap();
        producer.try_push(witness.clone()).unwrap();
        consumer.try_pop().unwrap();
        drop(consumer.try_pop().unwrap());
    }
    producer.push_bulk(&mut vec![witness.clone(); 5]);
    assert_eq!(Rc::strong_count(&witness), 1 + 3);
    drop(consumer);
    assert_eq!(Rc::strong_count(&witness), 1, "although the producer is still there");
    drop(producer);
    assert_eq!(Rc::strong_count(&witness), 1);
}

#[test]
fn tasks_are_woken_by_items_room_and_the_other_end_going() {
    let (mut producer, mut consumer) = spsc::ring(1).unwrap();
    let (popping, pop_waker) = Calls::waker();
    {
        let mut pop = pin!(consumer.pop_async());
        assert!(poll(pop.as_mut(), &pop_waker).is_pending());
        producer.try_push(1).unwrap();
        assert_eq!(popping.count(), 1);
    } // Cancelled: the item stays.
    let (pushing, push_waker) = Calls::waker();
    {
        let mut push = pin!(producer.push_async(2));
        assert!(poll(push.as_mut(), &push_waker).is_pending());
        assert_eq!(consumer.try_pop(), Ok(1));
        assert_eq!(pushing.count(), 1);
        assert!(matches!(poll(push.as_mut(), &push_waker), Poll::Ready(Ok(()))));
    }
    assert_eq!(block_on(consumer.pop_async()).unwrap(), 2);
    let mut pop = pin!(consumer.pop_async());
    assert!(poll(pop.as_mut(), &pop_waker).is_pending());
    drop(producer);
    assert_eq!(popping.count(), 2);
    assert!(matches!(poll(pop.as_mut(), &pop_waker), Poll::Ready(Err(Closed(())))));
}

#[derive(Debug, Clone)]
enum Step {
    Push,
    Pop,
    PushBulk(usize),
    PopBulk(usize),
    PushSlice(usize),
    PopSlice(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Push),
        4 => Just(Step::Pop),
        2 => (0_usize..12).prop_map(Step::PushBulk),
        2 => (0_usize..12).prop_map(Step::PopBulk),
        2 => (0_usize..12).prop_map(Step::PushSlice),
        2 => (0_usize..12).prop_map(Step::PopSlice),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn the_ring_answers_as_a_deque_does(
        capacity in 1_usize..10,
        start in prop_oneof![Just(0), (0_usize..40).prop_map(|back| usize::MAX - back), any::<usize>()],
        steps in steps(),
    ) {
        let (mut producer, mut consumer) = spsc::ring_with_start(capacity, start).unwrap();
        let (mut deque, mut pushed) = (VecDeque::new(), 0_u64);
        for step in steps {
            let room = capacity - deque.len();
            match step {
                Step::Push => match producer.try_push(pushed) {
                    Ok(()) => {
                        prop_assert!(room > 0);
                        deque.push_back(pushed);
                        pushed += 1;
                    }
                    Err(error) => prop_assert!(room == 0 && matches!(error, PushError::Full(item) if item == pushed)),
                },
                Step::Pop => prop_assert_eq!(consumer.try_pop().ok(), deque.pop_front()),
                Step::PushBulk(count) => {
                    let mut items: Vec<u64> = (pushed..pushed + count as u64).collect();
                    let taken = producer.push_bulk(&mut items);
                    prop_assert_eq!(taken, count.min(room));
                    prop_assert_eq!(&items, &(pushed + taken as u64..pushed + count as u64).collect::<Vec<_>>());
                    deque.extend(pushed..pushed + taken as u64);
                    pushed += taken as u64;
                }
                Step::PushSlice(count) => {
                    let taken = producer.push_slice(&(pushed..pushed + count as u64).collect::<Vec<_>>());
                    prop_assert_eq!(taken, count.min(room));
                    deque.extend(pushed..pushed + taken as u64);
                    pushed += taken as u64;
                }
                Step::PopBulk(max) => {
                    let mut out = vec![u64::MAX];
                    let count = consumer.pop_bulk(&mut out, max);
                    prop_assert_eq!(count, max.min(deque.len()));
                    prop_assert_eq!(&out[1..], &deque.drain(..count).collect::<Vec<_>>());
                }
                Step::PopSlice(max) => {
                    let mut out = vec![u64::MAX; max];
                    let count = consumer.pop_slice(&mut out);
                    prop_assert_eq!(count, max.min(deque.len()));
                    prop_assert_eq!(&out[..count], &deque.drain(..count).collect::<Vec<_>>());
                    prop_assert!(out[count..].iter().all(|&item| item == u64::MAX));
                }
            }
            prop_assert_eq!((producer.len(), consumer.len()), (deque.len(), deque.len()));
            prop_assert_eq!((producer.is_empty(), consumer.is_full()), (deque.is_empty(), deque.len() == capacity));
        }
    }
}

const ITEMS: usize = 60_000;

/// Every way to push, in turn, with the core given away now and then.
fn produce(mut producer: Producer<Item>, items: impl Iterator<Item = Item>) -> usize {
    let mut rng = fastrand::Rng::with_seed(1);
    let (mut items, mut accepted) = (items.peekable(), 0);
    while items.peek().is_some() {
        if rng.u8(..) < 8 {
            thread::yield_now();
        }
        let mut run: Vec<Item> = items.by_ref().take(rng.usize(1..90)).collect();
        let all = run.len();
        let pushed = match rng.u8(..3) {
            0 => producer.push_all(&mut run),
            1 => block_on(producer.push_all_async(&mut run)),
            _ => {
                let rest = run.split_off(1);
                let first = producer.push(run.pop().unwrap());
                run = rest;
                match first {
                    Ok(()) => producer.push_all(&mut run),
                    Err(_) => return accepted,
                }
            }
        };
        accepted += all - run.len();
        if pushed.is_err() {
            return accepted;
        }
    }
    accepted
}

/// Every way to pop, in turn, until it has that many or the producer is gone.
fn consume(consumer: &mut Consumer<Item>, enough: usize) -> usize {
    let mut rng = fastrand::Rng::with_seed(2);
    let (mut order, mut run) = (Order::default(), Vec::new());
    while order.seen < enough {
        if rng.u8(..) < 8 {
            thread::yield_now();
        }
        let popped = match rng.u8(..5) {
            0 => consumer.pop().map(|item| run.push(item)).map_err(|_| PopError::Closed),
            1 => consumer.pop_timeout(Duration::from_micros(rng.u64(..50))).map(|item| run.push(item)),
            2 => consumer.pop_bulk_wait(&mut run, rng.usize(1..90), None).map(drop),
            3 => block_on(consumer.pop_bulk_async(&mut run, rng.usize(1..90))).map(drop).map_err(|_| PopError::Closed),
            _ => consumer.try_pop().map(|item| run.push(item)),
        };
        run.drain(..).for_each(|item| order.see(&item));
        if popped == Err(PopError::Closed) {
            break;
        }
    }
    order.seen
}

#[test]
fn every_item_arrives_once_and_in_order() {
    for capacity in [1, 2, 64] {
        let ledger = Ledger::new(1, ITEMS);
        let (producer, mut consumer) = spsc::ring_with_start(capacity, usize::MAX - 1000).unwrap();
        let items = ledger.items(0);
        let producer = thread::spawn(move || produce(producer, items));
        assert_eq!(consume(&mut consumer, usize::MAX), ITEMS);
        assert_eq!(producer.join().unwrap(), ITEMS);
        ledger.assert_each_dropped_once();
    }
}

#[test]
fn a_consumer_that_goes_early_leaves_nothing_undropped() {
    for enough in [0, 1, 1_000, ITEMS / 2] {
        let ledger = Ledger::new(1, ITEMS);
        let (producer, mut consumer) = spsc::ring(64).unwrap();
        let items = ledger.items(0);
        let producer = thread::spawn(move || produce(producer, items));
        let seen = consume(&mut consumer, enough);
        drop(consumer);
        assert!(producer.join().unwrap() >= seen);
        ledger.assert_each_dropped_once();
    }
}

#[test]
fn tasks_under_tokio_lose_nothing_when_cancelled() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let ledger = Ledger::new(1, ITEMS);
    let (mut producer, mut consumer) = spsc::ring(8).unwrap();
    let seen = runtime.block_on(async {
        let ledger: Arc<Ledger> = ledger.clone();
        let pushing = tokio::spawn(async move {
            let mut items: Vec<Item> = ledger.items(0).collect();
            while !items.is_empty() {
                let moment = Duration::from_micros(items.len() as u64 % 90);
                if let Ok(pushed) = tokio::time::timeout(moment, producer.push_all_async(&mut items)).await {
                    pushed.unwrap();
                }
            }
        });
        let mut order = Order::default();
        loop {
            tokio::select! {
                popped = consumer.pop_async() => match popped {
                    Ok(item) => order.see(&item),
                    Err(_) => break,
                },
                () = tokio::task::yield_now() => {}
            }
        }
        pushing.await.unwrap();
        order.seen
    });
    assert_eq!(seen, ITEMS);
    ledger.assert_each_dropped_once();
}
