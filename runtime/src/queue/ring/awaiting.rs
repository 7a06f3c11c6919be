//! Ends that await, on any executor.

use super::super::wait::wait_async;
use super::super::{Closed, PopError, PushError};
use super::Ring;
use super::slots::TICKET;
use crate::sync::atomic::Ordering::Relaxed;

impl<T> Ring<T> {
    /// Pushes, waiting for room without holding the thread, on any executor.
    ///
    /// A future dropped before it is done has not pushed, and drops its item; it takes no wake-up with it that another
    /// producer needs. [`push_all_async`](Self::push_all_async) leaves what was not pushed with the caller. A future
    /// that never has to wait never yields: it is for the caller to give other tasks a turn.
    ///
    /// # Errors
    /// The ring is closed, before or while waiting; the item comes back.
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
        let room = self.producers_asleep();
        let (pushed, announced) = wait_async(&self.room_waits, room, attempt, || self.has_no_room()).await;
        self.pass_room_on(announced);
        pushed
    }

    /// Pushes all of `items`, in runs, waiting for room as [`push_async`](Self::push_async) does. Dropped before it is
    /// done it has taken from the front of `items` what was pushed, and nothing else.
    ///
    /// # Errors
    /// The ring is closed; what was not pushed stays in `items`.
    pub async fn push_all_async(&self, items: &mut Vec<T>) -> Result<(), Closed> {
        while !items.is_empty() {
            let attempt = || match self.push_bulk(items) {
                0 if self.is_closed() => Some(Err(Closed(()))),
                0 => None,
                _ => Some(Ok(())),
            };
            let room = self.producers_asleep();
            let (pushed, announced) = wait_async(&self.room_waits, room, attempt, || self.has_no_room()).await;
            self.pass_room_on(announced);
            pushed?;
        }
        Ok(())
    }

    /// Pops, waiting for an item without holding the thread, on any executor.
    ///
    /// A future dropped before it is done has popped nothing, and takes no wake-up with it that another consumer needs.
    /// One that never has to wait never yields.
    ///
    /// # Errors
    /// The ring is closed and drained.
    pub async fn pop_async(&self) -> Result<T, Closed> {
        let attempt = || match self.try_pop() {
            Err(PopError::Empty) => None,
            Err(PopError::Closed) => Some(Err(Closed(()))),
            Ok(item) => Some(Ok(item)),
        };
        let item = self.consumers_asleep();
        let (popped, announced) = wait_async(&self.item_waits, item, attempt, || self.has_no_item()).await;
        self.pass_item_on(announced);
        popped
    }

    /// Pops up to `max` items to the end of `out`, waiting for the first as [`pop_async`](Self::pop_async) does.
    /// Returns how many: at least one, unless `max` is 0.
    ///
    /// # Errors
    /// The ring is closed and drained.
    pub async fn pop_bulk_async(&self, out: &mut Vec<T>, max: usize) -> Result<usize, Closed> {
        let attempt = || match self.pop_bulk(out, max) {
            0 if max > 0 => match self.nothing_at(self.head.word.load(Relaxed) & TICKET) {
                PopError::Empty => None,
                PopError::Closed => Some(Err(Closed(()))),
            },
            popped => Some(Ok(popped)),
        };
        let item = self.consumers_asleep();
        let (popped, announced) = wait_async(&self.item_waits, item, attempt, || self.has_no_item()).await;
        self.pass_item_on(announced);
        popped
    }
}
