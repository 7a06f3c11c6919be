//! The ends of a queue that wait: they hold the thread, or a task.

use std::time::Duration;

use super::Queue;
use crate::queue::grace;
use crate::queue::{Closed, PopError, PushError};

impl<T> Queue<T> {
    /// Pushes, waiting for room as long as it takes: spins, then parks.
    ///
    /// # Errors
    /// The queue is closed, before or while waiting; the item comes back.
    #[inline]
    pub fn push(&self, item: T) -> Result<(), Closed<T>> {
        self.push_within(item, None).map_err(|error| Closed(error.into_inner()))
    }

    /// Pushes, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// The queue is still full at the end of that time, or closed; the item comes back.
    pub fn push_timeout(&self, item: T, timeout: Duration) -> Result<(), PushError<T>> {
        self.push_within(item, Some(timeout))
    }

    #[inline]
    fn push_within(&self, item: T, timeout: Option<Duration>) -> Result<(), PushError<T>> {
        match self.try_push(item) {
            Err(PushError::Full(item)) => self.push_late(item, timeout),
            at_once => at_once,
        }
    }

    #[cold]
    fn push_late(&self, mut item: T, timeout: Option<Duration>) -> Result<(), PushError<T>> {
        let mut wait = self.room_bell.wait(timeout);
        loop {
            match self.try_push(item) {
                Ok(()) => {
                    self.pass_room_on(wait.was_announced());
                    return Ok(());
                }
                Err(PushError::Full(back)) if wait.pause(|| self.has_no_room(), || false) => item = back,
                Err(error) => return Err(error),
            }
        }
    }

    /// Pushes all of `items`, in runs, waiting for room as long as it takes.
    ///
    /// # Errors
    /// The queue is closed; what was not pushed stays in `items`.
    pub fn push_all(&self, items: &mut Vec<T>) -> Result<(), Closed> {
        let mut wait = self.room_bell.wait(None);
        while !items.is_empty() {
            if self.push_bulk(items) > 0 {
                self.pass_room_on(wait.was_announced());
                wait = self.room_bell.wait(None);
            } else if self.is_closed() {
                return Err(Closed(()));
            } else {
                wait.pause(|| self.has_no_room(), || false);
            }
        }
        Ok(())
    }

    /// Pops, waiting for an item as long as it takes: spins, then parks.
    ///
    /// # Errors
    /// The queue is closed and drained.
    #[inline]
    pub fn pop(&self) -> Result<T, Closed> {
        self.pop_within(None).map_err(|_| Closed(()))
    }

    /// Pops, waiting for an item for at most `timeout`.
    ///
    /// # Errors
    /// The queue is still empty at the end of that time, or closed and drained.
    pub fn pop_timeout(&self, timeout: Duration) -> Result<T, PopError> {
        self.pop_within(Some(timeout))
    }

    #[inline]
    fn pop_within(&self, timeout: Option<Duration>) -> Result<T, PopError> {
        match self.try_pop() {
            Err(PopError::Empty) => self.pop_late(|| self.try_pop(), timeout),
            at_once => at_once,
        }
    }

    /// Pops up to `max` items to the end of `out`, waiting for the first for at most `timeout`. Returns how many: at
    /// least one, unless `max` is 0.
    ///
    /// # Errors
    /// The queue is still empty at the end of that time, or closed and drained.
    pub fn pop_bulk_within(&self, out: &mut Vec<T>, max: usize, timeout: Option<Duration>) -> Result<usize, PopError> {
        self.pop_late(|| self.try_pop_bulk(out, max), timeout)
    }

    #[cold]
    fn pop_late<R>(
        &self,
        mut attempt: impl FnMut() -> Result<R, PopError>,
        timeout: Option<Duration>,
    ) -> Result<R, PopError> {
        let mut wait = self.item_bell.wait(timeout);
        loop {
            match attempt() {
                Ok(popped) => {
                    self.pass_item_on(wait.was_announced());
                    return Ok(popped);
                }
                Err(PopError::Empty) if wait.pause(|| self.has_no_item(), || false) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Pushes, waiting for room without holding the thread, on any executor. A future dropped before it is done drops
    /// the item, and takes no wake-up with it that another producer needs.
    ///
    /// # Errors
    /// The queue is closed, before or while waiting; the item comes back.
    pub async fn push_async(&self, item: T) -> Result<(), Closed<T>> {
        let mut item = Some(item);
        let attempt = || match self.try_push(item.take()?) {
            Ok(()) => Some(Ok(())),
            Err(PushError::Closed(back)) => Some(Err(Closed(back))),
            Err(PushError::Full(back)) => {
                item = Some(back);
                None
            }
        };
        let (pushed, announced) = self.room_bell.wait_async(attempt, || self.has_no_room()).await;
        self.pass_room_on(announced);
        pushed
    }

    /// Pushes a run from the front of `items`, in order, waiting for room for the first of them as
    /// [`push_async`](Self::push_async) does. Returns how many, at least one unless `items` is empty. A future dropped
    /// before it is done has pushed nothing.
    ///
    /// # Errors
    /// The queue is closed; what was not pushed stays in `items`.
    pub async fn push_bulk_async(&self, items: &mut Vec<T>) -> Result<usize, Closed> {
        let attempt = || match self.push_bulk(items) {
            0 if items.is_empty() => Some(Ok(0)),
            0 if self.is_closed() => Some(Err(Closed(()))),
            0 => None,
            pushed => Some(Ok(pushed)),
        };
        let (pushed, announced) = self.room_bell.wait_async(attempt, || self.has_no_room()).await;
        self.pass_room_on(announced);
        pushed
    }

    /// Pops, waiting for an item without holding the thread, on any executor. A future dropped before it is done has
    /// popped nothing, and takes no wake-up with it that another consumer needs.
    ///
    /// # Errors
    /// The queue is closed and drained.
    pub async fn pop_async(&self) -> Result<T, Closed> {
        let attempt = || match self.try_pop() {
            Err(PopError::Empty) => None,
            Err(PopError::Closed) => Some(Err(Closed(()))),
            Ok(item) => Some(Ok(item)),
        };
        let (popped, announced) = self.item_bell.wait_async(attempt, || self.has_no_item()).await;
        self.pass_item_on(announced);
        popped
    }

    /// O4: true when every item that has begun to show has been claimed, and more may come.
    fn has_no_item(&self) -> bool {
        let guard = grace::pin();
        let era = self.oldest(&guard);
        !era.is_end() && era.backend.is_empty() && era.next(&guard).is_none()
    }

    /// O4: true when no consumer has so much as claimed what would make room, and one still may.
    fn has_no_room(&self) -> bool {
        !self.is_closed() && self.is_full()
    }

    /// A consumer that slept was perhaps woken for a run, and took less.
    fn pass_item_on(&self, announced: bool) {
        if announced && !self.is_empty() {
            self.tell_consumers();
        }
    }

    /// A producer that slept was perhaps woken for much room, and used less.
    fn pass_room_on(&self, announced: bool) {
        if announced {
            self.tell_producers();
        }
    }
}
