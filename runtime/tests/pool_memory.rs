//! A pool in a process that gets no more memory.
//!
//! The limit is one on the process's data (`RLIMIT_DATA`), by which the system refuses. A cgroup's `memory.max` has no such
//! form: a page is charged when it is first touched, long after `mmap` and `mprotect` have agreed to it, and where nothing
//! can be reclaimed then the kernel kills a process of the group (cgroup-v2.rst, "memory.max"). No error comes back that a
//! pool could pass on, at level `fixed` either, which touches everything when it is made. So there is no test of that form:
//! in a cgroup, what keeps a process alive are the pools' own limits, their sum below the cgroup's.

#![cfg(all(target_os = "linux", not(any(rt_loom, rt_shuttle))))]

use rheostat_runtime::pool::{Block, Level, LevelRefused, Pool, PoolError, PoolLimits};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::process::Command;

const MIB: usize = 1 << 20;
/// Set in the process that is limited.
const LIMITED: &str = "RHEOSTAT_TEST_LIMITED";

/// Bytes of the process that its limit on data counts.
fn data_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Lets the process have so many bytes more than it has.
fn limit(more: u64) {
    let limit = Some(data_bytes() + more);
    setrlimit(Resource::Data, Rlimit { current: limit, maximum: limit }).unwrap();
}

/// Runs the test of that name in a process of its own, as a limit is for a process and for good.
fn in_a_process(name: &str, limited: impl FnOnce()) {
    if std::env::var_os(LIMITED).is_some() {
        return limited();
    }
    let test = std::env::current_exe().unwrap();
    let mut limited = Command::new(test);
    // A trace of a panic takes memory, and without any it never comes to its end. And the test runs on the main thread,
    // which otherwise waits for it and may need some as well.
    let alone = ["--exact", name, "--nocapture", "--test-threads=1"];
    limited.args(alone).env(LIMITED, "1").env("RUST_BACKTRACE", "0");
    let output = limited.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_block_comes_home_when_there_is_no_memory_for_magazines() {
    in_a_process("a_block_comes_home_when_there_is_no_memory_for_magazines", || {
        let mut pools: Vec<_> = [Level::Unlocked, Level::ThreadCached]
            .into_iter()
            .map(|level| {
                let pool = Pool::new("limited", Level::LockFree, PoolLimits { bytes_max: MIB }).unwrap();
                let blocks: Vec<Block> = (0..1000).map(|_| pool.alloc(64).unwrap()).collect();
                pool.turn_level(level).unwrap();
                // The thread caches from here on, and owns the pool that is unlocked.
                drop(pool.alloc(5000).unwrap());
                (pool, blocks)
            })
            .collect();
        let mut hoard: Vec<Vec<u8>> = Vec::with_capacity(1 << 20);
        limit(0);
        // As long as a magazine of that class.
        while hoard.len() < hoard.capacity() {
            let mut some = Vec::new();
            if some.try_reserve_exact(16 + 64 * size_of::<usize>()).is_err() {
                break;
            }
            hoard.push(some);
        }
        let is_short = hoard.len() < hoard.capacity();
        // Without giving back what the vectors have, which would do for magazines.
        pools.iter_mut().for_each(|(_, blocks)| blocks.clear());
        drop(hoard);
        assert!(is_short);
        for (pool, _) in pools {
            let level = pool.level();
            pool.turn_level(Level::LockFree).unwrap();
            pool.trim();
            assert_eq!(pool.held_bytes(), 0, "{level} lost blocks");
        }
    });
}

#[test]
fn growth_that_the_system_refuses_is_an_error_and_loses_nothing() {
    in_a_process("growth_that_the_system_refuses_is_an_error_and_loses_nothing", limited);
}

fn limited() {
    let pools: Vec<_> = [Level::Unlocked, Level::Mutex, Level::LockFree, Level::ThreadCached]
        .into_iter()
        .map(|level| Pool::new("limited", level, PoolLimits { bytes_max: 256 * MIB }).unwrap())
        .collect();
    let mut blocks: Vec<Block> = Vec::with_capacity(256 * MIB / 4096);
    limit(32 * MIB as u64);
    for pool in &pools {
        let refused = loop {
            match pool.alloc(4096) {
                Ok(mut block) => {
                    let pattern = blocks.len() as u8;
                    block.fill(pattern);
                    blocks.push(block);
                }
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, PoolError::System { .. }), "{}: {refused}", pool.level());
        assert!(matches!(pool.alloc(64 * MIB), Err(PoolError::System { .. })), "{}", pool.level());
        assert!(blocks.iter().enumerate().all(|(index, block)| block.iter().all(|&byte| byte == index as u8)));
        let (held, len) = (pool.held_bytes(), blocks.len());
        assert!(len > 0 || held == 0);
        // What it has it goes on with.
        for _ in 0..3 {
            blocks.truncate(len / 2);
            while blocks.len() < len {
                let Ok(mut block) = pool.alloc(4096) else { break };
                let pattern = blocks.len() as u8;
                block.fill(pattern);
                blocks.push(block);
            }
            assert_eq!((blocks.len(), pool.held_bytes()), (len, held), "{}", pool.level());
        }
        let fixed = pool.turn_level(Level::Fixed);
        assert!(matches!(fixed, Err(LevelRefused::System { .. })), "{fixed:?}");
        blocks.clear();
        pool.trim();
        assert_eq!(pool.held_bytes(), 0);
    }
}
