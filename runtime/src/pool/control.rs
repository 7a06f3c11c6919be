//! The right to claim gates, and what is done with it: the change of level, the search for what idles, a thread's end.
//!
//! The argument is that of `stock`, whose I2 and O1 are kept here.

use super::chain::{Chain, List};
use super::level::Level;
use super::row::{Counting, Event, Row, Slot};
use super::stock::{CLOSED, NOBODY, QUICK, Stock};
use crate::sync::atomic::Ordering;
use crate::sync::{MutexGuard, barrier};

/// The right to claim gates and to change the level.
#[derive(Debug)]
pub struct Control<'a> {
    stock: &'a Stock,
    _guard: MutexGuard<'a, ()>,
}

impl<'a> Control<'a> {
    /// With the lock taken.
    pub(super) fn new(stock: &'a Stock, guard: MutexGuard<'a, ()>) -> Self {
        Self { stock, _guard: guard }
    }
}

impl Control<'_> {
    /// Claims gates and waits until their holders are outside.
    fn claim<'r>(slots: impl Iterator<Item = &'r Slot> + Clone) {
        slots.clone().for_each(|slot| slot.gate.claim());
        barrier::heavy();
        slots.for_each(|slot| slot.gate.wait_outside());
    }

    /// Moves what is in a claimed slot's rounds to the shared list; says how many blocks.
    fn drain(&self, row: &Row, class: usize) -> usize {
        let (shelf, slot) = (self.stock.shelf(class), row.slot(class));
        let (mut list, mut held) = (List::default(), slot.gate.held());
        // SAFETY: the gate is claimed, and its holder outside (I1 of `row`).
        unsafe { slot.rounds(|rounds| rounds.empty_into(&mut held, &mut list, &shelf.geometry, &shelf.links)) };
        slot.gate.hold(held);
        let blocks = list.len();
        if blocks > 0 {
            row.count(Counting::Among, class, Event::Flush, 1);
            shelf.share(list, &mut 0);
        }
        blocks
    }

    /// Turns to another level: new operations work at it from some point of this call on, and when it returns every one
    /// does. Says how many free blocks it moved.
    pub fn turn(&self, to: Level) -> usize {
        let quick = self.stock.level.load(Ordering::Relaxed) & QUICK;
        self.change(to as u32 | quick, true)
    }

    /// Whether every operation comes by [`Stock::take`] and [`Stock::put`]. A pool that is closed is not watched.
    pub fn is_watched(&self) -> bool {
        let level = self.stock.level.load(Ordering::Relaxed);
        level != CLOSED && level & QUICK == 0
    }

    /// Has every operation come by [`Stock::take`] and [`Stock::put`], or lets them be quick again. When it returns, none
    /// that goes the other way is under way. Not to be asked of a pool that is closed.
    pub fn watch(&self, watched: bool) {
        let level = self.stock.level.load(Ordering::Relaxed) & !QUICK;
        self.change(level | if watched { 0 } else { QUICK }, false);
    }

    /// Ends all allocating: frees are told so from now on, and none is under way when this returns.
    pub fn close(&self) {
        self.change(CLOSED, true);
    }

    fn change(&self, to: u32, disowned: bool) -> usize {
        let stock = self.stock;
        stock.level.store(to, Ordering::Release); // O1
        if !cfg!(rt_mutant = "pool_turn_unclaimed") {
            Self::claim(stock.all_rows().flat_map(Row::slots));
        }
        if disowned {
            stock.owner.store(NOBODY, Ordering::Relaxed);
        }
        let mut moved = 0;
        for (class, shelf) in stock.shelves.iter().enumerate() {
            moved += stock.all_rows().map(|row| self.drain(row, class)).sum::<usize>();
            let mut list = List::default();
            shelf.depot.lock().empty_into(&mut list, &shelf.geometry, &shelf.links);
            if !cfg!(rt_mutant = "pool_turn_forgets_locked")
                && let Some(chain) = shelf.locked.lock().take()
            {
                list.append(chain, &shelf.links);
            }
            moved += list.len();
            shelf.share(list, &mut 0);
        }
        if to != CLOSED {
            stock.all_rows().flat_map(Row::slots).for_each(|slot| slot.gate.vacate());
        }
        moved
    }

    /// Whether some thread holds blocks of a class, as far as is known: more may be in magazines that are not loaded.
    pub fn finds(&self, class: usize) -> bool {
        self.stock.all_rows().any(|row| row.slot(class).gate.held() > 0)
    }

    /// Moves what idles of a class in threads' rounds, in the depot and behind the lock to the shared list, where a
    /// thread that has no row finds it too.
    pub fn sweep(&self, class: usize) {
        let stock = self.stock;
        if stock.level().is_some_and(Level::caches) {
            Self::claim(stock.all_rows().map(|row| row.slot(class)));
            for row in stock.all_rows() {
                self.drain(row, class);
                row.slot(class).gate.vacate();
            }
        }
        let shelf = stock.shelf(class);
        let mut list = List::default();
        shelf.depot.lock().empty_into(&mut list, &shelf.geometry, &shelf.links);
        list.append_if(shelf.locked.lock().take(), &shelf.links);
        shelf.share(list, &mut 0);
    }

    /// Moves what idles in threads' rounds of all classes to the shared lists.
    pub fn sweep_all(&self) {
        let stock = self.stock;
        if stock.level().is_some_and(Level::caches) {
            Self::claim(stock.all_rows().flat_map(Row::slots));
            for class in 0..stock.shelves.len() {
                stock.all_rows().for_each(|row| _ = self.drain(row, class));
            }
            stock.all_rows().flat_map(Row::slots).for_each(|slot| slot.gate.vacate());
        }
    }

    /// A thread's end: moves all that is in its row to the shared lists, and takes back what it may do.
    pub fn vacate(&self, index: usize) {
        let Some(row) = self.stock.row(index) else { return };
        row.leave();
        if !cfg!(rt_mutant = "pool_vacate_unclaimed") {
            Self::claim(row.slots());
        }
        if self.stock.is_closed() {
            return;
        }
        if !cfg!(rt_mutant = "pool_vacate_keeps_rounds") {
            (0..self.stock.shelves.len()).for_each(|class| _ = self.drain(row, class));
        }
        let index = index as u32;
        _ = self.stock.owner.compare_exchange(index, NOBODY, Ordering::Relaxed, Ordering::Relaxed);
        row.slots().for_each(|slot| slot.gate.vacate());
    }

    /// What may be idle of a class: everything on the shared list and behind the lock. The caller puts back what it does
    /// not keep.
    pub fn take_idle(&self, class: usize) -> Option<Chain> {
        let shelf = self.stock.shelf(class);
        let mut list = List::default();
        shelf.depot.lock().empty_into(&mut list, &shelf.geometry, &shelf.links);
        list.append_if(shelf.locked.lock().take(), &shelf.links);
        list.append_if(shelf.shared.take_all(&shelf.links), &shelf.links);
        list.take()
    }
}
