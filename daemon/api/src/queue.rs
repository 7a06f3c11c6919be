//! Hosted queues: what goes in and what comes out.

use crate::{ByteString, Problem};
use serde::{Deserialize, Serialize};

/// Body of `POST /v1/queues/{name}/push`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// What to push, in this order.
    pub items: Vec<ByteString>,
    /// How long to wait for room, in milliseconds; not at all without it.
    #[serde(default)]
    pub wait_ms: u64,
}

/// Answer of `POST /v1/queues/{name}/push`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Pushed {
    /// How many items were accepted, from the first on. The others are still the sender's.
    pub pushed: usize,
    /// Why the others were not; absent when all were accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// Body of `POST /v1/queues/{name}/pop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Pop {
    /// How many items at most; 1 without it.
    #[serde(default = "one")]
    pub max: usize,
    /// How long to wait for the first, in milliseconds; not at all without it.
    #[serde(default)]
    pub wait_ms: u64,
}

fn one() -> usize {
    1
}

/// Answer of `POST /v1/queues/{name}/pop`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Popped {
    /// The items, in their order; none when the queue was empty. They are out of the queue.
    pub items: Vec<ByteString>,
}
