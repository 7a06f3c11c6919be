//! Turning a pool's level while blocks are out and threads allocate and free.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_runtime::observe::families::{POOL_ALLOCS, POOL_FREES, POOL_LEVEL, POOL_LIVE};
use rheostat_runtime::observe::{Actor, Measure, Outcome, Reading, Registry, Resource, Value};
use rheostat_runtime::pool::{Block, Level, LevelRefused, Pool, PoolError, PoolLimits, PoolSetupError};
use rheostat_runtime::sync::atomic::{AtomicBool, Ordering};
use rheostat_runtime::sync::{Arc, Mutex, thread};
use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

fn pool(level: Level, bytes_max: usize) -> Arc<Pool> {
    Pool::new("turned", level, PoolLimits { bytes_max }).unwrap()
}

fn read(pool: &Pool) -> Reading {
    let mut reading = Reading::default();
    pool.read(&mut reading);
    reading
}

/// The levels that a reading says are in force.
fn levels_in_force(pool: &Pool) -> Vec<&'static str> {
    let samples = read(pool).samples.into_iter().filter(|sample| sample.family.name == POOL_LEVEL.name);
    samples.filter(|sample| matches!(sample.measure, Measure::Level(1.0))).map(|sample| sample.labels[0]).collect()
}

/// Allocations and frees by class.
fn by_class(pool: &Pool) -> BTreeMap<&'static str, (u64, u64)> {
    let mut classes = BTreeMap::<_, (u64, u64)>::new();
    for sample in read(pool).samples {
        if let Measure::Total(total) = sample.measure {
            let class = classes.entry(sample.labels.first().copied().unwrap_or_default()).or_default();
            match sample.family.name {
                name if name == POOL_ALLOCS.name => class.0 = total,
                name if name == POOL_FREES.name => class.1 = total,
                _ => {}
            }
        }
    }
    classes
}

#[test]
fn from_every_level_to_every_other_with_blocks_out() {
    for from in Level::ALL {
        for to in Level::ALL {
            let pool = pool(from, 4 * MIB);
            let mut kept: Vec<Block> = (0..500).map(|len| pool.alloc(len).unwrap()).collect();
            kept.iter_mut().enumerate().for_each(|(index, block)| block.fill(index as u8));
            let free: Vec<Block> = (0..500).map(|len| pool.alloc(len).unwrap()).collect();
            drop(free);
            let held = pool.held_bytes();
            let turned = pool.turn_level(to).unwrap();
            assert_eq!((turned.from, pool.level()), (from, to));
            assert_eq!(levels_in_force(&pool), [to.as_str()]);
            let again: Vec<Block> = (0..500).map(|len| pool.alloc(len).unwrap()).collect();
            if to != Level::Fixed {
                assert!(pool.held_bytes() <= held, "{from} to {to}: what was free is found again");
            }
            for (index, block) in kept.iter().enumerate() {
                assert!(block.iter().all(|&byte| byte == index as u8), "{from} to {to}");
            }
            drop((kept, again));
            assert!(by_class(&pool).values().all(|&(allocs, frees)| allocs == frees), "{from} to {to}");
            pool.turn_level(Level::Mutex).unwrap();
            pool.trim();
            assert_eq!(pool.held_bytes(), 0, "{from} to {to}");
        }
    }
}

#[test]
fn a_level_that_cannot_be_is_refused_with_the_reason() {
    let pool = pool(Level::ThreadCached, 2 * MIB);
    let (done, wait) = channel::<()>();
    let (used, is_used) = channel();
    drop(pool.alloc(10).unwrap());
    let other = pool.clone();
    let second = thread::spawn(move || {
        drop(other.alloc(10).unwrap());
        used.send(()).unwrap();
        wait.recv().unwrap();
    });
    is_used.recv().unwrap();
    let refused = pool.turn_level(Level::Unlocked).unwrap_err();
    assert_eq!(refused, LevelRefused::Shared { pool: "pool.turned".into(), threads: 2 });
    assert_eq!(pool.level(), Level::ThreadCached);
    done.send(()).unwrap();
    second.join().unwrap();
    pool.turn_level(Level::Unlocked).unwrap();
    pool.turn_level(Level::LockFree).unwrap();
    // A chunk for each block of 40 000 bytes is more than a fixed pool would have.
    let blocks: Vec<Block> = (0..40).map(|_| pool.alloc(40_000).unwrap()).collect();
    let refused = pool.turn_level(Level::Fixed).unwrap_err();
    assert!(matches!(refused, LevelRefused::Smaller { held, max, .. } if held > max), "{refused}");
    assert_eq!(pool.level(), Level::LockFree);
    drop(blocks);
    let large = pool.alloc(2 * MIB).unwrap();
    drop(large);
    let blocks: Vec<Block> = (0..20).map(|_| pool.alloc(40_000).unwrap()).collect();
    assert!(pool.held_bytes() < 2 * MIB);
    pool.turn_level(Level::Fixed).expect("how many blocks there once were is no reason");
    drop(blocks);
}

#[test]
fn a_fixed_pool_of_more_than_there_are_numbers_for_is_refused() {
    let limits = PoolLimits { bytes_max: 64 << 30 };
    assert!(matches!(Pool::new("vast", Level::Fixed, limits), Err(PoolSetupError::System { .. })));
    let pool = Pool::new("vast", Level::LockFree, limits).unwrap();
    let block = pool.alloc(100).unwrap();
    let refused = pool.turn_level(Level::Fixed).unwrap_err();
    assert_eq!(refused, LevelRefused::System { pool: "pool.vast".into(), bytes: 64 << 30 });
    assert_eq!((pool.level(), block.len()), (Level::LockFree, 100));
}

