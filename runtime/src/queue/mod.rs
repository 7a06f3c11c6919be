//! Queues that threads hand work over through.
//!
//! | type | when |
//! |---|---|
//! | [`Ring`] | bounded, many producers, many consumers, one allocation; its limit turns while it runs |
//! | [`Producer`], [`Consumer`] | a ring taken apart: closed when the last of either goes; the only one on its side has quicker bursts |
//! | [`spsc::ring`] | bounded, one producer, one consumer: nothing is cheaper between two threads |
//! | [`Segmented`] | unbounded: producers must never wait; each has a list of its own, memory goes back when drained |
//! | [`Queue`] | which [`Kind`] of structure it is should be a choice, and one that can be changed while it is used |
//! | [`HostedQueue`] | byte strings in a queue that a host runs, with counters, and knobs for kind and capacity |

mod allowance;
mod backend;
mod bell;
mod bulk;
mod cas_failures;
mod ends;
mod error;
mod facade;
mod grace;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod hosted;
mod kind;
mod ring;
pub mod segmented;
pub mod spsc;
mod wait;

pub use cas_failures::CasFailures;
pub use ends::{Consumer, Producer};
pub use error::{CapacityError, Closed, PopError, PushError};
pub use facade::{ERAS_MAX, HandOver, HandOverError, Queue};
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub use hosted::{HOSTED_CAPACITY_MAX, HostedQueue, HostedQueueError};
pub use kind::{Kind, KindError};
pub use ring::{CAPACITY_MAX, Ring};
pub use segmented::Segmented;
