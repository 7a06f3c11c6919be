//! What a pin costs: N threads take and drop a guard 20 million times each, nothing in between and nothing retired.

use crate::measure::{Contender, compare, pin};
use rheostat_runtime::reclaim::{self, Domain};
use std::sync::Barrier;
use std::time::Instant;

const PINS: u64 = 20_000_000;

/// Nanoseconds a pin and its end took of the wall, with all threads at it at once.
fn per_pin(threads: usize, pin_once: impl Fn() + Sync) -> (f64, u64) {
    let barrier = Barrier::new(threads);
    let run = &|core| {
        pin(core);
        barrier.wait();
        let began = Instant::now();
        (0..PINS).for_each(|_| pin_once());
        began.elapsed()
    };
    let slowest = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|core| scope.spawn(move || run(core))).collect();
        handles.into_iter().map(|handle| handle.join().expect("a bench thread panicked")).max().unwrap_or_default()
    });
    (slowest.as_nanos() as f64 / PINS as f64, PINS * threads as u64)
}

/// Prints the tables.
pub fn run() {
    for threads in [1, 2] {
        let (domain, collector) = (Domain::default(), seize::Collector::new());
        let title = format!("pin and unpin, {threads} threads, ns per pair of one thread");
        compare(
            &title,
            "ns",
            5,
            vec![
                Contender::new("crossbeam_epoch::pin", || per_pin(threads, || drop(crossbeam::epoch::pin()))),
                Contender::new("seize::Collector::enter", || {
                    per_pin(threads, || {
                        use seize::Guard;
                        let guard = collector.enter();
                        std::hint::black_box(guard.collector());
                    })
                }),
                Contender::new("reclaim::pin", || per_pin(threads, || drop(reclaim::pin()))),
                Contender::new("reclaim::pin, nested", || {
                    per_pin(threads, || {
                        let _outer = reclaim::pin();
                        drop(reclaim::pin());
                    })
                }),
                Contender::new("Domain::pin", || per_pin(threads, || drop(domain.pin()))),
            ],
        );
    }
}
