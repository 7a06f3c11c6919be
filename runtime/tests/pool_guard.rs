//! Guarded pools: every fault that is promised to be caught is made here, through pointers that may touch all of the pool's
//! memory; and what is no fault is not taken for one, also while guard and level turn.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use allocator_api2::alloc::{Allocator, Layout};
use allocator_api2::vec::Vec as PoolVec;
use hashbrown::HashMap;
use proptest::collection;
use proptest::prelude::*;
use rheostat_runtime::alloc::{Class, Scope, Tracked};
use rheostat_runtime::observe::families::{POOL_FAULTS, POOL_GUARD_BYTES, POOL_GUARDED, POOL_GUARDED_BLOCKS};
use rheostat_runtime::observe::{Actor, Outcome, Reading, Registry, Resource, Value, now};
use rheostat_runtime::pool::{
    Block, FAULTS_KEPT, Fault, FaultKind, InPool, Level, OnFault, Pool, PoolError, PoolLimits, PoolSetup,
};
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use rheostat_runtime::sync::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

// Faults and reports name allocation scopes, and those need a process that tracks.
#[global_allocator]
static GLOBAL: Tracked<std::alloc::System> = Tracked::new(std::alloc::System);

const MIB: usize = 1 << 20;

fn guarded(level: Level) -> Arc<Pool> {
    let limits = PoolLimits { bytes_max: 16 * MIB };
    Pool::with_setup("guarded", PoolSetup { level: level.into(), limits, guarded: true, ..PoolSetup::default() })
        .unwrap()
}

/// Runs a check on a fresh guarded pool of every level.
fn at_every_level(check: impl Fn(&Arc<Pool>)) {
    Level::ALL.into_iter().for_each(|level| check(&guarded(level)));
}

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 1).unwrap()
}

/// A block through the raw door: a pointer that may touch all of the pool's memory, so that no misuse here is one of Rust's.
fn raw(pool: &Arc<Pool>, layout: Layout) -> NonNull<u8> {
    InPool(pool.clone()).allocate(layout).unwrap().cast()
}

/// Gives it back, rightly or not: the pool is guarded, and survives either.
fn give_back(pool: &Arc<Pool>, start: NonNull<u8>, layout: Layout) {
    // SAFETY: a guarded pool looks at what it is given before it believes anything.
    unsafe { InPool(pool.clone()).deallocate(start, layout) };
}

/// The one fault there was since it was last asked.
fn only(pool: &Pool, before: usize) -> Fault {
    let faults = pool.faults();
    assert_eq!(faults.len(), before + 1, "{faults:#?}");
    faults.last().unwrap().clone()
}

#[test]
fn a_byte_behind_the_block_is_seen_when_it_comes_home() {
    at_every_level(|pool| {
        for (before, size) in [1, 15, 16, 17, 100, 1000, 4096, 40_000].into_iter().enumerate() {
            let start = raw(pool, bytes(size));
            // SAFETY: within the pool's memory, and behind the bytes that are ours: what is to be caught.
            unsafe { start.add(size).write(0) };
            give_back(pool, start, bytes(size));
            let fault = only(pool, before);
            assert_eq!((fault.kind, fault.offset, fault.len), (FaultKind::Overrun, size as isize, Some(size)));
            assert_eq!((fault.address, fault.pool.as_str()), (start.as_ptr() as usize, "pool.guarded"));
            assert!(fault.allocated.is_some() && fault.freed.is_none(), "{fault}");
            assert!(fault.class.is_some_and(|class| class >= size + 16), "{fault}");
        }
    });
}

#[test]
fn a_byte_behind_a_large_block_is_seen_too() {
    let pool = guarded(Level::LockFree);
    for (before, size) in [65_536, 65_537, 70_000, MIB].into_iter().enumerate() {
        let start = raw(&pool, bytes(size));
        // SAFETY: as above.
        unsafe { start.add(size).write(0) };
        give_back(&pool, start, bytes(size));
        let fault = only(&pool, before);
        assert_eq!((fault.kind, fault.offset, fault.class), (FaultKind::Overrun, size as isize, None), "{fault}");
    }
}

#[test]
fn a_byte_before_the_block_is_seen_when_it_comes_home() {
    at_every_level(|pool| {
        let blocks: Vec<_> = (0..40).map(|_| raw(pool, bytes(100))).collect();
        // One whose neighbour before it is out too.
        let after =
            |start: &&NonNull<u8>| blocks.iter().any(|other| start.as_ptr() as usize - 120 == other.as_ptr() as usize);
        let start = *blocks.iter().find(after).expect("blocks lie side by side");
        // SAFETY: within the pool's memory, and before what is ours.
        unsafe { start.sub(1).write(7) };
        give_back(pool, start, bytes(100));
        let fault = only(pool, 0);
        assert_eq!((fault.kind, fault.offset), (FaultKind::Underrun, -1), "{fault}");
        assert_eq!((fault.address, fault.len), (start.as_ptr() as usize, Some(100)), "{fault}");
        blocks.iter().filter(|other| **other != start).for_each(|&other| give_back(pool, other, bytes(100)));
        assert_eq!(pool.faults().len(), 1, "it is told once");
    });
}

#[test]
fn a_write_after_the_free_is_seen_when_the_block_goes_out_again() {
    at_every_level(|pool| {
        let mut block = pool.alloc(100).unwrap();
        let start = NonNull::new(block.as_mut_ptr()).unwrap();
        let raw_start = raw(pool, bytes(100));
        give_back(pool, raw_start, bytes(100));
        // SAFETY: within the pool's memory, and nobody's: what is to be caught.
        unsafe { raw_start.add(42).write(1) };
        drop(block);
        let again: Vec<Block> = (0..2000).map_while(|_| pool.alloc(100).ok()).collect();
        let fault = only(pool, 0);
        assert_eq!((fault.kind, fault.offset), (FaultKind::WriteAfterFree, 42), "{fault}");
        assert_eq!(fault.address, raw_start.as_ptr() as usize);
        assert!(fault.allocated.is_some() && fault.freed.is_some(), "{fault}");
        assert!(again.iter().any(|block| block.as_ptr() == start.as_ptr()));
    });
}

