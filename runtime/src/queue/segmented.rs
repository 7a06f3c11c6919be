//! Unbounded MPMC queue: a list of segments for each producer, consumers take from all. Source: the idea is
//! moodycamel's (C. Desrochers, 2014), that order is only promised for each producer and so nothing has to be shared
//! between two. The lists are ours: no sequence per slot, one word that a run is published by, one that it is claimed
//! by.
//!
//! Price: a segment of about 4 KiB for each producer handle there ever was at once, also when drained; a pin for each
//! pop.
//!
//! ```text
//! lane 0, shared    head --> segment --next--> segment <-- newest
//! lane 1, a handle  head --> segment
//! ```
//!
//! Writers, of a lane: `tail` and `newest` the producer that owns it; `head` consumers by CAS. Of a segment:
//! `published` and `next` the lane's producer; `claimed` consumers by CAS; `seen` consumers; a slot the producer, once.
//! I1  A lane has one producer at a time: the handle that took it off the free list until it is dropped, and of lane 0
//!     whoever holds `shared`.
//! I2  Slots below `published` hold items, and are never written again. Winning the CAS for a run of them makes you the
//!     owner of its items. So each is taken once, and in the order in which its producer pushed them.
//! I3  `head` moves on from a segment only when all of it is claimed and it has a `next`, by the one CAS that retires
//!     it. Whoever found it before is pinned, and those who still move items out of it are.
//! I4  `newest` is stored before `next`, so nobody who pins after a segment was retired finds it in `newest`.
//! I5  `base` is how many items its lane had before a segment. So a lane's length is a difference of two sums, and
//!     takes no counter. It wraps, as does the difference.
//! I6  `popped_seen` never runs ahead of what was claimed in its lane. So the length computed from it is never too
//!     small, and pushes that keep to a limit never exceed it, whatever they know of pops.
//! O1  `published` store Release pairs with load Acquire: carries the items. What goes on through `seen` is stored
//!     Release after that load, and loaded Acquire.
//! O2  CAS on `claimed` is Relaxed: it hands out slots and publishes nothing; data moves by O1.
//! O3  `head`, `next` and `newest`: store Release pairs with load Acquire; they carry the segment.
//! O4  The free list's lock and `shared` carry `tail` from one owner of a lane to the next.
//! O5  `claimed` read for `popped_seen` is Relaxed: a count guards no data, and who knows of a pop reads no less than
//!     it.
//! Progress: push by handle is wait-free but for the allocator; push without one takes a lock. Pops are lock-free: a
//! lost CAS is somebody's pop, and no pop waits for a push in flight, which has published nothing.
//! Not promised: order between items of different producers. A pop that says "empty" saw every lane empty, one after
//! the other: items pushed before it began were popped by somebody, but two lanes need not have been empty at one
//! moment.

use std::fmt;
use std::mem::MaybeUninit;
use std::ptr;

use super::CasFailures;
use super::bulk::{put_back, take_front};
use super::cas_failures::{Lost, SharedLost};
use super::grace::{self, Guard};
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicPtr, AtomicUsize};
use crate::sync::{Arc, Backoff, CachePadded, MODELLED, Mutex, UnsafeCell};

/// Producer handles that have a lane of their own at once. Further ones share one with those who push without.
pub const PRODUCERS_MAX: usize = 32;

const SHARED: usize = 0;

/// Unbounded queue for any number of producers and consumers; FIFO per producer.
///
/// A push always succeeds. An item is popped once, or dropped once with the queue. Everything that happened before a
/// push happens before what follows the pop of its item. Pushes without a handle count as one producer: they are popped
/// in their order. Segments go back to the allocator as they are drained, after a grace period.
///
/// ```
/// use rheostat_runtime::queue::Segmented;
/// use std::sync::Arc;
///
/// let queue = Arc::new(Segmented::new());
/// let mut producer = Segmented::producer(&queue);
/// producer.push("a");
/// producer.push_bulk(&mut vec!["b", "c"]);
/// let mut out = Vec::new();
/// assert_eq!((queue.pop(), queue.pop_bulk(&mut out, 8)), (Some("a"), 2));
/// assert_eq!(out, ["b", "c"]);
/// ```
pub struct Segmented<T> {
    lanes: Box<[Lane<T>]>,
    /// Lanes that ever had a producer: those before this one.
    used: AtomicUsize,
    /// Where pops without a handle look first: a hint.
    cursor: CachePadded<AtomicUsize>,
    /// On a line of its own: every push without a handle writes it, and every pop reads what is beside it.
    shared: CachePadded<Mutex<()>>,
    free: Mutex<Vec<usize>>,
    lost: SharedLost,
}

