//! The ways out of a pool and back into it while it is watched.
//!
//! I1  A block is looked up, and what was noted of it undone, after it was taken from the stock; it is noted before it is put
//!     there (I3 of `watch`). So whoever has a note taken away or made has the block in hand (I2 of `book`).
//! I2  The pool is in order before a fault is raised: a handler may use it, and a panic leaves nothing behind.

use super::book::{Book, CANARY_BYTES, Damage, Homecoming, Kept, Record, SHARDS};
use super::fault::{Deed, Fault, FaultHandler, FaultKind, Faults, OnFault};
use super::report::{OfClass, Outstanding};
use super::watch::{Era, NotGuarded, Watch};
use crate::observe::Reading;
use crate::observe::families::{POOL_FAULTS, POOL_GUARD_BYTES, POOL_GUARDED, POOL_GUARDED_BLOCKS, POOL_UNGUARDED};
use crate::pool::core::{Core, LARGE};
use crate::pool::error::PoolError;
use crate::pool::hosted::Pool;
use crate::pool::large::{Large, Located};
use crate::pool::level::Level;
use crate::pool::size_class::{ALIGNMENT_MAX, CLASSES, SizeClass};
use crate::pool::stock::Stock;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{Arc, Mutex};
use std::collections::VecDeque;
use std::ptr::NonNull;

/// The bit of a block's class that says that it is guarded.
pub const GUARDED: usize = 1 << 7;

const _: () = assert!(LARGE < GUARDED && GUARDED + LARGE < 256);

/// How a block goes out, and hence comes home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// As a `Block`, which knows what it is.
    Block,
    /// As an address, which comes home with a layout.
    Address,
}

/// What a pool has for being guarded.
#[derive(Debug)]
pub struct Guard {
    pub(super) watch: Watch,
    pub(super) book: Book,
    pub(super) faults: Faults,
    /// Blocks handed out unguarded while the pool was guarded.
    pub(super) unguarded: AtomicU64,
    /// Found where it could not be raised.
    pub(super) found: Mutex<VecDeque<Damage>>,
}

impl Guard {
    /// Of a pool that is not guarded.
    pub fn new(on_fault: OnFault) -> Self {
        Self::watched(Watch::default(), on_fault)
    }

    /// Of a pool that is guarded from its beginning to its end.
    pub(super) fn lasting(on_fault: OnFault) -> Self {
        Self::watched(Watch::lasting(), on_fault)
    }

    fn watched(watch: Watch, on_fault: OnFault) -> Self {
        Self {
            watch,
            book: Book::default(),
            faults: Faults::new(on_fault),
            unguarded: AtomicU64::new(0),
            found: Mutex::default(),
        }
    }

    /// Begins to guard a pool that is being made.
    pub fn begin(&self, stock: &Stock) {
        stock.control().guard(&self.watch);
    }

    /// Whether what is given back has to be looked at.
    #[inline]
    pub fn looks(&self) -> bool {
        self.watch.looks()
    }

    /// Memory goes back to the system, and with it what was noted of its blocks, which are the caller's. What shows is raised
    /// later ([`Core::raise_found`]).
    pub fn forget(&self, goes: &dyn Fn(usize) -> bool) {
        let mut found = self.found.lock();
        self.book.forget(goes, self.watch.era(), |damage| found.push_back(damage));
    }

    /// A large block goes back to the system, the same way.
    pub fn part_with(&self, start: NonNull<u8>) {
        let mut found = self.found.lock();
        found.extend(self.book.part_with(start, self.watch.era()));
    }

    /// Looks at everything in a shard that nobody may touch, which is then found; says how often somebody did. The era is to
    /// last until this returns.
    pub(super) fn check(&self, shard: usize) -> usize {
        let mut found = self.found.lock();
        let before = found.len();
        self.book.check(shard, self.watch.era(), |damage| found.push_back(damage));
        found.len() - before
    }

    /// Raises what was found where it could not be.
    pub(super) fn raise_found(&self, pool: impl Fn() -> String) {
        // One by one, so that after a panic the others are still there for the next to come by.
        let next = || self.found.lock().pop_front();
        while let Some(damage) = next() {
            self.faults.raise(Fault::of_damage(damage, pool(), &self.book));
        }
    }

