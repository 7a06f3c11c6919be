//! What level `fixed` promises beyond the other levels: all memory is there from the start, and the system has no part
//! in what comes after.

#![cfg(all(target_os = "linux", not(any(rt_loom, rt_shuttle))))]

use rheostat_runtime::pool::{Block, Level, Pool, PoolError, PoolLimits};
use std::sync::Arc;

const MIB: usize = 1 << 20;

fn fixed(bytes_max: usize) -> Arc<Pool> {
    Pool::new("fixed", Level::Fixed, PoolLimits { bytes_max }).unwrap()
}

/// Takes blocks of a length into `blocks`, as many as there are, writes to each page of them, and gives them back.
fn use_up(pool: &Pool, len: usize, blocks: &mut Vec<Block>) -> usize {
    while blocks.len() < blocks.capacity()
        && let Ok(mut block) = pool.alloc(len)
    {
        block.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        blocks.push(block);
    }
    let taken = blocks.len();
    blocks.clear();
    taken
}

/// Pages that the calling thread touched first, so far.
#[cfg(not(any(rt_asan, rt_tsan)))]
fn page_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    after_name.split_whitespace().nth(7).unwrap().parse().unwrap()
}

// Sanitizers keep memory of their own for each page, and that is touched when the page is.
#[cfg(not(any(rt_asan, rt_tsan)))]
#[test]
fn all_memory_is_touched_at_creation() {
    let mut blocks = Vec::with_capacity(8 * MIB / 1024 + 1);
    // A pool of its own for what is new to the thread, its stack's pages among that.
    use_up(&fixed(MIB), 1024, &mut blocks);
    let pool = fixed(8 * MIB);
    drop(pool.alloc(1024));
    blocks.push(pool.alloc(1024).unwrap());
    blocks.clear();
    let before = page_faults();
    assert_eq!(use_up(&pool, 1024, &mut blocks), 8 * MIB / 1024);
    let faults = page_faults() - before;
    assert!(faults < 8 * MIB as u64 / 4096 / 20, "{faults} page faults on {} pages", 8 * MIB / 4096);
}

#[test]
fn chunks_are_limited_too() {
    let (pool, mut blocks) = (fixed(4 * MIB), Vec::with_capacity(1000));
    // One of 40 000 bytes to a chunk of 64 KiB: the rest of the limit is not asked for elsewhere.
    assert_eq!(use_up(&pool, 40_000, &mut blocks), 64);
    let kept: Vec<Block> = (0..64).map(|_| pool.alloc(40_000).unwrap()).collect();
    assert!(matches!(pool.alloc(40_000), Err(PoolError::Exhausted { held, max, .. }) if held < max));
    drop(kept);
    assert_eq!((use_up(&pool, 40_000, &mut blocks), pool.trim()), (64, 0));
}

// Sanitizers call the system themselves now and then. A thread that it ends leaves all it had, which they call leaked.
#[cfg(not(any(rt_asan, rt_tsan)))]
mod strict {
    use super::*;
    use rheostat_runtime::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use rustix::thread::{SecureComputingMode, sched_yield, set_secure_computing_mode};
    use std::thread;
    use std::time::{Duration, Instant};

    /// In strict mode of seccomp a thread may read, write and end by itself; anything else ends it at once.
    #[test]
    fn the_system_is_not_called() {
        const RUNNING: u32 = 0;
        const SERVED: u32 = 1;
        const REFUSED: u32 = 2;
        let outcome = Arc::new(AtomicU32::new(RUNNING));
        let said = outcome.clone();
        thread::spawn(move || {
            let (pool, mut blocks) = (fixed(16 * MIB), Vec::with_capacity(2000));
            drop(pool.alloc(64).unwrap());
            set_secure_computing_mode(SecureComputingMode::Strict).unwrap();
            let lengths = [64, 100, 1000, 1024];
            let served = (0..20).all(|_| lengths.into_iter().all(|len| use_up(&pool, len, &mut blocks) == 2000));
            said.store(if served { SERVED } else { REFUSED }, Relaxed);
            // Here it ends, with no lock in hand, as it would on the way out.
            sched_yield();
        });
        let began = Instant::now();
        while outcome.load(Relaxed) == RUNNING {
            assert!(began.elapsed() < Duration::from_secs(20), "a call to the system has ended the thread");
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(outcome.load(Relaxed), SERVED);
    }
}
