//! Bounded MPMC ring. Source: D. Vyukov's, 1024cores.net, with a sequence number for each slot; numbers for runs of slots
//! instead (see `slots`), the live limit, closing and the blocking ends are ours.
//!
//! Price: two allocations of a power of two of slots, made at once, a word per slot beside the item.
//!
//! Positions count in tickets, four to a slot, and wrap; the two low bits of `tail` and `head` are flags:
//!
//! | word | bits 2.. | bit 1 | bit 0 |
//! |---|---|---|---|
//! | `tail` | ticket of the next push | `AWAITED`: consumers sleep | `CLOSED` |
//! | `head` | ticket of the next pop | `AWAITED`: producers sleep | 0 |
//!
//! Writers: `tail` producers by CAS, or a sole one by stores, its flags by `close` and by sleepers; `head` consumers
//! likewise, its flag by sleepers; `head_seen` any producer; a slot its current owner; `limit` whoever turns it;
//! `closing` `close`.
//! I1  Winning the CAS for a ticket, or for a run of them, makes you owner of their slots until you hand them over.
//! I2  A run is claimed only after every slot in it was known to be ready for its ticket. Such a slot changes only through
//!     the owner of that ticket, and the CAS shows that there was none: so an owner never waits.
//! I3  `head` never passes `tail`: a consumer claims published tickets only.
//! I4  `CLOSED` is never taken back, and no CAS on `tail` succeeds once it is set: the ticket beside it is final.
//! I5  `head_seen` never runs ahead of `head`, so the length computed from it is never too small, and a push that
//!     is let in saw `length < limit` at its CAS.
//! I6  A sole handle (see `ends`) may have a bias on `tail` or `head`: then it claims single tickets by plain stores,
//!     with both flags down. Whoever puts a flag up takes the bias away first, in one step with it, and none is granted
//!     while one is up. So for everybody else the word moves as if by CAS, and I1 to I5 and O2, O3 hold as they stand.
//! O1  Data moves with the slots: see O1 and O2 there.
//! O2  CAS on `tail` and `head` is Release, and pairs with the Acquire of the CAS that follows it, which then knows as much
//!     of the slots (O3 there). That on `head` pairs as well with the Acquire of who reads `head` and then `tail` to tell a
//!     length: a consumer learned by O1 that its ticket was pushed, so who learns of the pop reads a `tail` past that
//!     ticket. Without it the difference could be negative, which looks like a full ring. Changes of the flags go on with it.
//! O3  Sleeping consumers: announce (lock; `fetch_or` AWAITED on `tail` by the first), read `tail` and `head`, and
//!     sleep only if they meet. A producer's CAS either comes after the flag in the order of `tail`, sees it, and
//!     wakes after it has published, taking the same lock: before the sleeper entered, which then sees the item, or
//!     after, and wakes it. Or the CAS comes before the flag: then the sleeper reads a `tail` at or past the
//!     ticket, and does not sleep unless somebody claimed it. The order of one word is enough; no fence is needed.
//!     Producers sleep on `head` in the same way, and tasks as threads do: a task sleeps when its poll returns.
//! O4  `limit` is Relaxed: it guards no data. Who turns it takes the sleepers' lock after, so none misses it.
//! O5  `closing` store Release before, and load Acquire after, `CLOSED` on `tail`: a hint that keeps pops on an
//!     empty ring off the producers' line. Nothing is decided by it.
//! Progress: blocking (a stalled owner holds its slots, and with them those behind). "Full" and "empty" may lag
//! operations in flight, never operations that happened before.
//! Not promised: fairness among sleepers; order between items of different producers.

use std::fmt;
use std::time::Duration;

use super::bias::{Bias, Mark};
use super::bulk::{put_back, take_front};
use super::cas_failures::{Lost, SharedLost};
use super::slots::{FULL, Frontier, STRIDE, Slot, Slots, TICKET, VACANT, distance};
use super::wait::{Wait, Waits, wait_async};
use super::{CapacityError, CasFailures, Closed, PopError, PushError};
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Backoff, CachePadded, Flag};

/// The most slots that a ring can have: 16 Mi.
pub const CAPACITY_MAX: usize = 1 << 24;

const CLOSED: usize = 1;
const AWAITED: usize = 2;

