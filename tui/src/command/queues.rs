//! `queue push|pop`.

use super::answer::Answer;
use super::spelling::{Spelling, address};
use crate::exit::{Exit, Failure};
use crate::units;
use clap::Subcommand;
use rheostat_api::{ByteString, Client, Pop, Push, Pushed};
use serde::Serialize;
use std::io::{BufRead, IsTerminal};
use std::time::Duration;

/// How many lines of standard input one push carries, and about how many bytes: far below what a daemon takes.
const LINES: usize = 1000;
const BYTES: usize = 1 << 20;

/// What is done with a queue.
#[derive(Debug, Subcommand)]
pub enum Op {
    /// Push items in their order; exits 1 when not all were accepted
    #[command(
        after_help = "Items are accepted from the first on; those after one that the queue had no room for are not tried. How many were accepted is printed in any case, so that you know which are still yours."
    )]
    Push {
        /// The queue's address: queue.jobs
        address: QueueAddress,
        /// The items, after -- where one begins with a hyphen; without any, each line of standard input is one
        #[arg(value_name = "ITEM")]
        items: Vec<String>,
        /// Wait this long for room, as in 500ms or 5s
        #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
        wait: Option<Duration>,
        #[command(flatten)]
        spelling: Spelling,
    },
    /// Pop items and print them, a line each; exits 1 when there was none
    #[command(
        after_help = "What is printed is out of the queue, and what was sent here and could not be printed is lost: a pop delivers at most once. One that is interrupted while the queue is empty takes nothing."
    )]
    Pop {
        /// The queue's address: queue.jobs
        address: QueueAddress,
        /// At most this many
        #[arg(short, value_name = "N", default_value_t = 1)]
        n: usize,
        /// Wait this long for the first, as in 500ms or 5s
        #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
        wait: Option<Duration>,
        #[command(flatten)]
        spelling: Spelling,
    },
}

/// `queue.NAME`.
#[derive(Debug, Clone)]
pub struct QueueAddress(String);

impl std::str::FromStr for QueueAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        address("queue", text).map(Self)
    }
}

/// An item as it is told to scripts.
#[derive(Serialize)]
struct Item<'a> {
    item: &'a ByteString,
}

/// Does it and says what came of it.
pub async fn run(client: &Client, op: &Op, answer: &mut Answer) -> Result<Exit, Failure> {
    match op {
        Op::Push { address, items, wait, spelling } => {
            let mut push = Pushing { client, queue: &address.0, wait_ms: millis(*wait), pushed: 0 };
            let ended = if items.is_empty() {
                push.lines(spelling).await
            } else {
                let items: Result<_, _> = items.iter().map(|item| spelling.read(item)).collect();
                push.items(items?).await
            };
            // Also when it ended early: those are in the queue.
            if answer.is_json() {
                answer.object(&Pushed { pushed: push.pushed, error: None })?;
            } else {
                answer.line(format_args!("{} pushed", push.pushed))?;
            }
            answer.flush()?;
            ended.map(|()| Exit::Pass)
        }
        Op::Pop { address, n, wait, spelling } => {
            let items = client.queue_pop(&address.0, &Pop { max: *n, wait_ms: millis(*wait) }).await?;
            if items.is_empty() {
                return Err(Failure::new(Exit::Error, format!("queue.{} is empty", address.0))
                    .advise("wait for an item with --wait 10s"));
            }
            for item in &items {
                if answer.is_json() { answer.object(&Item { item })? } else { answer.line(spelling.bytes(item))? }
            }
            answer.flush()?;
            Ok(Exit::Pass)
        }
    }
}

fn millis(wait: Option<Duration>) -> u64 {
    wait.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

/// A push of any number of items, and how far it got.
struct Pushing<'a> {
    client: &'a Client,
    queue: &'a str,
    wait_ms: u64,
    pushed: usize,
}

impl Pushing<'_> {
    async fn items(&mut self, items: Vec<ByteString>) -> Result<(), Failure> {
        let sent = items.len();
        let Pushed { pushed, error } =
            self.client.queue_push(self.queue, &Push { items, wait_ms: self.wait_ms }).await?;
        self.pushed += pushed;
        match error {
            None => Ok(()),
            Some(problem) => {
                Err(Failure::new(Exit::Error, format!("{} of the last {sent} items were not pushed", sent - pushed))
                    .because(problem.detail))
            }
        }
    }

    async fn lines(&mut self, spelling: &Spelling) -> Result<(), Failure> {
        let input = std::io::stdin();
        if input.is_terminal() {
            return Err(Failure::usage("nothing to push")
                .advise("name items, or send lines: seq 3 | rheostat queue push queue.jobs"));
        }
        let mut lines = input.lock().split(b'\n');
        loop {
            let (mut items, mut bytes) = (Vec::new(), 0);
            while items.len() < LINES && bytes < BYTES {
                let Some(line) = lines.next() else { break };
                let line =
                    line.map_err(|error| Failure::new(Exit::Error, "standard input cannot be read").because(error))?;
                bytes += line.len();
                items.push(match std::str::from_utf8(&line) {
                    Ok(text) => spelling.read(text)?,
                    Err(_) => ByteString(line),
                });
            }
            if items.is_empty() {
                return Ok(());
            }
            self.items(items).await?;
        }
    }
}
