//! A structure's time in a queue: one link of the chain.

use crate::queue::backend::Backend;
use crate::queue::grace::Guard;
use crate::sync::atomic::Ordering::Acquire;
use crate::sync::atomic::{AtomicBool, AtomicPtr};
use std::ptr;

/// A structure's time in the queue.
pub(super) struct Era<T> {
    pub(super) backend: Backend<T>,
    pub(super) next: AtomicPtr<Era<T>>,
    pub(super) sealed: AtomicBool,
    /// True while earlier eras hold items.
    pub(super) behind: AtomicBool,
}

impl<T> Era<T> {
    pub(super) fn new(backend: Backend<T>, behind: bool) -> *mut Self {
        Box::into_raw(Box::new(Self {
            backend,
            next: AtomicPtr::new(ptr::null_mut()),
            sealed: AtomicBool::new(false),
            behind: AtomicBool::new(behind),
        }))
    }

    /// # Safety
    /// `era` came from [`new`](Self::new), and nobody can reach it any more.
    pub(super) unsafe fn free(era: *mut ()) {
        // SAFETY: by the caller.
        drop(unsafe { Box::from_raw(era.cast::<Self>()) });
    }

    /// The era after this one, for as long as the caller is pinned.
    #[inline(always)]
    pub(super) fn next<'g>(&self, _guard: &'g Guard<'_>) -> Option<&'g Self> {
        // SAFETY: an era is retired after the one before it (I5), so it outlives the pin that this one was found under.
        unsafe { self.next.load(Acquire).as_ref() } // O1
    }

    /// True for the era that a closed queue ends in.
    pub(super) fn is_end(&self) -> bool {
        matches!(self.backend, Backend::End)
    }

    /// True once nothing is in it and nothing will ever be (I4).
    pub(super) fn is_drained(&self) -> bool {
        // O2: in this order.
        (self.sealed.load(Acquire) || cfg!(rt_mutant = "queue_leave_unsealed")) && self.backend.is_empty()
    }
}
