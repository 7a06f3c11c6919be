//! The `flat` backend for integers: key and value are the words that the table keeps.
//!
//! No entry has memory of its own, a write allocates nothing, and a value is shown as a copy: integers cannot be
//! changed in place. A revision takes effect if the value is the number that was shown; one that was changed and
//! changed back meanwhile is that number, and as good. Everything else is [`super`]'s.

use super::counts::{Counts, Met};
use super::stripes::{STRIPES, positions_of, stripe_of};
use super::tables::Tables;
use crate::map::TableShape;
use crate::map::integer::{as_integer, from_word, is_integer, to_word};
use crate::map::keyed::Keyed;
use crate::map::structure::{Revision, Structure, Under, position};
use crate::reclaim::{self, Guard};
use crate::sync::Arc;
use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;

/// A concurrent map of integers to integers.
pub(in crate::map) struct InPlace<K, V> {
    tables: Tables<u64, u64>,
    hasher: Keyed,
    _entries: PhantomData<fn() -> (K, V)>,
}

impl<K, V> InPlace<K, V>
where
    K: Hash + Ord + Clone + 'static,
    V: Clone + 'static,
{
    /// Whether entries of these types can be kept so.
    pub(in crate::map) fn takes_these() -> bool {
        is_integer::<K>() && is_integer::<V>()
    }

    /// `hasher` and `met` are the map's.
    pub(in crate::map) fn with_capacity(hasher: Keyed, capacity: usize, met: Arc<Met>) -> Self {
        // A map that is handed over is in use already.
        Self { tables: Tables::populated(capacity.max(16), Counts::beside(met)), hasher, _entries: PhantomData }
    }

    pub(in crate::map) fn shape(&self) -> TableShape {
        self.tables.shape()
    }

    fn position_of(&self) -> impl Fn(&u64) -> u64 {
        |word| position(self.hasher.hash_one(from_word::<K>(*word)))
    }

    /// Puts a value in after a try did not do, and returns the one it replaces.
    #[inline(never)]
    fn put_after_all(&self, position: u64, key: u64, value: u64, guard: &Guard<'_>) -> Option<u64> {
        self.tables.insert(position, &key, &value, &self.position_of(), guard)
    }

    /// The word of a key that stands at `position`; `None` if it is known not to be there.
    #[inline(always)]
    fn word_of<Q>(&self, position: u64, key: &Q) -> Option<u64>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        match as_integer::<K, Q>(key) {
            Some(key) => Some(to_word(key)),
            None => self.word_borrowed(position, key),
        }
    }

    /// For integers that are looked up as another type, of the user's own: compared with those of the same hash.
    #[cold]
    fn word_borrowed<Q>(&self, position: u64, key: &Q) -> Option<u64>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mut found = None;
        self.tables.walk(position, position, &self.position_of(), &mut |_, word, _| {
            if from_word::<K>(*word).borrow() == key {
                found = Some(*word);
            }
        });
        found
    }
}

impl<K, V> Structure<K, V> for InPlace<K, V>
where
    K: Hash + Ord + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// A copy.
    #[inline(always)]
    fn view<Q, R>(&self, under: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let position = position(hash);
        let word = self.word_of(position, key)?;
        let value = under.guarded(|guard| self.tables.get(position, &word, guard))?;
        Some(look(&from_word(value)))
    }

    #[inline(always)]
    fn glance<Q, R>(&self, under: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<Option<R>>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let word = to_word(as_integer::<K, Q>(key)?);
        Some(self.tables.try_get(position(hash), &word, under.guard()?)?.map(|word| look(&from_word(word))))
    }

    fn copy<Q>(&self, hash: u64, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let position = position(hash);
        let word = self.word_of(position, key)?;
        Some((from_word(word), from_word(self.tables.get(position, &word, &reclaim::pin())?)))
    }

    #[inline(always)]
    fn put<R>(&self, under: Under<'_>, hash: u64, key: K, value: V, look: impl FnOnce(&V) -> R) -> Option<R> {
        let (position, key, value) = (position(hash), to_word(&key), to_word(&value));
        let replaced = under.guarded(|guard| match self.tables.try_insert(position, &key, &value, guard) {
            Some(replaced) => replaced,
            None => self.put_after_all(position, key, value, guard),
        });
        replaced.map(|replaced| look(&from_word(replaced)))
    }

    #[inline(never)]
    fn put_absent(&self, under: Under<'_>, hash: u64, key: K, value: V) -> Result<(), V> {
        let (key, word) = (to_word(&key), to_word(&value));
        let there =
            under.guarded(|guard| self.tables.insert_absent(position(hash), &key, &word, &self.position_of(), guard));
        match there {
            None => Ok(()),
            Some(_) => Err(value),
        }
    }

    #[inline(never)]
    fn revise<Q, R>(
        &self,
        under: Under<'_>,
        hash: u64,
        key: &Q,
        mut revise: impl FnMut(&V) -> (Revision<V>, R),
    ) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let position = position(hash);
        let key = self.word_of(position, key)?;
        under.guarded(|guard| {
            loop {
                let seen = self.tables.get(position, &key, guard)?;
                let (revision, given) = revise(&from_word(seen));
                let is_seen = |value: &u64| *value == seen;
                let done = match revision {
                    Revision::Keep => true,
                    Revision::Replace(value) => {
                        self.tables.exchange(position, &key, &to_word(&value), is_seen, guard).is_ok()
                    }
                    Revision::Remove => {
                        self.tables.remove(position, &key, is_seen, &self.position_of(), guard).is_some()
                    }
                };
                if done {
                    return Some(given);
                }
            }
        })
    }

    #[inline(never)]
    fn take<Q, R>(&self, under: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let position = position(hash);
        let key = self.word_of(position, key)?;
        let taken = under.guarded(|guard| self.tables.remove(position, &key, |_| true, &self.position_of(), guard))?;
        Some(look(&from_word(taken)))
    }

    fn len(&self) -> usize {
        self.tables.len()
    }

    /// Chain by chain; the table goes down to what it was made for.
    fn clear(&self) -> usize {
        self.tables.clear(&self.position_of())
    }

    fn reserve(&self, additional: usize) {
        self.tables.reserve(additional, &self.position_of());
    }

    fn set_leaving(&self, leaving: bool) {
        self.tables.set_leaving(leaving);
    }

    fn stripes(&self) -> usize {
        STRIPES
    }

    fn stripe_of(&self, position: u64) -> usize {
        stripe_of(position)
    }

    /// Chain by chain, each as it was at one moment, in the order of positions but for those of a chain.
    fn walk(&self, stripe: usize, mut visit: impl FnMut(u64, &K, &V)) {
        let (first, last) = positions_of(stripe);
        self.tables.walk(first, last, &self.position_of(), &mut |position, key, value| {
            visit(position, &from_word(*key), &from_word(*value));
        });
    }
}
