//! Live hand-over: a map moves from one structure to another while it is read and written.
//!
//! The map's [`Switch`] points to a *plan*: an immutable word on where keys are and what an operation has to do. Four
//! plans follow each other, and between any two lies a grace period, so that at any time operations of at most two
//! neighbouring plans are under way:
//!
//! ```text
//! Settled(a) -> Opening(a) -> Moving(a to b) -> Settled(b)
//!                                  |  cancel
//!                                  v
//!                              Halting(a, b) -> Moving(b to a) -> Settled(a)
//! ```
//!
//! Settled: every operation goes to the one table, which the switch keeps a pointer of its own to. Opening: the same, but a write holds the lock of its key's stripe.
//! Moving: a write locks the stripe, looks whether the plan is the same still (if not: unlock, begin again), moves its
//! key if it is in `from` (a copy into `to`, then the removal from `from`), and then applies to `to`. Halting: a write
//! locks and looks again likewise, but applies where the key is, and a new key goes to `from`. A read locks nothing:
//! it looks in `from`, then in `to`; a miss counts only if the plan is the same still, or else it begins again. The
//! migrator walks `from` part by part without the stripes and moves key by key, each under its stripe, until a walk over
//! the part meets nothing. It says how many parts are done, and with the keys of those nobody looks in `from` any more.
//! It rests for as long as it works (`pace`), and is the first to write to the memory that entries will need (`prefault`).
//!
//! Writers: the plan pointer and the settled table by the one who hands over. Tables by any operation, and by the migrator under the stripe.
//! I1  Under its stripe a key is in one table, or in both with equal values (a move that panicked between its steps, or
//!     one being made by the holder). While it is in `from`, that value is current.
//! I2  In Moving, nobody puts a key into `from`: writers of the plan before are gone (for Opening, they are under the
//!     stripe and have looked again; for Halting, see I4) or put into `from` before the swap.
//! I3  A value in `to` is only ever changed, or removed, when the key is not in `from`.
//! I4  Halting writers put new keys into `from`, which is the `to` of the Moving that follows, so that I2 holds for it;
//!     writers of the Moving before move keys the same way as Halting readers look, `from` to `to`.
//! I5  A part of `from` that the migrator has told to be swept has no key and, until the plan after Moving, gets none: a
//!     walk over it met nothing, a walk shows what is there throughout, unless it leaves off, and then it has met something,
//!     and by I2 nothing comes.
//! I6  The settled table is that of the plan in force, or null: nulled before a plan takes the place of Settled, set after
//!     Settled is in place. Who finds it under a guard is an operation of that plan, and who finds null asks the plan.
//!
//! Why no update is lost: a write acts under the stripe (or in Settled, on the only table) in the table that I1 names,
//! by one atomic operation of that table. Unlocked writers of Settled are gone before any key moves: the grace period
//! after Opening has waited for them. In-place changes (a counter's add) are writes in this sense, so that the copy that a
//! move makes under the stripe has all of them. At the end, Settled writers of `to` meet Moving writers that hold a stripe:
//! `from` is empty for good (I2), so these only do the one operation on `to` as well.
//!
//! Why a delete stays dead: it removes the key from the only table that has it, and what could bring it back is a move
//! from a copy in `from`; there is none (I1), and nobody puts one there (I2). No tombstones are needed.
//!
//! Why a read is right. In Settled whatever the table says is so: until the guard goes the plan can be followed by Opening,
//! which moves nothing, and by no other. A hit in `from` is current when found: by I1. A hit in `to` after a miss in `from` is so too: the
//! key was not in `from` at the time of the miss, and by I2 did not come back. A miss in both, the plan unchanged: the key
//! was not in `from` at the first look, so it was in `to` or nowhere; had it been in `to` then and until the second look,
//! that would have found it; so it was nowhere at some time in between. For Halting the same, as it moves no key back:
//! a key removed from `to` and put into `from` in between was nowhere in between. If the plan has changed, keys may
//! have gone where the reader did not look: it begins again. A hit under an old plan needs no second look: it was found in
//! a table that had it, and I1 makes it current. Once most keys have moved, a read looks in `to`, then in `from`, and in `to`
//! once more: a hit in the first look is current by I1 too (equal, if the key is in both), and the other two looks are as
//! above. Where I5 says that `from` has nothing, a look in `to` alone is worth both; the plan is looked at again as ever.
//! O1  The plan is swapped in by AcqRel and loaded by Acquire, which carries the new table. Freed after `synchronize`. The
//!     settled table is stored Release and loaded Acquire likewise. Who loads it late, under a guard taken after the grace
//!     period of Opening began, sees null or what came later: the null was stored before that.
//! O2  The second look's load cannot be early: a reader that missed a moved key has read what the mover's removal wrote,
//!     which the structure publishes by Release and reads by Acquire; the mover had loaded the plan before; so coherence
//!     forbids the reader an older plan.
//! O3  The second look under the stripe: who has the stripe from a writer that followed a newer plan sees that plan or a
//!     later one, by coherence, as the other had loaded it before it unlocked. So under one stripe plans only go forward.
//!
//! O4  How far the sweep is: Release store, Acquire load. The walk that met nothing had read what each mover's removal wrote,
//!     so who skips `from` finds in `to` what was put there before that.
//! Progress: reads are as free as the structures' own (lock-free where those are), but for a second try per change of
//! plan. Writes wait, during a hand-over only, for others of their stripe: each for one key. The one who hands over waits
//! for grace periods, so an operation that sleeps holds it up, never the other operations.
//!
//! Not promised: that `len` is exact meanwhile (a key in motion counts twice); that `Clone` or `Drop` of a key or value may use the
//! map it is in: under a stripe that would wait for itself. A key or value whose `Clone` panics every time
//! cannot be moved: the hand-over goes back, and if that fails too stays between the two, correct, and tries on.

