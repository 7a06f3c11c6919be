//! One bucket: a cache line with its sequence, its link, and a few entries in place. Orderings: [`super`].
//!
//! ```text
//! word 0       sequence: odd while a writer is inside
//! word 1       link: address of the next bucket of the chain (64-aligned) | which slots are full (6 bits); or MOVED
//! words 2..    slots, each the words of a key and then the words of its value
//! ```
//!
//! A chain is the home bucket and the spare ones linked behind it; the home's sequence guards all of it.
//! C1  Where there are spares, the home is full, and so is every spare but the first. Hence an entry goes in, and a
//!     hole is filled, at the head of the chain: at a cost that does not depend on its length.

use super::line::Line;
use super::spare::Spares;
use super::words::{Plain, gather, word, words_in};
use crate::sync::atomic::{AtomicU64, Ordering, fence};
use crate::sync::{Backoff, MODELLED};
use std::marker::PhantomData;
use std::ptr::NonNull;

const HEADER: usize = 2;
const LINE: usize = 8;
/// Bits of the link word below the address.
const FULL: u64 = 0b11_1111;
/// The link of a bucket whose entries have gone to the next table. No address: those end in user space.
const MOVED: u64 = !FULL;

/// A bucket of a table, for as long as the table is borrowed.
pub(super) struct Bucket<'t, K, V> {
    first: NonNull<Line>,
    _table: PhantomData<&'t Line>,
    _entries: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Bucket<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Bucket<'_, K, V> {}

/// What a look at a chain has found.
pub(super) enum Look<T> {
    Found(T),
    Absent,
    /// The entries are in the next table.
    Moved,
    /// A writer was inside, or had been by the end.
    Torn,
}

/// An entry's place in a chain.
pub(super) struct Place<'t, K, V> {
    bucket: Bucket<'t, K, V>,
    slot: usize,
}

impl<'t, K: Plain, V: Plain> Bucket<'t, K, V> {
    const KEY: usize = words_in::<K>();
    const PAIR: usize = Self::KEY + words_in::<V>();
    /// Lines to a bucket: room for three entries at least, so that few chains need a spare.
    pub(super) const LINES: usize = (HEADER + 3 * Self::PAIR).div_ceil(LINE);
    /// Entries to a bucket.
    pub(super) const SLOTS: usize = {
        assert!(Self::PAIR > 0, "a map of nothing to nothing");
        let room = (Self::LINES * LINE - HEADER) / Self::PAIR;
        let most = if MODELLED { 2 } else { FULL.count_ones() as usize };
        if room < most { room } else { most }
    };
    const ALL_FULL: u64 = (1 << Self::SLOTS) - 1;

    /// # Safety
    /// `first` is the first of `LINES` lines that live as long as `'t`.
    #[inline(always)]
    pub(super) unsafe fn at(first: NonNull<Line>) -> Self {
        Self { first, _table: PhantomData, _entries: PhantomData }
    }

    pub(super) fn address(self) -> NonNull<Line> {
        self.first
    }

