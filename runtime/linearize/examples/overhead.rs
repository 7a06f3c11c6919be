//! What recording adds to an operation: `cargo run --release -p rheostat-linearize --example overhead`.

use rheostat_linearize::Recorder;
use std::hint::black_box;
use std::time::Instant;

const OPERATIONS: u64 = 1_000_000;

fn main() {
    let recorder = Recorder::new();
    let mut figures: Vec<f64> = (0..9)
        .map(|_| {
            let mut log = recorder.log(0);
            let began = Instant::now();
            for number in 0..OPERATIONS {
                log.record(number, |number| black_box(*number));
            }
            let ns = began.elapsed().as_nanos() as f64 / OPERATIONS as f64;
            assert_eq!(log.into_operations().len() as u64, OPERATIONS);
            ns
        })
        .collect();
    figures.sort_by(f64::total_cmp);
    println!("{:.0} ns an operation ({:.0}..{:.0})", figures[4], figures[0], figures[8]);
}
