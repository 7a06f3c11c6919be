//! `map get|top|scan`.

use super::answer::Answer;
use crate::exit::{Exit, Failure};
use crate::scrub::scrubbed;
use clap::Subcommand;
use rheostat_api::{Client, Entry};

/// How many entries one page of a scan asks for.
const PAGE_ENTRIES: usize = 1000;

/// What is read of a map.
#[derive(Debug, Subcommand)]
pub enum Read {
    /// The value of one key; exits 1 when the key is not there
    Get {
        /// The map's address: map.words
        address: MapAddress,
        /// The key
        key: String,
    },
    /// The entries of the greatest values
    Top {
        /// The map's address: map.words
        address: MapAddress,
        /// How many
        #[arg(short, value_name = "N", default_value_t = 10)]
        n: usize,
    },
    /// Every entry, in no order that means anything
    Scan {
        /// The map's address: map.words
        address: MapAddress,
        /// Stop after this many entries
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
}

/// `map.NAME`.
#[derive(Debug, Clone)]
pub struct MapAddress(String);

impl std::str::FromStr for MapAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("map.") {
            Some(name) if !name.is_empty() => Ok(Self(name.to_owned())),
            _ => Err(format!("`{text}` is no map's address: write map.NAME, as in map.words")),
        }
    }
}

/// Answers a read.
pub async fn read(client: &Client, read: &Read, answer: &mut Answer) -> Result<Exit, Failure> {
    match read {
        Read::Get { address, key } => {
            let Some(entry) = client.map_get(&address.0, key).await? else {
                return Err(Failure::new(Exit::Error, format!("map.{} holds no key `{key}`", address.0)));
            };
            if answer.is_json() { answer.object(&entry)? } else { answer.line(entry.value)? }
        }
        Read::Top { address, n } => {
            for entry in client.map_top(&address.0, *n).await? {
                show(&entry, answer)?;
            }
        }
        Read::Scan { address, limit } => scan(client, &address.0, limit.unwrap_or(usize::MAX), answer).await?,
    }
    answer.flush()?;
    Ok(Exit::Pass)
}

async fn scan(client: &Client, map: &str, mut left: usize, answer: &mut Answer) -> Result<(), Failure> {
    let mut cursor = None;
    while left > 0 {
        let page = client.map_scan(map, cursor.as_deref(), left.min(PAGE_ENTRIES)).await?;
        for entry in page.entries.iter().take(left) {
            show(entry, answer)?;
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

fn show(entry: &Entry, answer: &mut Answer) -> Result<(), Failure> {
    if answer.is_json() {
        answer.object(entry)
    } else {
        answer.line(format_args!("{:>12}  {}", entry.value, scrubbed(&entry.key)))
    }
}
