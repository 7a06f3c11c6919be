//! Queues of 1024 `u64`s. What is timed, per item, from the first push to the last pop:
//!
//! | case | who does what |
//! |---|---|
//! | pair | one thread pushes one and pops it |
//! | burst 512 | one thread pushes 512 one by one, then pops them one by one |
//! | bulk 100 | one thread pushes 100 in one call, then pops them in one call; a peer without bulk goes one by one |
//! | 1P1C, 2P2C, 4P4C | that many producers and consumers, one item a call, whoever cannot go on waits |
//! | 1P1C bulk 64 | as 1P1C, in calls of up to 64 |
//!
//! Contenders wait as their users would: the blocking ends of ring and channel, crossbeam's `Backoff` around the others
//! and around the ring's tries. The proof is the count of items; their sum is asserted.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded};
use crossbeam::queue::{ArrayQueue, SegQueue};
use crossbeam::utils::Backoff;
use rheostat_runtime::queue::Ring;

use crate::measure::{Contender, compare, pin};

const CAPACITY: usize = 1024;

/// A queue as its user would use it.
trait Queue: Sync + Sized {
    fn new() -> Self;
    fn push(&self, item: u64);
    fn pop(&self) -> u64;
    fn push_bulk(&self, items: &mut Vec<u64>) {
        items.drain(..).for_each(|item| self.push(item));
    }
    /// At least one, at most `max`.
    fn pop_bulk(&self, out: &mut Vec<u64>, max: usize) {
        out.extend((0..max).map(|_| self.pop()));
    }
}

impl Queue for Ring<u64> {
    fn new() -> Self {
        Ring::new(CAPACITY).unwrap()
    }
    fn push(&self, item: u64) {
        Ring::push(self, item).unwrap();
    }
    fn pop(&self) -> u64 {
        Ring::pop(self).unwrap()
    }
    fn push_bulk(&self, items: &mut Vec<u64>) {
        self.push_all(items).unwrap();
    }
    fn pop_bulk(&self, out: &mut Vec<u64>, max: usize) {
        self.pop_bulk_until(out, max, || false, None).unwrap();
    }
}

fn insist<R>(mut attempt: impl FnMut() -> Option<R>) -> R {
    let backoff = Backoff::new();
    loop {
        match attempt() {
            Some(result) => return result,
            None => backoff.snooze(),
        }
    }
}

struct TryRing(Ring<u64>);

impl Queue for TryRing {
    fn new() -> Self {
        Self(Ring::new(CAPACITY).unwrap())
    }
    fn push(&self, item: u64) {
        insist(|| self.0.try_push(item).ok());
    }
    fn pop(&self) -> u64 {
        insist(|| self.0.try_pop().ok())
    }
    fn push_bulk(&self, items: &mut Vec<u64>) {
        insist(|| {
            self.0.push_bulk(items);
            items.is_empty().then_some(())
        });
    }
    fn pop_bulk(&self, out: &mut Vec<u64>, max: usize) {
        insist(|| (self.0.pop_bulk(out, max) > 0).then_some(()));
    }
}

impl Queue for ArrayQueue<u64> {
    fn new() -> Self {
        ArrayQueue::new(CAPACITY)
    }
    fn push(&self, item: u64) {
        insist(|| ArrayQueue::push(self, item).ok());
    }
    fn pop(&self) -> u64 {
        insist(|| ArrayQueue::pop(self))
    }
}

struct Channel(Sender<u64>, Receiver<u64>);

impl Queue for Channel {
    fn new() -> Self {
        let (sender, receiver) = bounded(CAPACITY);
        Self(sender, receiver)
    }
    fn push(&self, item: u64) {
        self.0.send(item).unwrap();
    }
    fn pop(&self) -> u64 {
        self.1.recv().unwrap()
    }
}

impl Queue for SegQueue<u64> {
    fn new() -> Self {
        SegQueue::new()
    }
    fn push(&self, item: u64) {
        SegQueue::push(self, item);
    }
    fn pop(&self) -> u64 {
        insist(|| SegQueue::pop(self))
    }
}

#[derive(Clone, Copy)]
enum Case {
    Pair,
    Burst,
    Bulk,
    /// As many producers as consumers, and how many items a call.
    Exchange {
        each: usize,
        run: usize,
    },
}

