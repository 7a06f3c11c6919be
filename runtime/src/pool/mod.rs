//! Allocator pools: blocks by size class, at a concurrency level chosen when the pool is made.
//!
//! | noun | choose it when |
//! |---|---|
//! | [`Pool`] | you allocate many buffers of like sizes and want them bounded and visible |
//! | [`Level::Mutex`] | few threads allocate, and memory matters more than time |
//! | [`Level::ThreadCached`] | several threads allocate and free their own blocks |
//! | [`Block`] | what you get: bytes, given back when dropped |
//!
//! Constraints. Size classes run from 16 bytes to 64 KiB, eight to the octave, so less than an eighth of a block is
//! wasted (but for requests under 16 bytes). Longer blocks come straight from the system and go back to it. Blocks
//! of at least 512 bytes start on a cache line, others where their size puts them; [`Pool::alloc_aligned`] promises
//! a line for any size. A pool has at most [`PoolLimits::bytes_max`] from the system and then refuses, with numbers:
//! it never aborts. Slabs stay with their size class until the pool and its last block are gone.
//!
//! A thread caches at most 32 KiB of a size class, 2 blocks where that is more; what a thread has cached when it
//! ends goes back to the depot, and so does all of it when the pool reaches its limit. A block that is freed by
//! another thread than allocated it goes to the depot.

mod block;
mod depot;
mod rack;
mod size_class;
mod slab;

pub use block::Block;

use crate::observe::families::{
    POOL_ALLOCS, POOL_CACHE_FILLS, POOL_CACHE_FLUSHES, POOL_FREES, POOL_LEVEL, POOL_LIVE, POOL_LOCK_CONTENTIONS,
    POOL_SLABS,
};
use crate::observe::{
    Address, AddressError, Kind, Knob, Reading, Resource, THREAD_ROWS, TurnError, Turned, Value, row,
};
use crate::sync::Arc;
use depot::{Depot, LARGE};
use rack::Rack;
use size_class::SizeClass;
use std::fmt;
use std::str::FromStr;

/// Which concurrency level a pool runs at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Level {
    /// A lock per size class. Nothing is cached; threads that allocate the same class wait for each other.
    Mutex,
    /// Magazines per thread over the locks. Threads seldom meet, for some memory idle in each.
    #[default]
    ThreadCached,
}

impl Level {
    /// Every level a pool can run at.
    pub const ALL: [Level; 2] = [Level::Mutex, Level::ThreadCached];

    /// The level as it is spelled in configurations, knobs and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Mutex => "mutex",
            Level::ThreadCached => "thread_cached",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a pool level: write mutex or thread_cached")]
pub struct LevelError(String);

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        let known = Level::ALL.into_iter().find(|level| level.as_str() == text);
        known.ok_or_else(|| LevelError(text.chars().take(40).collect()))
    }
}

/// What a pool takes before it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Most bytes held from the system: slabs, and large blocks in use.
    pub bytes_max: usize,
}

impl Default for PoolLimits {
    /// 256 MiB.
    fn default() -> Self {
        Self { bytes_max: 256 << 20 }
    }
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
    #[error("{pool} asked the system for {bytes} bytes and got none: the machine or the process is out of memory")]
    System {
        /// The pool.
        pool: String,
        /// Bytes asked for.
        bytes: usize,
    },
}

/// A pool of blocks, at the address `pool.NAME`.
///
/// ```
/// use rheostat_runtime::pool::{Level, Pool, PoolLimits};
///
/// let pool = Pool::new("batches", Level::ThreadCached, PoolLimits::default()).unwrap();
/// let mut block = pool.alloc(1000).unwrap();
/// block.fill(7);
/// assert_eq!((block.len(), block.capacity()), (1000, 1024));
/// ```
pub struct Pool {
    address: Address,
    level: Level,
    depot: Arc<Depot>,
    /// One for each row of per-thread tables, and one for all threads past them.
    racks: Box<[Arc<Rack>]>,
}

impl Pool {
    /// An empty pool; it asks the system for memory as blocks are needed.
    ///
    /// # Errors
    /// When `name` breaks the rule for names.
    pub fn new(name: &str, level: Level, limits: PoolLimits) -> Result<Arc<Pool>, AddressError> {
        let address = Address::new(Kind::Pool, name)?;
        let depot = Arc::new(Depot::new(name.into(), limits.bytes_max));
        let caching = |row: usize| Some(row).filter(|&row| level == Level::ThreadCached && row < THREAD_ROWS);
        let racks = (0..=THREAD_ROWS).map(|row| Rack::new(depot.clone(), caching(row))).collect();
        Ok(Arc::new(Pool { address, level, depot, racks }))
    }

