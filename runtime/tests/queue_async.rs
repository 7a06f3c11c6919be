//! The queue's ends that await, while kind and capacity turn: a task that waits goes on in the structure turned to, and one
//! that goes away takes no wake with it.
#![cfg(not(any(rt_loom, rt_shuttle)))]

mod by_hand;
mod ledger;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use by_hand::{Calls, poll};
use ledger::{Item, Ledger, Order};
use rheostat_runtime::queue::{Closed, HandOverError, Kind, PushError, Queue};

fn pairs() -> impl Iterator<Item = (Kind, Kind)> {
    Kind::ALL.into_iter().flat_map(|from| Kind::ALL.map(|to| (from, to)))
}

#[test]
fn a_pop_that_waits_finds_the_item_in_the_structure_turned_to() {
    for (from, to) in pairs() {
        let queue = Queue::new(from, 2).unwrap();
        let (calls, waker) = Calls::waker();
        let mut pop = pin!(queue.pop_async());
        assert!(poll(pop.as_mut(), &waker).is_pending());
        let _ = queue.turn(to, 2).unwrap();
        assert!(poll(pop.as_mut(), &waker).is_pending(), "a turn brings no item, {from} to {to}");
        let before = calls.count();
        queue.try_push(7).unwrap();
        assert_eq!(calls.count(), before + 1, "{from} to {to}");
        assert!(matches!(poll(pop.as_mut(), &waker), Poll::Ready(Ok(7))));
    }
}

#[test]
fn a_push_that_waits_is_woken_by_the_turn_that_makes_room() {
    for (from, to) in pairs() {
        let queue = Queue::new(from, 1).unwrap();
        queue.try_push(1).unwrap();
        let (calls, waker) = Calls::waker();
        let mut push = pin!(queue.push_async(2));
        assert!(poll(push.as_mut(), &waker).is_pending());
        let _ = queue.turn(to, 2).unwrap();
        assert!(calls.count() > 0, "{from} to {to}");
        assert!(matches!(poll(push.as_mut(), &waker), Poll::Ready(Ok(()))), "{from} to {to}");
        assert_eq!((queue.try_pop(), queue.try_pop()), (Ok(1), Ok(2)));
    }
}

#[test]
fn a_push_that_waits_is_woken_when_the_old_structure_drains() {
    for (from, to) in pairs() {
        let queue = Queue::new(from, 2).unwrap();
        queue.push_all(&mut vec![1, 2]).unwrap();
        let (calls, waker) = Calls::waker();
        let mut push = pin!(queue.push_async(3));
        assert!(poll(push.as_mut(), &waker).is_pending());
        let _ = queue.turn(to, 1).unwrap();
        assert!(poll(push.as_mut(), &waker).is_pending(), "two items, and a limit of one: {from} to {to}");
        assert_eq!(queue.try_pop(), Ok(1));
        assert!(poll(push.as_mut(), &waker).is_pending(), "{from} to {to}");
        let before = calls.count();
        assert_eq!(queue.try_pop(), Ok(2));
        assert!(calls.count() > before, "{from} to {to}");
        assert!(poll(push.as_mut(), &waker).is_ready());
        assert_eq!(queue.try_pop(), Ok(3));
    }
}

#[test]
fn one_that_goes_away_after_a_turn_passes_its_wake_on() {
    for (from, to) in pairs() {
        let queue = Queue::new(from, 2).unwrap();
        let ((_, first), (calls, second)) = (Calls::waker(), Calls::waker());
        let mut cancelled = Box::pin(queue.pop_async());
        let mut other = pin!(queue.pop_async());
        assert!(poll(cancelled.as_mut(), &first).is_pending());
        assert!(poll(other.as_mut(), &second).is_pending());
        let _ = queue.turn(to, 2).unwrap();
        assert!(poll(cancelled.as_mut(), &first).is_pending());
        assert!(poll(other.as_mut(), &second).is_pending());
        let before = calls.count();
        queue.try_push(1).unwrap();
        drop(cancelled);
        assert_eq!(calls.count(), before + 1, "{from} to {to}");
        assert!(matches!(poll(other.as_mut(), &second), Poll::Ready(Ok(1))));
    }
}

#[test]
fn close_after_a_turn_wakes_tasks_on_both_ends() {
    for (from, to) in pairs() {
        let (full, empty) = (Queue::new(from, 1).unwrap(), Queue::<u8>::new(from, 1).unwrap());
        full.try_push(1).unwrap();
        let ((_, push_waker), (_, pop_waker)) = (Calls::waker(), Calls::waker());
        let mut push = pin!(full.push_async(2));
        let mut pop = pin!(empty.pop_async());
        assert!(poll(push.as_mut(), &push_waker).is_pending());
        assert!(poll(pop.as_mut(), &pop_waker).is_pending());
        for queue in [&full, &empty] {
            let _ = queue.turn(to, 1).unwrap();
            queue.close();
        }
        assert!(matches!(poll(push.as_mut(), &push_waker), Poll::Ready(Err(Closed(2)))), "{from} to {to}");
        assert!(matches!(poll(pop.as_mut(), &pop_waker), Poll::Ready(Err(Closed(())))), "{from} to {to}");
        assert_eq!(full.try_pop(), Ok(1), "what was accepted stays to be popped");
    }
}

