//! Threads for parallel regions, on rayon, whose number can be turned while regions run.
//!
//! | call | choose it when |
//! |---|---|
//! | [`Scheduler::parallel_for`] | the same is to be done for each index of a range |
//! | [`Scheduler::parallel_reduce`] | and the results come down to one |
//! | [`Scheduler::invoke`] | two things can be done side by side |
//! | [`Scheduler::run`] | you have a region of your own: anything that rayon can do |
//!
//! A region takes the crew of threads in force when it begins and keeps it to its end. Turning `threads` builds a
//! new crew, puts it in force and lets go of the old one, whose threads finish every job they were given and then
//! end. So no job is lost or run twice, and for a while two crews may be at work.
//!
//! Locks: one around the crew in force, held to copy or swap a pointer. rayon is never called under it.
//! A panic in a region comes out of the call that began it; one in a job that nobody waits for (`rayon::spawn`) is
//! swallowed. Both are counted.

mod crew;

use crate::observe::families::{
    SCHEDULER_PANICS, SCHEDULER_REGION_TIME, SCHEDULER_REGIONS, SCHEDULER_SWAPS, SCHEDULER_THREADS,
    SCHEDULER_THREADS_LIVE,
};
use crate::observe::{
    Address, AddressError, Cells, Kind, Knob, Moment, Reading, Resource, Spread, TurnError, Turned, Value, now,
};
use crate::sync::{Arc, RwLock, thread};
use crew::{Crew, Tally};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// How long a turn waits for the old threads to end before it reports that they are still at it.
const SETTLE_MAX: Duration = Duration::from_millis(100);
/// Threads at most, for each core of the machine.
const THREADS_PER_CORE_MAX: usize = 8;

const REGIONS: usize = 0;
const SWAPS: usize = 1;

/// Why there is no scheduler.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchedulerError {
    /// The name breaks the rule for names.
    #[error(transparent)]
    Name(#[from] AddressError),
    /// Fewer or more threads than a scheduler takes here.
    #[error("a scheduler takes 1 to {max} threads here, 8 for each core, not {threads}")]
    Threads {
        /// The number asked for.
        threads: usize,
        /// The greatest number.
        max: usize,
    },
    /// The system gave no threads.
    #[error("could not start {threads} threads: {why}; ask for fewer or raise the limit on processes (ulimit -u)")]
    Start {
        /// The number asked for.
        threads: usize,
        /// What rayon said.
        why: String,
    },
}

/// Threads for parallel regions, at the address `scheduler.NAME`.
///
/// ```
/// use rheostat_runtime::scheduler::Scheduler;
///
/// let scheduler = Scheduler::new("main", 2).unwrap();
/// let sum = scheduler.parallel_reduce(0..1000, || 0, |sum, index| sum + index, |a, b| a + b);
/// assert_eq!(sum, 499_500);
/// ```
pub struct Scheduler {
    address: Address,
    crew: RwLock<Arc<Crew>>,
    tally: Arc<Tally>,
    cells: Cells<2>,
    region_time: Spread,
}

/// A region under way; counts it when it ends, also by a panic.
struct Region<'a> {
    scheduler: &'a Scheduler,
    start: Moment,
    finished: bool,
}

impl Drop for Region<'_> {
    fn drop(&mut self) {
        let Scheduler { tally, cells, region_time, .. } = self.scheduler;
        region_time.record(self.start.elapsed().as_nanos() as u64);
        cells.add(REGIONS, 1);
        if !self.finished {
            tally.count_panic();
        }
    }
}

impl Scheduler {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// When `name` breaks the rule for names, `threads` is not between 1 and [`threads_max`](Self::threads_max), or
    /// the system gives none.
    pub fn new(name: &str, threads: usize) -> Result<Arc<Self>, SchedulerError> {
        let address = Address::new(Kind::Scheduler, name)?;
        let max = Self::threads_max();
        if threads == 0 || threads > max {
            return Err(SchedulerError::Threads { threads, max });
        }
        let tally = Arc::new(Tally::default());
        let crew = Crew::new(name, threads, &tally)
            .map_err(|error| SchedulerError::Start { threads, why: error.to_string() })?;
        let crew = RwLock::new(Arc::new(crew));
        Ok(Arc::new(Self { address, crew, tally, cells: Cells::new(), region_time: Spread::new() }))
    }

    /// The greatest number of threads: eight for each core.
    pub fn threads_max() -> usize {
        THREADS_PER_CORE_MAX * thread::available_parallelism().map_or(1, usize::from)
    }

    /// Threads in force: those that a region begun now would run on.
    pub fn threads(&self) -> usize {
        self.crew().threads()
    }

    fn crew(&self) -> Arc<Crew> {
        self.crew.read().clone()
    }

