//! Sleeping until somebody says that something changed, without missing it.
//!
//! A waiter announces itself, looks at its condition once more, and only then sleeps; a notifier changes the
//! condition first and looks for announced waiters after. One of the two must see the other.
//!
//! [`Parking`] is the ledger of sleepers; where the announcement is made is up to its user, through [`Flag`]:
//! [`Event`] keeps a word of its own and pays a fence; the ring has its flags in the words that it changes by
//! compare-exchange anyway, and pays nothing.
//!
//! Writers: everything in the ledger under its lock; the flag is raised and lowered under that lock only.
//! I1  `waiting + wakes` is the number of threads' entries of this `round`, asleep or not. A wake of all begins a new
//!     round: entries of older ones are free to go, and count no more.
//! I2  The flag is up exactly while `waiting > 0` or `tasks` has anybody, at every release of the lock.
//! I3  A single wake is anonymous: who waits, or gets there, takes it, and so it is for waiters of which each can do
//!     what another can. A wake of all is not: one that came later, or went round, must not take it from one who was
//!     there. Hence the rounds.
//! I4  A wake is followed by a signal, and nobody falls asleep while there is one to take: so it is never left with
//!     only sleepers. One that drops its entry without waiting takes nothing while others wait.
//! I5  A task's wake has an address: who wakes it takes it out of `tasks`. So a task that announced itself and is not
//!     in there was woken, and one that goes away then hands the wake on.
//! O1  (`Event`) waiter: flag up, unlock, SeqCst fence, reads the condition. Notifier: writes the condition,
//!     SeqCst fence, reads the flag. Waiter's fence first in the order of fences: the notifier sees the flag
//!     and wakes. Notifier's first: the waiter sees the condition and does not sleep.
//! O2  Two waiters, one flag: the second did not raise it, but got the lock after the one that did, so O1 holds
//!     for its fence as well. A notifier that saw the flag and got the lock before a waiter entered is seen by
//!     that waiter through the lock.
//! Progress: blocking. A notifier that finds the flag down takes no lock. Wakers are foreign code: they are cloned,
//! called and dropped with the ledger unlocked.

use std::collections::BTreeMap;
use std::fmt;
use std::mem::{self, ManuallyDrop};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::atomic::{AtomicBool, Ordering, fence};
use super::{Condvar, Mutex};

/// Where waiters announce themselves. Both calls come with the ledger locked.
pub trait Flag {
    /// Somebody waits now, and nobody did.
    fn raise(&self);
    /// Nobody waits any more.
    fn lower(&self);
}

/// The ledger of sleepers behind a blocking end.
#[derive(Default)]
pub struct Parking {
    ledger: Mutex<Ledger>,
    woken: Condvar,
}

#[derive(Default)]
struct Ledger {
    waiting: usize,
    wakes: usize,
    round: u64,
    /// Tasks that wait, by the order in which they came.
    tasks: BTreeMap<u64, Waker>,
    tasks_so_far: u64,
    /// Threads and tasks that wait at the same time are woken in turn.
    task_is_next: bool,
}

impl Ledger {
    fn is_awaited(&self) -> bool {
        self.waiting > 0 || !self.tasks.is_empty()
    }

    /// Before somebody is added.
    fn raise_if_first(&self, flag: &impl Flag) {
        if !self.is_awaited() {
            flag.raise();
        }
    }

    /// After somebody was taken out.
    fn lower_if_last(&self, flag: &impl Flag) {
        if !self.is_awaited() {
            flag.lower();
        }
    }

    /// The task that the next wake is for; none if it is for a thread.
    fn next_task(&mut self) -> Option<Waker> {
        if self.waiting > 0 && !self.tasks.is_empty() {
            self.task_is_next = !self.task_is_next;
            if !self.task_is_next {
                return None;
            }
        }
        Some(self.tasks.pop_first()?.1)
    }
}

