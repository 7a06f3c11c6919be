//! The `sharded` backend: dashmap's shards, each a hash table behind a reader-writer lock.
//!
//! We work on the shards through dashmap's raw api rather than its own operations, for three reasons: one hash
//! serves both the choice of shard and the probe; a failed try shows contention before anybody waits; and
//! `DashMap::alter` aborts the process when its closure panics.
//!
//! I1  An entry keeps its hash or has an integer for a key ([`Kept`]), so a growing table moves its entries without
//!     running a key's own `Hash`: short under the lock, and a `Hash` that panics can lose nothing.
//! I2  dashmap chooses a shard by the bits below the 7 that hashbrown tags with: [`position`] puts those first, so
//!     that it orders entries by shard.
//! Progress: blocking, per shard. Readers share; dashmap's lock lets readers pass a waiting writer.

use super::contention::Contention;
use super::hashed::Kept;
use super::keyed::Keyed;
use super::record::Record;
use super::structure::{Revision, Structure, Under, position};
use crate::sync::Arc;
use dashmap::{DashMap, SharedValue};
use std::borrow::Borrow;
use std::hash::Hash;

/// Shards of a map. dashmap takes four per core; more make a page of a scan, a growing table and a collision of two
/// threads each that much smaller, for 128 bytes apiece.
const SHARDS: usize = 256;

pub(super) struct Sharded<N, V> {
    /// Its hasher is what growing tables ask; whoever looks up says the hash.
    map: DashMap<N, V, Keyed>,
    contention: Arc<Contention>,
}

impl<N: Kept, V> Sharded<N, V> {
    /// `hasher` is the map's.
    pub(super) fn with_capacity(hasher: Keyed, record: &Record, capacity: usize) -> Self {
        let mut map = DashMap::with_capacity_and_hasher_and_shard_amount(capacity, hasher, SHARDS);
        populate(&mut map);
        Self { map, contention: record.count_contention(SHARDS) }
    }

    pub(super) fn contention(&self) -> &Contention {
        &self.contention
    }

    fn shard(&self, hash: u64) -> usize {
        self.map.determine_shard(hash as usize)
    }

    /// [`view`](Structure::view) of who could not lock the shard at once.
    #[cold]
    #[inline(never)]
    fn view_when_free<Q, R>(&self, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        N::Key: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let shard = self.shard(hash);
        let table = self.contention.read(shard, &self.map.shards()[shard]);
        table.get(hash, |(known, _)| known.is(hash, key)).map(|(_, value)| look(value.get()))
    }
}

/// Has the system back the tables of an empty map with memory now. A map that is handed over is in use already, and
/// would wait for milliseconds wherever it is the first to write to a large page.
fn populate<N: Kept, V>(map: &mut DashMap<N, V, Keyed>) {
    const PAGE: usize = 4096;
    for shard in map.shards_mut() {
        let table = shard.get_mut();
        if table.capacity() == 0 {
            continue;
        }
        let end = table.data_end().as_ptr().cast::<u8>();
        for distance in (1..=table.buckets() * size_of::<(N, SharedValue<V>)>()).step_by(PAGE) {
            // SAFETY: the slots of a table lie before the end of its data. These are empty, so their bytes are
            // nobody's.
            unsafe { end.sub(distance).write_volatile(0) };
        }
    }
}

