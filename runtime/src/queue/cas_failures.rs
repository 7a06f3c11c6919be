//! Compare-exchanges that operations lost, counted by those who lost them: a step that succeeds pays nothing.
//!
//! Writers: any operation, by read-modify-write, after a failure. Structures that follow each other in one queue share
//! a count, so that it never falls.
//! O1  Relaxed: counts guard no data. Models leave them out: they would multiply schedules that differ in nothing else.

use crate::sync::MODELLED;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One count for all structures of a queue. By std's `Arc` in models too: it has no part in what they are about, and
/// loom would miss those in structures that a model retires and never drops.
pub(super) type SharedLost = std::sync::Arc<Lost>;

/// What is read into [`CasFailures`].
pub(super) struct Lost {
    pushes: AtomicU64,
    pops: AtomicU64,
}

/// Compare-exchanges that pushes and pops lost to others, and tried again, since the queue was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CasFailures {
    /// By pushes. A structure whose pushes need no compare-exchange has none.
    pub pushes: u64,
    /// By pops.
    pub pops: u64,
}

impl Lost {
    pub(super) fn new() -> SharedLost {
        SharedLost::new(Self { pushes: AtomicU64::new(0), pops: AtomicU64::new(0) })
    }

    #[cold]
    pub(super) fn push(&self) {
        if !MODELLED {
            self.pushes.fetch_add(1, Relaxed); // O1
        }
    }

    #[cold]
    pub(super) fn pop(&self) {
        if !MODELLED {
            self.pops.fetch_add(1, Relaxed); // O1
        }
    }

    pub(super) fn read(&self) -> CasFailures {
        CasFailures { pushes: self.pushes.load(Relaxed), pops: self.pops.load(Relaxed) }
    }
}
