//! A pool in a process that gets no more memory.

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

/// In a process of its own, as a limit is for a process and for good.
#[test]
fn growth_that_the_system_refuses_is_an_error_and_loses_nothing() {
    if std::env::var_os(LIMITED).is_some() {
        return limited();
    }
    let name = "growth_that_the_system_refuses_is_an_error_and_loses_nothing";
    let test = std::env::current_exe().unwrap();
    let output = Command::new(test).args(["--exact", name, "--nocapture"]).env(LIMITED, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn limited() {
    let pools: Vec<_> = [Level::Unlocked, Level::Mutex, Level::LockFree, Level::ThreadCached]
        .into_iter()
        .map(|level| Pool::new("limited", level, PoolLimits { bytes_max: 256 * MIB }).unwrap())
        .collect();
    let mut blocks: Vec<Block> = Vec::with_capacity(256 * MIB / 4096);
    let limit = Some(data_bytes() + 32 * MIB as u64);
    setrlimit(Resource::Data, Rlimit { current: limit, maximum: limit }).unwrap();
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
