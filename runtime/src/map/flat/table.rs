//! One table of a map: its home buckets, their spares, and how far its entries have moved on to the next table.

use super::bucket::Bucket;
use super::growth::Growth;
use super::line::{Lines, empty, prefetch};
use super::spare::Spares;
use super::words::Plain;
use crate::sync::atomic::{AtomicPtr, Ordering};
use std::marker::PhantomData;
use std::ops::Range;

pub(super) struct Table<K, V> {
    homes: Lines,
    buckets: usize,
    /// Where this table's entries go or have gone. Written once, by the thread that began it (I3).
    next: AtomicPtr<Table<K, V>>,
    pub(super) spares: Spares,
    pub(super) growth: Growth,
    _entries: PhantomData<fn() -> (K, V)>,
}

impl<K: Plain, V: Plain> Table<K, V> {
    pub(super) fn new(buckets: usize) -> Self {
        Self::on(Lines::zeroed, buckets)
    }

    /// A table that another's entries are to move to. Who moves them empties each home first.
    pub(super) fn following(buckets: usize) -> Self {
        Self::on(Lines::unwritten, buckets)
    }

    fn on(memory: impl FnOnce(usize) -> Lines, buckets: usize) -> Self {
        let lines = Bucket::<K, V>::LINES;
        Self {
            homes: memory(buckets.checked_mul(lines).expect("a table larger than the address space")),
            buckets,
            next: AtomicPtr::default(),
            spares: Spares::new(buckets, lines),
            growth: Growth::default(),
            _entries: PhantomData,
        }
    }

    /// How many home buckets a table for so many entries has.
    pub(super) fn buckets_for(entries: usize) -> usize {
        (entries / Bucket::<K, V>::LOAD).max(1)
    }

    pub(super) fn buckets(&self) -> usize {
        self.buckets
    }

    /// How many entries it is made for.
    pub(super) fn load(&self) -> usize {
        self.buckets * Bucket::<K, V>::LOAD
    }

    /// The home of a position: positions are spread over the buckets in order, so bucket `b` of a table becomes the
    /// buckets `b * f .. (b + 1) * f` of one that is `f` times as large.
    #[inline(always)]
    pub(super) fn index(&self, position: u64) -> usize {
        ((u128::from(position) * self.buckets as u128) >> 64) as usize
    }

    /// The first and the last position of a bucket.
    pub(super) fn positions(&self, index: usize) -> (u64, u64) {
        let first = |index: usize| ((index as u128) << 64).div_ceil(self.buckets as u128);
        (first(index) as u64, (first(index + 1) - 1) as u64)
    }

    #[inline(always)]
    pub(super) fn bucket(&self, index: usize) -> Bucket<'_, K, V> {
        debug_assert!(index < self.buckets);
        // SAFETY: the homes are `buckets` times `LINES` lines, and live as long as the table.
        unsafe { Bucket::at(self.homes.first().add(index * Bucket::<K, V>::LINES)) }
    }

    /// Empties homes, whatever memory they were made of.
    ///
    /// # Safety
    /// Nobody else can reach them yet.
    pub(super) unsafe fn empty_homes(&self, indices: Range<usize>) {
        debug_assert!(indices.end <= self.buckets);
        if cfg!(rt_mutant = "flat_homes_unwritten") {
            return;
        }
        let lines = Bucket::<K, V>::LINES;
        for line in indices.start * lines..indices.end * lines {
            // SAFETY: a line of the homes; by the caller.
            unsafe { empty(self.homes.first().add(line)) };
        }
    }

    /// Asks for the first few lines of homes that are about to be written.
    #[inline(always)]
    pub(super) fn prefetch_homes(&self, indices: Range<usize>) {
        const MOST: usize = 8;
        let lines = Bucket::<K, V>::LINES;
        for line in (indices.start * lines..indices.end * lines).take(MOST) {
            prefetch(self.homes.first().as_ptr().wrapping_add(line));
        }
    }

    #[inline(always)]
    pub(super) fn home(&self, position: u64) -> Bucket<'_, K, V> {
        self.bucket(self.index(position))
    }

    /// The table that this one's entries move to, once that has begun.
    #[inline(always)]
    pub(super) fn next(&self) -> Option<&Table<K, V>> {
        // SAFETY: a table is freed after its predecessor (I4).
        unsafe { self.next.load(Ordering::Acquire).as_ref() } // O5
    }

    /// Publishes where the entries go. Once in a table's life (I3).
    pub(super) fn set_next(&self, next: Box<Table<K, V>>) {
        self.next.store(Box::into_raw(next), Ordering::Release); // O5
    }

    /// Has the system back the homes with memory now: see [`Lines::populate`].
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub(super) fn populate(&mut self) {
        self.homes.populate();
    }

    /// Gives the pages of the homes back to the system, some at a time. Nobody uses the table any more.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub(super) fn give_back_slices(&self) {
        self.homes.give_back_slices();
    }

    /// Memory of the table, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.homes.count() * size_of::<super::line::Line>() + self.spares.bytes()
    }
}

impl<K, V> Table<K, V> {
    /// The next table, as the pointer that owns it.
    pub(super) fn next_owned(&self) -> *mut Table<K, V> {
        self.next.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_a_bucket_are_those_that_lead_to_it() {
        for buckets in [1, 2, 3, 7, 8, 1000] {
            let table = Table::<u64, u64>::new(buckets);
            let mut expected = 0;
            for index in 0..buckets {
                let (first, last) = table.positions(index);
                assert_eq!((first, table.index(first), table.index(last)), (expected, index, index));
                expected = last.wrapping_add(1);
            }
            assert_eq!(expected, 0, "the last bucket ends where positions end");
        }
    }

    #[test]
    fn an_entry_of_two_words_takes_a_third_of_a_line() {
        assert_eq!((Bucket::<u64, u64>::LINES, Bucket::<u64, u64>::SLOTS), (1, 3));
        assert_eq!((Bucket::<u64, ()>::LINES, Bucket::<u64, ()>::SLOTS), (1, 6));
        assert_eq!((Bucket::<u64, [u64; 2]>::LINES, Bucket::<u64, [u64; 2]>::SLOTS), (2, 4));
        assert_eq!((Bucket::<[u64; 4], [u64; 4]>::LINES, Bucket::<[u64; 4], [u64; 4]>::SLOTS), (4, 3));
    }
}
