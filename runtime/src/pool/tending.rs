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
