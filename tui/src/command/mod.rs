//! The command line: what can be asked for, and who answers it.

mod answer;
mod blocks;
mod heap;
mod interrupt;
mod knobs;
mod lists;
mod maps;
mod progress;
mod queues;
mod report;
mod runs;
mod spelling;
mod status;
mod sweep;

use crate::attach::{Hosting, Whereabouts};
use crate::exit::{Exit, Failure};
use crate::turn::Turn;
use crate::{dashboard, units};
use answer::Answer;
use clap::{Args, Parser, Subcommand};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  rheostat                                         the dashboard; starts a demo if need be
  rheostat --for 10s | cat                         a status line a second, then a summary
  rheostat resources                               what the daemon hosts
  rheostat get pipeline.words.count.workers        one knob
  rheostat set pipeline.words.count.workers=8      turn it while records flow
  rheostat map top map.words -n 5                  the entries of the greatest values
  rheostat map add map.words apples 3              count three more
  rheostat queue push queue.jobs first second      hand items over
  rheostat queue pop queue.jobs -n 10 --wait 5s    and take them out
  rheostat blocks pool.batches                     who has blocks of a pool, and since when
  rheostat heap --for 10s -o heap.pb.gz            what allocates, for `go tool pprof`
  rheostat run workloads/scripts/wordcount.toml --input README.md
  rheostat run map-ycsb-b --sweep backend=sharded,lock_free
  rheostat stream --count 1 --json                 one whole snapshot

Addresses: kind.name, as in map.words or pipeline.words; a stage is pipeline.words.count; a knob is appended.

The daemon is looked for at --socket, then at RHEOSTAT_SOCKET, then at the default under the runtime \
directory. A socket may also be the address of a daemon that listens on TCP, as in \
http://127.0.0.1:9747, with its token in RHEOSTAT_TOKEN. Where neither names one and none answers, the \
dashboard hosts a demo, and run a daemon, for as long as they last; a daemon that was named has to answer.

Exit codes:
  0  done; a run passed          4  a run failed a threshold
  1  an error while running      5  a run was inconclusive
  2  bad usage, file or value    6  a run was cancelled
  3  a run gave wrong results    7  no daemon answers
  128 + n  ended by signal n";

/// Watch and turn concurrency while it runs. Without a command: the dashboard.
#[derive(Debug, Parser)]
#[command(name = "rheostat", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    shared: Shared,
    /// Stop after this long, as in 500ms, 10s or 2m, with a summary (dashboard and status lines)
    #[arg(long = "for", value_name = "TIME", value_parser = units::parse_duration)]
    lasting: Option<Duration>,
    /// Draw with ASCII signs only; the default where the locale is not UTF-8
    #[arg(long)]
    ascii: bool,
}

#[derive(Debug, Args)]
struct Shared {
    /// Where the daemon listens: a socket's path, or http://HOST:PORT
    #[arg(long, global = true, env = "RHEOSTAT_SOCKET", hide_env_values = true, value_name = "PATH")]
    socket: Option<String>,
    /// Answer in JSON, one object a line; an error is one on stderr
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a resource, or one knob of it
    Get {
        /// pipeline.words.count, or pipeline.words.count.workers
        #[arg(value_name = "ADDRESS[.KNOB]")]
        address: String,
    },
    /// Turn knobs while the resource works
    Set {
        /// pipeline.words.count.workers=8
        #[arg(value_name = "ADDRESS.KNOB=VALUE", required = true)]
        turns: Vec<Turn>,
    },
    /// List what the daemon hosts
    Resources,
    /// List turned knobs: who, when, from, to, and what it did
    Changes {
        /// Only those after the change of this number
        #[arg(long, value_name = "ID", default_value_t = 0)]
        since: u64,
    },
    /// Print a status line, or with --json a whole snapshot, four times a second
    Stream {
        /// Stop after this many
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
    /// Read and change a hosted map
    #[command(subcommand)]
    Map(maps::Op),
    /// Push to a hosted queue, and pop from it
    #[command(subcommand)]
    Queue(queues::Op),
    /// Say who has blocks of a pool, by size class and, where it is guarded, by stage; and what its guard found
    Blocks {
        /// The pool's address: pool.batches
        address: blocks::PoolAddress,
    },
    /// Sample the heap: which lines of the program allocate what lives, in which stage; for pprof
    Heap(heap::Heap),
    /// Run a workload, show how far it is, print what came of it; exits by its verdict
    #[command(
        after_help = "Without a daemon to run it, this command hosts one itself for as long as the run takes.\nCtrl-C cancels the run, prints what was measured so far, and exits 6."
    )]
    Run(runs::Runs),
    /// Hand a workload to the daemon and leave
    Submit(runs::Workload),
    /// List runs, newest first
    Runs,
    /// Follow a run to its end; exits by its verdict
    Watch {
        /// As `rheostat runs` lists it
        id: String,
    },
    /// Cancel a run; what it measured so far is kept
    Cancel {
        /// As `rheostat runs` lists it
        id: String,
    },
    /// List the workloads that ship: what each shows, what to look at, what to turn
    Workloads,
    /// Say whether a workload is valid, without running it
    Check(runs::Workload),
}

