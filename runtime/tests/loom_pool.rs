//! Pools: the tagged list near the wrap of its tag, gates, magazines that are exchanged, a change of level beside
//! allocating and remote frees, a thread's end; every interleaving up to two preemptions, three for what is small.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_pool
//! ```
//!
//! A block is a cell here, which its holder writes: to have one twice is a race to loom. Nobody is woken and nothing is
//! freed, so what could go wrong is that, and blocks that are lost, which are counted in the end.
#![cfg(rt_loom)]

use loom::sync::Arc;
use loom::thread;
use rheostat_runtime::pool::Level;
use rheostat_runtime::pool::parts::{
    BlockId, Chain, Gate, Geometry, Home, Links, List, Run, Shelf, Station, Stock, TaggedList, Visit,
};
use rheostat_runtime::sync::{Mutex, UnsafeCell, barrier};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const BLOCK_BYTES: usize = 4096;

fn model(preemptions: usize, schedules_min: usize, check: impl Fn() + Send + Sync + 'static) {
    let schedules = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = schedules.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions)); // LOOM_MAX_PREEMPTIONS, or this.
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

/// The bytes of blocks.
struct Bytes(Vec<UnsafeCell<usize>>);

// SAFETY: that no block has two holders is what the models check.
unsafe impl Sync for Bytes {}

impl Bytes {
    fn new(blocks: usize) -> Self {
        Self((0..blocks).map(|_| UnsafeCell::new(0)).collect())
    }

    fn write(&self, id: BlockId) {
        // SAFETY: as above.
        self.0[id.place() as usize].with_mut(|bytes| unsafe { *bytes += 1 });
    }
}

struct Listed {
    list: TaggedList,
    links: Links,
    bytes: Bytes,
}

impl Listed {
    /// Blocks 0 and 1, 0 on top.
    fn two(tag: u32) -> Self {
        let this = Self { list: TaggedList::with_tag(tag), links: Links::modelled(3), bytes: Bytes::new(3) };
        [1, 0].into_iter().for_each(|place| this.push(BlockId::new(0, place)));
        this
    }

    fn push(&self, id: BlockId) {
        let mut list = List::default();
        list.push(id, &self.links);
        self.list.push(list.take().unwrap(), &self.links, &mut 0);
    }

    fn pop(&self) -> Option<BlockId> {
        let id = self.list.pop(&self.links, &mut 0)?;
        self.bytes.write(id);
        Some(id)
    }

    fn drain(&self) -> Vec<u32> {
        std::iter::from_fn(|| self.pop()).map(BlockId::place).collect()
    }
}

/// While one pops, another pops both blocks and puts the first back: the head is as it was, and its link is not.
#[test]
fn a_block_that_comes_back_on_top_is_not_mistaken() {
    for tag in [0, u32::MAX - 1, u32::MAX] {
        model(3, 10, move || {
            let listed = Arc::new(Listed::two(tag));
            let other = listed.clone();
            let popper = thread::spawn(move || other.pop());
            let first = listed.pop();
            let second = listed.pop();
            if let Some(id) = first {
                listed.push(id);
            }
            let popped = popper.join().unwrap();
            let mut places = listed.drain();
            places.extend(popped.into_iter().chain(second).map(BlockId::place));
            places.sort_unstable();
            assert_eq!(places, [0, 1]);
        });
    }
}

#[test]
fn two_poppers_and_a_pusher_share_a_list() {
    model(2, 50, || {
        let listed = Arc::new(Listed::two(u32::MAX));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let listed = listed.clone();
                thread::spawn(move || listed.pop().into_iter().for_each(|id| listed.push(id)))
            })
            .collect();
        if let Some(id) = listed.pop() {
            listed.push(id);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let mut places = listed.drain();
        places.sort_unstable();
        assert_eq!(places, [0, 1]);
    });
}

#[test]
fn taking_all_beside_a_pop_and_a_push_leaves_nobody_with_a_block_twice() {
    model(3, 10, || {
        let listed = Arc::new(Listed::two(u32::MAX));
        let other = listed.clone();
        let popper = thread::spawn(move || other.pop().into_iter().for_each(|id| other.push(id)));
        let mut list = List::default();
        let taken: Option<Chain> = listed.list.take_all(&listed.links);
        list.append_if(taken, &listed.links);
        let mut places = Vec::new();
        while let Some(id) = list.pop(&listed.links) {
            listed.bytes.write(id);
            places.push(id.place());
        }
        popper.join().unwrap();
        places.extend(listed.drain());
        places.sort_unstable();
        assert_eq!(places, [0, 1]);
    });
}

