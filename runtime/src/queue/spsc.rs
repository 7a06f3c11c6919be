//! Bounded SPSC ring with cached positions. Source: L. Lamport's ring; caching the other side's position: J. Giacomoni
//! et al., FastForward, and P. Lee et al., MCRingBuffer. Closing, the blocking ends and the ends that await are ours.
//!
//! Price: one allocation of a power of two of slots, made at once, with nothing beside the items; exactly one producer
//! and one consumer, which is what `&mut self` and the missing `Clone` are for.
//!
//! Positions count items and wrap; a slot is the position's low bits.
//!
//! Writers: `tail`, and the slots from it to `head` + capacity, the producer; `head`, and the slots from it to `tail`,
//! the consumer; `closed` whichever end goes first. Each end has its own position, and the other's as last read, in
//! fields that nobody else sees.
//! I1  `head` <= `tail` <= `head` + capacity, whoever looks: each side moves only its own, up to what it saw of the
//!     other's.
//! I2  A position as last read is never ahead of the real one: what an end thinks is there is there.
//! O1  `tail` store Release pairs with `tail` load Acquire in the consumer: it carries the items.
//! O2  `head` store Release pairs with `head` load Acquire in the producer: it carries the news that the items were
//!     taken.
//! O3  `closed` store Release pairs with `closed` load Acquire: who sees it and then reads `tail` reads the last one.
//! O4  Sleeping, by thread or task: see `bell`. An end stores its position, then looks for sleepers; a sleeper
//!     announces itself, then looks at that position.
//! Progress: wait-free but for the ends that wait, and for waking them. An end that stalls holds up nobody beyond
//! running full or empty.
//! Not promised: that what is pushed while the consumer is being dropped is popped; it is dropped with the ring.

use std::fmt;
use std::mem::MaybeUninit;
use std::time::Duration;

use super::bell::Bell;
use super::bulk::{put_back, take_front};
use super::{CAPACITY_MAX, CapacityError, Closed, PopError, PushError};
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Arc, CachePadded, UnsafeCell};

/// O1, and the mutant that shows that a model is watching it.
const PUBLISH: Ordering = if cfg!(rt_mutant = "spsc_items_unpublished") { Relaxed } else { Release };
/// O2, likewise.
const VACATE: Ordering = if cfg!(rt_mutant = "spsc_room_unpublished") { Relaxed } else { Release };

/// A ring of `capacity` items for one producer and one consumer, its slots rounded up to a power of two.
///
/// An item whose push succeeded is popped once, or dropped once; one whose push failed is back with its owner.
/// Everything that happened before a push happens before what follows the pop of its item. Dropping either end closes
/// the ring: pushes fail from then on, and what was accepted can still be popped.
///
/// ```
/// use rheostat_runtime::queue::{PopError, PushError, spsc};
///
/// let (mut producer, mut consumer) = spsc::ring(2)?;
/// producer.try_push("a").unwrap();
/// producer.try_push("b").unwrap();
/// assert!(matches!(producer.try_push("c"), Err(PushError::Full("c"))));
/// drop(producer);
/// assert_eq!(consumer.pop().ok(), Some("a"));
/// assert_eq!(consumer.pop().ok(), Some("b"));
/// assert_eq!(consumer.try_pop(), Err(PopError::Closed));
/// # Ok::<(), rheostat_runtime::queue::CapacityError>(())
/// ```
///
/// # Errors
/// `capacity` is 0 or more than [`CAPACITY_MAX`].
pub fn ring<T>(capacity: usize) -> Result<(Producer<T>, Consumer<T>), CapacityError> {
    ring_with_start(capacity, 0)
}

