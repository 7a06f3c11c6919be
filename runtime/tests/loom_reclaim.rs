//! Grace periods: nothing is reclaimed under a guard that might see it, and everything is reclaimed once.
//!
//! The barrier's halves are SeqCst fences here; `sync::barrier` says why that is faithful.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_reclaim
//! ```
#![cfg(rt_loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use rheostat_runtime::reclaim::{Domain, Guard, Limits, Overload, StillPinned};

const ALIVE: usize = 1;
const DEAD: usize = 2;

fn model(threads: impl Fn() + Send + Sync + 'static) {
    model_to(2, threads);
}

fn model_to(preemptions: usize, threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(threads);
}

/// Two values, of which `current` names the one that new readers find. Reclaiming one writes to its cell: loom calls it
/// a race if a reader might be at it, and a reader that comes later would find it dead.
struct Shelf {
    domain: Domain,
    values: [UnsafeCell<usize>; 2],
    current: AtomicUsize,
}

// SAFETY: that reads and the reclaiming write of a cell never meet is the claim under test; loom checks each access.
unsafe impl Sync for Shelf {}
// SAFETY: as above.
unsafe impl Send for Shelf {}

impl Shelf {
    fn new(limits: Limits) -> Arc<Self> {
        let values = [UnsafeCell::new(ALIVE), UnsafeCell::new(ALIVE)];
        Arc::new(Self { domain: Domain::new(limits), values, current: AtomicUsize::new(0) })
    }

    fn read(&self) {
        let _guard = self.domain.pin();
        self.read_under_a_guard();
    }

    fn read_under_a_guard(&self) {
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: the guard keeps it, says the claim.
        self.values[current].with(|value| assert_eq!(unsafe { *value }, ALIVE, "read after it was reclaimed"));
    }

    /// Takes the first value out of reach and retires it.
    fn replace(&self) {
        let guard = self.domain.pin();
        self.current.store(1, Ordering::Release);
        // SAFETY: nobody who pins later finds it, and `bury` only touches the shelf, which outlives the domain's
        // garbage.
        unsafe { retire(&guard, &self.values[0]) };
    }

    fn is_reclaimed(&self, index: usize) -> bool {
        // SAFETY: called when every thread that might touch it is done, or has been synchronised with.
        self.values[index].with(|value| unsafe { *value } == DEAD)
    }
}

unsafe fn retire(guard: &Guard<'_>, value: &UnsafeCell<usize>) {
    unsafe fn bury(value: *mut ()) {
        // SAFETY: a shelf's cell, and the shelf is alive.
        let value = unsafe { &*value.cast::<UnsafeCell<usize>>() };
        // SAFETY: the claim under test.
        value.with_mut(|value| unsafe {
            assert_eq!(*value, ALIVE, "reclaimed twice");
            *value = DEAD;
        });
    }
    // SAFETY: by the caller.
    unsafe { guard.retire_with(std::ptr::from_ref(value).cast_mut().cast(), 8, bury) };
}

/// Nobody helps by himself: the models say when to collect.
const BY_HAND: Limits =
    Limits { batch_objects: usize::MAX, batch_bytes: usize::MAX, garbage_bytes_max: 0, overload: Overload::Proceed };
/// Everybody helps as soon as he has retired something.
const AT_ONCE: Limits = Limits { batch_objects: 1, ..BY_HAND };

#[test]
fn a_reader_keeps_what_it_found() {
    model_to(3, || {
        let shelf = Shelf::new(BY_HAND);
        let reader = shelf.clone();
        let reader = thread::spawn(move || reader.read());
        shelf.replace();
        shelf.domain.flush();
        reader.join().unwrap();
        shelf.domain.flush();
        assert!(shelf.is_reclaimed(0));
    });
}

#[test]
fn a_reader_that_comes_again_keeps_what_it_found() {
    model(|| {
        let shelf = Shelf::new(BY_HAND);
        let reader = shelf.clone();
        let reader = thread::spawn(move || {
            reader.read();
            reader.read();
        });
        shelf.replace();
        shelf.domain.flush();
        shelf.domain.flush();
        reader.join().unwrap();
    });
}