struct Lane<T> {
    head: CachePadded<AtomicPtr<Segment<T>>>,
    newest: CachePadded<AtomicPtr<Segment<T>>>,
    tail: UnsafeCell<Tail<T>>,
}

/// Where a lane's producer is.
struct Tail<T> {
    segment: *mut Segment<T>,
    filled: usize,
    /// What was popped from the lane when a push last had to look: keeps pushes off the consumers' line.
    popped_seen: usize,
}

impl<T> Tail<T> {
    /// Publishes so many items more of the newest segment.
    #[inline(always)]
    fn publish(&mut self, newest: &Segment<T>, items: usize) {
        self.filled += items;
        let publish = if cfg!(rt_mutant = "segmented_items_unpublished") { Relaxed } else { Release };
        newest.published.store(self.filled, publish); // O1
    }
}

struct Segment<T> {
    claims: CachePadded<Claims>,
    published: CachePadded<AtomicUsize>,
    next: AtomicPtr<Segment<T>>,
    base: usize,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

/// The consumers' line.
struct Claims {
    claimed: AtomicUsize,
    /// `published` when a consumer last looked: keeps pops off the producer's line.
    seen: AtomicUsize,
}

// SAFETY: items are handed from thread to thread through O1, each to one owner (I2); no `&T` is ever shared. Tails move
// between threads with the ownership of their lane (I1, O4).
unsafe impl<T: Send> Sync for Segmented<T> {}
// SAFETY: the queue owns its segments and items, and nothing in it is tied to a thread.
unsafe impl<T: Send> Send for Segmented<T> {}

impl<T> Segment<T> {
    /// About 4 KiB, and enough of them to make the allocation cheap.
    const SLOTS: usize = if MODELLED {
        2
    } else {
        let size = if size_of::<T>() == 0 { 1 } else { size_of::<T>() };
        let fit = 4096 / size;
        if fit < 16 {
            16
        } else if fit > 512 {
            512
        } else {
            fit
        }
    };

    fn new(base: usize) -> *mut Self {
        Box::into_raw(Box::new(Self {
            claims: CachePadded::new(Claims { claimed: AtomicUsize::new(0), seen: AtomicUsize::new(0) }),
            published: CachePadded::new(AtomicUsize::new(0)),
            next: AtomicPtr::new(ptr::null_mut()),
            base,
            slots: (0..Self::SLOTS).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
        }))
    }

    /// # Safety
    /// `segment` came from [`new`](Self::new), and nobody can reach it any more.
    unsafe fn free(segment: *mut ()) {
        // SAFETY: by the caller. Slots do not drop what is in them.
        drop(unsafe { Box::from_raw(segment.cast::<Self>()) });
    }

    /// # Safety
    /// The caller has claimed the slot, once.
    #[inline(always)]
    unsafe fn take(slot: &UnsafeCell<MaybeUninit<T>>) -> T {
        // SAFETY: below `published` (I2), seen there through O1; and nobody else takes it.
        slot.with(|value| unsafe { (*value).assume_init_read() })
    }

    /// Claims up to `max` items; `prepare` is told how many before. What may panic must not hold a claim.
    #[inline(always)]
    fn claim(&self, max: usize, prepare: &mut impl FnMut(usize), lost: &Lost) -> Option<&[UnsafeCell<MaybeUninit<T>>]> {
        let mut backoff = Backoff::new();
        let mut claimed = self.claims.claimed.load(Relaxed);
        loop {
            let mut published = self.claims.seen.load(Acquire); // O1
            if claimed >= published {
                published = self.published.load(Acquire); // O1
                if claimed >= published {
                    return None;
                }
                self.claims.seen.store(published, Release); // O1
            }
            let end = claimed + max.min(published - claimed);
            prepare(end - claimed);
            if cfg!(rt_mutant = "segmented_claims_by_store") {
                self.claims.claimed.store(end, Relaxed);
                return Some(&self.slots[claimed..end]);
            }
            match self.claims.claimed.compare_exchange_weak(claimed, end, Relaxed, Relaxed) {
                Ok(_) => return Some(&self.slots[claimed..end]), // I2
                Err(now) => claimed = now,
            }
            lost.pop();
            backoff.spin();
        }
    }
}

/// What a look at a lane came to.
enum Popped<R> {
    Run(R),
    /// The segment was done with, and another follows.
    Left,
    Nothing,
}

impl<T> Lane<T> {
    fn new() -> Self {
        Self {
            head: CachePadded::new(AtomicPtr::new(ptr::null_mut())),
            newest: CachePadded::new(AtomicPtr::new(ptr::null_mut())),
            tail: UnsafeCell::new(Tail { segment: ptr::null_mut(), filled: 0, popped_seen: 0 }),
        }
    }