/// As [`ring`], with both positions at `start`: for tests that cross the point where positions wrap.
///
/// # Errors
/// As [`ring`].
#[doc(hidden)]
pub fn ring_with_start<T>(capacity: usize, start: usize) -> Result<(Producer<T>, Consumer<T>), CapacityError> {
    if capacity == 0 || capacity > CAPACITY_MAX {
        return Err(CapacityError { requested: capacity, max: CAPACITY_MAX });
    }
    let slots = (0..capacity.next_power_of_two()).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
    let shared = Arc::new(Shared {
        tail: CachePadded::new(AtomicUsize::new(start)),
        head: CachePadded::new(AtomicUsize::new(start)),
        shape: CachePadded::new(Shape { slots, capacity, closed: AtomicBool::new(false) }),
        items: CachePadded::new(Bell::new()),
        room: CachePadded::new(Bell::new()),
    });
    let producer = Producer { shared: shared.clone(), end: PushEnd { tail: start, head_seen: start } };
    let consumer = Consumer { shared, end: PopEnd { head: start, tail_seen: start } };
    Ok((producer, consumer))
}

type Slot<T> = UnsafeCell<MaybeUninit<T>>;

struct Shared<T> {
    tail: CachePadded<AtomicUsize>,
    head: CachePadded<AtomicUsize>,
    shape: CachePadded<Shape<T>>,
    /// The consumer, when it sleeps.
    items: CachePadded<Bell>,
    /// The producer, when it sleeps.
    room: CachePadded<Bell>,
}

/// What both ends read and hardly anybody writes.
struct Shape<T> {
    slots: Box<[Slot<T>]>,
    capacity: usize,
    closed: AtomicBool,
}

// SAFETY: an item moves from the producer's thread to the consumer's through O1, and is never shared between them.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: the ring owns its items.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    #[inline(always)]
    fn slot(&self, position: usize) -> &Slot<T> {
        let slots = &self.shape.slots;
        // SAFETY: there is at least one slot, so a mask of one less than there are leaves an index in range. The check
        // costs a tenth of a push, and the compiler cannot see that there is one.
        unsafe { slots.get_unchecked(position & (slots.len() - 1)) }
    }

    /// The slots of `count` positions from `position` on: up to the end of the allocation, and from its beginning.
    #[inline(always)]
    fn run(&self, position: usize, count: usize) -> (&[Slot<T>], &[Slot<T>]) {
        let slots = &self.shape.slots;
        let begin = position & (slots.len() - 1);
        let first = count.min(slots.len() - begin);
        (&slots[begin..begin + first], &slots[..count - first])
    }

    fn len(&self) -> usize {
        let head = self.head.load(Acquire);
        let tail = self.tail.load(Acquire);
        // Pops between the two loads make the difference too large, never negative (I1).
        tail.wrapping_sub(head).min(self.shape.capacity)
    }

    fn is_closed(&self) -> bool {
        self.shape.closed.load(Acquire)
    }

    fn close(&self) {
        self.shape.closed.store(true, Release); // O3
        self.items.ring_all();
        self.room.ring_all();
    }

    fn has_no_item(&self) -> bool {
        !self.is_closed() && self.len() == 0
    }

    fn has_no_room(&self) -> bool {
        !self.is_closed() && self.len() == self.shape.capacity
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let (mut head, tail) = (self.head.load(Relaxed), self.tail.load(Relaxed));
        while head != tail {
            // SAFETY: from head to tail every slot holds an item, and `&mut self` makes all of them ours.
            self.slot(head).with_mut(|value| unsafe { (*value).assume_init_drop() });
            head = head.wrapping_add(1);
        }
    }
}

struct PushEnd {
    tail: usize,
    head_seen: usize,
}

impl PushEnd {
    /// Room for pushes: enough for `wanted` as far as known, or else as much as there is.
    #[inline(always)]
    fn room<T>(&mut self, shared: &Shared<T>, wanted: usize) -> usize {
        let room = shared.shape.capacity - self.tail.wrapping_sub(self.head_seen);
        if room >= wanted {
            return room;
        }
        self.head_seen = shared.head.load(Acquire); // O2
        shared.shape.capacity - self.tail.wrapping_sub(self.head_seen)
    }

    #[inline(always)]
    fn publish<T>(&mut self, shared: &Shared<T>, count: usize) {
        self.tail = self.tail.wrapping_add(count);
        shared.tail.store(self.tail, PUBLISH); // O1
        if shared.items.may_be_awaited() {
            shared.items.ring_one(); // O4
        }
    }

