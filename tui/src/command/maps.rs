//! `map get|top|scan|put|add|delete`.

use super::answer::Answer;
use super::spelling::{Spelling, address};
use crate::exit::{Exit, Failure};
use crate::scrub::scrubbed;
use clap::Subcommand;
use rheostat_api::{Add, Client, Entry, MapOutcome, MapValue, Put};

/// How many entries one page of a scan asks for.
const PAGE_ENTRIES: usize = 1000;

/// What is done with a map.
#[derive(Debug, Subcommand)]
pub enum Op {
    /// The value of one key; exits 1 when the key is not there
    Get {
        /// The map's address: map.words
        address: MapAddress,
        /// The key
        key: String,
        #[command(flatten)]
        spelling: Spelling,
    },
    /// The entries of the greatest values
    Top {
        /// The map's address: map.words
        address: MapAddress,
        /// How many
        #[arg(short, value_name = "N", default_value_t = 10)]
        n: usize,
        #[command(flatten)]
        spelling: Spelling,
    },
    /// Every entry, in no order that means anything
    Scan {
        /// The map's address: map.words
        address: MapAddress,
        /// Stop after this many entries
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        #[command(flatten)]
        spelling: Spelling,
    },
    /// Put a value under a key, in the place of any that is there
    #[command(
        after_help = "In a map of counters the value is a whole number; in one of byte strings (values = \"bytes\" in the configuration) it is any text; in one of words (values = \"words\") key and value are whole numbers from 0. A map that is full refuses new keys and exits 1; nothing was changed then."
    )]
    Put {
        /// The map's address: map.words
        address: MapAddress,
        /// The key
        key: String,
        /// The value
        #[arg(allow_negative_numbers = true)]
        value: String,
        #[command(flatten)]
        spelling: Spelling,
    },
    /// Add to a counter, which begins at 0, and print what it came to
    Add {
        /// The map's address: map.words
        address: MapAddress,
        /// The key
        key: String,
        /// How much, less than nothing included
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        by: i64,
        #[command(flatten)]
        spelling: Spelling,
    },
    /// Take an entry out and print its value; exits 1 when the key is not there
    Delete {
        /// The map's address: map.words
        address: MapAddress,
        /// The key
        key: String,
        #[command(flatten)]
        spelling: Spelling,
    },
}

/// `map.NAME`.
#[derive(Debug, Clone)]
pub struct MapAddress(String);

impl std::str::FromStr for MapAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        address("map", text).map(Self)
    }
}

/// Does it and says what came of it.
pub async fn run(client: &Client, op: &Op, answer: &mut Answer) -> Result<Exit, Failure> {
    match op {
        Op::Get { address, key, spelling } => {
            let Some(entry) = client.map_get(&address.0, &spelling.read(key)?).await? else {
                return Err(no_key(address, key));
            };
            if answer.is_json() { answer.object(&entry)? } else { answer.line(spelling.value(&entry.value))? }
        }
        Op::Top { address, n, spelling } => {
            for entry in client.map_top(&address.0, *n).await? {
                show(&entry, spelling, answer)?;
            }
        }
        Op::Scan { address, limit, spelling } => {
            scan(client, &address.0, limit.unwrap_or(usize::MAX), spelling, answer).await?;
        }
        Op::Put { address, key, value, spelling } => {
            let put = Put { key: spelling.read(key)?, value: MapValue::Bytes(spelling.read(value)?) };
            let previous = client.map_put(&address.0, &put).await?;
            if answer.is_json() {
                answer.object(&MapOutcome { previous, ..MapOutcome::default() })?;
            } else {
                let was = previous.map_or("new".to_owned(), |previous| format!("was {}", spelling.value(&previous)));
                answer.line(format_args!("{} = {}, {was}", scrubbed(key), scrubbed(value)))?;
            }
        }
        Op::Add { address, key, by, spelling } => {
            let value = client.map_add(&address.0, &Add { key: spelling.read(key)?, by: *by }).await?;
            tell(MapOutcome { value, ..MapOutcome::default() }, spelling, answer)?;
        }
        Op::Delete { address, key, spelling } => {
            let previous = client.map_delete(&address.0, &spelling.read(key)?).await?;
            if previous.is_none() {
                return Err(no_key(address, key));
            }
            tell(MapOutcome { previous, ..MapOutcome::default() }, spelling, answer)?;
        }
    }
    answer.flush()?;
    Ok(Exit::Pass)
}

fn no_key(address: &MapAddress, key: &str) -> Failure {
    Failure::new(Exit::Error, format!("map.{} holds no key `{key}`", address.0))
}

fn tell(outcome: MapOutcome, spelling: &Spelling, answer: &mut Answer) -> Result<(), Failure> {
    match outcome.value.as_ref().or(outcome.previous.as_ref()) {
        Some(value) if !answer.is_json() => answer.line(spelling.value(value)),
        _ => answer.object(&outcome),
    }
}

async fn scan(
    client: &Client,
    map: &str,
    mut left: usize,
    spelling: &Spelling,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let mut cursor = None;
    while left > 0 {
        let page = client.map_scan(map, cursor.as_deref(), left.min(PAGE_ENTRIES)).await?;
        for entry in page.entries.iter().take(left) {
            show(entry, spelling, answer)?;
        }
        left -= page.entries.len().min(left);
        cursor = match page.next {
            // A page may be empty and yet not the last; one that leads back to itself would never end.
            Some(next) if Some(&next) != cursor.as_ref() => Some(next),
            _ => break,
        };
    }
    Ok(())
}

fn show(entry: &Entry, spelling: &Spelling, answer: &mut Answer) -> Result<(), Failure> {
    let (key, value) = (spelling.bytes(&entry.key), spelling.value(&entry.value));
    match entry.value {
        _ if answer.is_json() => answer.object(entry),
        MapValue::Counter(_) | MapValue::Word(_) => answer.line(format_args!("{value:>12}  {key}")),
        MapValue::Bytes(_) => answer.line(format_args!("{key}  {value}")),
    }
}
