//! One bucket: a cache line, or more for longer entries, with a header, the keys and values of a few entries, and a
//! link. Orderings: [`super`].
//!
//! ```text
//! word 0       header: sequence (55 bits) | whether there is more behind the link | which slots are full (7 bits) |
//!              whether a writer is inside
//! words 1..    the words of the slots' keys
//! then         the words of their values
//! last word    link: address of the next bucket of the chain; or MOVED
//! ```
//!
//! Keys come first, so that what is not there is known from the first lines, and a look asks for the line with the
//! values before it reads them.
//!
//! A chain is the home bucket and the spare ones linked behind it; the home's header guards all of it, and a spare's
//! has no sequence.
//! C1  Where there are spares, the home is full, and so is every spare but the first. Hence an entry goes in, and a
//!     hole is filled, at the head of the chain: at a cost that does not depend on its length.

use super::line::{Line, prefetch};
use super::spare::Spares;
use super::words::{Plain, gather, word, words_in};
use crate::sync::atomic::{AtomicU64, Ordering, fence};
use crate::sync::{Backoff, MODELLED};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Words to a line.
const LINE: usize = 8;
const _: () = assert!(size_of::<Line>() == LINE * size_of::<AtomicU64>());
/// A writer is inside.
const INSIDE: u64 = 1;
/// The first slot is full; the others have the bits above.
const FIRST_FULL: u64 = 1 << 1;
const SLOTS_MAX: usize = 7;
/// The link leads somewhere, or says that the chain has moved.
const LINKED: u64 = FIRST_FULL << SLOTS_MAX;
/// One change of the chain.
const CHANGE: u64 = LINKED << 1;
/// The link of a bucket whose entries have gone to the next table. No address: those of lines are multiples of 64.
const MOVED: u64 = 1;

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
    const VALUE: usize = words_in::<V>();
    const PAIR: usize = Self::KEY + Self::VALUE;
    /// Lines to a bucket: room for three entries at least, so that few chains need a spare.
    pub(super) const LINES: usize = (2 + 3 * Self::PAIR).div_ceil(LINE);
    /// Entries to a bucket.
    pub(super) const SLOTS: usize = {
        assert!(Self::PAIR > 0, "a map of nothing to nothing");
        let room = (Self::LINES * LINE - 2) / Self::PAIR;
        let most = if MODELLED { 2 } else { SLOTS_MAX };
        if room < most { room } else { most }
    };
    /// Entries to a home bucket for which a table is made: two of three slots, so that one chain in eight has a spare.
    pub(super) const LOAD: usize = (2 * Self::SLOTS).div_ceil(3);
    const ALL_FULL: u64 = (FIRST_FULL << Self::SLOTS) - FIRST_FULL;
    const LINK: usize = Self::LINES * LINE - 1;

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
        // SAFETY: the bucket's lines are alive (`at`), one after another without a gap, and `index` is within them.
        unsafe { self.first.cast::<AtomicU64>().add(index).as_ref() }
    }

    #[inline(always)]
    fn header(self) -> &'t AtomicU64 {
        self.word(0)
    }

    #[inline(always)]
    fn link(self) -> &'t AtomicU64 {
        self.word(Self::LINK)
    }

    #[inline(always)]
    fn key_word(self, slot: usize, index: usize) -> &'t AtomicU64 {
        self.word(1 + slot * Self::KEY + index)
    }

    #[inline(always)]
    fn value_word(self, slot: usize, index: usize) -> &'t AtomicU64 {
        self.word(1 + Self::SLOTS * Self::KEY + slot * Self::VALUE + index)
    }

    /// Asks for the lines behind the first.
    #[inline(always)]
    fn prefetch_rest(self) {
        // SAFETY: within the bucket.
        (1..Self::LINES.min(2)).for_each(|line| prefetch(unsafe { self.first.add(line) }.as_ptr()));
    }

    /// Asks for the first spare of the chain; for the home where there is none, which needs no branch.
    #[inline(always)]
    pub(super) fn prefetch_spare(self) {
        let home = self.first.as_ptr() as u64;
        let link = self.link().load(Ordering::Relaxed);
        let next = if self.header().load(Ordering::Relaxed) & LINKED == 0 { home } else { link };
        prefetch(std::ptr::without_provenance(next as usize));
    }

    /// Copies an entry of another bucket into a slot.
    fn copy_entry(self, slot: usize, from: Self, there: usize) {
        for index in 0..Self::KEY {
            self.key_word(slot, index).store(from.key_word(there, index).load(Ordering::Relaxed), Ordering::Relaxed);
        }
        for index in 0..Self::VALUE {
            self.value_word(slot, index)
                .store(from.value_word(there, index).load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Puts an empty bucket that nobody uses yet at its `n`th change.
    pub(super) fn start_at(self, n: u64) {
        self.header().store(n.wrapping_mul(CHANGE), Ordering::Relaxed);
    }

    /// The link of a bucket with this header; 0 where it has none.
    #[inline(always)]
    fn onward(self, header: u64) -> u64 {
        if header & LINKED == 0 { 0 } else { self.link().load(Ordering::Relaxed) }
    }

    /// The bucket that a link leads to.
    #[inline(always)]
    fn follow(self, link: u64) -> Option<Self> {
        let first = NonNull::new(std::ptr::with_exposed_provenance_mut(link as usize))?;
        // SAFETY: links are written by `link_to` only, to spares of the same table, which keeps them (I5).
        Some(unsafe { Self::at(first) })
    }

    /// Which slots hold this key, full or not, as the bits of a header.
    #[inline(always)]
    fn matches(self, key: &K) -> u64 {
        (0..Self::SLOTS).fold(0, |hits, slot| {
            let difference = (0..Self::KEY)
                .fold(0, |bits, index| bits | (self.key_word(slot, index).load(Ordering::Relaxed) ^ word(key, index)));
            hits | (u64::from(difference == 0) * FIRST_FULL) << slot
        })
    }

    /// The slot of this key, if it is full.
    #[inline(always)]
    fn slot_of(self, key: &K, header: u64) -> Option<usize> {
        let hits = self.matches(key) & header;
        if hits == 0 { None } else { Some((hits / FIRST_FULL).trailing_zeros() as usize) }
    }

    #[inline(always)]
    fn key(self, slot: usize) -> K {
        gather(|index| self.key_word(slot, index).load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn value(self, slot: usize) -> V {
        gather(|index| self.value_word(slot, index).load(Ordering::Relaxed))
    }

    /// Whether the chain still is what it was at `header`, and so what was read since is one state of it.
    #[inline(always)]
    fn still_at(self, header: u64) -> bool {
        if cfg!(not(rt_mutant = "flat_read_fence")) {
            fence(Ordering::Acquire); // O2
        }
        cfg!(rt_mutant = "flat_read_check") || self.header().load(Ordering::Relaxed) == header
    }

    /// What was found, if it was read from one state.
    #[inline(always)]
    fn validated<T>(self, header: u64, look: Look<T>) -> Look<T> {
        if self.still_at(header) { look } else { Look::Torn }
    }

    /// What the home alone says of a key: its value, or that it is nowhere; `None` when that takes more than a glance.
    #[inline(always)]
    pub(super) fn glance(self, key: &K) -> Option<Option<V>> {
        self.prefetch_rest();
        let header = self.header().load(Ordering::Acquire); // O1
        if header & INSIDE != 0 {
            return None;
        }
        let found = self.slot_of(key, header).map(|slot| self.value(slot));
        if (found.is_some() || header & LINKED == 0) && self.still_at(header) { Some(found) } else { None }
    }

    /// Looks for a key in the chain of this home. One bucket, in most cases.
    #[inline(always)]
    pub(super) fn look(self, key: &K) -> Look<V> {
        self.prefetch_rest();
        let header = self.header().load(Ordering::Acquire); // O1
        if header & INSIDE != 0 {
            return Look::Torn;
        }
        if let Some(slot) = self.slot_of(key, header) {
            return self.validated(header, Look::Found(self.value(slot)));
        }
        if header & LINKED == 0 {
            return self.validated(header, Look::Absent);
        }
        self.look_behind(key, header)
    }

    #[inline(never)]
    fn look_behind(self, key: &K, header: u64) -> Look<V> {
        let (mut bucket, mut here) = (self, header);
        loop {
            let link = bucket.onward(here);
            // A link is followed only once it is known to be of this version: so its bucket is one of this chain.
            if !self.still_at(header) {
                return Look::Torn;
            }
            if link == MOVED {
                return Look::Moved;
            }
            let Some(spare) = self.follow(link) else { return Look::Absent };
            (bucket, here) = (spare, spare.header().load(Ordering::Relaxed));
            if let Some(slot) = bucket.slot_of(key, here) {
                return self.validated(header, Look::Found(bucket.value(slot)));
            }
        }
    }

    /// Reads the whole chain of this home into `entries`, and returns the header it was at.
    pub(super) fn try_collect(self, entries: &mut Vec<(K, V)>) -> Look<u64> {
        entries.clear();
        let header = self.header().load(Ordering::Acquire); // O1
        if header & INSIDE != 0 {
            return Look::Torn;
        }
        let (mut bucket, mut here) = (self, header);
        loop {
            bucket.append_entries(here, entries);
            let link = bucket.onward(here);
            if !self.still_at(header) {
                return Look::Torn;
            }
            if link == MOVED {
                return Look::Moved;
            }
            let Some(spare) = self.follow(link) else { return Look::Found(header) };
            (bucket, here) = (spare, spare.header().load(Ordering::Relaxed));
        }
    }

    fn append_entries(self, header: u64, entries: &mut Vec<(K, V)>) {
        let full = (0..Self::SLOTS).filter(|slot| header & FIRST_FULL << slot != 0);
        entries.extend(full.map(|slot| (self.key(slot), self.value(slot))));
    }

    /// Enters the chain of this home as its only writer, if that is free.
    #[inline(always)]
    pub(super) fn try_lock(self) -> Option<Locked<'t, K, V>> {
        self.prefetch_rest();
        let header = self.header().load(Ordering::Relaxed);
        if header & INSIDE != 0 { None } else { self.try_lock_at(header) }
    }

    /// Enters the chain of this home as its only writer, if it is still at `header`.
    #[inline(always)]
    pub(super) fn try_lock_at(self, header: u64) -> Option<Locked<'t, K, V>> {
        let inside = header | INSIDE;
        self.header().compare_exchange(header, inside, Ordering::Acquire, Ordering::Relaxed).ok()?; // O3
        if cfg!(not(rt_mutant = "flat_write_fence")) {
            fence(Ordering::Release); // O2
        }
        Some(Locked { home: self, header, changed: false })
    }

    /// Puts an entry in and returns the value it replaces, if the home alone says where; `None`, and nothing done, when
    /// that takes more, or somebody else is at it. The key is looked for before the chain is locked: the lock is taken
    /// at the header at which was looked, so everything still is as it was then (O3).
    #[inline(always)]
    pub(super) fn try_put(self, key: &K, value: &V) -> Option<Option<V>> {
        self.prefetch_rest();
        let order = if cfg!(rt_mutant = "flat_put_unordered") { Ordering::Relaxed } else { Ordering::Acquire };
        let header = self.header().load(order); // O1
        if header & INSIDE != 0 {
            return None;
        }
        if let Some(slot) = self.slot_of(key, header) {
            let mut locked = self.try_lock_at(header)?;
            let place = Place { bucket: self, slot };
            let replaced = locked.value(&place);
            locked.set_value(&place, value);
            return Some(Some(replaced));
        }
        if header & LINKED != 0 || header & Self::ALL_FULL == Self::ALL_FULL {
            return None;
        }
        let mut locked = self.try_lock_at(header)?;
        locked.changed = true;
        locked.header = self.fill(header, key, value);
        Some(None)
    }

    /// Takes an entry out and returns its value, if there is one, as [`try_put`](Self::try_put) puts one in. Where the
    /// home has a spare, that is to fill the hole, and `None` is returned.
    #[inline(always)]
    pub(super) fn try_take(self, key: &K) -> Option<Option<V>> {
        self.prefetch_rest();
        let header = self.header().load(Ordering::Acquire); // O1
        if header & (INSIDE | LINKED) != 0 {
            return None;
        }
        let Some(slot) = self.slot_of(key, header) else { return self.still_at(header).then_some(None) };
        let mut locked = self.try_lock_at(header)?;
        let taken = locked.value(&Place { bucket: self, slot });
        locked.changed = true;
        locked.header &= !(FIRST_FULL << slot);
        Some(Some(taken))
    }

    /// Enters the chain of this home as its only writer, by way of `wait` if another is inside. `wait` enters as well,
    /// and says at which header: what it returned in memory would keep a whole operation in memory.
    #[inline(always)]
    pub(super) fn lock_or(self, wait: impl FnOnce() -> u64) -> Locked<'t, K, V> {
        match self.try_lock() {
            Some(locked) => locked,
            None => Locked { home: self, header: wait(), changed: false },
        }
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

    /// Puts an entry into the chain of a home that is not published yet.
    #[inline(always)]
    pub(super) fn put_unseen(self, key: &K, value: &V, spares: &Spares) {
        let (header, _) = self.put(self.header().load(Ordering::Relaxed), key, value, spares);
        self.header().store(header, Ordering::Relaxed);
    }

    /// Puts an entry into the chain of this home, which the caller alone may write. Returns what its header is then,
    /// and whether that took a spare bucket of a pool past its quota.
    #[inline(always)]
    fn put(self, header: u64, key: &K, value: &V, spares: &Spares) -> (u64, bool) {
        if header & Self::ALL_FULL != Self::ALL_FULL {
            return (self.fill(header, key, value), false);
        }
        self.put_behind(header, key, value, spares)
    }

    #[inline(never)]
    fn put_behind(self, header: u64, key: &K, value: &V, spares: &Spares) -> (u64, bool) {
        let link = self.onward(header);
        if let Some(head) = self.follow(link) {
            let behind = head.header().load(Ordering::Relaxed);
            if behind & Self::ALL_FULL != Self::ALL_FULL {
                head.header().store(head.fill(behind, key, value), Ordering::Relaxed);
                return (header, false);
            }
        }
        let (spare, crowded) = spares.take(self.first);
        // SAFETY: a spare has as many lines as any bucket of the table (I5).
        let head = unsafe { Self::at(spare) };
        head.link().store(link, Ordering::Relaxed);
        head.header().store(head.fill(header & LINKED, key, value), Ordering::Relaxed);
        (self.link_to(header, Some(head)), crowded)
    }

    /// Puts an entry into a slot that is not full. Returns what the header is to be.
    #[inline(always)]
    fn fill(self, header: u64, key: &K, value: &V) -> u64 {
        let slot = ((!header & Self::ALL_FULL) / FIRST_FULL).trailing_zeros() as usize;
        for index in 0..Self::KEY {
            self.key_word(slot, index).store(word(key, index), Ordering::Relaxed);
        }
        self.set_value(slot, value);
        header | FIRST_FULL << slot
    }

    #[inline(always)]
    fn set_value(self, slot: usize, value: &V) {
        for index in 0..Self::VALUE {
            self.value_word(slot, index).store(word(value, index), Ordering::Relaxed);
        }
    }

    /// Writes the link. Returns what the header is to be.
    fn link_to(self, header: u64, next: Option<Self>) -> u64 {
        let Some(next) = next else { return header & !LINKED };
        self.link().store(next.first.as_ptr().expose_provenance() as u64, Ordering::Relaxed);
        header | LINKED
    }

    /// Looks for a key behind this home, whose chain the caller alone may write.
    #[inline(never)]
    fn find_behind(self, key: &K, header: u64) -> Option<Place<'t, K, V>> {
        let mut link = self.onward(header);
        while let Some(bucket) = self.follow(link) {
            let header = bucket.header().load(Ordering::Relaxed);
            if let Some(slot) = bucket.slot_of(key, header) {
                return Some(Place { bucket, slot });
            }
            link = bucket.onward(header);
        }
        None
    }

    /// Fills a hole in the chain of this home from the head of what is behind it (C1). Returns what the home's header
    /// is then.
    #[inline(never)]
    fn fill_hole(self, header: u64, head: Self, hole: Place<'t, K, V>, spares: &Spares) -> u64 {
        let behind = head.header().load(Ordering::Relaxed);
        let emptied = if hole.bucket.first == head.first {
            hole.slot
        } else {
            let last = ((behind & Self::ALL_FULL) / FIRST_FULL).ilog2() as usize;
            hole.bucket.copy_entry(hole.slot, head, last);
            last
        };
        let left = behind & !(FIRST_FULL << emptied);
        head.header().store(left, Ordering::Relaxed);
        if left & Self::ALL_FULL != 0 {
            return header;
        }
        let header = self.link_to(header, head.follow(head.onward(left)));
        spares.give(self.first, head.first);
        header
    }

    /// Buckets in the chain; 0 where it has moved. A glance, of no one state.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
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
    /// The home's, as it will be when this leaves, but for the sequence.
    header: u64,
    changed: bool,
}

impl<'t, K: Plain, V: Plain> Locked<'t, K, V> {
    #[inline(always)]
    pub(super) fn is_moved(&self) -> bool {
        self.home.onward(self.header) == MOVED
    }

    /// Stays inside, for who goes on with the header by [`Bucket::lock_or`].
    pub(super) fn stay(self) -> u64 {
        let header = self.header;
        std::mem::forget(self);
        header
    }

    #[inline(always)]
    pub(super) fn find(&self, key: &K) -> Option<Place<'t, K, V>> {
        if let Some(slot) = self.home.slot_of(key, self.header) {
            return Some(Place { bucket: self.home, slot });
        }
        if self.header & LINKED == 0 { None } else { self.home.find_behind(key, self.header) }
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

    /// Puts in an entry whose key is not there. Says whether that took a spare bucket of a pool past its quota.
    #[inline(always)]
    pub(super) fn put(&mut self, key: &K, value: &V, spares: &Spares) -> bool {
        self.changed = true;
        let (header, crowded) = self.home.put(self.header, key, value, spares);
        self.header = header;
        crowded
    }

    /// Takes an entry out, and fills the hole from the head of the chain (C1).
    #[inline(always)]
    pub(super) fn take(&mut self, place: Place<'t, K, V>, spares: &Spares) {
        self.changed = true;
        match self.home.follow(self.home.onward(self.header)) {
            None => self.header &= !(FIRST_FULL << place.slot),
            Some(head) => self.header = self.home.fill_hole(self.header, head, place, spares),
        }
    }

    /// Takes every entry out and says how many they were.
    pub(super) fn clear(&mut self, spares: &Spares) -> usize {
        let full = |header: u64| (header & Bucket::<K, V>::ALL_FULL).count_ones() as usize;
        let mut taken = full(self.header);
        let mut link = self.home.onward(self.header);
        while let Some(spare) = self.home.follow(link) {
            let header = spare.header().load(Ordering::Relaxed);
            link = spare.onward(header);
            taken += full(header);
            spares.give(self.home.first, spare.first);
        }
        self.changed |= taken > 0;
        self.header &= !(Bucket::<K, V>::ALL_FULL | LINKED);
        taken
    }

    /// Reads every entry of the chain; false when they are in the next table.
    #[must_use = "a chain that has moved has no entries here"]
    pub(super) fn collect(&self, entries: &mut Vec<(K, V)>) -> bool {
        entries.clear();
        if self.is_moved() {
            return false;
        }
        let (mut bucket, mut here) = (self.home, self.header);
        loop {
            bucket.append_entries(here, entries);
            let Some(spare) = self.home.follow(bucket.onward(here)) else { return true };
            (bucket, here) = (spare, spare.header().load(Ordering::Relaxed));
        }
    }

    /// Leaves the forward mark: from here on the chain's entries are those of the next table.
    pub(super) fn mark_moved(&mut self) {
        self.changed = true;
        self.header &= !(Bucket::<K, V>::ALL_FULL | LINKED);
        if cfg!(not(rt_mutant = "flat_forward_mark")) {
            self.home.link().store(MOVED, Ordering::Relaxed);
            self.header |= LINKED;
        }
    }
}

impl<K, V> Drop for Locked<'_, K, V> {
    #[inline(always)]
    fn drop(&mut self) {
        // Where nothing was written, readers that came before may as well have come after.
        let left = if self.changed { self.header.wrapping_add(CHANGE) } else { self.header };
        // SAFETY: a bucket's first word is its header; the lines are alive (`Bucket::at`).
        unsafe { &self.home.first.as_ref().0[0] }.store(left, Ordering::Release); // O1
    }
}
