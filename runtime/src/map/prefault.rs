//! Memory that entries on their way will need, written to before anybody has to wait for it.
//!
//! The system backs a page of memory with something when it is first written to, and has to clear it: a large one, of 2 MiB,
//! takes 0.1 to 0.3 ms, and 5 ms on a virtual machine whose host only then finds memory for it too. Whoever is the first to
//! write bears that, and while entries move to a structure that allocates each of them this may be any writer of any key. So the
//! migrator takes about as much memory as they will need, in small blocks, writes to all of it, and gives it back little by
//! little, a little ahead of the entries that it moves. Not at once: an allocator that has free memory for a second or so gives it
//! back to the system.
//!
//! It serves where an allocator has one stock of pages for all threads, as mimalloc has. Where threads have stocks of their own
//! (glibc's, jemalloc's arenas) it serves the migrator alone. It never does harm: the memory is what the table that
//! is being filled takes anyway, and where there is none to be had nothing is taken.

use super::pace::Pace;
use std::cell::RefCell;
use std::hint::black_box;
use std::time::Duration;

/// A page of the system, and small to allocators: they keep small blocks apart from large ones.
const BLOCK: usize = 4 << 10;
/// Blocks given back before the entries that need them are moved: 8 MiB, for those that writers move or replace meanwhile.
const AHEAD: usize = 2048;
/// Blocks given back at a time: an allocator's page or more of them.
const BATCH: usize = 32;
/// About the longest that one page takes.
const REST_MAX: Duration = Duration::from_millis(5);

pub(super) struct Prefault {
    blocks: RefCell<Vec<Vec<u8>>>,
    taken: usize,
}

impl Prefault {
    /// Takes what an allocator needs for that many bytes, or what of it there is, or has been taken when `stop` says so.
    pub(super) fn take(bytes: usize, stop: &impl Fn() -> bool) -> Self {
        // Allocators round up: mimalloc by an eighth at most.
        let blocks = (bytes + bytes / 8).div_ceil(BLOCK);
        let pace = Pace::with_rests_up_to(REST_MAX);
        let blocks = (0..blocks).map_while(|_| {
            let mut block = Vec::new();
            if stop() || block.try_reserve_exact(BLOCK).is_err() {
                return None;
            }
            block.push(0);
            pace.keep();
            Some(black_box(block))
        });
        let blocks: Vec<_> = blocks.collect();
        Self { taken: blocks.len(), blocks: RefCell::new(blocks) }
    }

    /// Gives back what the entries moved so far, and those that are next, have use for.
    pub(super) fn release(&self, (moved, total): (usize, usize)) {
        let mut blocks = self.blocks.borrow_mut();
        let to_move = total.saturating_sub(moved) as u64;
        let keep = (self.taken as u64 * to_move / total.max(1) as u64) as usize;
        let keep = keep.saturating_sub(AHEAD);
        if blocks.len() >= keep + BATCH {
            blocks.truncate(keep);
        }
    }
}

/// Writes to that much memory, in one piece, and gives it back.
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub(super) fn write_to(bytes: usize) {
    let mut memory = Vec::<u8>::new();
    if memory.try_reserve_exact(bytes).is_ok() {
        memory.spare_capacity_mut().iter_mut().step_by(BLOCK).for_each(|byte| _ = byte.write(0));
        black_box(memory);
    }
}

#[cfg(all(test, not(any(rt_loom, rt_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_ahead_of_those_that_need_it() {
        const BLOCKS: usize = 3 * AHEAD;
        let taken = Prefault::take(BLOCKS * BLOCK * 8 / 9, &|| false);
        let held = |moved| {
            taken.release((moved, 300));
            taken.blocks.borrow().len()
        };
        assert_eq!((held(0), held(100), held(150), held(200), held(300)), (2 * AHEAD, AHEAD, AHEAD / 2, 0, 0));
    }

    #[test]
    fn who_is_told_to_stop_takes_no_more() {
        let left = std::cell::Cell::new(7);
        let stop = || left.replace(left.get() - 1) == 0;
        assert_eq!(Prefault::take(100 * BLOCK, &stop).taken, 7);
    }
}
