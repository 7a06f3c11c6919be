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
//! Contenders wait as their users would: the blocking ends of ring, spsc and channel, crossbeam's `Backoff` around the
//! others and around the tries of ours. Bulks go by `Vec` where the queue takes one, by slice where it does not. Those for
//! one producer and one consumer have a table of their own. Cases of one thread are timed by its processor's clock, the
//! others by the wall's. "Turnable" is a kind behind the face that lets it be turned. The proof is the count of items; their
//! sum is asserted.

use std::hint::black_box;
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded};
use crossbeam::queue::{ArrayQueue, SegQueue};
use crossbeam::utils::Backoff;
use rheostat_runtime::queue::{self, Kind, Ring, Segmented, segmented, spsc};
use rustix::time::{ClockId, clock_gettime};

use crate::measure::{Contender, compare, pin};

const CAPACITY: usize = 1024;

/// An end that pushes, as its user would use it.
trait Push: Send {
    fn push(&mut self, item: u64);
    fn push_bulk(&mut self, items: &mut Vec<u64>) {
        items.drain(..).for_each(|item| self.push(item));
    }
}

/// An end that pops.
trait Pop: Send {
    fn pop(&mut self) -> u64;
    /// At least one, at most `max`.
    fn pop_bulk(&mut self, out: &mut Vec<u64>, max: usize) {
        out.extend((0..max).map(|_| self.pop()));
    }
}

/// A queue and an end for each thread.
trait Queue {
    type Push: Push;
    type Pop: Pop;
    fn ends(each: usize) -> (Vec<Self::Push>, Vec<Self::Pop>);
}

/// Queues whose users share one value.
trait Shared: Send + Sync + Sized {
    fn new() -> Self;
}

impl<S: Shared> Queue for S
where
    Arc<S>: Push + Pop,
{
    type Push = Arc<S>;
    type Pop = Arc<S>;
    fn ends(each: usize) -> (Vec<Arc<S>>, Vec<Arc<S>>) {
        let queue = Arc::new(S::new());
        (vec![queue.clone(); each], vec![queue; each])
    }
}

impl Shared for Ring<u64> {
    fn new() -> Self {
        Ring::new(CAPACITY).unwrap()
    }
}

impl Push for Arc<Ring<u64>> {
    fn push(&mut self, item: u64) {
        Ring::push(self, item).unwrap();
    }
    fn push_bulk(&mut self, items: &mut Vec<u64>) {
        self.push_all(items).unwrap();
    }
}