    /// The level it runs at.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Bytes held from the system now.
    pub fn held_bytes(&self) -> usize {
        self.depot.held()
    }

    /// A block of `len` bytes. They may hold what an earlier holder wrote.
    ///
    /// # Errors
    /// When the pool is at its limit, or the system out of memory.
    #[inline]
    pub fn alloc(self: &Arc<Self>, len: usize) -> Result<Block, PoolError> {
        match SizeClass::of(len) {
            Some(class) => self.alloc_class(class, len),
            None => self.alloc_large(len),
        }
    }

    /// A block of `len` bytes, all zero.
    ///
    /// # Errors
    /// When the pool is at its limit, or the system out of memory.
    pub fn alloc_zeroed(self: &Arc<Self>, len: usize) -> Result<Block, PoolError> {
        match SizeClass::of(len) {
            Some(class) => self.alloc_class(class, len).map(|mut block| {
                block.fill(0);
                block
            }),
            // Fresh from the system, which zeroed it.
            None => self.alloc_large(len),
        }
    }

    /// A block of `len` bytes that starts on a cache line (64 bytes).
    ///
    /// # Errors
    /// When the pool is at its limit, or the system out of memory.
    pub fn alloc_aligned(self: &Arc<Self>, len: usize) -> Result<Block, PoolError> {
        match SizeClass::aligned_of(len) {
            Some(class) => self.alloc_class(class, len),
            None => self.alloc_large(len),
        }
    }

    #[inline]
    fn alloc_class(&self, class: SizeClass, len: usize) -> Result<Block, PoolError> {
        let row = row();
        let rack = &self.racks[row];
        let free = match rack.take(row, class) {
            Ok(free) => free,
            Err(refused) => self.depot_after_sweep(class, refused)?,
        };
        Ok(Block::of_class(rack.clone(), class, free, len))
    }

    /// At the limit, blocks that idle in other threads' magazines are worth waiting for.
    #[cold]
    fn depot_after_sweep(&self, class: SizeClass, refused: PoolError) -> Result<depot::FreeBlock, PoolError> {
        if self.level == Level::Mutex {
            return Err(refused);
        }
        self.racks.iter().for_each(|rack| rack.sweep(class));
        self.depot.take(class)
    }

    fn alloc_large(&self, len: usize) -> Result<Block, PoolError> {
        let slab = self.depot.take_large(len)?;
        Ok(Block::of_system(self.racks[row()].clone(), slab, len))
    }

    /// Says what is known of one class, if it was ever used.
    fn read_class(&self, reading: &mut Reading, class: SizeClass) {
        let (allocs, frees) = self.depot.counted(class.index());
        if allocs == 0 {
            return;
        }
        let labels = &[class.label()];
        let figures = self.depot.figures(class);
        reading.total(&POOL_ALLOCS, labels, allocs);
        reading.total(&POOL_FREES, labels, frees);
        reading.level(&POOL_LIVE, labels, (allocs.saturating_sub(frees) * class.bytes() as u64) as f64);
        reading.level(&POOL_SLABS, labels, figures.slab_bytes as f64);
        reading.total(&POOL_CACHE_FILLS, labels, figures.fills);
        reading.total(&POOL_CACHE_FLUSHES, labels, figures.flushes);
        reading.total(&POOL_LOCK_CONTENTIONS, labels, figures.contentions);
    }

    /// Large blocks have no cache, no slab but themselves, and no lock of ours.
    fn read_large(&self, reading: &mut Reading) {
        let (allocs, frees) = self.depot.counted(LARGE);
        if allocs == 0 {
            return;
        }
        let labels = &["large"];
        let bytes = self.depot.large_bytes() as f64;
        reading.total(&POOL_ALLOCS, labels, allocs);
        reading.total(&POOL_FREES, labels, frees);
        reading.level(&POOL_LIVE, labels, bytes);
        reading.level(&POOL_SLABS, labels, bytes);
    }
}

impl Resource for Pool {
    fn address(&self) -> &Address {
        &self.address
    }

    fn read(&self, reading: &mut Reading) {
        SizeClass::all().for_each(|class| self.read_class(reading, class));
        self.read_large(reading);
        for level in Level::ALL {
            reading.level(&POOL_LEVEL, &[level.as_str()], f64::from(u8::from(level == self.level)));
        }
    }

    fn knobs(&self) -> Vec<Knob> {
        Vec::new()
    }

    fn turn(&self, knob: &str, _to: &Value) -> Result<Turned, TurnError> {
        Err(TurnError::UnknownKnob { resource: self.address.to_string(), knob: knob.to_owned(), has: Vec::new() })
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.to_string();
        f.debug_struct("Pool").field("address", &address).field("level", &self.level).finish_non_exhaustive()
    }
}
