//! The allocator study: the same parallel inserts and the same producers and consumers under the system's allocator,
//! mimalloc and jemalloc, at one thread and more, with speed-up and efficiency.
//!
//! `cargo run --release -p rheostat-allocators`. What each case is stands in [`case`]; a global allocator is fixed for
//! the life of a process, so each repetition is a process of its own ([`study`]). Figures of a shared machine move;
//! what counts are ratios within a table, with their spread.

mod case;
mod chosen;
mod report;
mod study;

use chosen::{Allocator, Chosen};
use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static GLOBAL: Chosen = Chosen;

/// The same concurrent work under the system's allocator, mimalloc and jemalloc, by threads.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// Answer in JSON instead of Markdown
    #[arg(long)]
    json: bool,
    /// Threads, as in 1,2,4 [default: powers of two up to the number of cores, and that]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Vec<u32>,
    /// Repetitions of each figure
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: u32,
    /// Little work, so as to see that everything runs; proves nothing
    #[arg(long)]
    quick: bool,
    /// Does the work itself, under the allocator this process has; what the study executes
    #[arg(long, hide = true)]
    work: bool,
}

impl Cli {
    /// The thread counts of the study, each once, in order.
    fn threads(&self) -> Vec<u32> {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let mut threads = self.threads.clone();
        if threads.is_empty() {
            threads.extend(std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < cores).chain([cores]));
        }
        threads.sort_unstable();
        threads.dedup();
        threads
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.work {
        return study::work(&cli);
    }
    match study::run(&cli) {
        Ok(study) if cli.json => report::json(&study),
        Ok(study) => report::markdown(&study),
        Err(why) => {
            eprintln!("rheostat-allocators: {why}");
            ExitCode::FAILURE
        }
    }
}
