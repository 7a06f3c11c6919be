//! The slots of a ring, and which of them are ready for whom: a word for each run that was handed over, not for each
//! slot.
//!
//! Tickets name slots for one lap: they count in strides of four, and wrap; the two low bits are free for flags. What a
//! role claimed at once is a run, and when it is done with it says so in one place, the word of the slot the run begins
//! in:
//!
//! | `ends[i]` | bits 2.. | bit 0 |
//! |---|---|---|
//! | a run that was published | the ticket behind it | `FULL` |
//! | a run that was vacated | the ticket behind it, in the next lap | 0 |
//! | no run begins here | as it was | as it was |
//!
//! Writers: `ends[i]` and the values of its run, who claimed the run; a frontier, anybody of its role, upwards only.
//! I1  From one end of a run on the next begins: tickets are claimed in order and without gaps. So who knows where one
//!     run ends finds the word of the next, whatever was left in the slots between.
//! I2  A word that is not of this lap names a ticket no later than its own slot's, or one more than a lap later: runs
//!     are no longer than a lap. So no word is taken for another, for as long as tickets do not wrap past it.
//! I3  A frontier ends where a run of the other role ends, and everything before it is ready, or was claimed since. Who
//!     claims a part of a run has raised the frontier to its end before; so the position of a role is either behind its
//!     frontier, or where a run of the other role begins.
//! O1  A word's store Release pairs with its load Acquire in the other role. It carries the values of the run, or the
//!     news that they were taken.
//! O2  A frontier is raised by Release and loaded Acquire: it passes on what O1 carried. Only read-modify-writes touch
//!     it, so it passes on what those before carried as well.
//! O3  Who claims a part of a run moves its position by Release, after the frontier; who loads the position Acquire,
//!     before the frontier, finds that raised (I3).

use std::mem::MaybeUninit;

use crate::sync::UnsafeCell;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicUsize, Ordering};

/// From one ticket to the next.
pub(super) const STRIDE: usize = 4;
/// The ticket in a word.
pub(super) const TICKET: usize = !(STRIDE - 1);
/// What producers look for.
pub(super) const VACANT: usize = 0;
/// What consumers look for.
pub(super) const FULL: usize = 1;

/// O1 and O2 as they are, and as mutants that show that a model is watching them.
const PUBLISH: Ordering = if cfg!(rt_mutant = "ring_items_unpublished") { Relaxed } else { Release };
const VACATE: Ordering = if cfg!(rt_mutant = "ring_room_unpublished") { Relaxed } else { Release };
const RAISE: Ordering = if cfg!(rt_mutant = "ring_frontier_unordered") { Relaxed } else { Release };

/// A word may be left where it is for many laps, and must not come to look new (I2).
const _: () = assert!(usize::BITS == 64, "tickets would wrap");

type Value<T> = UnsafeCell<MaybeUninit<T>>;

/// Values, and the words of their runs.
pub(super) struct Slots<T> {
    ends: Box<[AtomicUsize]>,
    values: Box<[Value<T>]>,
    /// One less than there are of both.
    mask: usize,
}

/// The slot of a ticket, looked up once.
pub(super) struct Slot<'s, T> {
    ticket: usize,
    lap: usize,
    end: &'s AtomicUsize,
    value: &'s Value<T>,
}

/// How far a role knows the slots to be ready.
pub(super) struct Frontier(AtomicUsize);

/// How far `ticket` is past `other`; negative before it.
#[inline(always)]
pub(super) fn distance(ticket: usize, other: usize) -> isize {
    ticket.wrapping_sub(other) as isize
}

impl Frontier {
    /// Everything before `ticket` is ready.
    pub(super) fn new(ticket: usize) -> Self {
        Self(AtomicUsize::new(ticket))
    }

    fn raise(&self, to: usize) {
        if cfg!(rt_mutant = "ring_frontier_falls_back") {
            return self.0.store(to, Release);
        }
        let mut known = self.0.load(Relaxed);
        while distance(to, known) > 0 {
            match self.0.compare_exchange_weak(known, to, RAISE, Relaxed) {
                Ok(_) => return,
                Err(now) => known = now,
            }
        }
    }
}

