//! Which level a pool that chooses for itself runs at: counts in, a level and the reason out. No clock, no lock, no
//! pool.
//!
//! At the start by what is known then: cores, and whether the pool is small, that is, whether its limit leaves each
//! core less than a thread there might cache.
//!
//! | cores | small | else |
//! |---|---|---|
//! | 1 | `mutex` | `mutex` |
//! | 2 to 4 | `mutex` | `lock_free` |
//! | 5 to 16 | `lock_free` | `thread_cached` |
//! | more | `thread_cached` | `thread_cached` |
//!
//! `fixed` only where all memory is to be there from the start, and then for good. Never `unlocked`, not even on one
//! core: a hosted pool is anybody's, and a second thread would be refused. One core has `mutex` instead, as a lock is
//! hardly ever found taken there.
//!
//! Then by what is observed. Measured on few cores, `thread_cached` is quicker than `lock_free` and that than `mutex`,
//! alone and among many; what speaks against caches is memory that idles in them. So:
//!
//! - from `mutex` and `lock_free` to `thread_cached` when threads get in each other's way, or one alone is at it all
//!   the time, and caches fit the limit and serve the sizes asked for; to `lock_free` when they get in each other's way
//!   at a lock and caches would not do;
//! - from `thread_cached` to `lock_free` when caches might hold half of the limit, when there is too little to do for
//!   them to save anything, or when they are passed by: blocks are long, freed by other threads, and threads meet at
//!   the depot;
//! - never back to `mutex`, as nothing that is observed speaks for it.

use super::level::Level;
use super::size_class::CLASSES;
use std::time::Duration;

/// Operations of a thread per second from which on it matters what one costs, and below which caches save nothing.
pub(super) const BUSY: f64 = 20_000.0;
const SLOW: f64 = 2_000.0;
/// Operations of a thread per second from which on even one alone is worth a cache.
const HOT: f64 = 1_000_000.0;
/// Operations in a look below which nothing can be told from it.
const FEW: u64 = 1_000;
/// The share of operations that wait for a lock from which on that is too many: who waits may sleep, which costs as
/// much as some hundred operations.
const LOCK_WAITS: f64 = 0.002;
/// The share that lose a compare-exchange: a lost one costs as much as an operation or two.
const CAS_FAILURES: f64 = 0.05;
/// Caches are passed by when this share of frees is remote, this share of operations waits, and fewer blocks than this
/// make a magazine.
const REMOTE: f64 = 0.5;
const DEPOT_WAITS: f64 = 0.05;
const ROUNDS: u64 = 4;

/// What a pool is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// Cores that threads may run on.
    pub cores: usize,
    /// Its limit.
    pub bytes_max: usize,
    /// What a thread may cache of a class.
    pub cache_bytes: usize,
    /// All memory is to be there from the start.
    pub all_at_start: bool,
}

/// What was observed of a pool since the look before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// How long that is.
    pub took: Duration,
    /// Threads with a part in it.
    pub threads: usize,
    /// Blocks handed out.
    pub allocs: u64,
    /// Blocks given back.
    pub frees: u64,
    /// Of those, the ones given back by another thread.
    pub remote_frees: u64,
    /// Locks that were found taken.
    pub lock_waits: u64,
    /// Compare-exchanges that were lost.
    pub cas_failures: u64,
    /// Bytes of the blocks handed out.
    pub bytes: u64,
    /// What one thread may cache of all size classes that were in use.
    pub cacheable: u64,
}

/// A level to turn to, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    pub to: Level,
    pub reason: String,
}

impl Look {
    fn operations(&self) -> u64 {
        self.allocs + self.frees
    }

    pub(super) fn rate(&self) -> f64 {
        self.operations() as f64 / self.took.as_secs_f64().max(1e-9)
    }

    fn rate_of_thread(&self) -> f64 {
        self.rate() / self.threads.max(1) as f64
    }

    /// The share of operations in which threads got in each other's way.
    pub(super) fn trouble(&self) -> f64 {
        share(self.lock_waits + self.cas_failures, self.operations())
    }

    /// What the caches of all threads may hold.
    fn cached_max(&self) -> u64 {
        self.cacheable * self.threads as u64
    }

    fn mean_bytes(&self) -> u64 {
        self.bytes / self.allocs.max(1)
    }

    /// Whether most blocks end elsewhere than they began and too few make a magazine for that to be cheap.
    fn passes_caches_by(&self, terms: &Terms) -> bool {
        let few = self.mean_bytes() * ROUNDS > terms.cache_bytes as u64 / 2;
        few && share(self.remote_frees, self.frees) > REMOTE
    }

    fn told(&self) -> String {
        let threads = if self.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", self.threads) };
        format!("{threads}, {} operations in {:.1} s", count(self.operations()), self.took.as_secs_f64())
    }
}

fn share(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64
}

/// `950`, `12.3 k`, `1.3 M`.
pub(super) fn count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{:.1} k", n as f64 / 1e3),
        _ => format!("{:.1} M", n as f64 / 1e6),
    }
}

