//! A queue whose kind and capacity turn while it runs: a chain of eras, each a structure of its own.
//!
//! Price: two loads, a pin and a look at two flags an operation, about 1 ns beside the default kind and 2 to 4 beside others;
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

mod blocking;
mod era;
mod turn;

pub use turn::{HandOver, HandOverError};

use std::fmt;
use std::ptr;

use super::allowance::Allowance;
use super::backend::Backend;
use super::bell::Bell;
use super::cas_failures::{Lost, SharedLost};
use super::grace::{self, Guard};
use super::segmented::Segmented;
use super::{CAPACITY_MAX, CapacityError, CasFailures, Kind, PopError, PushError};
use crate::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use crate::sync::atomic::{AtomicPtr, AtomicUsize, fence};
use crate::sync::{Backoff, CachePadded, Mutex, OnceLock, Step};
use crossbeam_queue::{ArrayQueue, SegQueue};
use era::Era;

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

// SAFETY: items move between threads and no `&T` is shared; the structures are `Sync` for such items themselves.
unsafe impl<T: Send> Sync for Queue<T> {}
// SAFETY: the queue owns its eras and their items, and nothing in it is tied to a thread.
unsafe impl<T: Send> Send for Queue<T> {}

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
        let Some(guard) = grace::pin_at_once() else { return self.push_closely(item) }; // I1
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
        match self.push_pinned(item, guard) {
            None => Ok(()),
            Some(item) => self.push_closely(item),
        }
    }

    /// Pushes if that takes no closer look, and gives the item back if it does. Chooses between the other kinds, each of
    /// which has a copy of its own of all that comes after: entered by a jump, it saves no registers for the others. An
    /// `Option`, for that fits into registers.
    #[inline(never)]
    fn push_pinned(&self, item: T, guard: Guard<'_>) -> Option<T> {
        // SAFETY: the guard goes along with the era.
        let era = unsafe { self.newest_while_held(&guard) };
        if era.behind.load(Relaxed) {
            return leave_with(guard, Some(item));
        }
        Step::QueueChosen.reached();
        match &era.backend {
            Backend::Segmented(queue) => self.push_to_segmented(queue, item, guard),
            Backend::ArrayQueue(queue) => self.push_to_array_queue(queue, item, guard),
            Backend::SegQueue(queue) => self.push_to_seg_queue(queue, item, guard),
            Backend::Ring(_) | Backend::End => leave_with(guard, Some(item)),
        }
    }

    #[inline(never)]
    fn push_to_segmented(&self, queue: &Segmented<T>, item: T, guard: Guard<'_>) -> Option<T> {
        let refused = queue.push_below(self.capacity(), item).err();
        self.pushed(refused, guard)
    }

    #[inline(never)]
    fn push_to_array_queue(&self, queue: &ArrayQueue<T>, item: T, guard: Guard<'_>) -> Option<T> {
        let refused = queue.push(item).err();
        self.pushed(refused, guard)
    }

    #[inline(never)]
    fn push_to_seg_queue(&self, queue: &SegQueue<T>, item: T, guard: Guard<'_>) -> Option<T> {
        if !self.allowance.take_one() {
            return leave_with(guard, Some(item));
        }
        queue.push(item);
        self.pushed(None, guard)
    }

    /// The end of a push, which may have been refused.
    #[inline(always)]
    fn pushed(&self, refused: Option<T>, guard: Guard<'_>) -> Option<T> {
        drop(guard);
        if refused.is_none() {
            self.tell_consumers();
        }
        refused
    }

    /// Pushes as far as it takes: counts what there is, and goes on in the next era.
    #[cold]
    #[inline(never)]
    fn push_closely(&self, item: T) -> Result<(), PushError<T>> {
        let guard = grace::pin(); // I1
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
        match grace::pin_at_once().and_then(|guard| self.pop_at_once(guard)) {
            Some(item) => Ok(item),
            None => self.pop_closely(),
        }
    }

    /// Pops if that takes no closer look: from the default kind inline.
    #[inline(always)]
    fn pop_at_once(&self, guard: Guard<'_>) -> Option<T> {
        if let Backend::Ring(ring) = &self.oldest(&guard).backend
            && let Some(item) = ring.pop_at_once()
        {
            drop(guard);
            self.tell_producers();
            return Some(item);
        }
        self.pop_pinned(guard)
    }

    /// Pops if that takes no closer look. Chooses between the other kinds: see [`push_pinned`](Self::push_pinned).
    #[inline(never)]
    fn pop_pinned(&self, guard: Guard<'_>) -> Option<T> {
        // SAFETY: the guard goes along with the era.
        match unsafe { &self.oldest_while_held(&guard).backend } {
            Backend::Segmented(queue) => self.pop_from_segmented(queue, guard),
            Backend::ArrayQueue(queue) => self.pop_from_array_queue(queue, guard),
            Backend::SegQueue(queue) => self.pop_from_seg_queue(queue, guard),
            Backend::Ring(_) | Backend::End => leave_with(guard, None),
        }
    }

    #[inline(never)]
    fn pop_from_segmented(&self, queue: &Segmented<T>, guard: Guard<'_>) -> Option<T> {
        let popped = queue.pop_pinned(&guard);
        self.popped(popped, guard)
    }

    #[inline(never)]
    fn pop_from_array_queue(&self, queue: &ArrayQueue<T>, guard: Guard<'_>) -> Option<T> {
        let popped = queue.pop();
        self.popped(popped, guard)
    }

    #[inline(never)]
    fn pop_from_seg_queue(&self, queue: &SegQueue<T>, guard: Guard<'_>) -> Option<T> {
        let popped = queue.pop();
        self.popped(popped, guard)
    }

    /// The end of a pop, which may have found nothing.
    #[inline(always)]
    fn popped(&self, item: Option<T>, guard: Guard<'_>) -> Option<T> {
        drop(guard);
        if item.is_some() {
            self.tell_producers();
        }
        item
    }

    /// Pops as far as it takes.
    #[cold]
    #[inline(never)]
    fn pop_closely(&self) -> Result<T, PopError> {
        self.pop_with(grace::pin(), Backend::try_pop) // I1
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

    #[inline(always)]
    fn newest<'g>(&self, _guard: &'g Guard<'_>) -> &'g Era<T> {
        // SAFETY: found in `newest` by one who is pinned: not freed before the pin ends (I5), nor while the queue lives.
        unsafe { &*self.ends.newest.load(Acquire) } // O1
    }

    /// The newest era.
    ///
    /// # Safety
    /// Good for as long as the guard is held, wherever that goes meanwhile.
    #[inline(always)]
    unsafe fn newest_while_held(&self, _guard: &Guard<'_>) -> &Era<T> {
        // SAFETY: as in `newest`, and the caller sees to the guard.
        unsafe { &*self.ends.newest.load(Acquire) } // O1
    }

    /// The oldest era.
    ///
    /// # Safety
    /// As for [`newest_while_held`](Self::newest_while_held).
    #[inline(always)]
    unsafe fn oldest_while_held(&self, _guard: &Guard<'_>) -> &Era<T> {
        // SAFETY: as in `oldest`, and the caller sees to the guard.
        unsafe { &*self.ends.oldest.load(Acquire) } // O1
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
}

/// Drops the guard and passes `result` on. Out of line, so that who ends with it needs no frame for what a drop may call.
#[cold]
#[inline(never)]
fn leave_with<R>(guard: Guard<'_>, result: R) -> R {
    drop(guard);
    result
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
