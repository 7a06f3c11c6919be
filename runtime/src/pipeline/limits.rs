//! How a pipeline may start, how far its knobs go, and why it cannot be started.

use super::text::SourceError;
use crate::observe::AddressError;
use crate::sync::thread;

/// How far a pipeline's knobs go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Workers of one stage.
    pub workers_max: usize,
    /// Records of one batch.
    pub batch_max: usize,
    /// Batches in one queue.
    pub capacity_max: usize,
}

impl Default for Limits {
    /// 8 workers to the core and at least 16; 65 536 records; 1024 batches.
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { workers_max: (8 * cores).clamp(16, 256), batch_max: 64 << 10, capacity_max: 1024 }
    }
}

/// How a stage starts; all three are knobs afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageOptions {
    /// Worker threads.
    pub workers: usize,
    /// Records at most in a batch handed to the stage.
    pub batch: usize,
    /// Batches its queue takes.
    pub capacity: usize,
}

impl Default for StageOptions {
    /// One worker, batches of 100, a queue of 16.
    fn default() -> Self {
        Self { workers: 1, batch: 100, capacity: 16 }
    }
}

/// Why a pipeline cannot be started. Nothing of it runs then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A name breaks the rule for names.
    #[error(transparent)]
    Name(#[from] AddressError),
    /// A number is out of its range.
    #[error("{of} {given} is out of range: choose 1 to {max}")]
    Range {
        /// `pipeline.words.count.workers` and the like.
        of: String,
        /// What was given.
        given: usize,
        /// The most there may be.
        max: usize,
    },
    /// Two stages of one name, or none at all.
    #[error("{0}")]
    Shape(String),
    /// The system starts no more threads.
    #[error("{stage} cannot be started: {why}")]
    Threads {
        /// The stage or source.
        stage: String,
        /// What the system said.
        why: String,
    },
    /// The source cannot be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An op cannot be made.
    #[error("{stage} cannot be made: {why}")]
    Op {
        /// The stage.
        stage: String,
        /// What is wrong, and what to do.
        why: String,
    },
}
