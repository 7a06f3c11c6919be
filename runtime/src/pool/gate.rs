//! A gate before what one thread uses all the time and others now and then: two plain stores for the one, a system call
//! for the others.
//!
//! The holder announces how the state behind the gate will be when it is done, looks whether it may go on, works, and
//! stores the state: that is also how it says that it is outside again. Who wants what is behind the gate, or wants nobody
//! left who has not heard of a change, takes the permission away, passes the heavy half of [`barrier`], and waits until
//! the holder is outside.
//!
//! Source: the asymmetric form of Dekker's mutual exclusion, as biased locks have it (Dice, Huang, Yang, "Asymmetric
//! Dekker Synchronization", 2001). That the word which says "outside" is the state, and counts the visits, is ours.
//!
//! ```text
//! state, entered   63 .. 16                 15 .. 0
//!                  takes * 2^24 + puts      held
//! ```
//! Takes and puts are visits that ended well. Puts carry into takes, and takes out of the word; who knows what they were not
//! long ago tells them apart ([`Visits`]). `held` is a number that the user has behind the gate.
//!
//! Writers: `entered` the holder. `state` the holder, inside, where it found the gate open; its `held` alone also who has
//! claimed the gate and waited. `station` by exchange the holder (from vacant to one it may work at) and whoever claims
//! the gate (to claimed, by exchange as well; and from it to vacant).
//! I1  A gate has at most one holder at a time; its successor has heard from it through the lock that hands out rows.
//! I2  Claims come one at a time: the pool's control lock is held from claim to vacate. Nobody takes that lock inside.
//! I3  `entered` and `state` agree in takes and puts when the holder is outside, and differ from its entering to its leaving:
//!     an announcement is of one visit more than there were, which no state says before that visit ends well. One that ends
//!     with nothing done takes its announcement back, and the next may announce the same: it is still the visit to come.
//! I4  Only the holder opens a gate, so one that it finds open has not been claimed since: the state that it loaded before
//!     is still the state. When it opens the gate itself, it loads the state again.
//! O1  The holder stores `entered`, passes the light half, and reads what it may do: `station`, or anything else that the
//!     claimer wrote before. The claimer writes, passes the heavy half, and reads `entered`. Holder's half first: the
//!     claimer finds it inside and waits. Claimer's first: the holder reads what the claimer wrote.
//! O2  `state`, or `entered` where an announcement is taken back, is stored Release when the holder leaves. The claimer loads
//!     both Acquire, `entered` first. By O1 at most the visit that is under way may still store `state`; those that come
//!     after it find the gate claimed and only store `entered`, twice. So if what was loaded from `entered` is the
//!     announcement of that visit, `state` agrees with it once that visit has been left and not before; if it is what
//!     another took back, its visit before has been left. Either way what was done inside has been done.
//! O3  `station` is stored Release by who vacates, and the exchange that opens the gate is Acquire: the holder sees what the
//!     claimer did. A holder that finds the gate open reads what it stored itself.
//! O4  A claim is an exchange, though nobody wants to know what it finds. No write comes between what the holder's
//!     compare-exchange reads and what it writes; a claim by a plain store neither, but models think that one might, and have
//!     holders find a gate open that is claimed.
//! Progress: the holder is wait-free. A claim blocks for as long as the holder is inside.

use crate::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use crate::sync::{Backoff, barrier};

/// What the holder may do behind a gate. Any number from [`Station::FIRST`] to [`Station::LAST`] is its user's to give a
/// meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Station(pub u8);

impl Station {
    /// Somebody else is at work.
    pub const CLAIMED: Self = Self(0);
    /// Nothing: the holder has not opened it since it was last claimed.
    pub const VACANT: Self = Self(1);
    /// The least that says more.
    pub const FIRST: u8 = 2;
    /// The greatest.
    pub const LAST: u8 = Self::UNKNOWN.0 - 1;
    /// From here on nothing is known: the bit says that the halves of the barrier are fences.
    pub const UNKNOWN: Self = Self(barrier::FENCED);

    fn to_byte(self) -> u8 {
        self.0 | barrier::settled()
    }
}

/// What a visit adds to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit(u64);

const TAKES: u32 = 40;
const PUTS: u32 = 16;
const HELD: u64 = (1 << PUTS) - 1;
/// Puts before they carry into takes, and takes before they come round.
const ROUND: u64 = 1 << (TAKES - PUTS);

