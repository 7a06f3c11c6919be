//! Our queues, through their public face.

use super::rust::{Polled, Tries};
use super::{CAPACITY, Consumer, Ends, Peer, Producer, contender};
use crate::Options;
use crate::measure::Contender;
use crossbeam::utils::Backoff;
use rheostat_runtime::queue::{self, Kind, Queue, Ring, Segmented, segmented, spsc};
use std::sync::Arc;

/// The ring's blocking ends.
struct Blocking;
struct End(Arc<Ring<u64>>);

impl Peer for Blocking {
    type Producer = End;
    type Consumer = End;
    fn ends(producers: usize, consumers: usize) -> Option<Ends<Self>> {
        let ring = Arc::new(Ring::new(CAPACITY).expect("a good capacity"));
        let ends = |count| (0..count).map(|_| End(ring.clone())).collect();
        Some((ends(producers), ends(consumers)))
    }
}

impl Producer for End {
    fn push(&mut self, item: u64) {
        self.0.push(item).expect("open");
    }
    fn push_run(&mut self, items: &mut Vec<u64>) {
        self.0.push_all(items).expect("open");
    }
}

impl Consumer for End {
    fn pop(&mut self) -> u64 {
        self.0.pop().expect("open")
    }
    fn pop_run(&mut self, out: &mut Vec<u64>, max: usize) {
        self.0.pop_bulk_until(out, max, || false, None).expect("open");
    }
}

/// The ring's handles, blocking: a sole one of its kind goes without compare-exchange.
struct Handles;

impl Peer for Handles {
    type Producer = queue::Producer<u64>;
    type Consumer = queue::Consumer<u64>;
    fn ends(producers: usize, consumers: usize) -> Option<Ends<Self>> {
        let (producer, consumer) = Ring::new(CAPACITY).expect("a good capacity").split();
        let others = (1..producers).map(|_| producer.clone()).collect::<Vec<_>>();
        let producers = [producer].into_iter().chain(others).collect();
        let others = (1..consumers).map(|_| consumer.clone()).collect::<Vec<_>>();
        Some((producers, [consumer].into_iter().chain(others).collect()))
    }
}

impl Producer for queue::Producer<u64> {
    fn push(&mut self, item: u64) {
        queue::Producer::push(self, item).expect("open");
    }
    fn push_run(&mut self, items: &mut Vec<u64>) {
        self.push_all(items).expect("open");
    }
}

impl Consumer for queue::Consumer<u64> {
    fn pop(&mut self) -> u64 {
        queue::Consumer::pop(self).expect("open")
    }
    fn pop_run(&mut self, out: &mut Vec<u64>, max: usize) {
        self.pop_bulk_wait(out, max, None).expect("open");
    }
}

/// The ring's tries, polled as the peers without blocking ends are.
impl Tries for Ring<u64> {
    fn make() -> Self {
        Ring::new(CAPACITY).expect("a good capacity")
    }
    fn try_push(&self, item: u64) -> bool {
        Ring::try_push(self, item).is_ok()
    }
    fn try_pop(&self) -> Option<u64> {
        Ring::try_pop(self).ok()
    }
    fn try_push_run(&self, items: &mut Vec<u64>) {
        self.push_bulk(items);
    }
    fn try_pop_run(&self, out: &mut Vec<u64>, max: usize) {
        self.pop_bulk(out, max);
    }
}

/// The SPSC ring's blocking ends.
struct Spsc;
struct SpscProducer(spsc::Producer<u64>);
struct SpscConsumer(spsc::Consumer<u64>);

impl Peer for Spsc {
    type Producer = SpscProducer;
    type Consumer = SpscConsumer;
    fn ends(producers: usize, consumers: usize) -> Option<Ends<Self>> {
        let (producer, consumer) = spsc::ring(CAPACITY).expect("a good capacity");
        (producers == 1 && consumers == 1).then(|| (vec![SpscProducer(producer)], vec![SpscConsumer(consumer)]))
    }
}

impl Producer for SpscProducer {
    fn push(&mut self, item: u64) {
        self.0.push(item).expect("open");
    }
    fn push_run(&mut self, items: &mut Vec<u64>) {
        self.0.push_all(items).expect("open");
    }
}

impl Consumer for SpscConsumer {
    fn pop(&mut self) -> u64 {
        self.0.pop().expect("open")
    }
    fn pop_run(&mut self, out: &mut Vec<u64>, max: usize) {
        self.0.pop_bulk_wait(out, max, None).expect("open");
    }
}

/// The SPSC ring's tries, polled as rtrb is.
struct SpscTries;

impl Peer for SpscTries {
    type Producer = spsc::Producer<u64>;
    type Consumer = spsc::Consumer<u64>;
    fn ends(producers: usize, consumers: usize) -> Option<Ends<Self>> {
        let (producer, consumer) = spsc::ring(CAPACITY).expect("a good capacity");
        (producers == 1 && consumers == 1).then(|| (vec![producer], vec![consumer]))
    }
}

