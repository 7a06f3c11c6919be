//! The ring's ends that await: polled by hand, one future a thread, under tokio, and mixed with threads that park.
#![cfg(not(any(rt_loom, rt_shuttle)))]

mod by_hand;
mod executor;
mod ledger;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use by_hand::{Calls, poll};
use executor::block_on;
use ledger::{Item, Ledger, Order};
use rheostat_runtime::queue::{Closed, PushError, Ring};

#[test]
fn a_pop_waits_for_the_push_and_is_woken_once() {
    let ring = Ring::new(2).unwrap();
    let (calls, waker) = Calls::waker();
    let mut pop = pin!(ring.pop_async());
    assert!(poll(pop.as_mut(), &waker).is_pending());
    assert!(poll(pop.as_mut(), &waker).is_pending());
    ring.try_push(1).unwrap();
    ring.try_push(2).unwrap();
    assert_eq!(calls.count(), 1, "who is awake already is not woken again");
    assert!(matches!(poll(pop.as_mut(), &waker), Poll::Ready(Ok(1))));
}

#[test]
fn a_push_waits_for_room() {
    let ring = Ring::new(1).unwrap();
    ring.try_push(1).unwrap();
    let (calls, waker) = Calls::waker();
    let mut push = pin!(ring.push_async(2));
    assert!(poll(push.as_mut(), &waker).is_pending());
    assert_eq!(ring.pop().unwrap(), 1);
    assert_eq!(calls.count(), 1);
    assert!(matches!(poll(push.as_mut(), &waker), Poll::Ready(Ok(()))));
    assert_eq!(ring.pop().unwrap(), 2);
}

#[test]
fn the_waker_given_last_is_called() {
    let ring = Ring::new(1).unwrap();
    let ((first, stale), (second, fresh)) = (Calls::waker(), Calls::waker());
    let mut pop = pin!(ring.pop_async());
    assert!(poll(pop.as_mut(), &stale).is_pending());
    assert!(poll(pop.as_mut(), &fresh).is_pending());
    assert_eq!(Arc::strong_count(&first), 2, "the ring keeps one waker of a task");
    ring.try_push(1).unwrap();
    assert_eq!((first.count(), second.count()), (0, 1));
}

#[test]
fn a_cancelled_pop_passes_its_wake_on() {
    let ring = Ring::new(1).unwrap();
    let ((first, first_waker), (second, second_waker)) = (Calls::waker(), Calls::waker());
    let mut cancelled = Box::pin(ring.pop_async());
    let mut other = pin!(ring.pop_async());
    assert!(poll(cancelled.as_mut(), &first_waker).is_pending());
    assert!(poll(other.as_mut(), &second_waker).is_pending());
    ring.try_push(1).unwrap();
    assert_eq!((first.count(), second.count()), (1, 0), "the first that came is woken");
    drop(cancelled);
    assert_eq!(second.count(), 1);
    assert!(matches!(poll(other.as_mut(), &second_waker), Poll::Ready(Ok(1))));
}

#[test]
fn a_cancelled_push_passes_its_wake_on_and_drops_its_item() {
    let ring = Ring::new(1).unwrap();
    let item = Arc::new(());
    ring.try_push(Arc::new(())).unwrap();
    let (second, waker) = Calls::waker();
    let mut cancelled = Box::pin(ring.push_async(item.clone()));
    let mut other = pin!(ring.push_async(item.clone()));
    assert!(poll(cancelled.as_mut(), &Calls::waker().1).is_pending());
    assert!(poll(other.as_mut(), &waker).is_pending());
    drop(ring.pop());
    drop(cancelled);
    assert_eq!((second.count(), Arc::strong_count(&item)), (1, 2));
    assert!(poll(other.as_mut(), &waker).is_ready());
}

#[test]
fn one_that_was_not_woken_leaves_nothing_behind() {
    let ring = Ring::new(1).unwrap();
    let (calls, waker) = Calls::waker();
    let mut pop = Box::pin(ring.pop_async());
    assert!(poll(pop.as_mut(), &waker).is_pending());
    drop(pop);
    ring.try_push(1).unwrap();
    assert_eq!((calls.count(), Arc::strong_count(&calls)), (0, 2), "one here, one in `waker`");
}

#[test]
fn a_run_wakes_as_many_as_it_is_for() {
    let ring = Ring::new(4).unwrap();
    let wakers: Vec<_> = (0..3).map(|_| Calls::waker()).collect();
    let mut pops: Vec<_> = wakers.iter().map(|_| Box::pin(ring.pop_async())).collect();
    for (pop, (_, waker)) in pops.iter_mut().zip(&wakers) {
        assert!(poll(pop.as_mut(), waker).is_pending());
    }
    ring.push_bulk(&mut vec![0, 1, 2]);
    for (number, (pop, (calls, waker))) in pops.iter_mut().zip(&wakers).enumerate() {
        assert_eq!(calls.count(), 1, "woken by the one before");
        assert!(matches!(poll(pop.as_mut(), waker), Poll::Ready(Ok(item)) if item == number));
    }
}

