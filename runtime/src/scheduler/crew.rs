//! A rayon pool and the news of its threads' ends. A pool's size is fixed, so a turned scheduler changes crews.

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{Arc, Condvar, Mutex};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::time::Duration;

/// What the threads of all crews of a scheduler have come to. A level is the difference of two totals.
#[derive(Debug, Default)]
pub(super) struct Tally {
    started: AtomicU64,
    ended: AtomicU64,
    panics: AtomicU64,
}

impl Tally {
    /// Threads alive, those of retiring crews included.
    pub(super) fn alive(&self) -> u64 {
        let ended = self.ended.load(Relaxed);
        self.started.load(Relaxed).saturating_sub(ended)
    }

    pub(super) fn count_panic(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    pub(super) fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }
}

/// Threads of one crew that have yet to end. Counted down from the size, not up from 0: rayon's `build` returns
/// before its threads have begun.
#[derive(Debug)]
struct Remaining {
    threads: Mutex<usize>,
    fewer: Condvar,
}

pub(super) struct Crew {
    pool: ThreadPool,
    remaining: Arc<Remaining>,
}

/// Waits for the threads of a crew that has been let go of.
#[derive(Debug)]
pub(super) struct Farewell(Arc<Remaining>);

impl Crew {
    pub(super) fn new(name: &str, threads: usize, tally: &Arc<Tally>) -> Result<Self, ThreadPoolBuildError> {
        let remaining = Arc::new(Remaining { threads: Mutex::new(threads), fewer: Condvar::new() });
        let name = name.to_owned();
        let (starting, ending, panicking) = (tally.clone(), tally.clone(), tally.clone());
        let leaving = remaining.clone();
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(move |index| format!("{name}-{index}"))
            .start_handler(move |_| _ = starting.started.fetch_add(1, Relaxed))
            .exit_handler(move |_| {
                ending.ended.fetch_add(1, Relaxed);
                *leaving.threads.lock() -= 1;
                leaving.fewer.notify_all();
            })
            // Without one, a panic in a job that nobody waits for ends the process.
            .panic_handler(move |_| panicking.count_panic())
            .build()?;
        Ok(Self { pool, remaining })
    }

    pub(super) fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    pub(super) fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    pub(super) fn farewell(&self) -> Farewell {
        Farewell(self.remaining.clone())
    }
}

impl Farewell {
    /// Whether all threads ended within `limit`.
    pub(super) fn wait(self, limit: Duration) -> bool {
        let start = crate::observe::now();
        let mut threads = self.0.threads.lock();
        while *threads > 0 {
            let Some(left) = limit.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else { return false };
            self.0.fewer.wait_for(&mut threads, left);
        }
        true
    }
}
