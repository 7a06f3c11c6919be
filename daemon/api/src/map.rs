//! Hosted maps: their entries, and what is done to them.

use crate::{ByteString, Problem};
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// What stands under a key: a number in a map of counters or of words, bytes in a map of byte strings. Further kinds of
/// maps may bring further kinds of values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum MapValue {
    /// A counter's, or that of a word no greater than counters get: on the wire they look alike.
    Counter(i64),
    /// That of a greater word.
    Word(u64),
    /// A byte string.
    Bytes(ByteString),
}

impl From<i64> for MapValue {
    fn from(counter: i64) -> Self {
        Self::Counter(counter)
    }
}

impl MapValue {
    /// A word's, as it comes back from the wire.
    pub fn word(word: u64) -> Self {
        i64::try_from(word).map_or(Self::Word(word), Self::Counter)
    }
}

impl From<&str> for MapValue {
    fn from(text: &str) -> Self {
        Self::Bytes(text.into())
    }
}

impl fmt::Display for MapValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter(counter) => counter.fmt(f),
            Self::Word(word) => word.fmt(f),
            Self::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

// By hand: of a value that is neither, an untagged enum only says that it is neither.
impl<'de> Deserialize<'de> for MapValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Spelled)
    }
}

struct Spelled;

impl<'de> Visitor<'de> for Spelled {
    type Value = MapValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of 64 bits, a text or {\"base64\": \"...\"}")
    }

    fn visit_i64<E: de::Error>(self, counter: i64) -> Result<MapValue, E> {
        Ok(MapValue::Counter(counter))
    }

    fn visit_u64<E: de::Error>(self, word: u64) -> Result<MapValue, E> {
        Ok(MapValue::word(word))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<MapValue, E> {
        Ok(text.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MapValue, A::Error> {
        ByteString::deserialize(MapAccessDeserializer::new(map)).map(MapValue::Bytes)
    }
}

/// One entry of a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Entry {
    /// The key.
    pub key: ByteString,
    /// Its value.
    pub value: MapValue,
}

/// Answer of `GET /v1/maps/{name}/top`: greatest value first, equal values by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Entries {
    /// The entries.
    pub entries: Vec<Entry>,
}

/// Answer of `GET /v1/maps/{name}/scan`: one page of entries, in no order that means anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Scan {
    /// The entries of this page.
    pub entries: Vec<Entry>,
    /// Pass it as `cursor` to get the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Body of `POST /v1/maps/{name}/put`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Put {
    /// The key.
    pub key: ByteString,
    /// What shall stand under it. Maps of counters and of words also take a text that spells a whole number.
    pub value: MapValue,
}

/// Body of `POST /v1/maps/{name}/add`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Add {
    /// The key; its counter begins at 0.
    pub key: ByteString,
    /// How much to add; 1 without it.
    #[serde(default = "one")]
    pub by: i64,
}

fn one() -> i64 {
    1
}

/// Body of `POST /v1/maps/{name}/delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// The key.
    pub key: ByteString,
}

/// One operation of a [`MapBatch`]: `{"op": "add", "key": "apples", "by": 2}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum MapOp {
    /// Reads a value.
    Get {
        /// The key.
        key: ByteString,
    },
    /// Puts a value in the place of any that is there.
    Put {
        /// The key.
        key: ByteString,
        /// What shall stand under it.
        value: MapValue,
    },
    /// Adds to a counter.
    Add {
        /// The key; its counter begins at 0.
        key: ByteString,
        /// How much to add; 1 without it.
        #[serde(default = "one")]
        by: i64,
    },
    /// Takes an entry out.
    Delete {
        /// The key.
        key: ByteString,
    },
}

/// Body of `POST /v1/maps/{name}/batch`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MapBatch {
    /// What to do, in this order.
    pub operations: Vec<MapOp>,
}

/// What came of one operation. Without `error` it was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MapOutcome {
    /// What a get found or an add came to; absent where a get found nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<MapValue>,
    /// What a put replaced or a delete took out; absent where there was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<MapValue>,
    /// Why it was not done; then it changed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// Answer of `POST /v1/maps/{name}/batch`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MapOutcomes {
    /// One for each operation, in their order.
    pub outcomes: Vec<MapOutcome>,
}
