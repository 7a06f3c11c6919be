//! How a pool is made: what can be chosen of it, and three presets.
//!
//! The presets are those of zipora's pools. Its figures mean these things here:
//!
//! | zipora's | for us |
//! |---|---|
//! | longest block of the fast lists | [`cache_bytes`](PoolSetup::cache_bytes): our lists serve up to 64 KiB at any setting, and the figure is what a thread keeps to itself of a class |
//! | alignment | [`alignment`](PoolSetup::alignment) |
//! | initial capacity | [`bytes_initial`](PoolSetup::bytes_initial) |
//! | arena | [`idle_bytes`](PoolSetup::idle_bytes): our memory comes in chunks of 64 KiB whatever is chosen, and the figure is what a class may leave idle before chunks go back, which zipora's never do |
//! | huge pages from 1 MiB | [`huge_pages`](PoolSetup::huge_pages): for the chunks, and for large blocks from 2 MiB, as nothing shorter can lie on one |
//! | fixed capacity | level `fixed` with that [`bytes_max`](PoolLimits::bytes_max); an initial capacity says nothing then |

use super::error::PoolLimits;
use super::guard::OnFault;
use super::level::{Level, LevelAsked};
use std::fmt;
use std::str::FromStr;

/// What a thread caches of a class unless a setup says otherwise.
pub(super) const CACHE_BYTES: usize = 32 << 10;

/// How a pool is made. Begin with the default or a [`Preset`] and change what should differ:
///
/// ```
/// use rheostat_runtime::pool::{Level, Pool, PoolSetup, Preset};
///
/// let setup = PoolSetup { level: Level::LockFree.into(), ..Preset::Performance.setup() };
/// let pool = Pool::with_setup("blocks", setup).unwrap();
/// assert!(pool.alloc(17).unwrap().as_ptr().addr().is_multiple_of(16));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSetup {
    /// The level it runs at, or that it chooses.
    pub level: LevelAsked,
    /// What it takes before it refuses.
    pub limits: PoolLimits,
    /// Bytes of chunks that are there and touched when the pool has been made, links beside them, so that so much is
    /// allocated without a system call or a page fault. More than the limit means all of it, as it is at `fixed` anyway.
    /// [`ALL`](Self::ALL) asks for a pool that never grows, which at `auto` is `fixed`. A figure does not, even one beyond
    /// the limit: `performance` under a limit of 4 MiB is to be fast still, and chooses among the levels that grow.
    pub bytes_initial: usize,
    /// What every block is aligned to at least, a power of two up to [`ALIGNMENTS_MAX`](Self::ALIGNMENTS_MAX). At 2 lengths
    /// are rounded up by less than an eighth, at more those below 1 KiB by up to the alignment. What lives in a pool through
    /// its `Allocator` is aligned as its own layout wants.
    pub alignment: usize,
    /// Bytes of a size class that a thread caches at most, 2 blocks where that is more, and at most one block for every 256
    /// bytes; half of it is taken from behind, or carved, at a time. The more, the more rarely threads meet.
    pub cache_bytes: usize,
    /// Bytes that may idle of a size class, beside as many as are in use, before chunks go back to the system.
    pub idle_bytes: usize,
    /// Whether the system is asked for pages of 2 MiB, for the chunks and for large blocks of at least that. Fewer misses
    /// of the address cache, for memory that comes 2 MiB at a time.
    pub huge_pages: bool,
    /// Whether what is handed out is guarded from the start: overruns, writes after a free, double and foreign frees are caught
    /// and named, for a price in time and memory. It can be turned later.
    pub guarded: bool,
    /// What a thread does that comes upon such a fault.
    pub on_fault: OnFault,
}

impl PoolSetup {
    /// As [`bytes_initial`](Self::bytes_initial): all there is to be, from the start.
    pub const ALL: usize = usize::MAX;
    /// The coarsest alignment that all blocks can have.
    pub const ALIGNMENTS_MAX: usize = 64;
}

impl Default for PoolSetup {
    /// Thread-cached, 256 MiB at most and nothing at the start, 32 KiB of a class in each thread, 1 MiB idle, small pages, not
    /// guarded.
    fn default() -> Self {
        Self {
            level: LevelAsked::default(),
            limits: PoolLimits::default(),
            bytes_initial: 0,
            alignment: 2,
            cache_bytes: CACHE_BYTES,
            idle_bytes: 1 << 20,
            huge_pages: false,
            guarded: false,
            on_fault: OnFault::Count,
        }
    }
}

/// A setup with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// Time matters more than memory: `thread_cached`, 64 KiB of a class in each thread, blocks aligned to 16, 8 MiB there
    /// from the start, 4 MiB of a class may idle, huge pages.
    Performance,
    /// Memory matters more than time: `lock_free`, so next to nothing is kept by threads, and 16 KiB of a class where it is
    /// turned to a level that caches; blocks aligned to 8, 512 KiB there from the start, 1 MiB of a class may idle.
    Memory,
    /// The longest wait matters: `fixed` at 16 MiB, blocks aligned to 8, and 8 KiB of a class in each thread where it is
    /// turned to a level that caches.
    Realtime,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Preset; 3] = [Preset::Performance, Preset::Memory, Preset::Realtime];

    /// The preset as it is spelled in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Preset::Performance => "performance",
            Preset::Memory => "memory",
            Preset::Realtime => "realtime",
        }
    }

    /// What it stands for.
    pub fn setup(self) -> PoolSetup {
        let default = PoolSetup::default();
        match self {
            Preset::Performance => PoolSetup {
                level: Level::ThreadCached.into(),
                bytes_initial: 8 << 20,
                alignment: 16,
                cache_bytes: 64 << 10,
                idle_bytes: 4 << 20,
                huge_pages: true,
                ..default
            },
            Preset::Memory => PoolSetup {
                level: Level::LockFree.into(),
                bytes_initial: 512 << 10,
                alignment: 8,
                cache_bytes: 16 << 10,
                idle_bytes: 1 << 20,
                ..default
            },
            Preset::Realtime => PoolSetup {
                level: Level::Fixed.into(),
                limits: PoolLimits { bytes_max: 16 << 20 },
                bytes_initial: PoolSetup::ALL,
                alignment: 8,
                cache_bytes: 8 << 10,
                ..default
            },
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no preset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a preset: write performance, memory or realtime")]
pub struct PresetError(String);

impl FromStr for Preset {
    type Err = PresetError;

    fn from_str(text: &str) -> Result<Self, PresetError> {
        let known = Preset::ALL.into_iter().find(|preset| preset.as_str() == text);
        known.ok_or_else(|| PresetError(text.chars().take(40).collect()))
    }
}
