//! Storms of turns of a queue in which one thread after another is held up at each step of the hand-over: producers go
//! on, and in the end each item that was accepted has come out once, in its producer's order.
//!
//! Steps are named where debug assertions are on.
#![cfg(all(debug_assertions, not(any(rt_loom, rt_shuttle))))]

mod ledger;
mod steps;

use ledger::{Item, Ledger, Order};
use rheostat_runtime::queue::{HandOverError, Kind, PopError, PushError, Queue};
use rheostat_runtime::sync::Step;
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use steps::{hold, until_grown, watched};

const SEED: u64 = 0x5eed_2029;
/// More than a producer gets rid of in a storm.
const EACH: usize = 200_000;

struct Scene {
    queue: Queue<Item>,
    /// Calls that have returned, whatever they said.
    pushes: AtomicU64,
    pops: AtomicU64,
    done: AtomicBool,
}

impl Scene {
    /// Pushes until the storm is over, by tries and in runs. Returns how many items went in.
    fn produce(&self, ledger: &Arc<Ledger>, producer: usize) -> usize {
        fastrand::seed(SEED ^ (producer as u64) << 32);
        let (mut items, mut left) = (ledger.items(producer), Vec::new());
        let mut accepted = 0;
        while !self.done.load(Relaxed) {
            if left.is_empty() {
                left.extend(items.by_ref().take(fastrand::usize(1..4)));
            }
            assert!(!left.is_empty(), "the storm is longer than was thought");
            let before = left.len();
            if before == 1 {
                match self.queue.try_push(left.pop().expect("one")) {
                    Ok(()) => {}
                    Err(PushError::Full(item)) => left.push(item),
                    Err(PushError::Closed(_)) => panic!("nobody has closed it"),
                }
            } else {
                self.queue.push_bulk(&mut left);
            }
            accepted += before - left.len();
            // Slow enough for the items to last.
            thread::sleep(Duration::from_micros(fastrand::u64(..100)));
            self.pushes.fetch_add(1, Relaxed);
        }
        accepted
    }

    /// Pops until the queue is closed and drained, and returns how many came.
    fn consume(&self) -> usize {
        let (mut order, mut run) = (Order::default(), Vec::new());
        loop {
            match self.queue.pop_bulk_within(&mut run, fastrand::usize(1..20), Some(Duration::from_millis(1))) {
                Ok(_) => run.drain(..).for_each(|item| order.see(&item)),
                Err(PopError::Empty) => {}
                Err(PopError::Closed) => return order.seen,
            }
            self.pops.fetch_add(1, Relaxed);
        }
    }

    /// Five to fifty turns a second.
    fn turn(&self, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        while !self.done.load(Relaxed) {
            match self.queue.turn(random.choice(Kind::ALL).unwrap(), random.usize(1..200)) {
                Ok(_) | Err(HandOverError::Undrained { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            thread::sleep(Duration::from_millis(random.u64(20..200)));
        }
    }
}

/// Holds a thread up at each step in turn, while the others use the queue.
fn freeze_each_step(scene: &Scene, random: &mut fastrand::Rng) {
    for step in [
        Step::QueueLinked,
        Step::QueueRedirected,
        Step::QueueClosed,
        Step::QueueSealed,
        Step::QueueChosen,
        Step::QueueDrained,
        Step::QueueLeft,
    ] {
        let pass = if step == Step::QueueChosen { random.u32(..500) } else { random.u32(..2) };
        let held = hold(step, pass);
        held.wait();
        // A try to push returns, whoever is held up; a pop may have to wait for a turn that seals the structure it has
        // emptied.
        until_grown("pushes", || scene.pushes.load(Relaxed), 300);
        if step == Step::QueueSealed {
            until_grown("pops", || scene.pops.load(Relaxed), 50);
        }
    }
}

fn storm(threads: usize, kind: Kind, seed: u64) {
    let _watched = watched(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let ledger = Ledger::new(threads, EACH);
    let scene = Scene {
        queue: Queue::new(kind, 64).unwrap(),
        pushes: AtomicU64::new(0),
        pops: AtomicU64::new(0),
        done: AtomicBool::new(false),
    };
    let (accepted, popped) = thread::scope(|scope| {
        let (scene, ledger) = (&scene, &ledger);
        let producers: Vec<_> =
            (0..threads).map(|producer| scope.spawn(move || scene.produce(ledger, producer))).collect();
        let consumers: Vec<_> = (0..threads).map(|_| scope.spawn(|| scene.consume())).collect();
        let turner = scope.spawn(|| scene.turn(seed));
        freeze_each_step(scene, &mut random);
        scene.done.store(true, Relaxed);
        let accepted: usize = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
        turner.join().unwrap();
        scene.queue.close();
        (accepted, consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum::<usize>())
    });
    assert_eq!(accepted, popped);
    assert!(scene.queue.is_empty() && scene.queue.settle());
    drop(scene);
    ledger.assert_each_dropped_once();
}

/// As many producers, and consumers, as half the threads.
fn storms(threads: usize) {
    Kind::ALL.into_iter().zip(0..).for_each(|(kind, seed)| storm(threads / 2, kind, SEED + seed));
}

#[test]
fn two_producers_in_a_storm_with_one_held_up_at_each_step() {
    storms(4);
}

#[test]
fn eight_producers_in_a_storm_with_one_held_up_at_each_step() {
    storms(16);
}
