//! The ways of the levels: how a block is taken from each of a class's places, and put there.
//!
//! Whoever comes here is inside his gate, at the station that the way is of (I2 of `stock`), but for `shared`, which is
//! open to all.

use super::chain::{Chain, List};
use super::gate::Station;
use super::magazine::{Rounds, Spare};
use super::number::BlockId;
use super::row::{Counting, Event, Row};
use super::shelf::{Run, Shelf};
use super::stock::{FIXED, Home, LOCK_FREE, MUTEX, Stock};
use crate::sync::{Mutex, MutexGuard, Step};
use std::ptr::NonNull;

impl Stock {
    // Not inlined, so that those who cache do not pay for its registers.
    #[inline(never)]
    pub(super) fn take_listed(&self, row: &Row, station: Station, class: usize) -> Option<NonNull<u8>> {
        let shelf = self.shelf(class);
        let mut lost = 0;
        let id = match station {
            LOCK_FREE | FIXED => shelf.shared.pop(&shelf.links, &mut lost),
            MUTEX => {
                let mut locked = self.lock(row, class, &shelf.locked);
                if locked.is_empty()
                    && let Some(chain) = shelf.shared.take_all(&shelf.links)
                {
                    locked.append(chain, &shelf.links);
                }
                locked.pop(&shelf.links)
            }
            _ => None,
        };
        if lost > 0 {
            row.count(Counting::Alone, class, Event::CasFailure, lost);
        }
        Some(shelf.geometry.start(id?))
    }