#[test]
fn the_knob_turns_the_level_and_says_why_not() {
    let pool = pool(Level::Mutex, 2 * MIB);
    let registry = Registry::new();
    registry.add(pool.clone()).unwrap();
    let turn = |to: &str| registry.turn(pool.address(), "level", Value::Choice(to.into()), Actor::Process);
    for to in Level::ALL {
        let change = turn(to.as_str()).unwrap();
        assert_eq!((change.outcome, pool.level()), (Outcome::Applied, to));
    }
    assert!(turn("quick").is_err());
    turn("lock_free").unwrap();
    let blocks: Vec<Block> = (0..40).map(|_| pool.alloc(40_000).unwrap()).collect();
    let refused = turn("fixed").unwrap_err();
    assert!(refused.to_string().contains("level fixed would have 2097152"), "{refused}");
    let last = registry.journal().since(0).pop().unwrap();
    assert!(matches!(last.outcome, Outcome::Failed(_)), "the journal has the reason");
    drop(blocks);
}

/// How long a storm blows: a moment in debug builds and by default, and for as long as `RHEOSTAT_STORM_S` says.
fn storm() -> Duration {
    let seconds = std::env::var("RHEOSTAT_STORM_S").ok().and_then(|seconds| seconds.parse().ok());
    seconds.map_or(Duration::from_millis(1500), Duration::from_secs)
}

/// The blocks in use, as intervals: no two may share a byte.
#[derive(Default)]
struct InUse(Mutex<BTreeMap<usize, usize>>);

impl InUse {
    fn enter(&self, block: &Block) {
        let (start, end) = (block.as_ptr() as usize, block.as_ptr() as usize + block.capacity());
        let mut blocks = self.0.lock();
        let before = blocks.range(..end).next_back();
        assert!(before.is_none_or(|(_, &other)| other <= start), "{start:#x}..{end:#x} overlaps {before:x?}");
        assert_eq!(start % (1 << block.capacity().trailing_zeros().min(12)), 0, "{start:#x} of {}", block.capacity());
        blocks.insert(start, end);
    }

    fn leave(&self, block: &Block) {
        let left = self.0.lock().remove(&(block.as_ptr() as usize));
        assert!(left.is_some(), "left without having entered");
    }
}

/// The level turns about a thousand times a second while threads allocate, hand blocks to each other and free them.
/// `RHEOSTAT_STORM_S=60 cargo test -p rheostat-runtime --release --test pool_level` is the long form.
#[test]
fn a_storm_of_levels_loses_no_block_and_gives_none_twice() {
    const THREADS: usize = 3;
    let pool = pool(Level::Mutex, 64 * MIB);
    let (in_use, over) = (InUse::default(), AtomicBool::new(false));
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel::<Block>()).unzip();
    let (mut turns, mut short_lived) = (0, 0);
    thread::scope(|scope| {
        for (index, inbox) in receivers.into_iter().enumerate() {
            let (pool, in_use, over, next) = (&pool, &in_use, &over, senders[(index + 1) % THREADS].clone());
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(index as u64);
                let mut kept: Vec<Block> = Vec::new();
                let free = |block: Block| {
                    let pattern = block.first().copied().unwrap_or_default();
                    assert!(block.iter().all(|&byte| byte == pattern), "somebody else wrote to a block");
                    in_use.leave(&block);
                };
                while !over.load(Ordering::Relaxed) {
                    let longest = 1 << random.u32(0..12);
                    let len = 1 + random.usize(0..longest);
                    match pool.alloc(len) {
                        Ok(mut block) => {
                            in_use.enter(&block);
                            block.fill(random.u8(..));
                            match random.u8(0..3) {
                                0 => _ = next.send(block).map_err(|unsent| free(unsent.0)),
                                1 => free(block),
                                _ => kept.push(block),
                            }
                        }
                        Err(refused) => assert!(matches!(refused, PoolError::NotOwner { .. }), "{refused}"),
                    }
                    inbox.try_iter().for_each(&free);
                    while kept.len() > 200 {
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
        while began.elapsed() < storm() {
            // Threads end in the middle of it, with something in their magazines.
            if turns % 16 == 0 {
                let pool = &pool;
                scope.spawn(move || (0..30).for_each(|len| drop(pool.alloc(len))));
                short_lived += 1;
            }
            let to = Level::ALL[random.usize(0..Level::ALL.len())];
            match pool.turn_level(to) {
                Ok(_) => turns += 1,
                Err(refused) => assert!(matches!(refused, LevelRefused::Shared { .. }), "{refused}"),
            }
            if turns % 50 == 0 {
                pool.trim();
            }
            thread::sleep(Duration::from_millis(1));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(turns > 20 && short_lived > 0, "{turns} turns");
    assert!(in_use.0.lock().is_empty());
    assert!(by_class(&pool).values().all(|&(allocs, frees)| allocs == frees), "{:?}", by_class(&pool));
    assert_eq!(read(&pool).level_of(&POOL_LIVE), Some(0.0));
    pool.turn_level(Level::LockFree).unwrap();
    pool.trim();
    assert_eq!(pool.held_bytes(), 0, "what is free is all there is");
}