fn percent(share: f64) -> String {
    if share < 0.1 { format!("{:.1} %", share * 100.0) } else { format!("{:.0} %", share * 100.0) }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

impl Terms {
    /// The level to start at.
    pub fn start(&self) -> Decision {
        let Self { cores, bytes_max, cache_bytes, all_at_start } = *self;
        let decide = |to, reason| Decision { to, reason };
        if all_at_start {
            return decide(Level::Fixed, "all of its memory is to be there from the start".to_owned());
        }
        let small = bytes_max / cores.max(1) < CLASSES * cache_bytes;
        let to = match (cores, small) {
            (..=1, _) | (2..=4, true) => Level::Mutex,
            (2..=4, false) | (5..=16, true) => Level::LockFree,
            _ => Level::ThreadCached,
        };
        let cores = if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
        decide(to, format!("{cores} and a limit of {}, before anything was observed", size(bytes_max as u64)))
    }

    /// The level that what was observed speaks for, if it is another than the one in force.
    pub fn judge(&self, level: Level, look: &Look) -> Option<Decision> {
        if look.operations() < FEW {
            return None;
        }
        match level {
            Level::Mutex | Level::LockFree => self.judge_shared(level, look),
            Level::ThreadCached => self.judge_cached(look),
            Level::Fixed | Level::Unlocked => None,
        }
    }

    fn judge_shared(&self, level: Level, look: &Look) -> Option<Decision> {
        let (in_way, too_many, what) = match level {
            Level::Mutex => (look.lock_waits, LOCK_WAITS, "waited for a lock"),
            _ => (look.cas_failures, CAS_FAILURES, "lost a compare-exchange"),
        };
        let rate = look.rate_of_thread();
        let in_way = share(in_way, look.operations());
        let contended = look.threads > 1 && rate >= BUSY && in_way >= too_many;
        let reason = if contended {
            format!("{}, {} of them {what}", look.told(), percent(in_way))
        } else if rate >= HOT {
            format!("{}, so a cache is worth its memory", look.told())
        } else {
            return None;
        };
        let fits = look.cached_max() <= self.bytes_max as u64 / 4;
        if fits && !look.passes_caches_by(self) {
            return Some(Decision { to: Level::ThreadCached, reason });
        }
        let why_not = if fits {
            let remote = percent(share(look.remote_frees, look.frees));
            format!(
                "blocks of {} on average, {remote} of them freed elsewhere, would pass caches by",
                size(look.mean_bytes())
            )
        } else {
            format!("caches could hold {} of {}", size(look.cached_max()), size(self.bytes_max as u64))
        };
        (contended && level == Level::Mutex)
            .then(|| Decision { to: Level::LockFree, reason: format!("{reason}; {why_not}") })
    }

    fn judge_cached(&self, look: &Look) -> Option<Decision> {
        let waits = share(look.lock_waits, look.operations());
        let why = if look.cached_max() > self.bytes_max as u64 / 2 {
            format!("caches could hold {} of {}", size(look.cached_max()), size(self.bytes_max as u64))
        } else if look.rate_of_thread() < SLOW {
            "too few for caches to save anything".to_owned()
        } else if waits >= DEPOT_WAITS && look.passes_caches_by(self) {
            let remote = percent(share(look.remote_frees, look.frees));
            let blocks = format!("blocks of {} on average, {remote} of them freed elsewhere", size(look.mean_bytes()));
            format!("{blocks}, and {} of operations waited at the depot", percent(waits))
        } else {
            return None;
        };
        Some(Decision { to: Level::LockFree, reason: format!("{}; {why}", look.told()) })
    }
}

/// What tests of choices look at.
#[cfg(test)]
pub(super) mod looks {
    use super::*;

    pub const MIB: usize = 1 << 20;
    pub const TERMS: Terms = Terms { cores: 4, bytes_max: 256 * MIB, cache_bytes: 32 << 10, all_at_start: false };

    /// A second of `threads` that did `operations` with blocks of 64 bytes.
    pub fn second(threads: usize, operations: u64) -> Look {
        let (allocs, frees) = (operations / 2, operations / 2);
        let took = Duration::from_secs(1);
        Look { took, threads, allocs, frees, bytes: allocs * 64, cacheable: 8 << 10, ..Look::default() }
    }

    /// The same with so many waits for a lock.
    pub fn waiting(threads: usize, operations: u64, waits: u64) -> Look {
        Look { lock_waits: waits, ..second(threads, operations) }
    }

    /// The same with so many lost compare-exchanges.
    pub fn losing(threads: usize, operations: u64, lost: u64) -> Look {
        Look { cas_failures: lost, ..second(threads, operations) }
    }
}

#[cfg(test)]
mod tests {
    use super::looks::{MIB, TERMS, losing, second, waiting};
    use super::*;
    use Level::{Fixed, LockFree, Mutex, ThreadCached};

    /// Blocks of 64 KiB that one thread takes and another gives back.
    fn passed_on(threads: usize, operations: u64) -> Look {
        let look = second(threads, operations);
        Look { bytes: look.allocs << 16, remote_frees: look.frees, cacheable: 2 << 16, ..look }
    }

    fn to(level: Level, look: &Look) -> Option<Level> {
        TERMS.judge(level, look).map(|decision| decision.to)
    }

    #[test]
    fn it_starts_by_cores_and_by_whether_the_pool_is_small() {
        let level = |cores, bytes_max| Terms { cores, bytes_max, ..TERMS }.start().to;
        let starts = [1, 2, 4, 5, 16, 17].map(|cores| (level(cores, 2 * MIB), level(cores, 256 * MIB)));
        let expected = [
            (Mutex, Mutex),
            (Mutex, LockFree),
            (Mutex, LockFree),
            (LockFree, ThreadCached),
            (LockFree, ThreadCached),
            (ThreadCached, ThreadCached),
        ];
        assert_eq!(starts, expected);
        let fixed = Terms { all_at_start: true, ..TERMS }.start();
        assert_eq!((fixed.to, fixed.reason.contains("from the start")), (Fixed, true));
    }

    #[test]
    fn threads_that_wait_for_a_lock_speak_for_caches_and_the_reason_has_the_numbers() {
        let decision = TERMS.judge(Mutex, &waiting(4, 1_300_000, 156_000)).unwrap();
        assert_eq!(decision.to, ThreadCached);
        assert_eq!(decision.reason, "4 threads, 1.3 M operations in 1.0 s, 12 % of them waited for a lock");
        assert_eq!(to(Mutex, &waiting(4, 1_300_000, 1_300)), None, "a wait in a thousand");
        assert_eq!(to(Mutex, &waiting(1, 500_000, 50_000)), None, "a thread that was preempted, perhaps");
        assert_eq!(to(Mutex, &waiting(4, 40_000, 4_000)), None, "too little is done for it to matter");
        assert_eq!(to(Mutex, &waiting(4, 900, 900)), None, "too little to tell anything");
        // Caches of four threads might hold more than a quarter of such a limit.
        let tight = Terms { bytes_max: MIB, ..TERMS };
        let look = Look { cacheable: 128 << 10, ..waiting(4, 1_300_000, 156_000) };
        let decision = tight.judge(Mutex, &look).unwrap();
        assert_eq!(decision.to, LockFree);
        assert!(decision.reason.ends_with("caches could hold 512 KiB of 1024 KiB"), "{}", decision.reason);
        let decision = TERMS.judge(Mutex, &Look { lock_waits: 9_000, ..passed_on(2, 100_000) }).unwrap();
        assert_eq!(decision.to, LockFree);
        assert!(decision.reason.contains("blocks of 64 KiB on average, 100 % of them freed elsewhere"), "{decision:?}");
    }

    #[test]
    fn lost_compare_exchanges_and_a_thread_that_does_nothing_else_speak_for_caches() {
        assert_eq!(to(LockFree, &losing(4, 1_000_000, 50_000)), Some(ThreadCached));
        assert_eq!(to(LockFree, &losing(4, 1_000_000, 40_000)), None);
        assert_eq!(to(LockFree, &Look { cas_failures: 9_000, ..passed_on(2, 100_000) }), None, "nothing is better");
        assert_eq!(to(LockFree, &second(1, 5_000_000)), Some(ThreadCached));
        assert_eq!(to(Mutex, &second(1, 5_000_000)), Some(ThreadCached));
        assert_eq!(to(Mutex, &second(8, 5_000_000)), None, "not a million each");
    }

    #[test]
    fn caches_that_save_nothing_cost_too_much_or_are_passed_by_are_left() {
        let told =
            |terms: Terms, look: Look| terms.judge(ThreadCached, &look).map(|decision| (decision.to, decision.reason));
        assert_eq!(told(TERMS, second(4, 1_000_000)), None);
        let (level, reason) = told(TERMS, second(4, 7_000)).unwrap();
        assert_eq!(level, LockFree);
        assert_eq!(reason, "4 threads, 7.0 k operations in 1.0 s; too few for caches to save anything");
        let tight = Terms { bytes_max: MIB, ..TERMS };
        assert_eq!(told(tight, Look { cacheable: 128 << 10, ..second(4, 1_000_000) }), None, "half of it, and no more");
        let (level, _) = told(tight, Look { cacheable: 129 << 10, ..second(4, 1_000_000) }).unwrap();
        assert_eq!(level, LockFree);
        assert_eq!(told(TERMS, Look { lock_waits: 4_000, ..passed_on(4, 100_000) }), None);
        let (level, reason) = told(TERMS, Look { lock_waits: 6_000, ..passed_on(4, 100_000) }).unwrap();
        assert_eq!((level, reason.contains("6.0 % of operations waited at the depot")), (LockFree, true), "{reason}");
    }
}
