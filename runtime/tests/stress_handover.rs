//! A queue under real threads while its kind and capacity turn: every item dropped exactly once, each producer's items
//! in order, nobody left asleep.

mod ledger;

use rheostat_runtime::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use ledger::{Item, Ledger, Order};
use rheostat_runtime::queue::{HandOverError, Kind, PopError, PushError, Queue};

const ITEMS: usize = 60_000;
const SEED: u64 = 0x5eed_2027;

fn chance(seed: usize) -> fastrand::Rng {
    fastrand::Rng::with_seed(SEED + seed as u64)
}

/// Gives the core away now and then: on few cores races need help.
fn jitter(rng: &mut fastrand::Rng) {
    if rng.u8(..) < 8 {
        thread::yield_now();
    }
}

/// Pushes all it can until the queue is closed, by whatever call chance picks; returns how many were accepted.
fn produce(queue: &Queue<Item>, items: std::vec::IntoIter<Item>, mut rng: fastrand::Rng) -> usize {
    let total = items.len();
    let (mut items, mut refused) = (items, None);
    let mut accepted = 0;
    while let Some(item) = refused.take().or_else(|| items.next()) {
        jitter(&mut rng);
        let pushed = match rng.u8(0..4) {
            0 => queue.try_push(item),
            1 => queue.push_timeout(item, Duration::from_millis(1)),
            2 => queue.push(item).map_err(|closed| PushError::Closed(closed.0)),
            _ => {
                let mut run: Vec<Item> = std::iter::once(item).chain(items.by_ref().take(rng.usize(0..40))).collect();
                let wanted = run.len();
                let closed = queue.push_all(&mut run).is_err();
                accepted += wanted - run.len();
                if closed {
                    break;
                }
                continue;
            }
        };
        match pushed {
            Ok(()) => accepted += 1,
            Err(PushError::Full(item)) => refused = Some(item),
            Err(PushError::Closed(_)) => break,
        }
    }
    assert!(accepted <= total);
    accepted
}

fn consume(queue: &Queue<Item>, mut rng: fastrand::Rng) -> usize {
    let (mut order, mut run) = (Order::default(), Vec::new());
    loop {
        jitter(&mut rng);
        let popped = match rng.u8(0..4) {
            0 => queue.try_pop().map(|item| run.push(item)),
            1 => queue.pop_timeout(Duration::from_millis(1)).map(|item| run.push(item)),
            2 => queue.pop().map(|item| run.push(item)).map_err(|_| PopError::Closed),
            _ => queue.pop_bulk_within(&mut run, rng.usize(1..40), None).map(|_| ()),
        };
        match popped {
            Ok(()) => run.drain(..).for_each(|item| order.see(&item)),
            Err(PopError::Empty) => thread::yield_now(),
            Err(PopError::Closed) => return order.seen,
        }
    }
}

/// Runs as many producers as consumers; `meanwhile` has the queue until the producers are done. Returns what was
/// accepted and what was popped.
fn exchange(threads: usize, queue: &Queue<Item>, meanwhile: impl Fn(&AtomicBool) + Sync) -> (usize, usize) {
    let ledger = Ledger::new(threads, ITEMS / threads);
    let done = AtomicBool::new(false);
    let counts = thread::scope(|scope| {
        let consumers: Vec<_> =
            (0..threads).map(|index| scope.spawn(move || consume(queue, chance(100 + index)))).collect();
        let producers: Vec<_> = (0..threads)
            .map(|index| {
                let items = ledger.items(index);
                scope.spawn(move || produce(queue, items, chance(index)))
            })
            .collect();
        let turner = scope.spawn(|| meanwhile(&done));
        let accepted = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
        done.store(true, Relaxed);
        turner.join().unwrap();
        queue.close();
        (accepted, consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum())
    });
    assert!(queue.is_empty() && queue.settle());
    ledger.assert_each_dropped_once();
    counts
}

fn turn_at_random(queue: &Queue<Item>, rng: &mut fastrand::Rng) -> bool {
    match queue.turn(rng.choice(Kind::ALL).unwrap(), rng.usize(1..300)) {
        Ok(_) => true,
        Err(HandOverError::Undrained { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn each_kind_alone_loses_nothing() {
    for kind in Kind::ALL {
        for threads in [1, 4] {
            let queue = Queue::new(kind, 64).unwrap();
            assert_eq!(exchange(threads, &queue, |_| {}), (ITEMS, ITEMS), "{kind}");
        }
    }
}

#[test]
fn a_storm_of_turns_loses_nothing() {
    for threads in [1, 2, 4] {
        let turns = AtomicUsize::new(0);
        let queue = Queue::new(Kind::Ring, 8).unwrap();
        let counts = exchange(threads, &queue, |done| {
            let mut rng = chance(7);
            while !done.load(Relaxed) {
                turns.fetch_add(usize::from(turn_at_random(&queue, &mut rng)), Relaxed);
                thread::yield_now();
            }
        });
        assert_eq!(counts, (ITEMS, ITEMS), "after {turns:?} turns");
        assert!(turns.load(Relaxed) > 0);
    }
}

#[test]
fn turns_of_two_hands_go_one_after_the_other() {
    let queue = Queue::new(Kind::SegQueue, 8).unwrap();
    let counts = exchange(2, &queue, |done| {
        thread::scope(|scope| {
            for seed in [8, 9] {
                let queue = &queue;
                scope.spawn(move || {
                    let mut rng = chance(seed);
                    while !done.load(Relaxed) {
                        turn_at_random(queue, &mut rng);
                        thread::yield_now();
                    }
                });
            }
        });
    });
    assert_eq!(counts, (ITEMS, ITEMS));
}

#[test]
fn close_in_a_storm_keeps_what_was_accepted() {
    for (round, threads) in [1, 2, 4, 1, 2, 4].into_iter().enumerate() {
        let queue = Queue::new(Kind::ArrayQueue, 16).unwrap();
        let (accepted, popped) = exchange(threads, &queue, |_| {
            let mut rng = chance(20 + round);
            for _ in 0..rng.usize(0..60) {
                turn_at_random(&queue, &mut rng);
                thread::yield_now();
            }
            queue.close();
            assert_eq!(queue.set_capacity(3), Err(HandOverError::Closed));
        });
        assert_eq!(accepted, popped);
    }
}

#[test]
fn sleepers_on_both_ends_move_across_every_turn() {
    for kind in Kind::ALL {
        for to in Kind::ALL {
            let queue = Queue::new(kind, 1).unwrap();
            thread::scope(|scope| {
                let sleeper = scope.spawn(|| queue.pop());
                thread::sleep(Duration::from_millis(3));
                let _ = queue.turn(to, 1).unwrap();
                queue.try_push(1).unwrap();
                assert_eq!(sleeper.join().unwrap().ok(), Some(1));
            });
            queue.try_push(2).unwrap();
            thread::scope(|scope| {
                let sleeper = scope.spawn(|| queue.push(3));
                thread::sleep(Duration::from_millis(3));
                let _ = queue.turn(kind, 2).unwrap();
                assert!(sleeper.join().unwrap().is_ok(), "{kind} to {to}");
            });
            assert_eq!((queue.try_pop(), queue.try_pop()), (Ok(2), Ok(3)));
        }
    }
}
