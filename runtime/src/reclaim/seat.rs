//! Which record is the calling thread's, in each domain that it has been in.
//!
//! A seat is given back when its thread ends. What pins after that, in a destructor that runs later, gets a record for
//! just that guard.

use super::domain::Shared;
use super::record::Record;
use crate::sync::{Arc, thread_local};
use std::cell::{Cell, RefCell};

struct Seat {
    shared: Arc<Shared>,
    record: *const Record,
}

impl Drop for Seat {
    fn drop(&mut self) {
        #[cfg(not(any(rt_loom, rt_shuttle)))]
        super::forget_default(self.record);
        // SAFETY: the seat keeps the shared part alive, and with it its records.
        unsafe { (*self.record).give_back() };
    }
}

thread_local! {
    #[allow(clippy::missing_const_for_thread_local, reason = "the models' macros take no constant initialisers")]
    static SEATS: RefCell<Vec<Seat>> = RefCell::new(Vec::new());
    /// True while the thread drops garbage, so that what this retires waits for its turn instead of nesting.
    #[allow(clippy::missing_const_for_thread_local, reason = "the models' macros take no constant initialisers")]
    static HELPING: Cell<bool> = Cell::new(false);
}

/// The calling thread's record, taken if it has none yet; `None` when the thread is past keeping one.
pub(super) fn record(shared: &Arc<Shared>) -> Option<*const Record> {
    SEATS
        .try_with(|seats| {
            let known = |seat: &&Seat| Arc::ptr_eq(&seat.shared, shared);
            if let Some(seat) = seats.borrow().iter().find(known) {
                return seat.record;
            }
            let record = shared.take_record(tenant());
            let mut seats = seats.borrow_mut();
            // Those of domains that are gone hold nothing but memory.
            seats.retain(|seat| !seat.shared.is_closed());
            seats.push(Seat { shared: shared.clone(), record });
            record
        })
        .ok()
}

/// A number that no other living thread has.
pub(super) fn tenant() -> usize {
    HELPING.try_with(|here| std::ptr::from_ref(here).addr()).unwrap_or(0)
}

/// Runs `help` unless the thread is at it already.
pub(super) fn unless_helping(help: impl FnOnce()) {
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            _ = HELPING.try_with(|helping| helping.set(false));
        }
    }
    if matches!(HELPING.try_with(|helping| helping.replace(true)), Ok(false)) {
        let _done = Done;
        help();
    }
}
