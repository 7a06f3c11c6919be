//! What workers do to pools.

use super::chooser::Chooser;
use super::drive::{Driver, Performed};
use super::gate::Gate;
use super::ledger::{PoolBook, Tag};
use crate::generate::Stream;
use crate::script::{PoolOp, Sizes};
use rheostat_runtime::observe::{Moment, now};
use rheostat_runtime::pool::{Block, Pool};
use rheostat_runtime::queue::{PopError, PushError, Ring};
use rheostat_runtime::sync::{Arc, thread};
use std::time::Duration;

/// How long a worker waits for a block, or for room to pass one, before it looks whether the phase has ended.
const PATIENCE: Duration = Duration::from_millis(10);
/// Draws between two looks at how far sizes have climbed.
const CLIMB_EVERY: u64 = 64;

/// A pool, and the blocks on their way from one worker to another.
#[derive(Clone)]
pub(super) struct Pooled {
    pub pool: Arc<Pool>,
    pub passed: Arc<Ring<Held>>,
}

/// A block in use. Its tag stands at both ends of it, where there is room for two: a neighbour that overlaps it, or a
/// second holder, spoils one of them.
pub(super) struct Held {
    block: Block,
    tag: Tag,
}

/// Bytes of a tag.
const TAG: usize = 16;

impl Held {
    fn new(mut block: Block, tag: Tag) -> Self {
        let places = places(block.len());
        places.into_iter().for_each(|at| tag.stamp(&mut block[at..]));
        Self { block, tag }
    }

    fn is_whole(&self) -> bool {
        places(self.block.len()).into_iter().all(|at| Tag::of(&self.block[at..]) == Some(self.tag))
    }

    /// Frees it, and notes that, and whether it was as it was left.
    pub fn free(self, book: &mut PoolBook) {
        book.damaged += u64::from(!self.is_whole());
        book.freed += 1;
    }
}

/// Where the tags of a block stand.
fn places(len: usize) -> [usize; 2] {
    [0, if len < 2 * TAG { 0 } else { len - TAG }]
}

/// One worker.
pub(super) struct PoolLoad {
    pub pooled: Pooled,
    pub sizes: Sizes,
    /// Draws sizes, and which block is replaced.
    pub extra: Stream,
    pub ops: Chooser<PoolOp>,
    /// Blocks it holds once it has been at it for a while.
    pub live: usize,
    pub hands: Hands,
    /// The size that those drawn stay under, while sizes climb.
    pub climb: Option<Climb>,
}

/// What a worker has in hand, and what it has done with it.
pub(super) struct Hands {
    /// Names this worker in the tags of its blocks.
    pub worker: u64,
    /// Blocks tagged so far.
    pub tagged: u64,
    pub held: Vec<Held>,
    pub book: PoolBook,
}

impl Hands {
    /// A worker that holds nothing yet.
    pub fn new(worker: u64) -> Self {
        Self { worker, tagged: 0, held: Vec::new(), book: PoolBook::default() }
    }

    fn allocate(&mut self, pool: &Arc<Pool>, bytes: usize) -> Option<Held> {
        let Ok(block) = pool.alloc(bytes) else {
            self.book.refused += 1;
            return None;
        };
        self.book.allocated += 1;
        let tag = Tag { producer: self.worker, sequence: self.tagged };
        self.tagged += 1;
        Some(Held::new(block, tag))
    }

    /// Frees the block in that place and puts another there; says whether there was one to be had.
    fn replace(&mut self, pool: &Arc<Pool>, place: usize, bytes: usize) -> bool {
        // The old one goes first, so that a pool at its limit can give its memory to the new one.
        self.held.swap_remove(place).free(&mut self.book);
        let Some(fresh) = self.allocate(pool, bytes) else { return false };
        self.held.push(fresh);
        let last = self.held.len() - 1;
        self.held.swap(place, last);
        true
    }

    /// Frees everything and closes the book.
    pub fn close(mut self) -> PoolBook {
        for held in std::mem::take(&mut self.held) {
            held.free(&mut self.book);
        }
        self.book
    }
}

/// How far climbing sizes have come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Climb {
    over: Duration,
    began: Option<Moment>,
    ceiling: u64,
}

impl Climb {
    pub fn new(over: Duration) -> Self {
        Self { over, began: None, ceiling: 0 }
    }

    /// Where sizes stand at this draw.
    fn ceiling(&mut self, sizes: Sizes, index: u64) -> u64 {
        if index.is_multiple_of(CLIMB_EVERY) {
            let began = *self.began.get_or_insert_with(now);
            let share = (began.elapsed().as_secs_f64() / self.over.as_secs_f64()).min(1.0);
            self.ceiling = (sizes.from as f64 * (sizes.to as f64 / sizes.from as f64).powf(share)) as u64;
        }
        self.ceiling.clamp(sizes.from, sizes.to)
    }
}

/// An operation about to be done.
pub(super) struct Drawn {
    op: (usize, PoolOp),
    bytes: usize,
    /// Which of the blocks it holds, if it has that many.
    place: usize,
}

