//! Guarded pools without a fault: what is out of them, what is promised of blocks, and guards that are turned.

#![cfg(not(any(rt_loom, rt_shuttle)))]

mod guarded;

use allocator_api2::alloc::Layout;
use allocator_api2::vec::Vec as PoolVec;
use guarded::{at_every_level, bytes, give_back, guarded, only, raw};
use hashbrown::HashMap;
use rheostat_runtime::alloc::{Class, Scope, Tracked};
use rheostat_runtime::observe::families::{POOL_GUARD_BYTES, POOL_GUARDED, POOL_GUARDED_BLOCKS};
use rheostat_runtime::observe::{Actor, Outcome, Reading, Registry, Resource, Value, now};
use rheostat_runtime::pool::{Block, FaultKind, InPool, Level, Pool, PoolError, PoolLimits};
use rheostat_runtime::sync::thread;
use std::time::Duration;

// Faults and reports name allocation scopes, and those need a process that tracks.
#[global_allocator]
static GLOBAL: Tracked<std::alloc::System> = Tracked::new(std::alloc::System);

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
fn the_age_that_is_told_of_a_scope_is_that_of_its_oldest_block() {
    let pool = guarded(Level::ThreadCached);
    let scope = Scope::new(Class::Other, "aged");
    let _in = scope.enter();
    let old = pool.alloc(100).unwrap();
    thread::sleep(Duration::from_millis(20));
    let began = now();
    let young: Vec<Block> = (0..100).map(|_| pool.alloc(100).unwrap()).collect();
    let [aged] = <[_; 1]>::try_from(pool.outstanding().scopes).unwrap();
    assert_eq!((aged.scope, aged.blocks), ("aged", 101));
    assert!(aged.oldest >= Duration::from_millis(20), "{aged:?}");
    drop(old);
    let aged = &pool.outstanding().scopes[0];
    assert!(aged.blocks == 100 && aged.oldest <= began.elapsed(), "{aged:?}");
    drop(young);
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