impl Case {
    const ALL: [(&str, Case, u64); 7] = [
        ("pair", Case::Pair, 4_000_000),
        ("burst 512", Case::Burst, 4_000_000),
        ("bulk 100", Case::Bulk, 4_000_000),
        ("1P1C", Case::Exchange { each: 1, run: 1 }, 2_000_000),
        ("1P1C bulk 64", Case::Exchange { each: 1, run: 64 }, 4_000_000),
        ("2P2C", Case::Exchange { each: 2, run: 1 }, 1_000_000),
        ("4P4C", Case::Exchange { each: 4, run: 1 }, 1_000_000),
    ];

    /// Moves the items `0..about`, to a multiple of what the case goes in, through a fresh queue.
    fn run<Q: Queue>(self, about: u64) -> (f64, u64) {
        let queue = Q::new();
        match self {
            Case::Pair => timed(about, || {
                (0..about).fold(0, |sum, item| {
                    queue.push(black_box(item));
                    sum + queue.pop()
                })
            }),
            Case::Burst => timed(about / 512 * 512, || {
                (0..about / 512 * 512).step_by(512).fold(0, |sum, first| {
                    (first..first + 512).for_each(|item| queue.push(black_box(item)));
                    (0..512).fold(sum, |sum, _| sum + queue.pop())
                })
            }),
            Case::Bulk => {
                let (mut items, mut out) = (Vec::with_capacity(100), Vec::with_capacity(100));
                timed(about / 100 * 100, || {
                    (0..about / 100 * 100).step_by(100).fold(0, |sum, first| {
                        items.extend(first..first + 100);
                        queue.push_bulk(&mut items);
                        queue.pop_bulk(&mut out, 100);
                        sum + out.drain(..).sum::<u64>()
                    })
                })
            }
            Case::Exchange { each, run } => exchange(&queue, each, run, about),
        }
    }
}

/// Items a thread moves are fixed beforehand, so that nobody needs to be told when to stop.
fn exchange<Q: Queue>(queue: &Q, each: usize, run: usize, about: u64) -> (f64, u64) {
    let share = about / (each * run) as u64 * run as u64;
    let start = Barrier::new(2 * each + 1);
    thread::scope(|scope| {
        let mut consumers = Vec::new();
        for index in 0..each {
            let start = &start;
            scope.spawn(move || {
                pin(2 * index);
                start.wait();
                let (begin, mut items) = (index as u64 * share, Vec::with_capacity(run));
                if run == 1 {
                    (begin..begin + share).for_each(|item| queue.push(item));
                } else {
                    (begin..begin + share).step_by(run).for_each(|first| {
                        items.extend(first..first + run as u64);
                        queue.push_bulk(&mut items);
                    });
                }
            });
            consumers.push(scope.spawn(move || {
                pin(2 * index + 1);
                start.wait();
                if run == 1 {
                    return (0..share).fold(0, |sum, _| sum + queue.pop());
                }
                let (mut sum, mut left, mut out) = (0, share, Vec::with_capacity(run));
                while left > 0 {
                    queue.pop_bulk(&mut out, run.min(left as usize));
                    left -= out.len() as u64;
                    sum += out.drain(..).sum::<u64>();
                }
                sum
            }));
        }
        start.wait();
        timed(share * each as u64, || consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum())
    })
}

/// Nanoseconds an item took in `body`, which moves the items `0..count` and returns the sum of what came out; and `count`.
fn timed(count: u64, body: impl FnOnce() -> u64) -> (f64, u64) {
    let begin = Instant::now();
    let sum = body();
    let ns = begin.elapsed().as_nanos() as f64 / count as f64;
    assert_eq!(sum, count * (count - 1) / 2, "what came out is not what went in");
    (ns, count)
}

/// Prints a table for each case, or for the one named.
pub fn run(only: Option<&str>) {
    pin(0);
    for (name, case, about) in Case::ALL {
        if only.is_none_or(|only| only == name) {
            compare(
                &format!("{name}, queue of {CAPACITY}, ns per item"),
                "ns",
                9,
                vec![
                    Contender::new("ArrayQueue", || case.run::<ArrayQueue<u64>>(about)),
                    Contender::new("SegQueue", || case.run::<SegQueue<u64>>(about)),
                    Contender::new("crossbeam-channel", || case.run::<Channel>(about)),
                    Contender::new("ring", || case.run::<Ring<u64>>(about)),
                    Contender::new("ring, tries", || case.run::<TryRing>(about)),
                ],
            );
        }
    }
}
