//! A set of workers that can be grown and shrunk while they run: who has to start, who has to leave, and never two
//! workers in one slot or a slot below the target that everybody believes somebody else looks after.
//!
//! No thread is made in here. A controller sets the target and gets a [`Seat`] for every worker that it has to start; a
//! worker asks its seat once per batch whether to leave.
//!
//! Writers: `target` any controller; `slots[i]` from `VACANT` to `RUNNING` by CAS, whoever wins owns the seat; from
//! `RUNNING` to `VACANT` by the owner of the seat alone.
//! I1  A seat exists exactly for each `RUNNING` slot: two workers in one slot would be two owners of one CAS.
//! I2  A slot below the target is `RUNNING`, or a controller or the worker that left it is about to make it so,
//!     unless a seat was dropped: its thread could not be started, or panicked. `running` shows that, and
//!     [`ElasticSet::refill`] mends it.
//! O1  Controller: stores `target`, SeqCst fence, claims vacant slots below it. Leaver: stores `VACANT`, SeqCst fence,
//!     reads `target`. Controller's fence first: the leaver reads that target, or a later one, and claims the slot
//!     back if it is wanted. Leaver's first: the controller's CAS finds the slot vacant, unless it is taken again.
//!     Both can see each other: then the CAS has one winner, and the other goes without.
//! O2  The CAS to `RUNNING` is Acquire, the store of `VACANT` Release: what a worker did in a slot happens before what
//!     the next one does there.
//! O3  `should_leave` is Relaxed: being one batch late is allowed, and the decision is taken in `leave`.
//! Two controllers at once: the last store of `target` in its modification order rules; the fence and the claims of
//! the one that made it come after. The other's surplus workers leave by themselves.
//! Progress: lock-free but for the wake-up of those who wait for the set to settle.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::atomic::{AtomicU8, AtomicUsize, fence};
use crate::sync::{Arc, CachePadded, Event};

const VACANT: u8 = 0;
const RUNNING: u8 = 1;

/// More workers than the set has slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{requested} workers are too many: choose 0 to {max}")]
pub struct TargetError {
    /// What was asked for.
    pub requested: usize,
    /// How many slots there are.
    pub max: usize,
}

/// Handle to the slot table of one elastic set; clones share it.
///
/// ```
/// use rheostat_runtime::pipeline::elastic::ElasticSet;
///
/// let set = ElasticSet::new(8);
/// let mut threads = Vec::new();
/// for mut seat in set.set_target(2)? {
///     threads.push(std::thread::spawn(move || {
///         loop {
///             std::thread::yield_now(); // one batch of work
///             if seat.should_leave() {
///                 let Some(wanted) = seat.leave() else { break };
///                 seat = wanted;
///             }
///         }
///     }));
/// }
/// assert_eq!(set.running(), 2);
/// set.set_target(0)?;
/// assert!(set.wait_settled(None));
/// # threads.into_iter().for_each(|thread| thread.join().unwrap());
/// # Ok::<(), rheostat_runtime::pipeline::elastic::TargetError>(())
/// ```
#[derive(Clone)]
pub struct ElasticSet {
    table: Arc<Table>,
}

struct Table {
    /// Read by every worker once per batch, written when somebody turns the knob.
    target: CachePadded<AtomicUsize>,
    slots: Box<[AtomicU8]>,
    settling: Event,
}

impl ElasticSet {
    /// A set without workers and a target of 0, which can grow to `slots_max`.
    pub fn new(slots_max: usize) -> Self {
        Self {
            table: Arc::new(Table {
                target: CachePadded::new(AtomicUsize::new(0)),
                slots: (0..slots_max).map(|_| AtomicU8::new(VACANT)).collect(),
                settling: Event::new(),
            }),
        }
    }

    /// Sets how many workers there shall be. The caller starts one for each seat in the answer, and drops the seats for
    /// which it cannot. Surplus workers leave after the batch they are in.
    ///
    /// # Errors
    /// `target` is more than [`slots_max`](Self::slots_max).
    pub fn set_target(&self, target: usize) -> Result<Vec<Seat>, TargetError> {
        if target > self.slots_max() {
            return Err(TargetError { requested: target, max: self.slots_max() });
        }
        self.table.target.store(target, Relaxed);
        fence(SeqCst); // O1, the controller's.
        Ok(self.claim_below(target))
    }

