//! Queues that threads hand work over through.
//!
//! | type | when |
//! |---|---|
//! | [`Ring`] | bounded, many producers, many consumers, one allocation; its limit turns while it runs |
//! | [`Producer`], [`Consumer`] | a ring taken apart: closed when the last of either goes, faster when it is the only one |
//! | [`spsc::ring`] | bounded, one producer, one consumer: nothing is cheaper between two threads |
//! | [`HostedQueue`] | byte strings in a ring that a host runs, with counters and a `capacity` knob |

mod bell;
mod bias;
mod ends;
mod error;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod hosted;
mod ring;
pub mod spsc;
mod wait;

pub use ends::{Consumer, Producer};
pub use error::{CapacityError, Closed, PopError, PushError};
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub use hosted::{HOSTED_CAPACITY_MAX, HostedQueue, HostedQueueError};
pub use ring::{CAPACITY_MAX, Ring};
