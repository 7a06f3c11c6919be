//! How addresses, keys, values and items are spelled on the command line.

use crate::exit::Failure;
use crate::scrub::scrubbed;
use clap::Args;
use rheostat_api::{ByteString, MapValue};

/// How byte strings are spelled.
#[derive(Debug, Args)]
pub struct Spelling {
    /// Keys, values and items are base64, those that are printed too
    #[arg(long)]
    base64: bool,
}

impl Spelling {
    /// The bytes behind an argument.
    pub fn read(&self, argument: &str) -> Result<ByteString, Failure> {
        if !self.base64 {
            return Ok(argument.into());
        }
        let wrong = |why| Failure::usage(format!("`{argument}`: {why}")).advise("encode it with `base64 -w0`");
        ByteString::from_base64(argument).map_err(wrong)
    }

    /// Bytes as they are printed, safe for a terminal.
    pub fn bytes(&self, bytes: &ByteString) -> String {
        if self.base64 { bytes.to_base64() } else { scrubbed(&bytes.to_text_lossy()) }
    }

    /// A map's value as it is printed.
    pub fn value(&self, value: &MapValue) -> String {
        match value {
            MapValue::Counter(counter) => counter.to_string(),
            MapValue::Word(word) => word.to_string(),
            MapValue::Bytes(bytes) => self.bytes(bytes),
        }
    }
}

/// The name in the address of a resource of that kind.
pub fn address(kind: &str, text: &str) -> Result<String, String> {
    match text.split_once('.') {
        Some((head, name)) if head == kind && !name.is_empty() => Ok(name.to_owned()),
        _ => Err(format!("`{text}` is no {kind}'s address: write {kind}.NAME, as `rheostat resources` lists it")),
    }
}
