//! The runtime's queues and maps beside those that a user would otherwise take, in one run on one machine.
//!
//! What each case is stands in the README beside this crate. Figures of a shared machine move; what counts are the ratios
//! within a table, with their spread.

mod measure;
mod memory;
mod queues;
mod maps;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

const USAGE: &str = "usage: rheostat-peers queues|maps|handover [--quick] [--seed N] [--entries N]

  queues     our queues beside rtrb, crossbeam's, kanal and concurrent-queue (and moodycamel's)
  maps       our map on every backend beside std's, dashmap, papaya, scc and flurry (and libcuckoo's, oneTBB's, libcds's)
  handover   a map that moves from each backend to each other under load, and what it costs to be able to
  --quick    few repetitions of little work: shows that everything runs, proves nothing
  --seed N   instead of a random one
  --entries N  maps of that size only, of those that there are; of any size for handover

In brackets: with `--features cpp`, after runtime/peers/fetch-cpp.";

/// How much is to be done, and on what.
#[derive(Clone, Copy)]
struct Options {
    quick: bool,
    seed: u64,
    /// The only size of maps that is wanted.
    entries: Option<usize>,
}

impl Options {
    /// Undisturbed repetitions of each contender.
    fn repetitions(self) -> usize {
        if self.quick { 2 } else { 9 }
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let case = arguments.next().unwrap_or_default();
    let mut options = Options { quick: false, seed: fastrand::u64(..), entries: None };
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), &mut arguments) {
            ("--quick", _) => options.quick = true,
            ("--seed", rest) => match rest.next().and_then(|seed| seed.parse().ok()) {
                Some(seed) => options.seed = seed,
                None => return misused(),
            },
            ("--entries", rest) => match rest.next().and_then(|entries| entries.parse().ok()) {
                Some(entries) => options.entries = Some(entries),
                None => return misused(),
            },
            _ => return misused(),
        }
    }
    let run = match case.as_str() {
        "queues" => queues::run,
        "maps" => maps::run,
        "handover" => maps::handover::run,
        _ => return misused(),
    };
    measure::describe_run(options);
    run(options);
    ExitCode::SUCCESS
}

fn misused() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
