//! The library every part of Rheostat stands on.

// What counts and hosts stands on statics and foreign structures that no model can see; models check protocols.
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub mod observe;
pub mod pipeline;
pub mod queue;
pub mod sync;
