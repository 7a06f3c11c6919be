//! The ring under real threads, with seeded yields: every item dropped exactly once, each producer's items in order.

mod ledger;

use rheostat_runtime::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger::{Item, Ledger, Order};
use rheostat_runtime::pipeline::elastic::{ElasticSet, Seat};
use rheostat_runtime::queue::{CasFailures, PopError, PushError, Ring};
use rheostat_runtime::sync::thread;

const ITEMS: usize = 24_000;
const SEED: u64 = 0x5eed_2026;

/// How a thread uses its end.
#[derive(Clone, Copy)]
enum Style {
    Try,
    Blocking,
    Bulk,
    Mixed,
}

fn chance(seed: usize) -> fastrand::Rng {
    fastrand::Rng::with_seed(SEED + seed as u64)
}

/// Gives the core away now and then: on few cores races need help.
fn jitter(rng: &mut fastrand::Rng) {
    if rng.u8(..) < 8 {
        thread::yield_now();
    }
}

fn pick(style: Style, rng: &mut fastrand::Rng) -> Style {
    match style {
        Style::Mixed => rng.choice([Style::Try, Style::Blocking, Style::Bulk]).unwrap(),
        style => style,
    }
}

/// Pushes all it can until the ring is closed; returns how many were accepted.
fn produce(ring: &Ring<Item>, items: impl Iterator<Item = Item>, style: Style, mut rng: fastrand::Rng) -> usize {
    let mut items = items.peekable();
    let mut accepted = 0;
    while items.peek().is_some() {
        jitter(&mut rng);
        match pick(style, &mut rng) {
            Style::Bulk => {
                let mut run: Vec<Item> = items.by_ref().take(rng.usize(1..90)).collect();
                accepted += run.len();
                if ring.push_all(&mut run).is_err() {
                    return accepted - run.len();
                }
            }
            Style::Blocking => match ring.push(items.next().unwrap()) {
                Ok(()) => accepted += 1,
                Err(_) => return accepted,
            },
            _ => {
                let mut item = items.next().unwrap();
                loop {
                    match ring.try_push(item) {
                        Ok(()) => break,
                        Err(PushError::Full(back)) => item = back,
                        Err(PushError::Closed(_)) => return accepted,
                    }
                    thread::yield_now();
                }
                accepted += 1;
            }
        }
    }
    accepted
}

/// Pops until the ring is closed and drained; returns how many.
fn consume(ring: &Ring<Item>, style: Style, mut rng: fastrand::Rng) -> usize {
    let (mut order, mut run) = (Order::default(), Vec::new());
    loop {
        jitter(&mut rng);
        let popped = match pick(style, &mut rng) {
            Style::Bulk => ring.pop_bulk_until(&mut run, rng.usize(1..90), || false, None).map(|_| ()),
            Style::Blocking => ring.pop_timeout(Duration::from_micros(rng.u64(0..50))).map(|item| run.push(item)),
            _ => ring.try_pop().map(|item| run.push(item)),
        };
        match popped {
            Ok(()) => run.drain(..).for_each(|item| order.see(&item)),
            Err(PopError::Empty) => thread::yield_now(),
            Err(PopError::Closed) => return order.seen,
        }
    }
}

/// Runs as many producers as consumers; `meanwhile` has the ring until the producers are done. Returns what was
/// accepted and what was popped.
fn exchange(threads: usize, style: Style, ring: &Ring<Item>, meanwhile: impl Fn(&AtomicBool) + Sync) -> (usize, usize) {
    let ledger = Ledger::new(threads, ITEMS / threads);
    let done = AtomicBool::new(false);
    let counts = thread::scope(|scope| {
        let consumers: Vec<_> =
            (0..threads).map(|index| scope.spawn(move || consume(ring, style, chance(100 + index)))).collect();
        let producers: Vec<_> = (0..threads)
            .map(|index| {
                let items = ledger.items(index);
                scope.spawn(move || produce(ring, items, style, chance(index)))
            })
            .collect();
        let turner = scope.spawn(|| meanwhile(&done));
        let accepted = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
        done.store(true, Relaxed);
        turner.join().unwrap();
        ring.close();
        (accepted, consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum())
    });
    assert!(ring.is_empty());
    assert_eq!((ring.pushed(), ring.popped()), (counts.0 as u64, counts.1 as u64));
    ledger.assert_each_dropped_once();
    counts
}

