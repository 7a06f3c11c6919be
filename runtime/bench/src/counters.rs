//! What counting costs: N threads add to one counter, or record into one histogram, 20 million times together.

use crate::measure::{Contender, compare, pin};
use rheostat_runtime::observe::{Cells, Spread};
use rheostat_runtime::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Barrier;
use std::time::Instant;

const ADDS: u64 = 20_000_000;

/// Nanoseconds an operation took of the wall, with all threads at it at once.
fn per_op(threads: usize, op: impl Fn(u64) + Sync) -> f64 {
    let each = ADDS / threads as u64;
    let barrier = Barrier::new(threads);
    let run = &|core| {
        pin(core);
        barrier.wait();
        let began = Instant::now();
        (0..each).for_each(&op);
        began.elapsed()
    };
    let slowest = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|core| scope.spawn(move || run(core))).collect();
        handles.into_iter().map(|handle| handle.join().expect("a bench thread panicked")).max().unwrap_or_default()
    });
    slowest.as_nanos() as f64 / each as f64
}

/// Prints the tables.
pub fn run() {
    for threads in [1, 2, 4] {
        let cells = Cells::<4>::new();
        let shared = AtomicU64::new(0);
        let title = format!("increment, {threads} threads, ns per increment of one thread");
        compare(
            &title,
            "ns",
            7,
            vec![
                Contender::new("one shared fetch_add", || {
                    (per_op(threads, |_| _ = shared.fetch_add(1, Relaxed)), shared.load(Relaxed))
                }),
                Contender::new("Cells", || (per_op(threads, |_| cells.add(1, 1)), cells.sum(1))),
            ],
        );
        let spread = Spread::new();
        let mutexed = std::sync::Mutex::new(vec![0u64; 1024]);
        let title = format!("histogram record, {threads} threads, ns per record of one thread");
        compare(
            &title,
            "ns",
            5,
            vec![
                Contender::new("one histogram behind a mutex", || {
                    let record = |n: u64| mutexed.lock().expect("nobody panics here")[(n & 1023) as usize] += 1;
                    let time = per_op(threads, record);
                    (time, mutexed.lock().expect("nobody panics here").iter().sum())
                }),
                Contender::new("Spread", || {
                    (per_op(threads, |n| spread.record(n & 0xffff)), spread.snapshot().count())
                }),
            ],
        );
    }
}