impl Pop for Arc<Ring<u64>> {
    fn pop(&mut self) -> u64 {
        Ring::pop(self).unwrap()
    }
    fn pop_bulk(&mut self, out: &mut Vec<u64>, max: usize) {
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

impl Shared for TryRing {
    fn new() -> Self {
        Self(Ring::new(CAPACITY).unwrap())
    }
}

impl Push for Arc<TryRing> {
    fn push(&mut self, item: u64) {
        insist(|| self.0.try_push(item).ok());
    }
    fn push_bulk(&mut self, items: &mut Vec<u64>) {
        insist(|| {
            self.0.push_bulk(items);
            items.is_empty().then_some(())
        });
    }
}

impl Pop for Arc<TryRing> {
    fn pop(&mut self) -> u64 {
        insist(|| self.0.try_pop().ok())
    }
    fn pop_bulk(&mut self, out: &mut Vec<u64>, max: usize) {
        insist(|| (self.0.pop_bulk(out, max) > 0).then_some(()));
    }
}

impl Shared for ArrayQueue<u64> {
    fn new() -> Self {
        ArrayQueue::new(CAPACITY)
    }
}

impl Push for Arc<ArrayQueue<u64>> {
    fn push(&mut self, item: u64) {
        insist(|| ArrayQueue::push(self, item).ok());
    }
}

impl Pop for Arc<ArrayQueue<u64>> {
    fn pop(&mut self) -> u64 {
        insist(|| ArrayQueue::pop(self))
    }
}

impl Shared for SegQueue<u64> {
    fn new() -> Self {
        SegQueue::new()
    }
}

impl Push for Arc<SegQueue<u64>> {
    fn push(&mut self, item: u64) {
        SegQueue::push(self, item);
    }
}

impl Pop for Arc<SegQueue<u64>> {
    fn pop(&mut self) -> u64 {
        insist(|| SegQueue::pop(self))
    }
}

/// The segmented queue by its handles, and without.
struct Lanes;

impl Queue for Lanes {
    type Push = segmented::Producer<u64>;
    type Pop = segmented::Consumer<u64>;
    fn ends(each: usize) -> (Vec<Self::Push>, Vec<Self::Pop>) {
        let queue = Arc::new(Segmented::new());
        let producers = (0..each).map(|_| Segmented::producer(&queue)).collect();
        (producers, (0..each).map(|_| Segmented::consumer(&queue)).collect())
    }
}

impl Push for segmented::Producer<u64> {
    fn push(&mut self, item: u64) {
        segmented::Producer::push(self, item);
    }
    fn push_bulk(&mut self, items: &mut Vec<u64>) {
        segmented::Producer::push_bulk(self, items);
    }
}

impl Pop for segmented::Consumer<u64> {
    fn pop(&mut self) -> u64 {
        insist(|| segmented::Consumer::pop(self))
    }
    fn pop_bulk(&mut self, out: &mut Vec<u64>, max: usize) {
        insist(|| (segmented::Consumer::pop_bulk(self, out, max) > 0).then_some(()));
    }
}

impl Shared for Segmented<u64> {
    fn new() -> Self {
        Segmented::new()
    }
}

impl Push for Arc<Segmented<u64>> {
    fn push(&mut self, item: u64) {
        Segmented::push(self, item);
    }
    fn push_bulk(&mut self, items: &mut Vec<u64>) {
        Segmented::push_bulk(self, items);
    }
}

impl Pop for Arc<Segmented<u64>> {
    fn pop(&mut self) -> u64 {
        insist(|| Segmented::pop(self))
    }
    fn pop_bulk(&mut self, out: &mut Vec<u64>, max: usize) {
        insist(|| (Segmented::pop_bulk(self, out, max) > 0).then_some(()));
    }
}

/// A kind behind the face that lets it be turned: what the face costs is the difference.
struct Facade<const KIND: usize>(queue::Queue<u64>);

impl<const KIND: usize> Shared for Facade<KIND> {
    fn new() -> Self {
        Self(queue::Queue::new(Kind::ALL[KIND], CAPACITY).unwrap())
    }
}

impl<const KIND: usize> Push for Arc<Facade<KIND>> {
    fn push(&mut self, item: u64) {
        self.0.push(item).unwrap();
    }
    fn push_bulk(&mut self, items: &mut Vec<u64>) {
        self.0.push_all(items).unwrap();
    }
}

impl<const KIND: usize> Pop for Arc<Facade<KIND>> {
    fn pop(&mut self) -> u64 {
        self.0.pop().unwrap()
    }
    fn pop_bulk(&mut self, out: &mut Vec<u64>, max: usize) {
        self.0.pop_bulk_within(out, max, None).unwrap();
    }
}

/// The same by its tries.
struct TryFacade<const KIND: usize>(queue::Queue<u64>);

impl<const KIND: usize> Shared for TryFacade<KIND> {
    fn new() -> Self {
        Self(queue::Queue::new(Kind::ALL[KIND], CAPACITY).unwrap())
    }
}

impl<const KIND: usize> Push for Arc<TryFacade<KIND>> {
    fn push(&mut self, item: u64) {
        insist(|| self.0.try_push(item).ok());
    }
    fn push_bulk(&mut self, items: &mut Vec<u64>) {
        insist(|| {
            self.0.push_bulk(items);
            items.is_empty().then_some(())
        });
    }
}

impl<const KIND: usize> Pop for Arc<TryFacade<KIND>> {
    fn pop(&mut self) -> u64 {
        insist(|| self.0.try_pop().ok())
    }
    fn pop_bulk(&mut self, out: &mut Vec<u64>, max: usize) {
        insist(|| (self.0.pop_bulk(out, max) > 0).then_some(()));
    }
}

struct Channel;

impl Queue for Channel {
    type Push = Sender<u64>;
    type Pop = Receiver<u64>;
    fn ends(each: usize) -> (Vec<Self::Push>, Vec<Self::Pop>) {
        let (sender, receiver) = bounded(CAPACITY);
        (vec![sender; each], vec![receiver; each])
    }
}

impl Push for Sender<u64> {
    fn push(&mut self, item: u64) {
        self.send(item).unwrap();
    }
}

impl Pop for Receiver<u64> {
    fn pop(&mut self) -> u64 {
        self.recv().unwrap()
    }
}

/// The ring taken apart into handles.
struct Handles;

impl Queue for Handles {
    type Push = queue::Producer<u64>;
    type Pop = queue::Consumer<u64>;
    fn ends(each: usize) -> (Vec<Self::Push>, Vec<Self::Pop>) {
        let (producer, consumer) = Ring::new(CAPACITY).unwrap().split();
        // No clone beyond those that are used: what one handle may do depends on whether it is the only one.
        let mut ends = (Vec::with_capacity(each), Vec::with_capacity(each));
        for _ in 1..each {
            ends.0.push(producer.clone());
            ends.1.push(consumer.clone());
        }
        ends.0.push(producer);
        ends.1.push(consumer);
        ends
    }
}

impl Push for queue::Producer<u64> {
    fn push(&mut self, item: u64) {
        queue::Producer::push(self, item).unwrap();
    }
    fn push_bulk(&mut self, items: &mut Vec<u64>) {
        self.push_all(items).unwrap();
    }
}

impl Pop for queue::Consumer<u64> {
    fn pop(&mut self) -> u64 {
        queue::Consumer::pop(self).unwrap()
    }
    fn pop_bulk(&mut self, out: &mut Vec<u64>, max: usize) {
        self.pop_bulk_wait(out, max, None).unwrap();
    }
}

struct Spsc;

impl Queue for Spsc {
    type Push = spsc::Producer<u64>;
    type Pop = spsc::Consumer<u64>;
    fn ends(_one: usize) -> (Vec<Self::Push>, Vec<Self::Pop>) {
        let (producer, consumer) = spsc::ring(CAPACITY).unwrap();
        (vec![producer], vec![consumer])
    }
}

impl Push for spsc::Producer<u64> {
    fn push(&mut self, item: u64) {
        spsc::Producer::push(self, item).unwrap();
    }
    fn push_bulk(&mut self, items: &mut Vec<u64>) {
        self.push_all(items).unwrap();
    }
}

impl Pop for spsc::Consumer<u64> {
    fn pop(&mut self) -> u64 {
        spsc::Consumer::pop(self).unwrap()
    }
    fn pop_bulk(&mut self, out: &mut Vec<u64>, max: usize) {
        self.pop_bulk_wait(out, max, None).unwrap();
    }
}

struct TrySpsc;

impl Queue for TrySpsc {
    type Push = Trying<spsc::Producer<u64>>;
    type Pop = Trying<spsc::Consumer<u64>>;
    fn ends(_one: usize) -> (Vec<Self::Push>, Vec<Self::Pop>) {
        let (producer, consumer) = spsc::ring(CAPACITY).unwrap();
        (vec![Trying(producer)], vec![Trying(consumer)])
    }
}

/// An end that is polled rather than waited on.
struct Trying<E>(E);

impl Push for Trying<spsc::Producer<u64>> {
    fn push(&mut self, item: u64) {
        insist(|| self.0.try_push(item).ok());
    }
    fn push_bulk(&mut self, items: &mut Vec<u64>) {
        let mut rest = &items[..];
        insist(|| {
            rest = &rest[self.0.push_slice(rest)..];
            rest.is_empty().then_some(())
        });
        items.clear();
    }
}

impl Pop for Trying<spsc::Consumer<u64>> {
    fn pop(&mut self) -> u64 {
        insist(|| self.0.try_pop().ok())
    }
    fn pop_bulk(&mut self, out: &mut Vec<u64>, max: usize) {
        out.resize(max, 0);
        let popped = insist(|| Some(self.0.pop_slice(out)).filter(|&popped| popped > 0));
        out.truncate(popped);
    }
}

struct Rtrb;

impl Queue for Rtrb {
    type Push = rtrb::Producer<u64>;
    type Pop = rtrb::Consumer<u64>;
    fn ends(_one: usize) -> (Vec<Self::Push>, Vec<Self::Pop>) {
        let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
        (vec![producer], vec![consumer])
    }
}

impl Push for rtrb::Producer<u64> {
    fn push(&mut self, item: u64) {
        insist(|| rtrb::Producer::push(self, item).ok());
    }
    fn push_bulk(&mut self, items: &mut Vec<u64>) {
        let mut rest = &items[..];
        insist(|| {
            rest = self.push_partial_slice(rest).1;
            rest.is_empty().then_some(())
        });
        items.clear();
    }
}

impl Pop for rtrb::Consumer<u64> {
    fn pop(&mut self) -> u64 {
        insist(|| rtrb::Consumer::pop(self).ok())
    }
    fn pop_bulk(&mut self, out: &mut Vec<u64>, max: usize) {
        out.resize(max, 0);
        let popped = insist(|| Some(self.pop_partial_slice(out).0.len()).filter(|&popped| popped > 0));
        out.truncate(popped);
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
        if let Case::Exchange { each, run } = self {
            return exchange::<Q>(each, run, about);
        }
        let (mut push, mut pop) = Q::ends(1);
        let (push, pop) = (&mut push[0], &mut pop[0]);
        match self {
            Case::Pair => timed(about, || {
                (0..about).fold(0, |sum, item| {
                    push.push(black_box(item));
                    sum + pop.pop()
                })
            }),
            Case::Burst => timed(about / 512 * 512, || {
                (0..about / 512 * 512).step_by(512).fold(0, |sum, first| {
                    (first..first + 512).for_each(|item| push.push(black_box(item)));
                    (0..512).fold(sum, |sum, _| sum + pop.pop())
                })
            }),
            Case::Bulk => {
                let (mut items, mut out) = (Vec::with_capacity(100), Vec::with_capacity(100));
                timed(about / 100 * 100, || {
                    (0..about / 100 * 100).step_by(100).fold(0, |sum, first| {
                        items.extend(first..first + 100);
                        push.push_bulk(&mut items);
                        pop.pop_bulk(&mut out, 100);
                        sum + out.drain(..).sum::<u64>()
                    })
                })
            }
            Case::Exchange { .. } => unreachable!("has threads of its own"),
        }
    }
}

/// Items a thread moves are fixed beforehand, so that nobody needs to be told when to stop.
fn exchange<Q: Queue>(each: usize, run: usize, about: u64) -> (f64, u64) {
    let share = about / (each * run) as u64 * run as u64;
    // The clock starts with the first thread that does: the one that waits for the end may be the last to wake up.
    let (start, begun) = (Barrier::new(2 * each + 1), OnceLock::new());
    let (pushes, pops) = Q::ends(each);
    thread::scope(|scope| {
        let mut consumers = Vec::new();
        for (index, (mut push, mut pop)) in pushes.into_iter().zip(pops).enumerate() {
            let (start, begun) = (&start, &begun);
            scope.spawn(move || {
                pin(2 * index);
                start.wait();
                begun.get_or_init(Instant::now);
                let (begin, mut items) = (index as u64 * share, Vec::with_capacity(run));
                if run == 1 {
                    (begin..begin + share).for_each(|item| push.push(item));
                } else {
                    (begin..begin + share).step_by(run).for_each(|first| {
                        items.extend(first..first + run as u64);
                        push.push_bulk(&mut items);
                    });
                }
            });
            consumers.push(scope.spawn(move || {
                pin(2 * index + 1);
                start.wait();
                begun.get_or_init(Instant::now);
                if run == 1 {
                    return (0..share).fold(0, |sum, _| sum + pop.pop());
                }
                let (mut sum, mut left, mut out) = (0, share, Vec::with_capacity(run));
                while left > 0 {
                    pop.pop_bulk(&mut out, run.min(left as usize));
                    left -= out.len() as u64;
                    sum += out.drain(..).sum::<u64>();
                }
                sum
            }));
        }
        start.wait();
        let sum = consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum();
        proven(share * each as u64, sum, begun.get().expect("all have begun").elapsed().as_nanos())
    })
}

/// Nanoseconds of its processor that this thread has used.
fn thread_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds of this thread's processor that an item took in `body`, which moves the items `0..count` and returns the
/// sum of what came out; and `count`. Others on the machine do not count.
fn timed(count: u64, body: impl FnOnce() -> u64) -> (f64, u64) {
    let begin = thread_time();
    let sum = body();
    proven(count, sum, u128::from(thread_time() - begin))
}

/// The time for each of the items `0..count`, whose sum proves that they came through; and `count`.
fn proven(count: u64, sum: u64, ns: u128) -> (f64, u64) {
    assert_eq!(sum, count * (count - 1) / 2, "what came out is not what went in");
    (ns as f64 / count as f64, count)
}

/// Prints a table for each case, or for the one named.
pub fn run(only: Option<&str>) {
    pin(0);
    for (name, case, about) in Case::ALL {
        if only.is_none_or(|only| only == name) {
            let contenders = vec![
                Contender::new("ArrayQueue", || case.run::<ArrayQueue<u64>>(about)),
                Contender::new("SegQueue", || case.run::<SegQueue<u64>>(about)),
                Contender::new("crossbeam-channel", || case.run::<Channel>(about)),
                Contender::new("ring", || case.run::<Ring<u64>>(about)),
                Contender::new("ring, handles", || case.run::<Handles>(about)),
                Contender::new("ring, tries", || case.run::<TryRing>(about)),
                Contender::new("ring, turnable", || case.run::<Facade<0>>(about)),
                Contender::new("ring, turnable, tries", || case.run::<TryFacade<0>>(about)),
                Contender::new("segmented", || case.run::<Lanes>(about)),
                Contender::new("segmented, no handles", || case.run::<Segmented<u64>>(about)),
                Contender::new("segmented, turnable", || case.run::<Facade<1>>(about)),
                Contender::new("segmented, turnable, tries", || case.run::<TryFacade<1>>(about)),
            ];
            compare(&format!("{name}, queue of {CAPACITY}, ns per item"), "ns", 9, contenders);
            if !matches!(case, Case::Exchange { each: 2.., .. }) {
                let contenders = vec![
                    Contender::new("rtrb", || case.run::<Rtrb>(about)),
                    Contender::new("spsc", || case.run::<Spsc>(about)),
                    Contender::new("spsc, tries", || case.run::<TrySpsc>(about)),
                ];
                compare(&format!("{name}, SPSC of {CAPACITY}, ns per item"), "ns", 9, contenders);
            }
        }
    }
}