    /// Pushes an item.
    ///
    /// # Safety
    /// The caller is the lane's producer (I1).
    #[inline(always)]
    unsafe fn push(&self, item: T) {
        self.tail.with_mut(|tail| {
            // SAFETY: the lane's producer is the only one who touches its tail.
            let tail = unsafe { &mut *tail };
            let (segment, vacant) = self.vacant(tail);
            // SAFETY: at or above `published`, and so the producer's alone (I2).
            vacant[0].with_mut(|value| unsafe { (*value).write(item) });
            tail.publish(segment, 1);
        });
    }

    /// Pushes a run.
    ///
    /// # Safety
    /// The caller is the lane's producer (I1), and `from` points to `count` items, which are the lane's from now on.
    unsafe fn push_run(&self, from: *const T, count: usize) {
        self.tail.with_mut(|tail| {
            // SAFETY: as in `push`.
            let tail = unsafe { &mut *tail };
            let mut pushed = 0;
            while pushed < count {
                let (segment, vacant) = self.vacant(tail);
                let run = vacant.len().min(count - pushed);
                for (index, slot) in vacant[..run].iter().enumerate() {
                    // SAFETY: as in `push`; there are `count` items.
                    slot.with_mut(|value| unsafe { (*value).write(from.add(pushed + index).read()) });
                }
                tail.publish(segment, run);
                pushed += run;
            }
        });
    }

    /// The segment that takes what is pushed next, and its vacant slots, of which there are some.
    #[inline(always)]
    fn vacant<'a>(&self, tail: &mut Tail<T>) -> (&'a Segment<T>, &'a [UnsafeCell<MaybeUninit<T>>]) {
        // SAFETY: the newest segment of a lane is not retired (I3).
        let segment = match unsafe { tail.segment.as_ref() } {
            Some(segment) if tail.filled < segment.slots.len() => segment,
            full => self.grow(tail, full.map_or(0, |full| full.base.wrapping_add(full.slots.len()))),
        };
        (segment, &segment.slots[tail.filled..])
    }

    /// Pushes `count` items from the front of a vector that has so many.
    ///
    /// # Safety
    /// The caller is the lane's producer (I1).
    #[inline(always)]
    unsafe fn push_front(&self, items: &mut Vec<T>, count: usize) {
        // SAFETY: by the caller; pushing does not unwind: who is out of memory is out of luck.
        unsafe { take_front(items, count, |from| self.push_run(from, count)) };
    }

    /// How many of `wanted` items there is room for under `limit`.
    ///
    /// # Safety
    /// The caller is the lane's producer (I1).
    #[inline(always)]
    unsafe fn room(&self, limit: usize, wanted: usize) -> usize {
        self.tail.with_mut(|tail| {
            // SAFETY: the lane's producer is the only one who touches its tail.
            let tail = unsafe { &mut *tail };
            // SAFETY: the newest segment of a lane is not retired (I3).
            let pushed = unsafe { tail.segment.as_ref() }.map_or(0, |segment| segment.base.wrapping_add(tail.filled));
            let room = |popped| limit.saturating_sub(pushed.wrapping_sub(popped)).min(wanted);
            if room(tail.popped_seen) < wanted {
                tail.popped_seen = self.popped(&grace::pin());
            }
            room(tail.popped_seen) // I6
        })
    }

