//! The `fixed` backend: the lists, found by the position of a key.
//!
//! A bucket holds the positions that begin with its number, so buckets are in the order of scans, and a page looks only
//! at the buckets of its interval. Entries carry their hash, unless their keys are integers ([`Kept`]): it settles
//! almost every comparison on the way along a list, and is the position of a scan without hashing again.
//!
//! Buckets are made with the table and never more: 64 Ki, 512 KiB of them, unless the map was told another number; or
//! as many as the entries it is made for, which a hand-over knows, if that is more. A look-up walks half of the entries
//! of its bucket and a miss all of them, one cache miss each, so a table of far more entries than buckets is slow, but
//! no operation ever waits for it to grow. Memory: 8 bytes a bucket, and for each entry its key, its value and 16 bytes
//! (8 with an integer for a key), as the allocator rounds them.
//! Progress: lock-free.

use super::super::hashed::Kept;
use super::super::keyed::Keyed;
use super::super::record::Record;
use super::super::shape::{CHAINS, TableShape};
use super::super::stalls::Stalls;
use super::super::structure::{Revision, Structure, Under, position};
use super::lists::{Lists, Visit};
use crate::observe::Cells;
use crate::sync::Arc;
use std::borrow::Borrow;
use std::hash::Hash;

/// Buckets of a map on `fixed` that was not told how many, 512 KiB of them.
pub const FIXED_BUCKETS: usize = 1 << 16;
/// The most buckets a map on `fixed` has, 128 MiB of them.
pub const FIXED_BUCKETS_MAX: usize = 1 << 24;
/// The least.
pub const FIXED_BUCKETS_MIN: usize = STRIPE_BUCKETS;
/// Buckets that are walked under one guard: few entries for a page to look at beside its own, and guards few enough.
const STRIPE_BUCKETS: usize = 16;

/// What is counted, for each thread.
const INSERTED: usize = 0;
const REMOVED: usize = 1;

pub(in super::super) struct Fixed<N, V> {
    lists: Lists<N, V>,
    hasher: Keyed,
    /// Bits of a position that do not choose its bucket.
    shift: u32,
    cells: Cells<2>,
    /// Compare-exchanges that operations have lost to others: the map's count.
    lost: Arc<Cells<1>>,
    stalls: Arc<Stalls>,
}

impl<N, V> Fixed<N, V>
where
    N: Kept,
    V: Send + Sync + 'static,
{
    /// With at least `buckets`, or as many as `capacity` if that is more, rounded up to a power of two.
    pub(in super::super) fn with_capacity(hasher: Keyed, record: &Record, capacity: usize, buckets: usize) -> Self {
        let buckets = buckets.max(capacity).clamp(FIXED_BUCKETS_MIN, FIXED_BUCKETS_MAX).next_power_of_two();
        let (cells, lost, stalls) = (Cells::new(), record.count_lost(), record.watch_stalls());
        Self { lists: Lists::new(buckets), hasher, shift: u64::BITS - buckets.ilog2(), cells, lost, stalls }
    }

    pub(in super::super) fn stalls(&self) -> &Stalls {
        &self.stalls
    }

    /// How full the buckets are, and how far a key that is not there is looked for.
    pub(in super::super) fn shape(&self) -> TableShape {
        let buckets = self.lists.buckets();
        let mut shape = TableShape { load: self.entries() as f64 / buckets as f64, ..TableShape::default() };
        for bucket in (0..buckets).step_by(buckets.div_ceil(CHAINS)) {
            let mut entries = 0;
            self.visit(Under::NOTHING, |visit| self.lists.walk(visit, bucket, |_, _| entries += 1));
            shape.look_at(entries);
        }
        shape
    }

    /// Removals are summed first: an entry whose removal is in that sum is in the other.
    fn entries(&self) -> usize {
        let removed = self.cells.sum(REMOVED);
        self.cells.sum(INSERTED).saturating_sub(removed) as usize
    }

    fn bucket_at(&self, position: u64) -> usize {
        (position >> self.shift) as usize
    }

    fn bucket(&self, hash: u64) -> usize {
        self.bucket_at(position(hash))
    }

    #[inline(always)]
    fn visit<R>(&self, under: Under<'_>, operation: impl FnOnce(Visit<'_>) -> R) -> R {
        under.guarded(|guard| operation(Visit::counting(guard, &self.lost)))
    }
}

