//! Pools at every level.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_runtime::observe::families::{
    POOL_ALLOCS, POOL_CACHE_FILLS, POOL_CACHE_FLUSHES, POOL_FREES, POOL_LEVEL, POOL_LIVE, POOL_SLABS,
};
use rheostat_runtime::observe::{Measure, Reading, Resource};
use rheostat_runtime::pool::{Block, Level, Pool, PoolError, PoolLimits};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex, MutexGuard};
use std::thread;

const MIB: usize = 1 << 20;

/// Runs a check on a fresh pool of every level.
fn at_every_level(bytes_max: usize, check: impl Fn(&Arc<Pool>)) {
    for level in Level::ALL {
        check(&Pool::new("tested", level, PoolLimits { bytes_max }).unwrap());
    }
}

fn read(pool: &Pool) -> Reading {
    let mut reading = Reading::default();
    pool.read(&mut reading);
    reading
}

/// The blocks in use, as intervals: no two may share a byte.
#[derive(Default)]
struct InUse(Mutex<BTreeMap<usize, usize>>);

impl InUse {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, usize>> {
        self.0.lock().unwrap()
    }

    fn enter(&self, block: &Block) {
        let (start, end) = (block.as_ptr() as usize, block.as_ptr() as usize + block.capacity());
        let mut blocks = self.lock();
        let before = blocks.range(..end).next_back();
        assert!(before.is_none_or(|(_, &other)| other <= start), "{start:#x}..{end:#x} overlaps {before:x?}");
        blocks.insert(start, end);
    }

    fn leave(&self, block: &Block) {
        assert!(self.lock().remove(&(block.as_ptr() as usize)).is_some(), "left without having entered");
    }
}

#[test]
fn a_block_has_the_length_asked_for_and_zeroes_when_asked() {
    at_every_level(64 * MIB, |pool| {
        for len in [0, 1, 15, 16, 17, 100, 1000, 4096, 65_536, 65_537, MIB] {
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
        for len in (1..5000).chain([65_536, 65_537]) {
            let block = pool.alloc_aligned(len).unwrap();
            assert_eq!(block.as_ptr() as usize % 64, 0, "alloc_aligned({len})");
            kept.push(block);
            if len >= 512 {
                assert_eq!(pool.alloc(len).unwrap().as_ptr() as usize % 64, 0, "alloc({len})");
            }
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
fn large_blocks_return_to_the_system() {
    at_every_level(8 * MIB, |pool| {
        for _ in 0..20 {
            let blocks: Vec<Block> = (0..8).map(|_| pool.alloc(MIB).unwrap()).collect();
            assert_eq!(read(pool).level_of(&POOL_LIVE), Some((8 * MIB) as f64));
            assert!(pool.alloc(65_537).is_err());
            drop(blocks);
            assert_eq!(pool.held_bytes(), 0);
        }
    });
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

#[test]
fn a_thread_leaves_its_cache_behind() {
    let pool = Pool::new("tested", Level::ThreadCached, PoolLimits::default()).unwrap();
    for _ in 0..200 {
        let pool = pool.clone();
        thread::spawn(move || {
            // Too few for a magazine to overflow: what is flushed is flushed at the end.
            let blocks: Vec<Block> = (0..4).map(|_| pool.alloc(2048).unwrap()).collect();
            drop(blocks);
        })
        .join()
        .unwrap();
    }
    let reading = read(&pool);
    assert_eq!(reading.level_of(&POOL_SLABS), Some(65_536.0), "one slab serves one thread after another");
    assert_eq!(reading.total_of(&POOL_CACHE_FLUSHES), Some(200), "each thread flushed at its end");
    assert_eq!(reading.total_of(&POOL_CACHE_FILLS), Some(200));
}

#[test]
fn blocks_outlive_their_pool() {
    at_every_level(64 * MIB, |pool| {
        let blocks: Vec<Block> = [10, 10_000, 100_000].into_iter().map(|len| pool.alloc(len).unwrap()).collect();
        let level = pool.level();
        let short_lived = Pool::new("short", level, PoolLimits::default()).unwrap();
        let mut orphan = short_lived.alloc(5000).unwrap();
        drop(short_lived);
        orphan.fill(9);
        thread::spawn(move || assert!(orphan.iter().all(|&byte| byte == 9))).join().unwrap();
        drop(blocks);
    });
}

#[test]
fn only_classes_in_use_are_read() {
    at_every_level(64 * MIB, |pool| {
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
            [("60", "Level(60.0)".into()), ("64", "Level(0.0)".into()), ("large", "Level(100000.0)".into())]
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
    at_every_level(256 * MIB, |pool| {
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
                        let longest = 1 << random.u32(0..17);
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
        let reading = read(pool);
        assert_eq!(reading.total_of(&POOL_ALLOCS), Some((THREADS * STEPS) as u64));
        assert_eq!(reading.total_of(&POOL_FREES), reading.total_of(&POOL_ALLOCS));
        assert_eq!(reading.level_of(&POOL_LIVE), Some(0.0));
    });
}

/// More threads than there are racks, so that some share the one that caches nothing.
#[test]
fn threads_past_the_table_are_served_too() {
    let threads = rheostat_runtime::observe::THREAD_ROWS + 20;
    at_every_level(64 * MIB, |pool| {
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