impl<N, V> Structure<N::Key, V> for Sharded<N, V>
where
    N: Kept,
    V: Send + Sync,
{
    /// Inlined, as is `put`, into what chooses between backends: this is the default one.
    #[inline(always)]
    fn view<Q, R>(&self, _: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        N::Key: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        // SAFETY: what dashmap determines is one of its shards.
        let shard = unsafe { self.map.shards().get_unchecked(self.shard(hash)) };
        let Some(table) = shard.try_read() else { return self.view_when_free(hash, key, look) };
        table.get(hash, |(known, _)| known.is(hash, key)).map(|(_, value)| look(value.get()))
    }

    fn copy<Q>(&self, hash: u64, key: &Q) -> Option<(N::Key, V)>
    where
        N::Key: Borrow<Q> + Clone,
        Q: Hash + Ord + ?Sized,
        V: Clone,
    {
        let shard = self.shard(hash);
        let table = self.contention.read(shard, &self.map.shards()[shard]);
        let (known, value) = table.get(hash, |(known, _)| known.is(hash, key))?;
        Some((known.key().clone(), value.get().clone()))
    }

    #[inline(always)]
    fn put<R>(&self, _: Under<'_>, hash: u64, key: N::Key, value: V, look: impl FnOnce(&V) -> R) -> Option<R> {
        let shard = self.shard(hash);
        let mut table = self.contention.write(shard, &self.map.shards()[shard]);
        let replaced = match table.get_mut(hash, |(known, _)| known.is(hash, &key)) {
            Some((_, slot)) => Some(std::mem::replace(slot.get_mut(), value)),
            None => {
                table.insert_entry(hash, (N::keep(hash, key), SharedValue::new(value)), |(known, _)| {
                    known.hash_by(self.map.hasher())
                });
                None
            }
        };
        // A value's own `Clone` and `Drop` run once the shard is free again.
        drop(table);
        replaced.as_ref().map(look)
    }

    #[inline(always)]
    fn put_absent(&self, _: Under<'_>, hash: u64, key: N::Key, value: V) -> Result<(), V> {
        let shard = self.shard(hash);
        let mut table = self.contention.write(shard, &self.map.shards()[shard]);
        if table.get(hash, |(known, _)| known.is(hash, &key)).is_some() {
            return Err(value);
        }
        table.insert_entry(hash, (N::keep(hash, key), SharedValue::new(value)), |(known, _)| {
            known.hash_by(self.map.hasher())
        });
        Ok(())
    }

    #[inline(always)]
    fn revise<Q, R>(
        &self,
        _: Under<'_>,
        hash: u64,
        key: &Q,
        mut revise: impl FnMut(&V) -> (Revision<V>, R),
    ) -> Option<R>
    where
        N::Key: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let shard = self.shard(hash);
        let mut table = self.contention.write(shard, &self.map.shards()[shard]);
        let bucket = table.find(hash, |(known, _)| known.is(hash, key))?;
        // SAFETY: a full bucket of a table that is locked for us alone, found just now.
        let (_, slot) = unsafe { bucket.as_mut() };
        let (revision, given) = revise(slot.get());
        let (mut replaced, mut removed) = (None, None);
        match revision {
            Revision::Keep => {}
            Revision::Replace(value) => replaced = Some(std::mem::replace(slot.get_mut(), value)),
            // SAFETY: the bucket is still full: nothing but `revise` came between, and it cannot reach the table.
            Revision::Remove => removed = Some(unsafe { table.remove(bucket) }),
        }
        // A value's own `Drop` runs once the shard is free again.
        drop(table);
        drop((replaced, removed));
        Some(given)
    }

    #[inline(always)]
    fn take<Q, R>(&self, _: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        N::Key: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let shard = self.shard(hash);
        let mut table = self.contention.write(shard, &self.map.shards()[shard]);
        let taken = table.remove_entry(hash, |(known, _)| known.is(hash, key));
        drop(table);
        taken.map(|(_, value)| look(value.get()))
    }

    fn len(&self) -> usize {
        self.map.shards().iter().enumerate().map(|(index, shard)| self.contention.read(index, shard).len()).sum()
    }

    fn clear(&self) -> usize {
        let shards = self.map.shards().iter().enumerate();
        // What is taken out is dropped once the shard is free again.
        let emptied = shards.map(|(index, shard)| std::mem::take(&mut *self.contention.write(index, shard)));
        emptied.map(|table| table.len()).sum()
    }

    fn reserve(&self, additional: usize) {
        let each = additional.div_ceil(SHARDS);
        for (index, shard) in self.map.shards().iter().enumerate() {
            self.contention.write(index, shard).reserve(each, |(known, _)| known.hash_by(self.map.hasher()));
        }
    }

    fn stripes(&self) -> usize {
        SHARDS
    }

    fn stripe_of(&self, position: u64) -> usize {
        self.shard(position.rotate_right(7))
    }

    /// Under the shard's read lock.
    fn walk(&self, stripe: usize, mut visit: impl FnMut(u64, &N::Key, &V)) {
        let table = self.contention.read(stripe, &self.map.shards()[stripe]);
        // SAFETY: the iterator is used up before `table`, whose read lock keeps the buckets as they are, is dropped.
        for bucket in unsafe { table.iter() } {
            // SAFETY: as above: a full bucket of a locked table, only shared references to which exist.
            let (known, value) = unsafe { bucket.as_ref() };
            visit(position(known.hash_by(self.map.hasher())), known.key(), value.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hashed::Hashed;
    use super::super::keyed::keyed;
    use super::*;
    use std::hash::BuildHasher;

    #[test]
    fn positions_order_by_shard_first() {
        let hasher = keyed();
        let sharded = Sharded::<Hashed<u64>, ()>::with_capacity(hasher.clone(), &Record::default(), 0);
        let mut hashes: Vec<u64> = (0..10_000u64).map(|key| hasher.hash_one(key)).collect();
        hashes.sort_by_key(|&hash| position(hash));
        assert!(hashes.is_sorted_by_key(|&hash| sharded.shard(hash)));
        assert!(hashes.iter().all(|&hash| sharded.stripe_of(position(hash)) == sharded.shard(hash)));
    }
}
