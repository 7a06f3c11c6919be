//! Whether a pool is guarded, and when its quick paths may work again.
//!
//! ```text
//! 63 .. 32        31 .. 0
//! era             blocks out that are guarded and come home by address
//! ```
//! Each turn begins another era; in the odd ones the pool is guarded. A [`Block`](crate::pool::Block) knows that it is
//! guarded and takes the long way home by itself. What came through the allocator interface is an address and a layout,
//! of which the quick path would make the wrong class; so while such blocks are out the pool stays watched (`stock`),
//! also when it is guarded no more. The last of them to come home ends that: the pool *settles*.
//!
//! What the guard knows of a free block (its poison, who freed it) is noted with the era, and means something in that
//! era alone.
//!
//! Writers: the era who holds the stock's control; the count whoever takes or brings home such a block.
//! I1  A pool is watched when an odd era begins and until it ends: it is watched before, and looked away from after.
//! I2  Who counts a block does so in the same step as it learns the era. So an era that ends knows of all that were
//!     handed out guarded in it, and the pool is not looked away from while there are any.
//! I3  A block that was noted in an era and is handed out in it passes by who can see the note: in the era everything
//!     takes the long way (I1), and there the era is looked at once the block is in hand. Who noted it had seen the
//!     era, and put the block where it was found (O1 of `tagged`, or a lock, or a gate).
//! O1  Steps on the word are AcqRel, and it is loaded Acquire: who sees that an era began has heard of the watch, and
//!     who learns that the last block came home of all that was done to it.
//! Progress: wait-free, but for the turns, which change stations.

use crate::pool::control::Control;
use crate::sync::atomic::{AtomicU64, Ordering};

const ERA: u64 = 1 << 32;

/// A time in which a pool was guarded throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Era(u32);

/// The word.
#[derive(Debug, Default)]
pub struct Watch(AtomicU64);

fn era(word: u64) -> Option<Era> {
    let era = (word / ERA) as u32;
    (era % 2 == 1).then_some(Era(era))
}

/// Guarded blocks out that come home by address.
fn out(word: u64) -> u32 {
    word as u32
}

impl Watch {
    /// In an era that lasts: of a pool that is guarded from its beginning to its end.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub fn lasting() -> Self {
        Self(AtomicU64::new(ERA))
    }

    /// The era in which the pool is guarded, if it is.
    pub fn era(&self) -> Option<Era> {
        era(self.0.load(Ordering::Acquire)) // O1
    }

    /// Whether an address that comes home may be that of a guarded block, or should be noted as free.
    pub fn looks(&self) -> bool {
        let word = self.0.load(Ordering::Acquire); // O1
        era(word).is_some() || out(word) > 0
    }

    /// Counts a block that is to be guarded and come home by address; `None` when the pool is not guarded. Then
    /// `settles` is true if who asked was what kept it from settling.
    pub fn enter(&self) -> Result<Era, NotGuarded> {
        if self.era().is_none() {
            return Err(NotGuarded { settles: false });
        }
        if cfg!(rt_mutant = "pool_guard_counts_late") {
            let seen = self.era().ok_or(NotGuarded { settles: false });
            self.0.fetch_add(1, Ordering::AcqRel);
            return seen;
        }
        match era(self.0.fetch_add(1, Ordering::AcqRel)) {
            Some(era) => Ok(era), // I2
            None => Err(NotGuarded { settles: self.leave() }),
        }
    }

    /// Such a block came home, or was not handed out after all. True when it was the last, and the pool may settle.
    pub fn leave(&self) -> bool {
        let before = self.0.fetch_sub(1, Ordering::AcqRel); // O1
        out(before) == 1 && era(before).is_none()
    }

    fn next_era(&self) -> u64 {
        self.0.fetch_add(ERA, Ordering::AcqRel)
    }
}

/// A pool was not guarded when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotGuarded {
    /// It may settle: whoever hears this calls [`Control::settle`].
    pub settles: bool,
}

impl Control<'_> {
    /// Begins an era. False when there is one already.
    pub fn guard(&self, watch: &Watch) -> bool {
        if watch.era().is_some() {
            return false;
        }
        if cfg!(rt_mutant = "pool_guard_before_watch") {
            watch.next_era();
            self.watch(true);
            return true;
        }
        if !self.is_watched() {
            self.watch(true);
        }
        watch.next_era(); // I1
        true
    }

    /// Ends the era. False when there was none.
    pub fn unguard(&self, watch: &Watch) -> bool {
        if watch.era().is_none() {
            return false;
        }
        if out(watch.next_era()) == 0 {
            self.watch(false);
        }
        true
    }

    /// Looks away from the pool if no more block is out for which it is watched.
    pub fn settle(&self, watch: &Watch) {
        if !watch.looks() && self.is_watched() {
            self.watch(false);
        }
    }
}
