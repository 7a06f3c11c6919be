//! The `lock_free` backend: flurry, a port of Java's ConcurrentHashMap.
//!
//! The name is true of readers only: they never wait for anybody. A writer locks the one bin its key falls into,
//! and now and then helps to grow the table. Those locks cannot be seen from outside, so contention is not reported.
//! Memory that readers may still look at is freed in batches when their guards are gone, so it lags (seize 0.3).
//!
//! What it does not promise: flurry clones keys while it grows and compares them inside its trees (bins of eight
//! entries and more), with its own state half written. A key whose `Clone`, `Eq` or `Ord` panics there can end
//! growth or block writers of that bin for good. Byte strings, numbers and strings never do.

use super::keyed::Keyed;
use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

pub(super) struct LockFree<K, V> {
    map: flurry::HashMap<K, V, Keyed>,
    hasher: Keyed,
}

impl<K, V> LockFree<K, V>
where
    K: Hash + Ord + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(super) fn new(hasher: Keyed) -> Self {
        Self { map: flurry::HashMap::with_hasher(hasher.clone()), hasher }
    }

    pub(super) fn view<Q, R>(&self, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.map.get(key, &self.map.guard()).map(look)
    }

    /// Puts the value in, whether the key was there or not, and shows the value it replaced.
    pub(super) fn put<R>(&self, key: K, value: V, look: impl FnOnce(&V) -> R) -> Option<R> {
        self.map.insert(key, value, &self.map.guard()).map(look)
    }

    /// Puts the value in if the key is not there, else hands it back.
    pub(super) fn put_absent(&self, key: K, value: V) -> Result<(), V> {
        match self.map.try_insert(key, value, &self.map.guard()) {
            Ok(_) => Ok(()),
            Err(refused) => Err(refused.not_inserted),
        }
    }

    /// Offers the value to `revise`, which may return one to take its place. `None` when the key is not there.
    pub(super) fn revise<Q>(&self, key: &Q, revise: impl FnOnce(&V) -> Option<V>) -> Option<()>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
        V: Clone,
    {
        // `None` from flurry's closure removes the entry, so a value that stays is put back as a clone.
        let or_same = |_: &K, value: &V| Some(revise(value).unwrap_or_else(|| value.clone()));
        self.map.compute_if_present(key, or_same, &self.map.guard()).map(|_| ())
    }

    /// Removes the entry and shows its value. Readers that found it before may still be looking.
    pub(super) fn take<Q, R>(&self, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.map.remove(key, &self.map.guard()).map(look)
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// Removes the entries it finds and says how many it removed itself: flurry's own `clear` does not say.
    pub(super) fn clear(&self) -> usize {
        let guard = self.map.guard();
        self.map.keys(&guard).filter(|key| self.map.remove(*key, &guard).is_some()).count()
    }

    /// Shows every entry with its position. No lock is held; writers go on meanwhile.
    pub(super) fn walk(&self, mut visit: impl FnMut(u64, &K, &V)) {
        let guard = self.map.guard();
        self.map.iter(&guard).for_each(|(key, value)| visit(self.hasher.hash_one(key), key, value));
    }
}