    /// True when a push would succeed now.
    #[inline(always)]
    fn is_open<T>(&mut self, shared: &Shared<T>) -> bool {
        !shared.shape.closed.load(Relaxed) && self.room(shared, 1) > 0
    }

    /// # Safety
    /// There is [`room`](Self::room).
    #[inline(always)]
    unsafe fn put<T>(&mut self, shared: &Shared<T>, item: T) {
        // SAFETY: the slot at our position is ours while there is room (I1, I2), and empty.
        shared.slot(self.tail).with_mut(|value| unsafe { (*value).write(item) });
        self.publish(shared, 1);
    }

    #[inline(always)]
    fn try_push<T>(&mut self, shared: &Shared<T>, item: T) -> Result<(), PushError<T>> {
        if self.is_open(shared) {
            // SAFETY: there is room.
            unsafe { self.put(shared, item) };
            Ok(())
        } else if shared.is_closed() {
            Err(PushError::Closed(item))
        } else {
            Err(PushError::Full(item))
        }
    }

    fn push_bulk<T>(&mut self, shared: &Shared<T>, items: &mut Vec<T>) -> usize {
        let count = self.claim(shared, items.len());
        if count > 0 {
            // SAFETY: there are so many items and so much room, and filling slots does not unwind.
            unsafe { take_front(items, count, |from| self.fill(shared, from, count)) };
            self.publish(shared, count);
        }
        count
    }

    /// How many of `wanted` can be pushed now: none when closed.
    fn claim<T>(&mut self, shared: &Shared<T>, wanted: usize) -> usize {
        if shared.shape.closed.load(Relaxed) { 0 } else { self.room(shared, wanted).min(wanted) }
    }

    /// # Safety
    /// There is [`room`](Self::room) for `count`, and `from` points to so many items, which are the ring's once they
    /// are published.
    #[inline(always)]
    unsafe fn fill<T>(&self, shared: &Shared<T>, from: *const T, count: usize) {
        let (first, second) = shared.run(self.tail, count);
        for (passed, slots) in [(0, first), (first.len(), second)] {
            for (index, slot) in slots.iter().enumerate() {
                // SAFETY: these slots are ours while there is room (I1, I2), and empty; `from` has `count` items.
                slot.with_mut(|value| unsafe { (*value).write(from.add(passed + index).read()) });
            }
        }
    }
}

struct PopEnd {
    head: usize,
    tail_seen: usize,
}

impl PopEnd {
    /// Items to pop: as many as `wanted` as far as known, or else as many as there are.
    #[inline(always)]
    fn ready<T>(&mut self, shared: &Shared<T>, wanted: usize) -> usize {
        let ready = self.tail_seen.wrapping_sub(self.head);
        if ready >= wanted {
            return ready;
        }
        self.tail_seen = shared.tail.load(Acquire); // O1
        self.tail_seen.wrapping_sub(self.head)
    }

    #[inline(always)]
    fn vacate<T>(&mut self, shared: &Shared<T>, count: usize) {
        self.head = self.head.wrapping_add(count);
        shared.head.store(self.head, VACATE); // O2
        if shared.room.may_be_awaited() {
            shared.room.ring_one(); // O4
        }
    }

    #[inline(always)]
    fn try_pop<T>(&mut self, shared: &Shared<T>) -> Result<T, PopError> {
        if self.ready(shared, 1) == 0 {
            return self.pop_last(shared);
        }
        // SAFETY: something is ready.
        Ok(unsafe { self.take(shared) })
    }

    /// # Safety
    /// Something is [`ready`](Self::ready).
    #[inline(always)]
    unsafe fn take<T>(&mut self, shared: &Shared<T>) -> T {
        // SAFETY: the slot at our position is ours while something is ready (I1, I2), and holds an item.
        let item = shared.slot(self.head).with_mut(|value| unsafe { (*value).assume_init_read() });
        self.vacate(shared, 1);
        item
    }

