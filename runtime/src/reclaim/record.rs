//! A thread's record in a domain: whether it reads, since which epoch, and what it has retired.
//!
//! The word `state`, and the domain's `clock`, which is the word that a fresh outermost guard stores:
//!
//! | bits | what |
//! |---|---|
//! | 0..=14 | guards held, nested ones counted; 1 in the clock |
//! | 15 | `DUE`: the thread has retired enough to help collecting when its outermost guard goes |
//! | 16..=63 | the epoch at which the outermost guard was taken; it wraps |
//!
//! Writers: `state`, `retired_*` and the bag's end of production, the thread that holds the record; `taken` whoever
//! takes it by compare-exchange, and its holder when it gives it back; `tenant` the holder; `next` before the record is
//! published, never after.
//! I1  A record has at most one holder. It is given back when its thread ends, and taken again only while no guard is
//!     left on it: one that a later destructor of the ending thread still holds keeps the record out of use.
//! I2  Records are freed with the domain and not before, so a guard, which borrows the domain, can follow its pointer.
//! O1  Taking by Acquire pairs with giving back by Release: it hands on the bag's tail and the counts. A guard that
//!     outlived that hands them on by its last store to `state`, Release, which the taker loads Acquire.
//! O2  Every store to `state` is Release and pairs with the collector's load Acquire, so that whatever it finds there,
//!     all that earlier guards of the record have read has been read.
//! O3  Counts are Relaxed and published by the bag: who has gathered garbage sees it counted.

use super::bag::{Bag, Garbage};
use super::domain::Shared;
use super::pile::Pile;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{UnsafeCell, barrier};

/// The guards held, in a state.
pub(super) const GUARDS: u64 = DUE - 1;
const DUE: u64 = 1 << 15;
/// From one epoch to the next, in a clock.
pub(super) const EPOCH: u64 = 1 << 16;
/// The clock of a new domain.
pub(super) const FIRST: u64 = EPOCH | 1;

#[repr(align(128))] // A reader's stores must not disturb its neighbours'. 128: cores fetch lines in pairs.
pub(super) struct Record {
    state: AtomicU64,
    shared: *const Shared,
    retired_objects: AtomicU64,
    retired_bytes: AtomicU64,
    since_help: UnsafeCell<Retired>,
    bag: Bag,
    taken: AtomicBool,
    tenant: AtomicUsize,
    pub(super) next: *const Record,
}

/// Counts of the holder's own.
#[derive(Default)]
struct Retired {
    objects: usize,
    bytes: usize,
}

// SAFETY: cells are the holder's (I1) or the bag's, which says who may touch what; the pointers are followed as long as
// the domain lives (I2).
unsafe impl Send for Record {}
// SAFETY: as above.
unsafe impl Sync for Record {}

impl Record {
    /// A record held by `tenant`.
    pub(super) fn new(shared: *const Shared, tenant: usize) -> Self {
        Self {
            state: AtomicU64::new(0),
            shared,
            retired_objects: AtomicU64::new(0),
            retired_bytes: AtomicU64::new(0),
            since_help: UnsafeCell::new(Retired::default()),
            bag: Bag::new(),
            taken: AtomicBool::new(true),
            tenant: AtomicUsize::new(tenant),
            next: std::ptr::null(),
        }
    }

    /// Takes a record that nobody holds.
    pub(super) fn try_take(&self, tenant: usize) -> bool {
        if self.taken.load(Ordering::Relaxed) || self.is_pinned() {
            return false;
        }
        if self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        // Looked at again: it may have been taken, pinned and given back in between (I1, O1).
        if self.is_pinned() {
            self.taken.store(false, Ordering::Release);
            return false;
        }
        self.tenant.store(tenant, Ordering::Relaxed);
        true
    }

    /// Gives the record back; guards on it may live on.
    pub(super) fn give_back(&self) {
        self.taken.store(false, Ordering::Release); // O1
    }

    /// Whether the thread `tenant` holds a guard on it.
    pub(super) fn is_pinned_by(&self, tenant: usize) -> bool {
        self.is_pinned() && self.tenant.load(Ordering::Relaxed) == tenant
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.state.load(Ordering::Acquire) & GUARDS > 0
    }