#[test]
fn a_write_after_the_free_is_seen_when_memory_goes_back_and_when_the_pool_ends() {
    let pool = guarded(Level::LockFree);
    let start = raw(&pool, bytes(1000));
    give_back(&pool, start, bytes(1000));
    // SAFETY: within the pool's memory.
    unsafe { start.write(1) };
    assert!(pool.trim() > 0);
    assert_eq!(only(&pool, 0).kind, FaultKind::WriteAfterFree);
    assert_eq!(pool.held_bytes(), 0);
    // The chunk reads as zero now, which is not poison and no fault.
    drop((0..100).map(|_| pool.alloc(50).unwrap()).collect::<Vec<_>>());
    assert_eq!((pool.faults().len(), pool.check()), (1, 0));
    let start = raw(&pool, bytes(1000));
    give_back(&pool, start, bytes(1000));
    // SAFETY: within the pool's memory.
    unsafe { start.write(1) };
    let seen = Arc::new(AtomicUsize::new(0));
    let counts = seen.clone();
    pool.on_fault(move |fault| {
        assert_eq!(fault.kind, FaultKind::WriteAfterFree);
        counts.fetch_add(1, Ordering::Relaxed);
    });
    drop(pool);
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

/// Where and as what the pool found something, and nothing else.
fn expect_write_after(pool: &Pool, before: usize, start: NonNull<u8>, at: usize) {
    let fault = only(pool, before);
    assert_eq!((fault.kind, fault.offset), (FaultKind::WriteAfterFree, at as isize), "{fault}");
    assert_eq!((fault.address, fault.class), (start.as_ptr() as usize, None), "{fault}");
    assert!(fault.freed.is_some(), "{fault}");
}

#[test]
fn a_write_to_a_large_block_after_its_free_is_seen() {
    let pool = guarded(Level::ThreadCached);
    let touch = |size: usize, at: usize| {
        let start = raw(&pool, bytes(size));
        give_back(&pool, start, bytes(size));
        // SAFETY: within the pool's memory, as it is kept, and nobody's.
        unsafe { start.add(at).write(1) };
        start
    };
    // By a check, which tells it once.
    let start = touch(MIB, MIB - 1);
    assert_eq!((pool.check(), pool.check()), (1, 0));
    expect_write_after(&pool, 0, start, MIB - 1);
    // When it is handed out again, for a block that is shorter, and by the other door.
    let start = touch(MIB, 0);
    let block = pool.alloc(MIB - 100_000).unwrap();
    assert_eq!(block.as_ptr(), start.as_ptr(), "what is kept is used again");
    expect_write_after(&pool, 1, start, 0);
    assert!(block.iter().all(|&byte| byte == 0xCD));
    drop(block);
    // When its memory goes back, for others of its kind or because somebody says so.
    let start = touch(100_000, 50_000);
    drop((0..2).map(|_| pool.alloc(MIB).unwrap()).collect::<Vec<_>>());
    expect_write_after(&pool, 2, start, 50_000);
    let start = touch(70_000, 69_999);
    assert!(pool.trim() > 0);
    expect_write_after(&pool, 3, start, 69_999);
    assert_eq!((pool.held_bytes(), pool.check()), (0, 0));
    // When room is needed for one that it is no good for.
    let start = touch(200_000, 3);
    let rest = pool.alloc(16 * MIB - 100_000).unwrap();
    expect_write_after(&pool, 4, start, 3);
    drop(rest);
    // And at the pool's end.
    touch(80_000, 7);
    let seen = Arc::new(AtomicUsize::new(0));
    let counts = seen.clone();
    pool.on_fault(move |fault| {
        assert_eq!((fault.kind, fault.offset), (FaultKind::WriteAfterFree, 7), "{fault}");
        counts.fetch_add(1, Ordering::Relaxed);
    });
    drop(pool);
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

#[test]
fn a_large_block_is_freed_once_whoever_had_it_and_wherever_its_memory_is() {
    let pool = guarded(Level::LockFree);
    let twice = |before: usize, start: NonNull<u8>, size: usize| {
        give_back(&pool, start, bytes(size));
        let fault = only(&pool, before);
        assert_eq!((fault.kind, fault.address), (FaultKind::DoubleFree, start.as_ptr() as usize), "{fault}");
        fault
    };
    // Kept, and then no more.
    let start = raw(&pool, bytes(100_000));
    give_back(&pool, start, bytes(100_000));
    let fault = twice(0, start, 100_000);
    assert!(fault.len == Some(100_000) && fault.allocated.is_some() && fault.freed.is_some(), "{fault}");
    pool.trim();
    assert!(twice(1, start, 100_000).freed.is_some());
    // Longer than what is kept.
    let start = raw(&pool, bytes(3 * MIB));
    give_back(&pool, start, bytes(3 * MIB));
    assert_eq!(pool.held_bytes(), 0);
    assert!(twice(2, start, 3 * MIB).freed.is_some());
    // Not its beginning, though it is free.
    let start = raw(&pool, bytes(100_000));
    give_back(&pool, start, bytes(100_000));
    // SAFETY: within what is kept.
    give_back(&pool, unsafe { start.add(100) }, bytes(99_900));
    let fault = only(&pool, 3);
    assert_eq!((fault.kind, fault.offset, fault.len), (FaultKind::Inside, 100, Some(100_000)), "{fault}");
    // Handed out before the guard came: free then, or only later.
    pool.turn_guarded(false);
    pool.trim();
    let (before, later) = (raw(&pool, bytes(80_000)), raw(&pool, bytes(90_000)));
    give_back(&pool, before, bytes(80_000));
    pool.turn_guarded(true);
    twice(4, before, 80_000);
    give_back(&pool, later, bytes(90_000));
    assert!(twice(5, later, 90_000).freed.is_some());
    // SAFETY: within what is kept.
    unsafe { later.add(9).write(1) };
    assert_eq!(pool.check(), 1, "it is poison too");
    assert!(pool.outstanding().is_empty());
}

#[test]
fn a_large_block_that_was_poison_is_no_fault_once_the_guard_is_gone() {
    let pool = guarded(Level::Mutex);
    drop(pool.alloc(MIB).unwrap());
    pool.turn_guarded(false);
    let mut block = pool.alloc_zeroed(MIB).unwrap();
    assert!(!block.is_guarded() && block.iter().all(|&byte| byte == 0));
    pool.turn_guarded(true);
    block.fill(7);
    assert_eq!(pool.check(), 0);
    drop(block);
    assert_eq!((pool.check(), pool.faults().len()), (0, 0));
}

/// With as many blocks out as can be guarded, others are handed out as they are: also a large one that is poison.
#[test]
fn blocks_past_those_that_can_be_guarded_are_as_good_as_any() {
    const GUARDED_MAX: usize = 1 << 18;
    let pool = guarded(Level::LockFree);
    let large = pool.alloc(100_000).unwrap();
    let mut small: Vec<Block> = (1..GUARDED_MAX).map(|_| pool.alloc(1).unwrap()).collect();
    let start = large.as_ptr();
    drop(large);
    small.push(pool.alloc(1).unwrap());
    let mut large = pool.alloc(100_000).unwrap();
    assert!(small.iter().all(Block::is_guarded) && !large.is_guarded());
    assert_eq!(large.as_ptr(), start);
    large.fill(7);
    assert_eq!(pool.check(), 0, "it is nobody's poison any more");
    assert!(large.iter().all(|&byte| byte == 7));
    drop((large, small));
    assert!(pool.faults().is_empty() && pool.outstanding().is_empty());
}

#[test]
fn a_check_finds_what_was_touched_and_tells_it_once() {
    let pool = guarded(Level::ThreadCached);
    let (out, free) = (raw(&pool, bytes(100)), raw(&pool, bytes(300)));
    give_back(&pool, free, bytes(300));
    assert_eq!(pool.check(), 0);
    // SAFETY: within the pool's memory, and nobody's.
    unsafe {
        out.add(100).write(0);
        free.add(299).write(0);
    }
    assert_eq!((pool.check(), pool.check()), (2, 0));
    assert_eq!((pool.faults_of(FaultKind::Overrun), pool.faults_of(FaultKind::WriteAfterFree)), (1, 1));
    give_back(&pool, out, bytes(100));
    assert_eq!(pool.faults().len(), 2);
}

#[test]
fn what_is_freed_twice_is_freed_once() {
    at_every_level(|pool| {
        let start = raw(pool, bytes(200));
        give_back(pool, start, bytes(200));
        give_back(pool, start, bytes(200));
        let fault = only(pool, 0);
        assert_eq!((fault.kind, fault.address), (FaultKind::DoubleFree, start.as_ptr() as usize), "{fault}");
        assert!(fault.allocated.is_some() && fault.freed.is_some() && fault.len == Some(200), "{fault}");
        let block = pool.alloc(200).unwrap();
        // SAFETY: the copy makes the double free that is to be caught; the pool is guarded.
        drop(unsafe { std::ptr::read(&raw const block) });
        drop(block);
        assert_eq!(only(pool, 1).kind, FaultKind::DoubleFree);
        // Nobody gets it twice.
        let mut starts: Vec<_> = (0..100).map(|_| pool.alloc(200).unwrap()).collect();
        starts.sort_by_key(|block| block.as_ptr() as usize);
        assert!(starts.windows(2).all(|pair| pair[0].as_ptr() != pair[1].as_ptr()));
    });
    let pool = guarded(Level::Mutex);
    let start = raw(&pool, bytes(MIB));
    give_back(&pool, start, bytes(MIB));
    give_back(&pool, start, bytes(MIB));
    assert_eq!(only(&pool, 0).kind, FaultKind::DoubleFree, "of a large block");
}

#[test]
fn a_block_from_before_the_guard_is_freed_once_too() {
    let pool = Pool::new("guarded", Level::ThreadCached, PoolLimits::default()).unwrap();
    let start = raw(&pool, bytes(200));
    pool.turn_guarded(true);
    give_back(&pool, start, bytes(200));
    assert!(pool.faults().is_empty());
    give_back(&pool, start, bytes(200));
    let fault = only(&pool, 0);
    assert_eq!((fault.kind, fault.allocated, fault.len), (FaultKind::DoubleFree, None, None), "{fault}");
    assert!(fault.freed.is_some());
    // SAFETY: within the pool's memory.
    unsafe { start.write(1) };
    assert_eq!(pool.check(), 1, "what is free is poison, whoever had it");
}

#[test]
fn pointers_that_are_no_blocks_are_named_and_left_alone() {
    at_every_level(|pool| {
        let mut faults = 0;
        let mut expect = |kind, address: usize, offset| {
            let fault = only(pool, faults);
            assert_eq!((fault.kind, fault.address, fault.offset), (kind, address, offset), "{fault}");
            faults += 1;
        };
        let block = raw(pool, bytes(500));
        // SAFETY: within the block.
        give_back(pool, unsafe { block.add(16) }, bytes(100));
        expect(FaultKind::Inside, block.as_ptr() as usize, 16);
        let other = Pool::new("other", Level::Mutex, PoolLimits::default()).unwrap();
        let theirs = raw(&other, bytes(500));
        give_back(pool, theirs, bytes(500));
        expect(FaultKind::Foreign, theirs.as_ptr() as usize, 0);
        let mut on_the_heap = Box::new([0_u8; 500]);
        let heap = NonNull::from(&mut *on_the_heap).cast::<u8>();
        give_back(pool, heap, bytes(500));
        expect(FaultKind::Foreign, heap.as_ptr() as usize, 0);
        give_back(pool, heap, bytes(500_000));
        expect(FaultKind::Foreign, heap.as_ptr() as usize, 0);
        // What was not theirs to give is as it was.
        give_back(pool, block, bytes(500));
        give_back(&other, theirs, bytes(500));
        assert_eq!((pool.faults().len(), other.outstanding().blocks), (4, 0));
    });
}

#[test]
fn a_pointer_into_a_large_block_is_named() {
    let pool = guarded(Level::Mutex);
    let block = raw(&pool, bytes(MIB));
    // SAFETY: within the block.
    give_back(&pool, unsafe { block.add(4096) }, bytes(MIB - 4096));
    let fault = only(&pool, 0);
    assert_eq!((fault.kind, fault.offset, fault.len), (FaultKind::Inside, 4096, Some(MIB)), "{fault}");
    give_back(&pool, block, bytes(MIB));
    assert_eq!(pool.faults().len(), 1);
}

#[test]
fn a_wrong_layout_is_named_and_the_block_comes_home_by_its_own() {
    at_every_level(|pool| {
        for (before, wrong) in [bytes(101), bytes(1), bytes(5000), bytes(500_000)].into_iter().enumerate() {
            let start = raw(pool, bytes(100));
            give_back(pool, start, wrong);
            let fault = only(pool, before);
            assert_eq!(
                (fault.kind, fault.len, fault.said),
                (FaultKind::Layout, Some(100), Some(wrong.size())),
                "{fault}"
            );
            assert!(pool.outstanding().is_empty(), "it came home");
        }
    });
    // Of a block from before the guard the class is known, and no more.
    let pool = Pool::new("guarded", Level::LockFree, PoolLimits::default()).unwrap();
    let start = raw(&pool, bytes(100));
    pool.turn_guarded(true);
    give_back(&pool, start, bytes(5000));
    let fault = only(&pool, 0);
    assert_eq!((fault.kind, fault.class, fault.said), (FaultKind::Layout, Some(104), Some(5000)), "{fault}");
    assert!(pool.outstanding().is_empty());
}

#[test]
fn a_fault_says_who_allocated_and_who_freed() {
    let pool = guarded(Level::ThreadCached);
    let (making, freeing) = (Scope::new(Class::Other, "making"), Scope::new(Class::Other, "freeing"));
    let start = {
        let _in = making.enter();
        raw(&pool, bytes(100))
    };
    let start = start.as_ptr() as usize;
    let other = pool.clone();
    thread::spawn(move || {
        let _in = freeing.enter();
        give_back(&other, NonNull::new(std::ptr::with_exposed_provenance_mut(start)).unwrap(), bytes(100));
    })
    .join()
    .unwrap();
    give_back(&pool, NonNull::new(std::ptr::with_exposed_provenance_mut(start)).unwrap(), bytes(100));
    let fault = only(&pool, 0);
    let (allocated, freed) = (fault.allocated.unwrap(), fault.freed.unwrap());
    assert_eq!((allocated.scope(), freed.scope(), fault.found.scope()), ("making", "freeing", "outside"));
    assert!(allocated.row() == fault.found.row() && freed.row() != allocated.row(), "{fault}");
    assert!(allocated.at() <= freed.at() && freed.at() <= fault.found.at());
    let told = fault.to_string();
    for part in ["pool.guarded: the block at 0x", "was freed twice", "100 bytes were asked for", "its class is 120"] {
        assert!(told.contains(part), "no `{part}` in: {told}");
    }
    assert!(told.contains("in scope making") && told.contains("in scope freeing"), "{told}");
}

#[test]
fn what_is_out_is_told_by_scope_at_any_time_and_at_the_end() {
    let pool = guarded(Level::ThreadCached);
    let (words, index) = (Scope::new(Class::Other, "words"), Scope::new(Class::Other, "index"));
    let unguarded = {
        pool.turn_guarded(false);
        let block = pool.alloc(10).unwrap();
        pool.turn_guarded(true);
        block
    };
    let kept = {
        let _in = words.enter();
        (pool.alloc(1000).unwrap(), pool.alloc(1000).unwrap(), pool.alloc(20).unwrap())
    };
    let large = {
        let _in = index.enter();
        drop(pool.alloc(1000).unwrap());
        pool.alloc(100_000).unwrap()
    };
    let report = pool.outstanding();
    assert_eq!((report.blocks, report.bytes, report.unattributed()), (5, 102_030, 1));
    let scopes: Vec<_> = report.scopes.iter().map(|scope| (scope.scope, scope.blocks, scope.bytes)).collect();
    assert_eq!(scopes, [("index", 1, 100_000), ("words", 3, 2020)]);
    let classes: Vec<_> = report.classes.iter().map(|class| (class.block_bytes, class.blocks, class.bytes)).collect();
    assert_eq!(classes, [(Some(16), 1, 10), (Some(36), 1, 20), (Some(1024), 2, 2000), (None, 1, 100_000)]);
    let since = now();
    drop(kept.2);
    let held = pool.clone();
    let pool = Pool::end(pool).expect_err("somebody else has it");
    drop(held);
    let least = since.elapsed();
    let report = Pool::end(pool).unwrap();
    assert_eq!((report.blocks, report.bytes), (4, 102_010));
    assert!(report.scopes.iter().all(|scope| scope.oldest >= least && !least.is_zero()), "{least:?}: {report}");
    let told = report.to_string();
    for part in [
        "4 blocks of 102010 bytes are out of pool.guarded",
        "class 1024: 2 of 2000 bytes",
        "large: 1 of 100000 bytes",
        "from scope index: 1 of 100000 bytes, the oldest ",
        "1 from nobody knows where",
    ] {
        assert!(told.contains(part), "no `{part}` in: {told}");
    }
    // They are as valid as before.
    drop((unguarded, kept.0, kept.1, large));
}

#[test]
fn a_pool_without_guard_tells_what_is_out_by_class() {
    let pool = Pool::new("plain", Level::Mutex, PoolLimits::default()).unwrap();
    let kept = (pool.alloc(100).unwrap(), pool.alloc(200_000).unwrap());
    let report = Pool::end(pool).unwrap();
    assert_eq!((report.blocks, report.bytes, report.unattributed(), report.scopes.len()), (2, 200_100, 2, 0));
    assert_eq!(report.classes.iter().map(|class| class.block_bytes).collect::<Vec<_>>(), [Some(104), None]);
    drop(kept);
    let empty = Pool::end(Pool::new("empty", Level::Mutex, PoolLimits::default()).unwrap()).unwrap();
    assert!(empty.is_empty());
    assert_eq!(empty.to_string(), "nothing is out of pool.empty");
}

#[test]
fn alignment_zeroes_and_capacity_are_as_promised() {
    at_every_level(|pool| {
        for len in (0..300).chain([1000, 1024, 4000, 4096, 5000, 60_000, 65_535, 65_536]) {
            let block = pool.alloc(len).unwrap();
            assert_eq!(block.len(), len);
            if block.is_guarded() {
                assert_eq!(block.capacity(), len, "what is behind is nobody's");
            } else {
                assert!(pool.level() == Level::Fixed && len > 60_000, "{len}");
            }
            let natural = 1 << len.next_power_of_two().trailing_zeros().min(12);
            assert!(!len.is_power_of_two() || block.as_ptr().addr().is_multiple_of(natural), "{len}");
            assert!(pool.alloc_zeroed(len).unwrap().iter().all(|&byte| byte == 0));
            for alignment in [1, 2, 64, 512, 4096] {
                match pool.alloc_aligned_to(len, alignment) {
                    Ok(block) => assert!(block.as_ptr().addr().is_multiple_of(alignment)),
                    Err(refused) => panic!("{len} at {alignment}: {refused}"),
                }
            }
        }
        let layout = Layout::from_size_align(100, 256).unwrap();
        let start = raw(pool, layout);
        assert!(start.as_ptr().addr().is_multiple_of(256));
        give_back(pool, start, layout);
        assert!(pool.faults().is_empty(), "{:?}", pool.faults());
    });
}

#[test]
fn collections_live_in_a_guarded_pool() {
    at_every_level(|pool| {
        let mut words = PoolVec::new_in(InPool(pool.clone()));
        let mut sums = HashMap::new_in(InPool(pool.clone()));
        for number in 0..1500_u64 {
            words.push(number.to_string());
            *sums.entry(number % 700).or_insert(0) += number;
        }
        sums.retain(|key, _| key % 3 == 0);
        words.retain(|word| word.len() > 2);
        let boxed = pool.boxed([7_u64; 9]).unwrap();
        assert_eq!((words.len(), sums.len(), boxed[8], sums[&0]), (1400, 234, 7, 2100));
        assert!(pool.outstanding().scopes.iter().map(|scope| scope.blocks).sum::<u64>() >= 3);
        drop((words, sums, boxed));
        assert!(pool.outstanding().is_empty());
        assert!(pool.faults().is_empty(), "{:?}", pool.faults());
    });
}

#[test]
fn guarded_blocks_that_are_known_by_address_keep_the_pool_watched_until_they_are_home() {
    let pool = guarded(Level::ThreadCached);
    let start = raw(&pool, bytes(100));
    let block = pool.alloc(100).unwrap();
    assert!(pool.turn_guarded(false));
    assert!(!pool.is_guarded() && !pool.turn_guarded(false));
    // What is handed out now is not guarded, and what was handed out is.
    let plain = pool.alloc(100).unwrap();
    assert!(block.is_guarded() && !plain.is_guarded());
    assert_eq!((plain.capacity(), block.capacity()), (104, 100));
    let bare = raw(&pool, bytes(100));
    // SAFETY: behind what is ours.
    unsafe { start.add(100).write(0) };
    give_back(&pool, start, bytes(100));
    assert_eq!(only(&pool, 0).kind, FaultKind::Overrun);
    drop((block, plain));
    give_back(&pool, bare, bytes(100));
    assert_eq!((pool.outstanding().blocks, pool.faults().len()), (0, 1));
    // Class by class everything is where it belongs: what comes out is as long as it says.
    let again: Vec<Block> = (0..200).map(|_| pool.alloc(100).unwrap()).collect();
    assert!(again.iter().all(|block| block.capacity() == 104));
}

#[test]
fn the_owner_of_an_unlocked_pool_stays_it() {
    let pool = Pool::new("guarded", Level::Unlocked, PoolLimits::default()).unwrap();
    drop(pool.alloc(10).unwrap());
    for guarded in [true, false, true] {
        pool.turn_guarded(guarded);
        let refused = thread::scope(|scope| scope.spawn(|| pool.alloc(10).map(drop)).join().unwrap());
        assert!(matches!(refused, Err(PoolError::NotOwner { .. })), "{refused:?}");
        pool.alloc(10).unwrap();
    }
}

#[test]
fn a_thread_panics_on_a_fault_if_that_was_chosen() {
    let setup = PoolSetup { guarded: true, on_fault: OnFault::Panic, ..PoolSetup::default() };
    let pool = Pool::with_setup("strict", setup).unwrap();
    let start = raw(&pool, bytes(100));
    // SAFETY: behind what is ours.
    unsafe { start.add(100).write(0) };
    let panic = catch_unwind(AssertUnwindSafe(|| give_back(&pool, start, bytes(100)))).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.starts_with("pool.strict: byte 100 was written of the block at 0x"), "{message}");
    assert!(pool.outstanding().is_empty(), "it is home all the same");
    // SAFETY: within the pool's memory, and nobody's.
    unsafe { start.write(0) };
    let panicked = (0..300).map(|_| catch_unwind(AssertUnwindSafe(|| drop(pool.alloc(100)))).is_err());
    assert_eq!(panicked.filter(|&panicked| panicked).count(), 1);
    assert!(pool.outstanding().is_empty(), "nobody has the block for which somebody panicked");
    // While a thread panics already, it does not panic once more.
    let start = raw(&pool, bytes(100));
    // SAFETY: behind what is ours.
    unsafe { start.add(100).write(0) };
    struct GivesBack<'p>(&'p Arc<Pool>, NonNull<u8>);
    impl Drop for GivesBack<'_> {
        fn drop(&mut self) {
            give_back(self.0, self.1, bytes(100));
        }
    }
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _gives_back = GivesBack(&pool, start);
        panic!("for another reason");
    }));
    assert!(unwound.is_err());
    assert_eq!(pool.faults().len(), 3);
}