impl<T> Slots<T> {
    /// `count` vacant slots, a power of two, the first ticket being `start`; and the frontiers of producers and
    /// consumers.
    pub(super) fn new(count: usize, start: usize) -> (Self, Frontier, Frontier) {
        let ends = (0..count).map(|_| AtomicUsize::new(start)).collect();
        let values = (0..count).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
        let slots = Self { ends, values, mask: count - 1 };
        let vacant = Frontier::new(start.wrapping_add(slots.lap()));
        (slots, vacant, Frontier::new(start))
    }

    pub(super) fn count(&self) -> usize {
        self.values.len()
    }

    /// The end of the slots in `state` from `ticket` on, up to `wanted`: `ticket` itself if there are none. Who claims
    /// them claims all of them, and does so by moving a position that it has loaded Acquire (O3).
    pub(super) fn ready(&self, frontier: &Frontier, ticket: usize, wanted: usize, state: usize) -> usize {
        let end = ticket.wrapping_add(wanted * STRIDE);
        let known = frontier.0.load(Acquire); // O2
        if distance(known, end) >= 0 {
            return end;
        }
        let from = if distance(known, ticket) > 0 { known } else { ticket };
        let until = self.look(from, end, state);
        if distance(until, end) <= 0 {
            return until;
        }
        frontier.raise(until); // I3
        end
    }

    /// The end of the runs in `state` that follow each other from `from` on, where one begins; looks no further than
    /// the run in which `most` lies.
    fn look(&self, from: usize, most: usize, state: usize) -> usize {
        let mut until = from;
        loop {
            // Of runs of one the next is looked up before the word has said where it begins. A longer run may have led
            // past `most`, so that is no number to be met exactly.
            let mut word = self.end(until).load(Acquire); // O1
            while distance(most, until) > 0 && word == until.wrapping_add(STRIDE | state) {
                until = until.wrapping_add(STRIDE);
                word = self.end(until).load(Acquire); // O1
            }
            if distance(until, most) >= 0 {
                return until;
            }
            let length = distance(word & TICKET, until);
            if word & FULL != state || length <= 0 || length > self.lap() as isize {
                return until; // I2
            }
            until = word & TICKET;
        }
    }

    /// True when the slot of `ticket`, a position that was loaded Acquire, has been claimed: that position is out of
    /// date.
    pub(super) fn was_claimed(&self, ticket: usize, state: usize) -> bool {
        let word = self.end(ticket).load(Acquire); // O1
        let length = distance(word & TICKET, ticket);
        length > self.lap() as isize || (state == VACANT && word & FULL != 0 && length > 0)
    }

    /// # Safety
    /// The caller has claimed `count` tickets from `ticket` on as a producer, and `from` points to so many items, which
    /// are the ring's from now on.
    #[inline(always)]
    pub(super) unsafe fn fill_run(&self, ticket: usize, from: *const T, count: usize) {
        let (first, second) = self.run(ticket, count);
        for (passed, values) in [(0, first), (first.len(), second)] {
            for (index, value) in values.iter().enumerate() {
                // SAFETY: as in `Slot::fill`; `from` has `count` items.
                value.with_mut(|value| unsafe { (*value).write(from.add(passed + index).read()) });
            }
        }
        self.end(ticket).store(ticket.wrapping_add((count * STRIDE) | FULL), PUBLISH); // O1
    }

    /// # Safety
    /// The caller has claimed `count` tickets from `ticket` on as a consumer, and `to` points to memory for so many
    /// items, which are the caller's from now on.
    #[inline(always)]
    pub(super) unsafe fn take_run(&self, ticket: usize, to: *mut T, count: usize) {
        let (first, second) = self.run(ticket, count);
        for (passed, values) in [(0, first), (first.len(), second)] {
            for (index, value) in values.iter().enumerate() {
                // SAFETY: as in `Slot::take`; `to` has room for `count`.
                value.with(|value| unsafe { to.add(passed + index).write((*value).assume_init_read()) });
            }
        }
        self.end(ticket).store(ticket.wrapping_add(self.lap() + count * STRIDE), VACATE); // O1
    }

