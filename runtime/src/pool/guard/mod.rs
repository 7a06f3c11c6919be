//! Guarded pools: what nobody may do to memory, caught and named.
//!
//! A pool is guarded from its creation ([`PoolSetup::guarded`](super::PoolSetup::guarded)), or from when it is turned
//! so ([`Pool::turn_guarded`](super::Pool::turn_guarded), knob `guarded`), at any level and with blocks out. Blocks
//! handed out meanwhile are guarded until they come home, also when the pool is not any more; blocks handed out before
//! or after are not.
//!
//! | what is done | when it is seen | not seen |
//! |---|---|---|
//! | *overrun*: bytes behind those asked for are written, up to the end of the block, 16 at least | when the block comes home; by [`Pool::check`](super::Pool::check) | what reaches further or skips the canary; a write of `0xFD` |
//! | *underrun*: up to 8 bytes before a block are written | when it comes home and the block before it is out, or that one comes home or is handed out; by `check` | where the block before is not guarded, or there is none: the first of a chunk; large blocks |
//! | *write after free* | when the block is handed out again, its memory goes back to the system, or the pool ends; by `check` | reads; a write to a block that is out again; what comes after the memory went back, which for a large block may end the process |
//! | *double free*, by address or by a [`Block`](super::Block) that was copied | then | once the block is out again; of a block that was free when the guard came, until it is handed out |
//! | *foreign* pointer: in no block of the pool | then | |
//! | *inside*: not the beginning of a block | then | |
//! | *layout*: other than it was allocated by | then | another alignment that makes no other class |
//!
//! The last four come by the raw doors, [`InPool`](super::InPool) and [`PoolBox`](super::PoolBox), and by unsafe code
//! that has copied a `Block`; what was given back wrongly is then left where it is, but for a wrong layout, which the
//! pool knows better. What is freed and stays in the pool is poison: all blocks of the classes, and of the large ones,
//! longer than 64 KiB, the last that came home, as many as a pool keeps anyway: 16 MiB, or an eighth of its limit if
//! that is less, and they count against the limit as ever. One that is longer than that goes back to the system when it
//! is freed, as the oldest do when there are too many. What was freed and went back is still known to have been, if it
//! is freed once more by its address: the last 256 of them.
//!
//! Blocks that were handed out unguarded and come home while the pool is guarded are looked at as far as that is
//! possible without having noted them: that they are the pool's, begin where a block does, and are given back once.
//!
//! A [`Fault`] is counted by kind, kept ([`Pool::faults`](super::Pool::faults), the last 64), told to the
//! pool's handler, and then the thread that came upon it goes on or panics, as [`OnFault`] says. It names pool,
//! address, class, bytes asked for, who allocated the block (allocation scope, thread row, how long ago) and who freed
//! it.
//!
//! Whoever has blocks out is named at any time by [`Pool::outstanding`](super::Pool::outstanding), and at the end by
//! [`Pool::end`](super::Pool::end): by class for every pool, by scope for what was guarded.
//!
//! Price. While a pool is not guarded, nothing: its quick paths ask the station what they ask anyway, and a `Block`
//! says by its class that it is large or guarded. While it is, every operation goes the long way, writes or reads all
//! of a block's bytes and looks into a book, behind one of 16 locks. One thread's pair of an allocation and a free, on
//! one machine, best of 60 short runs:
//!
//! | bytes | guarded, any level | all but `mutex` | `mutex` | after the guard was turned off |
//! |---|---|---|---|---|
//! | 64 | 160 ns | 15 ns, so 10 times | 24 ns, 7 times | as before it |
//! | 1000 | 185 ns | 15 ns, 12 times | 25 ns, 8 times | as before it |
//! | 16 000 | 900 ns | 15 ns, 60 times | 25 ns, 37 times | as before it |
//!
//! Ten of the 15 are for the [`Block`](super::Block), which that loop passes on through memory; a pair that keeps it in
//! registers takes 5.
//!
//! A block takes 16 bytes more and the next class that is aligned as the plain one would have been, so that a guarded
//! pool is exhausted sooner; and the book takes memory from the process's allocator, at level `fixed` too, 100 MiB at
//! most. Past 262 144 blocks out, and at `fixed` for what fits a class only without canary, blocks are handed out
//! unguarded, and counted. Past as many free blocks, what comes home is neither poisoned nor remembered: one of those
//! that is freed once more by its address is not caught.
//!
//! A [`LocalPool`](super::LocalPool) is guarded from its beginning or never
//! ([`LocalPool::guarded`](super::LocalPool::guarded)), for the same faults as far as they can be made there: it is
//! given nothing but its own blocks, so the last three cannot. It has no longer blocks to go to, so that those of more
//! than 65 520 bytes are handed out unguarded, and counted. One that is not guarded pays nothing: a guarded one has no
//! magazines, and all of its blocks go the way that others go when theirs are empty.
//!
//! The parts: `watch` says whether the pool is guarded, `book` what is known of blocks, `pattern` what is written into
//! them, `fault` what was found, `report` what is out, `doors` the ways out of and into a pool that is watched, `local`
//! those of a local one.

pub(super) mod watch;

#[cfg(not(any(rt_loom, rt_shuttle)))]
mod book;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod doors;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod fault;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod local;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod pattern;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod report;

#[cfg(not(any(rt_loom, rt_shuttle)))]
pub(super) use self::{
    doors::{Claim, Door, GUARDED, Guard},
    local::LocalGuard,
};
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub use self::{
    fault::{Deed, FAULTS_KEPT, Fault, FaultHandler, FaultKind, OnFault},
    report::{OfClass, OfScope, Outstanding},
};
