//! Bounded MPMC ring. Source: D. Vyukov's, 1024cores.net, with a sequence number for each slot; numbers for runs of
//! slots instead (see `slots`), the live limit, closing and the blocking ends are ours.
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
//! I2  A run is claimed only after every slot in it was known to be ready for its ticket. Such a slot changes only
//!     through the owner of that ticket, and the CAS shows that there was none: so an owner never waits.
//! I3  `head` never passes `tail`: a consumer claims published tickets only.
//! I4  `CLOSED` is never taken back, and no CAS on `tail` succeeds once it is set: the ticket beside it is final.
//! I5  `head_seen` never runs ahead of `head`, so the length computed from it is never too small, and a push that
//!     is let in saw `length < limit` at its CAS.
//! I6  A sole handle (see `ends`) may have a bias on `tail` or `head`: then it claims single tickets by plain stores,
//!     with both flags down. Whoever puts a flag up takes the bias away first, in one step with it, and none is granted
//!     while one is up. So for everybody else the word moves as if by CAS, and I1 to I5 and O2, O3 hold as they stand.
//! O1  Data moves with the slots: see O1 and O2 there.
//! O2  CAS on `tail` and `head` is Release, and pairs with the Acquire of the CAS that follows it, which then knows as
//!     much of the slots (O3 there). That on `head` pairs as well with the Acquire of who reads `head` and then `tail`
//!     to tell a length: a consumer learned by O1 that its ticket was pushed, so who learns of the pop reads a `tail`
//!     past that ticket. Without it the difference could be negative, which looks like a full ring. Changes of the
//!     flags go on with it.
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
//!
//! Here are the words and what they say. `item` and `run` claim tickets and hand over, one or many at once; `blocking`
//! and `awaiting` are the ends that wait, `sleepers` is who is woken; `slots` and `bias` are as above.

mod bias;
mod slots;
mod item;
mod run;
mod sleepers;
mod blocking;
mod awaiting;

use super::cas_failures::{Lost, SharedLost};
use super::wait::Waits;
use super::{CapacityError, CasFailures, PopError};
use crate::sync::CachePadded;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use bias::{Bias, Mark};
use slots::{Frontier, STRIDE, Slots, TICKET};
use std::fmt;

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
