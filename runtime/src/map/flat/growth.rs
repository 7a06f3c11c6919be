//! Moving a table's entries to the next one, a stripe of buckets at a time, by the writers that meet it.
//!
//! Writers: `claimed` and `moved` by everybody who helps, by fetch_add; `left_over` under its lock; `begun` by the one
//! who begins, who takes it back if there is no making the next table: then another may begin.
//! G1  A stripe is moved by the one who claimed it, or, if a panic of the user's `Hash` ended that, by one who takes
//!     it over from `left_over`. So the buckets of the next table that a stripe maps to have one writer until their
//!     forward marks are set, and are reached by nobody else (I2).
//! G2  `moved` counts stripes of which every bucket has its forward mark. Who counts the last one publishes the next
//!     table as the current one.

use super::bucket::{Bucket, Locked, Look};
use super::counts::{Count, Counts};
use super::table::Table;
use super::words::{Plain, are_same};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{CachePadded, Mutex, Step};
use std::mem;
use std::ops::Range;

/// Buckets to a stripe: what one writer moves in passing, some microseconds of work. Even, as a table that shrinks
/// moves pairs.
const STRIPE: usize = if crate::sync::MODELLED { 2 } else { 32 };

/// So many buckets ahead the lines are asked for that entries will go to: a lock waits for stores before it to be done.
const AHEAD: usize = 4;

#[derive(Default)]
pub(super) struct Growth {
    begun: AtomicBool,
    claimed: CachePadded<AtomicUsize>,
    moved: CachePadded<AtomicUsize>,
    left_over: Mutex<Vec<usize>>,
    any_left_over: AtomicBool,
}

impl Growth {
    /// For the one caller who is to make the next table.
    pub(super) fn begin(&self) -> Option<Beginning<'_>> {
        // Not `then_some`: a beginning that is made is dropped.
        (!self.begun.swap(true, Ordering::Relaxed)).then(|| Beginning(self))
    }

    fn claim(&self, stripes: usize) -> Option<usize> {
        if self.claimed.load(Ordering::Relaxed) < stripes {
            let stripe = self.claimed.fetch_add(1, Ordering::Relaxed);
            if stripe < stripes {
                return Some(stripe);
            }
        }
        if !self.any_left_over.load(Ordering::Relaxed) {
            return None;
        }
        let mut left_over = self.left_over.lock();
        let stripe = left_over.pop();
        self.any_left_over.store(!left_over.is_empty(), Ordering::Relaxed);
        stripe
    }

    fn leave_over(&self, stripe: usize) {
        let mut left_over = self.left_over.lock();
        left_over.push(stripe);
        self.any_left_over.store(true, Ordering::Relaxed);
    }

    /// Stripes moved so far.
    pub(super) fn moved(&self) -> usize {
        self.moved.load(Ordering::Relaxed)
    }
}

/// The task of making the next table; another's if a panic ends it.
#[must_use = "dropped, it is given up"]
pub(super) struct Beginning<'g>(&'g Growth);

impl Beginning<'_> {
    /// The next table is known.
    pub(super) fn end(self) {
        mem::forget(self);
    }
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        self.0.begun.store(false, Ordering::Relaxed);
    }
}

/// A claimed stripe; left over for others if a panic ends its move.
struct Claim<'g> {
    growth: &'g Growth,
    stripe: usize,
    done: bool,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.growth.leave_over(self.stripe);
        }
    }
}

/// What a help has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Help {
    /// A stripe was moved, and there are more.
    Helped,
    /// The last stripe was moved: the next table holds everything.
    Finished,
    /// Nothing is left to claim.
    NothingLeft,
}

impl<K: Plain, V: Plain> Table<K, V> {
    pub(super) fn stripes(&self) -> usize {
        self.buckets().div_ceil(STRIPE)
    }

    /// Moves one stripe to `next`. `position` runs user code, and with nothing locked.
    pub(super) fn help(&self, next: &Table<K, V>, position: &impl Fn(&K) -> u64, counts: &Counts) -> Help {
        let Some(stripe) = self.growth.claim(self.stripes()) else { return Help::NothingLeft };
        let mut claim = Claim { growth: &self.growth, stripe, done: false };
        Step::FlatClaimed.reached();
        let buckets = stripe * STRIPE..self.buckets().min((stripe + 1) * STRIPE);
        counts.add(Count::Helped, 1);
        counts.add(Count::MovedBuckets, buckets.len() as u64);
        if next.buckets() < self.buckets() {
            self.merge(buckets, next);
        } else {
            self.spread(buckets, next, position);
        }
        claim.done = true;
        Step::FlatMoved.reached();
        // AcqRel: who counts the last stripe has all others' marks before it when it publishes the next table.
        let moved = self.growth.moved.fetch_add(1, Ordering::AcqRel) + 1;
        if moved == self.stripes() { Help::Finished } else { Help::Helped }
    }

