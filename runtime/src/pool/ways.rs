//! The ways of the levels: how a block is taken from each of a class's places, and put there.
//!
//! Whoever comes here is inside his gate, at the station that the way is of (I2 of `stock`), but for `shared`, which is
//! open to all.

use super::chain::{Chain, List};
use super::gate::{Pass, Station};
use super::magazine::{Rounds, Spare};
use super::number::BlockId;
use super::row::{Counting, Event, Row};
use super::shelf::{Run, Shelf};
use super::stock::{FIXED, LOCK_FREE, Stock, THREAD_CACHED};
use crate::sync::{Mutex, MutexGuard, Step};
use std::ptr::NonNull;

impl Stock {
    /// From behind the lock, where all that is shared is put first if there is nothing.
    #[inline]
    pub(super) fn pop_locked(&self, row: &Row, class: usize) -> Option<NonNull<u8>> {
        let shelf = self.shelf(class);
        let mut locked = self.lock(row, class, &shelf.locked);
        if locked.is_empty() {
            locked.append_if(shelf.shared.take_all(&shelf.links), &shelf.links);
        }
        Some(shelf.geometry.start(locked.pop(&shelf.links)?))
    }

    /// From behind the lock, or fresh.
    pub(super) fn take_locked<E>(
        &self,
        row: &Row,
        class: usize,
        grow: impl FnOnce(u32) -> Result<Run, E>,
    ) -> Result<NonNull<u8>, E> {
        self.pop_locked(row, class).map_or_else(|| self.take_shared(class, Some(row), grow), Ok)
    }

    #[inline]
    pub(super) fn put_locked(&self, row: &Row, class: usize, block: NonNull<u8>) {
        let shelf = self.shelf(class);
        let id = shelf.geometry.id(block);
        self.lock(row, class, &shelf.locked).push(id, &shelf.links);
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

    /// From the holder's rounds, filled from behind if nothing is loaded. Inside, at a station that caches.
    pub(super) fn take_cached<E>(
        &self,
        row: &Row,
        class: usize,
        station: Station,
        pass: &mut Pass<'_>,
        grow: impl FnOnce(u32) -> Result<Run, E>,
    ) -> Result<NonNull<u8>, E> {
        let shelf = self.shelf(class);
        let (has_hand, mut held) = (matches!(station, LOCK_FREE | FIXED), pass.held());
        let work = |rounds: &mut Rounds| {
            if let Some(block) = rounds.pop(&mut held) {
                return Ok(block);
            }
            if !has_hand && !rounds.furnish(shelf.magazine_blocks) {
                return self.take_shared(class, Some(row), grow);
            }
            if rounds.swap_for_blocks(&mut held) {
                return Ok(rounds.pop(&mut held).expect("a magazine that holds something was loaded"));
            }
            row.count(Counting::Alone, class, Event::Fill, 1);
            if station == THREAD_CACHED && rounds.fill(&mut held, &mut self.lock(row, class, &shelf.depot)) {
                row.count(Counting::Alone, class, Event::Exchange, 1);
                return Ok(rounds.pop(&mut held).expect("the depot has full magazines"));
            }
            let wanted = if has_hand { rounds.capacity().div_ceil(2) } else { rounds.capacity() };
            let (mut lost, mut some) = (0, List::default());
            some.append_if(shelf.shared.pop_some(wanted, &shelf.links, &mut lost), &shelf.links);
            while let Some(id) = some.pop(&shelf.links) {
                rounds.push(&mut held, shelf.geometry.start(id));
            }
            let block = match rounds.pop(&mut held) {
                Some(block) => Ok(block),
                None => self.fresh(shelf, &mut lost, grow).map(|fresh| match fresh {
                    Fresh::Found(id) => shelf.geometry.start(id),
                    Fresh::Run(run) => {
                        // A hand has no room for all of them.
                        let mut rest = List::default();
                        run.rest().for_each(|id| rest.push(id, &shelf.links));
                        while held < wanted
                            && let Some(id) = rest.pop(&shelf.links)
                        {
                            rounds.push(&mut held, shelf.geometry.start(id));
                        }
                        shelf.share(rest, &mut lost);
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
        let block = unsafe { row.slot(class).rounds(work) };
        pass.hold(held);
        block
    }

    /// To the holder's rounds, part of which goes to behind if they are full. Inside, at a station that caches.
    pub(super) fn put_cached(
        &self,
        row: &Row,
        class: usize,
        station: Station,
        pass: &mut Pass<'_>,
        block: NonNull<u8>,
    ) {
        let mut held = pass.held();
        let work = |rounds: &mut Rounds| match station {
            LOCK_FREE | FIXED => self.put_in_hand(row, class, rounds, &mut held, block),
            _ => self.put_in_magazine(row, class, station == THREAD_CACHED, rounds, &mut held, block),
        };
        // SAFETY: inside, at a station that caches (I1 of `row`).
        unsafe { row.slot(class).rounds(work) };
        pass.hold(held);
    }

    /// Half of a full hand goes to `shared` by one exchange.
    fn put_in_hand(&self, row: &Row, class: usize, rounds: &mut Rounds, held: &mut u32, block: NonNull<u8>) {
        if rounds.push(held, block) {
            return;
        }
        let (shelf, stays) = (self.shelf(class), rounds.capacity() / 2);
        let (mut list, mut lost) = (List::default(), 0);
        while *held > stays
            && let Some(block) = rounds.pop(held)
        {
            list.push(shelf.geometry.id(block), &shelf.links);
        }
        shelf.share(list, &mut lost);
        rounds.push(held, block);
        row.count(Counting::Alone, class, Event::Flush, 1);
        if lost > 0 {
            row.count(Counting::Alone, class, Event::CasFailure, lost);
        }
    }

    fn put_in_magazine(
        &self,
        row: &Row,
        class: usize,
        exchanges: bool,
        rounds: &mut Rounds,
        held: &mut u32,
        block: NonNull<u8>,
    ) {
        let shelf = self.shelf(class);
        if rounds.push(held, block) {
            return;
        }
        if !rounds.furnish(shelf.magazine_blocks) {
            return self.put_shared(Some(row), class, shelf.geometry.id(block));
        }
        if rounds.push(held, block) || rounds.swap_for_room(held) && rounds.push(held, block) {
            return;
        }
        if !exchanges {
            // Nobody to exchange with: one magazine's worth goes out on the shared list, and the other stays.
            let mut list = List::default();
            while let Some(block) = rounds.pop(held) {
                list.push(shelf.geometry.id(block), &shelf.links);
            }
            shelf.share(list, &mut 0);
            rounds.push(held, block);
            return row.count(Counting::Alone, class, Event::Flush, 1);
        }
        let flushed = rounds.flush(held, &mut self.lock(row, class, &shelf.depot), &mut Spare::none()) || {
            let mut spare = Spare::new(shelf.magazine_blocks);
            rounds.flush(held, &mut self.lock(row, class, &shelf.depot), &mut spare)
        };
        if flushed && rounds.push(held, block) {
            row.count(Counting::Alone, class, Event::Flush, 1);
            row.count(Counting::Alone, class, Event::Exchange, 1);
        } else {
            self.put_shared(Some(row), class, shelf.geometry.id(block));
        }
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
}

/// What growth came to.
enum Fresh {
    Found(BlockId),
    Run(Run),
}
