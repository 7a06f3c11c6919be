//! One thread's part of a pool: at level `thread_cached`, a magazine of free blocks for each size class.
//!
//! A pool has a rack for each row of the table that counters use (`observe::Cells`), so a rack has one user at a
//! time and outlives the threads that use it. Threads past the table share the last rack, which caches nothing.
//! Every block holds the rack it was allocated through, and the rack the depot: that is what keeps the memory of a
//! dropped pool alive, and a reference count per thread is what no two threads fight over.
//!
//! I1  A magazine is reached through `cache`'s lock. Its user only tries the lock and goes to the depot when
//!     somebody else has it (a pool at its limit sweeps all racks), so allocating never waits for a rack.
//! I2  A magazine that holds blocks belongs to a thread that has promised to flush it at its end (`tenanted`). A
//!     promise that a successor on the same row finds already made is renewed once its maker has left.
//! Locks: a rack's, then a shelf's; never the other way round.

use super::PoolError;
use super::depot::{Depot, FreeBlock};
use super::size_class::{CLASSES, SizeClass};
use crate::sync::{Arc, Mutex, MutexGuard, Weak};
use std::cell::RefCell;

/// Bytes that one magazine of a class may hold, but for classes whose single block is more.
const MAGAZINE_BYTES: usize = 16 << 10;
const MAGAZINE_BLOCKS_MAX: usize = 64;

/// On lines of its own, so that what one thread counts references in and locks is nobody else's.
#[repr(align(128))]
pub(super) struct Rack {
    pub(super) depot: Arc<Depot>,
    /// The row whose thread caches here; `None` where nothing is cached.
    row: Option<usize>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    /// By class; none until first used. Each holds up to twice what moves at a time, so that a thread that allocates
    /// and frees around a boundary does not go to the depot each time.
    magazines: Vec<Vec<FreeBlock>>,
    tenanted: bool,
}

/// Blocks that move between a magazine and the depot at a time.
fn magazine_blocks(class: SizeClass) -> usize {
    (MAGAZINE_BYTES / class.bytes()).clamp(1, MAGAZINE_BLOCKS_MAX)
}

impl Rack {
    pub(super) fn new(depot: Arc<Depot>, row: Option<usize>) -> Arc<Self> {
        Arc::new(Self { depot, row, cache: Mutex::new(Cache::default()) })
    }

    /// A block, from the magazine if the calling thread is on `row` and the rack is its own.
    #[inline]
    pub(super) fn take(self: &Arc<Self>, row: usize, class: SizeClass) -> Result<FreeBlock, PoolError> {
        match self.cache(row) {
            Some(mut cache) => {
                let magazine = &mut cache.magazines[class.index()];
                magazine.pop().map_or_else(|| self.depot.fill(class, magazine_blocks(class) - 1, magazine), Ok)
            }
            None => self.depot.take(class),
        }
    }

    /// Puts a block into the magazine if the calling thread is on `row` and the rack is its own, else into the depot.
    #[inline]
    pub(super) fn put(self: &Arc<Self>, row: usize, class: SizeClass, block: FreeBlock) {
        let Some(mut cache) = self.cache(row) else { return self.depot.put(class, block) };
        let magazine = &mut cache.magazines[class.index()];
        magazine.push(block);
        let moved = magazine_blocks(class);
        if magazine.len() > 2 * moved {
            // The coldest go.
            self.depot.flush(class, magazine.drain(..moved));
        }
    }

    /// The magazines, if the thread on `row` may use them now (I1, I2).
    #[inline]
    fn cache(self: &Arc<Self>, row: usize) -> Option<MutexGuard<'_, Cache>> {
        if self.row != Some(row) {
            return None;
        }
        let mut cache = self.cache.try_lock()?;
        if !cache.tenanted {
            self.settle(&mut cache)?;
        }
        Some(cache)
    }

    /// Makes the calling thread promise to flush this rack at its end; `None` when it is past promising.
    #[cold]
    fn settle(self: &Arc<Self>, cache: &mut Cache) -> Option<()> {
        let promise = |tenancies: &RefCell<Tenancies>| tenancies.borrow_mut().add(self);
        TENANCIES.try_with(promise).ok()?;
        cache.magazines.resize_with(CLASSES, Vec::new);
        cache.tenanted = true;
        Some(())
    }

    /// Empties one class's magazine into the depot.
    pub(super) fn sweep(&self, class: SizeClass) {
        let mut cache = self.cache.lock();
        if let Some(magazine) = cache.magazines.get_mut(class.index()).filter(|magazine| !magazine.is_empty()) {
            self.depot.flush(class, magazine.drain(..));
        }
    }

    /// The tenant's end: empties every magazine into the depot.
    fn leave(&self) {
        let mut cache = self.cache.lock();
        cache.tenanted = false;
        for (class, mut magazine) in SizeClass::all().zip(std::mem::take(&mut cache.magazines)) {
            if !magazine.is_empty() {
                self.depot.flush(class, magazine.drain(..));
            }
        }
    }
}

/// The racks a thread has promised to flush at its end.
struct Tenancies(Vec<Weak<Rack>>);

impl Tenancies {
    fn add(&mut self, rack: &Arc<Rack>) {
        // Pools that ended meanwhile would pile up in a thread that outlives many.
        self.0.retain(|rack| rack.strong_count() > 0);
        self.0.push(Arc::downgrade(rack));
    }
}

impl Drop for Tenancies {
    fn drop(&mut self) {
        self.0.iter().filter_map(Weak::upgrade).for_each(|rack| rack.leave());
    }
}

thread_local! {
    static TENANCIES: RefCell<Tenancies> = const { RefCell::new(Tenancies(Vec::new())) };
}
