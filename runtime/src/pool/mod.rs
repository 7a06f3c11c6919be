//! Allocator pools: blocks by size class, at a concurrency level that turns while blocks are out.
//!
//! | noun | choose it when |
//! |---|---|
//! | [`Pool`] | you allocate many buffers of like sizes and want them bounded and visible |
//! | [`Block`] | what you get: bytes, given back when dropped |
//! | [`SharedBlock`] | many hold the same bytes, and nobody changes them |
//! | [`Fault`], [`OnFault`] | a pool is *guarded*, and you want to know who overran, freed twice or wrote too late |
//! | [`Outstanding`] | you want to know who has blocks out, now or when a pool ends |
//! | [`InPool`], [`PoolBox`] | a vector, a table or a value lives in a pool |
//! | [`LocalPool`] | all of it happens on one thread: quickest by far, and the compiler sees to that |
//! | [`Level::Unlocked`] | one thread allocates, and a second that tries is a mistake to be refused |
//! | [`Level::Mutex`] | few threads allocate, and memory matters more than time |
//! | [`Level::LockFree`] | several threads allocate, some of them seldom, and none may wait for another |
//! | [`Level::ThreadCached`] | several threads allocate and free a lot |
//! | [`Level::Fixed`] | no allocation may ask the system for anything |
//! | [`LevelAsked::Auto`] | you would rather have the pool choose its level, and say why in the journal |
//! | [`PoolSetup`], [`Preset`] | more than level and limit should be as you want it: alignment, caches, memory at the start |
//!
//! Constraints. Size classes run from 16 bytes to 64 KiB, eight to the octave, so less than an eighth of a block is
//! wasted (but for requests under 16 bytes). Longer blocks are regions of their own, of which a few are kept for the next.
//! Blocks are aligned to the greatest power of two in their size; [`Pool::alloc_aligned`] promises a cache line for any
//! length and [`Pool::alloc_aligned_to`] up to a page. A pool holds at most [`PoolLimits::bytes_max`] and then refuses,
//! with numbers: it never aborts. Beside that it takes 4 bytes a block for links, and 20 KiB for each thread.
//!
//! A thread caches at most 32 KiB of a size class unless its [`PoolSetup`] says otherwise, 2 blocks where that is more; what a
//! thread has cached when it ends goes back, and so does all of it when the pool reaches its limit (but not within a
//! millisecond of a time when that brought nothing).
//!
//! From the bottom: `region` is the door to the system, `ground` gives its chunks to classes, `number` numbers their
//! blocks, `chain`, `tagged` and `magazine` hold free ones, and `shelf` those of a class; `gate` and `row` are a thread's
//! own, `stock` has the levels, `ways` how each reaches blocks, `control` the change between them; `guard` sees to what
//! nobody may do, at any level; `core` ties them together and lives as long as there are blocks; `adaptive` says which level a
//! pool that chooses should be at, `hysteresis` when it moves there, and `tending` what it knows of itself.
//!
//! A pool can be guarded against overruns, writes after a free, double and foreign frees: [`guard`] says what is caught when,
//! what is not, and what it costs.

#[cfg(rt_asan)]
mod shadow;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod region;
mod number;
mod chain;
mod tagged;
mod magazine;
mod gate;
mod row;
mod level;
mod shelf;
mod stock;
mod ways;
mod control;
mod shares;
pub mod guard;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod size_class;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod ground;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod large;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod error;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod setup;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod tenancy;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod core;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod adaptive;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod hysteresis;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod tending;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod block;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod hosted;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod shared;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod allocator;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod local;

pub use level::{Level, LevelAsked, LevelError};
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub use {
    allocator::{InPool, PoolBox},
    block::Block,
    error::{LevelRefused, LevelTurned, PoolError, PoolLimits, PoolSetupError},
    guard::{Deed, FAULTS_KEPT, Fault, FaultHandler, FaultKind, OfClass, OfScope, OnFault, Outstanding},
    hosted::Pool,
    local::{LocalBlock, LocalPool},
    setup::{PoolSetup, Preset, PresetError},
    shared::SharedBlock,
};

/// What models are made of. Safe code could have blocks twice with these, so nobody else sees them.
#[cfg(any(rt_loom, rt_shuttle))]
pub mod parts {
    pub use super::chain::{Chain, List};
    pub use super::gate::{Gate, Station, Visit};
    pub use super::guard::watch::{Era, NotGuarded, Watch};
    pub use super::number::{BlockId, Geometry, Links};
    pub use super::shares::Shares;
    pub use super::shelf::{Run, Shelf};
    pub use super::stock::{Home, Stock};
    pub use super::tagged::TaggedList;
}