#[test]
fn a_fault_that_ends_in_a_panic_keeps_no_other_from_being_raised() {
    let setup = PoolSetup { guarded: true, on_fault: OnFault::Panic, ..PoolSetup::default() };
    let pool = Pool::with_setup("strict", setup).unwrap();
    let freed = [(); 3].map(|()| raw(&pool, bytes(1000)));
    for start in freed {
        give_back(&pool, start, bytes(1000));
        // SAFETY: within the pool's memory, and nobody's.
        unsafe { start.write(0) };
    }
    let panics = (0..4).filter(|_| catch_unwind(AssertUnwindSafe(|| pool.check())).is_err()).count();
    assert_eq!((panics, pool.faults_of(FaultKind::WriteAfterFree)), (3, 3));
}

#[test]
fn a_handler_may_turn_the_level_in_the_middle_of_a_turn() {
    let pool = guarded(Level::LockFree);
    let within = Arc::downgrade(&pool);
    pool.on_fault(move |_| _ = within.upgrade().unwrap().turn_level(Level::Mutex).unwrap());
    let start = raw(&pool, bytes(1000));
    give_back(&pool, start, bytes(1000));
    // SAFETY: within the pool's memory.
    unsafe { start.write(1) };
    // What idles goes back before a pool is fixed, and so the fault is found.
    pool.turn_level(Level::Fixed).unwrap();
    assert_eq!((only(&pool, 0).kind, pool.level()), (FaultKind::WriteAfterFree, Level::Mutex));
}

