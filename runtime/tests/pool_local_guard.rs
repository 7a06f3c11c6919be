//! Guarded local pools: what is promised to be caught is, nothing else is taken for it, and what is out is told.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use proptest::collection;
use proptest::prelude::*;
use rheostat_runtime::pool::{FaultKind, LocalBlock, LocalPool, OnFault, PoolError, PoolLimits};
use rheostat_runtime::sync::atomic::{AtomicUsize, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::channel;

const MIB: usize = 1 << 20;

fn guarded() -> LocalPool {
    LocalPool::guarded(PoolLimits { bytes_max: 16 * MIB }, OnFault::Count).unwrap()
}

/// Writes somewhere about a block, through a pointer that may touch all of the pool's memory.
fn write(start: usize, offset: isize, byte: u8) {
    let to = std::ptr::with_exposed_provenance_mut::<u8>(start.wrapping_add_signed(offset));
    // SAFETY: in the pool's memory, which outlives the call.
    unsafe { to.write(byte) };
}

fn start(block: &LocalBlock<'_>) -> usize {
    block.as_ptr().expose_provenance()
}

/// Frees a block, and then again.
fn twice(block: LocalBlock<'_>) {
    // SAFETY: the copy makes the double free that is to be caught; the pool is guarded.
    drop(unsafe { std::ptr::read(&raw const block) });
    drop(block);
}

#[test]
fn what_is_written_about_a_block_is_seen_when_it_comes_home() {
    let pool = guarded();
    for (before, len) in [1, 15, 16, 100, 1000, 4096, 65_000].into_iter().enumerate() {
        let block = pool.alloc(len).unwrap();
        let at = start(&block);
        write(at, len as isize, 0);
        drop(block);
        let faults = pool.faults();
        let fault = faults.last().unwrap();
        assert_eq!((faults.len(), fault.kind, fault.address), (before + 1, FaultKind::Overrun, at), "{fault}");
        assert_eq!((fault.offset, fault.len, fault.pool.as_str()), (len as isize, Some(len), "a local pool"));
        assert!(fault.class.is_some_and(|class| class >= len + 16) && fault.allocated.is_some(), "{fault}");
    }
    let blocks: Vec<_> = (0..10).map(|_| pool.alloc(100).unwrap()).collect();
    let starts: Vec<_> = blocks.iter().map(start).collect();
    let after = starts.iter().position(|at| starts.contains(&(at - 120))).expect("blocks lie side by side");
    write(starts[after], -1, 0);
    drop(blocks);
    let fault = pool.faults().pop().unwrap();
    assert_eq!((fault.kind, fault.offset, fault.address), (FaultKind::Underrun, -1, starts[after]), "{fault}");
    assert_eq!(pool.faults().len(), 8);
}

#[test]
fn what_is_written_after_a_free_is_seen_by_a_check_at_the_next_holder_and_at_the_end() {
    let pool = guarded();
    let touch = |at| {
        let block = pool.alloc(300).unwrap();
        let start = start(&block);
        drop(block);
        write(start, at, 1);
        start
    };
    let touched = touch(299);
    assert_eq!((pool.check(), pool.check()), (1, 0));
    assert_eq!(touch(5), touched);
    let block = pool.alloc(300).unwrap();
    let fault = pool.faults().pop().unwrap();
    assert_eq!((fault.kind, fault.offset, fault.address), (FaultKind::WriteAfterFree, 5, start(&block)), "{fault}");
    assert!(fault.freed.is_some() && block.iter().all(|&byte| byte == 0xCD));
    drop(block);
    assert_eq!(pool.faults_of(FaultKind::WriteAfterFree), 2);
    touch(9);
    let (told, tells) = channel();
    pool.on_fault(move |fault| told.send((fault.kind, fault.offset)).unwrap());
    drop(pool);
    assert_eq!(tells.iter().collect::<Vec<_>>(), [(FaultKind::WriteAfterFree, 9)]);
}

#[test]
fn what_is_freed_twice_is_freed_once() {
    let pool = guarded();
    twice(pool.alloc(200).unwrap());
    let fault = pool.faults().pop().unwrap();
    assert_eq!((fault.kind, fault.len), (FaultKind::DoubleFree, Some(200)), "{fault}");
    assert!(fault.allocated.is_some() && fault.freed.is_some(), "{fault}");
    let (one, other) = (pool.alloc(200).unwrap(), pool.alloc(200).unwrap());
    assert!(start(&one) != start(&other) && pool.live() == 2);
}

#[test]
fn what_is_too_long_for_a_canary_is_handed_out_all_the_same_and_freed_once() {
    let pool = guarded();
    let mut long = pool.alloc(65_536).unwrap();
    long.fill(7);
    assert_eq!((pool.unguarded(), pool.outstanding().unwrap().unattributed()), (1, 1));
    twice(long);
    assert_eq!(pool.faults_of(FaultKind::DoubleFree), 1);
    assert!(matches!(pool.alloc(65_537), Err(PoolError::TooLong { .. })));
    // It is poison, too, and no more once it is out.
    let long = pool.alloc(65_536).unwrap();
    assert_eq!((pool.check(), pool.live()), (0, 1));
    let at = start(&long);
    drop(long);
    write(at, 65_535, 0);
    assert_eq!(pool.check(), 1);
    assert!(pool.outstanding().unwrap().is_empty());
}

#[test]
fn a_pool_at_its_limit_refuses_and_loses_nothing() {
    let pool = LocalPool::guarded(PoolLimits { bytes_max: MIB }, OnFault::Count).unwrap();
    let mut counts = Vec::new();
    for _ in 0..3 {
        let mut blocks = Vec::new();
        let refused = loop {
            match pool.alloc(1000) {
                Ok(block) => blocks.push(block),
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, PoolError::Exhausted { .. }), "{refused}");
        assert_eq!((pool.live(), pool.outstanding().unwrap().bytes), (blocks.len(), blocks.len() as u64 * 1000));
        counts.push(blocks.len());
    }
    assert!(counts[0] > 900 && counts.iter().all(|&count| count == counts[0]), "{counts:?}");
    assert!(pool.faults().is_empty());
}

#[test]
fn what_was_forgotten_is_told_at_the_end() {
    let pool = guarded();
    std::mem::forget((pool.alloc(100).unwrap(), pool.alloc(100).unwrap(), pool.alloc(65_536).unwrap()));
    let report = pool.end().unwrap();
    assert_eq!((report.blocks, report.bytes, report.unattributed()), (3, 65_736, 1));
    let classes: Vec<_> = report.classes.iter().map(|class| (class.block_bytes, class.blocks, class.bytes)).collect();
    assert_eq!(classes, [(Some(120), 2, 200), (Some(65_536), 1, 65_536)]);
    assert_eq!((report.scopes.len(), report.scopes[0].scope, report.scopes[0].blocks), (1, "outside", 2));
    assert!(report.to_string().starts_with("3 blocks of 65736 bytes are out of a local pool"), "{report}");
    assert!(guarded().end().unwrap().is_empty());
}

#[test]
fn a_pool_without_guard_looks_at_nothing() {
    let pool = LocalPool::new(PoolLimits::default()).unwrap();
    let block = pool.alloc(100).unwrap();
    // The sanitizer would.
    if cfg!(not(rt_asan)) {
        write(start(&block), 100, 0);
    }
    drop(block);
    assert!(!pool.is_guarded() && guarded().is_guarded());
    assert_eq!((pool.check(), pool.faults().len(), pool.unguarded()), (0, 0, 0));
    assert!(pool.outstanding().is_none() && pool.end().is_none());
}

#[test]
fn the_thread_panics_on_a_fault_if_that_was_chosen_and_the_pool_stays_whole() {
    let pool = LocalPool::guarded(PoolLimits::default(), OnFault::Panic).unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let counts = seen.clone();
    pool.on_fault(move |_| _ = counts.fetch_add(1, Ordering::Relaxed));
    let panics = |act: &mut dyn FnMut()| {
        let panic = catch_unwind(AssertUnwindSafe(act)).expect_err("a fault ends in a panic");
        *panic.downcast::<String>().unwrap()
    };
    let mut block = Some(pool.alloc(100).unwrap());
    write(start(block.as_ref().unwrap()), 100, 0);
    let message = panics(&mut || drop(block.take()));
    assert!(message.contains("byte 100 was written of the block"), "{message}");
    let mut block = Some(pool.alloc(100).unwrap());
    let at = start(block.as_ref().unwrap());
    drop(block.take());
    write(at, 3, 0);
    let message = panics(&mut || drop(pool.alloc(100)));
    assert!(message.contains("byte 3 was written") && message.contains("after it was freed"), "{message}");
    let message = panics(&mut || twice(pool.alloc(100).unwrap()));
    assert!(message.contains("was freed twice"), "{message}");
    assert_eq!((pool.live(), seen.load(Ordering::Relaxed)), (0, 3));
    let blocks: Vec<_> = (0..100).map(|_| pool.alloc(100).unwrap()).collect();
    assert_eq!(pool.live(), blocks.len());
}

/// What is done, rightly or not. Blocks are chosen by a number, modulo those that are out.
#[derive(Debug, Clone)]
enum Step {
    Take(usize),
    Give(usize),
    Overrun(usize),
    Twice(usize),
    WriteAfter(usize, usize),
    Check,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![8 => 1..300_usize, 2 => 300..6000_usize, 1 => 60_000..65_537_usize];
    let step = prop_oneof![
        8 => len.prop_map(Step::Take),
        4 => any::<usize>().prop_map(Step::Give),
        1 => any::<usize>().prop_map(Step::Overrun),
        1 => any::<usize>().prop_map(Step::Twice),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(which, at)| Step::WriteAfter(which, at)),
        1 => Just(Step::Check),
    ];
    collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each mistake is found, as what it is, and nothing else is taken for one.
    #[test]
    fn every_mistake_is_found_and_nothing_else(steps in steps()) {
        let pool = guarded();
        let (mut out, mut made): (Vec<LocalBlock<'_>>, _) = (Vec::new(), [0; 3]);
        for step in &steps {
            let which = match *step {
                Step::Give(which) | Step::Overrun(which) | Step::Twice(which) | Step::WriteAfter(which, _) => which,
                Step::Take(len) => {
                    let mut block = pool.alloc(len).unwrap();
                    block.fill(len as u8);
                    out.push(block);
                    continue;
                }
                Step::Check => {
                    prop_assert_eq!(pool.check(), 0);
                    continue;
                }
            };
            if out.is_empty() {
                continue;
            }
            let block = out.swap_remove(which % out.len());
            let (at, len) = (start(&block), block.len());
            prop_assert!(block.iter().all(|&byte| byte == len as u8), "somebody else wrote to a block");
            match *step {
                // Those that are longer go out without a canary.
                Step::Overrun(_) if len <= 65_520 => {
                    write(at, len as isize, 0);
                    made[0] += 1;
                }
                Step::Twice(_) => {
                    twice(block);
                    made[1] += 1;
                    continue;
                }
                Step::WriteAfter(_, offset) => {
                    drop(block);
                    write(at, (offset % len) as isize, 0);
                    made[2] += 1;
                    prop_assert_eq!(pool.check(), 1);
                    continue;
                }
                _ => {}
            }
            drop(block);
        }
        let kinds = [FaultKind::Overrun, FaultKind::DoubleFree, FaultKind::WriteAfterFree];
        prop_assert_eq!(kinds.map(|kind| pool.faults_of(kind)), made, "{:#?}", pool.faults());
        let report = pool.outstanding().unwrap();
        let asked: usize = out.iter().map(|block| block.len()).sum();
        prop_assert_eq!((report.blocks, report.bytes), (out.len() as u64, asked as u64));
        prop_assert_eq!(pool.live(), out.len());
    }
}
