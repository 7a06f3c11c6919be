//! What a thread has retired and nobody has gathered yet: an unbounded single-producer single-consumer queue in blocks.
//!
//! Writers: `tail`, and `slots[filled..]`, `filled` and `next` of the block it names, the producer; `head`, and the
//! slots before `filled`, the consumer; a block is allocated by the producer and taken away by the consumer.
//! I1  One producer: the thread that holds the bag's record. One consumer: the thread that holds the collector's lock.
//!     Each role is handed on with that record, or that lock, and everything its last holder did with it.
//! I2  The producer touches a block no more once it has stored its `next`; the consumer takes it away only after loading
//!     that.
//! O1  `filled` store Release pairs with the consumer's load Acquire: it carries the slots before it, and with them
//!     whatever the producer did before it retired the garbage, such as taking it out of a structure.
//! O2  `next` store Release pairs with the consumer's load Acquire: it carries the new block's contents, and I2.
//! Progress: wait-free on both sides, but for the allocator.

use super::pile::Pile;
use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::mem::MaybeUninit;
use std::ptr;

/// Slots in a block: with its two words, 1.5 KiB. Models see the seam between blocks with fewer.
const BLOCK_SLOTS: usize = if crate::sync::MODELLED { 2 } else { 63 };

/// Something to be dropped once nobody can be reading it.
pub(super) struct Garbage {
    pub(super) pointer: *mut (),
    pub(super) bytes: usize,
    /// To be called once, with `pointer`, by whatever thread.
    pub(super) reclaim: unsafe fn(*mut ()),
}

// SAFETY: who retires promises that any thread may reclaim it (`Guard::retire_with`).
unsafe impl Send for Garbage {}

struct Block {
    filled: AtomicUsize,
    next: AtomicPtr<Block>,
    slots: [UnsafeCell<MaybeUninit<Garbage>>; BLOCK_SLOTS],
}

impl Block {
    fn allocate() -> *mut Self {
        Box::into_raw(Box::new(Self {
            filled: AtomicUsize::new(0),
            next: AtomicPtr::new(ptr::null_mut()),
            slots: std::array::from_fn(|_| UnsafeCell::new(MaybeUninit::uninit())),
        }))
    }

    /// # Safety
    /// The slot is written, and the caller's to read, once.
    unsafe fn take(slot: &UnsafeCell<MaybeUninit<Garbage>>) -> Garbage {
        // SAFETY: by the caller.
        slot.with(|slot| unsafe { (*slot).assume_init_read() })
    }
}

/// A block that is full and that its producer is done with. What is in it is leaked unless it is [emptied](Self::empty).
pub(super) struct Filled {
    block: Box<Block>,
    /// What is before was taken already.
    from: usize,
}

impl Filled {
    pub(super) fn len(&self) -> usize {
        BLOCK_SLOTS - self.from
    }

    pub(super) fn empty(self, each: impl FnMut(Garbage)) {
        // SAFETY: all slots of a full block are written, and those from `from` on are read here and no more, as this is
        // consumed.
        self.block.slots[self.from..].iter().map(|slot| unsafe { Block::take(slot) }).for_each(each);
    }
}

/// A place in the queue: a block, and how many of its slots have been done with.
struct Place {
    block: *mut Block,
    slots: usize,
}

pub(super) struct Bag {
    tail: UnsafeCell<Place>,
    head: UnsafeCell<Place>,
}

impl Bag {
    pub(super) fn new() -> Self {
        let block = Block::allocate();
        Self { tail: UnsafeCell::new(Place { block, slots: 0 }), head: UnsafeCell::new(Place { block, slots: 0 }) }
    }

    /// Adds to the bag.
    ///
    /// # Safety
    /// The caller is the producer (I1).
    pub(super) unsafe fn push(&self, garbage: Garbage) {
        self.tail.with_mut(|tail| {
            // SAFETY: the producer alone touches `tail` (I1).
            let tail = unsafe { &mut *tail };
            if tail.slots == BLOCK_SLOTS {
                let next = Block::allocate();
                // SAFETY: the consumer takes a block away only once its `next` is set (I2), and this sets it.
                unsafe { (*tail.block).next.store(next, Ordering::Release) }; // O2
                *tail = Place { block: next, slots: 0 };
            }
            // SAFETY: the tail's block has no `next`, so it is not taken away (I2).
            let block = unsafe { &*tail.block };
            // SAFETY: slots from `filled` on are the producer's.
            block.slots[tail.slots].with_mut(|slot| unsafe { (*slot).write(garbage) });
            tail.slots += 1;
            block.filled.store(tail.slots, Ordering::Release); // O1
        });
    }

    /// Adds what is in the bag to `to`: blocks as they are, once the producer is done with them.
    ///
    /// # Safety
    /// The caller is the consumer (I1).
    pub(super) unsafe fn empty_into(&self, to: &mut Pile) {
        self.head.with_mut(|head| {
            // SAFETY: the consumer alone touches `head` (I1).
            let head = unsafe { &mut *head };
            loop {
                // SAFETY: the consumer takes blocks away itself, and moves `head` on when it does.
                let block = unsafe { &*head.block };
                let filled = block.filled.load(Ordering::Acquire); // O1
                let next = if filled < BLOCK_SLOTS { ptr::null_mut() } else { block.next.load(Ordering::Acquire) }; // O2
                if next.is_null() {
                    // SAFETY: slots before `filled` are written, and each is read once, as `head` moves past it.
                    let pieces = block.slots[head.slots..filled].iter().map(|slot| unsafe { Block::take(slot) });
                    to.add_pieces(pieces);
                    head.slots = filled;
                    return;
                }
                // SAFETY: its `next` is set, so the producer is done with it (I2), and `head` moves on.
                let block = unsafe { Box::from_raw(head.block) };
                to.add(Filled { block, from: head.slots });
                *head = Place { block: next, slots: 0 };
            }
        });
    }
}

impl Drop for Bag {
    /// Frees the blocks. What is in them by now is leaked: the domain empties its bags before they go.
    fn drop(&mut self) {
        let mut block = self.head.with(|head| {
            // SAFETY: exclusive.
            unsafe { (*head).block }
        });
        while !block.is_null() {
            // SAFETY: exclusive; each block is reached once, from `head` along `next`.
            let owned = unsafe { Box::from_raw(block) };
            block = owned.next.load(Ordering::Relaxed);
        }
    }
}