    /// Why nothing was there; or what came just before the ring was closed.
    #[cold]
    fn pop_last<T>(&mut self, shared: &Shared<T>) -> Result<T, PopError> {
        if !shared.is_closed() {
            return Err(PopError::Empty);
        }
        // O3: nothing comes after what is read now.
        if self.ready(shared, 1) == 0 {
            return Err(PopError::Closed);
        }
        // SAFETY: something is ready.
        Ok(unsafe { self.take(shared) })
    }

    fn pop_bulk<T>(&mut self, shared: &Shared<T>, out: &mut Vec<T>, max: usize) -> usize {
        let count = self.ready(shared, max).min(max);
        if count > 0 {
            out.reserve(count); // Before anything is read out: it may panic.
            // SAFETY: so many are ready, and there is room for them.
            unsafe { put_back(out, count, |to| self.drain(shared, to, count)) };
        }
        count
    }

    /// # Safety
    /// So many are [`ready`](Self::ready), and `to` points to memory for so many, whose items are the caller's from now
    /// on.
    #[inline(always)]
    unsafe fn drain<T>(&mut self, shared: &Shared<T>, to: *mut T, count: usize) {
        let (first, second) = shared.run(self.head, count);
        for (passed, slots) in [(0, first), (first.len(), second)] {
            for (index, slot) in slots.iter().enumerate() {
                // SAFETY: these slots are ours while they are ready (I1, I2), and hold items; `to` has room for
                // `count`.
                slot.with(|value| unsafe { to.add(passed + index).write((*value).assume_init_read()) });
            }
        }
        self.vacate(shared, count);
    }

    /// As [`pop_bulk`](Self::pop_bulk), but says why nothing was there.
    fn try_pop_bulk<T>(&mut self, shared: &Shared<T>, out: &mut Vec<T>, max: usize) -> Result<usize, PopError> {
        let popped = self.pop_bulk(shared, out, max);
        if popped > 0 || max == 0 {
            return Ok(popped);
        }
        let last = self.pop_last(shared)?;
        out.push(last);
        Ok(1)
    }
}

/// The end that pushes. Dropping it closes the ring behind the last item.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    end: PushEnd,
}

impl<T> Producer<T> {
    /// Pushes without waiting.
    ///
    /// # Errors
    /// The ring is full, or the consumer is gone; the item comes back.
    #[inline]
    pub fn try_push(&mut self, item: T) -> Result<(), PushError<T>> {
        self.end.try_push(&self.shared, item)
    }

    /// Pushes as many items from the front of `items` as there is room for, without waiting. Returns how many; none
    /// when full or [closed](Self::is_closed).
    pub fn push_bulk(&mut self, items: &mut Vec<T>) -> usize {
        self.end.push_bulk(&self.shared, items)
    }

    /// Pushes copies of as many items from the front of `items` as there is room for, without waiting. Returns how
    /// many; none when full or [closed](Self::is_closed).
    pub fn push_slice(&mut self, items: &[T]) -> usize
    where
        T: Copy,
    {
        let count = self.end.claim(&self.shared, items.len());
        if count > 0 {
            // SAFETY: `claim` found room for so many, the slice has so many, and they may be copied.
            unsafe { self.end.fill(&self.shared, items.as_ptr(), count) };
            self.end.publish(&self.shared, count);
        }
        count
    }

    /// Pushes, waiting for room as long as it takes: spins, then parks.
    ///
    /// # Errors
    /// The consumer is gone, before or while waiting; the item comes back.
    #[inline]
    pub fn push(&mut self, item: T) -> Result<(), Closed<T>> {
        if self.end.is_open(&self.shared) {
            // SAFETY: there is room.
            unsafe { self.end.put(&self.shared, item) };
            return Ok(());
        }
        self.push_late(item, None).map_err(|error| Closed(error.into_inner()))
    }

    /// Pushes, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// The ring is still full at the end of that time, or the consumer is gone; the item comes back.
    pub fn push_timeout(&mut self, item: T, timeout: Duration) -> Result<(), PushError<T>> {
        self.push_late(item, Some(timeout))
    }