#[test]
fn close_wakes_every_task_that_waits_at_either_end() {
    for kind in Kind::ALL {
        let (full, empty) = (Queue::new(kind, 1).unwrap(), Queue::<u8>::new(kind, 1).unwrap());
        full.try_push(1).unwrap();
        let (woken, wakers): (Vec<_>, Vec<_>) = (0..4).map(|_| Calls::waker()).unzip();
        let mut pushes = [2, 3].map(|item| Box::pin(full.push_async(item)));
        let mut pops = [(); 2].map(|()| Box::pin(empty.pop_async()));
        for (push, waker) in pushes.iter_mut().zip(&wakers) {
            assert!(poll(push.as_mut(), waker).is_pending());
        }
        for (pop, waker) in pops.iter_mut().zip(&wakers[2..]) {
            assert!(poll(pop.as_mut(), waker).is_pending());
        }
        full.close();
        empty.close();
        let woken: Vec<_> = woken.iter().map(|calls| calls.count()).collect();
        assert!(woken.iter().all(|&calls| calls > 0), "{kind}: pushes and pops were woken {woken:?} times");
        for (push, waker) in pushes.iter_mut().zip(&wakers) {
            assert!(matches!(poll(push.as_mut(), waker), Poll::Ready(Err(Closed(_)))), "{kind}");
        }
        for (pop, waker) in pops.iter_mut().zip(&wakers[2..]) {
            assert!(matches!(poll(pop.as_mut(), waker), Poll::Ready(Err(Closed(())))), "{kind}");
        }
    }
}

#[test]
fn a_run_that_waits_goes_on_with_the_room_turned_to() {
    let queue = Queue::new(Kind::ArrayQueue, 1).unwrap();
    queue.try_push(0).unwrap();
    let mut items = vec![1, 2, 3];
    {
        let (_, waker) = Calls::waker();
        let mut push = pin!(queue.push_bulk_async(&mut items));
        assert!(poll(push.as_mut(), &waker).is_pending());
        let _ = queue.turn(Kind::Segmented, 3).unwrap();
        assert!(matches!(poll(push.as_mut(), &waker), Poll::Ready(Ok(2))));
    }
    assert_eq!(items, [3]);
    assert!(matches!(queue.try_push(9), Err(PushError::Full(9))));
}

const EACH: usize = 6_000;

async fn produce(queue: &Queue<Item>, ledger: &Arc<Ledger>, producer: usize) {
    let mut items = ledger.items(producer);
    while items.len() > 0 {
        let mut run: Vec<Item> = items.by_ref().take(1 + producer * 20).collect();
        if run.len() == 1 {
            queue.push_async(run.remove(0)).await.unwrap();
        }
        while !run.is_empty() {
            queue.push_bulk_async(&mut run).await.unwrap();
        }
    }
}

/// Pops until the queue is closed, and cancels every few pops after a moment. Returns how many items came.
async fn consume(queue: &Queue<Item>, seed: u64) -> usize {
    let mut order = Order::default();
    let mut rng = fastrand::Rng::with_seed(seed);
    loop {
        let popped = match rng.u8(..3) {
            0 => match tokio::time::timeout(Duration::from_micros(rng.u64(..100)), queue.pop_async()).await {
                Ok(popped) => popped.map(Some),
                Err(_cancelled) => Ok(None),
            },
            1 => tokio::select! {
                popped = queue.pop_async() => popped.map(Some),
                () = tokio::task::yield_now() => Ok(None),
            },
            _ => queue.pop_async().await.map(Some),
        };
        match popped {
            Ok(item) => item.iter().for_each(|item| order.see(item)),
            Err(Closed(())) => return order.seen,
        }
    }
}

#[test]
fn tasks_in_a_storm_of_turns_lose_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    for tasks in [1, 2, 8] {
        let queue = Arc::new(Queue::new(Kind::Ring, 16).unwrap());
        let ledger = Ledger::new(tasks, EACH / tasks);
        let (seen, turns) = runtime.block_on(async {
            let consumers: Vec<_> = (0..tasks)
                .map(|seed| {
                    let queue = queue.clone();
                    tokio::spawn(async move { consume(&queue, seed as u64).await })
                })
                .collect();
            let producers: Vec<_> = (0..tasks)
                .map(|producer| {
                    let (queue, ledger) = (queue.clone(), ledger.clone());
                    tokio::spawn(async move { produce(&queue, &ledger, producer).await })
                })
                .collect();
            let (mut rng, mut turns) = (fastrand::Rng::with_seed(tasks as u64), 0);
            loop {
                match queue.turn(rng.choice(Kind::ALL).unwrap(), rng.usize(1..40)) {
                    Ok(_) => turns += 1,
                    Err(HandOverError::Undrained { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                // Asked after a turn: on a busy machine all may be done before the first.
                if producers.iter().all(|producer| producer.is_finished()) {
                    break;
                }
                tokio::task::yield_now().await;
            }
            for producer in producers {
                producer.await.unwrap();
            }
            queue.close();
            let mut seen = 0;
            for consumer in consumers {
                seen += consumer.await.unwrap();
            }
            (seen, turns)
        });
        assert_eq!(seen, EACH / tasks * tasks);
        assert!(turns > 0 && queue.settle());
        ledger.assert_each_dropped_once();
    }
}
