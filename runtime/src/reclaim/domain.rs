//! Domains: readers, and the garbage that they may still see.
//!
//! The list of records grows at its head and never shrinks. Publishing a record by compare-exchange AcqRel on `records`
//! pairs with the Acquire load of those who walk the list; a walk that misses a record is the collector's O1.

use super::bag::Garbage;
use super::collector::{Collector, Period};
use super::guard::Guard;
use super::pile::Pile;
use super::record::{FIRST, Record};
use super::seat;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use crate::sync::{Arc, Backoff, CachePadded, MODELLED, Mutex, MutexGuard, barrier};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// How many times its batch a thread drops when it helps: more than it retires, so that a backlog goes, yet little
/// enough that no operation is held up for long.
const HELP_BATCHES: usize = 4;
/// Between two looks of one who waits, once spinning has not helped. Readers do not ring when they are done.
const NAP: Duration = Duration::from_micros(100);

/// What a thread does when the garbage of its domain is over the limit, although it has helped to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// Goes on and counts it: updates keep their pace, and memory grows for as long as a reader sleeps.
    Proceed,
    /// Waits until there is less garbage, but no longer than this for each batch that it has retired, then goes on and
    /// counts it: updates are slowed down to a batch in that time, and memory grows no faster.
    Wait(Duration),
}

/// How much garbage a domain lets gather.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A thread helps to collect after retiring this many objects; fewer free sooner, more make a barrier go further.
    pub batch_objects: usize,
    /// Or this many bytes.
    pub batch_bytes: usize,
    /// Garbage of the whole domain above which `overload` is asked. Not counted until a thread drops its outermost
    /// guard: what is retired under one guard has no limit.
    pub garbage_bytes_max: usize,
    /// What then.
    pub overload: Overload,
}

impl Default for Limits {
    /// Batches of 256 objects or 256 KiB, and a wait of a millisecond for each above 64 MiB.
    fn default() -> Self {
        Self {
            batch_objects: 256,
            batch_bytes: 256 << 10,
            garbage_bytes_max: 64 << 20,
            overload: Overload::Wait(Duration::from_millis(1)),
        }
    }
}

/// The calling thread holds a guard of the domain itself, so waiting for all guards would never end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this thread holds a guard itself: drop it before waiting until all guards are gone")]
pub struct StillPinned;

/// Totals and levels of a domain, give or take operations in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Objects retired so far.
    pub retired_objects: u64,
    /// Bytes retired so far, as those who retired them count.
    pub retired_bytes: u64,
    /// Objects reclaimed so far; never more than retired.
    pub freed_objects: u64,
    /// Bytes reclaimed so far.
    pub freed_bytes: u64,
    /// Objects whose drop panicked; they count as freed.
    pub panics: u64,
    /// Times a thread went on over the limit on garbage.
    pub excesses: u64,
    /// Grace periods that have ended.
    pub periods: u64,
    /// Threads that hold a guard.
    pub pinned_threads: usize,
    /// For how long, at least, the oldest guard has held up the grace period under way; `None` when none does. A guard
    /// that was taken since the period began holds up only the next one, and is not old yet.
    pub oldest_pin: Option<Duration>,
    /// Epochs from the oldest guard to the clock: 1 while a guard holds a period up, otherwise 0.
    pub epoch_lag: u64,
    /// Records there are: the most threads that were in the domain at once.
    pub records: usize,
}

pub(super) struct Shared {
    /// The state that a fresh guard stores; see the record. Read by everyone, so on a line that is seldom written.
    pub(super) clock: CachePadded<AtomicU64>,
    pub(super) limits: Limits,
    records: AtomicPtr<Record>,
    closed: AtomicBool,
    collector: Mutex<Collector>,
    freed_objects: AtomicU64,
    freed_bytes: AtomicU64,
    panics: AtomicU64,
    excesses: AtomicU64,
}

