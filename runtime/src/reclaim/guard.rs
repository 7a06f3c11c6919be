//! Guards: while a thread holds one, nothing that it can reach is dropped.

use super::bag::Garbage;
use super::record::{Left, Record};
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

/// Proof that the thread reads in a domain: what it loads from a structure under the guard stays until the guard goes,
/// even if others take it out meanwhile. Guards nest, in any order of dropping; they stay on their thread.
///
/// A guard that is kept holds up every later grace period of its domain, and so the memory of everything retired
/// meanwhile: hold it for an operation, not for a wait.
#[must_use = "what is read after the guard is dropped may be gone"]
pub struct Guard<'d> {
    record: &'d Record,
    /// The record is the thread's.
    stays: PhantomData<*mut ()>,
}

impl<'d> Guard<'d> {
    /// A guard on a record that the calling thread holds.
    #[inline(always)]
    pub(super) fn new(record: &'d Record) -> Self {
        record.pin();
        Self { record, stays: PhantomData }
    }

    /// [`new`](Self::new) where the light half of the barrier is known to be free.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    #[inline(always)]
    pub(super) fn new_when_free(record: &'d Record) -> Self {
        record.pin_before(crate::sync::barrier::light_when_free);
        Self { record, stays: PhantomData }
    }

    /// [`new_when_free`](Self::new_when_free), if it is the thread's only guard.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    #[inline(always)]
    pub(super) fn new_at_once(record: &'d Record) -> Option<Self> {
        // Not `then_some`: a guard that is made is dropped.
        let is_first = record.pin_first(crate::sync::barrier::light_when_free);
        is_first.then(|| Self { record, stays: PhantomData })
    }

    /// Drops the guard and passes `result` on. That the rare case comes last, and takes the result along, lets an
    /// operation end without having saved registers.
    #[inline(always)]
    pub(crate) fn leave_with<R>(self, result: R) -> R {
        #[cold]
        #[inline(never)]
        fn look_after_and<R>(record: &Record, left: Left, result: R) -> R {
            Guard::look_after(record, left);
            result
        }
        let guard = ManuallyDrop::new(self);
        let left = guard.record.unpin();
        if left.is_nothing() { result } else { look_after_and(guard.record, left, result) }
    }

    /// The record may be another thread's by now, if this one gave it back already; it is there as long as the domain.
    #[cold]
    #[inline(never)]
    fn look_after(record: &Record, left: Left) {
        if left.is_due() {
            record.shared().help();
        }
    }

    /// Drops a box once every guard taken before now is gone. About 10 ns, and the drop, later, by whatever thread
    /// comes to it: one of those that retire, when its outermost guard goes, or one that calls
    /// [`synchronize`](super::Domain::synchronize) or [`flush`](super::Domain::flush). A drop may pin and retire; one
    /// that panics is counted, and the rest is dropped all the same.
    ///
    /// It counts as `size_of::<T>()` bytes of garbage; where more hangs on it, tell by
    /// [`retire_with`](Self::retire_with). Wait-free but for the allocator.
    ///
    /// # Safety
    /// `garbage` came from `Box::into_raw` and is retired once. Nobody who pins this guard's domain from now on can
    /// reach it, and who reaches it now does so under a guard of this domain.
    ///
    /// ```
    /// use rheostat_runtime::reclaim;
    /// use rheostat_runtime::sync::atomic::{AtomicPtr, Ordering};
    ///
    /// let shared = AtomicPtr::new(Box::into_raw(Box::new(1)));
    /// let guard = reclaim::pin();
    /// let old = shared.swap(Box::into_raw(Box::new(2)), Ordering::AcqRel);
    /// // SAFETY: it came from a box, and the swap took it out of the only place where it could be found.
    /// unsafe { guard.retire(old) };
    /// # // SAFETY: nobody else knows of it.
    /// # drop(unsafe { Box::from_raw(shared.into_inner()) });
    /// ```
    pub unsafe fn retire<T: Send + 'static>(&self, garbage: *mut T) {
        unsafe fn drop_box<T>(pointer: *mut ()) {
            // SAFETY: the caller of `retire` gave a pointer from a box of this type, once.
            drop(unsafe { Box::from_raw(pointer.cast::<T>()) });
        }
        // SAFETY: by the caller; a box of what is `Send` and owns what it borrows may be dropped anywhere, at any time.
        unsafe { self.retire_with(garbage.cast(), size_of::<T>(), drop_box::<T>) };
    }

    /// Like [`retire`](Self::retire) for what is no box: `reclaim` is called once with `garbage`. `bytes` is what that
    /// frees, for the books and the limit.
    ///
    /// # Safety
    /// As for `retire`, and `reclaim` may be called with `garbage` at any later time by any thread.
    pub unsafe fn retire_with(&self, garbage: *mut (), bytes: usize, reclaim: unsafe fn(*mut ())) {
        // SAFETY: the guard does not leave its thread, so this is the thread that holds a guard on the record.
        unsafe { self.record.retire(Garbage { pointer: garbage, bytes, reclaim }) };
    }
}

impl Drop for Guard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let left = self.record.unpin();
        if !left.is_nothing() {
            Self::look_after(self.record, left);
        }
    }
}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}
