//! What a pool that chooses its level remembers from one look at itself to the next.
//!
//! Counts only grow, so what happened between two looks is their difference. A pool's own thread would be one more to stop
//! and to wait for: whoever hosts it looks, by `Registry::tend_all`, and a pool that nobody tends stays where it is.

use super::adaptive::{Decision, Look, Terms};
use super::core::{CACHE_BYTES_MAX, Core, magazine_blocks};
use super::hysteresis::Hysteresis;
use super::level::Level;
use super::row::Event;
use super::setup::PoolSetup;
use super::size_class::{CLASSES, SizeClass};
use crate::observe::Moment;
use crate::sync::thread;
use std::time::Duration;

/// Looks that are closer together are one.
const LOOK_MIN: Duration = Duration::from_millis(200);
/// A thread has a part in what happened when it did one in so many of the operations.
const PART: u64 = 100;

/// The memory of one pool.
#[derive(Debug)]
pub(super) struct Tending {
    terms: Terms,
    hysteresis: Hysteresis,
    last: Option<(Moment, Totals)>,
}

/// Everything counted so far.
#[derive(Debug, Clone)]
struct Totals {
    /// Allocations and frees, by row.
    operations: Vec<u64>,
    /// Allocations by class.
    allocs: [u64; CLASSES],
    frees: u64,
    remote_frees: u64,
    lock_waits: u64,
    cas_failures: u64,
}

impl Totals {
    fn of(core: &Core) -> Self {
        let mut totals = Self {
            operations: core.stock.operations(),
            allocs: [0; CLASSES],
            frees: 0,
            remote_frees: 0,
            lock_waits: 0,
            cas_failures: 0,
        };
        for class in 0..CLASSES {
            let counts = core.counts(class);
            totals.allocs[class] = counts.allocs;
            totals.frees += counts.frees;
            totals.remote_frees += counts.of(Event::RemoteFree);
            totals.lock_waits += counts.of(Event::LockWait);
            totals.cas_failures += counts.of(Event::CasFailure);
        }
        totals
    }

    fn since(&self, last: &Self, took: Duration, cache_bytes: usize) -> Look {
        let mut look = Look {
            took,
            frees: self.frees - last.frees,
            remote_frees: self.remote_frees - last.remote_frees,
            lock_waits: self.lock_waits - last.lock_waits,
            cas_failures: self.cas_failures - last.cas_failures,
            ..Look::default()
        };
        for class in SizeClass::all() {
            let allocs = self.allocs[class.index()] - last.allocs[class.index()];
            if allocs > 0 {
                let bytes = class.bytes() as u64;
                look.allocs += allocs;
                look.bytes += allocs * bytes;
                look.cacheable += u64::from(2 * magazine_blocks(class, cache_bytes)) * bytes;
            }
        }
        let parts = || self.operations.iter().zip(&last.operations).map(|(now, then)| now - then);
        let least = (parts().sum::<u64>() / PART).max(1);
        look.threads = parts().filter(|&part| part >= least).count();
        look
    }
}

impl Tending {
    /// For a pool made so.
    pub fn new(setup: &PoolSetup) -> Self {
        let terms = Terms {
            cores: thread::available_parallelism().map_or(1, usize::from),
            bytes_max: setup.limits.bytes_max,
            cache_bytes: setup.cache_bytes.min(CACHE_BYTES_MAX),
            all_at_start: setup.bytes_initial == PoolSetup::ALL,
        };
        Self { terms, hysteresis: Hysteresis::new(terms), last: None }
    }

    /// The level to start at.
    pub fn start(&self) -> Level {
        self.terms.start().to
    }

    /// Begins anew: somebody has said what the level is to be.
    pub fn forget(&mut self) {
        self.hysteresis = Hysteresis::new(self.terms);
        self.last = None;
    }

    /// Looks at the pool, which is at that level; says where it should turn to, if it should.
    pub fn look(&mut self, at: Moment, core: &Core, level: Level) -> Option<Decision> {
        if self.last.as_ref().is_some_and(|(then, _)| at.since(*then) < LOOK_MIN) {
            return None;
        }
        let totals = Totals::of(core);
        let (then, last) = self.last.replace((at, totals.clone()))?;
        self.hysteresis.look(at, level, &totals.since(&last, at.since(then), self.terms.cache_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::hosted::Pool;
    use super::super::{Block, PoolLimits};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const CACHE_BYTES: usize = 32 << 10;

    #[test]
    fn a_look_is_what_was_counted_since_the_look_before() {
        let before = Totals {
            operations: vec![9_000, 70, 0, 5_000, 30],
            allocs: [1_000; CLASSES],
            frees: 8_000,
            remote_frees: 4_000,
            lock_waits: 200,
            cas_failures: 100,
        };
        let mut totals = before.clone();
        // A hundredth of it all makes a part; the third has had one in less, and the fourth none.
        totals.operations = vec![10_000, 1_030, 19, 5_000, 51];
        for (len, allocs) in [(64, 600), (1024, 400)] {
            totals.allocs[SizeClass::of(len).unwrap().index()] += allocs;
        }
        (totals.frees, totals.remote_frees) = (9_000, 4_300);
        (totals.lock_waits, totals.cas_failures) = (211, 107);
        let expected = Look {
            took: SECOND,
            threads: 3,
            allocs: 1_000,
            frees: 1_000,
            remote_frees: 300,
            lock_waits: 11,
            cas_failures: 7,
            bytes: 600 * 64 + 400 * 1024,
            // Two magazines of 64 blocks, as they hold no more, and two of 16 KiB.
            cacheable: 2 * 64 * 64 + (32 << 10),
        };
        assert_eq!(totals.since(&before, SECOND, CACHE_BYTES), expected);
    }

    #[test]
    fn what_threads_do_is_in_the_totals() {
        let pool = Pool::new("looked", Level::LockFree, PoolLimits::default()).unwrap();
        let before = Totals::of(pool.core());
        let mut blocks: Vec<Block> = (0..500).map(|_| pool.alloc(1000).unwrap()).collect();
        let elsewhere = blocks.split_off(200);
        thread::scope(|scope| _ = scope.spawn(|| drop(elsewhere)));
        drop(blocks);
        let look = Totals::of(pool.core()).since(&before, SECOND, CACHE_BYTES);
        let seen = (look.threads, look.allocs, look.frees, look.remote_frees, look.bytes);
        assert_eq!(seen, (2, 500, 500, 300, 500 * 1024), "{look:?}");
    }
}
