//! Parallel regions, also while the number of threads is turned.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_runtime::observe::families::{
    SCHEDULER_PANICS, SCHEDULER_REGIONS, SCHEDULER_SWAPS, SCHEDULER_THREADS, SCHEDULER_THREADS_LIVE,
};
use rheostat_runtime::observe::{Actor, Reading, Registry, RegistryError, Resource, TurnError, Value};
use rheostat_runtime::scheduler::{Scheduler, SchedulerError};
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

fn read(scheduler: &Scheduler) -> Reading {
    let mut reading = Reading::default();
    scheduler.read(&mut reading);
    reading
}

/// Looks again until it holds, for ten seconds at most.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "never came true: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn regions_do_what_they_say() {
    let scheduler = Scheduler::new("tested", 2).unwrap();
    for (range, grain) in [(0..0, 1), (0..1, 0), (5..1000, 7), (0..1000, 5000)] {
        let visits: Vec<AtomicU32> = (0..range.end).map(|_| AtomicU32::new(0)).collect();
        scheduler.parallel_for(range.clone(), grain, |index| _ = visits[index].fetch_add(1, Relaxed));
        for (index, visited) in visits.iter().enumerate() {
            assert_eq!(visited.load(Relaxed), u32::from(range.contains(&index)), "index {index} of {range:?}");
        }
    }
    // Strings joined in order: combining is associative but does not commute.
    let digits = |text: String, index: usize| text + &index.to_string();
    let expected = (0..500).fold(String::new(), digits);
    assert_eq!(scheduler.parallel_reduce(0..500, String::new, digits, |a, b| a + &b), expected);
    assert_eq!(scheduler.invoke(|| 1, || "two"), (1, "two"));
    assert_eq!(scheduler.run(rayon::current_num_threads), 2);
    assert_eq!(scheduler.run(|| thread::current().name().map(|name| name.starts_with("tested-"))), Some(true));
    assert_eq!(read(&scheduler).total_of(&SCHEDULER_REGIONS), Some(8));
}

#[test]
fn a_region_within_a_region_runs() {
    let scheduler = Scheduler::new("tested", 2).unwrap();
    let sum = AtomicUsize::new(0);
    scheduler.parallel_for(0..20, 1, |outer| {
        scheduler.parallel_for(0..20, 1, |inner| _ = sum.fetch_add(outer * inner, Relaxed));
    });
    assert_eq!(sum.load(Relaxed), 190 * 190);
}

#[test]
fn a_panic_reaches_the_caller_and_the_threads_go_on() {
    let scheduler = Scheduler::new("tested", 2).unwrap();
    for _ in 0..10 {
        let panic = catch_unwind(AssertUnwindSafe(|| {
            scheduler.parallel_for(0..100, 1, |index| assert_ne!(index, 50, "fifty is refused"));
        }));
        let message = panic.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("fifty is refused"), "{message}");
    }
    assert_eq!(read(&scheduler).total_of(&SCHEDULER_PANICS), Some(10));
    assert_eq!(scheduler.parallel_reduce(0..101, || 0, |a, b| a + b, |a, b| a + b), 5050);
    assert_eq!(scheduler.threads(), 2);
}

#[test]
fn a_panic_in_a_job_nobody_waits_for_ends_nothing() {
    let scheduler = Scheduler::new("tested", 1).unwrap();
    scheduler.run(|| rayon::spawn(|| panic!("nobody waits for this")));
    eventually("the panic is counted", || read(&scheduler).total_of(&SCHEDULER_PANICS) == Some(1));
    assert_eq!(scheduler.run(|| 7), 7);
}