use super::pace::Pace;
use super::prefault::Prefault;
use super::structure::{Structure, hash_at};
use super::switch::{Grace, Plan, Stripes, Swept, Switch, carry};
use crate::reclaim;
use crate::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use crate::sync::{Arc, MODELLED, Step, thread};
use std::cell::Cell;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Longest pause between two tries on the way back, when every move panics.
const REST_MAX: Duration = Duration::from_secs(1);

/// Keys that are gathered before they are moved, where a structure's walk can leave off: enough that the beginning, which
/// is empty by then, is not walked often, and few enough to take little memory and no guard for long.
const GATHERED_MAX: usize = 1 << 16;

/// How far a hand-over is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Waiting for operations that began before it.
    Opening,
    /// Moving keys.
    Moving,
    /// Moving keys back.
    GoingBack,
    /// Over: the map runs on the new table.
    Done,
    /// Over: the map runs on the table it came from.
    Undone,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Phase; 5] = [Phase::Opening, Phase::Moving, Phase::GoingBack, Phase::Done, Phase::Undone];

    /// The phase as it is spelled in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Opening => "opening",
            Phase::Moving => "moving",
            Phase::GoingBack => "going_back",
            Phase::Done => "done",
            Phase::Undone => "undone",
        }
    }
}

/// What the one who hands over and those who watch share.
#[derive(Debug)]
pub struct Course {
    phase: AtomicU8,
    moved: AtomicUsize,
    total: AtomicUsize,
    /// Moves on both ways.
    moves: AtomicU64,
    /// Moves that panicked.
    failures: AtomicU64,
    cancelled: AtomicBool,
    abandoned: AtomicBool,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Opening as u8),
            moved: AtomicUsize::new(0),
            total: AtomicUsize::new(0),
            moves: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
        }
    }
}

