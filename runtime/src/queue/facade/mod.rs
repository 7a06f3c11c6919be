//! A queue whose kind and capacity turn while it runs: a chain of eras, each a structure of its own.
//!
//! Price: two loads, a pin and a look at two flags an operation, 1 to 2 ns beside the default kind and 3 to 4 beside others;
//! while a hand-over drains, both structures.
//!
//! ```text
//! oldest --> era --next--> era --next--> era <-- newest
//!            drained by                  filled by
//!            consumers                   producers
//! ```
//!
//! A hand-over puts a new era behind the newest and makes it the newest. Producers follow `newest`, consumers `oldest`,
//! which moves on once its era is sealed and drained. Closing is a hand-over to an era that takes nothing and is never
//! left. Ours are the chain and its argument; the grace period is `reclaim`'s.
//!
//! Writers: `newest` and `limit` whoever holds `turning`; `oldest` consumers by CAS; an era's `next` and `sealed` the one
//! turn that ended it, once each; its `behind` the consumer that moved `oldest` to it.
//! I1  Every operation is pinned from its load of `newest` or `oldest` to its last step in the era that it found there,
//!     and waits for nothing while it is pinned.
//! I2  `newest` only moves along the chain, so what a producer pushes never goes to an earlier era than what it pushed
//!     before. That holds for threads that hand the work to each other as well.
//! I3  A sealed era takes no push any more. A structure that can be closed is sealed by closing it: a producer that
//!     still finds it gets its item back and reads `newest` again. Any other is sealed after a grace period that began
//!     when `newest` had moved on: a producer pinned before it has left the era when it ends, and one pinned after reads
//!     a later `newest`.
//! I4  An era that was sealed and then seen empty stays empty, so an item in a later era is popped only when every item of
//!     the earlier ones has been claimed by some pop. With I2 that is FIFO for each producer across any number of turns,
//!     and nothing is left behind.
//! I5  An era is retired by the one CAS that moved `oldest` past it. `newest` had left it before (I3), so later
//!     operations do not find it, and earlier ones are pinned (I1): it is freed when they have gone. It holds nothing
//!     then.
//! I6  `oldest` moves past an era with a `next` only, and a turn reads `newest` under `turning`: the newest era is never
//!     retired.
//! O1  `next` and `newest` store Release pair with `newest`, `next` and `oldest` load Acquire: they carry the era. `next` is
//!     stored before `newest`, so whoever popped from an era or saw an item in it knows how it was reached; a pop that
//!     finds nothing and then no `next` found nothing that was pushed to a later era before it began.
//! O2  `sealed` store Release pairs with load Acquire, read before the era is seen empty: carries every push to it. For a
//!     structure closed on its own the same holds through its own word.
//! O3  A push that was refused may have met a structure that a turn has closed: an Acquire fence, and `newest` read again,
//!     tell. The fence pairs with the Release with which the structure was closed.
//! O4  Sleepers: one bell for consumers and one for producers, whatever the era. A sleeper announces itself with the heavy
//!     side of the asymmetric fence and looks once more; whoever pushed or popped passes the light side and looks for
//!     announcements. If the heavy side comes first, the announcement is seen; if the light side, the push or pop is.
//!     A turn rings both for all when it has sealed: those asleep look again and go on in the new era.
//! O5  `limit` and `behind` are Relaxed: they guard no data.
//! Limit: kept by the structure, but for one that keeps none, which is held to it by [`Allowance`]; while earlier eras
//! drain, the items of all eras count together, so a queue turned down refuses pushes until it has drained below. Eras
//! waiting to drain: at most [`ERAS_MAX`], after which a turn is refused.
//! Progress: that of the structure while no hand-over is under way. A turn waits for pushes in flight, no user code
//! among them. A pop that has emptied the old structure waits for the same, yielding: it cannot say "empty", since newer
//! items may be there, nor take those.
//! Not promised: order between items of different producers; fairness among sleepers; that a turn runs no code of others: who
//! waits for a grace period may be the one to drop what was retired before, with `turning` locked. A `Drop` of what is
//! retired must not turn or close the queue, nor wait for one who does.

use std::fmt;
use std::ptr;
use std::time::Duration;

