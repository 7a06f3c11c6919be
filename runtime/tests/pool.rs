//! Pools at every level: what each of them promises, whatever the threads do.

#![cfg(not(any(rt_loom, rt_shuttle)))]

mod in_use;

use in_use::InUse;
use rheostat_runtime::observe::families::{
    POOL_ALLOCS, POOL_CACHE_FLUSHES, POOL_FREES, POOL_LEVEL, POOL_LIVE, POOL_REMOTE_FREES, POOL_REQUESTED, POOL_SLABS,
};
use rheostat_runtime::observe::{Measure, Reading, Resource};
use rheostat_runtime::pool::{Block, InPool, Level, LocalPool, Pool, PoolError, PoolLimits};
use rheostat_runtime::sync::{Mutex, thread};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};

const MIB: usize = 1 << 20;

fn pool(level: Level, bytes_max: usize) -> Arc<Pool> {
    Pool::new("tested", level, PoolLimits { bytes_max }).unwrap()
}

/// Runs a check on a fresh pool of every level.
fn at_every_level(bytes_max: usize, check: impl Fn(&Arc<Pool>)) {
    Level::ALL.into_iter().for_each(|level| check(&pool(level, bytes_max)));
}

/// Runs a check on a fresh pool of every level that serves more than one thread.
fn at_every_shared_level(bytes_max: usize, check: impl Fn(&Arc<Pool>)) {
    Level::ALL.into_iter().filter(|&level| level != Level::Unlocked).for_each(|level| check(&pool(level, bytes_max)));
}

/// Whether the pool has blocks of that length.
fn serves(pool: &Pool, len: usize) -> bool {
    pool.level() != Level::Fixed || len <= 65_536
}

fn read(pool: &Pool) -> Reading {
    let mut reading = Reading::default();
    pool.read(&mut reading);
    reading
}

#[test]
fn a_block_has_the_length_asked_for_and_zeroes_when_asked() {
    at_every_level(16 * MIB, |pool| {
        for len in [0, 1, 15, 16, 17, 100, 1000, 4096, 65_536, 65_537, MIB] {
            if !serves(pool, len) {
                let refused = pool.alloc(len).unwrap_err();
                assert!(matches!(refused, PoolError::TooLong { max: 65_536, .. }), "{refused}");
                continue;
            }
            let mut block = pool.alloc(len).unwrap();
            assert_eq!(block.len(), len);
            assert!(block.capacity() >= len);
            assert!(block.iter().all(|&byte| byte == 0), "fresh memory is zero");
            block.fill(0xa5);
            drop(block);
            assert!(pool.alloc_zeroed(len).unwrap().iter().all(|&byte| byte == 0), "{len} bytes not zeroed");
        }
    });
}

#[test]
fn blocks_are_aligned_as_promised() {
    at_every_level(64 * MIB, |pool| {
        let mut kept = Vec::new();
        for len in (1..5000).chain([65_536, 65_537]).filter(|&len| serves(pool, len)) {
            let block = pool.alloc_aligned(len).unwrap();
            assert_eq!(block.as_ptr() as usize % 64, 0, "alloc_aligned({len})");
            kept.push(block);
            if len >= 512 {
                assert_eq!(pool.alloc(len).unwrap().as_ptr() as usize % 64, 0, "alloc({len})");
            }
        }
        for alignment in (0..=12).map(|bits| 1 << bits) {
            for len in [1, 100, 4097, 20_000] {
                let block = pool.alloc_aligned_to(len, alignment).unwrap();
                assert_eq!(block.as_ptr() as usize % alignment, 0, "{len} bytes at {alignment}");
                kept.push(block);
            }
        }
        for alignment in [0, 3, 8192] {
            assert!(matches!(pool.alloc_aligned_to(64, alignment), Err(PoolError::Alignment { max: 4096, .. })));
        }
    });
}

