//! The right of one owner to change a word by plain loads and stores, until somebody else has to change it too.
//! Source: biased locking, K. Kawachiya et al. and D. Dice et al.; here the bias guards one word of a ring.
//!
//! While the bias is granted the owner works inside visits: it marks itself inside, looks whether the bias still
//! stands, changes the word, and leaves. Anybody else who must change the word takes the bias away first, waits until
//! the owner is outside, and makes the change before anybody can grant the bias again. From then on the owner changes
//! the word as everybody does, by compare-exchange, until it finds reason to have the bias granted anew.
//!
//! Writers: `granted` under `changes` only; the owner's mark, the owner.
//! I1  The bias is granted by its owner only, so no visit is under way then.
//! I2  Outside a visit the owner stores nothing to the word but by read-modify-write.
//! O1  The owner marks itself, passes the light half of the asymmetric fence and reads `granted`; who revokes clears
//!     `granted`, passes the heavy half and reads the mark. If the mark came first the revoker waits for the visit to
//!     end. If the clearing came first the owner sees it, and changes nothing.
//! O2  The mark is cleared with Release and awaited with Acquire: the revoker sees what the last visit stored.
//! O3  The lock orders what a revoker did to the word before what the owner reads of it before it grants.
//! Progress: a visit is a few instructions and never waits. Revoking waits for a visit, and is a system call.

use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicBool, AtomicU8};
use crate::sync::{Backoff, Mutex, barrier};

/// Whether there is an owner with the right to plain stores.
pub(super) struct Bias {
    /// `GRANTED` beside what the barrier's halves are, or 0.
    granted: AtomicU8,
    changes: Mutex<()>,
}

const GRANTED: u8 = 1;

/// The owner's mark; to be kept beside the word, in a line that the owner writes anyway.
pub(super) struct Mark(AtomicBool);

/// A visit of the owner.
pub(super) struct Visit<'a>(&'a Mark);

impl Mark {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }
}

impl Drop for Visit<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.0.store(false, Release); // O2
    }
}

impl Bias {
    /// Granted to nobody.
    pub(super) fn new() -> Self {
        Self { granted: AtomicU8::new(0), changes: Mutex::new(()) }
    }

    /// The owner's way in, if the bias stands: for as long as the visit lasts nobody else changes the word.
    #[inline(always)]
    pub(super) fn visit<'a>(&self, mark: &'a Mark) -> Option<Visit<'a>> {
        mark.0.store(true, Relaxed);
        let visit = Visit(mark);
        (barrier::light_load(&self.granted) & GRANTED != 0).then_some(visit) // O1
    }

    /// Called by the owner, outside a visit: grants the bias if `may` holds, which is looked at when nobody revokes.
    pub(super) fn grant_if(&self, may: impl FnOnce() -> bool) {
        let changes = self.changes.lock();
        if may() {
            self.granted.store(barrier::settled() | GRANTED, Relaxed);
        }
        drop(changes);
    }

    /// Makes a change to the word that the owner's plain stores would run over.
    pub(super) fn revoke_and<R>(&self, mark: &Mark, change: impl FnOnce() -> R) -> R {
        let changes = self.changes.lock();
        if self.granted.load(Relaxed) != 0 {
            self.granted.store(0, Relaxed);
            barrier::heavy(); // O1
            let mut backoff = Backoff::new();
            while !cfg!(rt_mutant = "ring_revoked_in_a_visit") && mark.0.load(Acquire) {
                backoff.snooze(); // O2
            }
        }
        let changed = change(); // O3
        drop(changes);
        changed
    }
}
