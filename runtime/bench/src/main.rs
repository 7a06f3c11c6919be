//! The runtime beside its peers, in one run on one machine.
//!
//! `cargo run --release -p rheostat-bench -- counters|words [PATH]|all`. Figures of a shared machine move; what counts
//! are the ratios, with their spread. Every table prints what proves that the work was equal.

mod counters;
mod measure;
mod words;

use mimalloc::MiMalloc;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const USAGE: &str = "usage: rheostat-bench counters | words [PATH..] | all

  counters      what an increment and a histogram record cost, by threads
  words PATH    word count of the files below PATH: hosted pipeline, rayon by hand, one plain thread;
                without PATH, 128 MB made from the repository's own text
  all           each of them";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let case = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    measure::describe_machine();
    match case.as_str() {
        "counters" => counters::run(),
        "words" => words::run(&rest),
        "all" => {
            counters::run();
            words::run(&rest);
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
