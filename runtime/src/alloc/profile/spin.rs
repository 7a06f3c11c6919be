//! A lock for inside an allocator.
//!
//! Locks that park keep tables of who waits, and allocate them: an allocation that waits for such a lock can find its
//! own thread in the middle of that. This one spins and then yields; what runs under it takes a microsecond, and is
//! asked for once in an interval's bytes.
//!
//! I1  Who has turned `taken` from false to true is alone with the value until it turns it back.
//! O1  Taking is Acquire, giving back Release: what was written under the lock is seen by whoever takes it next.
//! Progress: blocking.

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Backoff, UnsafeCell};

pub(super) struct Spin<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one thread at a time (I1), so it has to be sendable and no more.
unsafe impl<T: Send> Sync for Spin<T> {}

/// Gives the lock back, whatever happened under it.
struct Held<'l>(&'l AtomicBool);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release); // O1
    }
}

impl<T> Spin<T> {
    pub(super) const fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Runs `work` on the value, alone. `work` does not come back here.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut backoff = Backoff::new();
        while self.taken.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            backoff.snooze();
        }
        let _held = Held(&self.taken);
        // SAFETY: alone with it (I1).
        self.value.with_mut(|value| work(unsafe { &mut *value }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::thread;

    #[test]
    fn one_at_a_time() {
        let spin = Spin::new(0u64);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| spin.with(|value| *value += 1)));
            }
        });
        assert_eq!(spin.with(|value| *value), 40_000);
    }

    #[test]
    fn a_panic_under_it_gives_it_back() {
        let spin = Spin::new(1);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| spin.with(|_| panic!("under it"))));
        assert!(panicked.is_err());
        assert_eq!(spin.with(|value| *value), 1);
    }
}
