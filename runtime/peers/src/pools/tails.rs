//! How long the slowest operations take.

use super::heap::Heap;
use crate::measure::{self, Figure};
use rheostat_runtime::observe::{Spread, now};
use std::hint::black_box;

pub const COLUMNS: [&str; 6] =
    ["64 B, p99.9", "max", "16 B to 1 KiB, 1000 live, p99.9", "max", "the same on 2 threads, p99.9", "max"];

const LIVE: usize = 1000;
/// What takes longer than this may have lost its core meanwhile: it is asked.
const NOTABLE_NS: u64 = 1000;

/// What operations took, but for those during which their thread was kept waiting for a core.
struct Timed<'s> {
    spread: &'s Spread,
    waited: u64,
}

impl<'s> Timed<'s> {
    fn new(spread: &'s Spread) -> Self {
        Self { spread, waited: measure::waited_ns() }
    }

    #[inline]
    fn time(&mut self, operation: impl FnOnce()) {
        let began = now();
        operation();
        let took = began.elapsed().as_nanos() as u64;
        if took > NOTABLE_NS && self.lost_its_core() {
            return;
        }
        self.spread.record(took);
    }

    #[cold]
    fn lost_its_core(&mut self) -> bool {
        let waited = measure::waited_ns();
        waited != std::mem::replace(&mut self.waited, waited)
    }
}

fn figures(spread: &Spread) -> [Option<Figure>; 2] {
    let snapshot = spread.snapshot();
    let figure = |ns: u64| Figure { ns: ns as f64, disturbed: false };
    [snapshot.quantile(0.999).map(figure), Some(figure(snapshot.max()))]
}

/// A block taken and given back, so many times.
fn pairs<H: Heap>(heap: &H, spread: &Spread, operations: u64) {
    let mut timed = Timed::new(spread);
    for _ in 0..operations {
        timed.time(|| _ = black_box(H::start(&heap.take(black_box(64)))));
    }
}

/// One of [`LIVE`] blocks exchanged for one of another length, so many times. Filling them up is not timed.
fn exchanges<H: Heap>(heap: &H, spread: &Spread, seed: u64, operations: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut live: Vec<_> = (0..LIVE).map(|_| heap.take(random.usize(16..=1024))).collect();
    let mut timed = Timed::new(spread);
    for _ in 0..operations {
        let (place, len) = (random.usize(..LIVE), random.usize(16..=1024));
        timed.time(|| {
            live[place] = heap.take(len);
            black_box(H::start(&live[place]));
        });
    }
}

/// What one thread alone can be asked.
pub fn alone<H: Heap>(heap: impl Fn() -> H + Sync, seed: u64, operations: u64) -> Vec<Option<Figure>> {
    let (heap, pair, exchange) = (&heap, Spread::new(), Spread::new());
    measure::alone(operations, || pairs(&heap(), &pair, operations));
    measure::alone(operations, || exchanges(&heap(), &exchange, seed, operations));
    [figures(&pair), figures(&exchange), [None, None]].concat()
}

/// All of it.
pub fn shared<H: Heap + Sync>(heap: impl Fn() -> H + Sync, seed: u64, operations: u64) -> Vec<Option<Figure>> {
    const THREADS: u64 = 2;
    let mut tails = alone(&heap, seed, operations);
    let (heap, spread) = (heap(), Spread::new());
    let (heap, spread) = (&heap, &spread);
    let body = |index| -> Box<dyn FnOnce() + Send + '_> {
        Box::new(move || exchanges(heap, spread, seed + index, operations / THREADS))
    };
    measure::together(operations, (0..THREADS).map(body).collect());
    tails.splice(4.., figures(spread));
    tails
}