const _: () = assert!(u64::BITS - TAKES == TAKES - PUTS);

impl Visit {
    /// A take; what is held is said with [`Pass::hold`].
    pub const TAKE: Self = Self(1 << TAKES);
    /// A put; what is held is said with [`Pass::hold`].
    pub const PUT: Self = Self(1 << PUTS);
    /// A take that leaves one less held, if there is one.
    pub const TAKE_HELD: Self = Self(Self::TAKE.0 - 1);
    /// A put that leaves one more held.
    pub const PUT_HELD: Self = Self(Self::PUT.0 + 1);
}

/// How many visits ended well, as the gate has it: takes times 2^24 and puts, modulo 2^48.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visits(u64);

impl Visits {
    fn of(state: u64) -> Self {
        Self(state >> PUTS)
    }

    /// Takes and puts, exactly, of which so many are known from not long ago: less than 2^24 of either have been since.
    pub fn onward(self, (takes, puts): (u64, u64)) -> (u64, u64) {
        let since = |known: u64, count: u64| count.wrapping_sub(known) & (ROUND - 1);
        let puts = puts + since(puts, self.0);
        (takes + since(takes, self.0.wrapping_sub(puts) >> (TAKES - PUTS)), puts)
    }

    /// Whether the next put is one of every so many, a power of two and at most 2^24.
    #[inline(always)]
    pub fn puts_due(self, every: u64) -> bool {
        self.0 % every == every - 1
    }

    /// The same of takes. As puts carry into them, one in 2^24 puts may pass it over.
    #[inline(always)]
    pub fn takes_due(self, every: u64) -> bool {
        (self.0 >> (TAKES - PUTS)) % every == every - 1
    }
}

/// The gate.
#[derive(Debug)]
pub struct Gate {
    entered: AtomicU64,
    state: AtomicU64,
    station: AtomicU8,
}

impl Default for Gate {
    fn default() -> Self {
        barrier::prepare();
        Self { entered: AtomicU64::new(0), state: AtomicU64::new(0), station: AtomicU8::new(Station::VACANT.to_byte()) }
    }
}

/// The holder is inside until it leaves; with nothing done when this is dropped.
#[derive(Debug)]
pub struct Pass<'a> {
    gate: &'a Gate,
    before: u64,
    visit: Visit,
    station: Station,
}

impl Gate {
    /// Goes inside. Only the holder may (I1), and not twice.
    #[inline(always)]
    pub fn enter(&self, visit: Visit) -> Pass<'_> {
        let before = self.state.load(Ordering::Relaxed); // I4
        self.entered.store(before.wrapping_add(visit.0), Ordering::Relaxed); // O1
        let station = if cfg!(rt_mutant = "pool_gate_no_fence") {
            self.station.load(Ordering::Relaxed)
        } else {
            barrier::light_load(&self.station) // O1
        };
        Pass { gate: self, before, visit, station: Station(station & Station::LAST) }
    }

    /// As [`enter`](Self::enter), with the least to do where the barrier's light half is free. Where it is a fence, the
    /// holder does not learn what it may do, which is then [`Station::UNKNOWN`] or more: it leaves and enters again.
    #[inline(always)]
    pub fn enter_quickly(&self, visit: Visit) -> Pass<'_> {
        let before = self.state.load(Ordering::Relaxed); // I4
        self.entered.store(before.wrapping_add(visit.0), Ordering::Relaxed); // O1
        let station = barrier::light_load_or_fenced(&self.station); // O1
        Pass { gate: self, before, visit, station: Station(station) }
    }

    /// Takes from the holder what it may do. Before anything is touched, for one gate or many, `barrier::heavy` and then
    /// [`wait_outside`](Self::wait_outside).
    pub fn claim(&self) {
        self.station.swap(Station::CLAIMED.to_byte(), Ordering::Relaxed); // O1, O4
    }

    /// Waits until the holder has been outside.
    pub fn wait_outside(&self) {
        let mut backoff = Backoff::new();
        let is_inside = || {
            let entered = self.entered.load(Ordering::Acquire); // O2
            (entered ^ self.state.load(Ordering::Acquire)) & !HELD != 0 // I3
        };
        while !cfg!(rt_mutant = "pool_gate_no_wait") && is_inside() {
            backoff.snooze();
        }
    }

    /// Ends a claim.
    pub fn vacate(&self) {
        self.station.store(Station::VACANT.to_byte(), Ordering::Release); // O3
    }

    /// What is held, as far as is known.
    pub fn held(&self) -> u32 {
        (self.state.load(Ordering::Relaxed) & HELD) as u32
    }

    /// Says what is held. For who has claimed the gate, and waited.
    pub fn hold(&self, held: u32) {
        let state = self.state.load(Ordering::Relaxed);
        self.state.store(state & !HELD | u64::from(held), Ordering::Relaxed); // O3
    }

    /// The visits that ended well.
    pub fn visits(&self) -> Visits {
        Visits::of(self.state.load(Ordering::Acquire))
    }
}

