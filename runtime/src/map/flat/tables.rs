//! The current table of a map and the one its entries move to: every operation, by position and key.

use super::bucket::{Bucket, Locked, Look};
use super::counts::{Count, Counts};
use super::discard::discard;
use super::growth::Help;
use super::table::Table;
use super::words::Plain;
use crate::reclaim::{self, Guard};
use crate::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use crate::sync::{Backoff, MODELLED, Step};

/// Tries of a read before it takes the lock.
const TRIES: usize = if MODELLED { 2 } else { 64 };
/// A removal measures the table if its home's index is a multiple of this.
const MEASURED_EVERY: usize = 256;
/// A table with fewer entries than one in so many of those it would be made for shrinks to half.
const SHRINKS_AT: usize = 4;

/// The size of the next table, by that of the one it follows: one's buckets must fall into whole ones of the other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Resize {
    Grow(usize),
    Halve,
}

pub(super) struct Tables<K, V> {
    current: AtomicPtr<Table<K, V>>,
    pub(super) counts: Counts,
    /// What the map was made for: it does not shrink below that.
    buckets_min: usize,
    /// Whether entries are leaving for another map: then it does not shrink by itself. Relaxed: it guards nothing.
    leaving: AtomicBool,
}

// SAFETY: tables are atomics and plain data; the pointers own what they point to.
unsafe impl<K: Send, V: Send> Send for Tables<K, V> {}
// SAFETY: as above.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for Tables<K, V> {}

impl<K: Plain, V: Plain> Tables<K, V> {
    pub(super) fn new(capacity: usize, counts: Counts) -> Self {
        let buckets_min = Table::<K, V>::buckets_for(capacity);
        let table = Box::new(Table::new(buckets_min));
        Self { current: AtomicPtr::new(Box::into_raw(table)), counts, buckets_min, leaving: AtomicBool::new(false) }
    }