impl Shared {
    fn new(limits: Limits, clock: u64) -> Arc<Self> {
        barrier::prepare();
        Arc::new(Self {
            clock: CachePadded::new(AtomicU64::new(clock)),
            limits,
            records: AtomicPtr::new(std::ptr::null_mut()),
            closed: AtomicBool::new(false),
            collector: Mutex::new(Collector::default()),
            freed_objects: AtomicU64::new(0),
            freed_bytes: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            excesses: AtomicU64::new(0),
        })
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        let head: *const Record = self.records.load(Ordering::Acquire);
        // SAFETY: records are freed when `self` is dropped.
        let first = unsafe { head.as_ref() };
        // SAFETY: as above.
        std::iter::successors(first, |record| unsafe { record.next.as_ref() })
    }

    /// A record that the caller holds from now on.
    pub(super) fn take_record(&self, tenant: usize) -> *const Record {
        if let Some(free) = self.records().find(|record| record.try_take(tenant)) {
            return free;
        }
        let record = Box::into_raw(Box::new(Record::new(self, tenant)));
        let mut head = self.records.load(Ordering::Relaxed);
        loop {
            // SAFETY: not published yet.
            unsafe { (*record).next = head };
            match self.records.compare_exchange_weak(head, record, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return record,
                Err(now) => head = now,
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// What a thread does for the domain after it has retired a batch: goes on with collecting, unless somebody is at
    /// it, and drops some of what is ripe. The caller holds no guard of the domain.
    #[cold]
    pub(super) fn help(&self) {
        seat::unless_helping(|| {
            self.help_once();
            if self.garbage_bytes() <= self.limits.garbage_bytes_max as u64 {
                return;
            }
            if let Overload::Wait(limit) = self.limits.overload {
                let began = Instant::now();
                let mut backoff = Backoff::new();
                while began.elapsed() < limit {
                    pause(&mut backoff);
                    self.help_once();
                    if self.garbage_bytes() <= self.limits.garbage_bytes_max as u64 {
                        return;
                    }
                }
            }
            self.excesses.fetch_add(1, Ordering::Relaxed);
        });
    }

    fn help_once(&self) {
        if let Some(mut collector) = self.collector.try_lock() {
            collector.step(self);
            let ripe = collector.take_ripe(self.limits.batch_objects.saturating_mul(HELP_BATCHES));
            self.free(collector, ripe);
        }
    }

    /// Drops garbage, not under the lock: it runs user code.
    fn free(&self, collector: MutexGuard<'_, Collector>, ripe: Pile) -> usize {
        drop(collector);
        let mut objects = 0;
        ripe.empty(|Garbage { pointer, bytes, reclaim }| {
            objects += 1;
            // SAFETY: no guard that could see it is left, and it is taken off the books once.
            let drop_it = || unsafe { reclaim(pointer) };
            if MODELLED {
                drop_it(); // A model says by panicking what it has found.
            } else if let Err(panic) = catch_unwind(AssertUnwindSafe(drop_it)) {
                self.panics.fetch_add(1, Ordering::Relaxed);
                // What a panic carries may panic when it is dropped; a leak is better than a way out of here.
                std::mem::forget(panic);
            }
            // Release: who reads these Acquire sees at least as much retired (`statistics`).
            self.freed_objects.fetch_add(1, Ordering::Release);
            self.freed_bytes.fetch_add(bytes as u64, Ordering::Release);
        });
        objects
    }

    fn garbage_bytes(&self) -> u64 {
        let freed = self.freed_bytes.load(Ordering::Acquire);
        self.records().map(|record| record.retired().1).sum::<u64>().saturating_sub(freed)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut record = self.records.load(Ordering::Relaxed);
        while !record.is_null() {
            // SAFETY: exclusive, and each record is reached once along the list.
            let owned = unsafe { Box::from_raw(record) };
            record = owned.next.cast_mut();
        }
    }
}

/// Readers, and the garbage that they may still see. Most code uses the process's own by [`pin`](super::pin); one that
/// is made for a structure alone keeps its readers from holding up others, and frees all of its garbage when it is
/// dropped.
///
/// Memory: 1.9 KiB for each thread that was in the domain at once, until it is dropped, and 24 bytes for each object
/// retired and not yet gathered. A record in a domain that is gone is freed when its thread ends or enters another one.
pub struct Domain {
    shared: Arc<Shared>,
}

impl Domain {
    /// With no readers and no garbage.
    pub fn new(limits: Limits) -> Self {
        Self { shared: Shared::new(limits, FIRST) }
    }

    /// What it was made with.
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// Begins to read. About 1 ns in the process's own domain by [`pin`](super::pin); 5 in others, whose record is
    /// looked up. A thread's first takes or makes a record. Wait-free but for that.
    ///
    /// # Panics
    /// With 32767 guards of this thread: they were forgotten rather than dropped.
    #[inline]
    pub fn pin(&self) -> Guard<'_> {
        match seat::record(&self.shared) {
            // SAFETY: records live as long as the domain, which the guard borrows.
            Some(record) => Guard::new(unsafe { &*record }),
            None => self.pin_late(),
        }
    }

    /// For a thread that can keep no record: one for just this guard. It is given back at once, and by the record's I1
    /// nobody takes it before the guard is gone.
    #[cold]
    fn pin_late(&self) -> Guard<'_> {
        // SAFETY: as above.
        let record = unsafe { &*self.shared.take_record(seat::tenant()) };
        let guard = Guard::new(record);
        record.give_back();
        guard
    }

    /// The calling thread's record, if it can keep one.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub(super) fn record(&self) -> Option<*const Record> {
        seat::record(&self.shared)
    }

