//! Refusals.

use serde::{Deserialize, Serialize};

/// RFC 9457 problem details: what was refused, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Names the kind of problem: `about:blank` or `urn:rheostat:out-of-range` and the like.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What failed, where, and what to do.
    pub detail: String,
}