#[test]
fn a_full_pool_refuses_with_numbers_and_goes_on_after_a_free() {
    at_every_level(MIB, |pool| {
        let mut blocks: Vec<Block> = Vec::new();
        let refused = loop {
            match pool.alloc(1024) {
                Ok(block) => blocks.push(block),
                Err(refused) => break refused,
            }
        };
        assert_eq!(blocks.len(), 1024, "every byte of the limit is of use");
        let full = PoolError::Exhausted { pool: "pool.tested".into(), bytes: 1024, held: MIB, max: MIB };
        assert_eq!(refused, full);
        assert!(refused.to_string().contains("pool.tested") && refused.to_string().contains("1048576"), "{refused}");
        assert!(pool.alloc(MIB).is_err() && pool.alloc(usize::MAX).is_err() && pool.alloc_aligned(usize::MAX).is_err());
        blocks.pop();
        blocks.push(pool.alloc(1000).unwrap());
        assert_eq!(pool.held_bytes(), MIB);
    });
}

#[test]
fn what_can_never_fit_is_refused_without_a_search() {
    at_every_level(MIB, |pool| {
        drop((0..1024).map(|_| pool.alloc(1024).unwrap()).collect::<Vec<Block>>());
        for len in [MIB + 1, usize::MAX - 5000, usize::MAX] {
            assert!(pool.alloc(len).is_err() && pool.alloc_aligned(len).is_err());
        }
        assert_eq!(pool.held_bytes(), MIB, "{}: a search would have given it back", pool.level());
    });
    at_every_level(40_000, |pool| {
        if pool.level() == Level::Fixed {
            return;
        }
        drop((0..39).map(|_| pool.alloc(1024).unwrap()).collect::<Vec<Block>>());
        assert!(pool.alloc(40_001).is_err());
        assert_eq!(pool.held_bytes(), 39 * 1024, "{}", pool.level());
    });
}

#[test]
fn a_few_large_blocks_are_kept_for_the_next() {
    at_every_level(16 * MIB, |pool| {
        if !serves(pool, MIB) {
            return;
        }
        for _ in 0..20 {
            let blocks: Vec<Block> = (0..16).map(|_| pool.alloc(MIB).unwrap()).collect();
            assert_eq!(read(pool).level_of(&POOL_LIVE), Some((16 * MIB) as f64));
            assert!(pool.alloc(65_537).is_err());
            drop(blocks);
            assert_eq!(pool.held_bytes(), 2 * MIB, "an eighth of the limit");
            // What is kept is not in the way of another length.
            drop(pool.alloc(15 * MIB).unwrap());
        }
        drop(pool.alloc(MIB).unwrap());
        assert!(pool.trim() > 0);
        assert_eq!(pool.held_bytes(), 0);
    });
}

#[test]
fn chunks_without_blocks_go_back_to_the_system() {
    at_every_level(64 * MIB, |pool| {
        if pool.level() == Level::Fixed {
            return;
        }
        let of_len = |len: usize| (0..4 * MIB / len).map(|_| pool.alloc(len).unwrap()).collect();
        let mut all: Vec<Vec<Block>> = [16, 64, 1000, 5000, 65_536].into_iter().map(of_len).collect();
        all.iter_mut().flatten().for_each(|block| {
            let pattern = block.len() as u8;
            block.fill(pattern);
        });
        let peak = pool.held_bytes();
        assert!(peak >= 20 * MIB - 5 * 65_536, "{peak}");
        let kept: Vec<Block> = all.iter_mut().map(|blocks| blocks.swap_remove(blocks.len() / 2)).collect();
        drop(all);
        let peak = pool.held_bytes();
        let released = pool.trim();
        let held = pool.held_bytes();
        assert_eq!(peak - held, released);
        assert!(held <= 5 * 65_536, "a chunk for each block in use, not {held} bytes");
        assert!(kept.iter().all(|block| block.iter().all(|&byte| byte == block.len() as u8)));
        // What is given out anew is as good as before.
        let again: Vec<Block> = (0..4 * MIB / 64).map(|_| pool.alloc(64).unwrap()).collect();
        let starts: std::collections::BTreeSet<usize> = again.iter().map(|block| block.as_ptr() as usize).collect();
        assert_eq!(starts.len(), again.len());
    });
}

