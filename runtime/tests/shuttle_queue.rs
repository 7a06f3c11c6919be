//! Limit, close and workers turned with items in flight: ring, parking ends and elastic set together, on random
//! schedules and on schedules with few, well-placed preemptions (PCT).
//!
//! ```text
//! RUSTFLAGS="--cfg rt_shuttle" CARGO_TARGET_DIR=target/shuttle cargo test -p rheostat-runtime --release --test shuttle_queue
//! ```
//!
//! Every ordering is SeqCst in here: what is looked for is lost wake-ups (a deadlock to shuttle), lost and doubled
//! items.
#![cfg(rt_shuttle)]

mod ledger;

use ledger::{Item, Ledger, Order};
use rheostat_runtime::pipeline::elastic::{ElasticSet, Seat};
use rheostat_runtime::queue::{PopError, Ring};
use rheostat_runtime::sync::{Arc, Mutex, thread};
use shuttle::rand::{Rng, thread_rng};

const PRODUCERS: usize = 2;
const EACH: usize = 8;

fn check(scenario: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(scenario.clone(), 2_000);
    shuttle::check_pct(scenario, 2_000, 3);
}

fn ring(limit: usize) -> Arc<Ring<Item>> {
    Arc::new(Ring::with_start(limit, 4, usize::MAX - 5).unwrap())
}

/// Half of them push one at a time, half in runs. Returns how many items were accepted.
fn produce(ring: &Ring<Item>, ledger: &std::sync::Arc<Ledger>, producer: usize) -> usize {
    if producer % 2 == 0 {
        return ledger.items(producer).filter_map(|item| ring.push(item).ok()).count();
    }
    let mut items: Vec<Item> = ledger.items(producer).collect();
    let _ = ring.push_all(&mut items);
    EACH - items.len()
}

fn consume(ring: &Ring<Item>) -> usize {
    let mut order = Order::default();
    while let Ok(item) = ring.pop() {
        order.see(&item);
    }
    order.seen
}

#[test]
fn the_limit_turns_with_items_in_flight() {
    check(|| {
        let (ring, ledger) = (ring(2), Ledger::new(PRODUCERS, EACH));
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let (ring, ledger) = (ring.clone(), ledger.clone());
                thread::spawn(move || produce(&ring, &ledger, producer))
            })
            .collect();
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let ring = ring.clone();
                thread::spawn(move || consume(&ring))
            })
            .collect();
        for _ in 0..6 {
            ring.set_limit(thread_rng().gen_range(1..=4)).unwrap();
            thread::yield_now();
        }
        let accepted: usize = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
        assert_eq!(accepted, PRODUCERS * EACH, "nothing closes the ring while they push");
        ring.close();
        let seen: usize = consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum();
        assert_eq!(seen, accepted);
        ledger.assert_each_dropped_once();
    });
}

#[test]
fn close_comes_in_the_middle() {
    check(|| {
        let (ring, ledger) = (ring(2), Ledger::new(PRODUCERS, EACH));
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let (ring, ledger) = (ring.clone(), ledger.clone());
                thread::spawn(move || produce(&ring, &ledger, producer))
            })
            .collect();
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let ring = ring.clone();
                thread::spawn(move || consume(&ring))
            })
            .collect();
        for _ in 0..thread_rng().gen_range(0..20) {
            thread::yield_now();
        }
        ring.close();
        let accepted_at_close = ring.pushed();
        let accepted: usize = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
        let seen: usize = consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum();
        assert_eq!((seen, accepted as u64), (accepted, accepted_at_close));
        ledger.assert_each_dropped_once();
    });
}

#[test]
fn nobody_drains_what_was_accepted() {
    check(|| {
        let (ring, ledger) = (ring(4), Ledger::new(PRODUCERS, EACH));
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let (ring, ledger) = (ring.clone(), ledger.clone());
                thread::spawn(move || produce(&ring, &ledger, producer))
            })
            .collect();
        let popped = usize::from(ring.pop().is_ok()) + usize::from(ring.try_pop().is_ok());
        ring.close();
        let accepted: usize = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
        assert_eq!(ring.len(), accepted - popped);
        drop(ring);
        ledger.assert_each_dropped_once();
    });
}

/// A stage: a ring in front of an elastic set of workers.
#[derive(Clone)]
struct Stage {
    ring: Arc<Ring<Item>>,
    workers: ElasticSet,
    threads: Arc<Mutex<Vec<thread::JoinHandle<usize>>>>,
}

impl Stage {
    fn turn(&self, workers: usize) {
        for seat in self.workers.set_target(workers).unwrap() {
            let stage = self.clone();
            let thread = thread::spawn(move || stage.work(seat));
            self.threads.lock().push(thread);
        }
        self.ring.wake_consumers();
    }

    fn work(&self, mut seat: Seat) -> usize {
        let (mut order, mut batch) = (Order::default(), Vec::new());
        loop {
            match self.ring.pop_bulk_until(&mut batch, 3, || seat.should_leave(), None) {
                Ok(_) => batch.drain(..).for_each(|item| order.see(&item)),
                Err(PopError::Closed) => return order.seen,
                Err(PopError::Empty) => {}
            }
            if seat.should_leave() {
                match seat.leave() {
                    Some(wanted) => seat = wanted,
                    None => return order.seen,
                }
            }
        }
    }
}

#[test]
fn workers_come_and_go_and_two_hands_turn_the_knob() {
    check(|| {
        let ledger = Ledger::new(PRODUCERS, EACH);
        let stage = Stage { ring: ring(3), workers: ElasticSet::new(3), threads: Arc::default() };
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let (stage, ledger) = (stage.clone(), ledger.clone());
                thread::spawn(move || produce(&stage.ring, &ledger, producer))
            })
            .collect();
        let other = {
            let stage = stage.clone();
            thread::spawn(move || (0..3).for_each(|_| stage.turn(thread_rng().gen_range(0..=3))))
        };
        (0..3).for_each(|_| stage.turn(thread_rng().gen_range(0..=3)));
        other.join().unwrap();
        stage.turn(2);
        assert!(stage.workers.wait_settled(None));
        let accepted: usize = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
        assert_eq!(accepted, PRODUCERS * EACH);
        stage.ring.close();
        let threads = std::mem::take(&mut *stage.threads.lock());
        let seen: usize = threads.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(seen, accepted);
        assert_eq!(stage.workers.running(), 0);
        ledger.assert_each_dropped_once();
    });
}