    #[inline(always)]
    fn word(self, index: usize) -> &'t AtomicU64 {
        debug_assert!(index < Self::LINES * LINE);
        // SAFETY: the bucket's lines are alive (`at`), and `index` is within them.
        unsafe { (*self.first.as_ptr().add(index / LINE)).0.get_unchecked(index % LINE) }
    }

    #[inline(always)]
    pub(super) fn sequence(self) -> &'t AtomicU64 {
        self.word(0)
    }

    #[inline(always)]
    fn link_word(self) -> &'t AtomicU64 {
        self.word(1)
    }

    /// The bucket that a link word leads to.
    #[inline(always)]
    fn follow(self, link: u64) -> Option<Self> {
        let first = NonNull::new(std::ptr::with_exposed_provenance_mut::<Line>((link & !FULL) as usize))?;
        // SAFETY: links are written by `set_link` only, to spares of the same table, which keeps them (I5).
        Some(unsafe { Self::at(first) })
    }

    /// Which slots hold this key, full or not.
    #[inline(always)]
    fn matches(self, key: &K) -> u64 {
        (0..Self::SLOTS).fold(0, |hits, slot| {
            let at = HEADER + slot * Self::PAIR;
            let difference = (0..Self::KEY)
                .fold(0, |bits, index| bits | (self.word(at + index).load(Ordering::Relaxed) ^ word(key, index)));
            hits | u64::from(difference == 0) << slot
        })
    }

    #[inline(always)]
    fn key(self, slot: usize) -> K {
        let at = HEADER + slot * Self::PAIR;
        gather(|index| self.word(at + index).load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn value(self, slot: usize) -> V {
        let at = HEADER + slot * Self::PAIR + Self::KEY;
        gather(|index| self.word(at + index).load(Ordering::Relaxed))
    }

    /// Whether the chain still is what it was at `version`, and so what was read since is one state of it.
    #[inline(always)]
    fn still_at(self, version: u64) -> bool {
        if cfg!(not(rt_mutant = "flat_read_fence")) {
            fence(Ordering::Acquire); // O2
        }
        cfg!(rt_mutant = "flat_read_check") || self.sequence().load(Ordering::Relaxed) == version
    }

    /// Looks for a key in the chain of this home. One cache line, in most cases.
    #[inline(always)]
    pub(super) fn look(self, key: &K) -> Look<V> {
        let version = self.sequence().load(Ordering::Acquire); // O1
        if version & 1 == 1 {
            return Look::Torn;
        }
        let link = self.link_word().load(Ordering::Relaxed);
        let hits = self.matches(key) & link & Self::ALL_FULL;
        if hits != 0 {
            let value = self.value(hits.trailing_zeros() as usize);
            return if self.still_at(version) { Look::Found(value) } else { Look::Torn };
        }
        if link & !FULL == 0 {
            return if self.still_at(version) { Look::Absent } else { Look::Torn };
        }
        self.look_behind(key, version, link)
    }

    #[inline(never)]
    fn look_behind(self, key: &K, version: u64, mut link: u64) -> Look<V> {
        loop {
            // A link is followed only once it is known to be of this version: so its bucket is one of this chain.
            if !self.still_at(version) {
                return Look::Torn;
            }
            if link & !FULL == MOVED {
                return Look::Moved;
            }
            let Some(spare) = self.follow(link) else { return Look::Absent };
            link = spare.link_word().load(Ordering::Relaxed);
            let hits = spare.matches(key) & link & Self::ALL_FULL;
            if hits != 0 {
                let value = spare.value(hits.trailing_zeros() as usize);
                return if self.still_at(version) { Look::Found(value) } else { Look::Torn };
            }
        }
    }

    /// Reads the whole chain of this home into `entries`, and returns the version it was at.
    pub(super) fn try_collect(self, entries: &mut Vec<(K, V)>) -> Look<u64> {
        entries.clear();
        let version = self.sequence().load(Ordering::Acquire); // O1
        if version & 1 == 1 {
            return Look::Torn;
        }
        let mut bucket = self;
        loop {
            let link = bucket.link_word().load(Ordering::Relaxed);
            bucket.append_entries(link, entries);
            if !self.still_at(version) {
                return Look::Torn;
            }
            if link & !FULL == MOVED {
                return Look::Moved;
            }
            match self.follow(link) {
                Some(spare) => bucket = spare,
                None => return Look::Found(version),
            }
        }
    }

    fn append_entries(self, link: u64, entries: &mut Vec<(K, V)>) {
        let full = (0..Self::SLOTS).filter(|slot| link & 1 << slot != 0);
        entries.extend(full.map(|slot| (self.key(slot), self.value(slot))));
    }

    /// Enters the chain of this home as its only writer, if that is free.
    #[inline(always)]
    pub(super) fn try_lock(self) -> Option<Locked<'t, K, V>> {
        let version = self.sequence().load(Ordering::Relaxed);
        if version & 1 == 1 { None } else { self.try_lock_at(version) }
    }

    /// Enters the chain of this home as its only writer, if it is still at `version`.
    #[inline(always)]
    pub(super) fn try_lock_at(self, version: u64) -> Option<Locked<'t, K, V>> {
        let odd = version.wrapping_add(1);
        self.sequence().compare_exchange(version, odd, Ordering::Acquire, Ordering::Relaxed).ok()?; // O3
        if cfg!(not(rt_mutant = "flat_write_fence")) {
            fence(Ordering::Release); // O2
        }
        Some(Locked { home: self, version, changed: false })
    }

    /// Enters the chain of this home as its only writer, after however long others need to leave it.
    #[cold]
    pub(super) fn lock_after_wait(self) -> Locked<'t, K, V> {
        let mut backoff = Backoff::new();
        loop {
            if let Some(locked) = self.try_lock() {
                return locked;
            }
            backoff.snooze();
        }
    }

    /// Puts an entry into the chain of this home, which the caller alone may write (locked, or not published yet).
    /// Says whether that took a spare bucket.
    #[inline(always)]
    pub(super) fn put(self, key: &K, value: &V, spares: &Spares) -> bool {
        let link = self.link_word().load(Ordering::Relaxed);
        if link & Self::ALL_FULL != Self::ALL_FULL {
            self.fill(link, key, value);
            return false;
        }
        self.put_behind(link, key, value, spares)
    }

    #[inline(never)]
    fn put_behind(self, link: u64, key: &K, value: &V, spares: &Spares) -> bool {
        if let Some(head) = self.follow(link) {
            let behind = head.link_word().load(Ordering::Relaxed);
            if behind & Self::ALL_FULL != Self::ALL_FULL {
                head.fill(behind, key, value);
                return false;
            }
        }
        // SAFETY: a spare has as many lines as any bucket of the table (I5).
        let head = unsafe { Self::at(spares.take(self.first)) };
        head.fill(link & !FULL, key, value);
        self.set_link(Some(head), Self::ALL_FULL);
        true
    }

    fn fill(self, link: u64, key: &K, value: &V) {
        let slot = (!link & Self::ALL_FULL).trailing_zeros() as usize;
        let at = HEADER + slot * Self::PAIR;
        for index in 0..Self::KEY {
            self.word(at + index).store(word(key, index), Ordering::Relaxed);
        }
        self.set_value(slot, value);
        self.link_word().store(link | 1 << slot, Ordering::Relaxed);
    }

    fn set_value(self, slot: usize, value: &V) {
        let at = HEADER + slot * Self::PAIR + Self::KEY;
        for index in 0..words_in::<V>() {
            self.word(at + index).store(word(value, index), Ordering::Relaxed);
        }
    }

    fn set_link(self, next: Option<Self>, full: u64) {
        let address = next.map_or(0, |next| next.first.as_ptr().expose_provenance() as u64);
        self.link_word().store(address | full, Ordering::Relaxed);
    }

    /// Buckets in the chain; 0 where it has moved. A glance, of no one state.
    pub(super) fn glance_length(self) -> usize {
        let mut entries = Vec::new();
        match self.try_collect(&mut entries) {
            Look::Found(_) => entries.len().div_ceil(Self::SLOTS).max(1),
            _ => 0,
        }
    }
}

