//! A limit for structures that keep none: each thread may push a few items before it has to count again.
//!
//! Counting the items of a queue reads its consumers' line, which is theirs to write: done for every push it would cost
//! more than the push. So whoever counted takes an allowance with it, a small part of the room there was.
//!
//! Writers: `rows[i]` by the thread that holds row `i` of the counters, plainly. Threads past the table have no allowance
//! and count each time.
//! I1  An allowance is at most a 1 / 128 of the room at the count, and at most 32. So what all 64 rows hold together never
//!     exceeds half the limit, and the queue never holds more than half as much again as its limit, nor more than the
//!     limit and 32 items a thread; and one more for each push that counted while another did.
//! Progress: wait-free.

#[cfg(not(any(rt_loom, rt_shuttle)))]
use crate::observe::{THREAD_ROWS, row, row_if_known};
use crate::sync::CachePadded;
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};

const SHARE: usize = 128;
const MOST: usize = 32;

#[cfg(not(any(rt_loom, rt_shuttle)))]
const _: () = assert!(2 * THREAD_ROWS <= SHARE);

/// What each thread may still push without counting.
pub(super) struct Allowance {
    rows: Box<[CachePadded<AtomicU32>]>,
}

/// Models look at every count: they have no thread rows.
#[cfg(any(rt_loom, rt_shuttle))]
const THREAD_ROWS: usize = 0;
#[cfg(any(rt_loom, rt_shuttle))]
fn row() -> usize {
    0
}
#[cfg(any(rt_loom, rt_shuttle))]
fn row_if_known() -> usize {
    0
}

impl Allowance {
    pub(super) fn new() -> Self {
        Self { rows: (0..THREAD_ROWS).map(|_| CachePadded::new(AtomicU32::new(0))).collect() }
    }

    /// Takes up to `wanted` from the caller's allowance; asks `room` when there is nothing left of it.
    #[inline(always)]
    pub(super) fn take(&self, wanted: usize, room: impl FnOnce() -> usize) -> usize {
        let own = self.rows.get(row());
        let left = own.map_or(0, |own| own.load(Relaxed) as usize);
        if left >= wanted {
            if let Some(own) = own {
                own.store((left - wanted) as u32, Relaxed);
            }
            return wanted;
        }
        self.count(own.map(|own| &**own), wanted, room())
    }

    /// Takes one from the caller's allowance, if there is any left. None in a thread that has not asked for its row yet, which
    /// [`take`](Self::take) does: a call in the midst of a push would have it save registers.
    #[inline(always)]
    pub(super) fn take_one(&self) -> bool {
        let Some(own) = self.rows.get(row_if_known()) else { return false };
        let left = own.load(Relaxed);
        if left > 0 {
            own.store(left - 1, Relaxed);
        }
        left > 0
    }

    #[cold]
    fn count(&self, own: Option<&AtomicU32>, wanted: usize, room: usize) -> usize {
        let granted = wanted.min(room);
        if let Some(own) = own {
            own.store(((room - granted) / SHARE).min(MOST) as u32, Relaxed); // I1
        }
        granted
    }
}
