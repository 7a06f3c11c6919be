//! Whether a thread is inside user code that may run under a map's lock: an operation of a map there might wait for
//! itself.

use std::cell::Cell;

thread_local! {
    static VIEWING: Cell<bool> = const { Cell::new(false) };
}

/// Says that the thread is inside, also while a panic passes. To be held under a guard of the process's own domain, as
/// what is shown to user code is: so a thread without a guard is not inside, and has nothing to [`refuse`].
pub(super) struct Viewing(());

impl Viewing {
    pub(super) fn begin() -> Self {
        VIEWING.set(true);
        Self(())
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        VIEWING.set(false);
    }
}

/// # Panics
/// When this thread is inside: waiting then could be waiting for oneself.
pub(super) fn refuse() {
    assert!(
        !VIEWING.get(),
        "a map was used inside a closure of Map::get_with, or a value's Eq or Clone: take the value out first (Map::get)"
    );
}
