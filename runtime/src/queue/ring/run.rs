//! Runs of items that are claimed at once.

use super::super::bulk::{put_back, take_front};
use super::slots::{FULL, STRIDE, TICKET, VACANT, distance};
use super::{CLOSED, Ring};
use crate::sync::Backoff;
use crate::sync::atomic::Ordering::Acquire;

impl<T> Ring<T> {
    /// Pushes as many items from the front of `items` as there is room for, as one run, in order and without
    /// waiting. Returns how many; none when full or [closed](Self::is_closed).
    pub fn push_bulk(&self, items: &mut Vec<T>) -> usize {
        let mut backoff = Backoff::new();
        let mut tail = self.tail.word.load(Acquire); // O2
        loop {
            if tail & CLOSED != 0 || items.is_empty() {
                return 0;
            }
            let ticket = tail & TICKET;
            let room = self.room_at(ticket, items.len()).min(items.len());
            let end = self.shape.slots.ready(&self.tail.vacant, ticket, room, VACANT);
            if end == ticket {
                if room > 0 && self.shape.slots.was_claimed(ticket, VACANT) {
                    tail = self.tail.word.load(Acquire);
                    continue;
                }
                return 0;
            }
            let run = distance(end, ticket) as usize;
            match self.claim_push(tail, run) {
                Ok(_) => {
                    let pushed = run / STRIDE;
                    // SAFETY: the CAS made the whole run ours (I1, I2), there are so many items, and filling slots does
                    // not unwind.
                    unsafe { take_front(items, pushed, |from| self.shape.slots.fill_run(ticket, from, pushed)) };
                    self.published(tail);
                    return pushed;
                }
                Err(now) => tail = now,
            }
            backoff.spin();
        }
    }

    /// Pops up to `max` items to the end of `out`, as one run, in order and without waiting. Returns how many.
    pub fn pop_bulk(&self, out: &mut Vec<T>, max: usize) -> usize {
        let mut backoff = Backoff::new();
        let mut head = self.head.word.load(Acquire); // O2
        loop {
            let ticket = head & TICKET;
            let end = self.shape.slots.ready(&self.head.full, ticket, max.min(self.allocation()), FULL);
            if end == ticket {
                if max > 0 && self.shape.slots.was_claimed(ticket, FULL) {
                    head = self.head.word.load(Acquire);
                    continue;
                }
                return 0;
            }
            let run = distance(end, ticket) as usize;
            let popped = run / STRIDE;
            out.reserve(popped); // Before the claim: what may panic must not hold slots.
            match self.claim_pop(head, run) {
                Ok(_) => {
                    // SAFETY: the CAS made the whole run ours (I1, I2), and room for it was reserved.
                    unsafe { put_back(out, popped, |to| self.shape.slots.take_run(ticket, to, popped)) };
                    self.vacated(head, head.wrapping_add(run));
                    return popped;
                }
                Err(now) => head = now,
            }
            backoff.spin();
        }
    }
}
