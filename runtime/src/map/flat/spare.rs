//! Buckets that are linked behind full ones, from a few pools of each table.
//!
//! I5  A spare belongs to its table for good: it is handed from chain to chain, and freed with the table. A reader
//!     that was overtaken may so look into a spare of somebody else's chain, but never into freed memory.
//! Writers: a pool under its lock. No user code runs meanwhile.

use super::line::{Line, Lines};
use crate::sync::atomic::{Ordering, fence};
use crate::sync::{CachePadded, Mutex};
use std::ptr::NonNull;

/// Pools of a table; a chain draws on the one that its home's address picks.
const POOLS: usize = if crate::sync::MODELLED { 1 } else { 8 };
/// One bucket in so many is a spare at the load where a table grows (2.1 entries to a bucket of three, Poisson).
const SHARE: usize = 6;

/// The spare buckets of a table.
pub(super) struct Spares {
    pools: [CachePadded<Mutex<Pool>>; POOLS],
    lines_each: usize,
}

struct Pool {
    runs: Vec<Lines>,
    /// Spares of the last run that were never used.
    fresh: usize,
    run_length: usize,
    given_back: Vec<NonNull<Line>>,
    in_use: usize,
    /// More in use than this and the table is looked at for growth.
    quota: usize,
}

// SAFETY: the pointers of a pool lead into runs that the pool owns; lines are atomics.
unsafe impl Send for Pool {}

impl Spares {
    /// For a table of so many buckets, of so many lines each.
    pub(super) fn new(buckets: usize, lines_each: usize) -> Self {
        let share = buckets.div_ceil(SHARE * POOLS);
        let pool = || Pool {
            runs: Vec::new(),
            fresh: 0,
            run_length: share.div_ceil(4),
            given_back: Vec::new(),
            in_use: 0,
            quota: share,
        };
        Self { pools: std::array::from_fn(|_| CachePadded::new(Mutex::new(pool()))), lines_each }
    }

    fn pool(&self, home: NonNull<Line>) -> &Mutex<Pool> {
        // Homes that are walked in order stay with one pool for a while; neighbours in time are spread.
        &self.pools[(home.as_ptr() as usize >> 12) % POOLS]
    }

    /// An empty spare for the chain of `home`, and whether the pool that serves that is past its quota.
    pub(super) fn take(&self, home: NonNull<Line>) -> (NonNull<Line>, bool) {
        let mut pool = self.pool(home).lock();
        pool.in_use += 1;
        let crowded = pool.in_use > pool.quota;
        let spare = match pool.given_back.pop() {
            Some(spare) => spare,
            None => pool.carve(self.lines_each),
        };
        drop(pool);
        if cfg!(not(rt_mutant = "flat_spare_fence")) {
            fence(Ordering::Release); // O4
        }
        (spare, crowded)
    }

    /// Takes back what was the chain of `home`'s. The caller's window is open still: nobody who reads it now gets away
    /// with that.
    pub(super) fn give(&self, home: NonNull<Line>, spare: NonNull<Line>) {
        let mut pool = self.pool(home).lock();
        pool.in_use -= 1;
        pool.given_back.push(spare);
    }

    /// Whether the pool that serves `home` is past its quota. Asking doubles the quota, so that keys that all collide
    /// do not have the table measured again and again.
    pub(super) fn is_past_quota(&self, home: NonNull<Line>) -> bool {
        let mut pool = self.pool(home).lock();
        let past = pool.in_use > pool.quota;
        if past {
            pool.quota = pool.in_use * 2;
        }
        past
    }

    pub(super) fn in_use(&self) -> usize {
        self.pools.iter().map(|pool| pool.lock().in_use).sum()
    }

    /// Memory set aside, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let lines = |pool: &CachePadded<Mutex<Pool>>| pool.lock().runs.iter().map(Lines::count).sum::<usize>();
        self.pools.iter().map(lines).sum::<usize>() * size_of::<Line>()
    }
}

impl Pool {
    fn carve(&mut self, lines_each: usize) -> NonNull<Line> {
        if self.fresh == 0 {
            self.runs.push(Lines::zeroed(self.run_length * lines_each));
            self.fresh = self.run_length;
        }
        self.fresh -= 1;
        let run = self.runs.last().expect("pushed above, or at an earlier call");
        // SAFETY: `fresh` counts whole spares within the run.
        unsafe { run.first().add(self.fresh * lines_each) }
    }
}