impl Parking {
    /// With nobody in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Announces the calling thread. Look at the condition once more after this, then wait on the entry or drop it.
    pub fn enter<F: Flag>(&self, flag: F) -> Entry<'_, F> {
        let mut ledger = self.ledger.lock();
        ledger.raise_if_first(&flag);
        ledger.waiting += 1;
        let round = ledger.round;
        drop(ledger);
        Entry { parking: self, flag, round }
    }

    /// A place for a task, not announced yet.
    pub fn place<F: Flag>(&self, flag: F) -> Place<'_, F> {
        Place { parking: self, flag, task: None }
    }

    /// Wakes one of those that wait, if any does.
    pub fn wake_one(&self, flag: &impl Flag) {
        let mut ledger = self.ledger.lock();
        if !ledger.is_awaited() {
            return;
        }
        let task = ledger.next_task();
        if task.is_none() {
            ledger.waiting -= 1;
            ledger.wakes += 1;
        }
        ledger.lower_if_last(flag);
        // Signalled after the unlock so that the woken does not run into the lock. One that got there by itself in
        // between has taken the wake, and the signal finds nobody, or somebody that looks and sleeps again.
        drop(ledger);
        match task {
            Some(task) => task.wake(),
            None => _ = self.woken.notify_one(),
        }
    }

    /// Wakes everybody that waits.
    pub fn wake_all(&self, flag: &impl Flag) {
        let mut ledger = self.ledger.lock();
        let awaited = ledger.is_awaited();
        let tasks = mem::take(&mut ledger.tasks);
        let threads = mem::take(&mut ledger.waiting) + mem::take(&mut ledger.wakes);
        if awaited {
            flag.lower();
        }
        if threads > 0 {
            ledger.round += 1;
        }
        drop(ledger);
        if threads > 0 {
            self.woken.notify_all();
        }
        tasks.into_values().for_each(Waker::wake);
    }
}

impl fmt::Debug for Parking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parking").finish_non_exhaustive()
    }
}

/// An announced waiter. Dropping it takes the announcement back.
#[derive(Debug)]
#[must_use = "an announcement that is dropped at once waits for nothing"]
pub struct Entry<'a, F: Flag> {
    parking: &'a Parking,
    flag: F,
    round: u64,
}

impl<F: Flag> Entry<'_, F> {
    /// Sleeps until woken, or until `deadline`. True when woken: such a caller that then does not take what it was
    /// woken for must wake another in its place. Models have no clock and never time out.
    pub fn wait(self, deadline: Option<Instant>) -> bool {
        let entry = ManuallyDrop::new(self); // The wait itself takes the announcement back.
        let mut ledger = entry.parking.ledger.lock();
        loop {
            if ledger.round != entry.round {
                return true;
            }
            if ledger.wakes > 0 {
                ledger.wakes -= 1;
                return true;
            }
            match deadline {
                None => entry.parking.woken.wait(&mut ledger),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let timed_out = left.is_zero() || entry.parking.woken.wait_for(&mut ledger, left).timed_out();
                    // A wake that came with the last tick is not lost: it is taken before time counts.
                    if timed_out && ledger.wakes == 0 && ledger.round == entry.round {
                        ledger.waiting -= 1;
                        ledger.lower_if_last(&entry.flag);
                        return false;
                    }
                }
            }
        }
    }
}

impl<F: Flag> Drop for Entry<'_, F> {
    fn drop(&mut self) {
        let mut ledger = self.parking.ledger.lock();
        if ledger.round != self.round {
            // Free to go already.
        } else if ledger.waiting > 0 {
            ledger.waiting -= 1; // I4
            ledger.lower_if_last(&self.flag);
        } else {
            ledger.wakes -= 1;
        }
    }
}

/// A task's place among those that wait. Dropping it takes the announcement back; a wake that it was given and did
/// not [`retract`](Self::retract) goes on to another.
#[derive(Debug)]
pub struct Place<'a, F: Flag> {
    parking: &'a Parking,
    flag: F,
    /// Announced under that number; woken since if it is not in the ledger (I5).
    task: Option<u64>,
}