impl Course {
    /// How far it is.
    pub fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Acquire))]
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        matches!(self.phase(), Phase::Done | Phase::Undone)
    }

    /// Keys the migrator has moved, and how many there were when it began. Keys that writers move are not among them.
    pub fn keys(&self) -> (usize, usize) {
        (self.moved.load(Relaxed), self.total.load(Relaxed))
    }

    /// Keys the migrator has moved on both ways; never falls.
    pub fn moves(&self) -> u64 {
        self.moves.load(Relaxed)
    }

    /// Moves that panicked; they are tried again.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Asks for the way back. Too late once every key is moved.
    pub fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
    }

    /// Whether that was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    /// Asks for an end as it stands: the map is being dropped.
    pub fn abandon(&self) {
        self.abandoned.store(true, Relaxed);
    }

    /// True at the one move that makes it half of the keys there were.
    fn count_move(&self) -> bool {
        self.moves.fetch_add(1, Relaxed);
        let moved = self.moved.fetch_add(1, Relaxed) + 1;
        moved == self.total.load(Relaxed).div_ceil(2)
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Release);
    }
}

/// How a sweep over `from` ended.
struct Sweep {
    moved: usize,
    failed: usize,
}

impl<K, V, S, G> Switch<K, V, S, G>
where
    K: Hash + Ord + Clone,
    V: Clone,
    S: Structure<K, V>,
    G: Grace,
{
    /// Hands over to the table that `make` makes for so many entries, or goes back when `course` is cancelled. Returns
    /// when it is over. One at a time, says the caller, who holds no guard.
    pub(super) fn hand_over_through(&self, make: impl FnOnce(usize) -> S, course: &Course, stripes: &Arc<Stripes>) {
        let guard = self.pin();
        let source = self.plan(&guard).tables().0.clone();
        drop(guard);
        let entries = source.len();
        course.total.store(entries, Relaxed);
        // Before anything has changed: it takes long, and may panic where there is no room.
        let Ok(target) = catch_unwind(AssertUnwindSafe(|| Arc::new(make(entries)))) else {
            course.failures.fetch_add(1, Relaxed);
            return course.enter(Phase::Undone);
        };
        let stop = || course.is_cancelled() || course.abandoned.load(Relaxed);
        let prefault = Prefault::take(entries * target.entry_heap_bytes(), &stop);
        source.set_leaving(true);
        self.install(Plan::Opening(source.clone(), stripes.clone()));
        course.enter(Phase::Moving);
        let moving = |from: &Arc<S>, to: &Arc<S>, swept: &Arc<Swept>| Plan::Moving {
            from: from.clone(),
            to: to.clone(),
            stripes: stripes.clone(),
            swept: swept.clone(),
        };
        let swept = Arc::default();
        self.install(moving(&source, &target, &swept));
        let moved = drain(&*source, &*target, stripes, &swept, course, Some(&prefault));
        drop(prefault);
        if moved {
            self.install(Plan::Settled(target));
            course.enter(Phase::Done);
        } else if !course.abandoned.load(Relaxed) {
            course.enter(Phase::GoingBack);
            course.moved.store(0, Relaxed);
            course.total.store(target.len(), Relaxed);
            source.set_leaving(false);
            target.set_leaving(true);
            self.install(Plan::Halting { from: source.clone(), to: target.clone(), stripes: stripes.clone() });
            let swept = Arc::default();
            self.install(moving(&target, &source, &swept));
            if drain(&*target, &*source, stripes, &swept, course, None) {
                self.install(Plan::Settled(source));
            }
            course.enter(Phase::Undone);
        } else {
            course.enter(Phase::Undone);
        }
    }

    /// Hands over with stripes of its own, and returns when it is over. One at a time, and the caller holds no guard.
    pub fn hand_over(&self, make: impl FnOnce(usize) -> S, course: &Course) {
        self.hand_over_through(make, course, &Arc::new(Stripes::new()));
    }
}