#[test]
fn a_turn_waits_for_old_threads_to_end_and_says_when_they_have_not() {
    let scheduler = Scheduler::new("tested", 2).unwrap();
    eventually("two threads live", || read(&scheduler).level_of(&SCHEDULER_THREADS_LIVE) == Some(2.0));
    let mut swaps = 0;
    // A machine that is busy enough may keep a turn from settling in time, but not every turn.
    eventually("a turn settles", || {
        let (from, to) = (scheduler.threads(), 5 - scheduler.threads());
        let turned = scheduler.turn("threads", &Value::Integer(to as i64)).unwrap();
        assert_eq!((turned.from, turned.to), (Value::Integer(from as i64), Value::Integer(to as i64)));
        assert_eq!(read(&scheduler).level_of(&SCHEDULER_THREADS), Some(to as f64));
        swaps += 1;
        turned.settled
    });

    // A region that is under way keeps its threads until it ends.
    let (release, held) = mpsc::channel::<()>();
    let (began, beginning) = mpsc::channel();
    let region = thread::spawn({
        let scheduler = scheduler.clone();
        move || {
            scheduler.run(move || {
                began.send(()).unwrap();
                held.recv().unwrap();
            });
        }
    });
    beginning.recv().unwrap();
    let turned = scheduler.turn("threads", &Value::Integer(1)).unwrap();
    assert!(!turned.settled, "the old threads cannot be gone: {turned:?}");
    assert_eq!(scheduler.threads(), 1);
    assert_eq!(scheduler.run(|| 7), 7, "the new thread works while the old ones finish");
    release.send(()).unwrap();
    region.join().unwrap();
    eventually("one thread live", || read(&scheduler).level_of(&SCHEDULER_THREADS_LIVE) == Some(1.0));
    assert_eq!(read(&scheduler).total_of(&SCHEDULER_SWAPS), Some(swaps + 1));
}

#[test]
fn turned_two_hundred_times_no_index_is_lost_or_visited_twice() {
    const INDICES: usize = 2_000;
    let scheduler = Scheduler::new("tested", 1).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let regions: Vec<_> = (0..2)
        .map(|_| {
            let (scheduler, done) = (scheduler.clone(), done.clone());
            thread::spawn(move || {
                let mut rounds = 0;
                while !done.load(Relaxed) || rounds == 0 {
                    let visits: Vec<AtomicU32> = (0..INDICES).map(|_| AtomicU32::new(0)).collect();
                    scheduler.parallel_for(0..INDICES, 10, |index| _ = visits[index].fetch_add(1, Relaxed));
                    assert!(visits.iter().all(|visited| visited.load(Relaxed) == 1), "lost or visited twice");
                    rounds += 1;
                }
                rounds
            })
        })
        .collect();
    for threads in [3, 1, 4, 2].into_iter().cycle().take(200) {
        scheduler.turn("threads", &Value::Integer(threads)).unwrap();
    }
    done.store(true, Relaxed);
    let rounds: u32 = regions.into_iter().map(|region| region.join().unwrap()).sum();
    assert!(rounds > 2, "regions ran while the threads were turned");
    let threads = scheduler.threads() as f64;
    eventually("old threads ended", || read(&scheduler).level_of(&SCHEDULER_THREADS_LIVE) == Some(threads));
    let reading = read(&scheduler);
    assert_eq!(reading.total_of(&SCHEDULER_REGIONS), Some(u64::from(rounds)));
    assert_eq!(reading.total_of(&SCHEDULER_SWAPS), Some(200));
}

#[test]
fn what_is_no_number_of_threads_is_refused_with_the_range() {
    let max = Scheduler::threads_max();
    for threads in [0, max + 1, 1_000_000_000] {
        let refused = Scheduler::new("tested", threads).unwrap_err();
        assert!(matches!(refused, SchedulerError::Threads { .. }), "{refused}");
        assert!(refused.to_string().contains(&format!("1 to {max}")), "{refused}");
    }
    assert!(matches!(Scheduler::new("No Name", 1), Err(SchedulerError::Name(_))));

    let scheduler = Scheduler::new("tested", 1).unwrap();
    let registry = Registry::new();
    registry.add(scheduler.clone()).unwrap();
    for (knob, value) in
        [("threads", Value::Integer(-1)), ("threads", Value::Choice("two".into())), ("workers", Value::Integer(1))]
    {
        let refused = registry.turn(scheduler.address(), knob, value.clone(), Actor::Process);
        assert!(matches!(refused, Err(RegistryError::Turn(_))), "{knob} = {value} was taken");
        assert!(scheduler.turn(knob, &value).is_err(), "{knob} = {value} was taken past the registry");
    }
    let beyond = scheduler.turn("threads", &Value::Integer(max as i64 + 1)).unwrap_err();
    assert!(matches!(beyond, TurnError::Range { .. }), "{beyond}");
    assert_eq!((scheduler.threads(), read(&scheduler).total_of(&SCHEDULER_SWAPS)), (1, Some(0)));
}
