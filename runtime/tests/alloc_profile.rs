//! The sampled heap profile: what is sampled is known until it is freed, whoever frees it, and says what was done.

use rheostat_runtime::alloc::profile::{self, Site};
use rheostat_runtime::alloc::{Class, Scope, Tracked};
use std::alloc::System;
use std::hint::black_box;
use std::sync::{Mutex, MutexGuard};
use std::thread;

#[global_allocator]
static GLOBAL: Tracked<System> = Tracked::new(System);

/// The tests share the profile of one process.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Does it in a scope on a thread of its own, whose countdown follows the interval from its first allocation on.
fn sampled<T: Send>(scope: &Scope, interval: usize, work: impl FnOnce() -> T + Send) -> T {
    profile::set_interval(interval);
    let done = thread::scope(|threads| {
        let work = || {
            let _in = scope.enter();
            work()
        };
        threads.spawn(work).join().unwrap()
    });
    profile::set_interval(0);
    done
}

fn sites(scope: &str) -> Vec<Site> {
    let mut sites = profile::heap_profile().expect("one was begun").sites;
    sites.retain(|site| site.scope == scope);
    sites
}

fn sum(scope: &str, figure: impl Fn(&Site) -> u64) -> u64 {
    sites(scope).iter().map(figure).sum()
}

#[test]
fn live_bytes_are_known_until_they_are_freed_elsewhere() {
    let _alone = alone();
    let scope = Scope::new(Class::Runs, "live");
    let blocks = sampled(&scope, 1, || (0..50).map(|_| black_box(vec![1u8; 1000])).collect::<Vec<_>>());
    let live = sum("live", |site| site.live_bytes);
    // The blocks, and the table that holds them.
    assert!((50_000..55_000).contains(&live), "{live}");
    assert!(blocks.iter().all(|block| block.as_ptr().addr() % 4096 == 0), "samples begin a page");
    assert_eq!(scope.sampled().unwrap().freed_elsewhere_bytes, 0);
    drop(blocks);
    let sampled = scope.sampled().unwrap();
    assert_eq!((sampled.live_bytes, sum("live", |site| site.live_bytes)), (0, 0));
    assert!((50_000..55_000).contains(&sampled.freed_elsewhere_bytes), "{sampled:?}");
    assert!(sum("live", |site| site.allocated_bytes) >= 50_000, "what was allocated stays told");
}

#[test]
fn estimates_come_to_what_was_done() {
    let _alone = alone();
    let scope = Scope::new(Class::Runs, "estimate");
    sampled(&scope, 4096, || (0..300_000).for_each(|n| drop(black_box(Vec::<u8>::with_capacity(16 + n % 113)))));
    let done = scope.counts().unwrap();
    let (blocks, bytes) = (sum("estimate", |site| site.allocations), sum("estimate", |site| site.allocated_bytes));
    // Some 5000 samples: a standard deviation of 1.4 % for bytes, somewhat more for blocks. Seven of them.
    for (estimate, true_one) in [(bytes, done.allocated_bytes), (blocks, done.allocations)] {
        assert!((estimate as f64 / true_one as f64 - 1.0).abs() < 0.12, "{estimate} for {true_one}");
    }
}

#[test]
fn resized_blocks_keep_their_contents_and_their_count() {
    let _alone = alone();
    let scope = Scope::new(Class::Runs, "resized");
    // Some sizes are samples and some are not, so blocks pass from one kind to the other both ways.
    sampled(&scope, 300, || {
        for round in 0..300u32 {
            let mut grown: Vec<u32> = Vec::new();
            for n in 0..200 {
                grown.push(n ^ round);
            }
            grown.shrink_to_fit();
            grown.truncate(50);
            grown.shrink_to_fit();
            assert!(grown.iter().zip(0..50).all(|(kept, n)| *kept == n ^ round));
        }
    });
    let counts = scope.counts().unwrap();
    assert_eq!((counts.allocations, counts.allocated_bytes), (counts.frees, counts.freed_bytes));
    assert_eq!(sum("resized", |site| site.live_bytes), 0);
    assert!(sum("resized", |site| site.allocations) > 100);
}

#[test]
fn zeroed_and_aligned_samples_are_so() {
    let _alone = alone();
    #[repr(align(8192))]
    struct Wide(#[expect(dead_code)] [u8; 8192]);
    let scope = Scope::new(Class::Runs, "zeroed");
    sampled(&scope, 1, || {
        for _ in 0..100 {
            let zeroed = black_box(vec![0u64; 100]);
            assert!(zeroed.iter().all(|word| *word == 0));
            // Dirty memory for the next round.
            drop(black_box(vec![u64::MAX; 100]));
            let wide = black_box(Box::new(Wide([1; 8192])));
            assert_eq!(std::ptr::from_ref(&*wide).addr() % 8192, 0);
        }
    });
    assert_eq!(sum("zeroed", |site| site.live_bytes), 0);
}

#[test]
fn storms_on_many_threads_while_it_is_turned_lose_nothing() {
    let _alone = alone();
    let scope = Scope::new(Class::Runs, "storm");
    let (scope, freed_before) = (&scope, profile::samples().0);
    thread::scope(|threads| {
        let (send, receive) = std::sync::mpsc::sync_channel::<Vec<u8>>(100);
        for seed in 0..3 {
            let send = send.clone();
            threads.spawn(move || {
                let _in = scope.enter();
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..20_000 {
                    let length = random.usize(1..3000);
                    let block = vec![length as u8; length];
                    if random.u8(..) < 60 { send.send(block).unwrap() } else { drop(black_box(block)) }
                }
            });
        }
        drop(send);
        threads.spawn(move || {
            for block in receive {
                assert!(block.iter().all(|byte| *byte == block.len() as u8));
            }
        });
        for turn in 0..200 {
            profile::set_interval([0, 700, 5_000][turn % 3]);
            thread::yield_now();
        }
    });
    profile::set_interval(0);
    assert_eq!(sum("storm", |site| site.live_bytes), 0);
    assert_eq!(scope.sampled().unwrap().live_bytes, 0);
    assert!(profile::samples().0 <= freed_before + 100, "samples of threads that are gone stayed");
}

#[test]
fn more_live_samples_than_there_is_room_for_are_dropped_and_counted() {
    let _alone = alone();
    let scope = Scope::new(Class::Runs, "full");
    let before = profile::samples().1;
    let blocks =
        sampled(&scope, 1, || (0..profile::SAMPLES_MAX + 500).map(|n| black_box(Box::new([n; 4]))).collect::<Vec<_>>());
    let (live, dropped) = profile::samples();
    assert!(live == profile::SAMPLES_MAX && dropped - before >= 500, "{live} live, {dropped} dropped");
    assert!(blocks.iter().enumerate().all(|(n, block)| **block == [n; 4]));
    drop(blocks);
    assert_eq!(sum("full", |site| site.live_bytes), 0);
}
