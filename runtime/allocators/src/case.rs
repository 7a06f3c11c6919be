//! The work. The same operations at every thread count, dealt out among the threads, so that a speed-up is one.

use rheostat_runtime::map::{Backend, Map};
use rheostat_runtime::queue::Ring;
use rheostat_runtime::sync::atomic::{AtomicU64, Ordering::Relaxed};
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// Threads insert keys of their own into one map of byte strings, from empty: two allocations an entry, what the
    /// map needs to grow beside. The map is dropped outside of the time.
    ParallelInsert,
    /// Producers allocate blocks of 64 to 1024 bytes and hand them over in bulks; consumers read and free them. One
    /// thread does both by turns; an odd one more is a producer.
    ProducerConsumer,
}

/// One measurement.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Figure {
    pub case: Case,
    pub threads: u32,
    /// Operations: entries inserted, blocks handed over.
    pub operations: u64,
    pub nanoseconds: u64,
    /// Proof that the work was done: a sum over what came out, the same for every allocator and thread count.
    pub proof: u64,
}

/// Blocks handed over at a time.
const BULK: usize = 32;
/// Blocks between producers and consumers at most.
const BETWEEN: usize = 4096;

impl Case {
    /// All of them.
    pub const ALL: [Case; 2] = [Case::ParallelInsert, Case::ProducerConsumer];

    /// Its name in a table's heading, and what an operation of it is.
    pub const fn title(self) -> (&'static str, &'static str) {
        match self {
            Case::ParallelInsert => ("Parallel insert into one map", "entries"),
            Case::ProducerConsumer => ("Producers and consumers", "blocks"),
        }
    }

    /// Does the work once.
    pub fn run(self, threads: u32, quick: bool) -> Figure {
        let operations = match (self, quick) {
            (_, true) => 20_000,
            (Case::ParallelInsert, false) => 1_000_000,
            (Case::ProducerConsumer, false) => 4_000_000,
        };
        let (time, proof) = match self {
            Case::ParallelInsert => parallel_insert(threads.into(), operations),
            Case::ProducerConsumer if threads == 1 => by_turns(operations),
            Case::ProducerConsumer => producer_consumer(threads.into(), operations),
        };
        Figure { case: self, threads, operations, nanoseconds: time.as_nanos() as u64, proof }
    }
}

/// The part of `all` that falls to one of so many: a range without gaps between it and the next one's.
fn share(all: u64, index: u64, of: u64) -> std::ops::Range<u64> {
    all * index / of..all * (index + 1) / of
}

fn parallel_insert(threads: u64, operations: u64) -> (Duration, u64) {
    let map = Map::<Vec<u8>, Vec<u8>>::new(Backend::Sharded);
    let barrier = Barrier::new(threads as usize);
    let insert = |index| {
        barrier.wait();
        let began = Instant::now();
        for n in share(operations, index, threads) {
            map.insert(n.to_le_bytes().repeat(2), vec![n as u8; 16 + (n % 64) as usize]);
        }
        (began, Instant::now())
    };
    let time = together(threads, insert);
    let proof = map.fold(0u64, |sum, key, value| sum + u64::from(key[0]) + value.len() as u64);
    (time, proof)
}

/// The `n`th block.
fn block(n: u64) -> Vec<u8> {
    let length = 64 + (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize % 961;
    let mut block = Vec::with_capacity(length);
    block.resize(64, n as u8);
    block
}

fn read(block: &[u8]) -> u64 {
    u64::from(black_box(block)[63])
}

fn by_turns(operations: u64) -> (Duration, u64) {
    let began = Instant::now();
    let (mut sum, mut bulk) = (0, Vec::with_capacity(BULK));
    for first in (0..operations).step_by(BULK) {
        bulk.extend((first..operations.min(first + BULK as u64)).map(block));
        sum += bulk.drain(..).map(|block| read(&block)).sum::<u64>();
    }
    (began.elapsed(), sum)
}

fn producer_consumer(threads: u64, operations: u64) -> (Duration, u64) {
    let consumers = threads / 2;
    let producers = threads - consumers;
    let ring = Ring::<Vec<u8>>::new(BETWEEN).expect("a capacity that a ring takes");
    let barrier = Barrier::new(threads as usize);
    let (still_producing, sum) = (AtomicU64::new(producers), AtomicU64::new(0));
    let work = |index| {
        barrier.wait();
        let began = Instant::now();
        let mut bulk = Vec::with_capacity(BULK);
        if index < producers {
            let mine = share(operations, index, producers);
            let mut next = mine.start;
            while next < mine.end {
                let end = mine.end.min(next + BULK as u64);
                bulk.extend((next..end).map(block));
                ring.push_all(&mut bulk).expect("nobody closes it before the last producer");
                next = end;
            }
            if still_producing.fetch_sub(1, Relaxed) == 1 {
                ring.close();
            }
        } else {
            let mut own = 0;
            while ring.pop_bulk_until(&mut bulk, BULK, || false, None).is_ok() {
                own += bulk.drain(..).map(|block| read(&block)).sum::<u64>();
            }
            sum.fetch_add(own, Relaxed);
        }
        (began, Instant::now())
    };
    let time = together(threads, work);
    (time, sum.into_inner())
}

/// Runs so many threads, and says how long it took from the first that began to the last that ended.
fn together(threads: u64, work: impl Fn(u64) -> (Instant, Instant) + Sync) -> Duration {
    let spans: Vec<_> = thread::scope(|scope| {
        let work = &work;
        let started: Vec<_> = (0..threads).map(|index| scope.spawn(move || work(index))).collect();
        started.into_iter().map(|thread| thread.join().expect("a thread of the study panicked")).collect()
    });
    let began = spans.iter().map(|span| span.0).min();
    let ended = spans.iter().map(|span| span.1).max();
    began.zip(ended).map_or(Duration::ZERO, |(began, ended)| ended - began)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_is_the_same_at_every_thread_count() {
        for case in Case::ALL {
            let alone = case.run(1, true);
            for threads in [2, 3, 5] {
                let figure = case.run(threads, true);
                assert_eq!((figure.proof, figure.operations), (alone.proof, alone.operations), "{case:?}, {threads}");
            }
        }
    }
}
