//! The `lock_free` backend: flurry, a port of Java's ConcurrentHashMap.
//!
//! The name is true of readers only: they never wait for anybody. A writer locks the one bin its key falls into,
//! and now and then helps to grow the table. Those locks cannot be seen from outside, so stalls are sampled instead.
//! Memory that readers may still look at is freed in batches when their guards are gone, so it lags (seize 0.3).
//!
//! What it does not promise: flurry clones keys while it grows and compares them inside its trees (bins of eight
//! entries and more), with its own state half written. A key whose `Clone`, `Eq` or `Ord` panics there can end
//! growth or block writers of that bin for good, and the value on its way in is leaked. Byte strings, numbers and
//! strings never do.

use super::keyed::Keyed;
use super::record::Record;
use super::stalls::Stalls;
use super::structure::{Revision, Structure, Under, position};
use crate::sync::Arc;
use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

pub(super) struct LockFree<K, V> {
    map: flurry::HashMap<K, V, Keyed>,
    hasher: Keyed,
    stalls: Arc<Stalls>,
}

impl<K, V> LockFree<K, V> {
    pub(super) fn with_capacity(hasher: Keyed, record: &Record, capacity: usize) -> Self {
        let map = flurry::HashMap::with_capacity_and_hasher(capacity, hasher.clone());
        Self { map, hasher, stalls: record.watch_stalls() }
    }

    pub(super) fn stalls(&self) -> &Stalls {
        &self.stalls
    }
}

impl<K, V> Structure<K, V> for LockFree<K, V>
where
    K: Hash + Ord + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    #[inline(always)]
    fn view<Q, R>(&self, _: Under<'_>, _hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.map.get(key, &self.map.guard()).map(look)
    }

    fn copy<Q>(&self, _hash: u64, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.map.get_key_value(key, &self.map.guard()).map(|(known, value)| (known.clone(), value.clone()))
    }

    #[inline(always)]
    fn put<R>(&self, _: Under<'_>, _hash: u64, key: K, value: V, look: impl FnOnce(&V) -> R) -> Option<R> {
        self.map.insert(key, value, &self.map.guard()).map(look)
    }

    #[inline(always)]
    fn put_absent(&self, _: Under<'_>, _hash: u64, key: K, value: V) -> Result<(), V> {
        match self.map.try_insert(key, value, &self.map.guard()) {
            Ok(_) => Ok(()),
            Err(refused) => Err(refused.not_inserted),
        }
    }

    #[inline(always)]
    fn revise<Q, R>(
        &self,
        _: Under<'_>,
        _hash: u64,
        key: &Q,
        mut revise: impl FnMut(&V) -> (Revision<V>, R),
    ) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let mut given = None;
        self.map.compute_if_present(
            key,
            |_, value| {
                let (revision, gift) = revise(value);
                given = Some(gift);
                match revision {
                    // `None` removes the entry, so a value that stays is put back as a clone.
                    Revision::Keep => Some(value.clone()),
                    Revision::Replace(value) => Some(value),
                    Revision::Remove => None,
                }
            },
            &self.map.guard(),
        );
        given
    }

    #[inline(always)]
    fn take<Q, R>(&self, _: Under<'_>, _hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.map.remove(key, &self.map.guard()).map(look)
    }

    fn len(&self) -> usize {
        self.map.len()
    }

    /// flurry's own `clear` does not say how many there were.
    fn clear(&self) -> usize {
        let guard = self.map.guard();
        self.map.keys(&guard).filter(|key| self.map.remove(*key, &guard).is_some()).count()
    }

    fn reserve(&self, additional: usize) {
        self.map.reserve(additional, &self.map.guard());
    }

    /// A bin's entry, which has room to be part of a tree, and a box for the value.
    fn entry_heap_bytes(&self) -> usize {
        size_of::<(K, V)>() + 128
    }

    fn walks_freely(&self) -> bool {
        true
    }

    /// No lock is held; writers go on meanwhile.
    fn walk(&self, _stripe: usize, mut visit: impl FnMut(u64, &K, &V)) {
        let guard = self.map.guard();
        self.map.iter(&guard).for_each(|(key, value)| visit(position(self.hasher.hash_one(key)), key, value));
    }
}
