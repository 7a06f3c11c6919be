//! Reads of hosted maps.

use serde::{Deserialize, Serialize};

/// One entry of a map of counters. Keys that are not UTF-8 are shown with replacement characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: i64,
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