use super::allowance::Allowance;
use super::backend::Backend;
use super::bell::Bell;
use super::cas_failures::{Lost, SharedLost};
use super::grace::{self, Guard};
use super::{CAPACITY_MAX, CapacityError, CasFailures, Closed, Kind, PopError, PushError};
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, fence};
use crate::sync::{Backoff, CachePadded, MODELLED, Mutex, MutexGuard, OnceLock, Step};

/// Eras that may wait to be drained at once, the newest not counted.
pub const ERAS_MAX: usize = 8;

/// A queue for any number of producers and consumers whose [`Kind`] and capacity turn while it runs; FIFO per producer.
///
/// An item whose push succeeded is popped once, or dropped once with the queue; one whose push failed is back with its
/// owner. Everything that happened before a push happens before what follows the pop of its item. A turn changes none of
/// this, and whoever is blocked in a push or a pop goes on in the new structure.
///
/// ```
/// use rheostat_runtime::queue::{Kind, Queue};
///
/// let queue = Queue::new(Kind::Ring, 2)?;
/// queue.try_push("a").unwrap();
/// queue.turn(Kind::SegQueue, 100)?;
/// queue.try_push("b").unwrap();
/// assert_eq!((queue.try_pop(), queue.try_pop()), (Ok("a"), Ok("b")));
/// # Ok::<(), rheostat_runtime::queue::HandOverError>(())
/// ```
pub struct Queue<T> {
    ends: CachePadded<Ends<T>>,
    item_bell: CachePadded<Bell>,
    room_bell: CachePadded<Bell>,
    allowance: Allowance,
    turning: Mutex<()>,
    /// Of all structures that count them, once there was one.
    lost: OnceLock<SharedLost>,
}

/// What every operation reads and hardly anybody writes.
struct Ends<T> {
    newest: AtomicPtr<Era<T>>,
    oldest: AtomicPtr<Era<T>>,
    limit: AtomicUsize,
}

/// A structure's time in the queue.
struct Era<T> {
    backend: Backend<T>,
    next: AtomicPtr<Era<T>>,
    sealed: AtomicBool,
    /// True while earlier eras hold items.
    behind: AtomicBool,
}

/// A turn that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a hand-over may not have drained yet"]
pub struct HandOver {
    /// The kind before.
    pub kind: Kind,
    /// The capacity before.
    pub capacity: usize,
    /// True when nothing was left in earlier structures at the end of the turn. What is left is popped first.
    pub drained: bool,
}

/// Why a queue was not turned. It runs on as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// A capacity it cannot have.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// The queue was closed.
    #[error("the queue is closed")]
    Closed,
    /// Too many hand-overs wait for consumers.
    #[error("{eras} hand-overs wait for their items to be popped: pop some first")]
    Undrained {
        /// How many do.
        eras: usize,
    },
}

// SAFETY: items move between threads and no `&T` is shared; the structures are `Sync` for such items themselves.
unsafe impl<T: Send> Sync for Queue<T> {}
// SAFETY: the queue owns its eras and their items, and nothing in it is tied to a thread.
unsafe impl<T: Send> Send for Queue<T> {}

impl<T> Era<T> {
    fn new(backend: Backend<T>, behind: bool) -> *mut Self {
        Box::into_raw(Box::new(Self {
            backend,
            next: AtomicPtr::new(ptr::null_mut()),
            sealed: AtomicBool::new(false),
            behind: AtomicBool::new(behind),
        }))
    }

    /// # Safety
    /// `era` came from [`new`](Self::new), and nobody can reach it any more.
    unsafe fn free(era: *mut ()) {
        // SAFETY: by the caller.
        drop(unsafe { Box::from_raw(era.cast::<Self>()) });
    }

    /// The era after this one, for as long as the caller is pinned.
    #[inline(always)]
    fn next<'g>(&self, _guard: &'g Guard<'_>) -> Option<&'g Self> {
        // SAFETY: an era is retired after the one before it (I5), so it outlives the pin that this one was found under.
        unsafe { self.next.load(Acquire).as_ref() } // O1
    }

    /// True for the era that a closed queue ends in.
    fn is_end(&self) -> bool {
        matches!(self.backend, Backend::End)
    }

    /// True once nothing is in it and nothing will ever be (I4).
    fn is_drained(&self) -> bool {
        // O2: in this order.
        (self.sealed.load(Acquire) || cfg!(rt_mutant = "queue_leave_unsealed")) && self.backend.is_empty()
    }
}