impl Pass<'_> {
    /// What the holder may do.
    #[inline(always)]
    pub fn station(&self) -> Station {
        self.station
    }

    /// What is held. Right only where the gate was open, or has been opened (I4).
    #[inline(always)]
    pub fn held(&self) -> u32 {
        (self.before & HELD) as u32
    }

    /// The visits before this one that ended well.
    #[inline(always)]
    pub fn visits(&self) -> Visits {
        Visits::of(self.before)
    }

    /// Opens a vacant gate at a station; false when it was claimed meanwhile.
    pub fn open(&mut self, station: Station) -> bool {
        debug_assert!(
            (Station::FIRST..=Station::LAST).contains(&station.0),
            "{station:?} is not the holder's to choose"
        );
        let (from, to) = (Station::VACANT.to_byte(), station.to_byte());
        let opened = self.gate.station.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed).is_ok(); // O3
        if opened {
            self.station = station;
            if !cfg!(rt_mutant = "pool_gate_opens_unread") {
                self.before = self.gate.state.load(Ordering::Relaxed); // I4
            }
        }
        opened
    }

    /// Says what is held. Where the gate is open, and not for visits that say it themselves.
    pub fn hold(&mut self, held: u32) {
        self.before = self.before & !HELD | u64::from(held);
        self.gate.state.store(self.before, Ordering::Relaxed); // I3
    }

    /// Leaves, the visit done. Where the gate is open.
    #[inline(always)]
    pub fn leave(self) {
        let done = if cfg!(rt_mutant = "pool_gate_leave_unordered") { Ordering::Relaxed } else { Ordering::Release };
        self.gate.state.store(self.before.wrapping_add(self.visit.0), done); // O2
        std::mem::forget(self);
    }
}

impl Drop for Pass<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.gate.entered.store(self.before, Ordering::Release); // O2, I3
    }
}

#[cfg(all(test, not(any(rt_loom, rt_shuttle))))]
mod tests {
    use super::*;

    const OPEN: Station = Station(Station::FIRST);

    #[test]
    fn visits_are_told_apart_where_puts_carry_and_takes_come_round() {
        let gate = Gate::default();
        assert!(gate.enter(Visit::TAKE).open(OPEN));
        let (mut known, mut takes, mut puts) = ((0, 0), 0, 0);
        let mut visit = |visit: Visit, times: u64| {
            // As if all but the last of them had been made.
            let state = gate.state.load(Ordering::Relaxed).wrapping_add(visit.0.wrapping_mul(times - 1));
            gate.state.store(state, Ordering::Relaxed);
            gate.enter(visit).leave();
            gate.wait_outside();
            known = gate.visits().onward(known);
            known
        };
        for (more_takes, more_puts) in [(5, ROUND - 1), (1, 1), (ROUND - 1, ROUND - 7), (3, ROUND - 2), (ROUND - 1, 9)]
        {
            takes += more_takes;
            assert_eq!(visit(Visit::TAKE, more_takes), (takes, puts));
            puts += more_puts;
            assert_eq!(visit(Visit::PUT, more_puts), (takes, puts));
        }
    }

    #[test]
    fn a_take_where_nothing_is_held_is_taken_back() {
        let gate = Gate::default();
        assert!(gate.enter(Visit::TAKE).open(OPEN));
        let pass = gate.enter(Visit::TAKE_HELD);
        assert_eq!((pass.station(), pass.held()), (OPEN, 0));
        drop(pass);
        gate.wait_outside();
        assert_eq!((gate.held(), gate.visits().onward((0, 0))), (0, (0, 0)));
    }
}