impl Driver for PoolLoad {
    type Op = Drawn;

    fn draw(&mut self, index: u64) -> Drawn {
        let sizes = self.sizes;
        let (from, to) = match &mut self.climb {
            None => (sizes.from, sizes.to),
            Some(climb) => {
                let ceiling = climb.ceiling(sizes, index);
                (sizes.from.max(ceiling / 2), ceiling)
            }
        };
        let bytes = from + self.extra.below(2 * index, to - from + 1);
        let place = self.extra.below(2 * index + 1, self.live as u64);
        Drawn { op: self.ops.at(index), bytes: bytes as usize, place: place as usize }
    }

    fn perform(&mut self, drawn: Drawn, _: Option<Moment>, gate: &Gate) -> Option<Performed> {
        let Drawn { op: (op, what), bytes, place } = drawn;
        let (hands, pool) = (&mut self.hands, &self.pooled.pool);
        let hit = match what {
            PoolOp::Pair => hands.allocate(pool, bytes).map(|held| held.free(&mut hands.book)).is_some(),
            PoolOp::Replace if place < hands.held.len() => hands.replace(pool, place, bytes),
            PoolOp::Replace => hands.allocate(pool, bytes).map(|fresh| hands.held.push(fresh)).is_some(),
            PoolOp::Pass => match hands.allocate(pool, bytes) {
                Some(fresh) => pass(&self.pooled.passed, fresh, &mut hands.book, gate)?,
                None => false,
            },
            PoolOp::Take => {
                take(&self.pooled.passed, gate)?.free(&mut hands.book);
                true
            }
            PoolOp::Generation => self.bear(),
        };
        Some(Performed { op, hit })
    }
}

impl PoolLoad {
    /// A thread of its own replaces every block there is (those that are missing are allocated), and ends.
    fn bear(&mut self) -> bool {
        let fresh = Hands::new(self.hands.worker);
        let mut hands = std::mem::replace(&mut self.hands, fresh);
        let (pool, live) = (self.pooled.pool.clone(), self.live);
        let (tagged, held, book) = (hands.tagged, hands.held.len() as u64, hands.book);
        let (sizes, extra) = (self.sizes, self.extra.branch(tagged));
        let heir = thread::Builder::new().name("generation".into()).spawn(move || {
            for place in 0..live {
                let bytes = (sizes.from + extra.below(place as u64, sizes.to - sizes.from + 1)) as usize;
                if place < hands.held.len() {
                    hands.replace(&pool, place, bytes);
                } else if let Some(fresh) = hands.allocate(&pool, bytes) {
                    hands.held.push(fresh);
                }
            }
            hands
        });
        match heir.map(thread::JoinHandle::join) {
            Ok(Ok(hands)) => {
                self.hands = hands;
                true
            }
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // No thread to be had: the blocks went with what it was to do.
            Err(_) => {
                self.hands.tagged = tagged;
                self.hands.book = PoolBook { freed: book.freed + held, refused: book.refused + 1, ..book };
                false
            }
        }
    }
}

/// Passes a block on, waiting for room; `None` when the phase ended before there was any.
fn pass(passed: &Ring<Held>, mut held: Held, book: &mut PoolBook, gate: &Gate) -> Option<bool> {
    let mut waiting = None;
    loop {
        match passed.push_timeout(held, PATIENCE) {
            Ok(()) => return Some(true),
            Err(PushError::Full(back)) if !gate.is_stopped() => held = back,
            Err(PushError::Full(back) | PushError::Closed(back)) => {
                back.free(book);
                return None;
            }
        }
        waiting = waiting.or_else(|| Some(gate.wait()));
    }
}

/// Takes a block that was passed on, waiting for one; `None` when the phase ended before there was one.
fn take(passed: &Ring<Held>, gate: &Gate) -> Option<Held> {
    let mut waiting = None;
    loop {
        match passed.pop_timeout(PATIENCE) {
            Ok(held) => return Some(held),
            Err(PopError::Empty) if !gate.is_stopped() => {}
            Err(_) => return None,
        }
        waiting = waiting.or_else(|| Some(gate.wait()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rheostat_runtime::pool::{Level, PoolLimits};

    /// Two who have the same block, or overlapping ones, write to it.
    #[test]
    fn a_block_that_was_spoilt_at_either_end_is_noted() {
        let pool = Pool::new("spoilt", Level::Mutex, PoolLimits::default()).unwrap();
        let mut hands = Hands::new(7);
        for len in [TAG, 2 * TAG, 100] {
            for at in [None, Some(0), Some(TAG - 1), Some(len - TAG), Some(len - 1)] {
                let before = hands.book;
                let mut held = hands.allocate(&pool, len).unwrap();
                at.into_iter().for_each(|at| held.block[at] ^= 1);
                held.free(&mut hands.book);
                let PoolBook { allocated, freed, damaged, .. } = hands.book;
                let noted = (allocated - before.allocated, freed - before.freed, damaged - before.damaged);
                assert_eq!(noted, (1, 1, u64::from(at.is_some())), "{len} bytes, spoilt at {at:?}");
            }
        }
    }
}
