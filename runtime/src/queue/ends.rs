//! A ring taken apart into handles: closed when the last producer or the last consumer goes, and faster while there is
//! only one of a kind.
//!
//! A handle is for one thread at a time (`Send`, not `Sync`; clone it for another). So the only one of its kind is the
//! only one that moves its position, and may do so by plain stores instead of compare-exchange: it has the bias of
//! `bias`. Cloning takes the bias away, and so does a sleeper on the other side, who has to leave a flag in the same
//! word, and closing. A handle that has been the only one, and undisturbed, for a while takes it back.
//!
//! Writers: `producers`, `consumers` handles as they are cloned and dropped; `undisturbed` its handle.
//! I1  Only a handle clones itself, on the thread that has it: while the count is 1, for its one handle it stays 1.
//! O1  Counts go down with AcqRel: whoever is last sees what the others did; whoever finds itself the only one
//!     (Acquire) comes after all that they pushed or popped.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use super::{Closed, PopError, PushError, Ring};
use crate::sync::atomic::AtomicUsize;
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::sync::{Arc, Backoff, MODELLED, barrier};

/// Pushes or pops without the bias before a sole handle asks for it: taking it away costs about what it saved in so
/// many.
const UNDISTURBED_MIN: u32 = if MODELLED { 1 } else { 1024 };

struct Shared<T> {
    ring: Ring<T>,
    producers: AtomicUsize,
    consumers: AtomicUsize,
}

impl<T> Ring<T> {
    /// Takes the ring apart into a producer and a consumer, to be cloned for as many threads as there are.
    ///
    /// ```
    /// use rheostat_runtime::queue::{PopError, Ring};
    ///
    /// let (producer, consumer) = Ring::new(8)?.split();
    /// let another = producer.clone();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(move || producer.push(1).unwrap());
    ///     scope.spawn(move || another.push(2).unwrap());
    /// });
    /// assert_eq!(consumer.pop().unwrap() + consumer.pop().unwrap(), 3);
    /// assert_eq!(consumer.try_pop(), Err(PopError::Closed));
    /// # Ok::<(), rheostat_runtime::queue::CapacityError>(())
    /// ```
    pub fn split(self) -> (Producer<T>, Consumer<T>) {
        barrier::prepare();
        self.prefer_sole_producer();
        self.prefer_sole_consumer();
        let shared = Arc::new(Shared { ring: self, producers: AtomicUsize::new(1), consumers: AtomicUsize::new(1) });
        (Producer { shared: shared.clone(), undisturbed: Cell::new(0) }, Consumer { shared, undisturbed: Cell::new(0) })
    }
}

/// A handle that pushes. When the last of them goes, the ring is closed behind the last item.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    undisturbed: Cell<u32>,
}

/// A handle that pops. When the last of them goes, the ring is closed and what is in it is dropped.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    undisturbed: Cell<u32>,
}

/// Counts a step without the bias; true when it is time to ask for it.
fn is_due(undisturbed: &Cell<u32>, handles: &AtomicUsize) -> bool {
    let steps = undisturbed.get() + 1;
    let due = steps >= UNDISTURBED_MIN;
    undisturbed.set(if due { 0 } else { steps });
    due && handles.load(Acquire) == 1 // O1
}

impl<T> Producer<T> {
    /// As [`Ring::try_push`].
    ///
    /// # Errors
    /// The ring is full or closed; the item comes back.
    #[inline]
    pub fn try_push(&self, item: T) -> Result<(), PushError<T>> {
        match self.shared.ring.push_alone(item) {
            None => Ok(()),
            Some(item) => self.push_among(item),
        }
    }

    /// As one of many, or for want of room.
    #[inline]
    fn push_among(&self, item: T) -> Result<(), PushError<T>> {
        if is_due(&self.undisturbed, &self.shared.producers) {
            self.shared.ring.prefer_sole_producer();
        }
        self.shared.ring.try_push(item)
    }

    /// As [`Ring::push`].
    ///
    /// # Errors
    /// The ring is closed, before or while waiting; the item comes back.
    #[inline]
    pub fn push(&self, item: T) -> Result<(), Closed<T>> {
        let Some(item) = self.shared.ring.push_alone(item) else { return Ok(()) };
        let pushed = match self.push_among(item) {
            Err(PushError::Full(item)) => self.shared.ring.push_late(item, None),
            at_once => at_once,
        };
        pushed.map_err(|error| Closed(error.into_inner()))
    }

    /// As [`Ring::push_timeout`].
    ///
    /// # Errors
    /// The ring is still full at the end of that time, or closed; the item comes back.
    pub fn push_timeout(&self, item: T, timeout: Duration) -> Result<(), PushError<T>> {
        self.shared.ring.push_timeout(item, timeout)
    }

    /// As [`Ring::push_bulk`].
    pub fn push_bulk(&self, items: &mut Vec<T>) -> usize {
        self.shared.ring.push_bulk(items)
    }

    /// As [`Ring::push_all`].
    ///
    /// # Errors
    /// The ring is closed; what was not pushed stays in `items`.
    pub fn push_all(&self, items: &mut Vec<T>) -> Result<(), Closed> {
        self.shared.ring.push_all(items)
    }

    /// As [`Ring::push_async`].
    ///
    /// # Errors
    /// The ring is closed, before or while waiting; the item comes back.
    pub async fn push_async(&self, item: T) -> Result<(), Closed<T>> {
        self.shared.ring.push_async(item).await
    }

