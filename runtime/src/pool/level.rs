//! The five concurrency levels.

use std::fmt;
use std::str::FromStr;

/// Which concurrency level a pool runs at. From what one thread has to itself to what the system has no part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
// The levels that cache have the greatest words, so that one comparison tells them.
#[repr(u32)]
#[non_exhaustive]
pub enum Level {
    /// One thread allocates, the first that does; others may only free. Fastest, and refused to a second thread.
    Unlocked = 6,
    /// A lock per size class. Nothing is cached; threads that allocate the same class wait for each other.
    Mutex = 2,
    /// Lists changed by compare-exchange. Nothing is cached, and a thread that sleeps holds up nobody.
    LockFree = 3,
    /// Magazines per thread before a depot. Threads seldom meet, for some memory idle in each.
    #[default]
    ThreadCached = 5,
    /// All memory is there and touched from the start, and no more is asked for: no system call, and a limit that is one.
    /// Lists changed by compare-exchange. Blocks of more than 64 KiB are refused.
    Fixed = 4,
}

impl Level {
    /// Every level a pool can run at.
    pub const ALL: [Level; 5] = [Level::Unlocked, Level::Mutex, Level::LockFree, Level::ThreadCached, Level::Fixed];

    /// The level as it is spelled in configurations, knobs and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Unlocked => "unlocked",
            Level::Mutex => "mutex",
            Level::LockFree => "lock_free",
            Level::ThreadCached => "thread_cached",
            Level::Fixed => "fixed",
        }
    }

    /// The level whose word is `word`.
    pub(super) fn from_word(word: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&level| level as u32 == word)
    }

    /// Whether free blocks are kept in magazines of threads.
    pub(super) const fn caches(self) -> bool {
        matches!(self, Level::ThreadCached | Level::Unlocked)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a pool level: write unlocked, mutex, lock_free, thread_cached or fixed")]
pub struct LevelError(String);

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        let known = Level::ALL.into_iter().find(|level| level.as_str() == text);
        known.ok_or_else(|| LevelError(text.chars().take(40).collect()))
    }
}