    /// The values of `count` tickets from `ticket` on: up to the end of the allocation, and from its beginning.
    #[inline(always)]
    fn run(&self, ticket: usize, count: usize) -> (&[Value<T>], &[Value<T>]) {
        let begin = self.index(ticket);
        let first = count.min(self.values.len() - begin);
        (&self.values[begin..begin + first], &self.values[..count - first])
    }

    #[inline(always)]
    fn end(&self, ticket: usize) -> &AtomicUsize {
        self.slot(ticket).end
    }

    /// The slot of a ticket.
    #[inline(always)]
    pub(super) fn slot(&self, ticket: usize) -> Slot<'_, T> {
        let index = self.index(ticket);
        // SAFETY: `index` is masked to less than the number of words and of values. The compiler does not know, and
        // would check.
        let (end, value) = unsafe { (self.ends.get_unchecked(index), self.values.get_unchecked(index)) };
        Slot { ticket, lap: self.lap(), end, value }
    }

    #[inline(always)]
    fn index(&self, ticket: usize) -> usize {
        (ticket / STRIDE) & self.mask
    }

    /// From a ticket to that of its slot in the next lap.
    #[inline(always)]
    fn lap(&self) -> usize {
        (self.mask + 1) * STRIDE
    }
}

impl<T> Slot<'_, T> {
    /// True if the slot can be claimed in `state`, its ticket being a position that was loaded Acquire, and that takes
    /// no longer look. Most runs are of one.
    #[inline(always)]
    pub(super) fn is_ready(&self, frontier: &Frontier, state: usize) -> bool {
        self.end.load(Acquire) == self.ticket.wrapping_add(STRIDE | state) // O1
            || distance(frontier.0.load(Acquire), self.ticket) > 0 // O2
    }

    /// # Safety
    /// The caller has claimed the ticket as a producer, and nothing with it.
    #[inline(always)]
    pub(super) unsafe fn fill(&self, item: T) {
        // SAFETY: the slot is the caller's alone until its word is stored, and vacant.
        self.value.with_mut(|value| unsafe { (*value).write(item) });
        self.end.store(self.ticket.wrapping_add(STRIDE | FULL), PUBLISH); // O1: hands it to this ticket's consumer.
    }

    /// # Safety
    /// The caller has claimed the ticket as a consumer, and nothing with it.
    #[inline(always)]
    pub(super) unsafe fn take(&self) -> T {
        // SAFETY: the slot is the caller's alone until its word is stored, and full (O1); after that store nobody reads
        // this value again.
        let item = self.value.with(|value| unsafe { (*value).assume_init_read() });
        self.end.store(self.ticket.wrapping_add(self.lap + STRIDE), VACATE); // O1: to the next lap's producer.
        item
    }
}

#[cfg(all(test, not(any(rt_loom, rt_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_look_ends_with_the_run_in_which_its_end_lies() {
        const COUNT: usize = 64;
        let (slots, ..) = Slots::new(COUNT, 0);
        let items = [7_u64; 4];
        // SAFETY: the one thread there is fills slots that are vacant, each once; `items` are copied.
        unsafe { slots.fill_run(0, items.as_ptr(), items.len()) };
        for ticket in (items.len()..COUNT).map(|slot| slot * STRIDE) {
            // SAFETY: as above.
            unsafe { slots.slot(ticket).fill(7) };
        }
        for wanted in 1..=items.len() {
            assert_eq!(slots.look(0, wanted * STRIDE, FULL), items.len() * STRIDE, "{wanted} wanted of a run of four");
        }
        assert_eq!(slots.look(0, 6 * STRIDE, FULL), 6 * STRIDE, "runs of one are looked at one by one");
    }
}