/// Moves every key of `from`. False when it was told to stop, or when it may stop and nothing moves any more.
///
/// It may stop on the way there, for which there is memory ahead; not on the way back, to where memory has been freed.
fn drain<K, V, S>(from: &S, to: &S, stripes: &Stripes, swept: &Swept, course: &Course, ahead: Option<&Prefault>) -> bool
where
    K: Hash + Ord + Clone,
    V: Clone,
    S: Structure<K, V>,
{
    let may_stop = ahead.is_some();
    let stop = || course.abandoned.load(Relaxed) || may_stop && course.cancelled.load(Relaxed);
    let mut rest = Duration::from_millis(1);
    loop {
        let sweep = sweep(from, to, stripes, swept, course, &stop, ahead);
        if stop() {
            return false;
        }
        match sweep {
            Sweep { failed: 0, .. } => return true,
            Sweep { moved: 0, .. } if may_stop => return false,
            // Nothing but panics, each of which somebody may print: asked again less and less often.
            Sweep { moved: 0, .. } => {
                sleep(rest);
                rest = (2 * rest).min(REST_MAX);
            }
            _ => thread::yield_now(),
        }
    }
}

#[cfg(not(any(rt_loom, rt_shuttle)))]
use thread::sleep;

/// Models have no clock.
#[cfg(any(rt_loom, rt_shuttle))]
fn sleep(_: Duration) {
    thread::yield_now();
}

/// Walks what is not swept of `from`, part by part, and moves what it meets; each part until a walk meets nothing, or a move
/// has failed.
fn sweep<K, V, S>(
    from: &S,
    to: &S,
    stripes: &Stripes,
    swept: &Swept,
    course: &Course,
    stop: &impl Fn() -> bool,
    ahead: Option<&Prefault>,
) -> Sweep
where
    K: Hash + Ord + Clone,
    V: Clone,
    S: Structure<K, V>,
{
    let (met, moved, failed) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let pace = Pace::begin();
    let fail = || {
        failed.set(failed.get() + 1);
        course.failures.fetch_add(1, Relaxed);
    };
    let move_one = |hash: u64, key: &K| {
        met.set(met.get() + 1);
        if stop() {
            return;
        }
        let step = catch_unwind(AssertUnwindSafe(|| {
            // Dropped after the stripe: whose last guard goes may be asked to drop what others have retired, which takes its
            // time and runs code of their own. Models have tables that retire nothing.
            let _guard = (!MODELLED).then(reclaim::pin);
            let _stripe = cfg!(not(rt_mutant = "handover_moves_unlocked")).then(|| stripes.lock(hash));
            carry(from, to, hash, key)
        }));
        match step {
            Ok(true) => {
                moved.set(moved.get() + 1);
                if course.count_move() {
                    swept.tell_most_moved();
                }
                if let Some(ahead) = ahead {
                    ahead.release(course.keys());
                }
            }
            Ok(false) => {} // A writer was here first.
            Err(_) => fail(),
        }
        pace.keep();
    };
    // Outside of moves too keys run code of their own: `Clone`, `Drop`, and `Hash` where a structure asks where one stands.
    let attempt = |work: &mut dyn FnMut()| {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            fail();
        }
    };
    let mut keys = Vec::new();
    for stripe in swept.stripes()..from.stripes() {
        if cfg!(rt_mutant = "handover_swept_too_soon") {
            swept.advance(stripe + 1);
        }
        loop {
            met.set(0);
            let failed_before = failed.get();
            if from.walks_freely() {
                attempt(&mut || from.walk(stripe, |position, key, _| move_one(hash_at(position), key)));
            } else {
                // The walk holds a lock that a writer who holds the key's stripe may wait for, or a guard that must not be held
                // through rests: gather first, move then.
                let mut gather = |position, key: &K, _: &V| keys.push((hash_at(position), key.clone()));
                attempt(&mut || from.walk_some(stripe, GATHERED_MAX, &mut gather));
                attempt(&mut || keys.drain(..).for_each(|(hash, key)| move_one(hash, &key)));
            }
            if stop() {
                return Sweep { moved: moved.get(), failed: failed.get() };
            }
            if met.get() == 0 || failed.get() > failed_before {
                break;
            }
        }
        if failed.get() == 0 {
            Step::MapSwept.reached();
            swept.advance(stripe + 1);
        }
    }
    Sweep { moved: moved.get(), failed: failed.get() }
}
