//! What the guard knows of blocks: who has those that are out, and who freed those that are not.
//!
//! I1  A block that is out and guarded has a record that says so, from before it is handed out until it comes home;
//!     behind its bytes stands the canary. Who brings it home turns the record under the lock of its shard, so one
//!     does.
//! I2  A record of a free block means something in the era it was made in. Its block's bytes are then poison, all of
//!     them, for as long as the record stands: it is made, and taken away, under the lock by who has the block in hand.
//! I3  Canaries and poison are therefore written and looked at under the lock of the shard.
//! Progress: blocking, at the shard. A lock is held for as long as it takes to write a block's bytes, which may be 16
//! MiB of a large one, and nothing else is locked meanwhile.
//!
//! Memory: 80 bytes a record and what a table leaves free, for [`OUT_MAX`] blocks that are out and [`FREE_MAX`] that
//! are free: 100 MiB at the very most.

use super::fault::Deed;
use super::pattern::{self, CANARY, FREED, FRESH};
use super::watch::Era;
use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use crate::sync::{CachePadded, Mutex, MutexGuard};
use foldhash::fast::FixedState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::ops::Range;
use std::ptr::NonNull;

/// Blocks that can be out and guarded at a time; further ones are handed out unguarded.
pub const OUT_MAX: usize = 1 << 18;
/// Free blocks that are remembered at a time.
const FREE_MAX: usize = 1 << 18;
/// Records of blocks whose memory went elsewhere, kept to name what is freed once more.
const DEPARTED: usize = 256;
/// Parts with a lock each.
pub const SHARDS: usize = 16;
/// Canary bytes that a block has at least. The first half is for what runs past the block, the second for what runs
/// before the next one.
pub const CANARY_BYTES: usize = 16;
const FRONT_BYTES: usize = CANARY_BYTES / 2;

/// One block, out or free.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// Bytes that were asked for; all of the block when it was not guarded.
    pub len: usize,
    /// Bytes of the block that are written here: canary and poison are within.
    pub bytes: usize,
    /// The index of its class.
    pub class: u8,
    /// The index of the class that its layout says.
    pub asked: u8,
    /// It is counted by the watch.
    pub by_address: bool,
    /// Who allocated it, if it was guarded then.
    pub allocated: Option<Deed>,
    /// Who freed it.
    pub freed: Option<Deed>,
    /// The era in which that was noted; `None` while it is out.
    pub noted: Option<Era>,
}

impl Record {
    fn is_out(&self) -> bool {
        self.freed.is_none()
    }

    /// Whether it says in this era that the block is free.
    fn is_free(&self, era: Option<Era>) -> bool {
        era.is_some() && self.noted == era
    }

    fn canary(&self) -> Range<usize> {
        self.len..self.bytes
    }
}

/// Where bytes were touched that nobody may touch.
#[derive(Debug, Clone, Copy)]
pub struct Damage {
    /// The block that has them.
    pub start: usize,
    /// The first of them, from its beginning.
    pub at: usize,
    /// What is known of the block.
    pub record: Record,
}

impl Damage {
    /// Whether the next block ran before its beginning, rather than this one past its end, or into it after it was
    /// freed.
    pub fn is_front_of_next(&self) -> bool {
        self.at + FRONT_BYTES >= self.record.bytes && self.at >= self.record.len
    }
}

/// What became of an address that was given back.
#[derive(Debug)]
pub enum Homecoming {
    /// It was a guarded block's, which is home as far as the book goes.
    Guarded(Record, Option<Damage>),
    /// It was that of a block that is free already.
    Twice(Record),
    /// Nothing is known of it.
    Unknown,
}

/// Why a block is not to be handed out.
#[derive(Debug)]
pub enum Kept {
    /// There is no memory for its record.
    NoRoom,
    /// Somebody has it: it was freed twice while nobody looked.
    IsOut(Record),
}

type Records = HashMap<usize, Record, FixedState>;

