//! The tests of `ends`, with a fence on both sides of the barrier: what runs where the kernel has no membarrier.

#[path = "ends.rs"]
mod ends;
