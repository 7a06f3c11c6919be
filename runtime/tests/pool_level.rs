//! Turning a pool's level while blocks are out and threads allocate and free.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_runtime::observe::families::{POOL_ALLOCS, POOL_FREES, POOL_LEVEL};
use rheostat_runtime::observe::{Actor, Measure, Outcome, Reading, Registry, Resource, Value};
use rheostat_runtime::pool::{Block, Level, LevelRefused, Pool, PoolLimits, PoolSetupError};
use rheostat_runtime::sync::{Arc, thread};
use std::collections::BTreeMap;
use std::sync::mpsc::channel;

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
            // Some of what is free is in hand, in magazines or behind locks there, and not where every level finds it.
            let moves = from != to;
            // Before it is fixed, what idles is given back.
            if to != Level::Fixed {
                assert_eq!(turned.moved > 0, moves, "{from} to {to}: {} free blocks moved", turned.moved);
            }
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
    pool.turn_level(Level::LockFree).unwrap();
    // What is in use besides chunks would be more than the limit, too.
    let (large, blocks) = (pool.alloc(MIB).unwrap(), [(); 20].map(|()| pool.alloc(40_000).unwrap()));
    let refused = pool.turn_level(Level::Fixed).unwrap_err();
    let held = MIB + 20 * (64 << 10);
    assert_eq!(refused, LevelRefused::Smaller { pool: "pool.turned".into(), held, max: 2 * MIB });
    drop(blocks);
    pool.turn_level(Level::Fixed).unwrap();
    assert_eq!(large.len(), MIB);
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
