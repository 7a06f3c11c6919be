//! Our map on every backend it has, through its public face, and the maps of ours that can be used by themselves.

use super::{Peer, Work, contender};
use crate::measure::Contender;
use crate::memory::Heap;
use foldhash::fast::RandomState;
use rheostat_runtime::map::{Backend, FixedMap, FlatMap, Map};
use std::hash::BuildHasher;

impl Peer for Map<u64, u64> {
    fn get(&self, key: u64) -> Option<u64> {
        Map::get(self, &key)
    }
    fn put(&self, key: u64, value: u64) -> bool {
        self.insert(key, value).is_none()
    }
    fn remove(&self, key: u64) -> bool {
        Map::remove(self, &key).is_some()
    }
}

/// Made for as many entries as come, like libcds's.
impl Peer for FixedMap<u64, u64, RandomState> {
    fn get(&self, key: u64) -> Option<u64> {
        self.view(&key, |value| *value)
    }
    fn put(&self, key: u64, value: u64) -> bool {
        FixedMap::put(self, key, value, |_| ()).is_none()
    }
    fn remove(&self, key: u64) -> bool {
        self.take(&key, |_| ()).is_some()
    }
}

impl<S: BuildHasher + Send + Sync> Peer for FlatMap<u64, u64, S> {
    fn get(&self, key: u64) -> Option<u64> {
        FlatMap::get(self, &key)
    }
    fn put(&self, key: u64, value: u64) -> bool {
        self.insert(key, value).is_none()
    }
    fn remove(&self, key: u64) -> bool {
        FlatMap::remove(self, &key).is_some()
    }
}

pub(super) fn contenders(work: &Work) -> Vec<Contender<'_>> {
    // `fixed` is told how many entries come, as its users are; to the others that says nothing.
    let made = |backend| move |entries| Map::with_buckets(backend, entries);
    let one = |backend: Backend| contender(&format!("**{backend}**"), Heap::Rust, work, made(backend));
    let fixed = |entries| FixedMap::new(entries, RandomState::default());
    let fixed = contender("**FixedMap**", Heap::Rust, work, fixed);
    let flat = contender("**FlatMap**", Heap::Rust, work, |_| FlatMap::with_hasher(RandomState::default()));
    Backend::ALL.into_iter().map(one).chain([fixed, flat]).collect()
}