/// O2 as it is, and as mutants that show that a model is watching it.
const CLAIM_PUSH: Ordering = if cfg!(rt_mutant = "ring_pushes_unordered") { Relaxed } else { Release };
const CLAIM_POP: Ordering = if cfg!(rt_mutant = "ring_pops_unordered") { Relaxed } else { Release };

/// Two tickets of one ring are compared as signed distances, so all slots must fit in half of what wraps.
const _: () = assert!(CAPACITY_MAX <= usize::MAX / STRIDE / 2);

/// Bounded queue for any number of producers and consumers; FIFO per producer.
///
/// An item whose push succeeded is popped once, or dropped once with the ring; one whose push failed is back with
/// its owner. Everything that happened before a push happens before what follows the pop of its item.
///
/// The ring is made with a fixed [`allocation`](Self::allocation); how much of it is in use, the
/// [`limit`](Self::limit), can be turned at any time from any thread. Lowering it loses nothing: pushes are refused
/// until the ring has drained below. [`capacity`](Self::capacity) is another name for the limit.
///
/// ```
/// use rheostat_runtime::queue::{PopError, PushError, Ring};
///
/// let ring = Ring::new(2)?;
/// ring.try_push("a").unwrap();
/// ring.try_push("b").unwrap();
/// assert!(matches!(ring.try_push("c"), Err(PushError::Full("c"))));
/// ring.close();
/// assert!(matches!(ring.try_push("c"), Err(PushError::Closed("c"))));
/// assert_eq!(ring.pop().ok(), Some("a"));
/// assert_eq!(ring.pop().ok(), Some("b"));
/// assert_eq!(ring.try_pop(), Err(PopError::Closed));
/// # Ok::<(), rheostat_runtime::queue::CapacityError>(())
/// ```
pub struct Ring<T> {
    tail: CachePadded<Tail>,
    head: CachePadded<Head>,
    shape: CachePadded<Shape<T>>,
    /// Consumers asleep.
    item_waits: CachePadded<Waits>,
    /// Producers asleep.
    room_waits: CachePadded<Waits>,
}

/// The producers' line.
struct Tail {
    word: AtomicUsize,
    mark: Mark,
    /// `head` when a producer last had to look: keeps pushes off the consumers' line.
    head_seen: AtomicUsize,
    vacant: Frontier,
}

/// The consumers' line.
struct Head {
    word: AtomicUsize,
    mark: Mark,
    full: Frontier,
}

/// What both sides read and hardly anybody writes.
struct Shape<T> {
    slots: Slots<T>,
    start: usize,
    limit: AtomicUsize,
    closing: AtomicBool,
    push_bias: Bias,
    pop_bias: Bias,
    lost: SharedLost,
}

// SAFETY: items are handed from thread to thread through O1, each to one owner at a time (I1); no `&T` is ever shared.
unsafe impl<T: Send> Sync for Ring<T> {}
// SAFETY: the ring owns its items and nothing in it is tied to a thread.
unsafe impl<T: Send> Send for Ring<T> {}

/// The announcement of sleepers in a position word.
#[derive(Clone, Copy)]
struct Awaited<'a> {
    word: &'a AtomicUsize,
    mark: &'a Mark,
    bias: &'a Bias,
}

impl Flag for Awaited<'_> {
    fn raise(&self) {
        self.bias.revoke_and(self.mark, || self.word.fetch_or(AWAITED, Relaxed)); // O3, I6
    }
    fn lower(&self) {
        self.word.fetch_and(!AWAITED, Relaxed); // I6: the flag is up, so there is no bias.
    }
}

impl<T> Ring<T> {
    /// A ring of `capacity` items, its slots rounded up to a power of two.
    ///
    /// # Errors
    /// `capacity` is 0 or more than [`CAPACITY_MAX`].
    pub fn new(capacity: usize) -> Result<Self, CapacityError> {
        Self::with_allocation(capacity, capacity)
    }

    /// A ring that lets in `limit` items, with slots for `allocation`, rounded up to a power of two: as far as the
    /// limit can be raised.
    ///
    /// # Errors
    /// `allocation` is 0 or more than [`CAPACITY_MAX`], or `limit` is 0 or more than the rounded allocation.
    pub fn with_allocation(limit: usize, allocation: usize) -> Result<Self, CapacityError> {
        Self::with_start(limit, allocation, 0)
    }