    /// How many items have been claimed so far, at least.
    #[cold]
    fn popped(&self, _guard: &Guard<'_>) -> usize {
        // SAFETY: found in `head` under a pin (I3).
        let oldest = unsafe { self.head.load(Acquire).as_ref() }; // O3
        oldest.map_or(0, |oldest| oldest.base.wrapping_add(oldest.claims.claimed.load(Relaxed))) // O5
    }

    /// Puts an empty segment behind the newest.
    #[cold]
    fn grow<'a>(&self, tail: &mut Tail<T>, base: usize) -> &'a Segment<T> {
        let segment = Segment::new(base);
        self.newest.store(segment, Release); // O3, I4
        // SAFETY: the newest segment of a lane is not retired before it has a `next` (I3).
        match unsafe { tail.segment.as_ref() } {
            Some(full) => full.next.store(segment, Release), // O3
            None => self.head.store(segment, Release),       // O3
        }
        (tail.segment, tail.filled) = (segment, 0);
        // SAFETY: just made, and the caller is the producer, who alone can give it a `next`.
        unsafe { &*segment }
    }

    /// Claims up to `max` items of the lane's oldest segment, and hands their slots to `take`.
    #[inline(always)]
    fn pop<R>(
        &self,
        max: usize,
        prepare: &mut impl FnMut(usize),
        take: impl FnOnce(&[UnsafeCell<MaybeUninit<T>>]) -> R,
        lost: &Lost,
        guard: &Guard<'_>,
    ) -> Popped<R> {
        // SAFETY: found in `head` under a pin: not freed before that ends (I3).
        let Some(segment) = (unsafe { self.head.load(Acquire).as_ref() }) else { return Popped::Nothing }; // O3
        match segment.claim(max, prepare, lost) {
            Some(slots) => Popped::Run(take(slots)),
            None if self.leave(segment, guard) => Popped::Left,
            None => Popped::Nothing,
        }
    }

    /// Moves `head` past a segment that is all claimed and followed by another: true also when somebody else did.
    #[cold]
    fn leave(&self, segment: &Segment<T>, guard: &Guard<'_>) -> bool {
        let next = segment.next.load(Acquire); // O3
        if next.is_null() || segment.claims.claimed.load(Relaxed) < segment.slots.len() {
            return false;
        }
        let segment = ptr::from_ref(segment).cast_mut();
        if self.head.compare_exchange(segment, next, Release, Relaxed).is_ok() {
            let bytes = size_of::<Segment<T>>() + Segment::<T>::SLOTS * size_of::<T>();
            // SAFETY: ours to retire, by the CAS (I3), and found by nobody who pins from now on (I4). Freed after what
            // `T` borrows is gone it does no harm: it drops no item.
            unsafe { guard.retire_with(segment.cast(), bytes, Segment::<T>::free) };
        }
        true
    }

    fn len(&self, _guard: &Guard<'_>) -> usize {
        // The head first: what is pushed and popped between the two makes the difference too large, never negative.
        let head = self.head.load(Acquire); // O3
        // SAFETY: found in `head` under a pin (I3).
        let Some(oldest) = (unsafe { head.as_ref() }) else { return 0 };
        let popped = oldest.base.wrapping_add(oldest.claims.claimed.load(Acquire));
        // SAFETY: found in `newest` under a pin (I4). Stored before `head` was.
        let newest = unsafe { &*self.newest.load(Acquire) }; // O3
        let pushed = newest.base.wrapping_add(newest.published.load(Acquire));
        (pushed.wrapping_sub(popped) as isize).max(0) as usize
    }
}

impl<T> Default for Segmented<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Segmented<T> {
    /// An empty queue. Allocates its first segment when it is first pushed to.
    pub fn new() -> Self {
        Self::with_lost(Lost::new())
    }

    /// As [`new`](Self::new), counting lost compare-exchanges where others do.
    pub(super) fn with_lost(lost: SharedLost) -> Self {
        let lanes = if MODELLED { 3 } else { PRODUCERS_MAX + 1 };
        Self {
            lanes: (0..lanes).map(|_| Lane::new()).collect(),
            used: AtomicUsize::new(SHARED + 1),
            cursor: CachePadded::new(AtomicUsize::new(SHARED)),
            shared: CachePadded::new(Mutex::new(())),
            free: Mutex::new(Vec::new()),
            lost,
        }
    }

