//! Hosted pools: who has blocks of them, and what was done to them that nobody may do.

use serde::{Deserialize, Serialize};

/// Answer of `GET /v1/pools/{name}/blocks`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PoolBlocks {
    /// Whether what is handed out now is guarded.
    pub guarded: bool,
    /// Blocks that are out.
    pub blocks: u64,
    /// Bytes that were asked for by them.
    pub bytes: u64,
    /// Blocks that were handed out unguarded: nobody knows who allocated them.
    pub unattributed: u64,
    /// By size class, those with blocks out.
    pub classes: Vec<PoolClass>,
    /// By allocation scope, most bytes first: of guarded blocks.
    pub scopes: Vec<PoolScope>,
    /// The last faults that the guard found, the oldest first.
    pub faults: Vec<PoolFault>,
}

/// What is out of one size class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PoolClass {
    /// Bytes of its blocks; absent for large ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_bytes: Option<u64>,
    /// Blocks that are out.
    pub blocks: u64,
    /// Bytes that were asked for by them.
    pub bytes: u64,
}

/// What is out that was allocated in one scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PoolScope {
    /// A stage or a run; `outside` for what was allocated in none.
    pub scope: String,
    /// Blocks that are out.
    pub blocks: u64,
    /// Bytes that were asked for by them.
    pub bytes: u64,
    /// How long the oldest has been out, in seconds.
    pub oldest_s: f64,
}

/// Something that was done to a guarded pool and may not be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PoolFault {
    /// `overrun`, `underrun`, `write_after_free`, `double_free`, `foreign`, `inside` or `layout`.
    pub kind: String,
    /// All of it in a sentence.
    pub detail: String,
    /// Where the block begins, as `0x..`.
    pub address: String,
    /// Where in it, in bytes from there.
    pub offset: i64,
    /// Bytes of the class's blocks; absent for large ones and for what is no block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_bytes: Option<u64>,
    /// Bytes that were asked for, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub len: Option<u64>,
    /// Who allocated the block, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocated: Option<PoolDeed>,
    /// Who freed it, if it was free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freed: Option<PoolDeed>,
    /// Who came upon it.
    pub found: PoolDeed,
}

/// Who did something to a block, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PoolDeed {
    /// The allocation scope the thread was in.
    pub scope: String,
    /// The thread's number, for as long as it lives; absent for a thread that had to do without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<u64>,
    /// How long ago it was, in seconds.
    pub ago_s: f64,
}
