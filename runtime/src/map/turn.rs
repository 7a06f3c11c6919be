//! Turning a map to another backend: starting the hand-over, watching it, ending it early.

use super::backend::{Backend, Table};
use super::face::Map;
use super::handover::{Course, Phase};
use super::structure::Under;
use super::switch::{Grace, Stripes};
use super::viewing;
use crate::observe::Snapshot;
use crate::reclaim;
use crate::sync::{Arc, Backoff, Mutex, thread};
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

/// Grace periods of the process's own domain.
pub(super) struct Process;

// SAFETY: it is what the domain promises of its guards.
unsafe impl Grace for Process {
    type Guard<'a> = reclaim::Guard<'static>;

    #[inline(always)]
    fn pin(&self) -> reclaim::Guard<'static> {
        reclaim::pin()
    }

    fn pin_after_all(&self) -> reclaim::Guard<'static> {
        viewing::refuse();
        reclaim::pin()
    }

    #[inline(always)]
    fn pin_at_once(&self) -> Option<reclaim::Guard<'static>> {
        reclaim::pin_at_once()
    }

    #[inline(always)]
    fn leave_with<R>(guard: reclaim::Guard<'static>, result: R) -> R {
        guard.leave_with(result)
    }

    fn synchronize(&self) {
        reclaim::synchronize().expect("the thread that hands over holds no guard");
    }

    #[inline(always)]
    fn under<'a>(guard: &'a reclaim::Guard<'static>) -> Under<'a> {
        // SAFETY: a guard of `pin` or `pin_at_once` is of the process's own domain.
        unsafe { Under::process_guard(guard) }
    }
}

/// The hand-overs of a map. Ends the one that is under way when the map goes.
#[derive(Default)]
pub(super) struct Turning {
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    /// The last that began.
    last: Option<Handover>,
    /// All before it. They are over, and so is all waiting for their stripes: a grace period came between.
    before: Handovers,
}

/// What all hand-overs of a map came to, the one under way included. Nothing in it ever falls.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Handovers {
    /// Those that ended on the backend asked for.
    pub done: u64,
    /// Those that ended where they began.
    pub undone: u64,
    /// Keys moved by migrators, on ways back too.
    pub moved: u64,
    /// Moves that panicked.
    pub failures: u64,
    /// Writes and moves that had to wait for another of their stripe.
    pub lock_waits: u64,
    /// How long those waited.
    pub stalls: Snapshot,
}

impl Handovers {
    fn add(&mut self, handover: &Handover) {
        match handover.phase() {
            Phase::Done => self.done += 1,
            Phase::Undone => self.undone += 1,
            Phase::Opening | Phase::Moving | Phase::GoingBack => {}
        }
        self.moved += handover.course.moves();
        self.failures += handover.failures();
        self.lock_waits += handover.lock_waits();
        self.stalls.merge(&handover.stalls());
    }
}

impl Drop for Turning {
    fn drop(&mut self) {
        if let Some(handover) = &self.ledger.lock().last {
            handover.course.abandon();
        }
    }
}

/// A hand-over, under way or over. Dropping this changes nothing.
#[derive(Clone)]
pub struct Handover {
    from: Backend,
    to: Backend,
    course: Arc<Course>,
    stripes: Arc<Stripes>,
}

impl Handover {
    /// The backend it began on.
    pub fn from(&self) -> Backend {
        self.from
    }

    /// The backend asked for.
    pub fn to(&self) -> Backend {
        self.to
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.course.phase()
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.course.is_over()
    }

    /// Keys the migrator has moved, and how many there were when it began.
    pub fn keys(&self) -> (usize, usize) {
        self.course.keys()
    }

    /// Moves that panicked in a key's or value's own code; they are tried again.
    pub fn failures(&self) -> u64 {
        self.course.failures()
    }

    /// Writes, and moves, that had to wait for another of their stripe.
    pub fn lock_waits(&self) -> u64 {
        self.stripes.waits()
    }

    /// How long those waited.
    pub fn stalls(&self) -> Snapshot {
        self.stripes.stalls()
    }

    /// Asks for the way back; too late once every key has moved.
    pub fn cancel(&self) {
        self.course.cancel();
    }

    /// Whether the way back was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.course.is_cancelled()
    }

    /// Sleeps until it is over, or `limit` has passed; true when it is over. [`Phase::Done`] or [`Phase::Undone`] says how.
    ///
    /// # Panics
    /// Inside a closure of [`Map::get_with`], or under any guard of [`reclaim`]: the hand-over waits for that to end.
    pub fn wait(&self, limit: Option<Duration>) -> bool {
        assert!(
            !reclaim::process_domain().is_pinned(),
            "a hand-over was waited for inside a closure of Map::get_with, or under a guard, whose end it waits for"
        );
        let start = crate::observe::now();
        let mut backoff = Backoff::new();
        while !self.course.is_over() {
            if limit.is_some_and(|limit| start.elapsed() >= limit) {
                return false;
            }
            if backoff.has_yielded(8) {
                thread::sleep(Duration::from_micros(200));
            }
            backoff.snooze();
        }
        true
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, course, .. } = self;
        f.debug_struct("Handover").field("from", from).field("to", to).field("course", course).finish_non_exhaustive()
    }
}