    /// Adds to a report who allocated what is out and guarded.
    pub(super) fn attribute(&self, report: &mut Outstanding) {
        self.book.each_out(|record| {
            if let Some(deed) = record.allocated {
                report.add(deed.scope_number(), record.len as u64, deed.at().elapsed());
            }
        });
        report.scopes.sort_by_key(|scope| std::cmp::Reverse((scope.bytes, scope.blocks)));
    }

    /// Says everything of it that the pool's families declare.
    pub fn read(&self, reading: &mut Reading) {
        reading.level(&POOL_GUARDED, &[], f64::from(u8::from(self.watch.era().is_some())));
        reading.level(&POOL_GUARDED_BLOCKS, &[], self.book.out() as f64);
        reading.total(&POOL_UNGUARDED, &[], self.unguarded.load(Relaxed));
        reading.level(&POOL_GUARD_BYTES, &[], self.book.bytes() as f64);
        for kind in FaultKind::ALL {
            reading.total(&POOL_FAULTS, &[kind.as_str()], self.faults.count(kind));
        }
    }
}

/// A block that is to be handed out guarded. Has its place in the book, and gives it back unless it was.
#[derive(Debug)]
pub struct Plan<'c> {
    core: &'c Core,
    /// The index of the class it would have been of.
    asked: usize,
    len: usize,
    /// The class it is taken from, if it is not a large one.
    class: Option<SizeClass>,
    door: Door,
}

impl Drop for Plan<'_> {
    fn drop(&mut self) {
        self.core.guard.book.release();
        self.core.left(self.door == Door::Address);
    }
}

/// What was said when something was given back.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// The index of the class, with `GUARDED` if a block said so.
    pub tag: usize,
    /// Bytes that were asked for.
    pub len: usize,
    /// The row it was allocated through.
    pub from: usize,
}

/// Where an address lies in a pool.
enum Place {
    Class(SizeClass, NonNull<u8>),
    Large(Located),
    Nowhere,
}

/// The class that a block for `len` bytes and its canary is taken from, if it is of a class. Where the plain block, of class
/// `asked`, would have been aligned by its size, this one is too.
pub(super) fn roomier(asked: usize, len: usize) -> Option<SizeClass> {
    let alignment = match asked {
        LARGE => ALIGNMENT_MAX,
        class => (1 << SizeClass::at(class).bytes().trailing_zeros()).min(ALIGNMENT_MAX),
    };
    SizeClass::aligned_of(len.saturating_add(CANARY_BYTES), alignment)
}

