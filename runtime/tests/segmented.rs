//! The segmented queue: exact answers for one thread; under real threads, every item dropped once and each producer's
//! in order.

mod ledger;

use rheostat_runtime::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use ledger::{Item, Ledger, Order};
use proptest::prelude::*;
use rheostat_runtime::queue::segmented::{PRODUCERS_MAX, Segmented};

const ITEMS: usize = 60_000;

proptest! {
    /// Pushes of one call and pops of another, across segments, are those of a deque.
    #[test]
    fn it_is_a_deque(ops in prop::collection::vec((any::<bool>(), 0usize..700), 0..40)) {
        let queue = Arc::new(Segmented::new());
        let (mut model, mut next, mut out) = (VecDeque::new(), 0, Vec::new());
        for (push, count) in ops {
            if push && count == 1 {
                queue.push(next);
                model.push_back(next);
                next += 1;
            } else if push {
                queue.push_bulk(&mut (next..next + count).collect());
                model.extend(next..next + count);
                next += count;
            } else if count == 1 {
                prop_assert_eq!(queue.pop(), model.pop_front());
            } else {
                prop_assert_eq!(queue.pop_bulk(&mut out, count), count.min(model.len()));
                prop_assert!(out.drain(..).eq(model.drain(..count.min(model.len()))));
            }
            prop_assert_eq!(queue.len(), model.len());
        }
    }
}

#[test]
fn every_handle_keeps_its_order_and_none_starves() {
    let queue = Arc::new(Segmented::new());
    let mut handles: Vec<_> = (0..PRODUCERS_MAX + 3).map(|_| Segmented::producer(&queue)).collect();
    for number in 0..2000 {
        for (index, handle) in handles.iter_mut().enumerate() {
            handle.push((index, number));
        }
    }
    let (mut next, mut consumer) = (vec![0; handles.len()], Segmented::consumer(&queue));
    while let Some((index, number)) = consumer.pop() {
        assert_eq!(number, next[index]);
        next[index] += 1;
        // A segment of each lane in turn; the last handles share one.
        let own = &next[..PRODUCERS_MAX];
        assert!(own.iter().max().unwrap() - own.iter().min().unwrap() <= 512, "a lane waits for others: {next:?}");
    }
    assert_eq!(next, vec![2000; handles.len()]);
}

#[test]
fn a_lane_that_a_handle_left_is_used_again() {
    let queue = Arc::new(Segmented::new());
    for number in 0..10 * PRODUCERS_MAX {
        Segmented::producer(&queue).push(number);
    }
    (0..10 * PRODUCERS_MAX).for_each(|number| assert_eq!(queue.pop(), Some(number)));
    assert_eq!(queue.pop(), None);
}

#[test]
fn every_item_arrives_once_and_in_order() {
    for threads in [1, 2, 4] {
        for bulk in [false, true] {
            let (queue, ledger, seen) =
                (Arc::new(Segmented::new()), Ledger::new(threads, ITEMS / threads), AtomicUsize::new(0));
            thread::scope(|scope| {
                for producer in 0..threads {
                    let (queue, items) = (&queue, ledger.items(producer));
                    scope.spawn(move || {
                        let mut rng = fastrand::Rng::with_seed(producer as u64);
                        let (mut items, mut handle) = (items, Segmented::producer(queue));
                        // Half of the producers go without a handle.
                        while items.len() > 0 {
                            let mut run: Vec<Item> =
                                items.by_ref().take(if bulk { rng.usize(1..300) } else { 1 }).collect();
                            match producer % 2 {
                                0 => handle.push_bulk(&mut run),
                                _ => queue.push_bulk(&mut run),
                            }
                            if rng.u8(..) < 4 {
                                thread::yield_now();
                            }
                        }
                    });
                    let seen = &seen;
                    scope.spawn(move || {
                        let (mut order, mut consumer, mut out) =
                            (Order::default(), Segmented::consumer(queue), Vec::new());
                        while seen.load(Relaxed) < ITEMS / threads * threads {
                            let before = order.seen;
                            if bulk {
                                consumer.pop_bulk(&mut out, 100);
                                out.drain(..).for_each(|item| order.see(&item));
                            } else if let Some(item) = consumer.pop() {
                                order.see(&item);
                            }
                            match order.seen - before {
                                0 => thread::yield_now(),
                                popped => _ = seen.fetch_add(popped, Relaxed),
                            }
                        }
                    });
                }
            });
            assert!(queue.is_empty());
            ledger.assert_each_dropped_once();
        }
    }
}

#[test]
fn what_is_left_is_dropped_with_the_queue() {
    let ledger = Ledger::new(2, 3000);
    let queue = Arc::new(Segmented::new());
    queue.push_bulk(&mut ledger.items(0).collect());
    Segmented::producer(&queue).push_bulk(&mut ledger.items(1).collect());
    (0..1500).for_each(|_| drop(queue.pop()));
    drop(queue);
    ledger.assert_each_dropped_once();
}