#[test]
fn what_idles_goes_back_by_itself() {
    at_every_level(64 * MIB, |pool| {
        if pool.level() == Level::Fixed {
            return;
        }
        let blocks: Vec<Block> = (0..32 * MIB / 1024).map(|_| pool.alloc(1024).unwrap()).collect();
        drop(blocks);
        // Some traffic, for it is frees that look.
        (0..20_000).for_each(|_| drop(pool.alloc(1024).unwrap()));
        assert!(pool.held_bytes() <= 2 * MIB, "{}: {} bytes idle", pool.level(), pool.held_bytes());
    });
}

#[test]
fn idle_chunks_of_one_class_serve_another_at_the_limit() {
    at_every_level(4 * MIB, |pool| {
        if pool.level() == Level::Fixed {
            return;
        }
        drop((0..4 * MIB / 512).map(|_| pool.alloc(512).unwrap()).collect::<Vec<Block>>());
        let blocks: Vec<Block> = (0..4 * MIB / 2048).map(|_| pool.alloc(2048).unwrap()).collect();
        assert_eq!(blocks.len(), 2048);
    });
}

#[test]
fn a_fixed_pool_has_everything_from_the_start() {
    let pool = pool(Level::Fixed, 4 * MIB);
    for _ in 0..3 {
        let mut blocks: Vec<Block> = Vec::new();
        let refused = loop {
            match pool.alloc(65_536) {
                Ok(block) => blocks.push(block),
                Err(refused) => break refused,
            }
        };
        assert_eq!(blocks.len(), 64);
        assert!(matches!(refused, PoolError::Exhausted { bytes: 65_536, held, max, .. } if held == max), "{refused}");
        assert_eq!(pool.trim(), 0);
    }
}

#[test]
fn an_unlocked_pool_serves_its_owner_and_takes_back_from_all() {
    let pool = pool(Level::Unlocked, 16 * MIB);
    let blocks: Vec<Block> = (0..1000).map(|_| pool.alloc(100).unwrap()).collect();
    let other = pool.clone();
    thread::spawn(move || {
        let refused = other.alloc(100).unwrap_err();
        assert_eq!(refused, PoolError::NotOwner { pool: "pool.tested".into() });
        drop(blocks);
        assert!(other.alloc(100).is_err(), "freeing does not make it the owner");
    })
    .join()
    .unwrap();
    assert_eq!(read(&pool).level_of(&POOL_LIVE), Some(0.0));
    let held = pool.held_bytes();
    let again: Vec<Block> = (0..1000).map(|_| pool.alloc(100).unwrap()).collect();
    assert_eq!(pool.held_bytes(), held, "what another thread gave back is used again");
    drop(again);
    // An owner that ends leaves the pool to the next.
    let heir = Pool::new("heir", Level::Unlocked, PoolLimits::default()).unwrap();
    for _ in 0..3 {
        let heir = heir.clone();
        thread::spawn(move || drop(heir.alloc(100).unwrap())).join().unwrap();
    }
    drop(heir.alloc(100).unwrap());
}

#[test]
fn what_idles_in_other_threads_caches_is_found_at_the_limit() {
    let pool = Pool::new("tested", Level::ThreadCached, PoolLimits { bytes_max: 64 << 10 }).unwrap();
    let (done, wait): (Sender<()>, Receiver<()>) = channel();
    let (cached, cached_seen) = channel();
    let other = pool.clone();
    let holder = thread::spawn(move || {
        drop(other.alloc(16_384).unwrap());
        cached.send(()).unwrap();
        wait.recv().unwrap();
    });
    cached_seen.recv().unwrap();
    // The slab's four blocks are all to be had here, though the other thread has cached one and is still alive.
    let blocks: Vec<Block> = (0..4).map(|_| pool.alloc(16_384).unwrap()).collect();
    assert_eq!(blocks.len(), 4);
    done.send(()).unwrap();
    holder.join().unwrap();
}