impl<T> Queue<T> {
    /// An empty queue.
    ///
    /// # Errors
    /// `capacity` is 0 or more than [`CAPACITY_MAX`].
    pub fn new(kind: Kind, capacity: usize) -> Result<Self, CapacityError> {
        check_capacity(capacity)?;
        let lost = OnceLock::new();
        let era = Era::new(Backend::new(kind, capacity, || shared(&lost))?, false);
        Ok(Self {
            ends: CachePadded::new(Ends {
                newest: AtomicPtr::new(era),
                oldest: AtomicPtr::new(era),
                limit: AtomicUsize::new(capacity),
            }),
            item_bell: CachePadded::new(Bell::new()),
            room_bell: CachePadded::new(Bell::new()),
            allowance: Allowance::new(),
            turning: Mutex::new(()),
            lost,
        })
    }

    /// Pushes without waiting.
    ///
    /// # Errors
    /// The queue is full or closed; the item comes back.
    #[inline]
    pub fn try_push(&self, item: T) -> Result<(), PushError<T>> {
        let guard = grace::pin(); // I1
        let era = self.newest(&guard);
        // The default kind inline, as far as it takes no closer look; the rest has more to do.
        let item = match &era.backend {
            Backend::Ring(ring) if !era.behind.load(Relaxed) => {
                Step::QueueChosen.reached();
                match ring.push_at_once(item) {
                    None => {
                        drop(guard);
                        self.tell_consumers();
                        return Ok(());
                    }
                    Some(item) => item,
                }
            }
            _ => item,
        };
        self.push_pinned(item, guard)
    }

    #[inline(never)]
    fn push_pinned(&self, item: T, guard: Guard<'_>) -> Result<(), PushError<T>> {
        let era = self.newest(&guard);
        Step::QueueChosen.reached();
        let pushed = match self.push_to(era, item) {
            Ok(()) => Ok(()),
            Err(refused) => self.push_further(era, refused, &guard),
        };
        drop(guard);
        pushed.inspect(|()| self.tell_consumers())
    }