impl Core {
    /// How a block for `len` bytes is to be guarded; `None` if it is not. `asked` is the index of the class it would be of.
    pub(in crate::pool) fn plan(&self, asked: usize, len: usize, door: Door) -> Option<Plan<'_>> {
        let guard = &self.guard;
        match door {
            Door::Block => _ = guard.watch.era()?,
            Door::Address => match guard.watch.enter() {
                Ok(_) => {}
                Err(NotGuarded { settles }) => {
                    if settles {
                        self.settle();
                    }
                    return None;
                }
            },
        }
        let class = roomier(asked, len);
        let fits = class.is_some() || asked == LARGE || self.stock.level() != Some(Level::Fixed);
        if fits && guard.book.reserve() {
            return Some(Plan { core: self, asked, len, class, door });
        }
        guard.unguarded.fetch_add(1, Relaxed);
        self.left(door == Door::Address);
        None
    }

    /// A place in the watch is given back, if there was one.
    fn left(&self, by_address: bool) {
        if by_address && self.guard.watch.leave() {
            self.settle();
        }
    }

    #[cold]
    fn settle(&self) {
        self.stock.control().settle(&self.guard.watch);
    }

    /// A guarded block: where it begins, its class with `GUARDED`.
    #[cold]
    pub(in crate::pool) fn alloc_guarded(
        &self,
        index: usize,
        plan: Plan<'_>,
    ) -> Result<(NonNull<u8>, usize), PoolError> {
        let Plan { asked, len, class, door, .. } = plan;
        let by_address = door == Door::Address;
        loop {
            let (start, index_of, bytes) = match class {
                Some(class) => (self.take_anyhow(index, class, len)?, class.index(), class.bytes()),
                None => {
                    let bytes = len.saturating_add(CANARY_BYTES);
                    let (start, _) = self.take_large(index, len, bytes)?;
                    (start, LARGE, Large::bytes_for(bytes).expect("a block of so many bytes was had"))
                }
            };
            let allocated = Some(Deed::here(index));
            let (class, asked) = (index_of as u8, asked as u8);
            let record = Record { len, bytes, class, asked, by_address, allocated, freed: None, noted: None };
            // SAFETY: just taken from the stock, so it is ours (I1).
            match unsafe { self.guard.book.hand_out(start, record, self.guard.watch.era()) } {
                Ok(damage) => {
                    std::mem::forget(plan); // Its place is the block's now.
                    if let Some(damage) = damage
                        && let Err(panic) = self.guard.faults.raise_quietly(self.damaged(damage))
                    {
                        // Nobody will have the block.
                        let claim = Claim { tag: index_of | GUARDED, len, from: index };
                        // SAFETY: it is out, by nobody but us.
                        unsafe { self.free_watched(index, claim, start) };
                        std::panic::resume_unwind(panic);
                    }
                    return Ok((start, index_of | GUARDED));
                }
                Err(Kept::NoRoom) => {
                    self.put_home(index, index_of, len, index, start);
                    return Err(PoolError::System { pool: self.address(), bytes: size_of::<Record>() });
                }
                Err(Kept::IsOut(record)) => self.was_freed_twice(index_of, len, start, record),
            }
        }
    }

    /// The stock had a block that somebody else has: it goes nowhere until they bring it home.
    fn was_freed_twice(&self, class: usize, len: usize, start: NonNull<u8>, record: Record) {
        self.count_past_free(class, len);
        self.guard.faults.raise(self.fault(FaultKind::DoubleFree, start.as_ptr() as usize, Some(&record)));
    }

    /// A block that was taken without a plan is about to be handed out: it may have been noted as free. False when it is not to
    /// be handed out.
    #[cold]
    pub(in crate::pool) fn let_out(&self, index: usize, class: usize, len: usize, start: NonNull<u8>) -> bool {
        let Some(era) = self.guard.watch.era() else { return true };
        // SAFETY: just taken from the stock, so it is the caller's (I1).
        match unsafe { self.guard.book.let_out(start, era) } {
            Ok(None) => true,
            Ok(Some(damage)) => {
                if let Err(panic) = self.guard.faults.raise_quietly(self.damaged(damage)) {
                    self.put_home(index, class, len, index, start);
                    std::panic::resume_unwind(panic);
                }
                true
            }
            Err(Kept::IsOut(record)) => {
                self.was_freed_twice(class, len, start, record);
                false
            }
            Err(Kept::NoRoom) => unreachable!("nothing is noted"),
        }
    }

    /// Something is given back while the pool is watched, or by a block that is guarded.
    ///
    /// # Safety
    /// If it is a block that is out, nobody uses it any more.
    #[cold]
    pub(in crate::pool) unsafe fn free_watched(&self, index: usize, claim: Claim, start: NonNull<u8>) {
        let by = Deed::here(index);
        let era = self.guard.watch.era();
        let stays = |record: &Record| usize::from(record.class) != LARGE || Large::keeps(record.bytes, &self.ground);
        match self.guard.book.come_home(start, stays, era, by) {
            Homecoming::Guarded(record, damage) => {
                let front = self.front(&record, start);
                let class = usize::from(record.class);
                // First, as a fault that is found on the way home may end in a panic.
                self.left(record.by_address);
                self.put_home(index, class, record.len, claim.from, start);
                let wrong = record.by_address && (claim.tag, claim.len) != (usize::from(record.asked), record.len);
                if wrong {
                    let fault = self.fault(FaultKind::Layout, start.as_ptr() as usize, Some(&record));
                    self.guard.faults.raise(Fault { said: Some(claim.len), ..fault });
                }
                for damage in damage.into_iter().chain(front) {
                    self.guard.faults.raise(self.damaged(damage));
                }
            }
            Homecoming::Twice(record) => {
                self.guard.faults.raise(self.fault(FaultKind::DoubleFree, start.as_ptr() as usize, Some(&record)));
            }
            // SAFETY: by the caller.
            Homecoming::Unknown => unsafe { self.free_unknown(index, claim, start, era, by) },
        }
    }

    /// The bytes before a block are the end of the block before it.
    fn front(&self, record: &Record, start: NonNull<u8>) -> Option<Damage> {
        let class = usize::from(record.class);
        if class == LARGE || self.stock.shelf(class).geometry.id(start).place() == 0 {
            return None;
        }
        // SAFETY: the block before is in the same chunk.
        self.guard.book.front(unsafe { start.sub(record.bytes) })
    }

    /// Something is given back of which the book knows nothing.
    ///
    /// # Safety
    /// As for [`free_watched`](Self::free_watched).
    unsafe fn free_unknown(&self, index: usize, claim: Claim, start: NonNull<u8>, era: Option<Era>, by: Deed) {
        let address = start.as_ptr() as usize;
        let said = claim.tag & !GUARDED;
        let fault = match self.find(start) {
            // What is guarded has a record while it is out.
            _ if claim.tag != said => {
                Some(self.fault(FaultKind::DoubleFree, address, self.guard.book.departed(address).as_ref()))
            }
            Place::Class(class, of) if of == start => {
                if let Some(era) = era {
                    let (index, bytes) = (class.index() as u8, class.bytes());
                    // SAFETY: a block of the pool, of which the caller says that nobody uses it.
                    if !unsafe { self.guard.book.note_free(start, index, bytes, era, by) } {
                        let record = self.guard.book.of(address);
                        return self.guard.faults.raise(self.fault(FaultKind::DoubleFree, address, record.as_ref()));
                    }
                }
                self.put_home(index, class.index(), claim.len, claim.from, start);
                let layout = || Fault { class: Some(class.bytes()), ..self.fault(FaultKind::Layout, address, None) };
                (class.index() != said).then(layout).map(|fault| Fault { said: Some(claim.len), ..fault })
            }
            Place::Large(Located { in_use: false, start: of, .. }) if of == start => {
                Some(self.fault(FaultKind::DoubleFree, address, None))
            }
            Place::Large(Located { start: of, bytes, .. }) if of == start => {
                if let Some(era) = era.filter(|_| Large::keeps(bytes, &self.ground)) {
                    // SAFETY: a block of the pool, of which the caller says that nobody uses it.
                    if !unsafe { self.guard.book.note_free(start, LARGE as u8, bytes, era, by) } {
                        let record = self.guard.book.of(address);
                        return self.guard.faults.raise(self.fault(FaultKind::DoubleFree, address, record.as_ref()));
                    }
                }
                self.put_home(index, LARGE, claim.len, claim.from, start);
                let layout = || Fault { said: Some(claim.len), ..self.fault(FaultKind::Layout, address, None) };
                (said != LARGE).then(layout)
            }
            Place::Class(_, of) | Place::Large(Located { start: of, .. }) => {
                let offset = (address - of.as_ptr() as usize) as isize;
                let record = self.guard.book.of(of.as_ptr() as usize);
                let fault = self.fault(FaultKind::Inside, of.as_ptr() as usize, record.as_ref());
                Some(Fault { offset, ..fault })
            }
            Place::Nowhere => Some(match self.guard.book.departed(address) {
                Some(record) => self.fault(FaultKind::DoubleFree, address, Some(&record)),
                None => self.fault(FaultKind::Foreign, address, None),
            }),
        };
        fault.into_iter().for_each(|fault| self.guard.faults.raise(fault));
    }

    fn find(&self, start: NonNull<u8>) -> Place {
        if let Some((class, of)) = self.ground.find(start) {
            return Place::Class(class, of);
        }
        self.large.find(start).map_or(Place::Nowhere, Place::Large)
    }

    /// A fault at the calling thread.
    fn fault(&self, kind: FaultKind, address: usize, record: Option<&Record>) -> Fault {
        Fault::here(kind, self.address(), address, record)
    }

    /// The fault that shows as damage.
    fn damaged(&self, damage: Damage) -> Fault {
        Fault::of_damage(damage, self.address(), &self.guard.book)
    }

    /// Raises what was found under the pool's locks.
    pub(in crate::pool) fn raise_found(&self) {
        self.guard.raise_found(|| self.address());
    }

    /// Looks at everything nobody may touch; says how often somebody did.
    pub(in crate::pool) fn check(&self) -> usize {
        let checked = |shard| {
            // So that the era stays, and with it what was noted in it (I1 of `watch`).
            let _control = self.stock.control();
            self.guard.check(shard)
        };
        let faults = (0..SHARDS).map(checked).sum();
        self.raise_found();
        faults
    }

    /// Guards the pool, or guards it no more; says whether it was.
    pub(in crate::pool) fn turn_guarded(&self, to: bool) -> bool {
        let control = self.stock.control();
        let watch = &self.guard.watch;
        if to {
            return !control.guard(watch);
        }
        let was = control.unguard(watch);
        if was {
            // With the right to turn, or what is noted in another era would be lost.
            self.guard.book.clear();
        }
        was
    }

    /// Whether the pool is as quick as its level lets it, or guarded: not so while it is watched for what is still out.
    pub(in crate::pool) fn is_settled(&self) -> bool {
        let control = self.stock.control();
        self.guard.watch.era().is_some() || !control.is_watched()
    }

    /// What is out. Beside operations that are under way, nearly so.
    pub(in crate::pool) fn outstanding(&self) -> Outstanding {
        let mut report = Outstanding { pool: self.address(), ..Outstanding::default() };
        for index in 0..=CLASSES {
            let counts = self.counts(index);
            let (blocks, bytes) = (counts.live(), counts.requested_bytes());
            if blocks > 0 {
                let block_bytes = (index != LARGE).then(|| SizeClass::at(index).bytes());
                report.blocks += blocks;
                report.bytes += bytes;
                report.classes.push(OfClass { block_bytes, blocks, bytes });
            }
        }
        self.guard.attribute(&mut report);
        report
    }
}

