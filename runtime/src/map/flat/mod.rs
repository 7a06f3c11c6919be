//! An open map of plain data, laid out in cache lines, whose readers write nothing: one line to a bucket of integers,
//! with its own sequence lock, and entries in place.
//!
//! Sources: the bucket of a cache line with a link behind it is CLHT's (David, Guerraoui, Trigonakis, ASPLOS 2015);
//! the sequence lock's orderings are Boehm's ("Can seqlocks get along with programming language memory models?",
//! MSPC 2012): words are relaxed atomics between fences, never a copy of memory that somebody writes.
//!
//! `words` is data as words, `line` memory, `bucket` the layout and the sequence lock, `spare` what is linked behind
//! full buckets, `table` homes by position, `growth` the move to another table, `tables` the operations, `counts` and
//! `statistics` what is seen of them. The backend `flat` is `in_place` for integers, and `pointed` for all other types:
//! the word that stands for an entry leads to it.
//!
//! Writers: a bucket's words, and those of the spares linked behind it, by the one who set the lowest bit of its
//! header, which so says that a writer is inside (the sequence is *odd* for short, and becomes even again with the next
//! number); those of a table that is being filled by who claimed the stripe they come from; `next` by who began the
//! move; `current` by who moved the last stripe.
//! I1  A home's sequence is odd exactly while one writer is inside its chain. Every other word of the chain is written
//!     by that writer only. Its header says by the same store which of its slots are full: one load shows a reader
//!     both. No user code runs inside: keys are compared as words, closures and `Hash` run outside, on copies. Who is
//!     inside leaves by a guard's drop.
//! I2  A key's entry is in the chain of its home in the first table, from the current one on, whose home bears no
//!     forward mark; and there at most once. A mark is set together with the end of the copy, in one odd window, so
//!     nobody reaches the copied entry before, and nobody the old one after. Marks are never taken back.
//! I3  A table has one successor for ever, which is known before the first mark is set.
//! I4  A table is freed after everybody has left who may be in it or in the table before it.
//! I5  Spares are never freed before their table.
//! O1  Sequence: the writer's last store of it is Release, a reader's first load Acquire. Who reads an even number
//!     sees everything written before it became that.
//! O2  Torn reads: the writer makes the sequence odd, Release fence, writes words; a reader reads words, Acquire fence,
//!     reads the header. If the reader saw one of these words, the fences pair and it sees the odd number or a later
//!     one, which is not the even one it began with: it discards what it read. If it saw none, it read the state of
//!     the even number.
//! O3  A writer's compare-exchange is Acquire and pairs with the Release of the writer before it (O1). One that looks
//!     for its key first begins as a reader does, by an Acquire load of an even number (O1), and locks by a
//!     compare-exchange of that number: nobody wrote in between, and until its own store that makes the number even
//!     again nobody can. So what it looked at is one state, and still is, without a fence.
//! O4  A spare that goes from one chain to another: the writer that unlinked it made its own home odd before; the
//!     pool's lock orders that before the next chain's writer, whose Release fence after it pairs with the fence of a
//!     reader still in the old chain. So that reader sees its home odd or later, as in O2, although it read another's
//!     words.
//! O5  `next` and `current`: Release store, Acquire load. They carry a table and, in `current`'s case, every stripe
//!     moved. A reader that sees a mark saw it in an even state (O1), written after `next`, and after the homes that it
//!     leads to were emptied: whoever moves a chain does that first, as memory for a next table comes as it is.
//!
//! 55 bits of sequence wrap after 2^55 writes of one chain, years of nothing else; only equality is asked
//! of them, so a wrap matters to nobody but a reader that sleeps through exactly all of them.
//!
//! Linearization: a read, and a removal that finds nothing, at its first load of the sequence it came through with (or,
//! with the lock, inside); a write at the store that makes the sequence even again.
//!
//! Progress: blocking. A writer waits for the writer inside its chain. A read that meets writers tries 64 times and
//! then takes the lock; it is not lock-free, much less wait-free: a writer that sleeps inside holds it up. An operation
//! that meets a move does at most one stripe of it, 32 chains, and waits for no other. What grows is the table, in
//! step with its entries; keys that all collide make one long chain, every operation on which costs a look at each of
//! its buckets, a third of its keys; they do not make the table grow.
//!
//! Not promised: fairness between writers of a chain; an order of iteration other than by position; that a sum of
//! counts or `len` is of one moment.

