//! When a pool is guarded: turns of the guard beside threads that allocate and free by address, as `pool::guard` does; every
//! interleaving up to two preemptions.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_guard
//! ```
//!
//! A block is a cell, as in `loom_pool`, which holds poison while the book says that the block is free. What could go wrong
//! is that a guarded block comes home by the quick path, which would put it into the class of its layout, and that a block
//! that is noted as free is handed out to somebody who never looks at the note.
#![cfg(rt_loom)]

use loom::sync::Arc;
use loom::thread;
use rheostat_runtime::pool::Level;
use rheostat_runtime::pool::parts::{BlockId, Era, Geometry, Home, Links, Run, Shelf, Stock, Watch};
use rheostat_runtime::sync::{Mutex, UnsafeCell};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const BLOCK_BYTES: usize = 4096;
const BLOCKS: usize = 3;
const POISON: usize = 0xDD;

fn model(schedules_min: usize, check: impl Fn() + Send + Sync + 'static) {
    let schedules = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = schedules.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2)); // LOOM_MAX_PREEMPTIONS, or this.
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        check();
    });
    let schedules = schedules.load(Relaxed);
    assert!(schedules > schedules_min, "the model saw {schedules} schedules");
}

fn geometry() -> Geometry {
    Geometry::new(NonNull::new(0x10_0000 as *mut u8).unwrap(), BLOCK_BYTES)
}

/// What the book says of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Note {
    Nothing,
    Out,
    Free(Era),
}

struct Pool {
    stock: Stock,
    watch: Watch,
    book: Mutex<[Note; BLOCKS]>,
    bytes: [UnsafeCell<usize>; BLOCKS],
    carved: Mutex<u32>,
}

// SAFETY: that no cell has two holders is what the models check.
unsafe impl Sync for Pool {}

/// A block as it goes to another thread.
struct Sent(NonNull<u8>);

// SAFETY: blocks have no thread.
unsafe impl Send for Sent {}

impl Pool {
    fn new() -> Arc<Self> {
        let shelf = Shelf::new(geometry(), Links::modelled(BLOCKS), 1, 0);
        let stock = Stock::new(Level::LockFree, Box::new([shelf])).unwrap();
        (0..2).for_each(|index| stock.ensure_row(index).unwrap().promised());
        let (book, bytes) = (Mutex::new([Note::Nothing; BLOCKS]), [0; BLOCKS].map(UnsafeCell::new));
        Arc::new(Self { stock, watch: Watch::default(), book, bytes, carved: Mutex::new(0) })
    }

    fn place(block: NonNull<u8>) -> usize {
        geometry().id(block).place() as usize
    }

    fn write(&self, block: NonNull<u8>, to: usize) -> usize {
        // SAFETY: as above.
        self.bytes[Self::place(block)].with_mut(|bytes| unsafe { std::mem::replace(&mut *bytes, to) })
    }

    fn settle(&self) {
        self.stock.control().settle(&self.watch);
    }

    /// By address; guarded if the pool is.
    fn alloc(&self, row: usize) -> NonNull<u8> {
        if let Some(block) = self.stock.take_usual(row, 0, 1) {
            self.write(block, 1);
            return block;
        }
        let guarded = match self.watch.enter() {
            Ok(_) => true,
            Err(refused) => {
                if refused.settles {
                    self.settle();
                }
                false
            }
        };
        let grow = |_| {
            let mut carved = self.carved.lock();
            *carved += 1;
            Ok::<_, ()>(Run { first: BlockId::new(0, *carved - 1), len: 1 })
        };
        let block = self.stock.take(row, 0, 1, grow).unwrap();
        let era = self.watch.era();
        if guarded || era.is_some() {
            let mut book = self.book.lock();
            let note = &mut book[Self::place(block)];
            assert_ne!(*note, Note::Out, "somebody has it");
            if era.is_some_and(|era| *note == Note::Free(era)) {
                assert_eq!(self.write(block, 1), POISON, "somebody wrote to it and was never seen");
            }
            *note = if guarded { Note::Out } else { Note::Nothing };
        }
        self.write(block, 1);
        block
    }

    fn free(&self, row: usize, block: NonNull<u8>) {
        let place = Self::place(block);
        if self.stock.put_usual(row, 0, 1, 0, block) {
            return assert_ne!(self.book.lock()[place], Note::Out, "a guarded block came home unseen");
        }
        let mut was_out = false;
        if self.watch.looks() {
            let era = self.watch.era();
            let mut book = self.book.lock();
            was_out = book[place] == Note::Out;
            book[place] = era.map_or(Note::Nothing, Note::Free);
            if era.is_some() {
                self.write(block, POISON);
            }
        } else {
            assert_ne!(self.book.lock()[place], Note::Out, "a guarded block came home unseen");
        }
        if self.stock.put(row, 0, 1, 0, block) == Home::Past {
            self.stock.put_past(0, block);
        }
        if was_out && self.watch.leave() {
            self.settle();
        }
    }

    /// With nothing in use and nothing under way.
    fn check(&self, guarded: bool) {
        let control = self.stock.control();
        assert_eq!((self.watch.era().is_some(), control.is_watched()), (guarded, guarded));
        assert_eq!(self.watch.looks(), guarded, "nothing is out");
        for (note, bytes) in self.book.lock().iter().zip(&self.bytes) {
            assert_ne!(*note, Note::Out);
            if self.watch.era().is_some_and(|era| *note == Note::Free(era)) {
                // SAFETY: nobody else is there.
                assert_eq!(bytes.with(|bytes| unsafe { *bytes }), POISON, "somebody had it and never looked");
            }
        }
    }
}

/// A block that goes out guarded comes home the long way, however late the guard ends; then the pool settles.
#[test]
fn a_guarded_block_comes_home_beside_the_end_of_the_guard() {
    model(50, || {
        let pool = Pool::new();
        pool.stock.control().guard(&pool.watch);
        let other = pool.clone();
        let user = thread::spawn(move || {
            let block = other.alloc(0);
            other.free(0, block);
        });
        pool.stock.control().unguard(&pool.watch);
        user.join().unwrap();
        pool.check(false);
    });
}

/// One is at a quick station when the guard comes, the other brings a block home the long way, which is noted as free if the
/// guard was there before it.
#[test]
fn what_is_noted_as_free_is_handed_out_by_those_who_look() {
    model(100, || {
        let pool = Pool::new();
        let sent = Sent(pool.alloc(0));
        let (taker, freer) = (pool.clone(), pool.clone());
        let taker = thread::spawn(move || {
            let block = taker.alloc(0);
            taker.free(0, block);
        });
        let freer = thread::spawn(move || {
            let Sent(block) = { sent };
            freer.free(1, block);
        });
        pool.stock.control().guard(&pool.watch);
        taker.join().unwrap();
        freer.join().unwrap();
        pool.check(true);
    });
}

/// The guard goes and comes again while a block is noted as free in the era that ended.
#[test]
fn a_note_means_nothing_in_another_era() {
    model(50, || {
        let pool = Pool::new();
        pool.stock.control().guard(&pool.watch);
        let block = pool.alloc(0);
        pool.free(0, block);
        let other = pool.clone();
        let user = thread::spawn(move || {
            let block = other.alloc(1);
            other.free(1, block);
        });
        pool.stock.control().unguard(&pool.watch);
        pool.stock.control().guard(&pool.watch);
        user.join().unwrap();
        pool.check(true);
    });
}
