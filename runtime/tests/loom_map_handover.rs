//! The hand-over of a map: writers, a reader and the one who hands over, over tables that are a lock and a list.
//!
//! Grace periods are those of `grace`, a lock.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_map_handover
//! ```
#![cfg(rt_loom)]

mod grace;

use grace::Readers;
use loom::sync::Arc;
use loom::thread;
use rheostat_runtime::map::handover::{Course, Phase};
use rheostat_runtime::map::structure::{Revision, Structure, Under, position};
use rheostat_runtime::map::switch::Switch;
use rheostat_runtime::sync::{Mutex, RwLock};
use std::borrow::Borrow;
use std::hash::Hash;

/// The smallest table there is. Keys are their own hashes.
#[derive(Default)]
struct List(Mutex<Vec<(u64, u64)>>);

impl Structure<u64, u64> for List {
    fn view<Q, R>(&self, _: Under<'_>, hash: u64, _: &Q, look: impl FnOnce(&u64) -> R) -> Option<R>
    where
        u64: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.0.lock().iter().find(|entry| entry.0 == hash).map(|entry| look(&entry.1))
    }

    fn copy<Q>(&self, hash: u64, _: &Q) -> Option<(u64, u64)>
    where
        u64: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.0.lock().iter().find(|entry| entry.0 == hash).copied()
    }

    fn put<R>(&self, _: Under<'_>, hash: u64, _: u64, value: u64, look: impl FnOnce(&u64) -> R) -> Option<R> {
        let mut entries = self.0.lock();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.0 == hash) {
            return Some(look(&std::mem::replace(&mut entry.1, value)));
        }
        entries.push((hash, value));
        None
    }

    fn put_absent(&self, _: Under<'_>, hash: u64, _: u64, value: u64) -> Result<(), u64> {
        let mut entries = self.0.lock();
        if entries.iter().any(|entry| entry.0 == hash) {
            return Err(value);
        }
        entries.push((hash, value));
        Ok(())
    }

    fn revise<Q, R>(
        &self,
        _: Under<'_>,
        hash: u64,
        _: &Q,
        mut revise: impl FnMut(&u64) -> (Revision<u64>, R),
    ) -> Option<R>
    where
        u64: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let mut entries = self.0.lock();
        let index = entries.iter().position(|entry| entry.0 == hash)?;
        let (revision, given) = revise(&entries[index].1);
        match revision {
            Revision::Keep => {}
            Revision::Replace(value) => entries[index].1 = value,
            Revision::Remove => _ = entries.swap_remove(index),
        }
        Some(given)
    }

    fn take<Q, R>(&self, _: Under<'_>, hash: u64, _: &Q, look: impl FnOnce(&u64) -> R) -> Option<R>
    where
        u64: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let mut entries = self.0.lock();
        let index = entries.iter().position(|entry| entry.0 == hash)?;
        Some(look(&entries.swap_remove(index).1))
    }

    fn len(&self) -> usize {
        self.0.lock().len()
    }

    fn clear(&self) -> usize {
        std::mem::take(&mut *self.0.lock()).len()
    }

    fn reserve(&self, _: usize) {}

    fn walk(&self, _: usize, mut visit: impl FnMut(u64, &u64, &u64)) {
        self.0.lock().iter().for_each(|(key, value)| visit(position(*key), key, value));
    }
}

type Map = Switch<u64, u64, List, Readers>;

fn map(entries: &[(u64, u64)]) -> Arc<Map> {
    let map = Switch::new(List::default(), Readers(RwLock::new(())));
    entries.iter().for_each(|&(key, value)| _ = map.put(key, key, value, |_| ()));
    Arc::new(map)
}

fn hand_over(map: &Map, cancel: bool) -> Phase {
    let course = Course::default();
    if cancel {
        course.cancel();
    }
    map.hand_over(|_| List::default(), &course);
    course.phase()
}

/// Adds one and returns the value before.
fn increment(map: &Map, key: u64) -> Option<u64> {
    map.revise(key, &key, |value| (Revision::Replace(value + 1), *value))
}

fn get(map: &Map, key: u64) -> Option<u64> {
    map.view(key, &key, |value| *value)
}

fn model(threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(threads);
}

/// There, or back: both ways end with every key in one table.
fn both_ways(scene: impl Fn(bool) + Send + Sync + Copy + 'static) {
    model(move || scene(false));
    model(move || scene(true));
}

#[test]
fn no_increment_is_lost_and_none_is_seen_twice() {
    both_ways(|cancel| {
        let map = map(&[(1, 0)]);
        let other = map.clone();
        let writer = thread::spawn(move || [increment(&other, 1), increment(&other, 1)]);
        let phase = hand_over(&map, cancel);
        assert_eq!(phase, if cancel { Phase::Undone } else { Phase::Done });
        assert_eq!(writer.join().unwrap(), [Some(0), Some(1)]);
        assert_eq!((get(&map, 1), map.len()), (Some(2), 1));
    });
}

#[test]
fn two_writers_and_the_hand_over_agree() {
    both_ways(|cancel| {
        let map = map(&[(1, 0)]);
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let map = map.clone();
                thread::spawn(move || increment(&map, 1).unwrap())
            })
            .collect();
        hand_over(&map, cancel);
        let mut olds: Vec<u64> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        olds.sort_unstable();
        assert_eq!((olds, get(&map, 1)), (vec![0, 1], Some(2)));
    });
}

#[test]
fn a_delete_stays_dead_and_what_comes_after_it_stays() {
    both_ways(|cancel| {
        let map = map(&[(1, 7)]);
        let other = map.clone();
        let writer = thread::spawn(move || {
            assert_eq!(other.take(1, &1, |value| *value), Some(7));
            assert_eq!(get(&other, 1), None, "deleted, and back");
            assert_eq!(other.put_absent(1, 1, 8), Ok(()));
        });
        hand_over(&map, cancel);
        writer.join().unwrap();
        assert_eq!((get(&map, 1), map.len()), (Some(8), 1));
    });
}

#[test]
fn a_reader_never_misses_what_is_there_nor_goes_back() {
    both_ways(|cancel| {
        let map = map(&[(1, 0)]);
        let (reading, writing) = (map.clone(), map.clone());
        let reader = thread::spawn(move || {
            let first = get(&reading, 1).expect("never removed");
            let second = get(&reading, 1).expect("never removed");
            assert!(first <= second, "{second} after {first}");
        });
        let writer = thread::spawn(move || increment(&writing, 1));
        hand_over(&map, cancel);
        reader.join().unwrap();
        writer.join().unwrap();
        assert_eq!(get(&map, 1), Some(1));
    });
}