/// How many threads come and go, and how many of them at once: a machine that is busy lets each wait for its turn.
const SHORT_LIVED: u64 = 10_000;
const AT_ONCE: usize = 40;

#[test]
fn short_lived_threads_leave_no_cache_behind() {
    let pool = pool(Level::ThreadCached, 16 * MIB);
    for _ in 0..SHORT_LIVED / AT_ONCE as u64 {
        thread::scope(|scope| {
            // Too few for a magazine to overflow: what is flushed is flushed at the end.
            let work = || drop((0..4).map(|_| pool.alloc(2048).unwrap()).collect::<Vec<Block>>());
            let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
            // A scope ends with what its threads do; a thread that is joined has given its cache back too.
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
    let reading = read(&pool);
    let slabs = reading.level_of(&POOL_SLABS).unwrap() as usize;
    assert!(slabs <= AT_ONCE * 16_384, "what {AT_ONCE} threads carve at once serves all, and is not {slabs} bytes");
    // Those that had a row: other tests of this process have threads too.
    let flushes = reading.total_of(&POOL_CACHE_FLUSHES).unwrap();
    assert!((1..=SHORT_LIVED).contains(&flushes), "{flushes} flushes of {SHORT_LIVED} threads that ended");
    assert_eq!(reading.total_of(&POOL_ALLOCS), Some(4 * SHORT_LIVED));
    assert_eq!(reading.total_of(&POOL_FREES), Some(4 * SHORT_LIVED));
    assert_eq!((pool.trim(), pool.held_bytes()), (slabs, 0));
}

#[test]
fn blocks_outlive_their_pool() {
    for level in Level::ALL {
        for _ in 0..50 {
            let short_lived = pool(level, 2 * MIB);
            let lengths = [10, 5000, 100_000].into_iter().filter(|&len| serves(&short_lived, len));
            let mut orphans: Vec<Block> = lengths.map(|len| short_lived.alloc(len).unwrap()).collect();
            orphans.iter_mut().for_each(|orphan| orphan.fill(9));
            let homebound = orphans.pop();
            // One block comes home while the pool ends, on either side of it; the others after.
            thread::scope(|scope| {
                scope.spawn(|| drop(homebound));
                drop(short_lived);
            });
            let check = move || assert!(orphans.iter().all(|orphan| orphan.iter().all(|&byte| byte == 9)));
            thread::spawn(check).join().unwrap();
        }
    }
}

#[test]
fn a_panic_between_allocate_and_free_loses_nothing() {
    at_every_shared_level(16 * MIB, |pool| {
        for round in 0..20 {
            let pool = pool.clone();
            let panicked = thread::spawn(move || {
                let _kept: Vec<Block> = (0..100).map(|len| pool.alloc(len * 10).unwrap()).collect();
                assert!(round < 0, "on purpose");
            });
            assert!(panicked.join().is_err());
        }
        let reading = read(pool);
        assert_eq!((reading.total_of(&POOL_ALLOCS), reading.total_of(&POOL_FREES)), (Some(2000), Some(2000)));
        if pool.level() != Level::Fixed {
            assert!(pool.trim() > 0);
            assert_eq!(pool.held_bytes(), 0);
        }
    });
}

#[test]
fn only_classes_in_use_are_read() {
    at_every_level(16 * MIB, |pool| {
        if !serves(pool, 100_000) {
            return;
        }
        assert_eq!(read(pool).total_of(&POOL_ALLOCS), None);
        let kept = (pool.alloc(60).unwrap(), pool.alloc(100_000).unwrap());
        drop(pool.alloc(61).unwrap());
        let reading = read(pool);
        let of = |family: &str| -> Vec<_> {
            let samples = reading.samples.iter().filter(|sample| sample.family.name == family);
            samples.map(|sample| (sample.labels[0], format!("{:?}", sample.measure))).collect()
        };
        assert_eq!(
            of(POOL_ALLOCS.name),
            [("60", "Total(1)".into()), ("64", "Total(1)".into()), ("large", "Total(1)".into())]
        );
        assert_eq!(
            of(POOL_FREES.name),
            [("60", "Total(0)".into()), ("64", "Total(1)".into()), ("large", "Total(0)".into())]
        );
        assert_eq!(
            of(POOL_LIVE.name),
            [("60", "Level(60.0)".into()), ("64", "Level(0.0)".into()), ("large", "Level(102400.0)".into())]
        );
        let in_force = reading.samples.iter().find(|sample| sample.labels == [pool.level().as_str()]).unwrap();
        assert!(in_force.family == &POOL_LEVEL && matches!(in_force.measure, Measure::Level(1.0)));
        drop(kept);
    });
}

/// Threads allocate, write a pattern of their own over the whole block, pass some blocks on and free the rest; each
/// block must still hold its pattern when it is freed, and no two blocks in use may overlap.
#[test]
fn threads_that_free_each_others_blocks_share_nothing_else() {
    const THREADS: usize = 4;
    const STEPS: usize = if cfg!(debug_assertions) { 6_000 } else { 30_000 };
    at_every_shared_level(96 * MIB, |pool| {
        let in_use = InUse::default();
        let (senders, receivers): (Vec<Sender<Block>>, Vec<Receiver<Block>>) = (0..THREADS).map(|_| channel()).unzip();
        let all_sent = Barrier::new(THREADS);
        thread::scope(|scope| {
            for (index, inbox) in receivers.into_iter().enumerate() {
                let (in_use, all_sent, next) = (&in_use, &all_sent, senders[(index + 1) % THREADS].clone());
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(index as u64);
                    let mut kept: Vec<Block> = Vec::new();
                    let free = |block: Block| {
                        let pattern = block.first().copied().unwrap_or_default();
                        assert!(block.iter().all(|&byte| byte == pattern), "somebody else wrote to a block");
                        in_use.leave(&block);
                    };
                    for step in 0..STEPS {
                        let longest = 1 << random.u32(0..if pool.level() == Level::Fixed { 13 } else { 17 });
                        let len = 1 + random.usize(0..longest);
                        let mut block = if random.bool() { pool.alloc(len) } else { pool.alloc_zeroed(len) }.unwrap();
                        in_use.enter(&block);
                        block.fill((step * THREADS + index) as u8);
                        match random.u8(0..3) {
                            0 => _ = next.send(block).map_err(|unsent| free(unsent.0)),
                            1 => free(block),
                            _ => kept.push(block),
                        }
                        inbox.try_iter().for_each(&free);
                        while kept.len() > 50 {
                            free(kept.swap_remove(random.usize(0..kept.len())));
                        }
                    }
                    all_sent.wait();
                    kept.into_iter().for_each(&free);
                    inbox.try_iter().for_each(&free);
                });
            }
        });
        assert!(in_use.is_empty());
        let reading = read(pool);
        assert_eq!(reading.total_of(&POOL_ALLOCS), Some((THREADS * STEPS) as u64));
        assert_eq!(reading.total_of(&POOL_FREES), reading.total_of(&POOL_ALLOCS));
        assert_eq!(reading.level_of(&POOL_LIVE), Some(0.0));
    });
}

/// More threads than there are rows, so that some have none.
#[test]
fn threads_past_the_table_are_served_too() {
    let threads = rheostat_runtime::observe::THREAD_ROWS + 20;
    at_every_shared_level(64 * MIB, |pool| {
        let barrier = Barrier::new(threads);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut blocks: Vec<Block> = (1..100).map(|len| pool.alloc(len).unwrap()).collect();
                    barrier.wait();
                    blocks.iter_mut().for_each(|block| block.fill(1));
                });
            }
        });
        assert_eq!(read(pool).level_of(&POOL_LIVE), Some(0.0));
        assert_eq!(read(pool).total_of(&POOL_ALLOCS), Some(threads as u64 * 99));
    });
}

