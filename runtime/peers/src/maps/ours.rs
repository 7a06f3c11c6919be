//! Our map on every backend it has, through its public face.

use super::{Peer, Work, contender};
use crate::measure::Contender;
use crate::memory::Heap;
use rheostat_runtime::map::{Backend, Map};

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

pub(super) fn contenders(work: &Work) -> Vec<Contender<'_>> {
    let one = |backend: Backend| contender(&format!("**{backend}**"), Heap::Rust, work, move |_| Map::new(backend));
    Backend::ALL.into_iter().map(one).collect()
}