#[test]
fn every_item_arrives_once_and_in_order() {
    for threads in [1, 2, 4, 8] {
        for style in [Style::Try, Style::Blocking, Style::Bulk, Style::Mixed] {
            let ring = Ring::with_start(64, 64, usize::MAX - 1000).unwrap();
            assert_eq!(exchange(threads, style, &ring, |_| {}), (ITEMS, ITEMS));
        }
    }
}

#[test]
fn one_slot_is_enough_for_everybody() {
    for threads in [1, 4] {
        let ring = Ring::new(1).unwrap();
        assert_eq!(exchange(threads, Style::Mixed, &ring, |_| {}), (ITEMS, ITEMS));
    }
}

#[test]
fn a_storm_of_limits_loses_nothing() {
    for threads in [1, 2, 4, 8] {
        let ring = Ring::with_allocation(1, 256).unwrap();
        let counts = exchange(threads, Style::Mixed, &ring, |done| {
            let mut rng = chance(7);
            while !done.load(Relaxed) {
                ring.set_limit(rng.usize(1..=256)).unwrap();
                assert!(ring.len() <= 256);
                thread::yield_now();
            }
        });
        assert_eq!(counts, (ITEMS, ITEMS));
    }
}

#[test]
fn close_in_the_middle_keeps_what_was_accepted() {
    for threads in [1, 2, 4, 8] {
        for after in [0, 1, 100, ITEMS as u64 / 2] {
            let ring = Ring::new(16).unwrap();
            let (accepted, popped) = exchange(threads, Style::Mixed, &ring, |done| {
                while ring.popped() < after && !done.load(Relaxed) {
                    thread::yield_now();
                }
                ring.close();
                assert_eq!(ring.push_bulk(&mut Vec::new()), 0);
            });
            assert_eq!(accepted, popped);
        }
    }
}

fn work(ring: &Ring<Item>, mut seat: Seat, mut rng: fastrand::Rng) -> usize {
    let (mut order, mut batch) = (Order::default(), Vec::new());
    loop {
        jitter(&mut rng);
        match ring.pop_bulk_until(&mut batch, 16, || seat.should_leave(), None) {
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

#[test]
fn workers_come_and_go_two_hundred_times() {
    const PRODUCERS: usize = 2;
    let ring = Arc::new(Ring::new(64).unwrap());
    let ledger = Ledger::new(PRODUCERS, ITEMS);
    let set = ElasticSet::new(8);
    let mut rng = chance(3);
    let mut workers = Vec::new();
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|index| {
            let (ring, items) = (ring.clone(), ledger.items(index));
            thread::spawn(move || produce(&ring, items, Style::Mixed, chance(index)))
        })
        .collect();
    let mut turn = |target: usize| {
        for seat in set.set_target(target).unwrap() {
            let (ring, rng) = (ring.clone(), chance(workers.len()));
            workers.push(thread::spawn(move || work(&ring, seat, rng)));
        }
        ring.wake_consumers();
    };
    for step in 0..200 {
        turn(rng.usize(0..=8));
        if step % 20 == 0 {
            assert!(set.wait_settled(Some(Duration::from_secs(20))), "{set:?}");
        }
    }
    turn(3);
    assert!(set.wait_settled(Some(Duration::from_secs(20))), "{set:?}");
    let accepted: usize = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
    ring.close();
    let seen: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert_eq!((accepted, seen), (PRODUCERS * ITEMS, PRODUCERS * ITEMS));
    ledger.assert_each_dropped_once();
}

/// Until somebody has lost one of each: what nobody contends for is never counted.
#[test]
fn lost_exchanges_are_counted() {
    let began = Instant::now();
    let ring = Ring::new(64).unwrap();
    for item in 0..64 {
        ring.try_push(item).unwrap();
    }
    (0..64).for_each(|item| assert_eq!(ring.try_pop(), Ok(item)));
    assert_eq!(ring.cas_failures(), CasFailures::default());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while ring.cas_failures().pushes == 0 || ring.cas_failures().pops == 0 {
                    assert!(began.elapsed() < Duration::from_secs(20), "nothing is counted: {:?}", ring.cas_failures());
                    for item in 0..1000 {
                        _ = ring.try_push(item);
                        _ = ring.try_pop();
                    }
                }
            });
        }
    });
}