    /// A handle that pushes without a lock. It takes a lane that an earlier handle has left, or a new one; past
    /// [`PRODUCERS_MAX`] at once it shares with those who push without a handle.
    pub fn producer(queue: &Arc<Self>) -> Producer<T> {
        let mut free = queue.free.lock();
        let lane = free.pop().unwrap_or_else(|| {
            let unused = queue.used.load(Relaxed);
            if unused == queue.lanes.len() {
                return SHARED;
            }
            queue.used.store(unused + 1, Release);
            unused
        });
        drop(free);
        Producer { queue: queue.clone(), lane }
    }

    /// A handle that remembers where it found items, and begins elsewhere than the last one did.
    pub fn consumer(queue: &Arc<Self>) -> Consumer<T> {
        Consumer { queue: queue.clone(), cursor: queue.cursor.fetch_add(1, Relaxed) }
    }

    /// Pushes without a handle.
    pub fn push(&self, item: T) {
        let _shared = self.shared.lock();
        // SAFETY: whoever holds the lock is lane 0's producer (I1).
        unsafe { self.lanes[SHARED].push(item) };
    }

    /// Pushes all of `items`, in order and next to each other, without a handle.
    pub fn push_bulk(&self, items: &mut Vec<T>) {
        let _shared = self.shared.lock();
        // SAFETY: whoever holds the lock is lane 0's producer (I1).
        unsafe { self.lanes[SHARED].push_front(items, items.len()) };
    }

    /// Pushes without a handle, if fewer than `limit` items are in the lane of those who have none. The item comes back
    /// if not.
    #[inline(always)]
    pub(super) fn push_below(&self, limit: usize, item: T) -> Result<(), T> {
        let lane = &self.lanes[SHARED];
        let _shared = self.shared.lock();
        // SAFETY: whoever holds the lock is lane 0's producer (I1).
        unsafe {
            if lane.room(limit, 1) == 0 {
                return Err(item);
            }
            lane.push(item);
        }
        Ok(())
    }

    /// Pushes up to `max` items from the front of `items` as [`push_below`](Self::push_below) does; returns how many.
    pub(super) fn push_run_below(&self, limit: usize, items: &mut Vec<T>, max: usize) -> usize {
        let _shared = self.shared.lock();
        // SAFETY: whoever holds the lock is lane 0's producer (I1).
        unsafe {
            let run = self.lanes[SHARED].room(limit, max.min(items.len()));
            self.lanes[SHARED].push_front(items, run);
            run
        }
    }

    /// Pops without a handle.
    #[inline]
    pub fn pop(&self) -> Option<T> {
        self.pop_pinned(&grace::pin())
    }

    /// Pops without a handle, for who is pinned already.
    #[inline(always)]
    pub(super) fn pop_pinned(&self, guard: &Guard<'_>) -> Option<T> {
        let before = self.cursor.load(Relaxed);
        let mut cursor = before;
        let popped = self.pop_from(&mut cursor, guard);
        if cursor != before {
            self.cursor.store(cursor, Relaxed);
        }
        popped
    }

    /// Pops up to `max` items to the end of `out`, each lane's in order, without a handle. Returns how many.
    pub fn pop_bulk(&self, out: &mut Vec<T>, max: usize) -> usize {
        self.with_cursor(|cursor| self.pop_bulk_from(cursor, out, max))
    }

    #[inline(always)]
    fn with_cursor<R>(&self, pop: impl FnOnce(&mut usize) -> R) -> R {
        let mut cursor = self.cursor.load(Relaxed);
        let before = cursor;
        let popped = pop(&mut cursor);
        if cursor != before {
            self.cursor.store(cursor, Relaxed);
        }
        popped
    }

    #[inline(always)]
    fn pop_from(&self, cursor: &mut usize, guard: &Guard<'_>) -> Option<T> {
        self.pop_with(cursor, guard, 1, &mut |_| {}, |slots| {
            // SAFETY: claimed by this call.
            unsafe { Segment::take(&slots[0]) }
        })
    }

