//! The fixed map: no update lost, no key twice, and nodes reclaimed only when nobody can be at them.
//!
//! One bucket, so that all keys meet. A value is counted by `Live`, and loom sees its cell being read and dropped.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_fixed
//! ```
#![cfg(rt_loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use rheostat_runtime::map::FixedMap;
use rheostat_runtime::reclaim;
use std::hash::{BuildHasherDefault, Hasher};

#[derive(Default)]
struct Same;

impl Hasher for Same {
    fn finish(&self) -> u64 {
        0
    }
    fn write(&mut self, _: &[u8]) {}
}

/// A number in a cell that is written to when it is dropped: loom calls it a race if a reader might still be at it.
struct Live(UnsafeCell<u32>);

// SAFETY: that the drop meets no reader is the claim under test; loom checks each access.
unsafe impl Sync for Live {}
// SAFETY: as above.
unsafe impl Send for Live {}

impl Live {
    /// Written after it is made: loom does not see that what a cell began with has to be handed over.
    fn new(number: u32) -> Self {
        let live = Self(UnsafeCell::new(0));
        // SAFETY: nobody else knows of it.
        live.0.with_mut(|cell| unsafe { *cell = number });
        live
    }
    fn get(&self) -> u32 {
        // SAFETY: written only by its maker and its drop, as is claimed.
        self.0.with(|number| unsafe { *number })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // SAFETY: as above.
        self.0.with_mut(|number| unsafe { *number = u32::MAX });
    }
}

type Map = FixedMap<u8, Live, BuildHasherDefault<Same>>;

fn model(threads: impl Fn(Arc<Map>) + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    let executions = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = executions.clone();
    builder.check(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let map = Arc::new(Map::new(1, BuildHasherDefault::default()));
        threads(map.clone());
        reclaim::process_domain().flush();
    });
    let executions = executions.load(std::sync::atomic::Ordering::Relaxed);
    assert!(executions > 20, "only {executions} schedules: the threads do not meet");
}

fn get(map: &Map, key: u8) -> Option<u32> {
    map.view(&key, Live::get)
}

fn add(map: &Map, key: u8, n: u32) -> bool {
    map.revise(&key, |value| Some(Live::new(value.get() + n))).is_some()
}

fn entries(map: &Map) -> Vec<(u8, u32)> {
    let mut entries = Vec::new();
    map.walk(0, |key, value| entries.push((*key, value.get())));
    entries.sort_unstable();
    entries
}

#[test]
fn one_of_two_puts_a_key_that_was_absent() {
    model(|map| {
        let other = map.clone();
        let other = thread::spawn(move || other.put_absent(1, Live::new(10)).is_ok());
        let own = map.put_absent(1, Live::new(20)).is_ok();
        assert!(own ^ other.join().unwrap());
        assert_eq!(entries(&map), [(1, if own { 20 } else { 10 })]);
    });
}

#[test]
fn two_neighbours_both_get_in() {
    model(|map| {
        let other = map.clone();
        let other = thread::spawn(move || assert!(other.put_absent(1, Live::new(1)).is_ok()));
        assert!(map.put_absent(2, Live::new(2)).is_ok());
        other.join().unwrap();
        assert_eq!(entries(&map), [(1, 1), (2, 2)]);
    });
}

#[test]
fn no_update_is_lost() {
    model(|map| {
        _ = map.put_absent(1, Live::new(0));
        let other = map.clone();
        let other = thread::spawn(move || assert!(add(&other, 1, 1)));
        assert!(add(&map, 1, 2));
        other.join().unwrap();
        assert_eq!(entries(&map), [(1, 3)]);
    });
}

#[test]
fn an_update_comes_before_a_removal_or_fails() {
    model(|map| {
        _ = map.put_absent(1, Live::new(0));
        let other = map.clone();
        let other = thread::spawn(move || add(&other, 1, 1));
        let taken = map.take(&1, Live::get);
        assert_eq!(taken, Some(u32::from(other.join().unwrap())), "a removal takes what the update made");
        assert_eq!(entries(&map), []);
    });
}