/// The book.
#[derive(Debug)]
pub struct Book {
    shards: Box<[CachePadded<Mutex<Records>>]>,
    departed: Mutex<VecDeque<(usize, Record)>>,
    out: AtomicUsize,
    free: AtomicUsize,
}

impl Default for Book {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| CachePadded::new(Mutex::new(Records::default()))).collect();
        Self { shards, departed: Mutex::default(), out: AtomicUsize::new(0), free: AtomicUsize::new(0) }
    }
}

fn address(start: NonNull<u8>) -> usize {
    start.as_ptr().expose_provenance()
}

/// What [`address`] was made from.
fn pointer(address: usize) -> NonNull<u8> {
    NonNull::new(std::ptr::with_exposed_provenance_mut(address)).expect("no block begins at zero")
}

impl Book {
    fn shard(&self, start: usize) -> MutexGuard<'_, Records> {
        // The low bits are all alike, and those of a hash are not.
        let hash = FixedState::default().hash_one(start) as usize;
        self.shards[hash % SHARDS].lock()
    }

    /// A place for a block that is to be handed out; false when there is none.
    pub fn reserve(&self) -> bool {
        let reserved = self.out.fetch_add(1, Relaxed) < OUT_MAX;
        if !reserved {
            self.release();
        }
        reserved
    }

    /// Gives such a place back.
    pub fn release(&self) {
        self.out.fetch_sub(1, Relaxed);
    }

    /// Blocks that are out and guarded.
    pub fn out(&self) -> usize {
        self.out.load(Relaxed)
    }

    /// Bytes that records take.
    pub fn bytes(&self) -> usize {
        let record = size_of::<(usize, Record)>() + 1;
        // What a table has room for is seven eighths of what it takes.
        self.shards.iter().map(|shard| shard.lock().capacity() * record / 7 * 8).sum()
    }

    /// Notes a block that is handed out, for which there is a place, and writes its canary. Says where the poison of a
    /// free block was touched.
    ///
    /// # Safety
    /// The caller has the block in hand and all of its bytes to itself.
    pub unsafe fn hand_out(
        &self,
        start: NonNull<u8>,
        record: Record,
        era: Option<Era>,
    ) -> Result<Option<Damage>, Kept> {
        let mut shard = self.shard(address(start));
        shard.try_reserve(1).map_err(|_| Kept::NoRoom)?;
        // SAFETY: by the caller.
        let damage = unsafe { self.take_note(&mut shard, start, era) }?;
        // SAFETY: by the caller.
        unsafe {
            pattern::fill(start, 0..record.len, FRESH);
            pattern::fill(start, record.canary(), CANARY);
        }
        shard.insert(address(start), record); // I1
        Ok(damage)
    }

    /// A block is handed out that is not guarded: what was noted of it as a free one is so no more. Says where its
    /// poison was touched.
    ///
    /// # Safety
    /// As for [`hand_out`](Self::hand_out).
    pub unsafe fn let_out(&self, start: NonNull<u8>, era: Era) -> Result<Option<Damage>, Kept> {
        // SAFETY: by the caller.
        unsafe { self.take_note(&mut self.shard(address(start)), start, Some(era)) }
    }

    /// # Safety
    /// As for [`hand_out`](Self::hand_out).
    unsafe fn take_note(
        &self,
        shard: &mut Records,
        start: NonNull<u8>,
        era: Option<Era>,
    ) -> Result<Option<Damage>, Kept> {
        let Some(&note) = shard.get(&address(start)) else { return Ok(None) };
        if note.is_out() {
            return Err(Kept::IsOut(note));
        }
        shard.remove(&address(start));
        self.free.fetch_sub(1, Relaxed);
        if !note.is_free(era) {
            return Ok(None);
        }
        // SAFETY: by the caller; the bytes are poison (I2).
        let at = unsafe { pattern::first_other(start, 0..note.bytes, FREED) };
        Ok(at.map(|at| Damage { start: address(start), at, record: note }))
    }

    /// An address is given back. If it is a guarded block's, its canary is looked at, and while the pool is guarded it
    /// is poisoned and noted as free, unless it does not stay: then its memory goes elsewhere.
    pub fn come_home(
        &self,
        start: NonNull<u8>,
        stays: impl Fn(&Record) -> bool,
        era: Option<Era>,
        by: Deed,
    ) -> Homecoming {
        let mut shard = self.shard(address(start));
        let Some(record) = shard.get_mut(&address(start)) else { return Homecoming::Unknown };
        if !record.is_out() {
            return if record.is_free(era) { Homecoming::Twice(*record) } else { Homecoming::Unknown };
        }
        let out = *record;
        // SAFETY: the block is out by its record, and whoever brings it home has done with it; the canary was written
        // when it was handed out (I1).
        let at = unsafe { pattern::first_other(start, out.canary(), CANARY) };
        let damage = at.map(|at| Damage { start: address(start), at, record: out });
        self.out.fetch_sub(1, Relaxed);
        let home = Record { freed: Some(by), noted: era, ..out };
        if era.is_some() && stays(&out) && self.free.load(Relaxed) < FREE_MAX {
            // SAFETY: as above.
            unsafe { pattern::fill(start, 0..out.bytes, FREED) }; // I2
            *record = home;
            self.free.fetch_add(1, Relaxed);
        } else {
            shard.remove(&address(start));
            drop(shard);
            self.depart(address(start), home);
        }
        Homecoming::Guarded(out, damage)
    }

    /// A block comes home of which nothing was known. False when it has meanwhile become known as free.
    ///
    /// # Safety
    /// The block is the pool's and not free, and nobody uses it any more.
    pub unsafe fn note_free(&self, start: NonNull<u8>, class: u8, bytes: usize, era: Era, by: Deed) -> bool {
        let mut shard = self.shard(address(start));
        if shard.get(&address(start)).is_some_and(|record| record.is_free(Some(era))) {
            return false;
        }
        if self.free.load(Relaxed) < FREE_MAX && shard.try_reserve(1).is_ok() {
            // SAFETY: by the caller.
            unsafe { pattern::fill(start, 0..bytes, FREED) }; // I2
            let (freed, noted) = (Some(by), Some(era));
            let note =
                Record { len: bytes, bytes, class, asked: class, by_address: false, allocated: None, freed, noted };
            let stale = shard.insert(address(start), note);
            self.free.fetch_add(usize::from(stale.is_none()), Relaxed);
        }
        true
    }

    /// Looks at the bytes before a block, which are the last of the block before it; what was touched is mended, so
    /// that it is told once. Nothing of a block before that is free: when the era has just ended, somebody may have it
    /// already without having come by here. Whoever has it handed out sees to its poison.
    pub fn front(&self, before: NonNull<u8>) -> Option<Damage> {
        let shard = self.shard(address(before));
        let record = shard.get(&address(before)).filter(|record| record.is_out())?;
        let front = record.bytes.saturating_sub(FRONT_BYTES)..record.bytes;
        // SAFETY: the block is out and these bytes are canary, as they are its last (I1), so they are the book's while
        // its lock is held (I3).
        unsafe { look(before, record, front, None) }
    }

    /// Looks at everything in a shard that nobody may touch, and mends what was, so that it is told once. The era is to
    /// last until this returns.
    pub fn check(&self, shard: usize, era: Option<Era>, mut found: impl FnMut(Damage)) {
        let shard = self.shards[shard].lock();
        for (&start, record) in shard.iter() {
            let start = pointer(start);
            let range = if record.is_out() { record.canary() } else { 0..record.bytes };
            // SAFETY: canary is the book's while its lock is held, as in `front`, and so is poison in its era (I2),
            // which the caller keeps from ending.
            unsafe { look(start, record, range, era) }.into_iter().for_each(&mut found);
        }
    }

    /// Memory goes elsewhere: what was noted of free blocks there is so no more. Says where their poison was touched.
    /// Takes time in proportion to all records.
    pub fn forget(&self, goes: &dyn Fn(usize) -> bool, era: Option<Era>, mut found: impl FnMut(Damage)) {
        if self.free.load(Relaxed) == 0 {
            return;
        }
        for shard in &self.shards {
            let mut shard = shard.lock();
            let gone: Vec<usize> = shard.keys().copied().filter(|&start| goes(start)).collect();
            for start in gone {
                // SAFETY: who gives the memory away has all its blocks in hand. So none is out.
                unsafe { self.take_note(&mut shard, pointer(start), era) }
                    .ok()
                    .flatten()
                    .into_iter()
                    .for_each(&mut found);
            }
        }
    }

    /// The same for one block, of which it is remembered that it was freed.
    pub fn part_with(&self, start: NonNull<u8>, era: Option<Era>) -> Option<Damage> {
        if self.free.load(Relaxed) == 0 {
            return None;
        }
        let mut shard = self.shard(address(start));
        let note = shard.get(&address(start)).copied()?;
        // SAFETY: who gives the memory away has the block in hand.
        let damage = unsafe { self.take_note(&mut shard, start, era) }.ok()?;
        drop(shard);
        self.depart(address(start), note);
        damage
    }

    /// Gives back the memory of what means nothing any more, as an era has ended.
    pub fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let before = shard.len();
            shard.retain(|_, record| record.is_out());
            self.free.fetch_sub(before - shard.len(), Relaxed);
            shard.shrink_to_fit();
        }
    }

    /// What is known of the block that begins there.
    pub fn of(&self, start: usize) -> Option<Record> {
        self.shard(start).get(&start).copied()
    }

    /// What was known of a block that began there and whose memory went elsewhere.
    pub fn departed(&self, start: usize) -> Option<Record> {
        self.departed.lock().iter().rev().find(|(known, _)| *known == start).map(|&(_, record)| record)
    }

    fn depart(&self, start: usize, record: Record) {
        let mut departed = self.departed.lock();
        if departed.len() == DEPARTED {
            departed.pop_front();
        }
        departed.push_back((start, record));
    }

    /// Every block that is out and guarded.
    pub fn each_out(&self, mut each: impl FnMut(&Record)) {
        for shard in &self.shards {
            shard.lock().values().filter(|record| record.is_out()).for_each(&mut each);
        }
    }
}