#[test]
fn threads_past_the_table_find_what_idles_at_the_limit() {
    let threads = rheostat_runtime::observe::THREAD_ROWS + 20;
    at_every_shared_level(MIB, |pool| {
        let mut blocks: Vec<Block> = (0..1024).map(|_| pool.alloc(1024).unwrap()).collect();
        let mut index = 0;
        // One in each chunk stays, or what idles would be found as chunks.
        blocks.retain(|_| {
            index += 1;
            index % 32 == 0
        });
        let (barrier, turn) = (Barrier::new(threads), Mutex::new(()));
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let allocated = {
                        let _turn = turn.lock();
                        pool.alloc(1024)
                    };
                    barrier.wait();
                    assert!(allocated.is_ok(), "{}: {allocated:?}", pool.level());
                });
            }
        });
    });
}

#[test]
fn collections_and_values_live_in_a_pool() {
    at_every_level(16 * MIB, |pool| {
        let mut numbers = allocator_api2::vec::Vec::new_in(InPool(pool.clone()));
        numbers.extend(0..5_000_u64);
        let mut table = hashbrown::HashMap::new_in(pool.as_ref());
        (0..1_000_u64).for_each(|n| _ = table.insert(n, n * n));
        let boxed = pool.boxed([7_u32; 100]).unwrap();
        let empty = pool.boxed(()).unwrap();
        let aligned = pool.boxed(Page([1; 4096])).unwrap();
        assert_eq!(std::ptr::from_ref(&*aligned).addr() % 4096, 0);
        assert!(numbers.iter().copied().eq(0..5_000) && table.iter().all(|(n, square)| n * n == *square));
        assert_eq!((boxed.iter().sum::<u32>(), *empty, aligned.0[4095]), (700, (), 1));
        let reading = read(pool);
        let live = reading.level_of(&POOL_LIVE).unwrap();
        let asked = reading.level_of(&POOL_REQUESTED).unwrap();
        assert!(asked >= 40_000.0 + 16_000.0 + 400.0 + 4096.0 && asked <= live, "{asked} of {live}");
        drop((numbers, table, boxed, aligned));
        assert_eq!(read(pool).level_of(&POOL_LIVE), Some(0.0));
        assert_eq!(read(pool).level_of(&POOL_REQUESTED), Some(0.0));
    });
}