    /// Claims the slots below the present target that have lost their worker: by a panic, or because its thread
    /// could not be started.
    pub fn refill(&self) -> Vec<Seat> {
        self.claim_below(self.target())
    }

    /// How many workers there shall be.
    pub fn target(&self) -> usize {
        self.table.target.load(Relaxed)
    }

    /// How many slots are taken, by workers or by seats on their way to one. While the set settles this is not a cut at
    /// one moment.
    pub fn running(&self) -> usize {
        self.table.slots.iter().filter(|slot| slot.load(Acquire) == RUNNING).count()
    }

    /// The most workers that the set can have.
    pub fn slots_max(&self) -> usize {
        self.table.slots.len()
    }

    /// Waits until [`running`](Self::running) equals [`target`](Self::target), for at most `timeout`; says whether it
    /// does.
    pub fn wait_settled(&self, timeout: Option<Duration>) -> bool {
        self.wait_settled_or(timeout, || false)
    }

    /// As [`wait_settled`](Self::wait_settled), but gives up when `over` holds. Whoever makes it true calls
    /// [`look_again`](Self::look_again) after that.
    pub fn wait_settled_or(&self, timeout: Option<Duration>, over: impl Fn() -> bool) -> bool {
        // What was seen once counts: a worker that has begun to leave and finds that it is wanted after all gives its
        // slot back for a moment.
        let was_settled = Cell::new(false);
        let look = || {
            was_settled.set(self.running() == self.target());
            was_settled.get()
        };
        self.table.settling.wait_until(timeout, || look() || over());
        was_settled.get() || look()
    }

    /// Makes all who wait for the set to settle look again.
    pub fn look_again(&self) {
        self.table.settling.notify_all();
    }

    fn claim_below(&self, target: usize) -> Vec<Seat> {
        let seats: Vec<Seat> = (0..target)
            .filter(|&index| self.table.claim(index))
            .map(|index| Seat { set: self.clone(), index, taken: true })
            .collect();
        // Claims settle the set as well as leavers do, and so does a target that comes down to what runs.
        self.table.settling.notify_all();
        seats
    }
}

impl Table {
    fn claim(&self, index: usize) -> bool {
        self.slots[index].compare_exchange(VACANT, RUNNING, Acquire, Relaxed).is_ok() // O2
    }
}

impl fmt::Debug for ElasticSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElasticSet")
            .field("target", &self.target())
            .field("running", &self.running())
            .field("slots_max", &self.slots_max())
            .finish()
    }
}

/// A worker's place in an [`ElasticSet`]. Dropping it, also by a panic, gives the slot back.
#[must_use = "a dropped seat leaves its slot without a worker"]
pub struct Seat {
    set: ElasticSet,
    index: usize,
    taken: bool,
}

impl Seat {
    /// The slot's number: below the target, it is wanted.
    pub fn index(&self) -> usize {
        self.index
    }

    /// True when the set has shrunk below this seat. One load; ask once per batch, and while waiting for one.
    #[inline]
    pub fn should_leave(&self) -> bool {
        self.index >= self.set.table.target.load(Relaxed) // O3
    }

    /// Gives the slot up, unless the set has grown again in the meantime: then the seat comes back, and its worker
    /// stays as if it had never asked.
    pub fn leave(mut self) -> Option<Self> {
        let table = &self.set.table;
        table.slots[self.index].store(VACANT, Release); // O2
        fence(SeqCst); // O1, the leaver's.
        // When the claim fails a controller was first: its new worker has the slot.
        self.taken = self.index < table.target.load(Relaxed) && table.claim(self.index);
        // Also for a seat that comes back: who looked in between has seen one worker too few, and waits.
        table.settling.notify_all();
        if self.taken { Some(self) } else { None }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.taken {
            self.set.table.slots[self.index].store(VACANT, Release); // O2
            self.set.table.settling.notify_all();
        }
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("index", &self.index).field("taken", &self.taken).finish_non_exhaustive()
    }
}
