//! What a queue asks of `reclaim`: pins and grace periods. Under loom no more than that, so that a model has room for the
//! queue; that `reclaim` keeps what is asked here is for its own models.

#[cfg(not(rt_loom))]
pub(super) use crate::reclaim::{Guard, pin, pin_at_once, synchronize};

#[cfg(rt_loom)]
pub(super) use asked::{Guard, pin, pin_at_once, synchronize};

/// The least that would do: a word for each thread, set while it is pinned, and one who waits for all of them in turn. What
/// is retired is never dropped: loom does not track the memory of boxes, but all that is in them.
#[cfg(rt_loom)]
mod asked {
    use crate::sync::atomic::{AtomicUsize, Ordering::*, fence};
    use crate::sync::{Backoff, thread_local};
    use std::marker::PhantomData;

    const SEATS: usize = 4;

    loom::lazy_static! {
        static ref PINS: [AtomicUsize; SEATS] = std::array::from_fn(|_| AtomicUsize::new(0));
        static ref NEXT: AtomicUsize = AtomicUsize::new(0);
    }

    thread_local! {
        static SEAT: usize = NEXT.fetch_add(1, Relaxed);
    }

    pub struct Guard<'a>(&'a AtomicUsize, PhantomData<*mut ()>);

    pub fn pin() -> Guard<'static> {
        let pins = SEAT.with(|seat| &PINS[*seat]);
        // Only this thread writes the word, so what it reads is its own.
        pins.store(pins.load(Relaxed) + 1, Relaxed);
        fence(SeqCst);
        Guard(pins, PhantomData)
    }

    pub fn pin_at_once() -> Option<Guard<'static>> {
        Some(pin())
    }

    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.store(self.0.load(Relaxed) - 1, Release);
        }
    }

    impl Guard<'_> {
        pub unsafe fn retire_with(&self, _garbage: *mut (), _bytes: usize, _reclaim: unsafe fn(*mut ())) {}
    }

    /// # Errors
    /// Never: no model asks under a guard.
    pub fn synchronize() -> Result<(), &'static str> {
        fence(SeqCst);
        for pins in PINS.iter() {
            let mut backoff = Backoff::new();
            while pins.load(Acquire) > 0 {
                backoff.snooze();
            }
        }
        Ok(())
    }
}
