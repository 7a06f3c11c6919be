//! The library every part of Rheostat stands on: concurrent structures that can be retuned while they run.
//!
//! | module | choose it when |
//! |---|---|
//! | [`pipeline`] | records go through stages whose workers, batches and queues you want to turn |
//! | [`queue`] | threads hand work to each other: bounded or not, one to one or many to many, of a kind that turns |
//! | [`map`] | threads share a map, and which structure it is should be a choice |
//! | [`pool`] | blocks of memory are taken and given back by many threads |
//! | [`alloc`] | you want to know which part of your process allocates |
//! | [`scheduler`] | parallel regions run on threads whose number you want to turn |
//! | [`observe`] | you host any of these, or something of your own, with counters, knobs and a journal |
//! | [`reclaim`] | you free memory that other threads may be reading |
//! | [`sync`] | you write a structure that models should be able to check |

pub mod sync;
pub mod reclaim;
// What counts and hosts stands on statics and foreign structures that no model can see; models check protocols.
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub mod observe;
pub mod alloc;
pub mod queue;
pub mod map;
pub mod pool;
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub mod scheduler;
pub mod pipeline;
