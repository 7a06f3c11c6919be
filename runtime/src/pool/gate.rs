//! A gate before what one thread uses all the time and others now and then: two plain stores for the one, a system call
//! for the others.
//!
//! The holder says that it is inside, looks whether it may be, works, and says that it is outside. Who wants what is behind
//! the gate, or wants nobody left who has not heard of a change, takes the permission away, passes the heavy half of
//! [`barrier`], and waits until the holder is outside.
//!
//! Source: the asymmetric form of Dekker's mutual exclusion, as biased locks have it (Dice, Huang, Yang, "Asymmetric
//! Dekker Synchronization", 2001).
//!
//! Writers: `inside` the holder; `station` by exchange the holder (from vacant to one it may work at) and whoever claims
//! the gate (to claimed, and from it to vacant).
//! I1  A gate has at most one holder at a time; its successor has heard from it through the lock that hands out rows.
//! I2  Claims come one at a time: the pool's control lock is held from claim to vacate. Nobody takes that lock inside.
//! O1  The holder stores `inside`, passes the light half, and reads what it may do: `station`, or anything else that the
//!     claimer wrote before. The claimer writes, passes the heavy half, and reads `inside`. Holder's half first: the
//!     claimer finds it inside and waits. Claimer's first: the holder reads what the claimer wrote.
//! O2  `inside` is stored Release when the holder leaves, and loaded Acquire by the claimer: what was done inside has been
//!     done.
//! O3  `station` is stored Release by who vacates or opens, and loaded Acquire by the holder: it sees what the claimer did.
//! Progress: the holder is wait-free. A claim blocks for as long as the holder is inside.

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Backoff, barrier};

/// What the holder may do behind a gate. Any number from [`Station::FIRST`] on is its user's to give a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Station(pub u32);

impl Station {
    /// Somebody else is at work.
    pub const CLAIMED: Self = Self(0);
    /// Nothing: the holder has not opened it since it was last claimed.
    pub const VACANT: Self = Self(1);
    /// The least that says more.
    pub const FIRST: u32 = 2;
}

/// The gate.
#[derive(Debug)]
pub struct Gate {
    inside: AtomicU32,
    station: AtomicU32,
}

impl Default for Gate {
    fn default() -> Self {
        barrier::prepare();
        Self { inside: AtomicU32::new(0), station: AtomicU32::new(Station::VACANT.0) }
    }
}

/// The holder is inside until this is dropped.
#[derive(Debug)]
pub struct Pass<'a>(&'a Gate);

impl Gate {
    /// Goes inside. Only the holder may (I1), and not twice.
    #[inline(always)]
    pub fn enter(&self) -> Pass<'_> {
        self.inside.store(1, Ordering::Relaxed); // O1
        if !cfg!(rt_mutant = "pool_gate_no_fence") {
            barrier::light(); // O1
        }
        Pass(self)
    }

    /// Takes from the holder what it may do. Before anything is touched, for one gate or many, `barrier::heavy` and then
    /// [`wait_outside`](Self::wait_outside).
    pub fn claim(&self) {
        self.station.store(Station::CLAIMED.0, Ordering::Relaxed); // O1
    }

    /// Waits until the holder has been outside.
    pub fn wait_outside(&self) {
        let mut backoff = Backoff::new();
        while !cfg!(rt_mutant = "pool_gate_no_wait") && self.inside.load(Ordering::Acquire) != 0 {
            backoff.snooze(); // O2
        }
    }

    /// Ends a claim.
    pub fn vacate(&self) {
        self.station.store(Station::VACANT.0, Ordering::Release); // O3
    }
}

impl Pass<'_> {
    /// What the holder may do.
    #[inline(always)]
    pub fn station(&self) -> Station {
        Station(self.0.station.load(Ordering::Acquire)) // O3
    }

    /// Opens a vacant gate at a station; false when it was claimed meanwhile.
    pub fn open(&self, station: Station) -> bool {
        debug_assert!(station.0 >= Station::FIRST, "{station:?} is not the holder's to choose");
        let (from, to) = (Station::VACANT.0, station.0);
        self.0.station.compare_exchange(from, to, Ordering::Release, Ordering::Relaxed).is_ok() // O3
    }
}

impl Drop for Pass<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.inside.store(0, Ordering::Release); // O2
    }
}