#[test]
fn a_handler_that_is_replaced_may_have_blocks_with_faults() {
    let pool = guarded(Level::LockFree);
    let mut kept = PoolVec::with_capacity_in(100, InPool(pool.clone()));
    kept.push(1_u8);
    let end = kept.as_mut_ptr().wrapping_add(100);
    pool.on_fault(move |_| assert_eq!(kept.len(), 1));
    // SAFETY: behind what is the vector's, within the pool's memory.
    unsafe { end.write(0) };
    pool.on_fault(|_| {});
    assert_eq!(only(&pool, 0).kind, FaultKind::Overrun);
}

#[test]
fn the_last_faults_are_kept_and_all_are_counted() {
    let pool = guarded(Level::Mutex);
    let (told, tells) = channel();
    let kept = pool.clone();
    pool.on_fault(move |fault| {
        // No lock is held: the handler may use the pool.
        drop(kept.alloc(10).unwrap());
        told.send(fault.kind).unwrap();
    });
    let mut on_the_heap = Box::new(0_u8);
    let heap = NonNull::from(&mut *on_the_heap);
    for _ in 0..FAULTS_KEPT + 10 {
        give_back(&pool, heap, bytes(1));
    }
    assert_eq!(pool.faults().len(), FAULTS_KEPT);
    assert_eq!(pool.faults_of(FaultKind::Foreign), FAULTS_KEPT as u64 + 10);
    let mut reading = Reading::default();
    pool.read(&mut reading);
    assert_eq!(reading.total_of(&POOL_FAULTS), Some(FAULTS_KEPT as u64 + 10));
    let kinds = tells.try_iter().collect::<Vec<_>>();
    assert!(kinds.len() == FAULTS_KEPT + 10 && kinds.iter().all(|&kind| kind == FaultKind::Foreign));
    // The handler has a reference to the pool, which would keep it for ever.
    pool.on_fault(|_| {});
}

