//! What the workers of a phase share: a common start and a common stop.

use rheostat_runtime::observe::{Moment, now};
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use rheostat_runtime::sync::{CachePadded, Condvar, Mutex};
use std::time::Duration;

/// The gate of a phase.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Read by every worker before every operation, written once. The state of record is in `state`.
    stopped: CachePadded<AtomicBool>,
    /// Workers that wait on a queue.
    waiting: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    is_stopped: bool,
    /// Workers whose share of the phase is not done.
    at_work: usize,
}

impl Gate {
    /// Announces a worker whose end the phase waits for.
    pub fn expect(&self) {
        self.state.lock().at_work += 1;
    }

    /// Lets everyone start.
    pub fn open(&self) {
        self.state.lock().is_open = true;
        self.changed.notify_all();
    }

    /// Waits for the start and says when it was.
    pub fn pass(&self) -> Moment {
        let mut state = self.state.lock();
        while !state.is_open {
            self.changed.wait(&mut state);
        }
        drop(state);
        now()
    }

    /// Asks everyone to stop.
    pub fn stop(&self) {
        self.state.lock().is_stopped = true;
        // Relaxed: it carries nothing but itself. Workers hand their figures over by ending and being joined.
        self.stopped.store(true, Relaxed);
        self.changed.notify_all();
    }

    /// True when it is time to stop.
    #[inline(always)]
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Sleeps for that long, or until the gate is stopped; says whether it is.
    pub fn sleep(&self, duration: Duration) -> bool {
        let began = now();
        let mut state = self.state.lock();
        while !state.is_stopped {
            let Some(left) = duration.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) else { return false };
            self.changed.wait_for(&mut state, left);
        }
        true
    }

    /// A worker has done its share.
    pub fn finish(&self) {
        self.state.lock().at_work -= 1;
        self.changed.notify_all();
    }

    /// Waits until every announced worker has done its share, for at most `timeout`; says whether they have.
    pub fn wait_finished(&self, timeout: Duration) -> bool {
        let mut state = self.state.lock();
        if state.at_work > 0 {
            self.changed.wait_for(&mut state, timeout);
        }
        state.at_work == 0
    }

    /// Notes that the caller waits on a queue, for as long as the guard lives.
    pub fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Relaxed);
        Waiting(self)
    }

    /// True when everyone whose end the phase waits for waits on a queue, as far as one look tells.
    pub fn is_stuck(&self) -> bool {
        let at_work = self.state.lock().at_work;
        at_work > 0 && self.waiting.load(Relaxed) >= at_work
    }
}

/// A wait on a queue.
pub(super) struct Waiting<'g>(&'g Gate);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

/// Operations a worker has done so far, on a cache line of its own: stored by the worker, read by who shows progress.
#[derive(Debug, Default)]
pub(super) struct Done(CachePadded<AtomicU64>);

impl Done {
    #[inline(always)]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
