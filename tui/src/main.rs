//! `rheostat`: see `rheostat --help`.

use clap::Parser;
use mimalloc::MiMalloc;
use rheostat_tui::command::{self, Cli};
use rheostat_tui::exit::{Exit, Failure};
use std::process::ExitCode;

#[global_allocator]
#[cfg(feature = "embedded")]
static ALLOCATOR: rheostat_daemon::Tracked<MiMalloc> = rheostat_daemon::Tracked::new(MiMalloc);
#[global_allocator]
#[cfg(not(feature = "embedded"))]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Also where the command line itself is wrong.
    let json = std::env::args_os().take_while(|argument| argument != "--").any(|argument| argument == "--json");
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(wrong) if json && wrong.use_stderr() => {
            let text = wrong.render().to_string();
            Failure::usage(text.trim_end().trim_start_matches("error: ")).print(json);
            return Exit::Usage.into();
        }
        // Help, the version, or what is wrong, each where it belongs.
        Err(other) => other.exit(),
    };
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
            Failure::new(Exit::Error, "no thread could be started").because(error).print(json);
            Exit::Error.into()
        }
    }
}
