//! The keyed hash of every map: foldhash's quality variant, its seeds drawn from the operating system.
//!
//! What it resists: somebody who chooses keys but sees neither the seeds nor timings fine enough to infer them
//! cannot aim keys at one bucket. What it does not: foldhash is not cryptographic, so somebody who can watch the
//! hashes themselves (a scan's order shows their rank) may in time find collisions. SipHash would resist more and
//! costs 41 to 49 ns an operation; a host whose keys come from an adversary bounds the entries instead
//! ([`MapLimits`](super::MapLimits)).

use crate::sync::OnceLock;
use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Hashes keys; every map has its own seed.
pub(super) type Keyed = SeedableRandomState;

/// A hash with seeds of its own.
pub(super) fn keyed() -> Keyed {
    static SHARED: OnceLock<SharedSeed> = OnceLock::new();
    SeedableRandomState::with_seed(entropy(), SHARED.get_or_init(|| SharedSeed::from_u64(entropy())))
}

/// std keys its SipHash from the operating system; the hash of nothing under such a key is as random.
fn entropy() -> u64 {
    RandomState::new().build_hasher().finish()
}