/// A pop of two goes from link to link while the blocks are popped and come back.
#[test]
fn a_pop_of_several_takes_what_is_there_or_nothing() {
    for tag in [0, u32::MAX] {
        model(3, 10, move || {
            let listed = Arc::new(Listed::two(tag));
            let other = listed.clone();
            let popper = thread::spawn(move || {
                let (first, second) = (other.pop(), other.pop());
                first.into_iter().chain(second).for_each(|id| other.push(id));
            });
            let mut list = List::default();
            list.append_if(listed.list.pop_some(2, &listed.links, &mut 0), &listed.links);
            let mut places = Vec::new();
            while let Some(id) = list.pop(&listed.links) {
                listed.bytes.write(id);
                places.push(id.place());
            }
            popper.join().unwrap();
            places.extend(listed.drain());
            places.sort_unstable();
            assert_eq!(places, [0, 1]);
        });
    }
}

struct Behind(Gate, UnsafeCell<usize>);

// SAFETY: that the cell has one user at a time is what the model checks.
unsafe impl Sync for Behind {}

const OPEN: Station = Station(Station::FIRST);

impl Behind {
    /// By the long way: at a gate that is not open, it is opened.
    fn pass(&self) {
        let mut pass = self.0.enter(Visit::PUT);
        if pass.station() == Station::VACANT {
            pass.open(OPEN);
        }
        if pass.station() == OPEN {
            // SAFETY: inside, at our station.
            self.1.with_mut(|cell| unsafe { *cell += 1 });
            let held = pass.held() + 1;
            pass.hold(held);
            pass.leave();
        }
    }

    /// Through a gate that is open.
    fn pass_quickly(&self) {
        let pass = self.0.enter(Visit::PUT_HELD);
        if pass.station() == OPEN {
            // SAFETY: inside, at our station.
            self.1.with_mut(|cell| unsafe { *cell += 1 });
            pass.leave();
        }
    }
}

/// Once through a gate, open before or not, while it is claimed. (Twice is too much for loom 0.7.2: after the second
/// fence it lets the holder load the station of before the claimer's, which fences rule out.)
#[test]
fn a_claimed_gate_has_nobody_behind_it() {
    for is_open in [false, true] {
        model(3, 10, move || {
            let behind = Arc::new(Behind(Gate::default(), UnsafeCell::new(0)));
            if is_open {
                behind.0.enter(Visit::TAKE).open(OPEN);
            }
            let claimer = behind.clone();
            let claimer = thread::spawn(move || {
                claimer.0.claim();
                barrier::heavy();
                claimer.0.wait_outside();
                // SAFETY: claimed, and nobody inside.
                claimer.1.with_mut(|cell| unsafe { *cell += 10 });
                claimer.0.hold(claimer.0.held() + 10);
                claimer.0.vacate();
            });
            if is_open {
                behind.pass_quickly()
            } else {
                behind.pass()
            }
            claimer.join().unwrap();
            // SAFETY: the other thread is gone.
            let sum = behind.1.with(|cell| unsafe { *cell });
            assert!((10..=11).contains(&sum), "{sum}");
            let (takes, puts) = behind.0.visits().onward((0, 0));
            assert_eq!((behind.0.held() as usize, takes, puts as usize), (sum, 0, sum - 10));
        });
    }
}

/// A stock of three blocks in magazines of one.
struct Pool {
    stock: Stock,
    bytes: Bytes,
    carved: Mutex<u32>,
}

const BLOCKS: u32 = 3;

impl Pool {
    fn new(level: Level, rows: usize) -> Arc<Self> {
        let shelf = Shelf::new(geometry(), Links::modelled(BLOCKS as usize), 1, u32::MAX);
        let stock = Stock::new(level, Box::new([shelf])).unwrap();
        // Made beforehand: making is under a lock, and no part of what is looked at.
        (0..rows).for_each(|index| stock.ensure_row(index).unwrap().promised());
        Arc::new(Self { stock, bytes: Bytes::new(BLOCKS as usize), carved: Mutex::new(0) })
    }