#[test]
fn the_knob_turns_the_guard_and_a_reading_says_so() {
    let pool = Pool::new("turned", Level::LockFree, PoolLimits::default()).unwrap();
    let registry = Registry::new();
    registry.add(pool.clone()).unwrap();
    let turn = |to: &str| registry.turn(pool.address(), "guarded", Value::Choice(to.into()), Actor::Process);
    let read = |family| {
        let mut reading = Reading::default();
        pool.read(&mut reading);
        reading.level_of(family).unwrap()
    };
    assert_eq!(turn("on").unwrap().from, Value::Choice("off".into()));
    let blocks: Vec<Block> = (0..100).map(|len| pool.alloc(len).unwrap()).collect();
    assert_eq!((read(&POOL_GUARDED), read(&POOL_GUARDED_BLOCKS)), (1.0, 100.0));
    assert!(read(&POOL_GUARD_BYTES) > 0.0);
    assert_eq!(turn("off").unwrap().from, Value::Choice("on".into()));
    assert_eq!((read(&POOL_GUARDED), read(&POOL_GUARDED_BLOCKS)), (0.0, 100.0));
    drop(blocks);
    assert_eq!(read(&POOL_GUARDED_BLOCKS), 0.0);
    turn("on").unwrap();
    let start = raw(&pool, bytes(100));
    assert_eq!(turn("off").unwrap().outcome, Outcome::Settling, "it is watched until that is home");
    give_back(&pool, start, bytes(100));
    assert_eq!(turn("off").unwrap().outcome, Outcome::Applied);
    assert!(turn("perhaps").is_err());
    let knob = pool.knobs().into_iter().find(|knob| knob.name == "guarded").unwrap();
    assert_eq!(knob.value, Value::Choice("off".into()));
}

