//! The peers from the cargo registry.

use super::{CAPACITY, Consumer, Ends, Peer, Producer, contender};
use crate::Options;
use crate::measure::Contender;
use concurrent_queue::ConcurrentQueue;
use crossbeam::queue::{ArrayQueue, SegQueue};
use crossbeam::utils::Backoff;
use std::marker::PhantomData;
use std::sync::Arc;

/// A queue without blocking ends. Runs go one by one where it has no bulk.
pub(super) trait Tries: Send + Sync + 'static {
    fn make() -> Self;
    fn try_push(&self, item: u64) -> bool;
    fn try_pop(&self) -> Option<u64>;
    /// Takes from the front of `items` what there is room for.
    fn try_push_run(&self, items: &mut Vec<u64>) {
        let pushed = items.iter().take_while(|item| self.try_push(**item)).count();
        items.drain(..pushed);
    }
    fn try_pop_run(&self, out: &mut Vec<u64>, max: usize) {
        out.extend(std::iter::from_fn(|| self.try_pop()).take(max));
    }
}

/// Polls with crossbeam's back-off, the way its documentation shows.
pub(super) struct Polled<Q>(PhantomData<Q>);
pub(super) struct PolledEnd<Q>(Arc<Q>);

impl<Q: Tries> Peer for Polled<Q> {
    type Producer = PolledEnd<Q>;
    type Consumer = PolledEnd<Q>;
    fn ends(producers: usize, consumers: usize) -> Option<Ends<Self>> {
        let queue = Arc::new(Q::make());
        let ends = |count| (0..count).map(|_| PolledEnd(queue.clone())).collect();
        Some((ends(producers), ends(consumers)))
    }
}

impl<Q: Tries> Producer for PolledEnd<Q> {
    fn push(&mut self, item: u64) {
        let backoff = Backoff::new();
        while !self.0.try_push(item) {
            backoff.snooze();
        }
    }
    fn push_run(&mut self, items: &mut Vec<u64>) {
        let backoff = Backoff::new();
        loop {
            self.0.try_push_run(items);
            if items.is_empty() {
                return;
            }
            backoff.snooze();
        }
    }
}

impl<Q: Tries> Consumer for PolledEnd<Q> {
    fn pop(&mut self) -> u64 {
        let backoff = Backoff::new();
        loop {
            match self.0.try_pop() {
                Some(item) => return item,
                None => backoff.snooze(),
            }
        }
    }
    fn pop_run(&mut self, out: &mut Vec<u64>, max: usize) {
        let (backoff, had) = (Backoff::new(), out.len());
        loop {
            self.0.try_pop_run(out, max);
            if out.len() > had {
                return;
            }
            backoff.snooze();
        }
    }
}

impl Tries for ArrayQueue<u64> {
    fn make() -> Self {
        ArrayQueue::new(CAPACITY)
    }
    fn try_push(&self, item: u64) -> bool {
        self.push(item).is_ok()
    }
    fn try_pop(&self) -> Option<u64> {
        self.pop()
    }
}

impl Tries for SegQueue<u64> {
    fn make() -> Self {
        SegQueue::new()
    }
    fn try_push(&self, item: u64) -> bool {
        self.push(item);
        true
    }
    fn try_pop(&self) -> Option<u64> {
        self.pop()
    }
}

impl Tries for ConcurrentQueue<u64> {
    fn make() -> Self {
        ConcurrentQueue::bounded(CAPACITY)
    }
    fn try_push(&self, item: u64) -> bool {
        self.push(item).is_ok()
    }
    fn try_pop(&self) -> Option<u64> {
        self.pop().ok()
    }
}

struct Channel;
struct ChannelProducer(crossbeam::channel::Sender<u64>);
struct ChannelConsumer(crossbeam::channel::Receiver<u64>);

impl Peer for Channel {
    type Producer = ChannelProducer;
    type Consumer = ChannelConsumer;
    fn ends(producers: usize, consumers: usize) -> Option<Ends<Self>> {
        let (sender, receiver) = crossbeam::channel::bounded(CAPACITY);
        let producers = (0..producers).map(|_| ChannelProducer(sender.clone())).collect();
        Some((producers, (0..consumers).map(|_| ChannelConsumer(receiver.clone())).collect()))
    }
}

impl Producer for ChannelProducer {
    fn push(&mut self, item: u64) {
        self.0.send(item).expect("open");
    }
}

impl Consumer for ChannelConsumer {
    fn pop(&mut self) -> u64 {
        self.0.recv().expect("open")
    }
}

struct Kanal;
struct KanalProducer(kanal::Sender<u64>);
struct KanalConsumer(kanal::Receiver<u64>);

impl Peer for Kanal {
    type Producer = KanalProducer;
    type Consumer = KanalConsumer;
    fn ends(producers: usize, consumers: usize) -> Option<Ends<Self>> {
        let (sender, receiver) = kanal::bounded(CAPACITY);
        let producers = (0..producers).map(|_| KanalProducer(sender.clone())).collect();
        Some((producers, (0..consumers).map(|_| KanalConsumer(receiver.clone())).collect()))
    }
}

impl Producer for KanalProducer {
    fn push(&mut self, item: u64) {
        self.0.send(item).expect("open");
    }
}

impl Consumer for KanalConsumer {
    fn pop(&mut self) -> u64 {
        self.0.recv().expect("open")
    }
}

/// One producer, one consumer.
struct Rtrb;

impl Peer for Rtrb {
    type Producer = rtrb::Producer<u64>;
    type Consumer = rtrb::Consumer<u64>;
    fn ends(producers: usize, consumers: usize) -> Option<Ends<Self>> {
        let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
        (producers == 1 && consumers == 1).then(|| (vec![producer], vec![consumer]))
    }
}

impl Producer for rtrb::Producer<u64> {
    fn push(&mut self, item: u64) {
        let backoff = Backoff::new();
        while rtrb::Producer::push(self, item).is_err() {
            backoff.snooze();
        }
    }
    fn push_run(&mut self, items: &mut Vec<u64>) {
        let (backoff, mut left) = (Backoff::new(), &items[..]);
        loop {
            left = self.push_partial_slice(left).1;
            if left.is_empty() {
                break;
            }
            backoff.snooze();
        }
        items.clear();
    }
}

impl Consumer for rtrb::Consumer<u64> {
    fn pop(&mut self) -> u64 {
        let backoff = Backoff::new();
        loop {
            match rtrb::Consumer::pop(self) {
                Ok(item) => return item,
                Err(_) => backoff.snooze(),
            }
        }
    }
    fn pop_run(&mut self, out: &mut Vec<u64>, max: usize) {
        let (backoff, had) = (Backoff::new(), out.len());
        out.resize(had + max, 0);
        loop {
            let popped = self.pop_partial_slice(&mut out[had..]).0.len();
            if popped > 0 {
                out.truncate(had + popped);
                return;
            }
            backoff.snooze();
        }
    }
}

pub(super) fn contenders(options: Options) -> Vec<Contender<'static>> {
    vec![
        contender::<Rtrb>("rtrb", options),
        contender::<Polled<ArrayQueue<u64>>>("crossbeam ArrayQueue", options),
        contender::<Polled<SegQueue<u64>>>("crossbeam SegQueue", options),
        contender::<Channel>("crossbeam-channel", options),
        contender::<Kanal>("kanal", options),
        contender::<Polled<ConcurrentQueue<u64>>>("concurrent-queue", options),
    ]
}
