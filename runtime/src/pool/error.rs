//! What pools refuse, and why.

use super::level::Level;
use crate::observe::AddressError;

/// What a pool takes before it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Most bytes held from the system: blocks that were carved, in use or free, and large blocks.
    pub bytes_max: usize,
}

impl Default for PoolLimits {
    /// 256 MiB.
    fn default() -> Self {
        Self { bytes_max: 256 << 20 }
    }
}

/// Why a pool cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolSetupError {
    /// The name breaks the rule for names.
    #[error(transparent)]
    Name(#[from] AddressError),
    /// Blocks cannot all be aligned so.
    #[error("{pool} cannot have all blocks aligned to {alignment}: choose a power of two from 2 to {max}")]
    Alignment {
        /// The pool.
        pool: String,
        /// What was asked for.
        alignment: usize,
        /// The coarsest there is.
        max: usize,
    },
    /// The system has no addresses for it, or no memory for what is to be there from the start.
    #[error("{pool} of {bytes} bytes was refused by the system: lower bytes_max, or raise the process's limits")]
    System {
        /// The pool.
        pool: String,
        /// Its limit.
        bytes: usize,
    },
}

/// Why a pool gave no block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The pool is at its limit.
    #[error(
        "{pool} has no block of {bytes} bytes free and holds {held} of at most {max} bytes: free some or raise bytes_max"
    )]
    Exhausted {
        /// The pool.
        pool: String,
        /// Size of the block that was needed.
        bytes: usize,
        /// Bytes held from the system.
        held: usize,
        /// The limit.
        max: usize,
    },
    /// The system gave no memory.
    #[error(
        "{pool} asked the system for {bytes} bytes and got none, being out of memory: free some, or raise its limit"
    )]
    System {
        /// The pool.
        pool: String,
        /// Bytes asked for.
        bytes: usize,
    },
    /// The pool is at level `unlocked`, and belongs to another thread.
    #[error(
        "{pool} is at level unlocked and serves only the thread that allocated from it first: turn its level, or allocate there"
    )]
    NotOwner {
        /// The pool.
        pool: String,
    },
    /// The pool is at level `fixed`, or local to a thread, and has no blocks of that length.
    #[error(
        "{pool} has no blocks of more than {max} bytes, and {bytes} were asked for: ask for less, or of a hosted pool at \
         another level than fixed"
    )]
    TooLong {
        /// The pool.
        pool: String,
        /// Bytes asked for.
        bytes: usize,
        /// The longest there are.
        max: usize,
    },
    /// No block is aligned so.
    #[error("{pool} aligns blocks to powers of two up to {max}, not to {alignment}")]
    Alignment {
        /// The pool.
        pool: String,
        /// What was asked for.
        alignment: usize,
        /// The coarsest there is.
        max: usize,
    },
}

/// Why a pool's level was not turned. It runs on as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LevelRefused {
    /// More than one thread uses it.
    #[error("{threads} threads use {pool}, and level unlocked is for one: stop the others, or choose another level")]
    Shared {
        /// The pool.
        pool: String,
        /// Living threads that have used it.
        threads: usize,
    },
    /// What is there already is more than a fixed pool of its limit would have.
    #[error(
        "{pool} has given out {held} bytes of chunks and large blocks, and level fixed would have {max}: free some, or raise bytes_max"
    )]
    Smaller {
        /// The pool.
        pool: String,
        /// Bytes of chunks given to classes, and of large blocks.
        held: usize,
        /// Its limit.
        max: usize,
    },
    /// The system has not the memory that a fixed pool has from the start.
    #[error("the system has no {bytes} bytes to fix {pool} with: lower bytes_max, or choose another level")]
    System {
        /// The pool.
        pool: String,
        /// Bytes it would have.
        bytes: usize,
    },
}

/// What a turned level came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelTurned {
    /// The level before.
    pub from: Level,
    /// Free blocks that were handed over.
    pub moved: usize,
}