/// What is done to a pool, rightly or not. Blocks are chosen by a number, modulo those that are out.
#[derive(Debug, Clone)]
enum Step {
    Take(usize),
    Give(usize),
    Overrun(usize),
    Twice(usize),
    Inside(usize),
    Foreign,
    Layout(usize),
    WriteAfter(usize, usize),
    Guard(bool),
    Level(usize),
    Trim,
    Check,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![8 => 1..300_usize, 2 => 300..6000_usize, 1 => 60_000..80_000_usize];
    let step = prop_oneof![
        8 => len.prop_map(Step::Take),
        4 => any::<usize>().prop_map(Step::Give),
        1 => any::<usize>().prop_map(Step::Overrun),
        1 => any::<usize>().prop_map(Step::Twice),
        1 => any::<usize>().prop_map(Step::Inside),
        1 => Just(Step::Foreign),
        1 => any::<usize>().prop_map(Step::Layout),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(which, at)| Step::WriteAfter(which, at)),
        2 => any::<bool>().prop_map(Step::Guard),
        2 => (0..Level::ALL.len()).prop_map(Step::Level),
        1 => Just(Step::Trim),
        1 => Just(Step::Check),
    ];
    collection::vec(step, 1..80)
}

/// A block that is out, with its length, a byte of which it is full, and whether it went out guarded.
struct Out {
    start: NonNull<u8>,
    len: usize,
    byte: u8,
    guarded: bool,
}

