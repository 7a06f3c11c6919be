//! Pool targets: at which level, blocks of which sizes, and what workers do with them.

use super::document::Section;
use super::limits;
use rheostat_runtime::pool::{LevelAsked, PoolLimits};
use std::time::Duration;

/// An allocator pool and the sizes it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolTarget {
    /// The level it starts at, or that it chooses; of no account for a hosted one.
    pub level: LevelAsked,
    /// Bytes it holds from the system at most; of no account for a hosted one.
    pub bytes_max: u64,
    /// How long its blocks are.
    pub size: Sizes,
}

/// Bytes of the blocks that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The shortest.
    pub from: u64,
    /// The longest.
    pub to: u64,
    /// If given, sizes climb: they start at `from` and have come to `to` after that time, by equal factors in equal
    /// times, each drawn between half of where they stand and that.
    pub over: Option<Duration>,
}

/// An operation on a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PoolOp {
    /// Allocates a block and frees it at once.
    Pair,
    /// Frees a block that the worker holds and allocates another in its place.
    Replace,
    /// Allocates a block and passes it to whoever takes it.
    Pass,
    /// Takes a block that somebody passed and frees it.
    Take,
    /// Leaves all the worker holds to a thread started for it, which replaces each block and ends.
    Generation,
}

/// The words for the operations on a pool.
pub(crate) const POOL_OPS: [(&str, PoolOp); 5] = [
    ("pair", PoolOp::Pair),
    ("replace", PoolOp::Replace),
    ("pass", PoolOp::Pass),
    ("take", PoolOp::Take),
    ("generation", PoolOp::Generation),
];

pub(super) fn read_pool(section: &mut Section<'_, '_>, hosted: bool) -> Option<PoolTarget> {
    let level = match section.place("level") {
        Some(_) if !hosted => section.word("level", &LevelAsked::ALL.map(|level| (level.as_str(), level))),
        _ => Some(LevelAsked::default()),
    };
    let bytes_max = match section.place("bytes_max") {
        Some(_) if !hosted => section.size("bytes_max", limits::POOL_BYTES_MIN, limits::MEMORY_MAX),
        _ => Some(PoolLimits::default().bytes_max as u64),
    };
    let size = match section.place("size") {
        Some(_) => read_sizes(section),
        None => Some(Sizes { from: 64, to: 64, over: None }),
    };
    Some(PoolTarget { level: level?, bytes_max: bytes_max?, size: size? })
}

/// `size = "64B"`, any length in a range `{ from = "16B", to = "1KiB" }`, or a climb through it with `over = "10s"`.
fn read_sizes(section: &mut Section<'_, '_>) -> Option<Sizes> {
    const LEAST: u64 = limits::ITEM_BYTES_MIN;
    if !section.is_table("size") {
        return section.size("size", LEAST, limits::BLOCK_BYTES_MAX).map(|size| Sizes {
            from: size,
            to: size,
            over: None,
        });
    }
    let title = format!("size of {}", section.title);
    let mut size = section.table("size", title)?;
    size.require("from", "the shortest, such as \"16B\"");
    size.require("to", "the longest, such as \"1KiB\"");
    let from = size.size("from", LEAST, limits::BLOCK_BYTES_MAX);
    let to = size.size("to", from.unwrap_or(LEAST), limits::BLOCK_BYTES_MAX);
    let over = match size.place("over") {
        Some(_) => size.duration("over", limits::PHASE_MIN, limits::PHASE_MAX).map(Some),
        None => Some(None),
    };
    size.finish();
    Some(Sizes { from: from?, to: to?, over: over? })
}