    /// Whether it has a guard that was taken before the clock was turned to `clock`, or might have been.
    pub(super) fn holds_up(&self, clock: u64) -> bool {
        let state = self.state.load(Ordering::Acquire); // O2
        state & GUARDS > 0 && state / EPOCH != clock / EPOCH
    }

    /// Counts a guard.
    #[inline(always)]
    pub(super) fn pin(&self) {
        self.pin_before(barrier::light);
    }

    /// Counts a guard; `light` is the light half of the barrier.
    ///
    /// Inlined, and as few instructions as it can be: this is what every operation of a map begins with.
    #[inline(always)]
    pub(super) fn pin_before(&self, light: impl FnOnce()) {
        if !self.pin_first(light) {
            self.pin_nested();
        }
    }

    /// Counts a guard, if it is the only one; else says no.
    #[inline(always)]
    pub(super) fn pin_first(&self, light: impl FnOnce()) -> bool {
        let is_first = self.state.load(Ordering::Relaxed) & GUARDS == 0; // The holder's own word.
        if is_first {
            let clock = self.shared().clock.load(Ordering::Acquire); // O2 of the collector.
            self.state.store(clock, Ordering::Release); // O2
            light(); // O1 of the collector.
        }
        is_first
    }

    #[inline(never)]
    fn pin_nested(&self) {
        let state = self.state.load(Ordering::Relaxed);
        if state & GUARDS == GUARDS {
            too_many_guards();
        }
        self.state.store(state + 1, Ordering::Release);
    }

    /// Takes a guard off the count. Returns what is left in the state's lower bits: others of the thread's guards, and
    /// whether it is to help.
    #[inline(always)]
    pub(super) fn unpin(&self) -> Left {
        let state = self.state.load(Ordering::Relaxed) - 1;
        self.state.store(state, Ordering::Release); // O2
        Left(state as u16)
    }

    /// Puts garbage into the bag.
    ///
    /// # Safety
    /// The calling thread holds a guard on this record.
    pub(super) unsafe fn retire(&self, garbage: Garbage) {
        let bytes = garbage.bytes;
        add(&self.retired_objects, 1);
        add(&self.retired_bytes, bytes as u64);
        // SAFETY: a record with a guard belongs to the guard's thread (I1), so this is the producer.
        unsafe { self.bag.push(garbage) };
        let limits = &self.shared().limits;
        let due = self.since_help.with_mut(|since| {
            // SAFETY: the holder's own (I1).
            let since = unsafe { &mut *since };
            since.objects += 1;
            since.bytes = since.bytes.saturating_add(bytes);
            let due = since.objects >= limits.batch_objects || since.bytes >= limits.batch_bytes;
            if due {
                *since = Retired::default();
            }
            due
        });
        if due {
            self.state.store(self.state.load(Ordering::Relaxed) | DUE, Ordering::Release);
        }
    }

    /// Moves the bag's contents to the end of `to`.
    ///
    /// # Safety
    /// The caller holds the collector's lock.
    pub(super) unsafe fn gather(&self, to: &mut Pile) {
        // SAFETY: the collector's lock is what makes the consumer.
        unsafe { self.bag.empty_into(to) };
    }

    /// Objects and bytes retired here so far.
    pub(super) fn retired(&self) -> (u64, u64) {
        (self.retired_objects.load(Ordering::Relaxed), self.retired_bytes.load(Ordering::Relaxed))
    }

    #[inline(always)]
    pub(super) fn shared(&self) -> &Shared {
        // SAFETY: the domain outlives its records (I2).
        unsafe { &*self.shared }
    }
}

/// Adds to a count of the caller's own.
fn add(count: &AtomicU64, n: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// What a guard leaves behind.
pub(super) struct Left(u16);

const _: () = assert!(GUARDS | DUE == u16::MAX as u64);

impl Left {
    /// Neither other guards nor anything to do.
    #[inline(always)]
    pub(super) fn is_nothing(&self) -> bool {
        self.0 == 0
    }

    /// The thread should now help, and is free to.
    pub(super) fn is_due(&self) -> bool {
        u64::from(self.0) == DUE
    }
}

#[cold]
fn too_many_guards() -> ! {
    panic!("{GUARDS} guards of one thread: are they forgotten instead of dropped?");
}
