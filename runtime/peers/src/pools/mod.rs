//! Allocators of blocks. The cases are defined in the README.

mod heap;
mod tails;
#[cfg(feature = "zipora")]
mod zipora;

use crate::Options;
use crate::measure::{self, Contender, Figure};
use heap::{Direct, Heap, Local, Nothing, Ours};
use mimalloc::MiMalloc;
use rheostat_runtime::pool::Level;
use std::alloc::System;
use std::hint::black_box;
use std::sync::mpsc;

const LIVE: usize = 1000;
const PAIRS: u64 = 4_000_000;
/// Operations of which the slowest are looked for.
const TIMED: u64 = 10_000_000;
const TIMED_QUICK: u64 = 200_000;

/// Takes a block and gives it back, so many times.
fn pairs<H: Heap>(heap: &H, len: usize, pairs: u64) {
    for _ in 0..pairs {
        let held = heap.take(black_box(len));
        black_box(H::start(&held));
    }
}

/// Exchanges one of [`LIVE`] blocks for one of another length, so many times.
fn exchanges<H: Heap>(heap: &H, seed: u64, exchanges: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut live: Vec<_> = (0..LIVE).map(|_| heap.take(random.usize(16..=1024))).collect();
    for _ in 0..exchanges {
        let place = random.usize(..LIVE);
        live[place] = heap.take(random.usize(16..=1024));
        black_box(H::start(&live[place]));
    }
}

/// One thread takes blocks and sends them, by the hundred, to another that gives them back.
fn handed_over<H: Heap + Sync>(heap: &H, blocks: u64) -> Figure
where
    for<'a> H::Held<'a>: Send,
{
    const RUN: u64 = 100;
    let (sender, receiver) = mpsc::sync_channel::<Vec<H::Held<'_>>>(8);
    let bodies: Vec<Box<dyn FnOnce() + Send + '_>> = vec![
        Box::new(move || {
            for _ in 0..blocks / RUN {
                sender.send((0..RUN).map(|_| heap.take(64)).collect()).expect("the other thread receives");
            }
        }),
        Box::new(move || receiver.into_iter().for_each(drop)),
    ];
    measure::together(blocks, bodies).0
}

fn on_threads<H: Heap + Sync>(heap: &H, threads: u64, work: impl Fn(&H, u64) + Sync) -> Figure {
    let work = &work;
    let body = |index| -> Box<dyn FnOnce() + Send + '_> { Box::new(move || work(heap, index)) };
    measure::together(PAIRS, (0..threads).map(body).collect()).0
}

const COLUMNS: [&str; 9] = [
    "64 B, 1 thread",
    "2 threads",
    "8 threads",
    "256 B",
    "1 KiB",
    "16 B to 1 KiB, 1000 live",
    "2 threads",
    "one takes, one gives back",
    "64 KiB",
];

/// What one thread alone can be asked: the figures of an allocator that is not shared.
fn alone<H: Heap>(heap: impl Fn() -> H + Sync, seed: u64) -> Vec<Option<Figure>> {
    let heap = &heap;
    let pair = |len| Some(measure::alone_with(PAIRS, heap, move |heap| pairs(heap, len, PAIRS)).0);
    let random = Some(measure::alone_with(PAIRS, heap, move |heap| exchanges(heap, seed, PAIRS)).0);
    vec![pair(64), None, None, pair(256), pair(1024), random, None, None, pair(65_536)]
}

fn shared<H: Heap + Sync>(heap: impl Fn() -> H + Sync, seed: u64) -> Vec<Option<Figure>>
where
    for<'a> H::Held<'a>: Send,
{
    let mut figures = alone(&heap, seed);
    let side_by_side = |threads| Some(on_threads(&heap(), threads, |heap, _| pairs(heap, 64, PAIRS / threads)));
    figures[1] = side_by_side(2);
    figures[2] = side_by_side(8);
    figures[6] = Some(on_threads(&heap(), 2, |heap, index| exchanges(heap, seed + index, PAIRS / 2)));
    figures[7] = Some(handed_over(&heap(), PAIRS / 4));
    figures
}

type Run = Box<dyn FnMut(u64) -> Vec<Option<Figure>>>;

/// Who takes part: a name, and a repetition of both tables.
struct Peer {
    name: String,
    speed: Run,
    tail: Run,
}

impl Peer {
    fn shared<H: Heap + Sync>(name: &str, timed: u64, heap: impl Fn() -> H + Sync + Copy + 'static) -> Self
    where
        for<'a> H::Held<'a>: Send,
    {
        Self {
            name: name.to_owned(),
            speed: Box::new(move |seed| shared(heap, seed)),
            tail: Box::new(move |seed| tails::shared(heap, seed, timed)),
        }
    }

    fn alone<H: Heap>(name: &str, timed: u64, heap: impl Fn() -> H + Sync + Copy + 'static) -> Self {
        Self {
            name: name.to_owned(),
            speed: Box::new(move |seed| alone(heap, seed)),
            tail: Box::new(move |seed| tails::alone(heap, seed, timed)),
        }
    }
}

fn peers(timed: u64) -> Vec<Peer> {
    let mut peers = vec![Peer::alone("*local", timed, Local::new)];
    for level in Level::ALL {
        let (name, heap) = (format!("*{level}"), move || Ours::at(level));
        peers.push(match level {
            Level::Unlocked => Peer::alone(&name, timed, heap),
            _ => Peer::shared(&name, timed, heap),
        });
    }
    peers.push(Peer::shared("mimalloc", timed, || Direct(MiMalloc)));
    #[cfg(feature = "jemalloc")]
    peers.push(Peer::shared("jemalloc", timed, || Direct(tikv_jemallocator::Jemalloc)));
    peers.push(Peer::shared("glibc", timed, || Direct(System)));
    #[cfg(feature = "zipora")]
    {
        use ::zipora::memory::five_level_pool as zipora_pools;
        use zipora::{Level as _, Owned, Zipora};
        peers.extend([
            Peer::alone("zipora no-lock", timed, || Zipora(Owned::<zipora_pools::NoLockingPool>::new())),
            Peer::shared("zipora mutex", timed, || Zipora(<zipora_pools::MutexBasedPool as zipora::Level>::new())),
            Peer::shared("zipora lock-free", timed, || Zipora(<zipora_pools::LockFreePool as zipora::Level>::new())),
            Peer::shared("zipora thread-local", timed, || {
                Zipora(<zipora_pools::ThreadLocalPool as zipora::Level>::new())
            }),
            Peer::alone("zipora fixed", timed, || Zipora(Owned::<zipora_pools::FixedCapacityPool>::new())),
        ]);
    }
    peers
}

/// Runs and prints the tables.
pub fn run(options: Options) {
    let timed = if options.quick { TIMED_QUICK } else { TIMED };
    let mut contenders = Vec::new();
    let mut timed_ones = vec![Contender {
        name: "nothing, the clock alone".to_owned(),
        run: Box::new(move |seed| tails::shared(|| Nothing, seed, timed)),
        remark: format!("{timed} operations each"),
    }];
    for Peer { name, speed, tail } in peers(timed) {
        timed_ones.push(Contender { name: name.clone(), run: tail, remark: format!("{timed} operations each") });
        contenders.push(Contender { name, run: speed, remark: format!("{PAIRS} pairs each") });
    }
    let rows = measure::repeat(options, contenders);
    measure::print("Pools: ns for a block taken and given back", &COLUMNS, "equal work", &rows);
    let rows = measure::repeat(options, timed_ones);
    measure::print("Pools: the slowest, ns for a block taken and given back", &tails::COLUMNS, "equal work", &rows);
}