impl<N, V> Structure<N::Key, V> for Fixed<N, V>
where
    N: Kept,
    V: Send + Sync + 'static,
{
    #[inline(always)]
    fn view<Q, R>(&self, under: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        N::Key: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let is = |known: &N| known.is(hash, key);
        self.visit(under, |visit| self.lists.view(visit, self.bucket(hash), is, |_, value| look(value)))
    }

    #[inline(always)]
    fn glance<Q, R>(&self, under: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<Option<R>>
    where
        N::Key: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let visit = Visit::counting(under.guard()?, &self.lost);
        self.lists.glance(visit, self.bucket(hash), |known| known.is(hash, key), |_, value| look(value))
    }

    fn copy<Q>(&self, hash: u64, key: &Q) -> Option<(N::Key, V)>
    where
        N::Key: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
        V: Clone,
    {
        let is = |known: &N| known.is(hash, key);
        let copy = |known: &N, value: &V| (known.key().clone(), value.clone());
        self.visit(Under::NOTHING, |visit| self.lists.view(visit, self.bucket(hash), is, copy))
    }

    #[inline(always)]
    fn put<R>(&self, under: Under<'_>, hash: u64, key: N::Key, value: V, look: impl FnOnce(&V) -> R) -> Option<R> {
        let key = N::keep(hash, key);
        let mut replaced = false;
        let look = |old: &V| {
            replaced = true;
            look(old)
        };
        let shown = self.visit(under, |visit| self.lists.put(visit, self.bucket(hash), key, value, look));
        if !replaced {
            self.cells.add(INSERTED, 1);
        }
        shown
    }

    #[inline(always)]
    fn put_absent(&self, under: Under<'_>, hash: u64, key: N::Key, value: V) -> Result<(), V> {
        let key = N::keep(hash, key);
        let put = self.visit(under, |visit| self.lists.put_absent(visit, self.bucket(hash), key, value));
        if put.is_ok() {
            self.cells.add(INSERTED, 1);
        }
        put
    }

    #[inline(always)]
    fn revise<Q, R>(
        &self,
        under: Under<'_>,
        hash: u64,
        key: &Q,
        mut revise: impl FnMut(&V) -> (Revision<V>, R),
    ) -> Option<R>
    where
        N::Key: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let is = |known: &N| known.is(hash, key);
        let mut removes = false;
        let step = |value: &V| {
            let (revision, gift) = revise(value);
            removes = matches!(revision, Revision::Remove);
            (revision, gift)
        };
        let revised = self.visit(under, |visit| self.lists.revise(visit, self.bucket(hash), is, step));
        if revised.is_some() && removes {
            self.cells.add(REMOVED, 1);
        }
        revised
    }

    #[inline(always)]
    fn take<Q, R>(&self, under: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        N::Key: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let is = |known: &N| known.is(hash, key);
        // Counted before user code runs: the entry is gone even if that panics.
        let look = |value: &V| {
            self.cells.add(REMOVED, 1);
            look(value)
        };
        self.visit(under, |visit| self.lists.take_if(visit, self.bucket(hash), is, |_| true, look))
    }

    fn len(&self) -> usize {
        self.entries()
    }

    fn clear(&self) -> usize {
        let clear = |bucket| {
            let removed = self.visit(Under::NOTHING, |visit| self.lists.clear(visit, bucket));
            if removed > 0 {
                self.cells.add(REMOVED, removed as u64);
            }
            removed
        };
        (0..self.lists.buckets()).map(clear).sum()
    }

    /// Buckets are as many as they were made: there is no room to make.
    fn reserve(&self, _additional: usize) {}

    fn entry_heap_bytes(&self) -> usize {
        Lists::<N, V>::ENTRY_BYTES
    }

    fn stripes(&self) -> usize {
        self.lists.buckets() / STRIPE_BUCKETS
    }

    fn stripe_of(&self, position: u64) -> usize {
        self.bucket_at(position) / STRIPE_BUCKETS
    }

    /// No lock is held; writers go on meanwhile.
    fn walk(&self, stripe: usize, mut visit: impl FnMut(u64, &N::Key, &V)) {
        let first = stripe * STRIPE_BUCKETS;
        self.visit(Under::NOTHING, |at| {
            for bucket in first..first + STRIPE_BUCKETS {
                self.lists
                    .walk(at, bucket, |known, value| visit(position(known.hash_by(&self.hasher)), known.key(), value));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::hashed::Hashed;
    use super::super::super::keyed::keyed;
    use super::*;

    /// Any bijection does for a hash.
    fn hash(key: u64) -> u64 {
        key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    #[test]
    fn stripes_are_short_and_in_the_order_of_positions() {
        const ENTRIES: u64 = 100_000;
        let map = Fixed::<Hashed<u64>, _>::with_capacity(keyed(), &Record::default(), ENTRIES as usize, FIXED_BUCKETS);
        (0..ENTRIES).for_each(|key| _ = map.put(Under::NOTHING, hash(key), key, (), |()| ()));
        let (mut seen, mut longest) = (0, 0);
        for stripe in 0..map.stripes() {
            let mut here = 0;
            map.walk(stripe, |position, key, ()| {
                assert_eq!(position, super::position(hash(*key)));
                assert_eq!(map.stripe_of(position), stripe);
                here += 1;
            });
            (seen, longest) = (seen + here, longest.max(here));
        }
        assert_eq!((seen, map.len()), (ENTRIES, ENTRIES as usize));
        assert!(longest < 100, "a page would look at {longest} entries");
        assert_eq!((map.stripe_of(0), map.stripe_of(u64::MAX)), (0, map.stripes() - 1));
    }

    #[test]
    fn an_update_that_is_overtaken_runs_again_and_is_counted() {
        let record = Record::default();
        let map = Fixed::<Hashed<u64>, _>::with_capacity(keyed(), &record, 0, FIXED_BUCKETS);
        map.put(Under::NOTHING, 7, 1, 10, |_| ());
        let mut runs = 0;
        let replaced = map.revise(Under::NOTHING, 7, &1, |value| {
            runs += 1;
            if runs == 1 {
                map.put(Under::NOTHING, 7, 1, 20, |_| ());
            }
            (Revision::Replace(value + 1), *value)
        });
        assert_eq!((replaced, runs), (Some(20), 2));
        assert_eq!(map.copy(7, &1), Some((1, 21)));
        assert_eq!(record.lost(), Some(1));
    }

    #[test]
    fn has_as_many_buckets_as_it_was_told_or_has_entries_for() {
        let buckets = |capacity, buckets| {
            Fixed::<Hashed<u64>, ()>::with_capacity(keyed(), &Record::default(), capacity, buckets).lists.buckets()
        };
        assert_eq!([buckets(0, 1), buckets(0, 1000), buckets(5000, 1000)], [FIXED_BUCKETS_MIN, 1024, 8192]);
        let map = Fixed::<Hashed<u64>, _>::with_capacity(keyed(), &Record::default(), 0, 16);
        (0..64).for_each(|key| _ = map.put(Under::NOTHING, hash(key), key, (), |()| ()));
        let shape = map.shape();
        assert_eq!((shape.load, shape.chains, shape.steps, shape.mean()), (4.0, 16, 64, 4.0));
        assert!(shape.longest >= 4 && shape.moved.is_none(), "{shape:?}");
    }

    #[test]
    fn counts_what_a_panic_passed_by() {
        let map = Fixed::<Hashed<u64>, _>::with_capacity(keyed(), &Record::default(), 0, FIXED_BUCKETS);
        (0..4).for_each(|key| _ = map.put(Under::NOTHING, key, key, (), |()| ()));
        let take = || map.take(Under::NOTHING, 0, &0, |()| panic!("as the test wants it"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(take)).is_err());
        assert_eq!(map.revise(Under::NOTHING, 1, &1, |()| (Revision::Remove, ())), Some(()));
        assert_eq!((map.len(), map.clear(), map.len()), (2, 2, 0));
    }
}
