//! The contract of everything hosted: what it is called, what it says when read, and which knobs it has.
//!
//! | noun | choose it when |
//! |---|---|
//! | [`Resource`] | you host something: implement five small methods and every screen, metric and API route knows it |
//! | [`Address`] | you name a resource or a knob; one spelling for command line, API, journal and metrics |
//! | [`Knob`], [`Value`] | you let a parameter be turned while the resource runs |
//! | [`Family`], [`Reading`] | you report: families are declared once in [`families`], readings fill them |
//! | [`Cells`] | you count on a hot path: one store to the thread's own cache line |
//! | [`Spread`] | you time on a warm path: a log-linear histogram, one per thread, merged when read |
//! | [`Registry`] | you host many resources, turn their knobs by address, and let them turn their own |
//! | [`Journal`] | you keep who turned what, when, why, and how long the hand-over took |
//!
//! Reading never blocks a hot path and never resets a counter: two readers cannot disturb each other.

mod address;
mod cells;
mod clock;
pub mod families;
mod family;
mod journal;
mod knob;
mod reading;
mod registry;
mod sampling;
mod spread;

pub use address::{Address, AddressError, Kind};
pub use cells::{Cells, THREAD_ROWS};
pub(crate) use cells::{row, row_if_known};
pub use clock::{Moment, now};
pub use family::{Family, Unit, What};
pub use journal::{Actor, Change, Journal, Outcome};
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub(crate) use knob::words;
pub use knob::{Knob, OwnTurn, Range, TurnError, Turned, Value};
pub use reading::{Measure, Reading, Sample};
pub use registry::{Registry, RegistryError, Resource};
pub(crate) use sampling::{SAMPLE_EVERY, is_due, is_sampled, passes, space};
pub use spread::{Snapshot, Spread};