/// Why a hand-over did not begin. The map runs on as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandoverRefused {
    /// Another is under way.
    #[error("the map is being handed over from {from} to {to}: wait for that, or cancel it")]
    UnderWay {
        /// Where it comes from.
        from: Backend,
        /// Where it goes.
        to: Backend,
    },
    /// For a time both backends hold entries, and that is more than may be used.
    #[error(
        "{entries} entries on {to} need about {needed} bytes beside those in use, and {budget} may be used: raise that (turn_bytes_max of a hosted map) or remove entries"
    )]
    Budget {
        /// The backend asked for.
        to: Backend,
        /// Entries in the map.
        entries: usize,
        /// What the new table would need.
        needed: usize,
        /// What it may need.
        budget: usize,
    },
    /// The system gave no thread to move the keys.
    #[error("no thread could be started to move the keys: {0}")]
    Thread(String),
}

impl<K, V> Map<K, V>
where
    K: Hash + Ord + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Begins to move the map to another backend, in a thread of its own, and returns at once. Reads and writes go on;
    /// every promise of the map holds meanwhile. For its length the map takes memory for both tables. The thread rests for as
    /// long as it works, so as to leave the cores to those who use the map, and is the first to write to the memory that they will
    /// need: on pages of 2 MiB that can take milliseconds. The latter serves them under an allocator with one stock of pages for
    /// all threads (mimalloc, the binaries' own); under one with stocks by thread (glibc's, jemalloc's) a put that allocates may
    /// still come to a fresh page. Measured with a user on each core: operations keep some two thirds, or more, of the slower of two
    /// rates, that on the backend it leaves and that on the one it goes to.
    ///
    /// # Errors
    /// When one is under way already.
    ///
    /// ```
    /// use rheostat_runtime::map::{Backend, Map};
    ///
    /// let map = Map::<String, u64>::new(Backend::Sharded);
    /// map.insert("apples".into(), 3);
    /// let handover = map.turn(Backend::Papaya).unwrap();
    /// map.update("apples", |n| n + 1);
    /// handover.wait(None);
    /// assert_eq!((map.backend(), map.get("apples")), (Backend::Papaya, Some(4)));
    /// ```
    pub fn turn(&self, to: Backend) -> Result<Handover, HandoverRefused> {
        self.turn_within(to, usize::MAX)
    }

    /// [`turn`](Self::turn), unless the new table would need more than `budget` bytes. What keys and values keep on the
    /// heap is not counted: strings are copied, and what is shared (`Arc`) is not.
    ///
    /// # Errors
    /// When one is under way already, or the budget is too small.
    pub fn turn_within(&self, to: Backend, budget: usize) -> Result<Handover, HandoverRefused> {
        let entries = self.enter().len();
        let needed = entries.saturating_mul(to.entry_bytes(size_of::<(K, V)>()));
        if needed > budget {
            return Err(HandoverRefused::Budget { to, entries, needed, budget });
        }
        let mut ledger = self.turning.ledger.lock();
        if let Some(before) = ledger.last.as_ref().filter(|before| !before.is_over()) {
            return Err(HandoverRefused::UnderWay { from: before.from, to: before.to });
        }
        let handover = Handover { from: self.backend(), to, course: Arc::default(), stripes: Arc::new(Stripes::new()) };
        let (switch, hasher, record) = (self.switch.clone(), self.hasher.clone(), self.record.clone());
        let buckets = self.buckets;
        let ours = handover.clone();
        let run = move || {
            let make = |entries| Table::new(to, &hasher, &record, entries, buckets);
            switch.hand_over_through(make, &ours.course, &ours.stripes);
        };
        let thread = thread::Builder::new().name("map-handover".to_owned()).spawn(run);
        thread.map_err(|error| HandoverRefused::Thread(error.to_string()))?;
        if let Some(before) = ledger.last.replace(handover.clone()) {
            ledger.before.add(&before);
        }
        Ok(handover)
    }

    /// The last hand-over that began, under way or over.
    pub fn handover(&self) -> Option<Handover> {
        self.turning.ledger.lock().last.clone()
    }

    /// What all hand-overs so far came to.
    pub fn handovers(&self) -> Handovers {
        let ledger = self.turning.ledger.lock();
        let mut all = ledger.before.clone();
        ledger.last.iter().for_each(|last| all.add(last));
        all
    }

    /// Times an operation had to begin again because a hand-over changed where to look.
    pub fn retries(&self) -> u64 {
        self.switch.retries()
    }
}
