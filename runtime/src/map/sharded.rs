//! The `sharded` backend: dashmap's shards, each a hash table behind a reader-writer lock.
//!
//! We work on the shards through dashmap's raw api rather than its own operations, for three reasons: one hash
//! serves both the choice of shard and the probe; a failed try shows contention before anybody waits; and
//! `DashMap::alter` aborts the process when its closure panics.
//!
//! I1  An entry keeps its hash (8 bytes), so a growing table moves its entries without running the key's `Hash`:
//!     short under the lock, and a `Hash` that panics can lose nothing.
//! I2  An entry's position, its hash rotated by the 7 bits hashbrown tags with, orders entries by shard first.
//! Progress: blocking, per shard. Readers share; dashmap's lock lets readers pass a waiting writer.

use super::contention::Contention;
use super::keyed::Keyed;
use dashmap::{DashMap, SharedValue};
use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, Hasher};

/// Shards of a map. dashmap takes four per core; more make a page of a scan, a growing table and a collision of two
/// threads each that much smaller, for 128 bytes apiece.
const SHARDS: usize = 256;

/// A key with its hash.
#[derive(PartialEq, Eq)]
struct Hashed<K> {
    hash: u64,
    key: K,
}

impl<K> Hash for Hashed<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

pub(super) struct Sharded<K, V> {
    map: DashMap<Hashed<K>, V, Keyed>,
    contention: Contention,
}

/// Where a hash stands in the order of scans (I2).
fn position(hash: u64) -> u64 {
    hash.rotate_left(7)
}

impl<K: Hash + Eq, V> Sharded<K, V> {
    pub(super) fn new(hasher: Keyed) -> Self {
        let map = DashMap::with_hasher_and_shard_amount(hasher, SHARDS);
        Self { map, contention: Contention::new(SHARDS) }
    }

    pub(super) fn contention(&self) -> &Contention {
        &self.contention
    }

    fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.map.hasher().hash_one(key)
    }

    fn shard(&self, hash: u64) -> usize {
        self.map.determine_shard(hash as usize)
    }

    pub(super) fn view<Q, R>(&self, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hash(key);
        let shard = self.shard(hash);
        let table = self.contention.read(shard, &self.map.shards()[shard]);
        table
            .get(hash, |(known, _)| known.hash == hash && known.key.borrow() == key)
            .map(|(_, value)| look(value.get()))
    }

    /// Puts the value in, whether the key was there or not; the value it replaced comes back.
    pub(super) fn put(&self, key: K, value: V) -> Option<V> {
        let hash = self.hash(&key);
        let shard = self.shard(hash);
        let mut table = self.contention.write(shard, &self.map.shards()[shard]);
        match table.get_mut(hash, |(known, _)| known.hash == hash && known.key == key) {
            Some((_, slot)) => Some(std::mem::replace(slot.get_mut(), value)),
            None => {
                table.insert_entry(hash, (Hashed { hash, key }, SharedValue::new(value)), |(known, _)| known.hash);
                None
            }
        }
    }

    /// Puts the value in if the key is not there, else hands it back.
    pub(super) fn put_absent(&self, key: K, value: V) -> Result<(), V> {
        let hash = self.hash(&key);
        let shard = self.shard(hash);
        let mut table = self.contention.write(shard, &self.map.shards()[shard]);
        if table.get(hash, |(known, _)| known.hash == hash && known.key == key).is_some() {
            return Err(value);
        }
        table.insert_entry(hash, (Hashed { hash, key }, SharedValue::new(value)), |(known, _)| known.hash);
        Ok(())
    }

    /// Offers the value to `revise`, which may return one to take its place. `None` when the key is not there.
    pub(super) fn revise<Q>(&self, key: &Q, revise: impl FnOnce(&V) -> Option<V>) -> Option<()>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hash(key);
        let shard = self.shard(hash);
        let mut table = self.contention.write(shard, &self.map.shards()[shard]);
        let (_, slot) = table.get_mut(hash, |(known, _)| known.hash == hash && known.key.borrow() == key)?;
        let replaced = revise(slot.get()).map(|value| std::mem::replace(slot.get_mut(), value));
        // A value's own `Drop` runs once the shard is free again.
        drop(table);
        drop(replaced);
        Some(())
    }

    pub(super) fn take<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hash(key);
        let shard = self.shard(hash);
        let mut table = self.contention.write(shard, &self.map.shards()[shard]);
        let taken = table.remove_entry(hash, |(known, _)| known.hash == hash && known.key.borrow() == key);
        drop(table);
        taken.map(|(_, value)| value.into_inner())
    }

    pub(super) fn len(&self) -> usize {
        self.map.shards().iter().enumerate().map(|(index, shard)| self.contention.read(index, shard).len()).sum()
    }

    /// Empties the map shard by shard and says how many entries that were.
    pub(super) fn clear(&self) -> usize {
        self.map
            .shards()
            .iter()
            .enumerate()
            .map(|(index, shard)| {
                let taken = std::mem::take(&mut *self.contention.write(index, shard));
                taken.len()
            })
            .sum()
    }

    pub(super) fn stripes(&self) -> usize {
        self.map.shards().len()
    }

    /// The stripe that holds the entries at `position`.
    pub(super) fn stripe_of(&self, position: u64) -> usize {
        self.shard(position.rotate_right(7))
    }

    /// Shows every entry of a stripe with its position, under the shard's lock.
    pub(super) fn walk(&self, stripe: usize, mut visit: impl FnMut(u64, &K, &V)) {
        let table = self.contention.read(stripe, &self.map.shards()[stripe]);
        // SAFETY: the iterator is used up before `table`, whose read lock keeps the buckets as they are, is dropped.
        for bucket in unsafe { table.iter() } {
            // SAFETY: as above: a full bucket of a locked table, only shared references to which exist.
            let (known, value) = unsafe { bucket.as_ref() };
            visit(position(known.hash), &known.key, value.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::keyed::keyed;
    use super::*;

    #[test]
    fn positions_order_by_shard_first() {
        let sharded = Sharded::<u64, ()>::new(keyed());
        let mut hashes: Vec<u64> = (0..10_000).map(|key| sharded.hash(&key)).collect();
        hashes.sort_by_key(|&hash| position(hash));
        assert!(hashes.is_sorted_by_key(|&hash| sharded.shard(hash)));
        assert!(hashes.iter().all(|&hash| sharded.stripe_of(position(hash)) == sharded.shard(hash)));
    }
}