#[test]
fn clearing_beside_updates_removes_each_key_once() {
    model(|map| {
        _ = map.put_absent(1, Live::new(0));
        _ = map.put_absent(2, Live::new(0));
        let other = map.clone();
        let other = thread::spawn(move || (add(&other, 1, 1), other.take(&2, Live::get).is_some()));
        let cleared = map.clear();
        let (_, taken) = other.join().unwrap();
        assert_eq!(cleared + usize::from(taken), 2);
        assert_eq!(entries(&map), []);
    });
}

#[test]
fn an_update_is_not_lost_to_a_removal_and_a_new_entry() {
    model(|map| {
        _ = map.put_absent(1, Live::new(0));
        let other = map.clone();
        let other = thread::spawn(move || add(&other, 1, 1));
        let taken = map.take(&1, Live::get).unwrap();
        assert!(map.put_absent(1, Live::new(10)).is_ok());
        let updated = u32::from(other.join().unwrap());
        assert_eq!(taken + get(&map, 1).unwrap(), 10 + updated);
    });
}

#[test]
fn a_put_that_comes_too_late_to_replace_goes_to_the_end() {
    model(|map| {
        _ = map.put_absent(1, Live::new(0));
        _ = map.put_absent(2, Live::new(0));
        let other = map.clone();
        let other = thread::spawn(move || other.put(1, Live::new(5), Live::get));
        // The put has a node ready that leads to where the successor of this one is, and may find this one gone.
        let taken = map.take(&1, Live::get);
        let expected = match other.join().unwrap() {
            None => (Some(0), vec![(1, 5), (2, 0)]),
            Some(0) => (Some(5), vec![(2, 0)]),
            Some(replaced) => panic!("replaced {replaced}, which was never there"),
        };
        assert_eq!((taken, entries(&map)), expected);
    });
}

#[test]
fn one_of_two_takes_it() {
    model(|map| {
        _ = map.put_absent(1, Live::new(7));
        let other = map.clone();
        let other = thread::spawn(move || other.take(&1, Live::get));
        let own = map.take(&1, Live::get);
        let other = other.join().unwrap();
        assert_eq!(own.or(other), Some(7));
        assert!(own.is_none() || other.is_none());
    });
}

#[test]
fn a_reader_finds_what_is_always_there() {
    model(|map| {
        _ = map.put_absent(1, Live::new(0));
        _ = map.put_absent(2, Live::new(0));
        let reader = map.clone();
        let reader = thread::spawn(move || get(&reader, 2));
        // The one before it goes, and it is replaced itself.
        _ = map.take(&1, Live::get);
        map.put(2, Live::new(1), Live::get);
        assert!(reader.join().unwrap().is_some());
    });
}

#[test]
fn removing_two_neighbours_leaves_neither() {
    model(|map| {
        _ = map.put_absent(1, Live::new(1));
        _ = map.put_absent(2, Live::new(2));
        let other = map.clone();
        let other = thread::spawn(move || other.take(&1, Live::get));
        assert_eq!(map.take(&2, Live::get), Some(2));
        assert_eq!(other.join().unwrap(), Some(1));
        assert_eq!(entries(&map), []);
    });
}

#[test]
fn a_reader_keeps_its_value_while_it_is_replaced_and_reclaimed() {
    model(|map| {
        _ = map.put_absent(1, Live::new(1));
        let reader = map.clone();
        let reader = thread::spawn(move || get(&reader, 1));
        map.put(1, Live::new(2), Live::get);
        reclaim::process_domain().flush();
        assert!(matches!(reader.join().unwrap(), Some(1 | 2)));
    });
}

#[test]
fn a_reader_finds_a_new_entry_whole_or_not_at_all() {
    model(|map| {
        let reader = map.clone();
        let reader = thread::spawn(move || get(&reader, 1));
        // Made under a guard already: the model's light half, a release fence, would hand it over in any case.
        let guard = reclaim::pin();
        assert!(map.put_absent(1, Live::new(5)).is_ok());
        drop(guard);
        assert!(matches!(reader.join().unwrap(), None | Some(5)));
    });
}
