//! A local pool that is guarded: from its beginning to its end, or not at all.
//!
//! It has no magazines, so that every block goes out and comes home by the long way, which asks whether there is a
//! guard; the quick way is as it was.
//!
//! I1  A handler of faults, and a panic, find the pool in order: what is free is borrowed by nobody then (I1 of
//!     `pool::local`).

use super::book::{Book, Homecoming, Kept, Record, SHARDS};
use super::doors::{Guard, roomier};
use super::fault::{Deed, Fault, FaultHandler, FaultKind, OnFault};
use super::report::{OfClass, Outstanding};
use crate::observe::row;
use crate::pool::error::{PoolError, PoolLimits, PoolSetupError};
use crate::pool::local::{LOCAL, LocalBlock, LocalPool, LocalShelf};
use crate::pool::size_class::{CLASSES, SizeClass};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::{Arc, Mutex};
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::ptr::NonNull;

/// What a local pool has for being guarded.
#[derive(Debug)]
pub struct LocalGuard {
    guard: Guard,
    /// Blocks that are out unguarded: what was asked for by the one that begins there.
    unguarded: Mutex<HashMap<usize, usize, FixedState>>,
}

impl LocalGuard {
    fn new(on_fault: OnFault) -> Self {
        Self { guard: Guard::lasting(on_fault), unguarded: Mutex::default() }
    }

    fn raise(&self, kind: FaultKind, start: NonNull<u8>, record: Option<&Record>) {
        self.guard.faults.raise(Fault::here(kind, LOCAL.to_owned(), start.as_ptr() as usize, record));
    }

    fn check(&self) -> usize {
        let faults = (0..SHARDS).map(|shard| self.guard.check(shard)).sum();
        self.guard.raise_found(|| LOCAL.to_owned());
        faults
    }
}

impl Drop for LocalGuard {
    /// What is free is not handed out again, so this is the last time that somebody looks at its poison.
    fn drop(&mut self) {
        self.check();
    }
}

impl LocalPool {
    /// An empty pool that is guarded: see [`guard`](crate::pool::guard) for what is caught and when. Pointers that are
    /// no blocks, and wrong layouts, are not among it, as a local pool is given nothing but its own blocks.
    ///
    /// ```
    /// use rheostat_runtime::pool::{FaultKind, LocalPool, OnFault, PoolLimits};
    ///
    /// let pool = LocalPool::guarded(PoolLimits::default(), OnFault::Count).unwrap();
    /// let block = pool.alloc(100).unwrap();
    /// let end = std::ptr::with_exposed_provenance_mut::<u8>(block.as_ptr().expose_provenance() + 100);
    /// // SAFETY: the byte behind the block is the pool's: what the guard is there to notice.
    /// unsafe { end.write(7) };
    /// drop(block);
    /// assert_eq!(pool.faults_of(FaultKind::Overrun), 1);
    /// ```
    ///
    /// # Errors
    /// When the system refuses the addresses.
    pub fn guarded(limits: PoolLimits, on_fault: OnFault) -> Result<Self, PoolSetupError> {
        Self::make(limits, Some(Arc::new(LocalGuard::new(on_fault))))
    }

    /// Whether it is guarded.
    pub fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// Faults of a kind so far.
    pub fn faults_of(&self, kind: FaultKind) -> u64 {
        self.guard.as_ref().map_or(0, |local| local.guard.faults.count(kind))
    }

    /// The last faults, the oldest first; [`FAULTS_KEPT`](super::FAULTS_KEPT) at most.
    pub fn faults(&self) -> Vec<Fault> {
        self.guard.as_ref().map_or_else(Vec::new, |local| local.guard.faults.last())
    }

    /// Has every fault from now on told to a handler, instead of the one before, on the thread that has the pool. One
    /// that panics does so in the middle of an allocation or of a drop.
    pub fn on_fault(&self, handler: impl Fn(&Fault) + Send + Sync + 'static) {
        let handler: Arc<FaultHandler> = Arc::new(handler);
        if let Some(local) = &self.guard {
            local.guard.faults.tell(handler);
        }
    }

    /// Looks at the canaries of all guarded blocks that are out and at the poison of those that are free; says how many
    /// were touched since somebody last looked. Takes time in proportion to them. The pool's end does so too.
    pub fn check(&self) -> usize {
        self.guard.as_ref().map_or(0, |local| local.check())
    }

    /// Blocks handed out unguarded although the pool is guarded: those that no class has room for with a canary, of
    /// more than 65 520 bytes, and those past 262 144.
    pub fn unguarded(&self) -> u64 {
        self.guard.as_ref().map_or(0, |local| local.guard.unguarded.load(Relaxed))
    }

