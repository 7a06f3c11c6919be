//! AddressSanitizer sees into pools: who touches a block that was freed, or more of one than was asked for, is
//! reported.

#![cfg(rt_asan)]

use rheostat_runtime::pool::{Level, LevelAsked, LocalPool, Pool, PoolLimits};
use std::hint::black_box;
use std::process::Command;

const LIMITS: PoolLimits = PoolLimits { bytes_max: 1 << 20 };
/// Set in a process that is to end by a report, to the level of its pool.
const MISUSED: &str = "RHEOSTAT_TEST_MISUSED";

/// Runs the test of that name in a process of its own for each level, where it misuses a pool, and is to be reported.
fn is_reported_at_every_level(test: &str, misuse: impl FnOnce(&Pool)) {
    if let Ok(level) = std::env::var(MISUSED) {
        return misuse(&Pool::new("misused", level.parse::<LevelAsked>().unwrap(), LIMITS).unwrap());
    }
    Level::ALL.into_iter().for_each(|level| is_reported(test, level.as_str()));
}

fn is_reported(test: &str, level: &str) {
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", test, "--test-threads", "1"]).env(MISUSED, level);
    let output = process.output().unwrap();
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && report.contains("use-after-poison"), "at {level}, {}: {report}", output.status);
}

/// Reads a byte that may not be the reader's.
fn peek(byte: *const u8) {
    // SAFETY: none. The sanitizer ends the process here, before it is read.
    black_box(unsafe { byte.read_volatile() });
}

#[test]
fn a_block_read_after_it_was_freed() {
    is_reported_at_every_level("a_block_read_after_it_was_freed", |pool| {
        let mut block = pool.alloc(100).unwrap();
        block.fill(7);
        peek(&block[99]);
        let start = block.as_ptr();
        drop(block);
        peek(start);
    });
}

#[test]
fn a_block_read_after_others_came_and_went() {
    is_reported_at_every_level("a_block_read_after_others_came_and_went", |pool| {
        let blocks: Vec<_> = (0..500).map(|_| pool.alloc(100).unwrap()).collect();
        let starts: Vec<_> = blocks.iter().map(|block| block.as_ptr()).collect();
        drop(blocks);
        drop((0..200).map(|_| pool.alloc_zeroed(100).unwrap()).collect::<Vec<_>>());
        peek(starts[250]);
    });
}

#[test]
fn a_byte_past_the_length_asked_for() {
    is_reported_at_every_level("a_byte_past_the_length_asked_for", |pool| {
        let block = pool.alloc(1000).unwrap();
        assert!(block.capacity() > 1000, "it is in the block all the same");
        peek(block.as_ptr().wrapping_add(1000));
    });
}

#[test]
fn a_large_block_read_after_it_was_freed() {
    let test = "a_large_block_read_after_it_was_freed";
    if std::env::var_os(MISUSED).is_none() {
        return is_reported(test, Level::LockFree.as_str());
    }
    let pool = Pool::new("misused", Level::LockFree, LIMITS).unwrap();
    let block = pool.alloc(100_000).unwrap();
    let start = block.as_ptr();
    // It is kept for the next, so the memory is still there.
    drop(block);
    assert!(pool.held_bytes() >= 100_000);
    peek(start);
}

#[test]
fn a_local_block_read_after_it_was_freed() {
    let test = "a_local_block_read_after_it_was_freed";
    if std::env::var_os(MISUSED).is_none() {
        return is_reported(test, "local");
    }
    let pool = LocalPool::new(LIMITS).unwrap();
    let start = pool.alloc(100).unwrap().as_ptr();
    peek(start);
}