/// The only writer inside a chain. Leaves it when dropped, so also when a panic passes.
pub(super) struct Locked<'t, K, V> {
    home: Bucket<'t, K, V>,
    /// The even number that the sequence was at.
    version: u64,
    changed: bool,
}

impl<'t, K: Plain, V: Plain> Locked<'t, K, V> {
    #[inline(always)]
    pub(super) fn is_moved(&self) -> bool {
        self.home.link_word().load(Ordering::Relaxed) == MOVED
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    #[inline(always)]
    pub(super) fn find(&self, key: &K) -> Option<Place<'t, K, V>> {
        let link = self.home.link_word().load(Ordering::Relaxed);
        let hits = self.home.matches(key) & link & Bucket::<K, V>::ALL_FULL;
        if hits != 0 {
            return Some(Place { bucket: self.home, slot: hits.trailing_zeros() as usize });
        }
        if link & !FULL == 0 { None } else { self.find_behind(link, key) }
    }

    #[inline(never)]
    fn find_behind(&self, mut link: u64, key: &K) -> Option<Place<'t, K, V>> {
        while let Some(bucket) = self.home.follow(link) {
            link = bucket.link_word().load(Ordering::Relaxed);
            let hits = bucket.matches(key) & link & Bucket::<K, V>::ALL_FULL;
            if hits != 0 {
                return Some(Place { bucket, slot: hits.trailing_zeros() as usize });
            }
        }
        None
    }

    #[inline(always)]
    pub(super) fn value(&self, place: &Place<'t, K, V>) -> V {
        place.bucket.value(place.slot)
    }

    #[inline(always)]
    pub(super) fn set_value(&mut self, place: &Place<'t, K, V>, value: &V) {
        self.changed = true;
        place.bucket.set_value(place.slot, value);
    }

    /// Puts in an entry whose key is not there. Says whether that took a spare bucket.
    #[inline(always)]
    pub(super) fn put(&mut self, key: &K, value: &V, spares: &Spares) -> bool {
        self.changed = true;
        self.home.put(key, value, spares)
    }

    /// Takes an entry out, and fills the hole from the head of the chain (C1).
    #[inline(always)]
    pub(super) fn take(&mut self, place: Place<'t, K, V>, spares: &Spares) {
        self.changed = true;
        let Place { bucket, slot } = place;
        match self.home.follow(self.home.link_word().load(Ordering::Relaxed)) {
            None => {
                let full = self.home.link_word().load(Ordering::Relaxed);
                self.home.link_word().store(full & !(1 << slot), Ordering::Relaxed);
            }
            Some(head) => self.fill_hole(head, bucket, slot, spares),
        }
    }

    #[inline(never)]
    fn fill_hole(&self, head: Bucket<'t, K, V>, bucket: Bucket<'t, K, V>, slot: usize, spares: &Spares) {
        let link = head.link_word().load(Ordering::Relaxed);
        let hole = if bucket.first == head.first {
            slot
        } else {
            let last = (link & FULL).ilog2() as usize;
            for index in 0..Bucket::<K, V>::PAIR {
                let moved = head.word(HEADER + last * Bucket::<K, V>::PAIR + index).load(Ordering::Relaxed);
                bucket.word(HEADER + slot * Bucket::<K, V>::PAIR + index).store(moved, Ordering::Relaxed);
            }
            last
        };
        let left = link & !(1 << hole);
        head.link_word().store(left, Ordering::Relaxed);
        if left & FULL == 0 {
            self.home.set_link(head.follow(left), Bucket::<K, V>::ALL_FULL);
            spares.give(self.home.first, head.first);
        }
    }

    /// Takes every entry out and says how many they were.
    pub(super) fn clear(&mut self, spares: &Spares) -> usize {
        let mut taken = 0;
        let mut link = self.home.link_word().load(Ordering::Relaxed);
        taken += (link & FULL).count_ones() as usize;
        while let Some(spare) = self.home.follow(link) {
            link = spare.link_word().load(Ordering::Relaxed);
            taken += (link & FULL).count_ones() as usize;
            spares.give(self.home.first, spare.first);
        }
        self.changed |= taken > 0;
        self.home.set_link(None, 0);
        taken
    }

    /// Reads every entry of the chain; false when they are in the next table.
    #[must_use = "a chain that has moved has no entries here"]
    pub(super) fn collect(&self, entries: &mut Vec<(K, V)>) -> bool {
        entries.clear();
        if self.is_moved() {
            return false;
        }
        let mut bucket = self.home;
        loop {
            let link = bucket.link_word().load(Ordering::Relaxed);
            bucket.append_entries(link, entries);
            match self.home.follow(link) {
                Some(spare) => bucket = spare,
                None => return true,
            }
        }
    }

    /// Leaves the forward mark: from here on the chain's entries are those of the next table.
    pub(super) fn mark_moved(&mut self) {
        self.changed = true;
        let link = if cfg!(rt_mutant = "flat_forward_mark") { 0 } else { MOVED };
        self.home.link_word().store(link, Ordering::Relaxed);
    }
}

impl<K, V> Drop for Locked<'_, K, V> {
    #[inline(always)]
    fn drop(&mut self) {
        // Where nothing was written, readers that came before may as well have come after.
        let left = if self.changed { self.version.wrapping_add(2) } else { self.version };
        // SAFETY: a bucket's first word is its sequence; the lines are alive (`Bucket::at`).
        unsafe { &self.home.first.as_ref().0[0] }.store(left, Ordering::Release); // O1
    }
}