    /// As [`new`](Self::new), with its memory in place: whoever is the first at some part of it does not wait for the
    /// system.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub(super) fn populated(capacity: usize, counts: Counts) -> Self {
        let buckets_min = Table::<K, V>::buckets_for(capacity);
        let mut table = Box::new(Table::new(buckets_min));
        table.populate();
        Self { current: AtomicPtr::new(Box::into_raw(table)), counts, buckets_min, leaving: AtomicBool::new(false) }
    }

    /// Puts every sequence of a map that nobody has used yet at `start`: wrap-around may then be near.
    pub(super) fn start_sequences_at(&mut self, start: u64) {
        let guard = reclaim::pin();
        let table = self.current(&guard);
        (0..table.buckets()).for_each(|index| table.bucket(index).start_at(start));
    }

    /// Entries are leaving for another map, or no longer: smaller tables would be made for nothing, and each waited
    /// for.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub(super) fn set_leaving(&self, leaving: bool) {
        self.leaving.store(leaving, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(super) fn current<'g>(&'g self, _pinned: &'g Guard<'_>) -> &'g Table<K, V> {
        // SAFETY: a table is retired once it is not the current one any more, so what is loaded under a guard stays
        // until that is dropped (I4).
        unsafe { &*self.current.load(Ordering::Acquire) } // O5
    }

    /// The value of a key, or that there is none, if the first look at its home says so.
    #[inline(always)]
    pub(super) fn try_get(&self, position: u64, key: &K, guard: &Guard<'_>) -> Option<Option<V>> {
        self.current(guard).home(position).glance(key)
    }

    /// The value of a key after a glance did not tell. It takes what it needs by value and comes last, so that the
    /// glance saves no registers for it.
    #[cold]
    #[inline(never)]
    pub(super) fn get_after_all(&self, position: u64, key: K, guard: Option<Guard<'static>>) -> Option<V> {
        let guard = guard.unwrap_or_else(reclaim::pin);
        self.get(position, &key, &guard)
    }

    /// The value of a key.
    #[inline(always)]
    pub(super) fn get(&self, position: u64, key: &K, guard: &Guard<'_>) -> Option<V> {
        match self.current(guard).home(position).look(key) {
            Look::Found(value) => Some(value),
            Look::Absent => None,
            Look::Moved | Look::Torn => self.get_again(position, key, guard),
        }
    }

    #[cold]
    #[inline(never)]
    fn get_again(&self, position: u64, key: &K, guard: &Guard<'_>) -> Option<V> {
        let mut table = self.current(guard);
        let mut backoff = Backoff::new();
        let mut retries = 0;
        while retries < TRIES {
            match table.home(position).look(key) {
                Look::Found(value) => return Some(value),
                Look::Absent => return None,
                Look::Moved => table = table.successor(),
                Look::Torn => {
                    retries += 1;
                    self.counts.add(Count::Retried, 1);
                    backoff.spin();
                }
            }
        }
        self.counts.add(Count::FellBack, 1);
        let locked = self.lock_from(table, position).1;
        locked.find(key).map(|place| locked.value(&place))
    }

    /// Locks the chain of a position, in the table that its entries are in.
    #[inline(always)]
    pub(super) fn lock<'g>(&'g self, position: u64, guard: &'g Guard<'_>) -> (&'g Table<K, V>, Locked<'g, K, V>) {
        self.lock_from(self.current(guard), position)
    }

    #[inline(always)]
    fn lock_from<'t>(&'t self, mut table: &'t Table<K, V>, position: u64) -> (&'t Table<K, V>, Locked<'t, K, V>) {
        loop {
            let home = table.home(position);
            let locked = home.lock_or(|| self.wait_for(home));
            if !locked.is_moved() {
                return (table, locked);
            }
            drop(locked);
            table = table.successor();
        }
    }

    /// Enters a home that another is in, and says at which header.
    #[cold]
    #[inline(never)]
    fn wait_for(&self, home: Bucket<'_, K, V>) -> u64 {
        self.counts.add(Count::Contended, 1);
        let start = self.counts.start_wait();
        let locked = home.lock_after_wait();
        self.counts.end_wait(start);
        locked.stay()
    }

    /// What every writer does first: its share of a move that is under way.
    #[inline(always)]
    fn help_in_passing(&self, position_of: &impl Fn(&K) -> u64, guard: &Guard<'_>) {
        let table = self.current(guard);
        if table.next().is_some() {
            self.help(table, position_of, guard);
        }
    }

    /// Moves one stripe of `table`; false when none is left to claim.
    #[cold]
    fn help(&self, table: &Table<K, V>, position_of: &impl Fn(&K) -> u64, guard: &Guard<'_>) -> bool {
        let next = table.successor();
        let help = table.help(next, position_of, &self.counts);
        if help == Help::Finished {
            self.publish(table, guard);
        }
        help == Help::Helped
    }

    /// Makes the next table the current one, now that every entry is in it (G2), and has the other one freed.
    fn publish(&self, table: &Table<K, V>, guard: &Guard<'_>) {
        unsafe fn free<K: Plain, V: Plain>(table: *mut ()) {
            // SAFETY: tables come from boxes, and are retired once.
            discard(unsafe { Box::from_raw(table.cast::<Table<K, V>>()) });
        }
        let bytes = table.bytes();
        Step::FlatFinished.reached();
        let left = self.current.swap(table.next_owned(), Ordering::AcqRel); // O5
        debug_assert!(std::ptr::eq(left, table), "the table that is left is the current one");
        self.counts.add(Count::Outgrown, 1);
        // SAFETY: made by `Box::into_raw`; only `current` and a table before it, which is gone or retired earlier, led
        // to it, and whoever is in either has a guard. Its contents are atomics and may be dropped by any thread.
        unsafe { guard.retire_with(left.cast(), bytes, free::<K, V>) };
    }

    /// Puts a value in and returns the one it replaces, if a look at its home is enough for that and nothing moves.
    #[inline(always)]
    pub(super) fn try_insert(&self, position: u64, key: &K, value: &V, guard: &Guard<'_>) -> Option<Option<V>> {
        let table = self.current(guard);
        if table.next().is_some() {
            return None;
        }
        let replaced = table.home(position).try_put(key, value)?;
        if replaced.is_none() {
            self.counts.add(Count::Inserted, 1);
        }
        Some(replaced)
    }

    /// Takes an entry out and returns its value, if a look at its home is enough for that, nothing moves, and the table
    /// need not be measured.
    #[inline(always)]
    pub(super) fn try_remove(&self, position: u64, key: &K, guard: &Guard<'_>) -> Option<Option<V>> {
        let table = self.current(guard);
        let index = table.index(position);
        if table.next().is_some() || index.is_multiple_of(MEASURED_EVERY) {
            return None;
        }
        let taken = table.bucket(index).try_take(key)?;
        if taken.is_some() {
            self.counts.add(Count::Removed, 1);
        }
        Some(taken)
    }

    /// Puts a value in and returns the one it replaces.
    #[inline(always)]
    pub(super) fn insert(
        &self,
        position: u64,
        key: &K,
        value: &V,
        position_of: &impl Fn(&K) -> u64,
        guard: &Guard<'_>,
    ) -> Option<V> {
        self.help_in_passing(position_of, guard);
        let (table, mut locked) = self.lock(position, guard);
        if let Some(place) = locked.find(key) {
            let replaced = locked.value(&place);
            locked.set_value(&place, value);
            return Some(replaced);
        }
        self.put_new(table, locked, position, key, value, position_of, guard);
        None
    }

    /// Puts a value in unless the key is there; else returns the value that is.
    #[inline(always)]
    pub(super) fn insert_absent(
        &self,
        position: u64,
        key: &K,
        value: &V,
        position_of: &impl Fn(&K) -> u64,
        guard: &Guard<'_>,
    ) -> Option<V> {
        self.help_in_passing(position_of, guard);
        let (table, locked) = self.lock(position, guard);
        if let Some(place) = locked.find(key) {
            return Some(locked.value(&place));
        }
        self.put_new(table, locked, position, key, value, position_of, guard);
        None
    }

    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "the tail of two operations, not a face")]
    fn put_new(
        &self,
        table: &Table<K, V>,
        mut locked: Locked<'_, K, V>,
        position: u64,
        key: &K,
        value: &V,
        position_of: &impl Fn(&K) -> u64,
        guard: &Guard<'_>,
    ) {
        let crowded = locked.put(key, value, &table.spares);
        drop(locked);
        self.counts.add(Count::Inserted, 1);
        if crowded {
            self.consider_growth(table, position, position_of, guard);
        }
    }

    /// Puts `new` in the place of `seen`: `Ok` if that was still the value, else the value there is.
    pub(super) fn exchange(
        &self,
        position: u64,
        key: &K,
        new: &V,
        is_seen: impl FnOnce(&V) -> bool,
        guard: &Guard<'_>,
    ) -> Result<V, Option<V>> {
        let (_, mut locked) = self.lock(position, guard);
        let Some(place) = locked.find(key) else { return Err(None) };
        let value = locked.value(&place);
        if !is_seen(&value) {
            return Err(Some(value));
        }
        locked.set_value(&place, new);
        Ok(value)
    }

    /// Takes an entry out, if `accept` takes its value, and returns that.
    #[inline(always)]
    pub(super) fn remove(
        &self,
        position: u64,
        key: &K,
        accept: impl Fn(&V) -> bool,
        position_of: &impl Fn(&K) -> u64,
        guard: &Guard<'_>,
    ) -> Option<V> {
        self.help_in_passing(position_of, guard);
        let (table, mut locked) = self.lock(position, guard);
        let place = locked.find(key)?;
        let value = locked.value(&place);
        if !accept(&value) {
            return None;
        }
        locked.take(place, &table.spares);
        drop(locked);
        self.counts.add(Count::Removed, 1);
        if table.index(position).is_multiple_of(MEASURED_EVERY) {
            self.consider_shrinking(table, position_of, guard);
        }
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        // Removals first: an entry whose removal is counted was put in before that.
        let removed = self.counts.sum(Count::Removed);
        self.counts.sum(Count::Inserted).saturating_sub(removed) as usize
    }

    #[cold]
    fn consider_growth(&self, table: &Table<K, V>, position: u64, position_of: &impl Fn(&K) -> u64, guard: &Guard<'_>) {
        let crowded = table.spares.is_past_quota(table.home(position).address());
        // Spares alone do not tell: keys that all collide take many, and would in any table.
        if crowded && self.len() > table.load() * 9 / 10 {
            self.resize(table, Resize::Grow(2), position_of, guard);
        }
    }

    #[cold]
    fn consider_shrinking(&self, table: &Table<K, V>, position_of: &impl Fn(&K) -> u64, guard: &Guard<'_>) {
        if self.leaving.load(Ordering::Relaxed) {
            return;
        }
        if self.len() * SHRINKS_AT < table.load() && self.may_halve(table) {
            self.resize(table, Resize::Halve, position_of, guard);
        }
    }

    /// Whether half of a table is a table, no smaller than what the map was made for, with room for all entries.
    fn may_halve(&self, table: &Table<K, V>) -> bool {
        let half = table.buckets() / 2;
        table.buckets().is_multiple_of(2) && half >= self.buckets_min && self.len() <= table.load() / 2
    }

    /// Begins to move to a table of another size; whether or not it was this call that began. A table that is not the
    /// current one is still being filled and has to wait, its chains getting longer meanwhile. Panics, with nothing
    /// begun, when the next table would be larger than the address space.
    pub(super) fn resize(
        &self,
        table: &Table<K, V>,
        resize: Resize,
        position_of: &impl Fn(&K) -> u64,
        guard: &Guard<'_>,
    ) {
        if !std::ptr::eq(table, self.current(guard)) {
            self.help_in_passing(position_of, guard);
        } else if let Some(beginning) = table.growth.begin() {
            let buckets = match resize {
                Resize::Grow(factor) => table.buckets().saturating_mul(factor),
                Resize::Halve => table.buckets() / 2,
            };
            table.set_next(Box::new(Table::following(buckets)));
            beginning.end();
            self.help(table, position_of, guard);
        }
    }

    /// Moves until nothing is left to move, and waits for those who are still at it.
    fn settle(&self, position_of: &impl Fn(&K) -> u64) {
        let mut backoff = Backoff::new();
        loop {
            let guard = reclaim::pin();
            let table = self.current(&guard);
            if table.next().is_none() {
                break;
            }
            if !self.help(table, position_of, &guard) {
                drop(guard);
                backoff.snooze();
            }
        }
        reclaim::process_domain().flush();
    }

    pub(super) fn reserve(&self, additional: usize, position_of: &impl Fn(&K) -> u64) {
        let wanted = Table::<K, V>::buckets_for(self.len().saturating_add(additional));
        self.settle(position_of);
        let guard = reclaim::pin();
        let table = self.current(&guard);
        if table.buckets() < wanted {
            let factor = wanted.div_ceil(table.buckets()).next_power_of_two();
            self.resize(table, Resize::Grow(factor), position_of, &guard);
            drop(guard);
            self.settle(position_of);
        }
    }

    /// Halves the table while its half has room for all entries.
    pub(super) fn shrink(&self, position_of: &impl Fn(&K) -> u64) {
        let mut backoff = Backoff::new();
        loop {
            self.settle(position_of);
            let guard = reclaim::pin();
            let table = self.current(&guard);
            if !self.may_halve(table) {
                return;
            }
            self.resize(table, Resize::Halve, position_of, &guard);
            if table.next().is_none() {
                // Another is making the next table.
                drop(guard);
                backoff.snooze();
            }
        }
    }

    /// Takes out every entry, chain by chain, and says how many that were.
    pub(super) fn clear(&self, position_of: &impl Fn(&K) -> u64) -> usize {
        let guard = reclaim::pin();
        let taken = self.clear_between(self.current(&guard), 0, u64::MAX);
        drop(guard);
        self.shrink(position_of);
        taken
    }

    fn clear_between(&self, table: &Table<K, V>, first: u64, last: u64) -> usize {
        let mut taken = 0;
        for index in table.index(first)..=table.index(last) {
            let bucket = table.bucket(index);
            let mut locked = bucket.try_lock().unwrap_or_else(|| bucket.lock_after_wait());
            if locked.is_moved() {
                drop(locked);
                let (from, to) = table.positions(index);
                taken += self.clear_between(table.successor(), from.max(first), to.min(last));
            } else {
                let here = locked.clear(&table.spares);
                drop(locked);
                self.counts.add(Count::Removed, here as u64);
                taken += here;
            }
        }
        taken
    }

    /// Shows the entries between two positions, chain by chain, each chain as it was at one moment, with nothing
    /// locked.
    pub(super) fn walk(
        &self,
        first: u64,
        last: u64,
        position_of: &impl Fn(&K) -> u64,
        visit: &mut impl FnMut(u64, &K, &V),
    ) {
        let guard = reclaim::pin();
        self.walk_in(self.current(&guard), first, last, position_of, visit);
    }

    fn walk_in(
        &self,
        table: &Table<K, V>,
        first: u64,
        last: u64,
        position_of: &impl Fn(&K) -> u64,
        visit: &mut impl FnMut(u64, &K, &V),
    ) {
        let mut entries = Vec::new();
        for index in table.index(first)..=table.index(last) {
            if !self.collect(table.bucket(index), &mut entries) {
                let (from, to) = table.positions(index);
                self.walk_in(table.successor(), from.max(first), to.min(last), position_of, visit);
                continue;
            }
            for (key, value) in &entries {
                let position = position_of(key);
                if (first..=last).contains(&position) {
                    visit(position, key, value);
                }
            }
        }
    }

    /// One state of a chain; false when it has moved.
    fn collect(&self, bucket: Bucket<'_, K, V>, entries: &mut Vec<(K, V)>) -> bool {
        let mut backoff = Backoff::new();
        for _ in 0..TRIES {
            match bucket.try_collect(entries) {
                Look::Found(_) => return true,
                Look::Moved => return false,
                Look::Absent | Look::Torn => {
                    self.counts.add(Count::Retried, 1);
                    backoff.spin();
                }
            }
        }
        self.counts.add(Count::FellBack, 1);
        bucket.lock_after_wait().collect(entries)
    }
}

impl<K: Plain, V: Plain> Table<K, V> {
    /// The table that a forward mark points to.
    pub(super) fn successor(&self) -> &Table<K, V> {
        self.next().expect("marks are set after the next table is known (O5)")
    }
}

impl<K, V> Drop for Tables<K, V> {
    fn drop(&mut self) {
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: nobody else is in the map; both tables were made by `Box::into_raw`, and neither is retired, which
        // only those are that were current and are no more.
        unsafe {
            let next = (*current).next_owned();
            drop(Box::from_raw(current));
            if !next.is_null() {
                drop(Box::from_raw(next));
            }
        }
    }
}