#[test]
fn an_outer_guard_counts_when_an_inner_one_goes() {
    model(|| {
        let shelf = Shelf::new(BY_HAND);
        let reader = shelf.clone();
        let reader = thread::spawn(move || {
            let outer = reader.domain.pin();
            drop(reader.domain.pin());
            reader.read_under_a_guard();
            drop(outer);
        });
        shelf.replace();
        shelf.domain.flush();
        reader.join().unwrap();
    });
}

#[test]
fn synchronize_waits_for_those_before_it() {
    model(|| {
        let shelf = Shelf::new(BY_HAND);
        let reader = shelf.clone();
        let reader = thread::spawn(move || reader.read());
        shelf.replace();
        shelf.domain.synchronize().unwrap();
        assert!(shelf.is_reclaimed(0), "what was retired before has been dropped");
        reader.join().unwrap();
    });
}

#[test]
fn two_synchronize_at_once() {
    model(|| {
        let shelf = Shelf::new(BY_HAND);
        let other = shelf.clone();
        let other = thread::spawn(move || {
            other.read();
            other.domain.synchronize().unwrap();
        });
        shelf.replace();
        shelf.domain.synchronize().unwrap();
        other.join().unwrap();
        assert!(shelf.is_reclaimed(0));
    });
}

#[test]
fn two_that_retire_and_help_reclaim_each_once() {
    model(|| {
        let shelf = Shelf::new(AT_ONCE);
        let other = shelf.clone();
        let other = thread::spawn(move || {
            let guard = other.domain.pin();
            // SAFETY: nobody reads in this model, and the shelf outlives its domain's garbage.
            unsafe { retire(&guard, &other.values[1]) };
        });
        shelf.replace();
        other.join().unwrap();
        shelf.domain.flush();
        assert!(shelf.is_reclaimed(0) && shelf.is_reclaimed(1));
    });
}

#[test]
fn a_reader_beside_one_that_retires_and_one_that_collects() {
    model(|| {
        let shelf = Shelf::new(BY_HAND);
        let (reader, collector) = (shelf.clone(), shelf.clone());
        let reader = thread::spawn(move || reader.read());
        let collector = thread::spawn(move || _ = collector.domain.flush());
        shelf.replace();
        reader.join().unwrap();
        collector.join().unwrap();
        shelf.domain.flush();
        assert!(shelf.is_reclaimed(0));
    });
}

#[test]
fn a_thread_that_ends_leaves_its_record_and_its_garbage() {
    model(|| {
        let shelf = Shelf::new(BY_HAND);
        let (first, second) = (shelf.clone(), shelf.clone());
        let first = thread::spawn(move || first.replace());
        let second = thread::spawn(move || {
            let guard = second.domain.pin();
            // SAFETY: nobody reads in this model, and the shelf outlives its domain's garbage.
            unsafe { retire(&guard, &second.values[1]) };
        });
        shelf.domain.flush();
        first.join().unwrap();
        second.join().unwrap();
        shelf.domain.flush();
        assert!(shelf.is_reclaimed(0) && shelf.is_reclaimed(1));
    });
}

#[test]
fn a_bag_is_gathered_across_the_seam_of_its_blocks() {
    model(|| {
        let domain = Arc::new(Domain::new(BY_HAND));
        let freed = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        struct Counted(std::sync::Arc<std::sync::atomic::AtomicUsize>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        // The one that stores is the model's own thread: loom tries few orders of a thread's loads before another's stores
        // otherwise, and none in which a block is gathered in part before it is taken whole.
        let collector = domain.clone();
        let collector = thread::spawn(move || {
            collector.flush();
        });
        for _ in 0..3 {
            // SAFETY: nobody else has ever known of it.
            unsafe { domain.pin().retire(Box::into_raw(Box::new(Counted(freed.clone())))) };
        }
        collector.join().unwrap();
        domain.flush();
        assert_eq!(freed.load(std::sync::atomic::Ordering::Relaxed), 3);
    });
}

#[test]
fn waiting_under_a_guard_is_refused() {
    model(|| {
        let shelf = Shelf::new(BY_HAND);
        let other = shelf.clone();
        let other = thread::spawn(move || other.read());
        let guard = shelf.domain.pin();
        assert_eq!(shelf.domain.synchronize(), Err(StillPinned));
        drop(guard);
        shelf.domain.synchronize().unwrap();
        other.join().unwrap();
    });
}