mod words;
mod line;
mod spare;
mod bucket;
mod counts;
mod growth;
mod table;
mod discard;
mod tables;
mod statistics;
mod stripes;
mod pointed;
// The map's hash needs statics.
#[cfg(not(any(rt_loom, rt_shuttle)))]
mod in_place;

#[cfg(not(any(rt_loom, rt_shuttle)))]
pub(super) use counts::Met;
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub(super) use in_place::InPlace;
pub use pointed::Pointed;
pub use statistics::FlatStatistics;
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub use statistics::FlatTotals;
pub use words::Plain;

use crate::reclaim::{self, Guard};
use counts::Counts;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use tables::{Resize, Tables};
use words::are_same;

/// A concurrent map of plain data, kept in place. Reads scale with threads, and it is compact: 39 bytes for an
/// entry of two words in a table of a million. Choose it when keys and values are integers or small arrays of them.
///
/// Values are copied out. Closures run on copies with no lock held, so they may use this map too; where they find
/// the value changed meanwhile they run again, so they should be pure. Any hasher will do, also one that leaves
/// integers as they are; one that adversaries cannot predict is the caller's choice.
///
/// Operations on one key are linearizable. Blocking: the module's header says what waits for what.
///
/// ```
/// use rheostat_runtime::map::FlatMap;
///
/// let map = FlatMap::<u64, u64>::new();
/// map.insert(7, 1);
/// assert_eq!(map.update(&7, |n| n + 1), Some(1));
/// assert_eq!(map.get(&7), Some(2));
/// ```
pub struct FlatMap<K, V, S = foldhash::fast::RandomState> {
    tables: Tables<K, V>,
    hasher: S,
}

impl<K, V> FlatMap<K, V>
where
    K: Plain + Hash,
    V: Plain,
{
    /// An empty map, hashed by foldhash with seeds of its own.
    pub fn new() -> Self {
        Self::with_hasher(foldhash::fast::RandomState::default())
    }

    /// With room for so many entries. The map does not shrink below that.
    pub fn with_capacity(entries: usize) -> Self {
        Self::with_capacity_and_hasher(entries, foldhash::fast::RandomState::default())
    }
}

