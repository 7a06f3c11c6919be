//! Turns: a new era behind the newest, the seal on the one before, and the step past what is drained.

use std::ptr;

use super::era::Era;
use super::{ERAS_MAX, Queue, check_capacity, shared};
use crate::queue::backend::Backend;
use crate::queue::grace::{self, Guard};
use crate::queue::{CapacityError, Kind};
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{MODELLED, MutexGuard, Step};

/// A turn that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a hand-over may not have drained yet"]
pub struct HandOver {
    /// The kind before.
    pub kind: Kind,
    /// The capacity before.
    pub capacity: usize,
    /// True when nothing was left in earlier structures at the end of the turn. What is left is popped first.
    pub drained: bool,
}

/// Why a queue was not turned. It runs on as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// A capacity it cannot have.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// The queue was closed.
    #[error("the queue is closed")]
    Closed,
    /// Too many hand-overs wait for consumers.
    #[error("{eras} hand-overs wait for their items to be popped: pop some first")]
    Undrained {
        /// How many do.
        eras: usize,
    },
}

impl<T> Queue<T> {
    /// Closes the queue. From the return on no push succeeds; items accepted before stay to be popped, and consumers
    /// see [`PopError::Closed`](crate::queue::PopError::Closed) only when every one of them has been claimed. Wakes
    /// everybody. Closing again does nothing.
    ///
    /// # Panics
    /// As [`turn`](Self::turn).
    pub fn close(&self) {
        let turning = self.turning.lock();
        if !self.is_closed() {
            self.hand_over(&turning, Backend::End);
        }
    }

    /// Turns the queue to a kind and a capacity. Takes the capacity in place where the structure can. Otherwise hands
    /// over to a new one: what is pushed from the return on goes there, and is popped after all that was pushed before.
    ///
    /// Waits for pushes in flight.
    ///
    /// # Panics
    /// When the calling thread holds a [`reclaim`](crate::reclaim) guard: it would wait for itself.
    ///
    /// # Errors
    /// A capacity of 0 or above [`CAPACITY_MAX`](crate::queue::CAPACITY_MAX), a closed queue, or [`ERAS_MAX`] earlier
    /// structures that still hold items.
    pub fn turn(&self, kind: Kind, capacity: usize) -> Result<HandOver, HandOverError> {
        self.turn_with(|_, _| (kind, capacity))
    }

    /// Turns the kind, whatever the capacity is: see [`turn`](Self::turn).
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub fn set_kind(&self, kind: Kind) -> Result<HandOver, HandOverError> {
        self.turn_with(|_, capacity| (kind, capacity))
    }

    /// Turns the capacity, whatever the kind is: see [`turn`](Self::turn).
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub fn set_capacity(&self, capacity: usize) -> Result<HandOver, HandOverError> {
        self.turn_with(|kind, _| (kind, capacity))
    }

    fn turn_with(&self, to: impl FnOnce(Kind, usize) -> (Kind, usize)) -> Result<HandOver, HandOverError> {
        let turning = self.turning.lock();
        // SAFETY: the newest era is not retired while we hold the lock (I6).
        let newest = unsafe { &*self.ends.newest.load(Relaxed) };
        let from = newest.backend.kind().ok_or(HandOverError::Closed)?;
        let before = self.capacity();
        let (kind, capacity) = to(from, before);
        check_capacity(capacity)?;
        if kind != from || !newest.backend.resize(capacity) {
            self.settle();
            let eras = self.eras();
            if eras > ERAS_MAX {
                return Err(HandOverError::Undrained { eras: ERAS_MAX });
            }
            let backend = Backend::new(kind, capacity, || shared(&self.lost))?;
            self.ends.limit.store(capacity, Relaxed); // O5
            self.hand_over(&turning, backend);
        } else {
            self.ends.limit.store(capacity, Relaxed); // O5
            self.room_bell.ring_all();
        }
        Ok(HandOver { kind: from, capacity: before, drained: self.settle() })
    }

    /// Puts an era with that backend behind the newest, seals the one before, and wakes everybody.
    pub(super) fn hand_over(&self, _turning: &MutexGuard<'_, ()>, backend: Backend<T>) {
        // SAFETY: the newest era is not retired before it has a `next` (I6), and not freed while we are in here: it was
        // sealed by nobody else, and only a sealed one is left.
        let newest = unsafe { &*self.ends.newest.load(Relaxed) };
        let closable = newest.backend.is_closable();
        // Asked before anything has changed: a grace period that waits for its own thread would never end.
        assert!(
            MODELLED || closable || grace::synchronize().is_ok(),
            "a queue is turned by a thread that holds a reclaim guard"
        );
        let next = Era::new(backend, true);
        newest.next.store(next, Release); // O1
        Step::QueueLinked.reached();
        self.ends.newest.store(next, Release); // O1
        Step::QueueRedirected.reached();
        if closable {
            newest.backend.close();
        } else if !cfg!(rt_mutant = "queue_no_grace") {
            grace::synchronize().expect("asked above"); // I3
        }
        Step::QueueClosed.reached();
        newest.sealed.store(true, Release); // O2
        Step::QueueSealed.reached();
        if !cfg!(rt_mutant = "queue_turn_wakes_nobody") {
            self.item_bell.ring_all(); // O4
            self.room_bell.ring_all();
        }
    }

    /// Leaves drained eras behind. True when there is none but the newest: nothing is left of any hand-over.
    pub fn settle(&self) -> bool {
        let guard = grace::pin();
        loop {
            let era = self.oldest(&guard);
            if era.next(&guard).is_none() {
                return true;
            }
            if !self.leave(era, &guard) {
                return false;
            }
        }
    }

    /// Eras in the chain.
    fn eras(&self) -> usize {
        let guard = grace::pin();
        std::iter::successors(Some(self.oldest(&guard)), |era| era.next(&guard)).count()
    }

    /// Moves `oldest` past `era`, if it is drained: true also when somebody else did.
    pub(super) fn leave(&self, era: &Era<T>, guard: &Guard<'_>) -> bool {
        if !era.is_drained() {
            return false;
        }
        let (era, next) = (ptr::from_ref(era).cast_mut(), era.next.load(Acquire));
        Step::QueueDrained.reached();
        if self.ends.oldest.compare_exchange(era, next, Release, Relaxed).is_ok() {
            Step::QueueLeft.reached();
            // SAFETY: `next` is not null, for `era` is sealed, and we are pinned.
            unsafe { (*next).behind.store(false, Relaxed) };
            // SAFETY: ours to retire, by the CAS, and found by nobody who pins from now on (I5). It may be freed after
            // whatever `T` borrows is gone: it has none of them.
            unsafe { guard.retire_with(era.cast(), size_of::<Era<T>>(), Era::<T>::free) };
            self.room_bell.ring_all();
        }
        true
    }
}