    /// As [`Ring::push_all_async`].
    ///
    /// # Errors
    /// The ring is closed; what was not pushed stays in `items`.
    pub async fn push_all_async(&self, items: &mut Vec<T>) -> Result<(), Closed> {
        self.shared.ring.push_all_async(items).await
    }
}

impl<T> Consumer<T> {
    /// As [`Ring::try_pop`].
    ///
    /// # Errors
    /// The ring is empty, or closed and drained.
    #[inline]
    pub fn try_pop(&self) -> Result<T, PopError> {
        match self.shared.ring.pop_alone() {
            Some(item) => Ok(item),
            None => self.pop_among(),
        }
    }

    /// As one of many, or for want of an item.
    #[inline]
    fn pop_among(&self) -> Result<T, PopError> {
        if is_due(&self.undisturbed, &self.shared.consumers) {
            self.shared.ring.prefer_sole_consumer();
        }
        self.shared.ring.try_pop()
    }

    /// As [`Ring::pop`].
    ///
    /// # Errors
    /// The ring is closed and drained.
    #[inline]
    pub fn pop(&self) -> Result<T, Closed> {
        if let Some(item) = self.shared.ring.pop_alone() {
            return Ok(item);
        }
        let popped = match self.pop_among() {
            Err(PopError::Empty) => self.shared.ring.pop_late(|| false, None),
            at_once => at_once,
        };
        popped.map_err(|_| Closed(()))
    }

    /// As [`Ring::pop_timeout`].
    ///
    /// # Errors
    /// The ring is still empty at the end of that time, or closed and drained.
    pub fn pop_timeout(&self, timeout: Duration) -> Result<T, PopError> {
        self.shared.ring.pop_timeout(timeout)
    }

    /// As [`Ring::pop_bulk`].
    pub fn pop_bulk(&self, out: &mut Vec<T>, max: usize) -> usize {
        self.shared.ring.pop_bulk(out, max)
    }

    /// As [`Ring::pop_bulk_until`], for at most `timeout`, or as long as it takes.
    ///
    /// # Errors
    /// As [`pop_timeout`](Self::pop_timeout).
    pub fn pop_bulk_wait(&self, out: &mut Vec<T>, max: usize, timeout: Option<Duration>) -> Result<usize, PopError> {
        self.shared.ring.pop_bulk_until(out, max, || false, timeout)
    }

    /// As [`Ring::pop_async`].
    ///
    /// # Errors
    /// The ring is closed and drained.
    pub async fn pop_async(&self) -> Result<T, Closed> {
        self.shared.ring.pop_async().await
    }

    /// As [`Ring::pop_bulk_async`].
    ///
    /// # Errors
    /// The ring is closed and drained.
    pub async fn pop_bulk_async(&self, out: &mut Vec<T>, max: usize) -> Result<usize, Closed> {
        self.shared.ring.pop_bulk_async(out, max).await
    }
}

/// What both kinds of handle say of the ring.
macro_rules! shared_face {
    ($handle:ident) => {
        impl<T> $handle<T> {
            /// Closes the ring before the last handle goes, as [`Ring::close`] does.
            pub fn close(&self) {
                self.shared.ring.close();
            }

            /// True once the ring is closed; there may still be items in it.
            pub fn is_closed(&self) -> bool {
                self.shared.ring.is_closed()
            }

            /// Items in the ring, those on their way in or out included.
            pub fn len(&self) -> usize {
                self.shared.ring.len()
            }

            /// True when there are none.
            pub fn is_empty(&self) -> bool {
                self.shared.ring.is_empty()
            }

            /// True when a push would be refused for lack of room.
            pub fn is_full(&self) -> bool {
                self.shared.ring.is_full()
            }

            /// Items the ring takes before it is full.
            pub fn capacity(&self) -> usize {
                self.shared.ring.capacity()
            }
        }

        impl<T> fmt::Debug for $handle<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($handle)).field(&self.shared.ring).finish()
            }
        }
    };
}

shared_face!(Producer);
shared_face!(Consumer);

impl<T> Clone for Producer<T> {
    fn clone(&self) -> Self {
        self.shared.producers.fetch_add(1, Relaxed); // I1: nobody else can be about to find itself the only one.
        self.shared.ring.admit_producers();
        Self { shared: self.shared.clone(), undisturbed: Cell::new(0) }
    }
}

impl<T> Clone for Consumer<T> {
    fn clone(&self) -> Self {
        self.shared.consumers.fetch_add(1, Relaxed); // I1
        self.shared.ring.admit_consumers();
        Self { shared: self.shared.clone(), undisturbed: Cell::new(0) }
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        if self.shared.producers.fetch_sub(1, AcqRel) == 1 {
            self.shared.ring.close(); // O1
        }
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        if self.shared.consumers.fetch_sub(1, AcqRel) > 1 {
            return;
        }
        self.shared.ring.close();
        // What the items hold on to should not have to wait until the producers have noticed and gone.
        let mut backoff = Backoff::new();
        loop {
            match self.shared.ring.try_pop() {
                Ok(item) => drop(item),
                Err(PopError::Empty) => backoff.snooze(), // A producer is halfway through the push of one.
                Err(PopError::Closed) => return,
            }
        }
    }
}