    #[cold]
    fn push_late(&mut self, mut item: T, timeout: Option<Duration>) -> Result<(), PushError<T>> {
        let Self { shared, end } = self;
        let mut wait = shared.room.wait(timeout);
        loop {
            match end.try_push(shared, item) {
                Err(PushError::Full(back)) if wait.pause(|| shared.has_no_room(), || false) => item = back,
                pushed => return pushed,
            }
        }
    }

    /// Pushes all of `items`, in runs, waiting for room as long as it takes.
    ///
    /// # Errors
    /// The consumer is gone; what was not pushed stays in `items`.
    pub fn push_all(&mut self, items: &mut Vec<T>) -> Result<(), Closed> {
        let Self { shared, end } = self;
        while !items.is_empty() {
            if end.push_bulk(shared, items) > 0 {
                continue;
            }
            let mut wait = shared.room.wait(None);
            while end.push_bulk(shared, items) == 0 {
                if shared.is_closed() {
                    return Err(Closed(()));
                }
                wait.pause(|| shared.has_no_room(), || false);
            }
        }
        Ok(())
    }

    /// Pushes, waiting for room without holding the thread, on any executor. A future dropped before it is done has not
    /// pushed, and drops its item; one that never has to wait never yields.
    ///
    /// # Errors
    /// The consumer is gone, before or while waiting; the item comes back.
    pub async fn push_async(&mut self, item: T) -> Result<(), Closed<T>> {
        let Self { shared, end } = self;
        let mut item = Some(item);
        let attempt = || match end.try_push(shared, item.take()?) {
            Ok(()) => Some(Ok(())),
            Err(PushError::Closed(back)) => Some(Err(Closed(back))),
            Err(PushError::Full(back)) => {
                item = Some(back);
                None
            }
        };
        shared.room.wait_async(attempt, || shared.has_no_room()).await.0
    }

    /// Pushes all of `items`, in runs, waiting as [`push_async`](Self::push_async) does. Dropped before it is done it
    /// has taken from the front of `items` what was pushed, and nothing else.
    ///
    /// # Errors
    /// The consumer is gone; what was not pushed stays in `items`.
    pub async fn push_all_async(&mut self, items: &mut Vec<T>) -> Result<(), Closed> {
        let Self { shared, end } = self;
        while !items.is_empty() {
            let attempt = || match end.push_bulk(shared, items) {
                0 if shared.is_closed() => Some(Err(Closed(()))),
                0 => None,
                _ => Some(Ok(())),
            };
            shared.room.wait_async(attempt, || shared.has_no_room()).await.0?;
        }
        Ok(())
    }

    /// Items in the ring; there may be fewer by the time of the answer.
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when a push would be refused for lack of room.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// Items the ring takes before it is full.
    pub fn capacity(&self) -> usize {
        self.shared.shape.capacity
    }

    /// True once the consumer is gone.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// The end that pops. Dropping it closes the ring, and drops what is in it.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    end: PopEnd,
}

impl<T> Consumer<T> {
    /// Pops without waiting.
    ///
    /// # Errors
    /// The ring is empty, or the producer is gone and so are its items.
    #[inline]
    pub fn try_pop(&mut self) -> Result<T, PopError> {
        self.end.try_pop(&self.shared)
    }

    /// Pops up to `max` items to the end of `out`, without waiting. Returns how many.
    pub fn pop_bulk(&mut self, out: &mut Vec<T>, max: usize) -> usize {
        self.end.pop_bulk(&self.shared, out, max)
    }

    /// Pops as many items as there are into the front of `out`, without waiting. Returns how many.
    pub fn pop_slice(&mut self, out: &mut [T]) -> usize
    where
        T: Copy,
    {
        let Self { shared, end } = self;
        let count = end.ready(shared, out.len()).min(out.len());
        if count > 0 {
            // SAFETY: so many are ready, and the slice has room for so many; what it held needs no drop, being `Copy`.
            unsafe { end.drain(shared, out.as_mut_ptr(), count) };
        }
        count
    }

