//! How many hold a share of something; the last of them has it to itself. `std::sync::Arc` counts so too.
//!
//! Writers: whoever has a share adds one for another, or takes their own off.
//! I1  A share is made from a share, so the count is 0 only once, when the last has left, and then nobody can look.
//! O1  Leaving is Release, and the last leave is followed by an Acquire load: what anybody did with their share
//!     happened before the last of them puts away what was shared.
//! O2  Joining is Relaxed: it publishes nothing, and the new share reaches another thread by whatever carries it there.
//! Progress: wait-free. The count cannot wrap but by 2^63 shares that were forgotten and not dropped, which takes
//! centuries.

use crate::sync::atomic::AtomicUsize;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The count.
#[derive(Debug)]
pub struct Shares(AtomicUsize);

impl Shares {
    /// One share.
    pub fn one() -> Self {
        Self(AtomicUsize::new(1))
    }

    /// One more, for another holder.
    #[inline]
    pub fn join(&self) {
        self.0.fetch_add(1, Relaxed); // O2
    }

    /// One less; says whether it was the last, and all is the caller's alone.
    #[inline]
    pub fn leave(&self) -> bool {
        let leaving = if cfg!(rt_mutant = "shares_leave_relaxed") { Relaxed } else { Release }; // O1
        if self.0.fetch_sub(1, leaving) > 1 {
            return false;
        }
        self.0.load(Acquire); // O1
        true
    }
}