impl Pool {
    /// Whether what is handed out now is guarded.
    pub fn is_guarded(&self) -> bool {
        self.core().guard.watch.era().is_some()
    }

    /// Guards what is handed out from now on, or guards it no more; says whether it did before. Other threads allocate and
    /// free meanwhile, and it takes as long as turning the level does. Blocks that are out stay as they are: guarded ones are
    /// looked at when they come home. Once no guarded block is out that is known by its address alone (those of `Vec`s and
    /// boxes, not [`Block`](crate::pool::Block)s), the pool is as quick as it was.
    pub fn turn_guarded(&self, to: bool) -> bool {
        self.core().turn_guarded(to)
    }

    /// Faults of a kind so far.
    pub fn faults_of(&self, kind: FaultKind) -> u64 {
        self.core().guard.faults.count(kind)
    }

    /// The last faults, the oldest first; [`FAULTS_KEPT`](super::FAULTS_KEPT) at most.
    pub fn faults(&self) -> Vec<Fault> {
        self.core().guard.faults.last()
    }

    /// Has every fault from now on told to a handler, instead of the one before: on the thread that came upon it, with no lock
    /// held, so that it may use the pool, though one that has a reference to it keeps it for ever. A handler that panics does so in the middle of an allocation or of a drop.
    pub fn on_fault(&self, handler: impl Fn(&Fault) + Send + Sync + 'static) {
        let handler: Arc<FaultHandler> = Arc::new(handler);
        self.core().guard.faults.tell(handler);
    }

    /// Looks at the canaries of all guarded blocks that are out and at the poison of those that are free; says how many were
    /// touched since somebody last looked. Takes time in proportion to them, and holds up others for a moment each.
    pub fn check(&self) -> usize {
        self.core().check()
    }

    /// What is out now, by class and, as far as it is guarded, by scope.
    pub fn outstanding(&self) -> Outstanding {
        self.core().outstanding()
    }

    /// Ends a pool of which this is the last reference, and says what was not given back. That stays valid, and its memory
    /// with it, until it is.
    ///
    /// # Errors
    /// When there are other references, among them those of boxes and collections in it: then the pool comes back.
    pub fn end(pool: Arc<Self>) -> Result<Outstanding, Arc<Self>> {
        let core = Arc::clone(pool.core());
        let pool = Arc::try_unwrap(pool)?;
        drop(pool);
        Ok(core.outstanding())
    }
}