    /// Whether the calling thread holds a guard: it would wait for itself if it waited for somebody who synchronizes.
    /// Looks at the record of every thread.
    pub fn is_pinned(&self) -> bool {
        let me = seat::tenant();
        self.shared.records().any(|record| record.is_pinned_by(me))
    }

    /// Waits until every guard taken before is gone, and drops what had been retired before, or leaves that to a thread
    /// that is at it. Blocking: as long as the longest guard; at least a microsecond or so for the barrier.
    ///
    /// What the guards read happened before this returns.
    ///
    /// # Errors
    /// [`StillPinned`] when this thread holds a guard itself.
    pub fn synchronize(&self) -> Result<(), StillPinned> {
        if self.is_pinned() {
            return Err(StillPinned);
        }
        let done = self.outlive_readers(None);
        debug_assert!(done, "no limit, so it was waited for");
        Ok(())
    }

    /// [`synchronize`](Self::synchronize) for as long as that takes, or this long. Says whether it came to the end;
    /// what was dropped by then is dropped.
    fn outlive_readers(&self, limit: Option<Duration>) -> bool {
        let shared = &*self.shared;
        let until = limit.map(|limit| Instant::now() + limit);
        let mut backoff = Backoff::new();
        // A period that began before this call may have missed a guard taken since: it takes one that begins now.
        let mut own = None;
        loop {
            let mut collector = shared.collector.lock();
            collector.look(shared);
            let under_way = collector.period.as_ref().map(|period| period.clock);
            match own {
                None if under_way.is_none() => {
                    own = Some(collector.begin(shared));
                    continue;
                }
                Some(own) if under_way != Some(own) => {
                    let ripe = collector.take_ripe(usize::MAX);
                    shared.free(collector, ripe);
                    return true;
                }
                _ => drop(collector),
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return false;
            }
            pause(&mut backoff);
        }
    }

