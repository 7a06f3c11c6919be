//! One item at a time, without waiting: a short inlined path, and everything else out of line.

use super::super::{PopError, PushError};
use super::slots::{FULL, STRIDE, Slot, TICKET, VACANT};
use super::{CLAIM_POP, CLAIM_PUSH, CLOSED, Ring};
use crate::sync::Backoff;
use crate::sync::atomic::Ordering::{Acquire, Relaxed};

impl<T> Ring<T> {
    /// Pushes without waiting.
    ///
    /// # Errors
    /// The ring is full or closed; the item comes back.
    #[inline]
    pub fn try_push(&self, item: T) -> Result<(), PushError<T>> {
        match self.push_at_once(item) {
            None => Ok(()),
            Some(item) => self.push_further(item),
        }
    }

    /// Pushes if that takes no closer look, and gives the item back if it does. No more than that is inlined, and its
    /// callers make a `Result` of it only where they have to.
    #[inline(always)]
    pub(in crate::queue) fn push_at_once(&self, item: T) -> Option<T> {
        let tail = self.tail.word.load(Acquire); // O2
        let slot = self.shape.slots.slot(tail & TICKET);
        if tail & CLOSED != 0 || !self.may_push(tail & TICKET, &slot) || self.claim_push(tail, STRIDE).is_err() {
            return Some(item);
        }
        // SAFETY: the CAS made this ticket ours (I1).
        unsafe { slot.fill(item) };
        self.published(tail);
        None
    }

    /// Looks as closely as it takes.
    #[cold]
    fn push_further(&self, item: T) -> Result<(), PushError<T>> {
        let mut backoff = Backoff::new();
        let mut tail = self.tail.word.load(Acquire); // O2
        loop {
            if tail & CLOSED != 0 {
                return Err(PushError::Closed(item));
            }
            let ticket = tail & TICKET;
            if self.room_at(ticket, 1) == 0 {
                return Err(PushError::Full(item));
            }
            if self.shape.slots.ready(&self.tail.vacant, ticket, 1, VACANT) == ticket {
                if self.shape.slots.was_claimed(ticket, VACANT) {
                    tail = self.tail.word.load(Acquire);
                    continue;
                }
                // A consumer of the last lap has yet to leave.
                return Err(PushError::Full(item));
            }
            match self.claim_push(tail, STRIDE) {
                Ok(_) => {
                    // SAFETY: the CAS made this ticket ours (I1).
                    unsafe { self.shape.slots.slot(ticket).fill(item) };
                    self.published(tail);
                    return Ok(());
                }
                Err(now) => tail = now,
            }
            backoff.spin();
        }
    }

    /// Pops without waiting.
    ///
    /// # Errors
    /// The ring is empty, or closed and drained.
    #[inline]
    pub fn try_pop(&self) -> Result<T, PopError> {
        match self.pop_at_once() {
            Some(item) => Ok(item),
            None => self.pop_further(),
        }
    }

    /// Pops if that takes no closer look: see [`push_at_once`](Self::push_at_once).
    #[inline(always)]
    pub(in crate::queue) fn pop_at_once(&self) -> Option<T> {
        let head = self.head.word.load(Acquire); // O2
        let slot = self.shape.slots.slot(head & TICKET);
        if !slot.is_ready(&self.head.full, FULL) || self.claim_pop(head, STRIDE).is_err() {
            return None;
        }
        // SAFETY: the CAS made this ticket ours (I1).
        let item = unsafe { slot.take() };
        self.vacated(head, head.wrapping_add(STRIDE));
        Some(item)
    }

    /// Looks as closely as it takes.
    #[cold]
    fn pop_further(&self) -> Result<T, PopError> {
        let mut backoff = Backoff::new();
        let mut head = self.head.word.load(Acquire); // O2
        loop {
            let ticket = head & TICKET;
            if self.shape.slots.ready(&self.head.full, ticket, 1, FULL) == ticket {
                if self.shape.slots.was_claimed(ticket, FULL) {
                    head = self.head.word.load(Acquire);
                    continue;
                }
                return Err(self.nothing_at(ticket));
            }
            match self.claim_pop(head, STRIDE) {
                Ok(_) => {
                    // SAFETY: the CAS made this ticket ours (I1).
                    let item = unsafe { self.shape.slots.slot(ticket).take() };
                    self.vacated(head, head.wrapping_add(STRIDE));
                    return Ok(item);
                }
                Err(now) => head = now,
            }
            backoff.spin();
        }
    }

    /// Pushes for the one that owns the bias: gives the item back when that does not stand, or the ring is full.
    #[inline(always)]
    pub(in crate::queue) fn push_alone(&self, item: T) -> Option<T> {
        let Some(_visit) = self.shape.push_bias.visit(&self.tail.mark) else { return Some(item) };
        let ticket = self.tail.word.load(Acquire); // O2; I6: without flags.
        let slot = self.shape.slots.slot(ticket);
        if !self.may_push(ticket, &slot) {
            return Some(item);
        }
        // As with a CAS the ticket goes before the item: nobody may pop what `tail` has not passed (I3).
        self.tail.word.store(ticket.wrapping_add(STRIDE), CLAIM_PUSH); // O2
        // SAFETY: nobody else moves `tail` during the visit, so the ticket is ours (I1, I6).
        unsafe { slot.fill(item) };
        None // Nobody sleeps: the flag was down, and stays down until the visit ends.
    }

    /// Pops for the one that owns the bias: nothing when that does not stand, or nothing is there.
    #[inline(always)]
    pub(in crate::queue) fn pop_alone(&self) -> Option<T> {
        let _visit = self.shape.pop_bias.visit(&self.head.mark)?;
        let ticket = self.head.word.load(Acquire); // O2; I6: without flags.
        let slot = self.shape.slots.slot(ticket);
        if !slot.is_ready(&self.head.full, FULL) {
            return None;
        }
        self.head.word.store(ticket.wrapping_add(STRIDE), CLAIM_POP); // O2
        // SAFETY: nobody else moves `head` during the visit, so the ticket is ours (I1, I6).
        Some(unsafe { slot.take() })
    }

    /// Grants the sole producer the bias on `tail`, unless a flag is up.
    pub(in crate::queue) fn prefer_sole_producer(&self) {
        self.shape.push_bias.grant_if(|| self.tail.word.load(Relaxed) & !TICKET == 0);
    }

    /// Grants the sole consumer the bias on `head`, unless a flag is up.
    pub(in crate::queue) fn prefer_sole_consumer(&self) {
        self.shape.pop_bias.grant_if(|| self.head.word.load(Relaxed) & !TICKET == 0);
    }

    /// There will be another producer: takes the bias away.
    pub(in crate::queue) fn admit_producers(&self) {
        self.shape.push_bias.revoke_and(&self.tail.mark, || ());
    }

    /// There will be another consumer: takes the bias away.
    pub(in crate::queue) fn admit_consumers(&self) {
        self.shape.pop_bias.revoke_and(&self.head.mark, || ());
    }

    /// True if one push can be let in at `ticket`, whose slot it is, and that takes no closer look.
    #[inline(always)]
    fn may_push(&self, ticket: usize, slot: &Slot<'_, T>) -> bool {
        // A `ticket` that is out of date can lie before `head_seen`: then the difference is huge.
        let length = ticket.wrapping_sub(self.tail.head_seen.load(Relaxed));
        length < self.limit() * STRIDE && slot.is_ready(&self.tail.vacant, VACANT) // I5
    }
}