/// Runs the command line to its end.
pub async fn run(cli: Cli) -> Exit {
    let mut answer = Answer::new(cli.shared.json);
    let ended = match Whereabouts::new(cli.shared.socket.as_deref(), cli.shared.json) {
        Ok(whereabouts) => dispatch(cli, whereabouts, &mut answer).await,
        Err(failure) => Err(failure),
    };
    match ended {
        // Whoever read the answer has seen enough of it: `rheostat map scan map.words | head`.
        _ if answer.reader_left() => Exit::Pass,
        Ok(exit) => exit,
        Err(failure) => {
            failure.print(answer.is_json());
            failure.exit()
        }
    }
}

async fn dispatch(cli: Cli, at: Whereabouts, answer: &mut Answer) -> Result<Exit, Failure> {
    let Some(command) = cli.command else {
        return watch_host(&at, cli.lasting, cli.ascii, cli.shared.json, answer).await;
    };
    if cli.lasting.is_some() {
        return Err(Failure::usage("--for goes with the dashboard and its status lines, not with a command"));
    }
    match command {
        Command::Get { address } => knobs::get(&at.client()?, &address, answer).await,
        Command::Set { turns } => knobs::set(&at.client()?, &turns, answer).await,
        Command::Resources => lists::resources(&at.client()?, answer).await,
        Command::Changes { since } => lists::changes(&at.client()?, since, answer).await,
        Command::Stream { count } => status::stream(&at.client()?, count, answer).await,
        Command::Map(op) => maps::run(&at.client()?, &op, answer).await,
        Command::Queue(op) => queues::run(&at.client()?, &op, answer).await,
        Command::Blocks { address } => blocks::run(&at.client()?, &address, answer).await,
        Command::Heap(heap) => heap::run(&at.client()?, &heap, answer).await,
        Command::Run(runs) => runs::run(&at, &runs, answer).await,
        Command::Submit(workload) => runs::submit(&at.client()?, &workload, answer).await,
        Command::Runs => lists::runs(&at.client()?, answer).await,
        Command::Watch { id } => runs::watch(&at.client()?, &id, answer).await,
        Command::Cancel { id } => runs::cancel(&at.client()?, &id, answer).await,
        Command::Workloads => runs::catalogue(&at, answer).await,
        Command::Check(workload) => runs::check(&at, &workload, answer).await,
    }
}

/// `rheostat` alone: the dashboard on a terminal, status lines anywhere else.
async fn watch_host(
    at: &Whereabouts,
    lasting: Option<Duration>,
    ascii: bool,
    json: bool,
    answer: &mut Answer,
) -> Result<Exit, Failure> {
    let on_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    let host = at.attach_or_start(Hosting::Demo).await?;
    let ended = if on_terminal && !dumb && !json {
        dashboard::run(&host, lasting, ascii).await
    } else {
        status::watch(&host, lasting, answer).await
    };
    host.leave().await;
    ended
}

/// The path as it is from anywhere: the daemon's working directory is not ours.
fn absolute(path: &std::path::Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::usage(format!("{} cannot be made an absolute path", path.display())).because(error))
}