#[test]
fn close_wakes_tasks_and_threads_on_both_ends() {
    let full = Ring::new(1).unwrap();
    full.try_push(1).unwrap();
    let empty = Ring::<u8>::new(1).unwrap();
    let ((pushing, push_waker), (popping, pop_waker)) = (Calls::waker(), Calls::waker());
    let mut push = pin!(full.push_async(2));
    let mut pop = pin!(empty.pop_async());
    assert!(poll(push.as_mut(), &push_waker).is_pending());
    assert!(poll(pop.as_mut(), &pop_waker).is_pending());
    thread::scope(|scope| {
        let threads = [
            scope.spawn(|| full.push(3).is_err()),
            scope.spawn(|| empty.pop().is_err()),
            scope.spawn(|| block_on(full.push_async(4)).is_err()),
            scope.spawn(|| block_on(empty.pop_async()).is_err()),
        ];
        thread::sleep(Duration::from_millis(20)); // So that most of them are asleep; right either way.
        full.close();
        empty.close();
        assert_eq!((pushing.count(), popping.count()), (1, 1));
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    });
    assert!(matches!(poll(push.as_mut(), &push_waker), Poll::Ready(Err(Closed(2)))));
    assert!(matches!(poll(pop.as_mut(), &pop_waker), Poll::Ready(Err(Closed(())))));
    assert_eq!(block_on(full.pop_async()).unwrap(), 1, "what was accepted stays to be popped");
    let mut rest = vec![5];
    assert!(block_on(full.push_all_async(&mut rest)).is_err());
    assert_eq!(rest, [5]);
    assert!(block_on(full.pop_bulk_async(&mut rest, 1)).is_err());
}

#[test]
fn a_turned_limit_wakes_a_task() {
    let ring = Ring::with_allocation(1, 2).unwrap();
    ring.try_push(1).unwrap();
    let (calls, waker) = Calls::waker();
    let mut push = pin!(ring.push_async(2));
    assert!(poll(push.as_mut(), &waker).is_pending());
    ring.set_limit(2).unwrap();
    assert_eq!(calls.count(), 1);
    assert!(poll(push.as_mut(), &waker).is_ready());
}

#[test]
fn what_a_dropped_run_did_not_push_stays_with_the_caller() {
    let ring = Ring::new(2).unwrap();
    let mut items = vec![1, 2, 3];
    {
        let mut push = pin!(ring.push_all_async(&mut items));
        assert!(poll(push.as_mut(), &Calls::waker().1).is_pending());
    }
    assert_eq!(items, [3]);
    assert!(matches!(ring.try_push(9), Err(PushError::Full(9))));
    let mut out = Vec::new();
    assert_eq!(block_on(ring.pop_bulk_async(&mut out, 9)).unwrap(), 2);
    assert_eq!(block_on(ring.pop_bulk_async(&mut out, 0)).unwrap(), 0);
    assert_eq!(out, [1, 2]);
}

const EACH: usize = 6_000;

async fn produce(ring: &Ring<Item>, ledger: &Arc<Ledger>, producer: usize) {
    let mut items = ledger.items(producer);
    while items.len() > 0 {
        let mut run: Vec<Item> = items.by_ref().take(1 + producer * 20).collect();
        if run.len() == 1 {
            ring.push_async(run.remove(0)).await.unwrap();
        } else {
            ring.push_all_async(&mut run).await.unwrap();
        }
    }
}

/// Pops until the ring is closed, and cancels every few pops after a moment. Returns how many items came.
async fn consume(ring: &Ring<Item>, seed: u64) -> usize {
    let (mut order, mut run) = (Order::default(), Vec::new());
    let mut rng = fastrand::Rng::with_seed(seed);
    loop {
        if rng.u8(..) < 8 {
            tokio::task::yield_now().await;
        }
        let popped = match rng.u8(..4) {
            0 => ring.pop_bulk_async(&mut run, rng.usize(1..50)).await.map(drop),
            1 => match tokio::time::timeout(Duration::from_micros(rng.u64(..100)), ring.pop_async()).await {
                Ok(popped) => popped.map(|item| run.push(item)),
                Err(_cancelled) => Ok(()),
            },
            2 => tokio::select! {
                popped = ring.pop_async() => popped.map(|item| run.push(item)),
                () = tokio::task::yield_now() => Ok(()),
            },
            _ => ring.pop_async().await.map(|item| run.push(item)),
        };
        run.drain(..).for_each(|item| order.see(&item));
        if popped.is_err() {
            return order.seen;
        }
    }
}

#[test]
fn tasks_that_are_cancelled_now_and_then_lose_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    for tasks in [1, 2, 8] {
        let ring = Arc::new(Ring::with_start(16, 16, usize::MAX - 100).unwrap());
        let ledger = Ledger::new(tasks, EACH / tasks);
        let seen: usize = runtime.block_on(async {
            let consumers: Vec<_> = (0..tasks)
                .map(|seed| {
                    let ring = ring.clone();
                    tokio::spawn(async move { consume(&ring, seed as u64).await })
                })
                .collect();
            let producers: Vec<_> = (0..tasks)
                .map(|producer| {
                    let (ring, ledger) = (ring.clone(), ledger.clone());
                    tokio::spawn(async move { produce(&ring, &ledger, producer).await })
                })
                .collect();
            for producer in producers {
                producer.await.unwrap();
            }
            ring.close();
            let mut seen = 0;
            for consumer in consumers {
                seen += consumer.await.unwrap();
            }
            seen
        });
        assert_eq!(seen, EACH / tasks * tasks);
        ledger.assert_each_dropped_once();
    }
}

#[test]
fn threads_and_tasks_share_the_ends() {
    let ring = Ring::with_start(4, 4, usize::MAX - 100).unwrap();
    let ledger = Ledger::new(2, EACH);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut order = Order::default();
            while let Ok(item) = ring.pop() {
                order.see(&item);
            }
            order.seen
        });
        let task = scope.spawn(|| {
            block_on(async {
                let mut order = Order::default();
                while let Ok(item) = ring.pop_async().await {
                    order.see(&item);
                }
                order.seen
            })
        });
        let producer = scope.spawn(|| ledger.items(0).for_each(|item| ring.push(item).unwrap()));
        block_on(produce(&ring, &ledger, 1));
        producer.join().unwrap();
        ring.close();
        assert_eq!(thread.join().unwrap() + task.join().unwrap(), 2 * EACH);
    });
    ledger.assert_each_dropped_once();
}
