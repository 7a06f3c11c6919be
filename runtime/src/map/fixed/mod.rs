//! A map of a fixed number of buckets: no growth, no migration, so no operation waits for either. [`lists`] has the
//! protocol.

#[cfg(not(any(rt_loom, rt_shuttle)))]
mod backend;
mod lists;

#[cfg(not(any(rt_loom, rt_shuttle)))]
pub(super) use backend::Fixed;
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub use backend::{FIXED_BUCKETS, FIXED_BUCKETS_MAX, FIXED_BUCKETS_MIN};

use super::structure::Revision;
use crate::reclaim;
use lists::{Lists, Visit};
use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};

/// A map of a fixed number of buckets. Any hasher; keys need no order.
///
/// Memory: 8 bytes a bucket, and for each entry its key, its value and 8 bytes, as the allocator rounds them. Choose
/// about as many buckets as there will be entries: the cost of an operation grows with entries per bucket.
///
/// Closures see a value where it lies, under a guard of [`reclaim`](crate::reclaim) and no lock; they may use this map
/// and any other. A panic in one, or in `Hash`, `Eq` or `Clone`, leaves the map as it was or with the whole update.
///
/// ```
/// use rheostat_runtime::map::FixedMap;
///
/// let map = FixedMap::new(1024, std::hash::RandomState::new());
/// assert_eq!(map.put("apples", 3, |old| *old), None);
/// map.revise("apples", |n| Some(n + 1));
/// assert_eq!(map.take("apples", |n| *n), Some(4));
/// ```
pub struct FixedMap<K, V, S> {
    lists: Lists<K, V>,
    hasher: S,
}

impl<K, V, S> FixedMap<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher,
{
    /// An empty map of `buckets` buckets, rounded up to a power of two, at least one.
    ///
    /// # Panics
    /// When `buckets` has no power of two above it.
    pub fn new(buckets: usize, hasher: S) -> Self {
        Self { lists: Lists::new(buckets.next_power_of_two()), hasher }
    }

    /// Buckets there are.
    pub fn buckets(&self) -> usize {
        self.lists.buckets()
    }

    /// Shows the value of `key` to `look`; `None` if there is none.
    pub fn view<Q, R>(&self, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.lists.view(
            Visit::under(&reclaim::pin()),
            self.bucket(key),
            |known| known.borrow() == key,
            |_, value| look(value),
        )
    }

    /// Puts `value` in place of what `key` had, which is shown to `look`; `None` if it had none.
    pub fn put<R>(&self, key: K, value: V, look: impl FnOnce(&V) -> R) -> Option<R> {
        self.lists.put(Visit::under(&reclaim::pin()), self.bucket(&key), key, value, look)
    }

    /// Puts `value` if `key` has none.
    ///
    /// # Errors
    /// There is one; the value comes back.
    pub fn put_absent(&self, key: K, value: V) -> Result<(), V> {
        self.lists.put_absent(Visit::under(&reclaim::pin()), self.bucket(&key), key, value)
    }

    /// Puts what `revise` makes of the value of `key`; leaves it if that is nothing. `None` if the key has no value.
    /// The closure is called again when another update came first.
    pub fn revise<Q>(&self, key: &Q, mut revise: impl FnMut(&V) -> Option<V>) -> Option<()>
    where
        K: Borrow<Q> + Clone,
        Q: Hash + Eq + ?Sized,
    {
        let revise = |value: &V| (revise(value).map_or(Revision::Keep, Revision::Replace), ());
        self.lists.revise(Visit::under(&reclaim::pin()), self.bucket(key), |known| known.borrow() == key, revise)
    }

    /// Removes `key` and shows what it had to `look`; `None` if it had nothing.
    pub fn take<Q, R>(&self, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.take_if(key, |_| true, look)
    }

    /// Removes `key` if `holds` says so of its value, which is then shown to `look`. `holds` is called again when
    /// another update came first, and its last answer counts.
    pub fn take_if<Q, R>(&self, key: &Q, holds: impl FnMut(&V) -> bool, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.lists.take_if(Visit::under(&reclaim::pin()), self.bucket(key), |known| known.borrow() == key, holds, look)
    }

    /// Removes every entry that is there when its turn comes, and says how many it removed itself. Not one step.
    pub fn clear(&self) -> usize {
        (0..self.buckets()).map(|bucket| self.lists.clear(Visit::under(&reclaim::pin()), bucket)).sum()
    }

    /// Shows every entry of a bucket: those that are there all the time once, others at most once for each time they
    /// were put.
    ///
    /// # Panics
    /// When there is no such bucket.
    pub fn walk(&self, bucket: usize, visit: impl FnMut(&K, &V)) {
        self.lists.walk(Visit::under(&reclaim::pin()), bucket, visit);
    }

    fn bucket<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        self.hasher.hash_one(key) as usize & (self.buckets() - 1)
    }
}

impl<K, V, S> fmt::Debug for FixedMap<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedMap").field("buckets", &self.lists.buckets()).finish_non_exhaustive()
    }
}