    /// Drops what had been retired before, for one who is short of just that: waits for the readers who may see it, but
    /// no longer than `limit` for those who sleep, and not at all under a guard of the caller. Returns false, without a
    /// lock or a barrier, if there is nothing retired that is not dropped yet: who asks again and again costs others
    /// nothing.
    ///
    /// What another thread has begun to drop is left to it, and may be there a moment longer.
    pub fn flush_within(&self, limit: Duration) -> bool {
        let freed = self.shared.freed_objects.load(Ordering::Acquire);
        if self.shared.records().map(|record| record.retired().0).sum::<u64>() <= freed {
            return false;
        }
        if self.is_pinned() {
            return self.flush() > 0;
        }
        self.outlive_readers(Some(limit));
        true
    }

    /// Goes on with collecting as far as it can without waiting for readers, and drops all that is ripe: everything,
    /// when nobody holds a guard. Returns how many objects were dropped by this call.
    ///
    /// Under a guard of the caller it drops what had been ripe, under that guard.
    pub fn flush(&self) -> usize {
        let mut collector = self.shared.collector.lock();
        collector.step(&self.shared);
        let ripe = collector.take_ripe(usize::MAX);
        self.shared.free(collector, ripe)
    }

    /// Totals and levels. Walks the records; holds back nobody who reads or retires.
    ///
    /// The age of a guard is known from the period that it holds up. So that one is seen although nothing is retired,
    /// this begins a period if somebody reads and none is under way.
    pub fn statistics(&self) -> Statistics {
        let shared = &*self.shared;
        // What was freed first, so that it is never more than what was retired.
        let freed_objects = shared.freed_objects.load(Ordering::Acquire);
        let freed_bytes = shared.freed_bytes.load(Ordering::Acquire);
        let (retired_objects, retired_bytes) =
            shared.records().map(Record::retired).fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1));
        let pinned_threads = shared.records().filter(|record| record.is_pinned()).count();
        let mut collector = shared.collector.lock();
        collector.look(shared);
        if collector.period.is_none() && pinned_threads > 0 {
            collector.begin(shared);
            collector.look(shared);
        }
        let oldest_pin = collector.period.as_ref().map(|Period { began, .. }| began.elapsed());
        Statistics {
            retired_objects,
            retired_bytes,
            freed_objects,
            freed_bytes,
            panics: shared.panics.load(Ordering::Relaxed),
            excesses: shared.excesses.load(Ordering::Relaxed),
            periods: collector.periods,
            pinned_threads,
            oldest_pin,
            epoch_lag: u64::from(oldest_pin.is_some()),
            records: shared.records().count(),
        }
    }
}

impl Default for Domain {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Drop for Domain {
    /// Drops all garbage: guards borrow the domain, so none is left.
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        let mut collector = self.shared.collector.lock();
        let all = collector.take_all(&self.shared);
        self.shared.free(collector, all);
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domain").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}

/// Waits a little before the next look.
fn pause(backoff: &mut Backoff) {
    if !MODELLED && backoff.has_yielded(16) {
        std::thread::sleep(NAP);
    } else {
        backoff.snooze();
    }
}

#[cfg(all(test, not(any(rt_loom, rt_shuttle))))]
mod tests {
    use super::super::record::EPOCH;
    use super::*;

    #[test]
    fn epochs_wrap() {
        // The last epoch but one.
        let domain = Domain { shared: Shared::new(Limits::default(), (u64::MAX - EPOCH) / EPOCH * EPOCH + 1) };
        for _ in 0..4 {
            let dropped = Arc::new(AtomicBool::new(false));
            struct Noted(Arc<AtomicBool>);
            impl Drop for Noted {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
            let guard = domain.pin();
            // SAFETY: nobody else has ever known of it.
            unsafe { guard.retire(Box::into_raw(Box::new(Noted(dropped.clone())))) };
            assert_eq!(domain.flush(), 0, "held up across the wrap as ever");
            drop(guard);
            domain.synchronize().unwrap();
            assert!(dropped.load(Ordering::Relaxed));
        }
        assert!(domain.shared.clock.load(Ordering::Relaxed) / EPOCH < 10, "it has wrapped");
        assert_eq!(domain.statistics().pinned_threads, 0, "the count of guards is clear of the carry");
    }
}
