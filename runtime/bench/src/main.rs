//! The runtime beside its peers, in one run on one machine.
//!
//! `cargo run --release -p rheostat-bench -- alloc|counters|reclaim|words [PATH]|batches [PATH]|all`. Figures of a
//! shared machine move; what counts are the ratios, with their spread. Every table prints what proves that the work was
//! equal. Queues and maps are measured in `runtime/peers`.

mod alloc;
mod counters;
mod measure;
mod reclaim;
mod words;

use mimalloc::MiMalloc;
use std::process::ExitCode;

#[global_allocator]
#[cfg(not(feature = "tracked"))]
static ALLOCATOR: MiMalloc = MiMalloc;
#[global_allocator]
#[cfg(feature = "tracked")]
static ALLOCATOR: rheostat_runtime::alloc::Tracked<MiMalloc> = rheostat_runtime::alloc::Tracked::new(MiMalloc);

const USAGE: &str = "usage: rheostat-bench alloc | counters | reclaim | words [PATH..] | batches [PATH..] | all

  alloc         what it costs to know who allocates, per allocation and free
  counters      what an increment and a histogram record cost, by threads
  reclaim       what a pin costs, beside crossbeam-epoch's and seize's
  words PATH    word count of the files below PATH: hosted pipeline, rayon by hand, one plain thread;
                without PATH, 128 MB made from the repository's own text
  batches PATH  the same word count by where its batches live: on the heap, or in a pool at each level
  all           each of them";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let case = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    measure::describe_machine();
    match case.as_str() {
        "alloc" => unpinned(alloc::run),
        "counters" => unpinned(counters::run),
        "reclaim" => unpinned(reclaim::run),
        "words" => unpinned(|| words::run(&rest)),
        "batches" => unpinned(|| words::run_batches(&rest)),
        "all" => {
            unpinned(alloc::run);
            unpinned(counters::run);
            unpinned(reclaim::run);
            unpinned(|| words::run(&rest));
            unpinned(|| words::run_batches(&rest));
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Runs a case on a thread of its own: cases pin the thread they are on, and what comes next would inherit that.
fn unpinned(case: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(case);
    });
}
