//! The runtime's queues, maps and pools beside those that a user would otherwise take, in one run on one machine.
//!
//! What each case is stands in the README beside this crate. Figures of a shared machine move; what counts are the
//! ratios within a table, with their spread.

mod measure;
mod memory;
mod queues;
mod maps;
mod pools;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

const USAGE: &str = "usage: rheostat-peers queues|maps|handover|pools [--quick] [--seed N] [--entries N] [--threads N]
                      [--repetitions N] [--only NAME,NAME..]

  queues     our queues beside rtrb, crossbeam's, kanal and concurrent-queue (and moodycamel's)
  maps       our map on every backend beside std's, dashmap, papaya, scc and flurry (and libcuckoo's, oneTBB's, libcds's)
  handover   a map that moves from each backend to each other under load, and what it costs to be able to
  pools      our pool at every level beside mimalloc and glibc's malloc, called directly (and jemalloc, zipora's levels)
  --quick    few repetitions of little work: shows that everything runs, proves nothing
  --seed N   instead of a random one
  --entries N  maps of that size only
  --threads N  maps under so many threads only, of the numbers that there are
  --repetitions N  undisturbed ones of each contender; otherwise 9
  --only NAME,NAME..  contenders whose names begin with one of these; stars of ours left out; moves by flat-fixed, or flat-
                      for all from there

In brackets: with `--features cpp`, after runtime/peers/fetch-cpp; `--features jemalloc`; `--features zipora`.";

/// How much is to be done, and on what.
#[derive(Clone, Copy)]
struct Options {
    quick: bool,
    seed: u64,
    /// The only size of maps that is wanted.
    entries: Option<usize>,
    /// The only number of threads on a map that is wanted.
    threads: Option<usize>,
    repetitions: Option<usize>,
    /// What the contenders' names are to begin with, separated by commas. A program has one command line, which may
    /// stay.
    only: Option<&'static str>,
}

impl Options {
    /// Undisturbed repetitions of each contender.
    fn repetitions(self) -> usize {
        self.repetitions.unwrap_or(if self.quick { 2 } else { 9 })
    }

    /// Whether a contender is to take part.
    fn wants(self, name: &str) -> bool {
        let name = name.trim_start_matches('*');
        self.only.is_none_or(|only| only.split(',').any(|begin| name.starts_with(begin)))
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let case = arguments.next().unwrap_or_default();
    let seed = fastrand::u64(..);
    let mut options = Options { quick: false, seed, entries: None, threads: None, repetitions: None, only: None };
    while let Some(argument) = arguments.next() {
        let understood = match argument.as_str() {
            "--quick" => {
                options.quick = true;
                Some(())
            }
            "--seed" => number(&mut arguments).map(|seed| options.seed = seed),
            "--entries" => number(&mut arguments).map(|entries| options.entries = Some(entries)),
            "--threads" => number(&mut arguments).map(|threads| options.threads = Some(threads)),
            "--repetitions" => number(&mut arguments).map(|repetitions| options.repetitions = Some(repetitions)),
            "--only" => arguments.next().map(|only| options.only = Some(only.leak())),
            _ => None,
        };
        if understood.is_none() {
            return misused();
        }
    }
    let run = match case.as_str() {
        "queues" => queues::run,
        "maps" => maps::run,
        "handover" => maps::handover::run,
        "pools" => pools::run,
        _ => return misused(),
    };
    measure::describe_run(options);
    run(options);
    ExitCode::SUCCESS
}

fn number<N: std::str::FromStr>(arguments: &mut impl Iterator<Item = String>) -> Option<N> {
    arguments.next()?.parse().ok()
}

fn misused() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