    /// Runs `body` on the scheduler's threads and returns what it returns. Inside, rayon's own calls (`join`,
    /// `scope`, parallel iterators) run on the same threads; a region within a region is one of its own.
    ///
    /// # Panics
    /// With `body`'s panic, if it has one.
    pub fn run<R: Send>(&self, body: impl FnOnce() -> R + Send) -> R {
        let crew = self.crew();
        let mut region = Region { scheduler: self, start: now(), finished: false };
        let result = crew.pool().install(body);
        region.finished = true;
        result
    }

    /// Calls `body` once for each index of `range`, in any order, at least `grain` of them in a row.
    ///
    /// # Panics
    /// With `body`'s panic, if it has one; some indices may then not be visited.
    pub fn parallel_for(&self, range: Range<usize>, grain: usize, body: impl Fn(usize) + Send + Sync) {
        self.run(|| range.into_par_iter().with_min_len(grain.max(1)).for_each(body));
    }

    /// Folds each stretch of `range` from `identity` on, and combines the results in order, so `combine` need not
    /// commute. It must be associative, and `identity` its neutral element.
    ///
    /// # Panics
    /// With the panic of a closure, if one has one.
    pub fn parallel_reduce<T: Send>(
        &self,
        range: Range<usize>,
        identity: impl Fn() -> T + Send + Sync,
        fold: impl Fn(T, usize) -> T + Send + Sync,
        combine: impl Fn(T, T) -> T + Send + Sync,
    ) -> T {
        self.run(|| range.into_par_iter().fold(&identity, fold).reduce(&identity, combine))
    }

    /// Runs both, side by side if a thread is free.
    ///
    /// # Panics
    /// With the panic of either, once both have ended.
    pub fn invoke<A: Send, B: Send>(&self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        self.run(|| rayon::join(a, b))
    }

    fn threads_knob(&self) -> Knob {
        Knob {
            name: "threads",
            value: Value::Integer(self.threads() as i64),
            range: crate::observe::Range::Integer { min: 1, max: Self::threads_max() as i64 },
            unit: "threads",
            help: "Threads that parallel regions run on; regions under way keep theirs.",
        }
    }

    /// Puts a crew of `threads` in force.
    fn set_threads(&self, threads: usize) -> Result<Turned, TurnError> {
        let start = now();
        let to = Value::Integer(threads as i64);
        let before = self.threads();
        if before == threads {
            return Ok(Turned { from: to.clone(), to, took: start.elapsed(), settled: true, reason: None });
        }
        let failed = |error: rayon::ThreadPoolBuildError| TurnError::Failed {
            knob: "threads".into(),
            why: format!("{threads} threads could not be started ({error}); the {before} in force go on"),
        };
        let new = Arc::new(Crew::new(self.address.name(), threads, &self.tally).map_err(failed)?);
        let old = std::mem::replace(&mut *self.crew.write(), new);
        self.cells.add(SWAPS, 1);
        let (from, farewell) = (Value::Integer(old.threads() as i64), old.farewell());
        // Its threads end once the last region that holds it has.
        drop(old);
        let settled = farewell.wait(SETTLE_MAX);
        Ok(Turned { from, to, took: start.elapsed(), settled, reason: None })
    }
}

impl Resource for Scheduler {
    fn settled(&self, _knob: &str, _to: &Value) -> Option<Result<(), TurnError>> {
        // Crews that were let go of end with the last region that holds them.
        (self.tally.alive() <= self.threads() as u64).then_some(Ok(()))
    }

    fn address(&self) -> &Address {
        &self.address
    }

    fn read(&self, reading: &mut Reading) {
        reading.level(&SCHEDULER_THREADS, &[], self.threads() as f64);
        reading.level(&SCHEDULER_THREADS_LIVE, &[], self.tally.alive() as f64);
        reading.total(&SCHEDULER_REGIONS, &[], self.cells.sum(REGIONS));
        reading.spread(&SCHEDULER_REGION_TIME, &[], self.region_time.snapshot());
        reading.total(&SCHEDULER_PANICS, &[], self.tally.panics());
        reading.total(&SCHEDULER_SWAPS, &[], self.cells.sum(SWAPS));
    }

    fn knobs(&self) -> Vec<Knob> {
        vec![self.threads_knob()]
    }

    fn turn(&self, knob: &str, to: &Value) -> Result<Turned, TurnError> {
        let known = self.threads_knob();
        if knob != known.name {
            let (resource, has) = (self.address.to_string(), vec![known.name.to_owned()]);
            return Err(TurnError::UnknownKnob { resource, knob: knob.to_owned(), has });
        }
        known.range.check(knob, to)?;
        match *to {
            Value::Integer(threads) => self.set_threads(threads as usize),
            Value::Choice(_) => unreachable!("the range of `threads` takes whole numbers only"),
        }
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.to_string();
        f.debug_struct("Scheduler").field("address", &address).field("threads", &self.threads()).finish_non_exhaustive()
    }
}