impl Producer for spsc::Producer<u64> {
    fn push(&mut self, item: u64) {
        let backoff = Backoff::new();
        while self.try_push(item).is_err() {
            backoff.snooze();
        }
    }
    fn push_run(&mut self, items: &mut Vec<u64>) {
        let (backoff, mut pushed) = (Backoff::new(), 0);
        loop {
            pushed += self.push_slice(&items[pushed..]);
            if pushed == items.len() {
                break;
            }
            backoff.snooze();
        }
        items.clear();
    }
}

impl Consumer for spsc::Consumer<u64> {
    fn pop(&mut self) -> u64 {
        let backoff = Backoff::new();
        loop {
            match self.try_pop() {
                Ok(item) => return item,
                Err(_) => backoff.snooze(),
            }
        }
    }
    fn pop_run(&mut self, out: &mut Vec<u64>, max: usize) {
        let (backoff, had) = (Backoff::new(), out.len());
        out.resize(had + max, 0);
        loop {
            let popped = self.pop_slice(&mut out[had..]);
            if popped > 0 {
                out.truncate(had + popped);
                return;
            }
            backoff.snooze();
        }
    }
}

/// The segmented queue's handles.
struct Lanes;
struct LaneProducer(segmented::Producer<u64>);
struct LaneConsumer(segmented::Consumer<u64>);

impl Peer for Lanes {
    type Producer = LaneProducer;
    type Consumer = LaneConsumer;
    fn ends(producers: usize, consumers: usize) -> Option<Ends<Self>> {
        let queue = Arc::new(Segmented::new());
        let producers = (0..producers).map(|_| LaneProducer(Segmented::producer(&queue))).collect();
        Some((producers, (0..consumers).map(|_| LaneConsumer(Segmented::consumer(&queue))).collect()))
    }
}

impl Producer for LaneProducer {
    fn push(&mut self, item: u64) {
        self.0.push(item);
    }
    fn push_run(&mut self, items: &mut Vec<u64>) {
        self.0.push_bulk(items);
    }
}

impl Consumer for LaneConsumer {
    fn pop(&mut self) -> u64 {
        let backoff = Backoff::new();
        loop {
            match self.0.pop() {
                Some(item) => return item,
                None => backoff.snooze(),
            }
        }
    }
    fn pop_run(&mut self, out: &mut Vec<u64>, max: usize) {
        let backoff = Backoff::new();
        while self.0.pop_bulk(out, max) == 0 {
            backoff.snooze();
        }
    }
}

/// The same without handles: its producers share a lock.
impl Tries for Segmented<u64> {
    fn make() -> Self {
        Segmented::new()
    }
    fn try_push(&self, item: u64) -> bool {
        self.push(item);
        true
    }
    fn try_pop(&self) -> Option<u64> {
        self.pop()
    }
    fn try_push_run(&self, items: &mut Vec<u64>) {
        self.push_bulk(items);
    }
    fn try_pop_run(&self, out: &mut Vec<u64>, max: usize) {
        self.pop_bulk(out, max);
    }
}

/// A kind behind the face that lets it be turned.
struct Face<const KIND: usize>(Queue<u64>);

impl<const KIND: usize> Tries for Face<KIND> {
    fn make() -> Self {
        Self(Queue::new(Kind::ALL[KIND], CAPACITY).expect("a good capacity"))
    }
    fn try_push(&self, item: u64) -> bool {
        self.0.try_push(item).is_ok()
    }
    fn try_pop(&self) -> Option<u64> {
        self.0.try_pop().ok()
    }
    fn try_push_run(&self, items: &mut Vec<u64>) {
        self.0.push_bulk(items);
    }
    fn try_pop_run(&self, out: &mut Vec<u64>, max: usize) {
        self.0.pop_bulk(out, max);
    }
}

/// A face and the same structure alone.
pub(super) const FACED: [(&str, &str); 4] = [
    ("Queue of **ring**", "**ring**, tries"),
    ("Queue of **segmented**", "**segmented**, no handles"),
    ("Queue of ArrayQueue", "crossbeam ArrayQueue"),
    ("Queue of SegQueue", "crossbeam SegQueue"),
];

pub(super) fn contenders(options: Options) -> Vec<Contender<'static>> {
    vec![
        contender::<Blocking>("**ring**", options),
        contender::<Handles>("**ring**, handles", options),
        contender::<Polled<Ring<u64>>>("**ring**, tries", options),
        contender::<Spsc>("**spsc**", options),
        contender::<SpscTries>("**spsc**, tries", options),
        contender::<Lanes>("**segmented**", options),
        contender::<Polled<Segmented<u64>>>("**segmented**, no handles", options),
        contender::<Polled<Face<0>>>(FACED[0].0, options),
        contender::<Polled<Face<1>>>(FACED[1].0, options),
        contender::<Polled<Face<2>>>(FACED[2].0, options),
        contender::<Polled<Face<3>>>(FACED[3].0, options),
    ]
}
