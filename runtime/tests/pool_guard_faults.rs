//! Faults in guarded pools: each that is promised to be caught is made here, through pointers that may touch all of the
//! pool's memory, and is named; and what is done about one.

#![cfg(not(any(rt_loom, rt_shuttle)))]

mod guarded;

use allocator_api2::vec::Vec as PoolVec;
use guarded::{MIB, at_every_level, bytes, give_back, guarded, only, raw};
use rheostat_runtime::alloc::{Class, Scope, Tracked};
use rheostat_runtime::observe::families::POOL_FAULTS;
use rheostat_runtime::observe::{Reading, Resource};
use rheostat_runtime::pool::{Block, FAULTS_KEPT, FaultKind, InPool, Level, OnFault, Pool, PoolLimits, PoolSetup};
use rheostat_runtime::sync::atomic::{AtomicUsize, Ordering};
use rheostat_runtime::sync::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::mpsc::channel;

// Faults and reports name allocation scopes, and those need a process that tracks.
#[global_allocator]
static GLOBAL: Tracked<std::alloc::System> = Tracked::new(std::alloc::System);

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