    /// Moves buckets to a larger table.
    fn spread(&self, buckets: Range<usize>, next: &Table<K, V>, position: &impl Fn(&K) -> u64) {
        let run = next.buckets() / self.buckets();
        let mut load = Load { entries: Vec::new(), homes: Vec::new() };
        next.prefetch_homes(buckets.start * run..(buckets.start + AHEAD) * run);
        buckets.clone().for_each(|index| self.bucket(index).prefetch_spare());
        for index in buckets {
            next.prefetch_homes((index + AHEAD) * run..(index + AHEAD + 1) * run);
            let bucket = self.bucket(index);
            let locked = match bucket.try_collect(&mut load.entries) {
                Look::Found(seen) => {
                    load.find_homes(next, position);
                    bucket.try_lock_at(seen)
                }
                Look::Moved => continue,
                Look::Absent | Look::Torn => {
                    load.homes.clear();
                    None
                }
            };
            let Some(mut locked) = locked.or_else(|| load.lock_after_all(bucket, next, position)) else { continue };
            // SAFETY: they are reached through this chain's mark only, which is not set yet (I2), and nobody else fills
            // them meanwhile (G1).
            unsafe { next.empty_homes(index * run..(index + 1) * run) };
            for ((key, value), &home) in load.entries.iter().zip(&load.homes) {
                next.bucket(home).put_unseen(key, value, &next.spares);
            }
            Step::FlatCopied.reached();
            locked.mark_moved();
        }
    }

    /// Moves runs of buckets to one bucket each of a smaller table. All of a run stay locked until all are copied: the
    /// one bucket they go to is reached through any of them (I2).
    fn merge(&self, buckets: Range<usize>, next: &Table<K, V>) {
        let run = self.buckets() / next.buckets();
        let mut entries = Vec::new();
        for first in buckets.step_by(run) {
            let mut locked: Vec<Locked<'_, K, V>> = (first..first + run)
                .map(|index| self.bucket(index).try_lock().unwrap_or_else(|| self.bucket(index).lock_after_wait()))
                .collect();
            if locked[0].is_moved() {
                continue;
            }
            // SAFETY: as in `spread`.
            unsafe { next.empty_homes(first / run..first / run + 1) };
            for bucket in &locked {
                let is_here = bucket.collect(&mut entries);
                debug_assert!(is_here, "all of a run have moved, or none has");
                for (key, value) in &entries {
                    next.bucket(first / run).put_unseen(key, value, &next.spares);
                }
            }
            Step::FlatCopied.reached();
            locked.iter_mut().for_each(Locked::mark_moved);
        }
    }
}

/// The entries of a chain that is about to be moved, and their homes in the next table.
struct Load<K, V> {
    entries: Vec<(K, V)>,
    homes: Vec<usize>,
}

impl<K: Plain, V: Plain> Load<K, V> {
    /// Runs user code.
    #[inline(always)]
    fn find_homes(&mut self, next: &Table<K, V>, position: &impl Fn(&K) -> u64) {
        self.homes.clear();
        self.homes.extend(self.entries.iter().map(|(key, _)| next.index(position(key))));
    }

    /// Locks a chain that others have changed or are changing; `None` if it has moved.
    #[cold]
    fn lock_after_all<'t>(
        &mut self,
        bucket: Bucket<'t, K, V>,
        next: &Table<K, V>,
        position: &impl Fn(&K) -> u64,
    ) -> Option<Locked<'t, K, V>> {
        let mut now = Vec::new();
        loop {
            let locked = bucket.lock_after_wait();
            if !locked.collect(&mut now) {
                return None;
            }
            mem::swap(&mut self.entries, &mut now);
            // While the keys are the same, the homes are; else they are to be found anew.
            let lengths = [now.len(), self.homes.len()];
            if lengths == [self.entries.len(); 2] && self.entries.iter().zip(&now).all(|(a, b)| are_same(&a.0, &b.0)) {
                return Some(locked);
            }
            drop(locked);
            self.find_homes(next, position);
        }
    }
}