    #[inline(always)]
    fn pop_bulk_from(&self, cursor: &mut usize, out: &mut Vec<T>, max: usize) -> usize {
        let mut popped = 0;
        let room = std::cell::RefCell::new(out);
        while popped < max {
            let mut prepare = |items| room.borrow_mut().reserve(items);
            let run = self.pop_with(cursor, &grace::pin(), max - popped, &mut prepare, |slots| {
                let mut out = room.borrow_mut();
                // SAFETY: claimed by this call, which has reserved room for so many before.
                unsafe {
                    put_back(&mut out, slots.len(), |to| {
                        for (index, slot) in slots.iter().enumerate() {
                            to.add(index).write(Segment::take(slot));
                        }
                    });
                }
                slots.len()
            });
            match run {
                Some(items) => popped += items,
                None => break,
            }
        }
        popped
    }

    /// Looks through the lanes, from the one at `cursor` on, which it leaves where it found something. It goes on to
    /// the next lane with every segment, so that none has to wait for another to be drained.
    #[inline(always)]
    fn pop_with<R>(
        &self,
        cursor: &mut usize,
        guard: &Guard<'_>,
        max: usize,
        prepare: &mut impl FnMut(usize),
        take: impl Fn(&[UnsafeCell<MaybeUninit<T>>]) -> R,
    ) -> Option<R> {
        let used = self.used.load(Acquire);
        let (mut lane, mut empty) = (*cursor, 0);
        while empty < used {
            if lane >= used {
                lane %= used;
            }
            match self.lanes[lane].pop(max, prepare, &take, &self.lost, guard) {
                Popped::Run(taken) => {
                    *cursor = lane;
                    return Some(taken);
                }
                Popped::Left => empty = 0,
                Popped::Nothing => empty += 1,
            }
            lane += 1;
        }
        None
    }

    /// Compare-exchanges that pops have lost so far; pushes need none.
    pub fn cas_failures(&self) -> CasFailures {
        self.lost.read()
    }

    /// How many items are in the queue, give or take operations in flight. Exact when nobody else uses it.
    pub fn len(&self) -> usize {
        let guard = grace::pin();
        let used = self.used.load(Acquire);
        self.lanes[..used].iter().map(|lane| lane.len(&guard)).sum()
    }

    /// True when [`len`](Self::len) is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Pushes to a lane of its own. What it pushes is popped in its order.
pub struct Producer<T> {
    queue: Arc<Segmented<T>>,
    lane: usize,
}

impl<T> Producer<T> {
    /// Pushes. About as much as a store, but for one push in some hundreds that takes a new segment.
    #[inline]
    pub fn push(&mut self, item: T) {
        if self.lane == SHARED {
            return self.queue.push(item);
        }
        // SAFETY: the handle took the lane off the free list and has not given it back (I1); `&mut` makes it one push.
        unsafe { self.queue.lanes[self.lane].push(item) };
    }

    /// Pushes all of `items`, in order.
    pub fn push_bulk(&mut self, items: &mut Vec<T>) {
        if self.lane == SHARED {
            return self.queue.push_bulk(items);
        }
        // SAFETY: as in `push`.
        unsafe { self.queue.lanes[self.lane].push_front(items, items.len()) };
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        if self.lane != SHARED {
            self.queue.free.lock().push(self.lane); // O4
        }
    }
}

/// Pops, beginning where it last found something.
pub struct Consumer<T> {
    queue: Arc<Segmented<T>>,
    cursor: usize,
}

impl<T> Consumer<T> {
    /// Pops an item, if there is one.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        self.queue.pop_from(&mut self.cursor, &grace::pin())
    }

    /// Pops up to `max` items to the end of `out`, each producer's in order. Returns how many.
    #[inline]
    pub fn pop_bulk(&mut self, out: &mut Vec<T>, max: usize) -> usize {
        self.queue.pop_bulk_from(&mut self.cursor, out, max)
    }
}

impl<T> Drop for Segmented<T> {
    fn drop(&mut self) {
        for lane in &self.lanes {
            let mut segment = lane.head.load(Relaxed);
            while !segment.is_null() {
                // SAFETY: `&mut self` makes the list ours; what was retired is no longer in it.
                let owned = unsafe { Box::from_raw(segment) };
                let (claimed, published) = (owned.claims.claimed.load(Relaxed), owned.published.load(Relaxed));
                for slot in &owned.slots[claimed..published] {
                    // SAFETY: published, claimed by nobody, and nobody is left to claim it.
                    drop(unsafe { Segment::take(slot) });
                }
                segment = owned.next.load(Relaxed);
            }
        }
    }
}

impl<T> fmt::Debug for Segmented<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segmented").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("lane", &self.lane).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}
