//! The peers from the cargo registry, and std's map without a lock. All hash with foldhash, seeded.

use super::{Peer, Work, contender};
use crate::measure::Contender;
use crate::memory::Heap;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::hash::BuildHasher;

/// dashmap with as many shards as our `sharded` has, so that the face is all that differs.
const SHARDS: usize = 256;

impl<S: BuildHasher + Clone + Send + Sync> Peer for DashMap<u64, u64, S> {
    fn get(&self, key: u64) -> Option<u64> {
        DashMap::get(self, &key).map(|value| *value)
    }
    fn put(&self, key: u64, value: u64) -> bool {
        self.insert(key, value).is_none()
    }
    fn remove(&self, key: u64) -> bool {
        DashMap::remove(self, &key).is_some()
    }
}

impl<S: BuildHasher + Clone + Send + Sync> Peer for papaya::HashMap<u64, u64, S> {
    fn get(&self, key: u64) -> Option<u64> {
        self.pin().get(&key).copied()
    }
    fn put(&self, key: u64, value: u64) -> bool {
        self.pin().insert(key, value).is_none()
    }
    fn remove(&self, key: u64) -> bool {
        self.pin().remove(&key).is_some()
    }
}

impl Peer for scc::HashMap<u64, u64, RandomState> {
    fn get(&self, key: u64) -> Option<u64> {
        self.read_sync(&key, |_, value| *value)
    }
    fn put(&self, key: u64, value: u64) -> bool {
        self.upsert_sync(key, value).is_none()
    }
    fn remove(&self, key: u64) -> bool {
        self.remove_sync(&key).is_some()
    }
}

impl<S: BuildHasher + Clone + Send + Sync> Peer for flurry::HashMap<u64, u64, S> {
    fn get(&self, key: u64) -> Option<u64> {
        flurry::HashMap::get(self, &key, &self.guard()).copied()
    }
    fn put(&self, key: u64, value: u64) -> bool {
        self.insert(key, value, &self.guard()).is_none()
    }
    fn remove(&self, key: u64) -> bool {
        flurry::HashMap::remove(self, &key, &self.guard()).is_some()
    }
}

/// std's map, for one thread: what a map costs that shares nothing.
struct Unlocked(UnsafeCell<HashMap<u64, u64, RandomState>>);

// SAFETY: `contenders` makes one only for work of one thread, which joins before another touches the map.
unsafe impl Sync for Unlocked {}

impl Unlocked {
    #[expect(clippy::mut_from_ref, reason = "the face of a shared map over one that is not")]
    fn map(&self) -> &mut HashMap<u64, u64, RandomState> {
        // SAFETY: one thread at a time (see `Sync`), and no reference outlives the operation it was taken for.
        unsafe { &mut *self.0.get() }
    }
}

impl Peer for Unlocked {
    fn get(&self, key: u64) -> Option<u64> {
        self.map().get(&key).copied()
    }
    fn put(&self, key: u64, value: u64) -> bool {
        self.map().insert(key, value).is_none()
    }
    fn remove(&self, key: u64) -> bool {
        self.map().remove(&key).is_some()
    }
}

pub(super) fn contenders(work: &Work) -> Vec<Contender<'_>> {
    let hasher = RandomState::default;
    let mut contenders = vec![
        contender("dashmap", Heap::Rust, work, move |_| {
            DashMap::with_capacity_and_hasher_and_shard_amount(0, hasher(), SHARDS)
        }),
        contender("papaya", Heap::Rust, work, move |_| papaya::HashMap::with_hasher(hasher())),
        contender("scc", Heap::Rust, work, move |_| scc::HashMap::with_hasher(hasher())),
        contender("flurry", Heap::Rust, work, move |_| flurry::HashMap::with_hasher(hasher())),
    ];
    if work.threads == 1 {
        contenders.push(contender("std HashMap, no lock", Heap::Rust, work, move |_| {
            Unlocked(UnsafeCell::new(HashMap::with_hasher(hasher())))
        }));
    }
    contenders
}
