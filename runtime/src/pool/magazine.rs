//! Magazines of free blocks, and the depot where full ones are exchanged for empty ones.
//!
//! Source: Bonwick and Adams, "Magazines and Vmem" (2001). A thread has two magazines of a class: it works with one and
//! keeps the other full or empty, so that a thread that allocates and frees around a boundary does not go to the depot
//! each time. Only whole magazines move. Where no lock may be taken a thread has a hand instead, a few blocks with room of
//! their own (`row`).
//!
//! I1  A magazine belongs to one [`Rounds`] or to the depot; a block in a magazine belongs to it.
//! I2  In the depot a magazine is full, or empty, and on the list that says which.
//! O1  Magazines change hands through the depot's lock; rounds through the gate of the row they are in.
//! Progress: blocking at the exchange. No allocation of ours is made under the lock.

use super::chain::List;
use super::number::{Geometry, Links};
use std::alloc::{Layout, alloc, dealloc};
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null_mut};

/// Empty magazines that a depot keeps at most.
const EMPTIES_MAX: usize = 16;

/// A magazine's head; `capacity` starts of blocks follow it.
#[repr(C)]
struct Magazine {
    next: *mut Magazine,
    count: u32,
    capacity: u32,
}

type Item = NonNull<u8>;

impl Magazine {
    fn layout(capacity: u32) -> Layout {
        let items = Layout::array::<Item>(capacity as usize).expect("a magazine is small");
        Layout::new::<Magazine>().extend(items).expect("a magazine is small").0
    }

    /// An empty one; null when there is no memory for it.
    fn new(capacity: u32) -> *mut Self {
        // SAFETY: the layout has the head's size at least.
        let magazine: *mut Self = unsafe { alloc(Self::layout(capacity)) }.cast();
        if !magazine.is_null() {
            // SAFETY: fresh memory of that layout.
            unsafe { magazine.write(Self { next: null_mut(), count: 0, capacity }) };
        }
        magazine
    }

    /// # Safety
    /// `magazine` came from `new`, and nobody uses it any more.
    unsafe fn free(magazine: *mut Self) {
        // SAFETY: by the caller.
        unsafe { dealloc(magazine.cast(), Self::layout((*magazine).capacity)) };
    }

    /// # Safety
    /// `magazine` came from `new` and lives.
    unsafe fn items(magazine: *mut Self) -> *mut Item {
        // SAFETY: the items follow the head, which is aligned as they are.
        unsafe { magazine.add(1).cast() }
    }
}

/// Blocks in a hand at most.
const HAND_BLOCKS: usize = 8;

/// Room for a few blocks beside the rounds, for those who work without magazines.
#[derive(Debug)]
pub struct Hand([MaybeUninit<Item>; HAND_BLOCKS]);

// SAFETY: a hand is room; the blocks in it are those of its rounds.
unsafe impl Send for Hand {}

impl Default for Hand {
    fn default() -> Self {
        Self([const { MaybeUninit::uninit() }; HAND_BLOCKS])
    }
}

/// A thread's two magazines of a class, or a hand. How many blocks are in the loaded one is kept by who has the rounds, and
/// handed in as `held`; it is 0 at first.
#[derive(Debug)]
pub struct Rounds {
    /// Where the loaded blocks are: in `loaded`, or in a hand.
    items: *mut Item,
    capacity: u32,
    loaded: *mut Magazine,
    previous: *mut Magazine,
}

// SAFETY: rounds own their magazines and the blocks in them, to which no thread is special.
unsafe impl Send for Rounds {}

impl Default for Rounds {
    fn default() -> Self {
        Self { items: NonNull::dangling().as_ptr(), capacity: 0, loaded: null_mut(), previous: null_mut() }
    }
}

impl Rounds {
    /// Takes the block put in last.
    #[inline(always)]
    pub fn pop(&mut self, held: &mut u32) -> Option<NonNull<u8>> {
        *held = held.checked_sub(1)?;
        // SAFETY: items below `held` are written (`push`), and it was above 0.
        Some(unsafe { *self.items.add(*held as usize) })
    }

