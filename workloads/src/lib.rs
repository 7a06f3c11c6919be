//! Workloads: scripts that drive maps, queues and pipelines, turn their knobs meanwhile, and say what came of it.
//!
//! | noun | choose it when |
//! |---|---|
//! | [`Workload`] | you have a script: it is read and checked, and everything wrong with it is said at once |
//! | [`Plan`](script::Plan) | you want to know what a script would do before it does it |
//! | [`engine`] | you run it on a host's registry, follow it and stop it |
//! | [`generate`] | you want the keys a workload asks for, reproducibly |
//! | [`catalogue`] | you want a script or a text that ships |

pub mod catalogue;
pub mod engine;
mod fault;
pub mod generate;
pub mod script;
pub mod unit;

pub use fault::{Fault, Faults};
pub use script::{Overrides, Workload};