/// A pool, what is out of it, and the faults that were made.
struct Tried {
    pool: Arc<Pool>,
    out: Vec<Out>,
    faults: std::collections::BTreeMap<&'static str, u64>,
}

impl Tried {
    fn new() -> Self {
        let pool = Pool::new("tried", Level::ThreadCached, PoolLimits { bytes_max: 8 * MIB }).unwrap();
        Self { pool, out: Vec::new(), faults: Default::default() }
    }

    /// One that is out, as it was filled.
    fn leave(&mut self, which: usize) -> Option<Out> {
        let out = (!self.out.is_empty()).then(|| self.out.swap_remove(which % self.out.len()))?;
        // SAFETY: it is out, and so ours.
        let bytes = unsafe { std::slice::from_raw_parts(out.start.as_ptr(), out.len) };
        assert!(bytes.iter().all(|&byte| byte == out.byte), "somebody else wrote to a block");
        Some(out)
    }

    fn made(&mut self, kind: FaultKind) {
        *self.faults.entry(kind.as_str()).or_default() += 1;
    }

    fn step(&mut self, step: &Step) -> Option<()> {
        let pool = self.pool.clone();
        // What is wrong is done to guarded pools alone: another would be broken by it.
        let guarded = pool.is_guarded();
        match *step {
            Step::Take(len) => {
                let before = pool.outstanding();
                let start: NonNull<u8> = InPool(pool.clone()).allocate(bytes(len)).ok()?.cast();
                let byte = len as u8;
                // SAFETY: just allocated.
                unsafe { start.write_bytes(byte, len) };
                let guarded = pool.outstanding().unattributed() == before.unattributed();
                self.out.push(Out { start, len, byte, guarded });
            }
            Step::Give(which) => {
                let out = self.leave(which)?;
                give_back(&pool, out.start, bytes(out.len));
            }
            Step::Overrun(which) => {
                let out = self.leave(which)?;
                if out.guarded {
                    // SAFETY: behind what is ours, and in the pool.
                    unsafe { out.start.add(out.len).write(!0xFD) };
                    self.made(FaultKind::Overrun);
                }
                give_back(&pool, out.start, bytes(out.len));
            }
            Step::Twice(which) if guarded => {
                let out = self.leave(which)?;
                give_back(&pool, out.start, bytes(out.len));
                give_back(&pool, out.start, bytes(out.len));
                self.made(FaultKind::DoubleFree);
            }
            Step::Inside(which) if guarded => {
                let out = self.leave(which).filter(|out| out.len > 1 || out.guarded)?;
                // SAFETY: in the block.
                give_back(&pool, unsafe { out.start.add(1) }, bytes(out.len));
                self.made(FaultKind::Inside);
                give_back(&pool, out.start, bytes(out.len));
            }
            Step::Foreign if guarded => {
                let mut elsewhere = 0_u8;
                give_back(&pool, NonNull::from(&mut elsewhere), bytes(1));
                self.made(FaultKind::Foreign);
            }
            Step::Layout(which) => {
                let out = self.leave(which)?;
                let wrong = usize::from(out.guarded);
                give_back(&pool, out.start, bytes(out.len + wrong));
                if out.guarded {
                    self.made(FaultKind::Layout);
                }
            }
            Step::WriteAfter(which, at) => {
                let out = self.leave(which)?;
                give_back(&pool, out.start, bytes(out.len));
                if guarded {
                    // SAFETY: nobody's bytes, in the pool.
                    unsafe { out.start.add(at % out.len).write(0) };
                    self.made(FaultKind::WriteAfterFree);
                    assert_eq!(pool.check(), 1);
                }
            }
            Step::Guard(to) => assert_eq!(pool.turn_guarded(to), guarded),
            Step::Level(to) => _ = pool.turn_level(Level::ALL[to]),
            Step::Trim => _ = pool.trim(),
            Step::Check => assert_eq!(pool.check(), 0),
            Step::Twice(_) | Step::Inside(_) | Step::Foreign => {}
        }
        Some(())
    }