/// Looks at some of what nobody may touch of a block, and mends it.
///
/// # Safety
/// The range is within canary if the block is out, within poison if it is free and the note of this era, and the book's
/// lock is held.
unsafe fn look(start: NonNull<u8>, record: &Record, range: Range<usize>, era: Option<Era>) -> Option<Damage> {
    let byte = match record.is_out() {
        true => CANARY,
        false if record.is_free(era) => FREED,
        false => return None,
    };
    // SAFETY: by the caller.
    let at = unsafe { pattern::first_other(start, range.clone(), byte) }?;
    // SAFETY: by the caller.
    unsafe { pattern::fill(start, range, byte) };
    Some(Damage { start: address(start), at, record: *record })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::guard::watch::Watch;
    use crate::pool::level::Level;
    use crate::pool::stock::Stock;

    const BYTES: usize = 64;

    /// Who frees a block and has learned the era when it was about to end: the block before was handed out since, by a
    /// way that does not lead past the book, and its holder has filled it.
    #[test]
    fn a_free_block_is_left_alone_by_those_who_look_before_theirs() {
        let (book, watch) = (Book::default(), Watch::default());
        assert!(Stock::new(Level::Mutex, Box::default()).unwrap().control().guard(&watch));
        let mut memory = [0; BYTES];
        let start = NonNull::from(&mut memory).cast::<u8>();
        // SAFETY: it is ours.
        unsafe {
            assert!(book.note_free(start, 0, BYTES, watch.era().unwrap(), Deed::here(0)));
            assert_eq!(pattern::first_other(start, 0..BYTES, FREED), None);
            pattern::fill(start, 0..BYTES, 7);
            assert!(book.front(start).is_none());
            assert_eq!(pattern::first_other(start, 0..BYTES, 7), None);
        }
    }
}