#[repr(align(4096))]
struct Page([u8; 4096]);

#[test]
fn what_another_thread_frees_is_counted() {
    at_every_level(16 * MIB, |pool| {
        let blocks: Vec<Block> = (0..200).map(|_| pool.alloc(100).unwrap()).collect();
        thread::spawn(move || drop(blocks)).join().unwrap();
        // Other tests of this process have threads too: one that found no row is on none of its own.
        let remote = read(pool).total_of(&POOL_REMOTE_FREES).unwrap();
        assert!(remote == 200 || remote == 0, "{remote} of 200");
    });
}

#[test]
fn a_local_pool_serves_its_thread() {
    let pool = LocalPool::new(PoolLimits { bytes_max: 4 * MIB }).unwrap();
    for _ in 0..3 {
        let mut blocks = Vec::new();
        let mut starts = std::collections::BTreeSet::new();
        let refused = loop {
            match pool.alloc(1000) {
                Ok(mut block) => {
                    block.fill(blocks.len() as u8);
                    assert!(starts.insert(block.as_ptr() as usize));
                    blocks.push(block);
                }
                Err(refused) => break refused,
            }
        };
        assert_eq!((blocks.len(), pool.live(), pool.held_bytes()), (4096, 4096, 4 * MIB));
        assert!(matches!(refused, PoolError::Exhausted { bytes: 1024, .. }), "{refused}");
        assert!(blocks.iter().enumerate().all(|(index, block)| block.iter().all(|&byte| byte == index as u8)));
    }
    assert_eq!(pool.live(), 0);
    assert!(matches!(pool.alloc(65_537), Err(PoolError::TooLong { .. })));
}
