//! The awaiting ends of a hosted queue: what a wait that is given up leaves behind, and what is counted of it.
#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_runtime::observe::families::*;
use rheostat_runtime::observe::{Family, Reading, Resource, Value};
use rheostat_runtime::queue::{Closed, HostedQueue, Kind};
use std::time::Duration;
use tokio::time::timeout;

const SHORT: Duration = Duration::from_millis(5);

fn items(range: std::ops::Range<u8>) -> Vec<Box<[u8]>> {
    range.map(|n| vec![n].into()).collect()
}

fn total(queue: &HostedQueue, family: &Family) -> u64 {
    let mut reading = Reading::default();
    queue.read(&mut reading);
    reading.total_of(family).unwrap()
}

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
}

#[test]
fn a_push_given_up_leaves_what_was_not_pushed() {
    block_on(async {
        let queue = HostedQueue::new("jobs", Kind::Ring, 3).unwrap();
        let mut left = items(0..5);
        assert!(timeout(SHORT, queue.push_all_async(&mut left)).await.is_err());
        assert_eq!(left, items(3..5), "the first three are in the queue");
        queue.count_rejected(left.len());
        assert_eq!((total(&queue, &QUEUE_ENQUEUED), total(&queue, &QUEUE_REJECTED)), (3, 2));
        assert!(total(&queue, &QUEUE_FULL_TIME) > 0);
        let (pushed, popped) = tokio::join!(queue.push_all_async(&mut left), async {
            let mut popped = Vec::new();
            while popped.len() < 5 {
                popped.push(queue.pop_async().await.unwrap());
            }
            popped
        });
        assert_eq!((pushed, left, popped), (Ok(()), items(0..0), items(0..5)));
    });
}

#[test]
fn a_push_that_waits_goes_on_in_the_kind_turned_to() {
    block_on(async {
        let queue = HostedQueue::new("jobs", Kind::Ring, 2).unwrap();
        let mut all = items(0..6);
        let (pushed, popped) = tokio::join!(queue.push_all_async(&mut all), async {
            tokio::task::yield_now().await;
            queue.turn("kind", &Value::Choice("segmented".into())).unwrap();
            let mut popped = Vec::new();
            while popped.len() < 6 {
                popped.push(queue.pop_async().await.unwrap());
            }
            popped
        });
        assert_eq!((pushed, popped), (Ok(()), items(0..6)));
        assert_eq!(queue.kind(), Some(Kind::Segmented));
        assert_eq!((total(&queue, &QUEUE_ENQUEUED), total(&queue, &QUEUE_DEQUEUED)), (6, 6));
    });
}

#[test]
fn a_pop_given_up_takes_nothing_and_a_closed_queue_drains() {
    block_on(async {
        let queue = HostedQueue::new("jobs", Kind::Ring, 3).unwrap();
        assert!(timeout(SHORT, queue.pop_async()).await.is_err());
        queue.count_empty_pop();
        assert!(total(&queue, &QUEUE_EMPTY_TIME) > 0);
        let mut all = items(0..2);
        queue.push_all_async(&mut all).await.unwrap();
        queue.close();
        let mut late = items(2..3);
        assert_eq!(queue.push_all_async(&mut late).await, Err(Closed(())));
        assert_eq!((late, queue.is_closed()), (items(2..3), true));
        for item in items(0..2) {
            assert_eq!(queue.pop_async().await, Ok(item));
        }
        assert_eq!(queue.pop_async().await, Err(Closed(())));
        assert_eq!((total(&queue, &QUEUE_DEQUEUED), total(&queue, &QUEUE_EMPTY_POPS)), (2, 1));
    });
}
