//! What a hosted map has room for.
//!
//! Writers: both counts by whoever brings an entry or takes one away. Room is taken before the entry goes in, and given
//! back after it came out or was not needed, so the map never holds more than was taken, nor more than its limits.
//! O1  All accesses are Relaxed: counts publish nothing, and each has one order.

use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What a hosted map takes before it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapLimits {
    /// Longest key, in bytes.
    pub key_bytes_max: usize,
    /// Longest value, in bytes.
    pub value_bytes_max: usize,
    /// Most entries. Exact but for new keys that arrive together within a hair's breadth of it: one of them may be
    /// refused a place that the other turns out not to need.
    pub entries_max: usize,
    /// Most bytes of keys and values: what they keep on the heap, and where they lie in a table. What a backend takes
    /// beside that comes on top; see [`Backend`](super::Backend). Exact as `entries_max` is.
    pub bytes_max: usize,
    /// Most bytes that the new table of a hand-over may need, beside what is in use; see
    /// [`Map::turn_within`](super::Map::turn_within).
    pub turn_bytes_max: usize,
}

impl Default for MapLimits {
    /// 64 KiB keys, 1 MiB values, 10 million entries, 4 GiB, and as much again for a hand-over.
    fn default() -> Self {
        Self {
            key_bytes_max: 64 << 10,
            value_bytes_max: 1 << 20,
            entries_max: 10_000_000,
            bytes_max: 4 << 30,
            turn_bytes_max: 4 << 30,
        }
    }
}

/// Which limit an entry would pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// There are as many as there may be.
    Entries,
    /// It is too large for what is left.
    Bytes,
}

/// Entries and bytes in use, and the limits of both.
#[derive(Debug)]
pub struct Room {
    limits: MapLimits,
    entries: AtomicUsize,
    bytes: AtomicUsize,
}

impl Room {
    pub(super) fn new(limits: MapLimits) -> Self {
        Self { limits, entries: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    pub(super) fn limits(&self) -> MapLimits {
        self.limits
    }

    pub(super) fn entries(&self) -> usize {
        self.entries.load(Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Takes the room of one entry, or none.
    pub(super) fn take(&self, bytes: usize) -> Result<(), Lack> {
        let max = self.limits.entries_max;
        let one_more = |entries| (entries < max).then_some(entries + 1);
        self.entries.fetch_update(Relaxed, Relaxed, one_more).map_err(|_| Lack::Entries)?;
        self.grow(bytes).inspect_err(|_| _ = self.entries.fetch_sub(1, Relaxed))
    }

    /// Gives back the room of one entry.
    pub(super) fn give(&self, bytes: usize) {
        self.entries.fetch_sub(1, Relaxed);
        self.shrink(bytes);
    }

    /// Takes room for an entry that becomes larger.
    pub(super) fn grow(&self, bytes: usize) -> Result<(), Lack> {
        let max = self.limits.bytes_max;
        let more = |used: usize| used.checked_add(bytes).filter(|&used| used <= max);
        self.bytes.fetch_update(Relaxed, Relaxed, more).map(drop).map_err(|_| Lack::Bytes)
    }

    /// Gives back what an entry no longer needs.
    pub(super) fn shrink(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}
