//! The five concurrency levels.

use std::fmt;
use std::str::FromStr;

/// Which concurrency level a pool runs at. From what one thread has to itself to what the system has no part in.
///
/// | level | to allocate and to free | progress |
/// |---|---|---|
/// | `unlocked` | constant time; once in a magazine of blocks, time in proportion to it | wait-free while the magazine that is loaded has a block, or room; lock-free behind it |
/// | `mutex` | constant time, and whatever the lock takes | blocking |
/// | `lock_free` | constant time; once in a few blocks, constant time for each try | wait-free while the thread has a block in hand, or room; lock-free behind it |
/// | `thread_cached` | constant time; once in a magazine of blocks a lock, for a whole magazine at once | wait-free while the magazine that is loaded has a block, or room; blocking at the depot |
/// | `fixed` | as `lock_free` | as `lock_free` |
///
/// At every level growth blocks: carving up to a magazine of blocks takes a lock, and now and then asks the system for memory,
/// which `fixed` never does. At the limit an allocation searches for what idles before it refuses, which takes time in
/// proportion to that and waits for threads that are in the middle of an operation. A change of level is waited for by
/// nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
// The levels that cache have the greatest words, so that one comparison tells them.
#[repr(u32)]
#[non_exhaustive]
pub enum Level {
    /// One thread allocates, the first that does; others may only free, and are refused blocks. As quick as `thread_cached` is
    /// for one thread: what it gives is that there is no second. [`LocalPool`](super::LocalPool) takes a quarter of the time.
    Unlocked = 6,
    /// A lock per size class. Nothing is cached; threads that allocate the same class wait for each other.
    Mutex = 2,
    /// Lists changed by compare-exchange, from which a thread takes up to four blocks at once and has at most eight in hand, 8
    /// KiB or one block at that. A thread that sleeps holds up nobody.
    LockFree = 3,
    /// Magazines per thread before a depot. Threads seldom meet, for some memory idle in each.
    #[default]
    ThreadCached = 5,
    /// All memory is there and touched from the start, and no more is asked for: no system call, and a limit that is one.
    /// Blocks in hand before lists, as at `lock_free`. Blocks of more than 64 KiB are refused.
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

    /// Whether free blocks are kept by threads.
    pub(super) const fn caches(self) -> bool {
        !matches!(self, Level::Mutex)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is asked for: a level, or that the pool chooses one and goes on choosing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LevelAsked {
    /// `auto`: `mutex`, `lock_free` or `thread_cached`, by cores and limits at the start and then by what the pool observes
    /// of its threads; `fixed`, and for good, when it was asked to have all of its memory from the start. Never `unlocked`.
    Auto,
    /// That level.
    At(Level),
}

impl LevelAsked {
    /// All that can be asked for.
    pub const ALL: [LevelAsked; Level::ALL.len() + 1] = {
        let mut all = [LevelAsked::Auto; Level::ALL.len() + 1];
        let mut at = 0;
        while at < Level::ALL.len() {
            all[at] = LevelAsked::At(Level::ALL[at]);
            at += 1;
        }
        all
    };

    /// As it is spelled in configurations and knobs.
    pub const fn as_str(self) -> &'static str {
        match self {
            LevelAsked::Auto => "auto",
            LevelAsked::At(level) => level.as_str(),
        }
    }

    /// A word for it.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub(super) const fn word(self) -> u32 {
        match self {
            LevelAsked::Auto => 0,
            LevelAsked::At(level) => level as u32,
        }
    }

    /// What has that word.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub(super) fn from_word(word: u32) -> Self {
        Level::from_word(word).map_or(LevelAsked::Auto, LevelAsked::At)
    }
}

impl From<Level> for LevelAsked {
    fn from(level: Level) -> Self {
        LevelAsked::At(level)
    }
}

impl Default for LevelAsked {
    fn default() -> Self {
        LevelAsked::At(Level::default())
    }
}

impl fmt::Display for LevelAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a pool level: write unlocked, mutex, lock_free, thread_cached, fixed or auto")]
pub struct LevelError(String);

impl FromStr for LevelAsked {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        let known = LevelAsked::ALL.into_iter().find(|asked| asked.as_str() == text);
        known.ok_or_else(|| LevelError(text.chars().take(40).collect()))
    }
}
