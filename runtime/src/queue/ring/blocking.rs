//! Ends that block: they spin, then park.

use super::super::wait::Wait;
use super::super::{Closed, PopError, PushError};
use super::Ring;
use super::sleepers::Awaited;
use super::slots::TICKET;
use crate::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

impl<T> Ring<T> {
    /// Pushes, waiting for room as long as it takes: spins, then parks.
    ///
    /// # Errors
    /// The ring is closed, before or while waiting; the item comes back.
    #[inline]
    pub fn push(&self, item: T) -> Result<(), Closed<T>> {
        match self.push_at_once(item) {
            None => Ok(()),
            Some(item) => self.push_late(item, None).map_err(|error| Closed(error.into_inner())),
        }
    }

    /// Pushes, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// The ring is still full at the end of that time, or closed; the item comes back.
    pub fn push_timeout(&self, item: T, timeout: Duration) -> Result<(), PushError<T>> {
        match self.push_at_once(item) {
            None => Ok(()),
            Some(item) => self.push_late(item, Some(timeout)),
        }
    }

    /// Pushes all of `items`, in runs, waiting for room as long as it takes.
    ///
    /// # Errors
    /// The ring is closed; what was not pushed stays in `items`.
    pub fn push_all(&self, items: &mut Vec<T>) -> Result<(), Closed> {
        let mut wait = self.wait_for_room(None);
        while !items.is_empty() {
            if self.push_bulk(items) > 0 {
                self.pass_room_on(wait.was_announced());
                wait = self.wait_for_room(None);
            } else if self.is_closed() {
                return Err(Closed(()));
            } else {
                wait.pause(|| self.has_no_room(), || false);
            }
        }
        Ok(())
    }

    #[cold]
    pub(in crate::queue) fn push_late(&self, mut item: T, timeout: Option<Duration>) -> Result<(), PushError<T>> {
        let mut wait = self.wait_for_room(timeout);
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

    /// Pops, waiting for an item as long as it takes: spins, then parks.
    ///
    /// # Errors
    /// The ring is closed and drained.
    #[inline]
    pub fn pop(&self) -> Result<T, Closed> {
        match self.pop_at_once() {
            Some(item) => Ok(item),
            None => self.pop_late(|| false, None).map_err(|_| Closed(())),
        }
    }

    /// Pops, waiting for an item for at most `timeout`.
    ///
    /// # Errors
    /// The ring is still empty at the end of that time, or closed and drained.
    pub fn pop_timeout(&self, timeout: Duration) -> Result<T, PopError> {
        self.pop_until(|| false, Some(timeout))
    }

    /// Pops, waiting for an item until `give_up` holds or `timeout` is over. An item that is there is popped in any
    /// case.
    ///
    /// A caller asleep in here looks at `give_up` again when woken: make it true, then call
    /// [`wake_consumers`](Self::wake_consumers).
    ///
    /// # Errors
    /// [`PopError::Empty`] when it gave up, [`PopError::Closed`] when the ring is closed and drained.
    #[inline]
    pub fn pop_until(&self, give_up: impl Fn() -> bool, timeout: Option<Duration>) -> Result<T, PopError> {
        match self.pop_at_once() {
            Some(item) => Ok(item),
            None => self.pop_late(give_up, timeout),
        }
    }

    #[cold]
    pub(in crate::queue) fn pop_late(
        &self,
        give_up: impl Fn() -> bool,
        timeout: Option<Duration>,
    ) -> Result<T, PopError> {
        let mut wait = self.wait_for_item(timeout);
        loop {
            match self.try_pop() {
                Ok(item) => {
                    self.pass_item_on(wait.was_announced());
                    return Ok(item);
                }
                Err(PopError::Empty) if wait.pause(|| self.has_no_item(), &give_up) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Pops up to `max` items to the end of `out`, waiting for the first as [`pop_until`](Self::pop_until) does.
    /// Returns how many: at least one, unless `max` is 0.
    ///
    /// # Errors
    /// As [`pop_until`](Self::pop_until).
    pub fn pop_bulk_until(
        &self,
        out: &mut Vec<T>,
        max: usize,
        give_up: impl Fn() -> bool,
        timeout: Option<Duration>,
    ) -> Result<usize, PopError> {
        let mut wait = self.wait_for_item(timeout);
        loop {
            let popped = self.pop_bulk(out, max);
            if popped > 0 || max == 0 {
                self.pass_item_on(wait.was_announced());
                return Ok(popped);
            }
            match self.nothing_at(self.head.word.load(Relaxed) & TICKET) {
                PopError::Empty if wait.pause(|| self.has_no_item(), &give_up) => {}
                error => return Err(error),
            }
        }
    }

    fn wait_for_room(&self, timeout: Option<Duration>) -> Wait<'_, Awaited<'_>> {
        Wait::new(&self.room_waits, self.producers_asleep(), timeout)
    }

    fn wait_for_item(&self, timeout: Option<Duration>) -> Wait<'_, Awaited<'_>> {
        Wait::new(&self.item_waits, self.consumers_asleep(), timeout)
    }
}