    /// Goes on where `era` has refused an item.
    #[cold]
    fn push_further<'g>(
        &'g self,
        mut era: &'g Era<T>,
        mut refused: PushError<T>,
        guard: &'g Guard<'_>,
    ) -> Result<(), PushError<T>> {
        while let Some(newer) = self.newer(era, guard) {
            era = newer;
            match self.push_to(era, refused.into_inner()) {
                Ok(()) => return Ok(()),
                Err(again) => refused = again,
            }
        }
        Err(refused)
    }

    #[inline(always)]
    fn push_to(&self, era: &Era<T>, item: T) -> Result<(), PushError<T>> {
        match self.admits(era, 1) {
            0 => Err(PushError::Full(item)),
            _ => era.backend.try_push(item, self.capacity()),
        }
    }

    /// Pops without waiting for items. What it does wait for, yielding, are pushes in flight, if a hand-over is being
    /// sealed and the old structure is empty.
    ///
    /// # Errors
    /// The queue is empty, or closed and drained.
    #[inline]
    pub fn try_pop(&self) -> Result<T, PopError> {
        let guard = grace::pin(); // I1
        if let Backend::Ring(ring) = &self.oldest(&guard).backend
            && let Some(item) = ring.pop_at_once()
        {
            drop(guard);
            self.tell_producers();
            return Ok(item);
        }
        self.pop_pinned(guard)
    }

    #[inline(never)]
    fn pop_pinned(&self, guard: Guard<'_>) -> Result<T, PopError> {
        if let Some(item) = self.oldest(&guard).backend.try_pop(&guard) {
            drop(guard);
            self.tell_producers();
            return Ok(item);
        }
        self.pop_with(guard, Backend::try_pop)
    }

    #[cold]
    fn pop_with<'q, R>(
        &'q self,
        mut guard: Guard<'q>,
        mut pop: impl FnMut(&Backend<T>, &Guard<'_>) -> Option<R>,
    ) -> Result<R, PopError> {
        let mut backoff = Backoff::new();
        loop {
            let era = self.oldest(&guard);
            let found = match pop(&era.backend, &guard) {
                Some(popped) => Some(Ok(popped)),
                None => self.pop_further(era, &guard, &mut pop),
            };
            drop(guard);
            match found {
                Some(Ok(popped)) => {
                    self.tell_producers();
                    return Ok(popped);
                }
                Some(nothing) => return nothing,
                None => backoff.snooze(), // Not pinned, so that the turn can go on.
            }
            guard = grace::pin(); // I1
        }
    }

    /// Goes on where `era` had nothing to pop: looks at those after it as they drain. `None` when one is empty, not sealed
    /// yet, and another follows.
    #[cold]
    fn pop_further<'g, R>(
        &'g self,
        mut era: &'g Era<T>,
        guard: &'g Guard<'_>,
        pop: &mut impl FnMut(&Backend<T>, &Guard<'_>) -> Option<R>,
    ) -> Option<Result<R, PopError>> {
        loop {
            if era.next(guard).is_none() {
                return Some(Err(if era.is_end() { PopError::Closed } else { PopError::Empty })); // O1
            }
            if !self.leave(era, guard) {
                return None;
            }
            era = self.oldest(guard);
            if let Some(popped) = pop(&era.backend, guard) {
                return Some(Ok(popped));
            }
        }
    }

    /// Pushes as many items from the front of `items` as there is room for, in order and without waiting. Returns how many;
    /// none when full or [closed](Self::is_closed).
    pub fn push_bulk(&self, items: &mut Vec<T>) -> usize {
        let pushed = self.push_bulk_pinned(items);
        if pushed > 0 {
            self.tell_consumers();
        }
        pushed
    }

    fn push_bulk_pinned(&self, items: &mut Vec<T>) -> usize {
        let guard = grace::pin(); // I1
        let mut era = self.newest(&guard);
        loop {
            let admitted = self.admits(era, items.len());
            let pushed = era.backend.push_bulk(items, admitted, self.capacity());
            if pushed > 0 || items.is_empty() {
                return pushed;
            }
            match self.newer(era, &guard) {
                Some(newer) => era = newer,
                None => return 0,
            }
        }
    }

    /// Pops up to `max` items to the end of `out`, in order and without waiting, but as [`try_pop`](Self::try_pop) does.
    /// Returns how many.
    pub fn pop_bulk(&self, out: &mut Vec<T>, max: usize) -> usize {
        self.try_pop_bulk(out, max).unwrap_or(0)
    }

    fn try_pop_bulk(&self, out: &mut Vec<T>, max: usize) -> Result<usize, PopError> {
        if max == 0 {
            return Ok(0);
        }
        self.pop_with(grace::pin(), |backend, guard| {
            Some(backend.pop_bulk(out, max, guard)).filter(|&popped| popped > 0)
        })
    }

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

    /// Pushes, waiting for room without holding the thread, on any executor. A future dropped before it is done drops the
    /// item, and takes no wake-up with it that another producer needs.
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
    /// [`push_async`](Self::push_async) does. Returns how many, at least one unless `items` is empty. A future dropped before
    /// it is done has pushed nothing.
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

    /// Pops, waiting for an item without holding the thread, on any executor. A future dropped before it is done has popped
    /// nothing, and takes no wake-up with it that another consumer needs.
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

    /// Closes the queue. From the return on no push succeeds; items accepted before stay to be popped, and consumers see
    /// [`PopError::Closed`] only when every one of them has been claimed. Wakes everybody. Closing again does nothing.
    ///
    /// # Panics
    /// As [`turn`](Self::turn).
    pub fn close(&self) {
        let turning = self.turning.lock();
        if !self.is_closed() {
            self.hand_over(&turning, Backend::End);
        }
    }

    /// True once [`close`](Self::close) has taken hold.
    pub fn is_closed(&self) -> bool {
        self.newest(&grace::pin()).is_end()
    }

    /// The kind that takes what is pushed now; `None` when closed.
    pub fn kind(&self) -> Option<Kind> {
        self.newest(&grace::pin()).backend.kind()
    }

    /// How many items the queue lets in before pushes are refused. The counted limit of [`Kind::SegQueue`], which keeps
    /// none, can be passed by half, and by no more than 32 items for each thread that pushes.
    pub fn capacity(&self) -> usize {
        self.ends.limit.load(Relaxed)
    }

    /// Turns the queue to a kind and a capacity. Takes the capacity in place where the structure can. Otherwise hands over
    /// to a new one: what is pushed from the return on goes there, and is popped after all that was pushed before.
    ///
    /// Waits for pushes in flight.
    ///
    /// # Panics
    /// When the calling thread holds a [`reclaim`](crate::reclaim) guard: it would wait for itself.
    ///
    /// # Errors
    /// A capacity of 0 or above [`CAPACITY_MAX`], a closed queue, or [`ERAS_MAX`] earlier structures that still hold items.
    pub fn turn(&self, kind: Kind, capacity: usize) -> Result<HandOver, HandOverError> {
        self.turn_with(|_, _| (kind, capacity))
    }

    /// Turns the kind, whatever the capacity is: see [`turn`](Self::turn).
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub fn set_kind(&self, kind: Kind) -> Result<HandOver, HandOverError> {
        self.turn_with(|_, capacity| (kind, capacity))
    }

    /// Turns the capacity, whatever the kind is: see [`turn`](Self::turn).
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub fn set_capacity(&self, capacity: usize) -> Result<HandOver, HandOverError> {
        self.turn_with(|kind, _| (kind, capacity))
    }

    fn turn_with(&self, to: impl FnOnce(Kind, usize) -> (Kind, usize)) -> Result<HandOver, HandOverError> {
        let turning = self.turning.lock();
        // SAFETY: the newest era is not retired while we hold the lock (I6).
        let newest = unsafe { &*self.ends.newest.load(Relaxed) };
        let from = newest.backend.kind().ok_or(HandOverError::Closed)?;
        let before = self.capacity();
        let (kind, capacity) = to(from, before);
        check_capacity(capacity)?;
        if kind != from || !newest.backend.resize(capacity) {
            self.settle();
            let eras = self.eras();
            if eras > ERAS_MAX {
                return Err(HandOverError::Undrained { eras: ERAS_MAX });
            }
            let backend = Backend::new(kind, capacity, || shared(&self.lost))?;
            self.ends.limit.store(capacity, Relaxed); // O5
            self.hand_over(&turning, backend);
        } else {
            self.ends.limit.store(capacity, Relaxed); // O5
            self.room_bell.ring_all();
        }
        Ok(HandOver { kind: from, capacity: before, drained: self.settle() })
    }

    /// Puts an era with that backend behind the newest, seals the one before, and wakes everybody.
    fn hand_over(&self, _turning: &MutexGuard<'_, ()>, backend: Backend<T>) {
        // SAFETY: the newest era is not retired before it has a `next` (I6), and not freed while we are in here: it was
        // sealed by nobody else, and only a sealed one is left.
        let newest = unsafe { &*self.ends.newest.load(Relaxed) };
        let closable = newest.backend.is_closable();
        // Asked before anything has changed: a grace period that waits for its own thread would never end.
        assert!(
            MODELLED || closable || grace::synchronize().is_ok(),
            "a queue is turned by a thread that holds a reclaim guard"
        );
        let next = Era::new(backend, true);
        newest.next.store(next, Release); // O1
        Step::QueueLinked.reached();
        self.ends.newest.store(next, Release); // O1
        Step::QueueRedirected.reached();
        if closable {
            newest.backend.close();
        } else if !cfg!(rt_mutant = "queue_no_grace") {
            grace::synchronize().expect("asked above"); // I3
        }
        Step::QueueClosed.reached();
        newest.sealed.store(true, Release); // O2
        Step::QueueSealed.reached();
        if !cfg!(rt_mutant = "queue_turn_wakes_nobody") {
            self.item_bell.ring_all(); // O4
            self.room_bell.ring_all();
        }
    }

    /// Leaves drained eras behind. True when there is none but the newest: nothing is left of any hand-over.
    pub fn settle(&self) -> bool {
        let guard = grace::pin();
        loop {
            let era = self.oldest(&guard);
            if era.next(&guard).is_none() {
                return true;
            }
            if !self.leave(era, &guard) {
                return false;
            }
        }
    }

    /// Compare-exchanges that were lost so far, by all structures that count them; `None` before there was one.
    pub fn cas_failures(&self) -> Option<CasFailures> {
        self.lost.get().map(|lost| lost.read())
    }

    /// How many items are in the queue, give or take operations in flight. More than the capacity while a lowered one drains.
    pub fn len(&self) -> usize {
        let guard = grace::pin();
        let (mut era, mut len) = (self.oldest(&guard), 0);
        loop {
            len += era.backend.len();
            match era.next(&guard) {
                Some(next) => era = next,
                None => return len,
            }
        }
    }

    /// True when [`len`](Self::len) is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when a push would be refused for lack of room.
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity()
    }

    /// Eras in the chain.
    fn eras(&self) -> usize {
        let guard = grace::pin();
        std::iter::successors(Some(self.oldest(&guard)), |era| era.next(&guard)).count()
    }

    #[inline(always)]
    fn newest<'g>(&self, _guard: &'g Guard<'_>) -> &'g Era<T> {
        // SAFETY: found in `newest` by one who is pinned: not freed before the pin ends (I5), nor while the queue lives.
        unsafe { &*self.ends.newest.load(Acquire) } // O1
    }

    #[inline(always)]
    fn oldest<'g>(&self, _guard: &'g Guard<'_>) -> &'g Era<T> {
        // SAFETY: found in `oldest` by one who is pinned: not freed before the pin ends (I5), nor while the queue lives.
        unsafe { &*self.ends.oldest.load(Acquire) } // O1
    }

    /// The newest era, if it is another one than `era`, which has refused a push.
    #[cold]
    fn newer<'g>(&self, era: &Era<T>, guard: &'g Guard<'_>) -> Option<&'g Era<T>> {
        fence(Acquire); // O3
        Some(self.newest(guard)).filter(|newest| !ptr::eq(*newest, era))
    }

    /// Moves `oldest` past `era`, if it is drained: true also when somebody else did.
    fn leave(&self, era: &Era<T>, guard: &Guard<'_>) -> bool {
        if !era.is_drained() {
            return false;
        }
        let (era, next) = (ptr::from_ref(era).cast_mut(), era.next.load(Acquire));
        Step::QueueDrained.reached();
        if self.ends.oldest.compare_exchange(era, next, Release, Relaxed).is_ok() {
            Step::QueueLeft.reached();
            // SAFETY: `next` is not null, for `era` is sealed, and we are pinned.
            unsafe { (*next).behind.store(false, Relaxed) };
            // SAFETY: ours to retire, by the CAS, and found by nobody who pins from now on (I5). It may be freed after
            // whatever `T` borrows is gone: it has none of them.
            unsafe { guard.retire_with(era.cast(), size_of::<Era<T>>(), Era::<T>::free) };
            self.room_bell.ring_all();
        }
        true
    }

    /// How many of `wanted` items may be offered to `era`'s structure, which may still refuse some.
    #[inline(always)]
    fn admits(&self, era: &Era<T>, wanted: usize) -> usize {
        // The end of a closed queue refuses on its own, and says why.
        if era.behind.load(Relaxed) && !era.is_end() {
            self.room().min(wanted)
        } else if era.backend.is_unbounded() {
            self.allowance.take(wanted, || self.room())
        } else {
            wanted
        }
    }

    #[cold]
    fn room(&self) -> usize {
        self.capacity().saturating_sub(self.len())
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

    /// After a push. A run wakes one as well: it wakes the next if it leaves something.
    #[inline(always)]
    fn tell_consumers(&self) {
        if self.item_bell.may_be_awaited() {
            self.item_bell.ring_one();
        }
    }

    /// After a pop.
    #[inline(always)]
    fn tell_producers(&self) {
        if self.room_bell.may_be_awaited() {
            self.tell_of_room();
        }
    }

    /// Wakes a producer if there is room. While a lowered limit drains there is none, and the pop that makes the first
    /// room sees so: of two pops in different places one has its fence first, and the other sees what it took.
    #[cold]
    fn tell_of_room(&self) {
        if !self.room_bell.is_awaited() {
            return;
        }
        fence(SeqCst);
        if !self.is_full() {
            self.room_bell.ring_one();
        }
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

fn shared(lost: &OnceLock<SharedLost>) -> SharedLost {
    lost.get_or_init(Lost::new).clone()
}

fn check_capacity(capacity: usize) -> Result<(), CapacityError> {
    let fits = (1..=CAPACITY_MAX).contains(&capacity);
    if fits { Ok(()) } else { Err(CapacityError { requested: capacity, max: CAPACITY_MAX }) }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        let mut era = self.ends.oldest.load(Relaxed);
        while !era.is_null() {
            // SAFETY: `&mut self` makes the chain ours; those retired are no longer in it.
            let owned = unsafe { Box::from_raw(era) };
            era = owned.next.load(Relaxed);
        }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("kind", &self.kind())
            .field("capacity", &self.capacity())
            .field("len", &self.len())
            .finish()
    }
}
