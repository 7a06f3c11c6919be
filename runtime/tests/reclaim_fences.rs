//! The tests of `reclaim`, with a fence on both sides of the barrier: what runs where the kernel has no membarrier.

#[path = "reclaim.rs"]
mod reclaim;