    /// Puts a block in; false, and nothing done, when there is no room where the loaded blocks are.
    #[inline(always)]
    pub fn push(&mut self, held: &mut u32, block: NonNull<u8>) -> bool {
        if *held == self.capacity {
            return false;
        }
        // SAFETY: `held` is below the capacity.
        unsafe { self.items.add(*held as usize).write(block) };
        *held += 1;
        true
    }

    /// Room where the loaded blocks are.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// From now on blocks are in a hand, of which `capacity` places are used. Nothing is held.
    ///
    /// # Safety
    /// The hand stays where it is for as long as these rounds are used, and nobody else uses it.
    pub unsafe fn use_hand(&mut self, hand: *mut Hand, capacity: u32) {
        // SAFETY: by the caller it is there.
        self.items = unsafe { (&raw mut (*hand).0).cast() };
        self.capacity = capacity.min(HAND_BLOCKS as u32);
    }

    /// From now on blocks are in magazines, if there are any yet. Nothing is held.
    pub fn use_magazines(&mut self) {
        if self.loaded.is_null() {
            self.capacity = 0;
        } else {
            // SAFETY: it is ours (I1).
            unsafe { (*self.loaded).count = 0 };
            self.load(self.loaded);
        }
    }

    /// Loads a magazine; says how many blocks it holds.
    fn load(&mut self, magazine: *mut Magazine) -> u32 {
        self.loaded = magazine;
        // SAFETY: the magazine is ours (I1).
        unsafe {
            self.capacity = (*magazine).capacity;
            self.items = Magazine::items(magazine);
            (*magazine).count
        }
    }

    /// Makes the two magazines if there are none; false when there is no memory for them.
    pub fn furnish(&mut self, capacity: u32) -> bool {
        if self.loaded.is_null() {
            let (loaded, previous) = (Magazine::new(capacity), Magazine::new(capacity));
            if loaded.is_null() || previous.is_null() {
                // SAFETY: nobody knows of them.
                [loaded, previous]
                    .into_iter()
                    .filter(|one| !one.is_null())
                    .for_each(|one| unsafe { Magazine::free(one) });
                return false;
            }
            self.previous = previous;
            self.load(loaded);
        }
        true
    }

    fn swap(&mut self, held: &mut u32) {
        // SAFETY: both are ours (I1).
        unsafe { (*self.loaded).count = *held };
        let loaded = std::mem::replace(&mut self.previous, self.loaded);
        *held = self.load(loaded);
    }

    /// With the loaded magazine empty: loads the previous one if it holds something.
    pub fn swap_for_blocks(&mut self, held: &mut u32) -> bool {
        // SAFETY: it is ours (I1).
        let holds = !self.previous.is_null() && unsafe { (*self.previous).count } > 0;
        if holds {
            self.swap(held);
        }
        holds
    }

    /// With the loaded magazine full: loads the previous one if it is empty.
    pub fn swap_for_room(&mut self, held: &mut u32) -> bool {
        // SAFETY: it is ours (I1).
        let empty = !self.previous.is_null() && unsafe { (*self.previous).count } == 0;
        if empty {
            self.swap(held);
        }
        empty
    }

    /// Gives the loaded magazine, empty, for a full one; false when the depot has none.
    pub fn fill(&mut self, held: &mut u32, depot: &mut Depot) -> bool {
        let Some(full) = Depot::pop(&mut depot.full) else { return false };
        let empty = std::mem::replace(&mut self.loaded, full);
        *held = self.load(full);
        if !empty.is_null() {
            depot.put_empty(empty);
        }
        true
    }

