//! A queue turned again and again with items in flight and sleepers on both ends, on random schedules and on schedules
//! with few, well-placed preemptions (PCT).
//!
//! ```text
//! RUSTFLAGS="--cfg rt_shuttle" CARGO_TARGET_DIR=target/shuttle cargo test -p rheostat-runtime --release --test shuttle_handover
//! ```
//!
//! Every ordering is SeqCst in here, and each operation of crossbeam's queues is one step: what is looked for is lost
//! wake-ups (a deadlock to shuttle), lost and doubled items, and a producer's items out of order.
#![cfg(rt_shuttle)]

mod ledger;

use ledger::{Item, Ledger, Order};
use rheostat_runtime::queue::{HandOverError, Kind, Queue};
use rheostat_runtime::sync::{Arc, thread};
use shuttle::rand::{Rng, thread_rng};

const PRODUCERS: usize = 2;
const EACH: usize = 6;

fn check(scenario: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(scenario.clone(), 2_000);
    shuttle::check_pct(scenario, 2_000, 3);
}

fn queue() -> Arc<Queue<Item>> {
    Arc::new(Queue::new(Kind::ALL[thread_rng().gen_range(0..Kind::ALL.len())], 2).unwrap())
}

/// Half of them push one at a time, half in runs. Returns how many items were accepted.
fn produce(queue: &Queue<Item>, ledger: &std::sync::Arc<Ledger>, producer: usize) -> usize {
    if producer % 2 == 0 {
        return ledger.items(producer).filter_map(|item| queue.push(item).ok()).count();
    }
    let mut items: Vec<Item> = ledger.items(producer).collect();
    let _ = queue.push_all(&mut items);
    EACH - items.len()
}

fn consume(queue: &Queue<Item>) -> usize {
    let mut order = Order::default();
    while let Ok(item) = queue.pop() {
        order.see(&item);
    }
    order.seen
}

fn turn(queue: &Queue<Item>) {
    let mut random = thread_rng();
    match queue.turn(Kind::ALL[random.gen_range(0..Kind::ALL.len())], random.gen_range(1..=4)) {
        Ok(_) | Err(HandOverError::Undrained { .. } | HandOverError::Closed) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Producers and consumers at work while `meanwhile` has the queue; closed when both are done. What was accepted is
/// popped.
fn exchange(meanwhile: impl Fn(&Queue<Item>) + Send + Sync + 'static) {
    let (queue, ledger) = (queue(), Ledger::new(PRODUCERS, EACH));
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| {
            let (queue, ledger) = (queue.clone(), ledger.clone());
            thread::spawn(move || produce(&queue, &ledger, producer))
        })
        .collect();
    let consumers: Vec<_> = (0..2)
        .map(|_| {
            let queue = queue.clone();
            thread::spawn(move || consume(&queue))
        })
        .collect();
    meanwhile(&queue);
    let accepted: usize = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
    assert!(queue.is_closed() || accepted == PRODUCERS * EACH, "nothing closed the queue while they pushed");
    queue.close();
    let seen: usize = consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum();
    assert_eq!(seen, accepted);
    assert!(queue.settle());
    ledger.assert_each_dropped_once();
}

#[test]
fn several_turns_with_sleepers_on_both_ends() {
    check(|| exchange(|queue| (0..4).for_each(|_| turn(queue))));
}

#[test]
fn close_comes_between_turns() {
    check(|| {
        exchange(|queue| {
            (0..thread_rng().gen_range(0..3)).for_each(|_| turn(queue));
            queue.close();
            turn(queue);
        });
    });
}

#[test]
fn a_sleeper_is_woken_by_the_turn_that_makes_room() {
    check(|| {
        let (queue, ledger) = (Arc::new(Queue::new(Kind::ArrayQueue, 1).unwrap()), Ledger::new(1, EACH));
        let producer = {
            let (queue, ledger) = (queue.clone(), ledger.clone());
            thread::spawn(move || produce(&queue, &ledger, 0))
        };
        // Nobody pops: room comes from turns alone.
        for capacity in 2..=EACH {
            let _ = queue.turn([Kind::SegQueue, Kind::Ring][capacity % 2], capacity).unwrap();
        }
        assert_eq!(producer.join().unwrap(), EACH);
        drop(queue);
        ledger.assert_each_dropped_once();
    });
}
