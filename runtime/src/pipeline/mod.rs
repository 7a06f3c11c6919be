//! Pipelines: a source, stages with elastic sets of workers, bounded queues between them.
//!
//! | noun | choose it when |
//! |---|---|
//! | [`Pipeline`] | your records are Rust values and your ops are closures |
//! | [`text::Spec`] | your records are text from files or a reader, and the ops those that ship |
//! | [`elastic::ElasticSet`] | you write a set of workers of your own that grows and shrinks while it works |
//! | [`StateClock`] | you want to know what those workers do with their time |
//!
//! What holds, whatever is turned and whenever: every record handed over by the source is done exactly once by
//! each stage it reaches, or set aside with its reason; records that one worker hands on keep their order; queues
//! are bounded, so memory is. Order across the workers of a stage is not kept.

// The protocols are checked by models; what stands on them needs statics, clocks and foreign structures.
pub mod elastic;
mod state_clock;

pub use state_clock::{State, StateClock};

#[cfg(not(any(rt_loom, rt_shuttle)))]
mod batch;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod builder;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod flow;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod intake;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod limits;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod op;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod outbox;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod port;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod running;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod stage;
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub mod text;

#[cfg(not(any(rt_loom, rt_shuttle)))]
pub use self::{
    batch::{Batch, Items},
    builder::{Builder, Complete},
    flow::{DeadLetter, Reason},
    limits::{Limits, PipelineError, StageOptions},
    op::{Emit, Op, Refused},
    outbox::Outbox,
    running::Pipeline,
};
