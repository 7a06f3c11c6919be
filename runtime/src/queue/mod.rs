//! Queues that threads hand work over through.
//!
//! | type | when |
//! |---|---|
//! | [`Ring`] | bounded, many producers, many consumers, one allocation; its limit turns while it runs |

mod error;
mod ring;
mod wait;

pub use error::{CapacityError, Closed, PopError, PushError};
pub use ring::{CAPACITY_MAX, Ring};
