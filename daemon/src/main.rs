//! `rheostatd`: a daemon from the command line.

mod log;

use clap::{Args, Parser, Subcommand};
use mimalloc::MiMalloc;
use rheostat_daemon::{Asked, Config, Daemon, Origin, Overrides, Signals, allocator, config, start};
use rheostat_runtime::alloc::Tracked;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Tracked<MiMalloc> = Tracked::new(MiMalloc);

/// Prints a line for people. A closed standard error is no reason to die, as `eprintln` would.
macro_rules! say {
    ($($words:tt)*) => {{
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

/// Hosts concurrent resources, shows where they contend, and lets you turn their knobs while they run.
///
/// Without a configuration file it hosts a demo. SIGTERM and SIGINT drain what was taken in and stop, a second one ends it at
/// once; SIGHUP reads the configuration again and says in the log what is wrong with it or takes effect at the next start,
/// nothing else. Exit codes: 0 stopped as asked, 1 stopped with something left
/// undrained, 2 wrong configuration or arguments, 3 could not start, 130 or 143 ended at once by a second signal.
#[derive(Parser)]
#[command(name = "rheostatd", version, args_conflicts_with_subcommands = true, args_override_self = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Command {
    /// Checks a configuration and prints what would be in force, every default included.
    Check {
        /// Configuration file; the same as --config.
        #[arg(value_name = "FILE", conflicts_with = "config")]
        file: Option<PathBuf>,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Args)]
struct Settings {
    /// Configuration file; the demo without one.
    #[arg(long, value_name = "FILE", env = "RHEOSTAT_CONFIG")]
    config: Option<PathBuf>,
    /// Control socket.
    #[arg(long, value_name = "PATH", env = "RHEOSTAT_SOCKET")]
    socket: Option<PathBuf>,
    /// Also take control requests on TCP; loopback only, by token.
    #[arg(long, value_name = "ADDRESS:PORT", env = "RHEOSTAT_LISTEN")]
    listen: Option<String>,
    /// Where Prometheus scrapes, or `off` [default: 127.0.0.1:9746].
    #[arg(long, value_name = "ADDRESS:PORT", env = "RHEOSTAT_METRICS")]
    metrics: Option<String>,
    /// Folder of journal, token and results.
    #[arg(long, value_name = "FOLDER", env = "RHEOSTAT_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

impl Settings {
    fn load(self) -> Result<Config, ExitCode> {
        let Settings { config, socket, listen, metrics, state_dir } = self;
        let overrides = Overrides { config, socket, listen, metrics, metrics_may_move: false, state_dir };
        Config::load(&overrides).map_err(|faults| {
            say!("{faults}");
            ExitCode::from(2)
        })
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Some(Command::Check { file, settings }) => {
            Settings { config: file.or(settings.config), ..settings }.load().map(|config| {
                let warnings = config.warnings().into_iter().chain(config::unknown_variables());
                warnings.for_each(|warning| say!("warning: {warning}"));
                match write!(std::io::stdout(), "{config}\n# mimalloc {}\n", allocator::version()) {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(_) => ExitCode::FAILURE,
                }
            })
        }
        None => cli.settings.load().map(serve),
    };
    outcome.unwrap_or_else(|code| code)
}

fn serve(config: Config) -> ExitCode {
    log::begin();
    // Before anything is begun: this may be the end of this program and the beginning of the same.
    if let Err(error) = allocator::enforce(&config.allocator) {
        tracing::error!(%error, "cannot be executed anew to give the allocator its options; set MIMALLOC_* instead");
        return ExitCode::from(3);
    }
    match &config.origin {
        Origin::Demo => {
            tracing::info!("no configuration file, so this hosts the demo; name a file with --config")
        }
        origin => tracing::info!("hosts what {origin} says"),
    }
    config::unknown_variables().iter().for_each(|warning| tracing::warn!("{warning}"));
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!("{error}");
        ExitCode::from(3)
    };
    // For signals alone: the daemon brings its own threads.
    let waiter = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(waiter) => waiter,
        Err(error) => return failed(&error),
    };
    waiter.block_on(async {
        // Taken before the start, so that a signal during it is not lost.
        let mut signals = match Signals::take() {
            Ok(signals) => signals,
            Err(error) => return failed(&error),
        };
        match start(config) {
            Ok(daemon) => until_stopped(daemon, &mut signals).await,
            Err(error) => failed(&error),
        }
    })
}

async fn until_stopped(daemon: Daemon, signals: &mut Signals) -> ExitCode {
    for listener in daemon.listeners() {
        tracing::info!("{listener}");
    }
    while signals.next().await == Asked::Reload {
        daemon.reload();
    }
    tracing::info!("stopping; a second signal ends it at once");
    let stopping = tokio::task::spawn_blocking(|| daemon.stop());
    let stopped = tokio::select! {
        stopped = stopping => stopped,
        code = signals.insisted() => {
            tracing::info!("ended at once");
            std::process::exit(code);
        }
    };
    match stopped {
        Ok(stopped) if stopped.hung.is_empty() => ExitCode::SUCCESS,
        Ok(stopped) => {
            tracing::error!("stopped with something left: {}", stopped.hung.join(", "));
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}
