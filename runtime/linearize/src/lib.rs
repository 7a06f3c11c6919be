//! Records what threads did to a structure, and says whether any order of it is one that a structure without
//! concurrency could have had. For tests, and for the workloads' check `linearizable`; it depends on nothing of the
//! product.
//!
//! | noun | what it is |
//! |---|---|
//! | [`Recorder`], [`Log`] | the clock of a history, and one thread's part of it |
//! | [`Operation`] | one call: when it began, what it was, when it returned and what |
//! | [`Specification`] | what a structure does when one thread uses it: [`Register`], [`Queue`], [`Set`] |
//! | [`check`], [`Verdict`] | whether a history is linearizable, within [`Limits`]; [`split`] makes one history per key |
//! | [`Counterexample`] | the first operation that nothing explains, what it could have returned, and what was around it |
//! | [`fifo`] | what decides queues over any number of operations |
//!
//! Three things a history cannot show: a fault in a schedule that did not happen, an order that only threads which
//! share more than the structure would notice, and reordering of two operations of one thread (the clock stands
//! between them, see [`Recorder`]). Models look at those.
//!
//! ```
//! use rheostat_linearize::{Limits, Recorder, Register, RegisterCall::*, RegisterReturn::Found, Verdict, check};
//! use std::sync::Mutex;
//!
//! let (recorder, value) = (Recorder::new(), Mutex::new(None));
//! let mut log = recorder.log(0);
//! log.record(Insert(1), |_| Found(value.lock().unwrap().replace(1)));
//! log.record(Get, |_| Found(*value.lock().unwrap()));
//! log.record(Get, |_| Found(Some(2))); // A value that nobody put in.
//!
//! let Verdict::Violation(found) = check(&Register, &log.into_operations(), Limits::default()) else { panic!() };
//! assert_eq!(found.culprit().returned, Some(Found(Some(2))));
//! assert_eq!(found.could_return(), [Found(Some(1))]);
//! ```

mod operation;
mod recorder;
mod specification;
mod search;
mod counterexample;
mod check;
pub mod fifo;

pub use check::{Verdict, check, split};
pub use counterexample::Counterexample;
pub use operation::Operation;
pub use recorder::{Log, Recorder};
pub use search::{Exhausted, Limits};
pub use specification::{
    Queue, QueueCall, QueueReturn, Register, RegisterCall, RegisterReturn, Set, SetCall, Specification,
};