    fn compare(&self) {
        for kind in FaultKind::ALL {
            let made = self.faults.get(kind.as_str()).copied().unwrap_or_default();
            assert_eq!(self.pool.faults_of(kind), made, "{kind}: {:#?}", self.pool.faults().last());
        }
        let report = self.pool.outstanding();
        let asked: usize = self.out.iter().map(|out| out.len).sum();
        let unguarded = self.out.iter().filter(|out| !out.guarded).count();
        assert_eq!((report.blocks, report.bytes), (self.out.len() as u64, asked as u64));
        assert_eq!(report.unattributed(), unguarded as u64);
    }
}

/// Whatever is done in whatever order: each mistake is found, as what it is, and nothing else is taken for one.
#[test]
fn every_mistake_is_found_and_nothing_else() {
    let cases = if cfg!(debug_assertions) { 100 } else { 2000 };
    proptest!(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }, |(steps in steps())| {
        let mut tried = Tried::new();
        for step in &steps {
            tried.step(step);
            tried.compare();
        }
        while tried.leave(0).map(|out| give_back(&tried.pool, out.start, bytes(out.len))).is_some() {}
        tried.compare();
    });
}

/// How long a storm blows: a moment, and for as long as `RHEOSTAT_STORM_S` says.
fn storm() -> Duration {
    let seconds = std::env::var("RHEOSTAT_STORM_S").ok().and_then(|seconds| seconds.parse().ok());
    seconds.map_or(Duration::from_millis(1500), Duration::from_secs)
}

/// Guard and level turn, each by itself, about a thousand times a second while threads allocate by either door, hand blocks to
/// each other and free them: no false alarm, and nothing lost.
#[test]
fn a_storm_of_guards_and_levels_raises_no_alarm() {
    const THREADS: usize = 3;
    const TURNS_MIN: usize = 30;
    enum Kept {
        Block(Block),
        Vec(PoolVec<u8, InPool>),
    }
    let limits = PoolLimits { bytes_max: 64 * MIB };
    let pool = Pool::with_setup("storm", PoolSetup { limits, ..PoolSetup::default() }).unwrap();
    let over = AtomicBool::new(false);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel::<Kept>()).unzip();
    let guarded_blocks = AtomicUsize::new(0);
    let (mut turns, mut guards) = (0, 0);
    thread::scope(|scope| {
        for (index, inbox) in receivers.into_iter().enumerate() {
            let (pool, over, next) = (&pool, &over, senders[(index + 1) % THREADS].clone());
            let guarded_blocks = &guarded_blocks;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(index as u64);
                let mut kept: Vec<Kept> = Vec::new();
                let free = |kept: Kept| {
                    let bytes: &[u8] = match &kept {
                        Kept::Block(block) => block,
                        Kept::Vec(bytes) => bytes,
                    };
                    let pattern = bytes.first().copied().unwrap_or_default();
                    assert!(bytes.iter().all(|&byte| byte == pattern), "somebody else wrote to a block");
                };
                while !over.load(Ordering::Relaxed) {
                    let longest = 1 << random.u32(0..13);
                    // Large ones now and then, which are poisoned, kept, and let go of for each other.
                    let large = if random.u8(0..50) == 0 { 66_000 } else { 0 };
                    let (len, byte) = (1 + large + random.usize(0..longest), random.u8(..));
                    let had = if random.bool() {
                        pool.alloc(len).map(|mut block| {
                            block.fill(byte);
                            guarded_blocks.fetch_add(usize::from(block.is_guarded()), Ordering::Relaxed);
                            Kept::Block(block)
                        })
                    } else {
                        let mut bytes = PoolVec::new_in(InPool((*pool).clone()));
                        match bytes.try_reserve_exact(len) {
                            Ok(()) => {
                                bytes.resize(len, byte);
                                Ok(Kept::Vec(bytes))
                            }
                            Err(_) => Err(PoolError::NotOwner { pool: String::new() }),
                        }
                    };
                    match had {
                        Ok(had) => match random.u8(0..3) {
                            0 => _ = next.send(had).map_err(|unsent| free(unsent.0)),
                            1 => free(had),
                            _ => kept.push(had),
                        },
                        // Level fixed has no large ones.
                        Err(PoolError::NotOwner { .. } | PoolError::TooLong { .. }) => {}
                        Err(refused) => panic!("{refused}"),
                    }
                    inbox.try_iter().for_each(&free);
                    while kept.len() > 100 {
                        free(kept.swap_remove(random.usize(0..kept.len())));
                    }
                }
                kept.into_iter().for_each(&free);
                drop(next);
                inbox.iter().for_each(&free);
            });
        }
        drop(senders);
        let mut random = fastrand::Rng::with_seed(7);
        let began = Instant::now();
        // However busy the machine is, unless the threads have panicked.
        let waits =
            || guarded_blocks.load(Ordering::Relaxed) == 0 && began.elapsed() < storm() + Duration::from_secs(20);
        while began.elapsed() < storm() || turns < TURNS_MIN || waits() {
            // Threads end in the middle of it, with something in their magazines.
            if turns % 16 == 0 {
                let pool = &pool;
                scope.spawn(move || (0..30).for_each(|len| drop(pool.alloc(len))));
            }
            if random.bool() {
                pool.turn_guarded(random.bool());
                guards += 1;
            } else {
                // Refused to more than one thread, for which there is a test elsewhere.
                _ = pool.turn_level(Level::ALL[random.usize(0..Level::ALL.len())]);
            }
            match turns % 50 {
                17 => _ = pool.trim(),
                34 => assert_eq!(pool.check(), 0),
                _ => {}
            }
            turns += 1;
            thread::sleep(Duration::from_millis(1));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(guards > 0 && guarded_blocks.load(Ordering::Relaxed) > 0, "{guards} turns of the guard");
    assert!(pool.faults().is_empty(), "{:#?}", pool.faults());
    assert!(pool.outstanding().is_empty(), "{}", pool.outstanding());
    pool.turn_level(Level::LockFree).unwrap();
    pool.trim();
    assert_eq!(pool.held_bytes(), 0, "what is free is all there is");
}
