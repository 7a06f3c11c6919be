//! The only door to atomics, cells, fences, locks, parking and threads.
//!
//! Everything else in this crate imports them from here, so that one `--cfg` swaps the whole runtime onto a
//! model checker: `rt_loom` (small protocols, orderings, exhaustive up to a preemption bound) or `rt_shuttle`
//! (whole structures, random schedules). The cfgs are our own: a global `--cfg loom` would change other crates.
//!
//! Limits of the models, read off their sources on 2026-11-21; look again when they are upgraded:
//! - loom 0.7.2 treats SeqCst *accesses* as AcqRel (a SeqCst fence is right), never lets a weak
//!   compare-exchange fail spuriously, and does not buffer loads. At most five threads, main included.
//! - shuttle 0.9.9 treats every ordering as SeqCst: it finds lost wake-ups, never a missing release.
//! - Neither sees dashmap, flurry or rayon.
//!
//! `rt_tsan` is for ThreadSanitizer with the prebuilt standard library, which it cannot look into: see `traced`.

mod backoff;
pub mod barrier;
mod cell;
mod event;
mod lock;
mod step;
#[cfg(rt_tsan)]
pub mod traced;

pub use backoff::{Backoff, MODELLED};
pub use cell::UnsafeCell;
pub use event::{Entry, Event, Flag, Parking, Place};
pub use lock::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use step::Step;
#[cfg(all(debug_assertions, not(any(rt_loom, rt_shuttle))))]
pub use step::watch;

pub use crossbeam_utils::CachePadded;

#[cfg(not(any(rt_loom, rt_shuttle)))]
mod backend {
    pub use std::sync::{Arc, OnceLock, Weak, atomic};
    #[cfg(not(rt_tsan))]
    pub use std::thread;
    pub use std::{hint, thread_local};

    #[cfg(rt_tsan)]
    pub use super::traced as thread;
}

#[cfg(rt_loom)]
mod backend {
    pub use loom::sync::{Arc, atomic};
    pub use loom::{hint, thread, thread_local};
    pub use std::sync::{OnceLock, Weak};
}

#[cfg(all(rt_shuttle, not(rt_loom)))]
mod backend {
    pub use shuttle::sync::{Arc, Weak, atomic};
    pub use shuttle::{hint, thread, thread_local};
    pub use std::sync::OnceLock;
}

pub use backend::{Arc, OnceLock, Weak, atomic, hint, thread, thread_local};