    /// What is out now, by class and by scope; `None` of a pool that is not guarded, which keeps no account of it.
    pub fn outstanding(&self) -> Option<Outstanding> {
        let local = self.guard.as_ref()?;
        let mut report = Outstanding { pool: LOCAL.to_owned(), ..Outstanding::default() };
        let mut asked = [0; CLASSES];
        local.guard.book.each_out(|record| asked[usize::from(record.class)] += record.len as u64);
        for &len in local.unguarded.lock().values() {
            asked[SizeClass::of(len).map_or(0, SizeClass::index)] += len as u64;
        }
        for (shelf, bytes) in self.shelves.iter().zip(asked) {
            let blocks = shelf.live.get() as u64;
            if blocks > 0 {
                report.blocks += blocks;
                report.bytes += bytes;
                report.classes.push(OfClass { block_bytes: Some(shelf.geometry.bytes()), blocks, bytes });
            }
        }
        local.guard.attribute(&mut report);
        Some(report)
    }

    /// Ends a pool and says what was not given back, though it should have been: what was forgotten. `None` of a pool
    /// that is not guarded.
    pub fn end(self) -> Option<Outstanding> {
        self.outstanding()
    }

    /// A block of a guarded pool.
    #[cold]
    pub(in crate::pool) fn alloc_guarded(
        &self,
        local: &LocalGuard,
        asked: SizeClass,
        len: usize,
    ) -> Result<LocalBlock<'_>, PoolError> {
        let guard = &local.guard;
        let roomier = roomier(asked.index(), len).filter(|_| guard.book.reserve());
        let reserved = roomier.map(|_| Reserved(&guard.book));
        guard.unguarded.fetch_add(u64::from(roomier.is_none()), Relaxed);
        let class = roomier.unwrap_or(asked);
        let shelf = &self.shelves[class.index()];
        loop {
            let start = self.take_slow(class)?;
            let era = guard.watch.era();
            let record = Record {
                len,
                bytes: class.bytes(),
                class: class.index() as u8,
                asked: asked.index() as u8,
                by_address: false,
                allocated: Some(Deed::here(row())),
                freed: None,
                noted: None,
            };
            let noted = match era.filter(|_| reserved.is_none()) {
                // SAFETY: just taken from the shelf, so it is ours.
                Some(era) => unsafe { guard.book.let_out(start, era) },
                // SAFETY: as above.
                None => unsafe { guard.book.hand_out(start, record, era) },
            };
            match noted {
                Ok(damage) => {
                    std::mem::forget(reserved); // The block's now.
                    if roomier.is_none() {
                        local.unguarded.lock().insert(start.as_ptr() as usize, len);
                    }
                    let block = shelf.hand_out(start, len);
                    if let Some(damage) = damage {
                        // A panic takes the block home.
                        guard.faults.raise(Fault::of_damage(damage, LOCAL.to_owned(), &guard.book));
                    }
                    return Ok(block);
                }
                Err(Kept::NoRoom) => {
                    shelf.keep(start);
                    return Err(PoolError::System { pool: LOCAL.to_owned(), bytes: size_of::<Record>() });
                }
                // It was freed twice while nobody looked, and goes nowhere until whoever has it brings it home.
                Err(Kept::IsOut(record)) => local.raise(FaultKind::DoubleFree, start, Some(&record)),
            }
        }
    }
}

/// A place in the book, which is given back unless a block was handed out for it.
struct Reserved<'g>(&'g Book);

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl LocalShelf {
    /// A block of a guarded pool is given back, which was counted as home.
    #[cold]
    pub(in crate::pool) fn come_home(&self, local: &LocalGuard, start: NonNull<u8>) {
        let (guard, by) = (&local.guard, Deed::here(row()));
        let class = SizeClass::of(self.geometry.bytes()).expect("blocks are as long as their class says").index();
        let (damage, front) = match guard.book.come_home(start, |_| true, guard.watch.era(), by) {
            Homecoming::Guarded(record, damage) => {
                // SAFETY: the block before is in the same chunk.
                let before = (self.geometry.id(start).place() > 0).then(|| unsafe { start.sub(record.bytes) });
                (damage, before.and_then(|before| guard.book.front(before)))
            }
            Homecoming::Twice(record) => return self.came_twice(local, start, Some(&record)),
            Homecoming::Unknown => {
                let address = start.as_ptr() as usize;
                if local.unguarded.lock().remove(&address).is_none() {
                    // Free, and past the number of those that are noted.
                    return self.came_twice(local, start, guard.book.departed(address).as_ref());
                }
                let era = guard.watch.era().expect("a local pool's era lasts");
                // SAFETY: it was handed out unguarded, and is given back.
                let known = unsafe { guard.book.note_free(start, class as u8, self.geometry.bytes(), era, by) };
                debug_assert!(known, "what is noted as free is known");
                (None, None)
            }
        };
        self.keep(start);
        for damage in damage.into_iter().chain(front) {
            guard.faults.raise(Fault::of_damage(damage, LOCAL.to_owned(), &guard.book));
        }
    }

    fn came_twice(&self, local: &LocalGuard, start: NonNull<u8>, record: Option<&Record>) {
        self.live.set(self.live.get().wrapping_add(1));
        local.raise(FaultKind::DoubleFree, start, record);
    }
}