    fn alloc(&self, row: usize) -> Option<NonNull<u8>> {
        let grow = |most: u32| {
            let mut carved = self.carved.lock();
            let len = most.min(BLOCKS - *carved);
            *carved += len;
            if len == 0 { Err(()) } else { Ok(Run { first: BlockId::new(0, *carved - len), len }) }
        };
        let block = match self.stock.take_usual(row, 0, 1) {
            Some(block) => block,
            None => self.stock.take(row, 0, 1, grow).ok()?,
        };
        self.bytes.write(geometry().id(block));
        Some(block)
    }

    fn free(&self, row: usize, block: NonNull<u8>) {
        self.bytes.write(geometry().id(block));
        if !self.stock.put_usual(row, 0, 1, 0, block) && self.stock.put(row, 0, 1, 0, block) == Home::Past {
            self.stock.put_past(0, block);
            self.stock.count_past_free(0, 1);
        }
    }

    /// With nothing in use: every block that was carved is found once.
    fn check(&self, row: usize) {
        self.stock.control().turn(Level::LockFree);
        let mut places = Vec::new();
        while let Some(block) = self.alloc(row) {
            places.push(geometry().id(block).place());
        }
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2]);
        let counts = self.stock.counts(0);
        assert_eq!(counts.allocs, counts.frees + 3);
    }
}

/// A block as it goes to another thread.
struct Sent(NonNull<u8>);

// SAFETY: blocks have no thread.
unsafe impl Send for Sent {}

#[test]
fn magazines_are_exchanged_between_one_who_allocates_and_one_who_frees() {
    model(2, 20, || {
        let pool = Pool::new(Level::ThreadCached, 2);
        let blocks: Vec<Sent> = (0..3).map(|_| Sent(pool.alloc(0).unwrap())).collect();
        let other = pool.clone();
        let remote = thread::spawn(move || blocks.into_iter().for_each(|block| other.free(1, block.0)));
        for _ in 0..2 {
            if let Some(block) = pool.alloc(0) {
                pool.free(0, block);
            }
        }
        remote.join().unwrap();
        pool.check(0);
    });
}

/// From and to; one thread allocates and frees, another frees what it was sent, a third turns.
fn turned_under_load(from: Level, to: Level) {
    model(2, 100, move || {
        let pool = Pool::new(from, 2);
        let sent = Sent(pool.alloc(0).unwrap());
        let (freer, turner) = (pool.clone(), pool.clone());
        let freer = thread::spawn(move || {
            let Sent(block) = { sent };
            freer.free(1, block);
        });
        let turner = thread::spawn(move || {
            turner.stock.control().turn(to);
        });
        if let Some(block) = pool.alloc(0) {
            pool.free(0, block);
        }
        turner.join().unwrap();
        freer.join().unwrap();
        pool.check(0);
    });
}

#[test]
fn thread_cached_is_turned_to_lock_free_beside_an_allocation_and_a_remote_free() {
    turned_under_load(Level::ThreadCached, Level::LockFree);
}

#[test]
fn fixed_is_turned_to_unlocked_beside_an_allocation_and_a_remote_free() {
    turned_under_load(Level::Fixed, Level::Unlocked);
}

#[test]
fn lock_free_is_turned_to_thread_cached_beside_an_allocation_and_a_remote_free() {
    turned_under_load(Level::LockFree, Level::ThreadCached);
}

#[test]
fn mutex_is_turned_to_thread_cached_beside_an_allocation_and_a_remote_free() {
    turned_under_load(Level::Mutex, Level::ThreadCached);
}

#[test]
fn unlocked_is_turned_to_mutex_beside_an_allocation_and_a_remote_free() {
    turned_under_load(Level::Unlocked, Level::Mutex);
}

/// A thread's end vacates its row while its successor on the row allocates and frees there.
#[test]
fn a_row_is_vacated_beside_its_next_holder() {
    model(3, 20, || {
        let pool = Pool::new(Level::ThreadCached, 1);
        let block = pool.alloc(0).unwrap();
        pool.free(0, block);
        let predecessor = pool.clone();
        let predecessor = thread::spawn(move || predecessor.stock.control().vacate(0));
        for _ in 0..2 {
            if let Some(block) = pool.alloc(0) {
                pool.free(0, block);
            }
        }
        predecessor.join().unwrap();
        pool.check(0);
    });
}
