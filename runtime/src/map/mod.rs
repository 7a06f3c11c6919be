//! Concurrent maps with one face over several structures.
//!
//! | noun | choose it when |
//! |---|---|
//! | [`FixedMap`] | you know how many entries there will be, and no operation may ever wait for a map to grow |
//! | [`FlatMap`] | keys and values are plain data, integers above all: kept in place, read without a store |
//! | [`Map`] | you embed a map of your own types |
//! | [`HostedMap`]: [`CounterMap`], [`BytesMap`], [`WordMap`] | you host a map: limits, counts of everything it does |
//! | [`Backend`] | you choose: [`Sharded`](Backend::Sharded) unless you have measured |
//!
//! | backend | take it when | what it costs |
//! |---|---|---|
//! | [`Sharded`](Backend::Sharded) | you have not measured | readers and writers of a shard wait for each other; a shard that grows holds up all of its own |
//! | [`LockFree`](Backend::LockFree) | readers must not wait, and keys may share a hash | two to three times the time of `sharded`, and about three times the memory an entry |
//! | [`Papaya`](Backend::Papaya) | no reader may wait, few keys collide, and nobody knows how many there will be | twice the time of `sharded` on two cores; an allocation for every write; scans walk the whole map for each page |
//! | [`Fixed`](Backend::Fixed) | no operation may wait for another, and you know about how many entries there will be | up to twice the time of `sharded`: an allocation for every write; past its buckets it is slower with every entry |
//! | [`Flat`](Backend::Flat) | most operations read, integers above all: a quarter less time than `sharded` for that | writers of a line wait for each other; where many entries come and go, a fifth more time; half as much memory again while it grows |
//!
//! Times are of integers on two cores, from `runtime/bench/RESULTS.md`; `cargo run --release -p rheostat-peers -- maps` measures
//! them anew, beside those of their peers.
//!
//! Promises, every backend: operations on one key are linearizable; a value that was put in comes out exactly once,
//! by `remove`, `insert` or `clear`; guards are never handed out.
//!
//! A map moves to another backend while it is used: [`Map::turn`]. The promises hold meanwhile.
//!
//! Closures. Those of [`Map::update`], [`Map::upsert`], [`Map::remove_if`] and [`Map::retain`] run on a clone with no
//! lock held, so they may do anything, other maps and this one included; when somebody else changes the value
//! meanwhile, they run again on the new one, so they should be pure. Those of [`Map::for_each`] and [`Map::fold`] run
//! with no lock held. Only [`Map::get_with`] shows the stored value itself, under a lock on `sharded`: a map
//! operation inside it panics rather than waits for itself, and so does one inside a value's `Eq` or `Clone`. A
//! closure that panics leaves the map as it was.

// Protocols are checked by models; what stands on them needs statics, clocks and foreign structures.
mod fixed;
mod flat;
pub mod handover;
mod pace;
mod prefault;
mod settled;
pub mod structure;
pub mod switch;

#[cfg(not(any(rt_loom, rt_shuttle)))]
mod backend;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod contention;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod counter;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod face;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod hashed;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod hosted;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod integer;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod keyed;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod lock_free;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod papaya;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod podium;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod record;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod room;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod scan;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod shape;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod sharded;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod stalls;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod turn;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod bytes;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod values;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod viewing;

pub use fixed::FixedMap;
pub use flat::{FlatMap, FlatStatistics, Plain, Pointed};

#[cfg(not(any(rt_loom, rt_shuttle)))]
pub use self::{
    backend::{Backend, BackendError},
    bytes::Bytes,
    face::Map,
    fixed::{FIXED_BUCKETS, FIXED_BUCKETS_MAX, FIXED_BUCKETS_MIN},
    flat::FlatTotals,
    hosted::{BytesMap, CounterMap, HostedMap, MapError, WordMap},
    room::MapLimits,
    scan::{Cursor, CursorError, Page},
    shape::TableShape,
    stalls::SampledStalls,
    turn::{Handover, HandoverRefused, Handovers},
    values::{Hosted, HostedKey},
};