    /// Pops, waiting for an item as long as it takes: spins, then parks.
    ///
    /// # Errors
    /// The producer is gone, and so are its items.
    #[inline]
    pub fn pop(&mut self) -> Result<T, Closed> {
        if self.end.ready(&self.shared, 1) > 0 {
            // SAFETY: something is ready.
            return Ok(unsafe { self.end.take(&self.shared) });
        }
        self.pop_late(None).map_err(|_| Closed(()))
    }

    /// Pops, waiting for an item for at most `timeout`.
    ///
    /// # Errors
    /// The ring is still empty at the end of that time, or the producer is gone and so are its items.
    pub fn pop_timeout(&mut self, timeout: Duration) -> Result<T, PopError> {
        self.pop_late(Some(timeout))
    }

    #[cold]
    fn pop_late(&mut self, timeout: Option<Duration>) -> Result<T, PopError> {
        let Self { shared, end } = self;
        let mut wait = shared.items.wait(timeout);
        loop {
            match end.try_pop(shared) {
                Err(PopError::Empty) if wait.pause(|| shared.has_no_item(), || false) => {}
                popped => return popped,
            }
        }
    }

    /// Pops up to `max` items to the end of `out`, waiting for the first for at most `timeout`, or as long as it takes.
    /// Returns how many: at least one, unless `max` is 0.
    ///
    /// # Errors
    /// As [`pop_timeout`](Self::pop_timeout).
    pub fn pop_bulk_wait(
        &mut self,
        out: &mut Vec<T>,
        max: usize,
        timeout: Option<Duration>,
    ) -> Result<usize, PopError> {
        let Self { shared, end } = self;
        let popped = end.pop_bulk(shared, out, max);
        if popped > 0 || max == 0 {
            return Ok(popped);
        }
        let mut wait = shared.items.wait(timeout);
        loop {
            match end.try_pop_bulk(shared, out, max) {
                Err(PopError::Empty) if wait.pause(|| shared.has_no_item(), || false) => {}
                popped => return popped,
            }
        }
    }

    /// Pops, waiting for an item without holding the thread, on any executor. A future dropped before it is done has
    /// popped nothing; one that never has to wait never yields.
    ///
    /// # Errors
    /// The producer is gone, and so are its items.
    pub async fn pop_async(&mut self) -> Result<T, Closed> {
        let Self { shared, end } = self;
        let attempt = || match end.try_pop(shared) {
            Err(PopError::Empty) => None,
            Err(PopError::Closed) => Some(Err(Closed(()))),
            Ok(item) => Some(Ok(item)),
        };
        shared.items.wait_async(attempt, || shared.has_no_item()).await.0
    }

    /// Pops up to `max` items to the end of `out`, waiting for the first as [`pop_async`](Self::pop_async) does.
    /// Returns how many: at least one, unless `max` is 0.
    ///
    /// # Errors
    /// The producer is gone, and so are its items.
    pub async fn pop_bulk_async(&mut self, out: &mut Vec<T>, max: usize) -> Result<usize, Closed> {
        let Self { shared, end } = self;
        let attempt = || match end.try_pop_bulk(shared, out, max) {
            Err(PopError::Empty) => None,
            Err(PopError::Closed) => Some(Err(Closed(()))),
            Ok(popped) => Some(Ok(popped)),
        };
        shared.items.wait_async(attempt, || shared.has_no_item()).await.0
    }

    /// Items in the ring; there may be more by the time of the answer.
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when a push would be refused for lack of room.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// Items the ring takes before it is full.
    pub fn capacity(&self) -> usize {
        self.shared.shape.capacity
    }

    /// True once the producer is gone; its items may still be there.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.shared.close();
        // What the items hold on to should not have to wait until the producer notices.
        while self.try_pop().is_ok() {}
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("len", &self.len()).field("capacity", &self.capacity()).finish()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("len", &self.len()).field("capacity", &self.capacity()).finish()
    }
}