    /// Gives the loaded magazine, full, for an empty one; false when there is none, nor memory for one, and when no
    /// magazine is loaded.
    pub fn flush(&mut self, held: &mut u32, depot: &mut Depot, spare: &mut Spare) -> bool {
        if self.loaded.is_null() {
            return false;
        }
        let empty = match Depot::pop(&mut depot.empty) {
            Some(empty) => {
                depot.empties -= 1;
                empty
            }
            None if spare.0.is_null() => return false,
            None => std::mem::replace(&mut spare.0, null_mut()),
        };
        if !cfg!(rt_mutant = "pool_magazine_uncounted") {
            // SAFETY: it is ours (I1).
            unsafe { (*self.loaded).count = *held };
        }
        Depot::push(&mut depot.full, self.loaded);
        *held = self.load(empty);
        true
    }

    /// Moves every block to a list. The magazines stay.
    pub fn empty_into(&mut self, held: &mut u32, list: &mut List, geometry: &Geometry, links: &Links) {
        loop {
            while let Some(block) = self.pop(held) {
                list.push(geometry.id(block), links);
            }
            if !self.swap_for_blocks(held) {
                return;
            }
        }
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        for magazine in [self.loaded, self.previous] {
            if !magazine.is_null() {
                // SAFETY: ours, and gone with us.
                unsafe { Magazine::free(magazine) };
            }
        }
    }
}

/// An empty magazine made before the depot's lock was taken.
#[derive(Debug)]
pub struct Spare(*mut Magazine);

impl Spare {
    /// Makes one; perhaps nothing, when there is no memory.
    pub fn new(capacity: u32) -> Self {
        Self(Magazine::new(capacity))
    }

    /// None, for those who expect the depot to have one.
    pub fn none() -> Self {
        Self(null_mut())
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: nobody took it.
            unsafe { Magazine::free(self.0) };
        }
    }
}

/// Where a class's full and empty magazines are kept (I2).
#[derive(Debug)]
pub struct Depot {
    full: *mut Magazine,
    empty: *mut Magazine,
    empties: usize,
}

// SAFETY: a depot owns its magazines and the blocks in them, to which no thread is special.
unsafe impl Send for Depot {}

impl Default for Depot {
    fn default() -> Self {
        Self { full: null_mut(), empty: null_mut(), empties: 0 }
    }
}

impl Depot {
    fn pop(list: &mut *mut Magazine) -> Option<*mut Magazine> {
        let top = NonNull::new(*list)?.as_ptr();
        // SAFETY: on one of our lists, so ours (I1).
        *list = unsafe { (*top).next };
        Some(top)
    }

    fn push(list: &mut *mut Magazine, magazine: *mut Magazine) {
        // SAFETY: the caller gives it to us (I1).
        unsafe { (*magazine).next = *list };
        *list = magazine;
    }

    fn put_empty(&mut self, magazine: *mut Magazine) {
        if self.empties == EMPTIES_MAX {
            // SAFETY: given to us (I1), and empty.
            unsafe { Magazine::free(magazine) };
        } else {
            // SAFETY: given to us (I1).
            unsafe { (*magazine).count = 0 };
            Self::push(&mut self.empty, magazine);
            self.empties += 1;
        }
    }

    /// Moves every block to a list.
    pub fn empty_into(&mut self, list: &mut List, geometry: &Geometry, links: &Links) {
        while let Some(magazine) = Self::pop(&mut self.full) {
            // SAFETY: ours (I1), with `count` items written.
            unsafe {
                for at in 0..(*magazine).count as usize {
                    list.push(geometry.id(*Magazine::items(magazine).add(at)), links);
                }
            }
            self.put_empty(magazine);
        }
    }
}

impl Drop for Depot {
    fn drop(&mut self) {
        for list in [&mut self.full, &mut self.empty] {
            while let Some(magazine) = Self::pop(list) {
                // SAFETY: ours (I1).
                unsafe { Magazine::free(magazine) };
            }
        }
    }
}

#[cfg(all(test, not(any(rt_loom, rt_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn rounds_without_magazines_have_none_to_give() {
        let (mut rounds, mut depot) = (Rounds::default(), Depot::default());
        depot.put_empty(Magazine::new(2));
        assert!(!rounds.flush(&mut 0, &mut depot, &mut Spare::new(2)));
        assert_eq!((rounds.capacity(), depot.empties), (0, 1));
        assert!(depot.full.is_null());
    }
}