impl<F: Flag> Place<'_, F> {
    /// Announces the task, again if it was woken since the last time; the waker given last is the one that is called.
    /// Look at the condition once more after this.
    pub fn announce(&mut self, waker: &Waker) {
        let waker = waker.clone();
        let mut ledger = self.parking.ledger.lock();
        let known = self.task.and_then(|task| ledger.tasks.get_mut(&task));
        let outdated = match known {
            Some(known) => Some(mem::replace(known, waker)),
            None => {
                ledger.raise_if_first(&self.flag);
                let task = ledger.tasks_so_far;
                ledger.tasks_so_far += 1;
                self.task = Some(task);
                ledger.tasks.insert(task, waker)
            }
        };
        drop(ledger);
        drop(outdated);
    }

    /// True if the task has announced itself and that was not taken back.
    pub fn is_announced(&self) -> bool {
        self.task.is_some()
    }

    /// Takes the announcement back. True when it was woken: a caller that does not take what it was woken for must wake
    /// another in its place.
    pub fn retract(&mut self) -> bool {
        let Some(task) = self.task.take() else { return false };
        let mut ledger = self.parking.ledger.lock();
        let waker = ledger.tasks.remove(&task);
        if waker.is_some() {
            ledger.lower_if_last(&self.flag);
        }
        drop(ledger);
        waker.is_none()
    }
}

impl<F: Flag> Drop for Place<'_, F> {
    fn drop(&mut self) {
        if self.retract() && !cfg!(rt_mutant = "ring_cancelled_keeps_wake") {
            self.parking.wake_one(&self.flag); // I5
        }
    }
}

impl Flag for &AtomicBool {
    fn raise(&self) {
        self.store(true, Ordering::Relaxed); // O1: the waiter's fence follows.
    }
    fn lower(&self) {
        self.store(false, Ordering::Relaxed);
    }
}

/// A condition's bell: waiters sleep on it, whoever changes the condition rings it.
///
/// Ringing costs a fence and a load while nobody waits. Both ends take the condition to be something that is
/// read and written through atomics or locks; the event orders them as the module header says.
///
/// ```
/// use rheostat_runtime::sync::{Event, atomic::{AtomicBool, Ordering}};
/// use std::thread;
///
/// let (ready, event) = (AtomicBool::new(false), Event::new());
/// thread::scope(|scope| {
///     scope.spawn(|| {
///         ready.store(true, Ordering::Relaxed);
///         event.notify_all();
///     });
///     assert!(event.wait_until(None, || ready.load(Ordering::Relaxed)));
/// });
/// ```
#[derive(Default)]
pub struct Event {
    announced: AtomicBool,
    parking: Parking,
}

impl Event {
    /// With nobody waiting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Announces the caller as a waiter. Look at the condition after this, then wait on the entry or drop it.
    pub fn prepare(&self) -> Entry<'_, impl Flag> {
        let entry = self.parking.enter(&self.announced);
        fence(Ordering::SeqCst); // O1, the waiter's.
        entry
    }

    /// Wakes one waiter, if there is any: for waiters of which each can do what another can. A woken one that does not
    /// act on what it was woken for must notify another in its place.
    #[inline]
    pub fn notify_one(&self) {
        if self.is_awaited() {
            self.parking.wake_one(&&self.announced);
        }
    }

    /// Wakes everybody who waits.
    #[inline]
    pub fn notify_all(&self) {
        if self.is_awaited() {
            self.parking.wake_all(&&self.announced);
        }
    }

    #[inline]
    fn is_awaited(&self) -> bool {
        fence(Ordering::SeqCst); // O1, the notifier's.
        self.announced.load(Ordering::Relaxed)
    }

    /// Sleeps until `condition` holds, or for `timeout`; says whether it held at the end. `condition` may be called any
    /// number of times. For conditions that stay true for all: pair it with [`notify_all`](Self::notify_all).
    pub fn wait_until(&self, timeout: Option<Duration>, condition: impl Fn() -> bool) -> bool {
        if condition() {
            return true;
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let entry = self.prepare();
            if condition() {
                return true;
            }
            if !entry.wait(deadline) {
                return condition();
            }
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").finish_non_exhaustive()
    }
}
