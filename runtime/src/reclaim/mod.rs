//! Grace periods: freeing memory that others may be reading, once they have stopped.
//!
//! A structure that takes a node out of the reach of new readers cannot free it: some thread may have read the pointer
//! just before. So readers hold a [`Guard`] while they follow pointers, and who takes something out *retires* it; it is
//! dropped after a *grace period*, when every guard that was held at the time is gone.
//!
//! | call | choose it when |
//! |---|---|
//! | [`pin`] | you read, or change, a structure that frees memory others may read |
//! | [`Guard::retire`] | you took a box out of such a structure |
//! | [`synchronize`] | you have to wait for the readers of before, as when an old part is replaced |
//! | [`Domain`] | readers of one structure must not hold up the memory of others; tests |
//!
//! The price: a pin is a store to the thread's own line (1 ns), no fence, since the other half of the barrier is a
//! system call by the few who collect ([`sync::barrier`](crate::sync::barrier)). A reader that sleeps under a guard
//! holds up the memory of everything retired meanwhile; [`Limits`] says how much, and what then.
//!
//! `record` has the reader's word and what a thread has retired (in its `bag`), `collector` the grace periods and the
//! argument for them, `domain` puts them together, `seat` finds the thread's record.
//!
//! A thread that ends leaves its record as it is, with the garbage in it, which the next collector gathers as any
//! other; another thread then takes the record over. There is no table to be past the end of, and no list of orphans.
//!
//! Garbage is dropped by threads that retire, at the end of their outermost guard, at most 1024 objects at a time, and
//! so never under a guard of theirs; and by those that call `synchronize` or `flush`. What the last ones left is kept
//! until somebody does, less than a batch for each thread.
//!
//! Not promised: an order among drops; that anything is dropped while some thread sleeps under a guard.

mod bag;
mod pile;
mod record;
mod collector;
mod domain;
mod guard;
mod seat;
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod hosted;

pub use domain::{Domain, Limits, Overload, Statistics, StillPinned};
pub use guard::Guard;
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub use hosted::HostedDomain;

/// Begins to read in the process's own domain. Re-entrant, about 1 ns, wait-free but for a thread's first.
///
/// # Panics
/// With 32767 guards of this thread: they were forgotten rather than dropped.
#[inline(always)]
pub fn pin() -> Guard<'static> {
    process::pin()
}

/// [`pin`], if that takes but a few instructions; `None` in a thread that holds a guard already, or has never held one.
/// For the shortest of operations: an answer without a call needs no registers saved for it.
#[inline(always)]
pub(crate) fn pin_at_once() -> Option<Guard<'static>> {
    process::pin_at_once()
}

/// [`Domain::synchronize`] in the process's own domain.
///
/// # Errors
/// [`StillPinned`] when this thread holds a guard itself.
pub fn synchronize() -> Result<(), StillPinned> {
    process_domain().synchronize()
}

/// The process's own domain, for all that does not need one of its own.
pub fn process_domain() -> &'static Domain {
    process::domain()
}

#[cfg(not(any(rt_loom, rt_shuttle)))]
use process::forget as forget_default;

#[cfg(not(any(rt_loom, rt_shuttle)))]
mod process {
    use super::record::Record;
    use super::{Domain, Guard};
    use crate::sync::{OnceLock, barrier};
    use std::cell::Cell;
    use std::ptr;

    static DOMAIN: OnceLock<Domain> = OnceLock::new();

    thread_local! {
        /// The thread's record in `DOMAIN`, once it has one and as long as it keeps it, if the light half of the
        /// barrier is free. Without a destructor, and set at compile time, it is reached in one instruction.
        static RECORD: Cell<*const Record> = const { Cell::new(ptr::null()) };
        /// The same where that half is a fence.
        static FENCED: Cell<*const Record> = const { Cell::new(ptr::null()) };
    }

    pub(super) fn domain() -> &'static Domain {
        DOMAIN.get_or_init(Domain::default)
    }

    #[inline(always)]
    pub(super) fn pin() -> Guard<'static> {
        let record = RECORD.get();
        if record.is_null() {
            return pin_fenced();
        }
        // SAFETY: the domain is never dropped, nor are its records, and `forget` takes this one away when the thread
        // gives it back.
        Guard::new_when_free(unsafe { &*record })
    }

    #[inline(always)]
    pub(super) fn pin_at_once() -> Option<Guard<'static>> {
        let record = RECORD.get();
        // SAFETY: as in `pin`.
        unsafe { record.as_ref() }.and_then(Guard::new_at_once)
    }

    #[cold]
    fn pin_fenced() -> Guard<'static> {
        let record = FENCED.get();
        if record.is_null() {
            return pin_first();
        }
        // SAFETY: as above.
        Guard::new(unsafe { &*record })
    }

    fn pin_first() -> Guard<'static> {
        let domain = domain();
        if let Some(record) = domain.record() {
            let kept = if barrier::is_free() { &RECORD } else { &FENCED };
            kept.set(record);
        }
        domain.pin()
    }

    /// The thread gives this record back.
    pub(super) fn forget(record: *const Record) {
        for kept in [&RECORD, &FENCED] {
            if kept.get() == record {
                kept.set(ptr::null());
            }
        }
    }
}

/// Under a model the domain of an execution, which ends with it.
#[cfg(any(rt_loom, rt_shuttle))]
mod process {
    use super::{Domain, Guard};

    #[cfg(rt_loom)]
    use loom::lazy_static;
    #[cfg(all(rt_shuttle, not(rt_loom)))]
    use shuttle::lazy_static;

    lazy_static! {
        static ref DOMAIN: Domain = Domain::default();
    }

    pub(super) fn domain() -> &'static Domain {
        &DOMAIN
    }

    pub(super) fn pin() -> Guard<'static> {
        domain().pin()
    }

    pub(super) fn pin_at_once() -> Option<Guard<'static>> {
        Some(pin())
    }
}