    /// As [`with_allocation`](Self::with_allocation), with both positions at `start`: for tests that cross the point
    /// where positions wrap.
    #[doc(hidden)]
    pub fn with_start(limit: usize, allocation: usize, start: usize) -> Result<Self, CapacityError> {
        Self::with_lost(limit, allocation, start, Lost::new())
    }

    /// As [`with_start`](Self::with_start), counting lost compare-exchanges where others do.
    pub(super) fn with_lost(
        limit: usize,
        allocation: usize,
        start: usize,
        lost: SharedLost,
    ) -> Result<Self, CapacityError> {
        if allocation == 0 || allocation > CAPACITY_MAX {
            return Err(CapacityError { requested: allocation, max: CAPACITY_MAX });
        }
        let allocation = allocation.next_power_of_two();
        if limit == 0 || limit > allocation {
            return Err(CapacityError { requested: limit, max: allocation });
        }
        let start = start.wrapping_mul(STRIDE);
        let (slots, vacant, full) = Slots::new(allocation, start);
        Ok(Self {
            tail: CachePadded::new(Tail {
                word: AtomicUsize::new(start),
                mark: Mark::new(),
                head_seen: AtomicUsize::new(start),
                vacant,
            }),
            head: CachePadded::new(Head { word: AtomicUsize::new(start), mark: Mark::new(), full }),
            shape: CachePadded::new(Shape {
                slots,
                start,
                limit: AtomicUsize::new(limit),
                closing: AtomicBool::new(false),
                push_bias: Bias::new(),
                pop_bias: Bias::new(),
                lost,
            }),
            item_waits: CachePadded::new(Waits::new()),
            room_waits: CachePadded::new(Waits::new()),
        })
    }

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
    pub(super) fn push_at_once(&self, item: T) -> Option<T> {
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

    /// Moves `tail` on by a run of vacant slots, whose owner the caller is then (I1, I2).
    #[inline(always)]
    fn claim_push(&self, tail: usize, run: usize) -> Result<usize, usize> {
        let claimed = self.tail.word.compare_exchange_weak(tail, tail.wrapping_add(run), CLAIM_PUSH, Acquire); // O2
        claimed.inspect_err(|_| self.shape.lost.push())
    }

    /// Moves `head` on by a run of full slots, whose owner the caller is then (I1, I2).
    #[inline(always)]
    fn claim_pop(&self, head: usize, run: usize) -> Result<usize, usize> {
        let claimed = self.head.word.compare_exchange_weak(head, head.wrapping_add(run), CLAIM_POP, Acquire); // O2
        claimed.inspect_err(|_| self.shape.lost.pop())
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
    pub(super) fn pop_at_once(&self) -> Option<T> {
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
    pub(super) fn push_alone(&self, item: T) -> Option<T> {
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
    pub(super) fn pop_alone(&self) -> Option<T> {
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
    pub(super) fn prefer_sole_producer(&self) {
        self.shape.push_bias.grant_if(|| self.tail.word.load(Relaxed) & !TICKET == 0);
    }

    /// Grants the sole consumer the bias on `head`, unless a flag is up.
    pub(super) fn prefer_sole_consumer(&self) {
        self.shape.pop_bias.grant_if(|| self.head.word.load(Relaxed) & !TICKET == 0);
    }

    /// There will be another producer: takes the bias away.
    pub(super) fn admit_producers(&self) {
        self.shape.push_bias.revoke_and(&self.tail.mark, || ());
    }

    /// There will be another consumer: takes the bias away.
    pub(super) fn admit_consumers(&self) {
        self.shape.pop_bias.revoke_and(&self.head.mark, || ());
    }

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

    /// Pops, waiting for an item until `give_up` holds or `timeout` is over. An item that is there is popped in any case.
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
    pub(super) fn pop_late(&self, give_up: impl Fn() -> bool, timeout: Option<Duration>) -> Result<T, PopError> {
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

    /// Pushes, waiting for room without holding the thread, on any executor.
    ///
    /// A future dropped before it is done has not pushed, and drops its item; it takes no wake-up with it that another
    /// producer needs. [`push_all_async`](Self::push_all_async) leaves what was not pushed with the caller. A future that
    /// never has to wait never yields: it is for the caller to give other tasks a turn.
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

    /// Pops up to `max` items to the end of `out`, waiting for the first as [`pop_async`](Self::pop_async) does. Returns
    /// how many: at least one, unless `max` is 0.
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

    /// Closes the ring. From the return on no push succeeds; items accepted before stay to be popped, and consumers see
    /// [`PopError::Closed`] only when every one of them has been claimed. Wakes everybody. Closing again does nothing.
    pub fn close(&self) {
        self.shape.closing.store(true, Release); // O5
        let tail = &self.tail;
        self.shape.push_bias.revoke_and(&tail.mark, || tail.word.fetch_or(CLOSED, Release)); // I4, I6
        self.wake_consumers();
        self.wake_producers();
    }

    /// True once [`close`](Self::close) has taken hold.
    pub fn is_closed(&self) -> bool {
        self.tail.word.load(Acquire) & CLOSED != 0
    }

    /// Wakes every consumer that sleeps in a pop, so that it looks again whether to give up.
    pub fn wake_consumers(&self) {
        self.item_waits.parking.wake_all(&self.consumers_asleep());
    }

    fn wake_producers(&self) {
        self.room_waits.parking.wake_all(&self.producers_asleep());
    }

    /// How many items the ring lets in before pushes are refused.
    pub fn limit(&self) -> usize {
        self.shape.limit.load(Relaxed)
    }

    /// Turns the limit, and wakes producers that wait for room. Returns the limit before.
    ///
    /// # Errors
    /// `limit` is 0 or more than [`allocation`](Self::allocation).
    pub fn set_limit(&self, limit: usize) -> Result<usize, CapacityError> {
        if limit == 0 || limit > self.allocation() {
            return Err(CapacityError { requested: limit, max: self.allocation() });
        }
        let before = self.shape.limit.swap(limit, Relaxed);
        self.wake_producers(); // O4
        Ok(before)
    }

    /// The [`limit`](Self::limit), by the name that other queues have for it.
    pub fn capacity(&self) -> usize {
        self.limit()
    }

    /// How many slots there are: as far as the limit can be raised.
    pub fn allocation(&self) -> usize {
        self.shape.slots.count()
    }

    /// How many items are in the ring, those on their way in or out included. Exact when nobody else uses the
    /// ring; more than the limit while a lowered limit drains.
    pub fn len(&self) -> usize {
        let head = self.head.word.load(Acquire) & TICKET;
        let tail = self.tail.word.load(Acquire) & TICKET;
        // Steps between the two loads make the difference too large, never negative (I3, O2).
        (tail.wrapping_sub(head) / STRIDE).min(self.allocation())
    }

    /// True when [`len`](Self::len) is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when a push would be refused for lack of room.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit()
    }

    /// How many items have been pushed so far. Monotone; for a depth read [`popped`](Self::popped) first.
    pub fn pushed(&self) -> u64 {
        self.count_at(self.tail.word.load(Acquire))
    }

    /// How many items have been popped so far. Monotone.
    pub fn popped(&self) -> u64 {
        self.count_at(self.head.word.load(Acquire))
    }

    /// Compare-exchanges that were lost so far.
    pub fn cas_failures(&self) -> CasFailures {
        self.shape.lost.read()
    }

    fn count_at(&self, word: usize) -> u64 {
        ((word & TICKET).wrapping_sub(self.shape.start) / STRIDE) as u64
    }

    #[cold]
    pub(super) fn push_late(&self, mut item: T, timeout: Option<Duration>) -> Result<(), PushError<T>> {
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

    fn consumers_asleep(&self) -> Awaited<'_> {
        Awaited { word: &self.tail.word, mark: &self.tail.mark, bias: &self.shape.push_bias }
    }

    fn producers_asleep(&self) -> Awaited<'_> {
        Awaited { word: &self.head.word, mark: &self.head.mark, bias: &self.shape.pop_bias }
    }

    fn wait_for_room(&self, timeout: Option<Duration>) -> Wait<'_, Awaited<'_>> {
        Wait::new(&self.room_waits, self.producers_asleep(), timeout)
    }

    fn wait_for_item(&self, timeout: Option<Duration>) -> Wait<'_, Awaited<'_>> {
        Wait::new(&self.item_waits, self.consumers_asleep(), timeout)
    }

    /// O3: true when every ticket handed to a producer has been handed to a consumer, and more may come.
    fn has_no_item(&self) -> bool {
        let tail = self.tail.word.load(Acquire);
        tail & CLOSED == 0 && tail & TICKET == self.head.word.load(Acquire) & TICKET
    }

    /// O3: true when no consumer has so much as claimed what would make room, and one still may.
    fn has_no_room(&self) -> bool {
        let tail = self.tail.word.load(Acquire);
        tail & CLOSED == 0 && self.length(tail & TICKET, self.head.word.load(Acquire)) >= self.limit() as isize
    }

    /// After a push that claimed from `tail`. A run wakes one as well: it wakes the next if it leaves something.
    #[inline(always)]
    fn published(&self, tail: usize) {
        if tail & AWAITED != 0 && !cfg!(rt_mutant = "ring_sleepers_unheard") {
            self.wake_consumer();
        }
    }

    /// After a pop that moved `head` to `next`.
    #[inline(always)]
    fn vacated(&self, head: usize, next: usize) {
        if head & AWAITED != 0 {
            self.wake_producer(next);
        }
    }

    #[cold]
    fn wake_consumer(&self) {
        self.item_waits.parking.wake_one(&self.consumers_asleep());
    }

    /// Wakes a producer if there is room, seen from `head`. While a lowered limit drains there is none, and the pop that
    /// makes the first room sees so: the ring takes no pushes until then.
    #[cold]
    fn wake_producer(&self, head: usize) {
        if self.length(self.tail.word.load(Relaxed), head) < self.limit() as isize {
            self.room_waits.parking.wake_one(&self.producers_asleep());
        }
    }

    /// A consumer that slept was perhaps woken for a run, and took less.
    fn pass_item_on(&self, was_announced: bool) {
        if was_announced && self.tail.word.load(Relaxed) & AWAITED != 0 && !self.is_empty() {
            self.wake_consumer();
        }
    }

    /// A producer that slept was perhaps woken for a run of free slots, and used less.
    fn pass_room_on(&self, was_announced: bool) {
        let head = self.head.word.load(Relaxed);
        if was_announced && head & AWAITED != 0 {
            self.wake_producer(head);
        }
    }

    /// True if one push can be let in at `ticket`, whose slot it is, and that takes no closer look.
    #[inline(always)]
    fn may_push(&self, ticket: usize, slot: &Slot<'_, T>) -> bool {
        // A `ticket` that is out of date can lie before `head_seen`: then the difference is huge.
        let length = ticket.wrapping_sub(self.tail.head_seen.load(Relaxed));
        length < self.limit() * STRIDE && slot.is_ready(&self.tail.vacant, VACANT) // I5
    }

    /// Room for a push at `ticket`: enough for `wanted` as far as known, or else as much as there is (I5).
    #[inline(always)]
    fn room_at(&self, ticket: usize, wanted: usize) -> usize {
        // A `ticket` that is out of date can lie before `head`: that is no room, and its CAS will fail.
        let room = |head| self.limit() as isize - self.length(ticket, head).max(0);
        let known = room(self.tail.head_seen.load(Relaxed));
        if known >= wanted as isize {
            return known as usize;
        }
        let head = self.head.word.load(Relaxed) & TICKET;
        self.tail.head_seen.store(head, Relaxed);
        room(head).max(0) as usize
    }

    /// Items between two positions; negative when `tail` is older than `head`.
    #[inline(always)]
    fn length(&self, tail: usize, head: usize) -> isize {
        (tail & TICKET).wrapping_sub(head & TICKET) as isize / STRIDE as isize
    }

    /// Why nothing was published for `ticket`.
    #[inline]
    fn nothing_at(&self, ticket: usize) -> PopError {
        if self.shape.closing.load(Acquire) {
            let tail = self.tail.word.load(Acquire);
            if tail & CLOSED != 0 && tail & TICKET == ticket {
                return PopError::Closed; // I4: nothing will ever be.
            }
        }
        PopError::Empty
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        // Nobody else is left, so what was claimed was also published, and no run is half done.
        let mut ticket = self.head.word.load(Relaxed) & TICKET;
        let tail = self.tail.word.load(Relaxed) & TICKET;
        while ticket != tail {
            // SAFETY: between head and tail every slot holds an item, and `&mut self` makes all of them ours.
            drop(unsafe { self.shape.slots.slot(ticket).take() });
            ticket = ticket.wrapping_add(STRIDE);
        }
    }
}

impl<T> fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("len", &self.len())
            .field("limit", &self.limit())
            .field("allocation", &self.allocation())
            .field("closed", &self.is_closed())
            .finish()
    }
}