    #[inline(always)]
    fn lock<'a, T>(&self, row: &Row, class: usize, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        let guard = mutex.try_lock().unwrap_or_else(|| {
            row.count(Counting::Alone, class, Event::LockWait, 1);
            mutex.lock()
        });
        Step::PoolLocked.reached();
        guard
    }

    /// From `shared`, or fresh: the rest of what is fresh goes to `shared`.
    pub(super) fn take_shared<E>(
        &self,
        class: usize,
        row: Option<&Row>,
        grow: impl FnOnce(u32) -> Result<Run, E>,
    ) -> Result<NonNull<u8>, E> {
        let shelf = self.shelf(class);
        let mut lost = 0;
        let taken = match shelf.shared.pop(&shelf.links, &mut lost) {
            Some(id) => Ok(id),
            None => self.fresh(shelf, &mut lost, grow).map(|fresh| match fresh {
                Fresh::Found(id) => id,
                Fresh::Run(run) => {
                    let mut rest = List::default();
                    run.rest().for_each(|id| rest.push(id, &shelf.links));
                    shelf.share(rest, &mut lost);
                    run.first
                }
            }),
        };
        if lost > 0 {
            match row {
                Some(row) => row.count(Counting::Alone, class, Event::CasFailure, lost),
                None => self.past.count(Counting::Among, class, Event::CasFailure, lost),
            }
        }
        taken.map(|id| shelf.geometry.start(id))
    }

    /// Fresh blocks, unless some came home while the class's growth was somebody else's.
    fn fresh<E>(&self, shelf: &Shelf, lost: &mut u64, grow: impl FnOnce(u32) -> Result<Run, E>) -> Result<Fresh, E> {
        let _growth = shelf.growth.lock();
        match shelf.shared.pop(&shelf.links, lost) {
            Some(id) => Ok(Fresh::Found(id)),
            None => grow(shelf.magazine_blocks).map(Fresh::Run),
        }
    }

    /// From the holder's magazines, filled from behind if they are empty. Inside, at a station that caches.
    #[cold]
    pub(super) fn take_cached<E>(
        &self,
        row: &Row,
        class: usize,
        exchanges: bool,
        grow: impl FnOnce(u32) -> Result<Run, E>,
    ) -> Result<NonNull<u8>, E> {
        let shelf = self.shelf(class);
        let slot = row.slot(class);
        let work = |rounds: &mut Rounds| {
            if let Some(block) = rounds.pop() {
                return Ok(block);
            }
            if !rounds.furnish(shelf.magazine_blocks) {
                return self.take_shared(class, Some(row), grow);
            }
            if rounds.swap_for_blocks() {
                return Ok(rounds.pop().expect("a magazine that holds something was loaded"));
            }
            row.count(Counting::Alone, class, Event::Fill, 1);
            if exchanges && rounds.fill(&mut self.lock(row, class, &shelf.depot)) {
                row.count(Counting::Alone, class, Event::Exchange, 1);
                return Ok(rounds.pop().expect("the depot has full magazines"));
            }
            // What is shared came one by one, and goes so.
            let mut lost = 0;
            while rounds.room() > 0
                && let Some(id) = shelf.shared.pop(&shelf.links, &mut lost)
            {
                rounds.push(shelf.geometry.start(id));
            }
            let block = match rounds.pop() {
                Some(block) => Ok(block),
                None => self.fresh(shelf, &mut lost, grow).map(|fresh| match fresh {
                    Fresh::Found(id) => shelf.geometry.start(id),
                    Fresh::Run(run) => {
                        for id in run.rest() {
                            let kept = rounds.push(shelf.geometry.start(id));
                            assert!(kept, "growth gave {} blocks, more than a magazine holds", run.len);
                        }
                        shelf.geometry.start(run.first)
                    }
                }),
            };
            if lost > 0 {
                row.count(Counting::Alone, class, Event::CasFailure, lost);
            }
            block
        };
        // SAFETY: inside, at a station that caches (I1 of `row`).
        unsafe { slot.rounds(work) }
    }

    #[inline(never)]
    pub(super) fn put_listed(&self, row: &Row, station: Station, class: usize, block: NonNull<u8>) -> bool {
        let shelf = self.shelf(class);
        // Of a watched pool this may be anything: it has a number only where it is believed.
        match station {
            LOCK_FREE | FIXED => self.put_shared(Some(row), class, shelf.geometry.id(block)),
            MUTEX => self.lock(row, class, &shelf.locked).push(shelf.geometry.id(block), &shelf.links),
            _ => return false,
        }
        true
    }

    #[inline(always)]
    pub(super) fn put_shared(&self, row: Option<&Row>, class: usize, id: BlockId) {
        let shelf = self.shelf(class);
        let mut lost = 0;
        shelf.shared.push(Chain { first: id, last: id, len: 1 }, &shelf.links, &mut lost);
        if lost > 0 {
            match row {
                Some(row) => row.count(Counting::Alone, class, Event::CasFailure, lost),
                None => self.past.count(Counting::Among, class, Event::CasFailure, lost),
            }
        }
    }

    /// Puts a block on `shared`, for a thread that has no row. The free is not counted.
    pub fn put_past(&self, class: usize, block: NonNull<u8>) {
        self.put_shared(None, class, self.shelf(class).geometry.id(block));
    }

    #[cold]
    pub(super) fn put_cached(&self, row: &Row, class: usize, exchanges: bool, block: NonNull<u8>) -> Home {
        let shelf = self.shelf(class);
        let work = |rounds: &mut Rounds| {
            if rounds.push(block) {
                return Home::Kept;
            }
            if !rounds.furnish(shelf.magazine_blocks) {
                self.put_shared(Some(row), class, shelf.geometry.id(block));
                return Home::Kept;
            }
            if rounds.push(block) || rounds.swap_for_room() && rounds.push(block) {
                return Home::Kept;
            }
            if exchanges {
                let flushed = rounds.flush(&mut self.lock(row, class, &shelf.depot), &mut Spare::none()) || {
                    let mut spare = Spare::new(shelf.magazine_blocks);
                    rounds.flush(&mut self.lock(row, class, &shelf.depot), &mut spare)
                };
                if flushed && rounds.push(block) {
                    row.count(Counting::Alone, class, Event::Flush, 1);
                    row.count(Counting::Alone, class, Event::Exchange, 1);
                    return Home::Kept;
                }
            } else {
                // Nobody to exchange with: one magazine's worth goes out on the shared list, and the other stays.
                let mut list = List::default();
                while let Some(block) = rounds.pop() {
                    list.push(shelf.geometry.id(block), &shelf.links);
                }
                shelf.share(list, &mut 0);
                rounds.push(block);
                row.count(Counting::Alone, class, Event::Flush, 1);
                return Home::Kept;
            }
            self.put_shared(Some(row), class, shelf.geometry.id(block));
            Home::Kept
        };
        // SAFETY: inside, at a station that caches (I1 of `row`).
        unsafe { row.slot(class).rounds(work) }
    }
}

/// What growth came to.
enum Fresh {
    Found(BlockId),
    Run(Run),
}
