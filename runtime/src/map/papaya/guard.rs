//! A guard of the process's own domain as papaya takes one: memory that papaya lets go of is retired to that domain,
//! and nobody ever enters papaya's own collector.
//!
//! Every operation of a map is pinned in that domain anyway, by the switch in front of it. A guard of seize's, which
//! papaya comes with, would announce it a second time: another look-up of the thread, two stores, and an exchange at
//! the end.
//!
//! What papaya asks of a guard is seize's trait, for any type that has it: what was loaded under the guard stays until
//! it goes, although others retire it, and what is retired is reclaimed once, later. It also compares the guard's
//! collector with the map's, which is what we give it, and does nothing else with that (papaya 0.2.5, seize 0.5.1).
//!
//! I1  Every access to the map is under a [`Pinned`], and so under a guard of the process's own domain; all that it
//!     retires is retired there. To the map's collector nothing is retired but by the map's `drop`, which is alone with
//!     it.
//! I2  What is retired owns itself: an entry is a box; a table is its memory and the entries on its list. Neither looks
//!     at the map when it is dropped, so it may outlive that.
//! I3  The entries on a table's list were removed while a table was copied to the next, and could be found in both:
//!     each was put there by one who was pinned, when it had been taken out of the newer table and before the older one
//!     was retired. Whoever could find it had a guard before that, which the table's grace period has waited for: so
//!     when the table is dropped its entries can be freed at once, as a collector does that nobody is in ([`nobodys`]).
//! O1  Pointers are loaded SeqCst by the trait's own methods, after the light half of the domain's barrier. O1 of the
//!     collector of [`reclaim`](crate::reclaim) does the rest: who pins after its heavy half cannot find what was taken
//!     out before.

use super::super::structure::Under;
use crate::observe::row;
use crate::reclaim::{Guard, process_domain};
use crate::sync::OnceLock;
use seize::{Collector, reclaim::boxed};
use std::ptr::fn_addr_eq;

/// A guard of the process's own domain, and the collector of the map that it is for.
pub(super) struct Pinned<'g> {
    guard: &'g Guard<'static>,
    collector: &'g Collector,
}

impl Pinned<'_> {
    /// Runs `operation` under such a guard.
    #[inline(always)]
    pub(super) fn run<R>(under: Under<'_>, collector: &Collector, operation: impl FnOnce(&Pinned<'_>) -> R) -> R {
        under.guarded(|guard| operation(&Pinned { guard, collector }))
    }
}

impl seize::Guard for Pinned<'_> {
    /// Nothing: the guard is somebody else's, who may have more under it, and it protects all the same.
    fn refresh(&mut self) {}

    /// Nothing: the domain is flushed by those who have no guard.
    fn flush(&self) {}

    #[inline(always)]
    fn collector(&self) -> &Collector {
        self.collector
    }

    /// The row of the thread's counts, for papaya to spread its own by. Threads past the rows share one.
    #[inline(always)]
    fn thread_id(&self) -> usize {
        row()
    }

    #[inline(always)]
    unsafe fn defer_retire<T>(&self, retired: *mut T, reclaim: unsafe fn(*mut T, &Collector)) {
        if !fn_addr_eq(reclaim, boxed::<T> as unsafe fn(*mut T, &Collector)) {
            // SAFETY: by the caller.
            return unsafe { retire_errand(self.guard, Errand { retired, reclaim }) };
        }
        // SAFETY: by the caller: a box that nobody who pins from now on can find, retired once. It owns what it borrows
        // (I2), as keys and values are `'static`, and may be dropped anywhere, as they are `Send`.
        unsafe { self.guard.retire_with(retired.cast(), size_of::<T>(), drop_box::<T>) };
    }
}

/// # Safety
/// `boxed` came from a box of this type, and is used no more.
unsafe fn drop_box<T>(boxed: *mut ()) {
    // SAFETY: by the caller.
    drop(unsafe { Box::from_raw(boxed.cast::<T>()) });
}

/// What becomes of something that is no box: a table. (Or a box whose function has two addresses, which a linker may
/// do.)
struct Errand<T> {
    retired: *mut T,
    reclaim: unsafe fn(*mut T, &Collector),
}

/// Retires a table. Nobody says what it takes: counted as a batch, so that it does not lie about until others fill one.
///
/// # Safety
/// As for [`seize::Guard::defer_retire`].
#[cold]
#[inline(never)]
unsafe fn retire_errand<T>(guard: &Guard<'static>, errand: Errand<T>) {
    unsafe fn run<T>(errand: *mut ()) {
        // SAFETY: from the box below, once.
        let Errand { retired, reclaim } = *unsafe { Box::from_raw(errand.cast::<Errand<T>>()) };
        // SAFETY: by the caller of `retire_errand`, and a grace period has passed. What this retires further is freed
        // on the spot, by I3.
        unsafe { reclaim(retired, nobodys()) };
    }
    let bytes = process_domain().limits().batch_bytes;
    // SAFETY: as in `defer_retire`.
    unsafe { guard.retire_with(Box::into_raw(Box::new(errand)).cast(), bytes, run::<T>) };
}

/// A collector that nobody enters, and that looks whether anybody has for each thing that it is given: so it frees
/// that.
fn nobodys() -> &'static Collector {
    static NOBODYS: OnceLock<Collector> = OnceLock::new();
    NOBODYS.get_or_init(|| Collector::new().batch_size(1))
}

#[cfg(test)]
mod tests {
    use super::super::super::hashed::Bare;
    use super::super::super::keyed::keyed;
    use super::super::super::record::Record;
    use super::super::super::structure::{Structure, Under};
    use super::super::Papaya;
    use crate::reclaim;
    use crate::sync::Arc;
    use crate::sync::thread;
    use std::hash::BuildHasher;

    #[test]
    fn what_is_replaced_while_tables_grow_is_dropped_once() {
        const KEYS: u64 = 4000;
        const THREADS: u64 = 3;
        let (hasher, value) = (keyed(), Arc::new(()));
        let map = Papaya::<Bare<u64>, Arc<()>>::with_capacity(hasher.clone(), &Record::default(), 0);
        let hash = |key: u64| hasher.hash_one(key);
        thread::scope(|scope| {
            for lane in 0..THREADS {
                let (map, hash, value) = (&map, &hash, &value);
                scope.spawn(move || {
                    let under = Under::NOTHING;
                    for key in (lane..KEYS).step_by(THREADS as usize) {
                        map.put(under, hash(key), key, value.clone(), |_| ());
                        // Of before: some of these a table that is being copied has still, as the one it is copied to.
                        for old in [key / 2, key / 3] {
                            map.put(under, hash(old), old, value.clone(), |replaced| {
                                assert!(Arc::ptr_eq(replaced, value))
                            });
                        }
                        let gone = key / 5;
                        map.take(under, hash(gone), &gone, |taken| assert!(Arc::ptr_eq(taken, value)));
                        map.view(under, hash(key), &key, |shown| assert!(Arc::ptr_eq(shown, value)));
                    }
                });
            }
        });
        drop(map);
        // Other tests of this process may be reading.
        let dropped = (0..10_000).any(|_| {
            _ = reclaim::synchronize();
            Arc::strong_count(&value) == 1
        });
        assert!(dropped, "{} values are left", Arc::strong_count(&value) - 1);
    }
}
