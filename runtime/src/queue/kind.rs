//! The kinds of a queue: which structure holds the items.

use std::fmt;
use std::str::FromStr;

/// Which structure implements a [`Queue`](super::Queue). Turns while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Kind {
    /// [`Ring`](super::Ring), ours: bounded, all slots allocated at once. The default: quickest in runs, exact limit.
    #[default]
    Ring,
    /// [`Segmented`](super::Segmented), ours: memory grows and shrinks with what is in it, runs are cheapest, exact
    /// limit; pushes share one lock.
    Segmented,
    /// crossbeam's `ArrayQueue`, for comparison: bounded, no runs; every capacity is an allocation of its own.
    ArrayQueue,
    /// crossbeam's `SegQueue`, for comparison: grows by segments of 31; the limit is counted, so up to half as much
    /// again can get past it when many push at once.
    SegQueue,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::Ring, Kind::Segmented, Kind::ArrayQueue, Kind::SegQueue];

    /// The kind as it is spelled in configurations, knobs and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Ring => "ring",
            Kind::Segmented => "segmented",
            Kind::ArrayQueue => "array_queue",
            Kind::SegQueue => "seg_queue",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a queue kind: write {known}", known = Kind::ALL.map(Kind::as_str).join(", "))]
pub struct KindError(String);

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, KindError> {
        let known = Kind::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| KindError(text.chars().take(40).collect()))
    }
}
