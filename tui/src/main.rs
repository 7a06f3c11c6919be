//! `rheostat`: see `rheostat --help`.

use clap::Parser;
use rheostat_tui::command::{self, Cli};
use rheostat_tui::exit::{Exit, Failure};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread beside this one, which owns the terminal: there is one stream to read, four times a second.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let exit = runtime.block_on(command::run(cli));
            // Whoever still reads keys or waits for an answer is not waited for.
            runtime.shutdown_background();
            exit.into()
        }
        Err(error) => {
            Failure::new(Exit::Error, "no thread could be started").because(error).print();
            Exit::Error.into()
        }
    }
}
