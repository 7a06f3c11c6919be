//! A storm of levels: a pool is turned about a thousand times a second while threads allocate, hand blocks to each
//! other, free them and end. Nothing is lost, nothing given twice, and the process is as large after it as before.
//!
//! ```text
//! RHEOSTAT_STORM_S=60 cargo test -p rheostat-runtime --release --test pool_storm
//! ```
//!
//! is the long form; without the variable it is a moment. In a file of its own, for what the process holds is looked
//! at.

#![cfg(all(target_os = "linux", not(any(rt_loom, rt_shuttle))))]

mod in_use;

use in_use::InUse;
use rheostat_runtime::observe::families::{POOL_ALLOCS, POOL_FREES, POOL_LIVE};
use rheostat_runtime::observe::{Measure, Reading, Resource};
use rheostat_runtime::pool::{Block, Level, LevelRefused, Pool, PoolError, PoolLimits};
use rheostat_runtime::sync::atomic::{AtomicBool, Ordering::Relaxed};
use rheostat_runtime::sync::thread;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
const THREADS: usize = 3;
/// A storm has turned the level so often, however busy the machine is.
const TURNS_MIN: u32 = 30;
/// Bytes that stay in use through all of it: a tenth of them is what may come on top.
const KEPT: usize = 80 * MIB;

fn storm() -> Duration {
    let seconds = std::env::var("RHEOSTAT_STORM_S").ok().and_then(|seconds| seconds.parse().ok());
    seconds.map_or(Duration::from_millis(1500), Duration::from_secs)
}

/// Allocations and frees by class, and the bytes in use.
fn counts(pool: &Pool) -> (BTreeMap<&'static str, (u64, u64)>, f64) {
    let (mut classes, mut reading) = (BTreeMap::<_, (u64, u64)>::new(), Reading::default());
    pool.read(&mut reading);
    for sample in &reading.samples {
        let Measure::Total(total) = sample.measure else { continue };
        match sample.family.name {
            name if name == POOL_ALLOCS.name => classes.entry(sample.labels[0]).or_default().0 = total,
            name if name == POOL_FREES.name => classes.entry(sample.labels[0]).or_default().1 = total,
            _ => {}
        }
    }
    (classes, reading.level_of(&POOL_LIVE).unwrap())
}

/// What the process has of the machine's memory.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// One of the threads: allocates, writes a pattern over each block, and frees it, keeps it for a while or passes it on.
fn allocate(pool: &Pool, in_use: &InUse, over: &AtomicBool, seed: u64, inbox: Receiver<Block>, next: Sender<Block>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kept: Vec<Block> = Vec::new();
    let free = |block: Block| {
        let pattern = block.first().copied().unwrap_or_default();
        assert!(block.iter().all(|&byte| byte == pattern), "somebody else wrote to a block");
        in_use.leave(&block);
    };
    while !over.load(Relaxed) {
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
        while kept.len() > 1000 {
            free(kept.swap_remove(random.usize(0..kept.len())));
        }
    }
    kept.into_iter().for_each(&free);
    drop(next);
    inbox.iter().for_each(&free);
}

/// Turns the level to and fro until the storm is over; threads end meanwhile, with something in their magazines.
fn blow(pool: &Pool) {
    let (began, mut random, mut turns) = (Instant::now(), fastrand::Rng::with_seed(7), 0);
    thread::scope(|scope| {
        while began.elapsed() < storm() || turns < TURNS_MIN {
            if turns % 16 == 0 {
                scope.spawn(|| (0..30).for_each(|len| drop(pool.alloc(len))));
            }
            match pool.turn_level(Level::ALL[random.usize(0..Level::ALL.len())]) {
                Ok(_) => turns += 1,
                // Chunks that a few blocks are left in count whole for `fixed`.
                Err(LevelRefused::Shared { .. } | LevelRefused::Smaller { .. }) => {}
                Err(refused) => panic!("{refused}"),
            }
            if turns % 50 == 0 {
                pool.trim();
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_storm_of_levels_loses_nothing_and_leaves_nothing() {
    let pool = Pool::new("turned", Level::Mutex, PoolLimits { bytes_max: KEPT + 16 * MIB }).unwrap();
    let (in_use, over) = (InUse::default(), AtomicBool::new(false));
    let mut kept: Vec<Block> = (0..KEPT / 4096).map(|_| pool.alloc(4096).unwrap()).collect();
    for (index, block) in kept.iter_mut().enumerate() {
        in_use.enter(block);
        block.fill(index as u8);
    }
    let before = resident_bytes();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel::<Block>()).unzip();
    thread::scope(|scope| {
        for (index, inbox) in receivers.into_iter().enumerate() {
            let (pool, in_use, over, next) = (&pool, &in_use, &over, senders[(index + 1) % THREADS].clone());
            scope.spawn(move || allocate(pool, in_use, over, index as u64, inbox, next));
        }
        drop(senders);
        blow(&pool);
        over.store(true, Relaxed);
    });
    // As it was: at `fixed` all there may ever be is resident.
    pool.turn_level(Level::Mutex).unwrap();
    let (after, idle) = (resident_bytes(), pool.held_bytes() - KEPT);
    pool.trim();
    let trimmed = resident_bytes();
    // A sanitizer keeps what was freed elsewhere, and a shadow of it all.
    if !cfg!(any(rt_asan, rt_tsan)) {
        let resident = format!(
            "{before} bytes resident before the storm, {after} after it, of which the pool has {idle} idle, {trimmed} trimmed"
        );
        // What idles may stay, up to a MiB of each class, until the pool is trimmed: the longer a storm, the more
        // classes do.
        assert!(after <= before + idle + before / 10, "{resident}");
        assert!(trimmed <= before + before / 10 && trimmed <= after, "{resident}");
    }
    for (index, block) in kept.iter().enumerate() {
        assert!(
            block.iter().step_by(89).all(|&byte| byte == index as u8),
            "block {index}, which was in use all the while"
        );
        in_use.leave(block);
    }
    assert_eq!(pool.held_bytes(), KEPT, "what is free went back");
    drop(kept);
    let (classes, live) = counts(&pool);
    assert!(in_use.is_empty() && live == 0.0);
    assert!(classes.values().all(|&(allocs, frees)| allocs == frees), "{classes:?}");
    pool.trim();
    assert_eq!(pool.held_bytes(), 0, "what is free is all there is");
}