impl<K, V, S> Default for FlatMap<K, V, S>
where
    K: Plain + Hash,
    V: Plain,
    S: BuildHasher + Default,
{
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<K, V, S> FlatMap<K, V, S>
where
    K: Plain + Hash,
    V: Plain,
    S: BuildHasher,
{
    /// An empty map with this hasher.
    pub fn with_hasher(hasher: S) -> Self {
        Self::with_capacity_and_hasher(16, hasher)
    }

    /// With room for so many entries, and this hasher. The map does not shrink below that.
    ///
    /// # Panics
    /// When that many are more than the address space holds.
    pub fn with_capacity_and_hasher(entries: usize, hasher: S) -> Self {
        Self { tables: Tables::new(entries, Counts::default()), hasher }
    }

    /// With every sequence at `start`, of which the lowest 55 bits count: so tests reach the wrap.
    #[doc(hidden)]
    pub fn with_sequences_at(start: u64, entries: usize, hasher: S) -> Self {
        let mut map = Self::with_capacity_and_hasher(entries, hasher);
        map.tables.start_sequences_at(start);
        map
    }

    /// Where a key stands: its hash, multiplied by the odd number nearest to 2^64 divided by the golden ratio. Tables
    /// go by the upper bits, which hashers made for others, or for none, may leave constant.
    #[inline(always)]
    fn position(&self, key: &K) -> u64 {
        self.hasher.hash_one(key).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// The value of a key. One cache line in most cases, and no store to memory that others see.
    #[inline]
    pub fn get(&self, key: &K) -> Option<V> {
        let position = self.position(key);
        let Some(guard) = reclaim::pin_at_once() else { return self.tables.get_after_all(position, *key, None) };
        match self.tables.try_get(position, key, &guard) {
            Some(found) => guard.leave_with(found),
            None => self.tables.get_after_all(position, *key, Some(guard)),
        }
    }

    /// Whether the key is there.
    #[inline]
    pub fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Puts a value in and returns the one it replaces.
    #[inline]
    pub fn insert(&self, key: K, value: V) -> Option<V> {
        let position = self.position(&key);
        let Some(guard) = reclaim::pin_at_once() else { return self.insert_after_all(position, key, value, None) };
        match self.tables.try_insert(position, &key, &value, &guard) {
            Some(replaced) => guard.leave_with(replaced),
            None => self.insert_after_all(position, key, value, Some(guard)),
        }
    }

    /// [`insert`](Self::insert) after a try did not do. It takes what it needs by value and comes last, so that a try
    /// saves no registers for it.
    #[inline(never)]
    fn insert_after_all(&self, position: u64, key: K, value: V, guard: Option<Guard<'static>>) -> Option<V> {
        let guard = guard.unwrap_or_else(reclaim::pin);
        self.tables.insert(position, &key, &value, &|key| self.position(key), &guard)
    }

    /// Puts a value in unless the key is there; else nothing is done and the value that is there is returned.
    #[inline]
    pub fn insert_if_absent(&self, key: K, value: V) -> Option<V> {
        self.tables.insert_absent(self.position(&key), &key, &value, &|key| self.position(key), &reclaim::pin())
    }

    /// The value of a key, which is put in if it is not there. `make` may run although another thread's value wins.
    pub fn get_or_insert_with(&self, key: K, make: impl FnOnce() -> V) -> V {
        self.get(&key).unwrap_or_else(|| {
            let value = make();
            self.insert_if_absent(key, value).unwrap_or(value)
        })
    }

    /// Replaces the value by what `f` makes of it and returns the one replaced; `None`, and nothing done, when the key
    /// is not there. `f` runs again when the value has changed meanwhile; a try that fails has been overtaken.
    pub fn update(&self, key: &K, f: impl Fn(V) -> V) -> Option<V> {
        let position = self.position(key);
        let mut seen = self.tables.get(position, key, &reclaim::pin())?;
        loop {
            // No guard is held for as long as `f` takes.
            let new = f(seen);
            match self.tables.exchange(position, key, &new, |value| are_same(value, &seen), &reclaim::pin()) {
                Ok(replaced) => return Some(replaced),
                Err(value) => seen = value?,
            }
        }
    }

    /// Like [`update`](Self::update), but puts `default` in when the key is not there, and then returns `None`.
    pub fn upsert(&self, key: K, default: V, f: impl Fn(V) -> V) -> Option<V> {
        loop {
            if let Some(replaced) = self.update(&key, &f) {
                return Some(replaced);
            }
            // Somebody else's is there now, unless this returns.
            self.insert_if_absent(key, default)?;
        }
    }

    /// Stores `new` if the value is `seen`, byte for byte. `Ok` is the value replaced, `Err` what stands there instead.
    pub fn compare_exchange(&self, key: &K, seen: V, new: V) -> Result<V, Option<V>> {
        self.tables.exchange(self.position(key), key, &new, |value| are_same(value, &seen), &reclaim::pin())
    }

    /// Takes the entry out and returns its value.
    #[inline]
    pub fn remove(&self, key: &K) -> Option<V> {
        let position = self.position(key);
        let Some(guard) = reclaim::pin_at_once() else { return self.remove_after_all(position, *key, None) };
        match self.tables.try_remove(position, key, &guard) {
            Some(taken) => guard.leave_with(taken),
            None => self.remove_after_all(position, *key, Some(guard)),
        }
    }

    /// [`remove`](Self::remove), as [`insert_after_all`](Self::insert_after_all).
    #[inline(never)]
    fn remove_after_all(&self, position: u64, key: K, guard: Option<Guard<'static>>) -> Option<V> {
        let guard = guard.unwrap_or_else(reclaim::pin);
        self.tables.remove(position, &key, |_| true, &|key| self.position(key), &guard)
    }

    /// Takes the entry out if `f` says so of its value. `f` runs on a copy, again if that has changed meanwhile.
    pub fn remove_if(&self, key: &K, f: impl Fn(&V) -> bool) -> Option<V> {
        let position = self.position(key);
        loop {
            let seen = self.tables.get(position, key, &reclaim::pin()).filter(&f)?;
            let same = |value: &V| are_same(value, &seen);
            let removed = self.tables.remove(position, key, same, &|key| self.position(key), &reclaim::pin());
            if removed.is_some() {
                return removed;
            }
        }
    }

    /// Removes every entry of which `keep` is false. Entries that come or change meanwhile may be looked at or not.
    pub fn retain(&self, keep: impl Fn(&K, &V) -> bool) {
        self.for_each(|key, value| {
            if !keep(key, value) {
                self.remove_if(key, |value| !keep(key, value));
            }
        });
    }

    /// Shows every entry to `f`, with nothing locked: each chain as it stood at one moment. An entry that is there
    /// throughout is shown once.
    pub fn for_each(&self, mut f: impl FnMut(&K, &V)) {
        self.tables.walk(0, u64::MAX, &|key| self.position(key), &mut |_, key, value| f(key, value));
    }

    /// How many entries there are; may lag operations in flight. Sums 65 counts.
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    /// Whether the map holds nothing; may lag operations in flight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out every entry that is there when its turn comes, says how many that were, and lets the memory go down to
    /// what the map was made for. Not one step: others may see part of it done.
    pub fn clear(&self) -> usize {
        self.tables.clear(&|key| self.position(key))
    }

    /// Makes room for so many more entries and moves what is there. Others go on meanwhile; the caller waits for the
    /// stripes that they have claimed.
    ///
    /// # Panics
    /// When that takes more than the address space. The map is as it was.
    pub fn reserve(&self, additional: usize) {
        self.tables.reserve(additional, &|key| self.position(key));
    }

    /// Moves to a table half as large, again and again, as long as that has room for what is there and is no smaller
    /// than what the map was made for. A map shrinks by itself too, when a quarter of that is left.
    pub fn shrink_to_fit(&self) {
        self.tables.shrink(&|key| self.position(key));
    }

    /// Moves to a table of twice the size, though nothing asks for it. The caller does its own part only.
    #[doc(hidden)]
    pub fn begin_growth(&self) {
        let guard = reclaim::pin();
        let table = self.tables.current(&guard);
        self.tables.resize(table, Resize::Grow(2), &|key| self.position(key), &guard);
    }

    /// Runs `f` as if a writer slept inside the key's chain: whoever needs that chain waits. For tests.
    #[doc(hidden)]
    pub fn while_locked<R>(&self, key: &K, f: impl FnOnce() -> R) -> R {
        let guard = reclaim::pin();
        let _inside = self.tables.lock(self.position(key), &guard);
        f()
    }

    /// Which chain a key is in. For tests.
    #[doc(hidden)]
    pub fn home_of(&self, key: &K) -> usize {
        self.tables.current(&reclaim::pin()).index(self.position(key))
    }

    /// Levels and totals.
    pub fn statistics(&self) -> FlatStatistics {
        self.tables.statistics()
    }

    /// Times writers waited for another, of which [`Snapshot::count`](crate::observe::Snapshot::count) is the number of
    /// contentions.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub fn lock_waits(&self) -> crate::observe::Snapshot {
        self.tables.counts.waits()
    }
}

impl<K, V, S> fmt::Debug for FlatMap<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlatMap").finish_non_exhaustive()
    }
}
