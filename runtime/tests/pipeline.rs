//! Pipelines of closures: nothing lost, nothing doubled, whatever is turned and whatever panics.

use rheostat_runtime::observe::families::*;
use rheostat_runtime::observe::{
    Actor, Address, Family, Measure, Outcome, Reading, Registry, RegistryError, TurnError, Value,
};
use rheostat_runtime::pipeline::{Emit, Limits, Pipeline, PipelineError, Reason, Refused, StageOptions};
use rheostat_runtime::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(25);

fn options(workers: usize, batch: usize, capacity: usize) -> StageOptions {
    StageOptions { workers, batch, capacity }
}

fn host(pipeline: &Arc<Pipeline>) -> Registry {
    let registry = Registry::new();
    pipeline.resources().into_iter().for_each(|resource| registry.add(resource).unwrap());
    registry
}

fn turn(registry: &Registry, knob: &str, to: i64) -> Result<(), RegistryError> {
    let (address, knob) = Address::parse_knob(knob).unwrap();
    registry.turn(&address, &knob, Value::Integer(to), Actor::Process).map(drop)
}

fn read(registry: &Registry, address: &str) -> Reading {
    let mut reading = Reading::default();
    registry.get(&address.parse().unwrap()).unwrap().read(&mut reading);
    reading
}

fn total(registry: &Registry, address: &str, family: &Family) -> u64 {
    read(registry, address).total_of(family).unwrap()
}

/// Counts how often each of `0..n` arrived.
struct Roll(Vec<AtomicU64>);

impl Roll {
    fn new(n: u64) -> Arc<Self> {
        Arc::new(Self((0..n).map(|_| AtomicU64::new(0)).collect()))
    }

    fn call(&self, n: u64) {
        self.0[n as usize].fetch_add(1, Relaxed);
    }

    fn assert_each_once(&self) {
        let wrong: Vec<_> = self.0.iter().enumerate().filter(|(_, seen)| seen.load(Relaxed) != 1).take(5).collect();
        assert!(wrong.is_empty(), "not exactly once: {wrong:?}");
    }
}

#[test]
fn every_record_once_while_every_knob_is_turned() {
    const RECORDS: u64 = 300_000;
    let roll = Roll::new(RECORDS);
    let seen = roll.clone();
    let pipeline = Pipeline::source("storm", 0..RECORDS)
        .stage("pass", options(1, 10, 4), |n: &mut u64, out| {
            out.push(*n);
            Ok(())
        })
        .sink("keep", options(1, 10, 4), move |n| {
            seen.call(*n);
            Ok(())
        })
        .start()
        .unwrap();
    let registry = host(&pipeline);
    let mut random = fastrand::Rng::with_seed(7);
    let mut turns = 0;
    while !pipeline.has_ended() {
        for stage in ["pass", "keep"] {
            for (knob, max) in [("workers", 12), ("batch", 200), ("capacity", 40)] {
                let turned = turn(&registry, &format!("pipeline.storm.{stage}.{knob}"), random.i64(1..=max));
                // Once a stage has ended there is nothing left to turn, and that is all that may be refused.
                match turned {
                    Err(RegistryError::Turn(TurnError::Failed { why, .. })) => {
                        assert!(why.ends_with("has ended"), "{why}")
                    }
                    turned => turned.unwrap(),
                }
                turns += 1;
            }
        }
    }
    assert!(turns > 100, "only {turns} turns: the test was no storm");
    roll.assert_each_once();
    for stage in ["pass", "keep"] {
        let address = format!("pipeline.storm.{stage}");
        assert_eq!(total(&registry, &address, &STAGE_IN_ITEMS), RECORDS);
        assert_eq!(
            total(&registry, &address, &STAGE_QUEUE_ENQUEUED),
            total(&registry, &address, &STAGE_QUEUE_DEQUEUED)
        );
        assert_eq!(read(&registry, &address).level_of(&STAGE_WORKERS), Some(0.0), "{address} left workers behind");
    }
}

#[test]
fn a_turn_that_meets_the_end_is_refused_or_settled() {
    // The last record is with its worker, which takes its time.
    let (began, beginning) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new((began, released)));
    let pipeline = Pipeline::source("ending", 0..1u64)
        .sink("keep", options(1, 1, 4), move |_| {
            let gate = gate.lock().unwrap();
            gate.0.send(()).unwrap();
            gate.1.recv().unwrap();
            Ok(())
        })
        .start()
        .unwrap();
    let registry = host(&pipeline);
    beginning.recv().unwrap();
    // The source has nothing more, but it may yet have to say so.
    while turn(&registry, "pipeline.ending.keep.workers", 3).is_ok() {
        assert_eq!(registry.journal().since(0).pop().unwrap().outcome, Outcome::Applied);
    }
    let refused = registry.journal().since(0).pop().unwrap();
    assert_eq!(refused.outcome, Outcome::Failed("workers was not turned: pipeline.ending.keep has ended".into()));
    release.send(()).unwrap();
    assert!(pipeline.wait(LONG));

    // And turns that come at any moment of an end.
    for records in 0..150u64 {
        let pipeline =
            Pipeline::source("ending", 0..records).sink("keep", options(3, 1, 4), |_| Ok(())).start().unwrap();
        let registry = host(&pipeline);
        for workers in [4, 2, 5, 1] {
            let _ = turn(&registry, "pipeline.ending.keep.workers", workers);
        }
        let settling: Vec<_> = registry.journal().since(0);
        let settling: Vec<_> = settling.iter().filter(|change| change.outcome == Outcome::Settling).collect();
        assert!(settling.is_empty(), "{settling:?}");
        assert!(pipeline.wait(LONG));
    }
}

#[test]
fn a_turn_that_waits_for_a_long_batch_ends_in_the_journal() {
    let (holding, held) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(()));
    let (closed, holding) = (gate.clone(), Arc::new(Mutex::new(holding)));
    let pipeline = Pipeline::source("slow", 0..1_000_000u64)
        .sink("keep", options(2, 1, 4), move |_| {
            let _ = holding.lock().unwrap().send(());
            drop(closed.lock().unwrap());
            Ok(())
        })
        .start()
        .unwrap();
    let registry = host(&pipeline);
    let batch = gate.lock().unwrap();
    // Both workers are in a batch, of which one began before the gate was closed at most.
    (0..4).for_each(|_| _ = held.recv_timeout(Duration::from_millis(100)));
    turn(&registry, "pipeline.slow.keep.workers", 1).unwrap();
    assert_eq!((registry.journal().since(0)[0].outcome.clone(), registry.settle()), (Outcome::Settling, vec![]));
    drop(batch);
    let began = Instant::now();
    while registry.settle().is_empty() {
        assert!(began.elapsed() < LONG);
        thread::yield_now();
    }
    assert_eq!(registry.journal().since(0)[0].outcome, Outcome::Applied);
    pipeline.abandon();
}

#[test]
fn one_worker_keeps_the_order_while_dials_turn() {
    let got = Arc::new(Mutex::new(Vec::new()));
    let sink = got.clone();
    let pipeline = Pipeline::source("order", 0..100_000u64)
        .sink("keep", options(1, 7, 2), move |n| {
            sink.lock().unwrap().push(*n);
            Ok(())
        })
        .start()
        .unwrap();
    let registry = host(&pipeline);
    for n in (0i64..).take_while(|_| !pipeline.has_ended()) {
        turn(&registry, "pipeline.order.keep.batch", 1 + n % 50).unwrap();
        turn(&registry, "pipeline.order.keep.capacity", 1 + n % 20).unwrap();
    }
    assert!(got.lock().unwrap().iter().copied().eq(0..100_000), "records were reordered");
}

#[test]
fn a_record_that_panics_or_is_refused_is_set_aside_whole() {
    let got = Arc::new(Mutex::new(Vec::new()));
    let sink = got.clone();
    let pipeline = Pipeline::source("faults", 0..10_000u64)
        .stage("explode", options(3, 16, 4), |n: &mut u64, out| {
            out.push(*n * 2);
            match *n % 100 {
                13 => panic!("unlucky {n}"),
                77 => return Err(Refused(format!("not {n}"))),
                _ => out.push(*n * 2 + 1),
            }
            Ok(())
        })
        .sink("keep", options(1, 16, 4), move |n| {
            sink.lock().unwrap().push(*n);
            Ok(())
        })
        .start()
        .unwrap();
    assert!(pipeline.wait(LONG));
    let mut got = got.lock().unwrap().clone();
    got.sort_unstable();
    let good = (0..10_000u64).filter(|n| ![13, 77].contains(&(n % 100)));
    assert!(got.into_iter().eq(good.flat_map(|n| [n * 2, n * 2 + 1])), "a failed record left results behind");
    let registry = host(&pipeline);
    assert_eq!(total(&registry, "pipeline.faults.explode", &STAGE_ERRORS), 200);
    assert_eq!(total(&registry, "pipeline.faults", &PIPELINE_DEAD_LETTERS), 200);
    let letters = pipeline.dead_letters();
    assert_eq!(letters.len(), 200);
    let panics: Vec<_> = letters.iter().filter(|letter| letter.reason == Reason::Panic).collect();
    assert_eq!(panics.len(), 100);
    assert!(panics.iter().all(|letter| letter.stage == "explode" && letter.why.starts_with("unlucky ")));
}

#[test]
fn a_record_whose_drop_panics_costs_no_worker() {
    struct Brittle(u64);
    impl Drop for Brittle {
        fn drop(&mut self) {
            assert!(!self.0.is_multiple_of(10), "{} broke", self.0);
        }
    }
    let kept = Arc::new(AtomicUsize::new(0));
    let sink = kept.clone();
    let pipeline = Pipeline::source("brittle", (1..=1_000u64).map(Brittle))
        .stage("pass", options(1, 64, 4), |record: &mut Brittle, out| {
            // Dropped again when the record is refused, and that panics too.
            out.push(Brittle(record.0));
            if record.0 % 100 == 50 { Err(Refused("half-way".into())) } else { Ok(()) }
        })
        .sink("keep", options(1, 64, 4), move |_| {
            sink.fetch_add(1, Relaxed);
            Ok(())
        })
        .start()
        .unwrap();
    assert!(pipeline.wait(LONG), "a worker died and nobody noticed");
    assert_eq!(kept.load(Relaxed), 990);
    let letters = pipeline.dead_letters();
    let count = |stage: &str, reason| letters.iter().filter(|l| l.stage == stage && l.reason == reason).count();
    assert_eq!(count("pass", Reason::Refused), 10);
    assert_eq!(count("pass", Reason::Panic), 110, "a hundred inputs and ten results taken back");
    assert_eq!(count("keep", Reason::Panic), 90);
}

#[test]
fn dead_letters_are_bounded_but_all_counted() {
    let pipeline = Pipeline::source("letters", 0..5_000u32)
        .sink("refuse", options(2, 100, 4), |n| Err(Refused(n.to_string())))
        .start()
        .unwrap();
    assert!(pipeline.wait(LONG));
    assert_eq!(pipeline.dead_letters().len(), 1000);
    assert_eq!(total(&host(&pipeline), "pipeline.letters", &PIPELINE_DEAD_LETTERS), 5_000);
}

/// Seconds that a stage's workers have spent in each state.
fn states(registry: &Registry, address: &str) -> HashMap<&'static str, f64> {
    let reading = read(registry, address);
    let samples = reading.samples.iter().filter(|sample| sample.family.name == STAGE_STATE.name);
    let seconds = samples.map(|sample| match sample.measure {
        Measure::Total(total) => (sample.labels[0], total as f64 / 1e9),
        _ => unreachable!("states are counters"),
    });
    seconds.collect()
}

#[test]
fn states_of_the_workers_sum_to_wall_time() {
    let pipeline = Pipeline::source("clock", std::iter::repeat(()))
        .stage("fast", options(2, 5, 2), |(), out| {
            out.push(());
            Ok(())
        })
        .sink("slow", options(1, 5, 2), |()| {
            thread::sleep(Duration::from_micros(300));
            Ok(())
        })
        .start()
        .unwrap();
    let registry = host(&pipeline);
    let look = || {
        let looks = ["fast", "slow"].map(|stage| states(&registry, &format!("pipeline.clock.{stage}")));
        (looks, Instant::now())
    };
    // Until every worker is up and its clock on.
    while look().0.iter().any(|states| states["busy"] == 0.0) {
        thread::yield_now();
    }
    let (before, began) = look();
    // The time over which the clocks are compared with the wall's.
    thread::sleep(Duration::from_millis(300));
    let (after, ended) = look();
    let wall = (ended - began).as_secs_f64();
    let spent = |stage: usize, state: &str| (after[stage][state] - before[stage][state]) / wall;
    for (stage, workers) in [(0, 2.0), (1, 1.0)] {
        let sum: f64 = ["busy", "idle", "backpressured"].iter().map(|state| spent(stage, state)).sum();
        // A look is not instantaneous on a busy machine; the sums themselves are exact.
        assert!((sum - workers).abs() < 0.1 * workers, "{sum} seconds a second for {workers} workers");
    }
    assert!(spent(0, "backpressured") > 1.0, "the stage before the slow one is held back: {after:?}");
    assert!(spent(1, "busy") > 0.5, "the slow one is busy: {after:?}");
    pipeline.abandon();
    assert!(pipeline.wait(LONG));
}

#[test]
fn stop_drains_what_was_handed_over() {
    let (taken, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (source, sink) = (taken.clone(), seen.clone());
    // Counted where they are taken: a value the source drops is lost as much as one a stage drops.
    let pipeline = Pipeline::source("endless", (0u64..).inspect(move |_| _ = source.fetch_add(1, Relaxed)))
        .stage("pass", options(2, 50, 8), |n: &mut u64, out| {
            out.push(*n);
            Ok(())
        })
        .sink("count", options(2, 50, 8), move |_| {
            sink.fetch_add(1, Relaxed);
            Ok(())
        })
        .start()
        .unwrap();
    let registry = host(&pipeline);
    while total(&registry, "pipeline.endless", &PIPELINE_SOURCE_ITEMS) < 10_000 {
        thread::yield_now();
    }
    pipeline.stop();
    assert!(pipeline.wait(LONG), "the pipeline did not drain");
    assert_eq!(seen.load(Relaxed), taken.load(Relaxed));
}

#[test]
fn abandon_ends_at_once_and_drops_each_record_once() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let (made, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (making, dropping) = (made.clone(), dropped.clone());
    let records = std::iter::from_fn(move || {
        making.fetch_add(1, Relaxed);
        Some(Counted(dropping.clone()))
    });
    let pipeline = Pipeline::source("abandoned", records)
        .sink("slow", options(2, 10, 4), |_| {
            thread::sleep(Duration::from_millis(1));
            Ok(())
        })
        .start()
        .unwrap();
    while made.load(Relaxed) < 50 {
        thread::yield_now();
    }
    pipeline.abandon();
    assert!(pipeline.wait(LONG));
    drop(pipeline);
    // Worker threads drop their share of the queue when they end.
    let deadline = Instant::now() + LONG;
    while dropped.load(Relaxed) != made.load(Relaxed) && Instant::now() < deadline {
        thread::yield_now();
    }
    assert_eq!(dropped.load(Relaxed), made.load(Relaxed));
}

#[test]
fn a_turn_is_in_force_when_it_returns() {
    let pipeline = Pipeline::source("quick", 0u64..)
        .sink("work", options(1, 100, 8), |n| {
            std::hint::black_box((0..200).fold(*n, |a, b| a.rotate_left(5) ^ b));
            Ok(())
        })
        .start()
        .unwrap();
    let registry = host(&pipeline);
    for workers in [8, 1, 8, 3] {
        turn(&registry, "pipeline.quick.work.workers", workers).unwrap();
        assert_eq!(read(&registry, "pipeline.quick.work").level_of(&STAGE_WORKERS), Some(workers as f64));
    }
    let slowest = registry.journal().since(0).into_iter().map(|change| change.took).max().unwrap();
    // Ten times the promise: this shows that nothing waits for a timeout, not how fast the machine is.
    assert!(slowest < Duration::from_secs(1), "a turn took {slowest:?}");
    pipeline.stop();
    assert!(pipeline.wait(LONG));
}

#[test]
fn what_cannot_be_is_refused_by_name_and_range() {
    let start = |stage: &str, options| {
        Pipeline::source("bad", 0..10u8).sink(stage, options, |_| Ok(())).start().map(|pipeline| pipeline.wait(LONG))
    };
    let refused = [
        (options(0, 1, 1), "workers"),
        (options(1_000_000_000, 1, 1), "workers"),
        (options(1, 0, 1), "batch"),
        (options(1, 1, 0), "capacity"),
    ];
    for (given, knob) in refused {
        let error = start("keep", given).unwrap_err().to_string();
        assert!(error.contains(&format!("pipeline.bad.keep.{knob} ")) && error.contains("choose 1 to "), "{error}");
    }
    assert!(matches!(start("Keep it", options(1, 1, 1)), Err(PipelineError::Name(_))));
    let pipeline = Pipeline::source("good", 0..10u8).sink("keep", options(1, 1, 1), |_| Ok(())).start().unwrap();
    let registry = host(&pipeline);
    for to in [0, -1, 1_000_000_000] {
        let refused = turn(&registry, "pipeline.good.keep.workers", to).unwrap_err().to_string();
        let max = Limits::default().workers_max;
        assert_eq!(refused, format!("{to} is out of range: workers takes a whole number from 1 to {max}"));
    }
    let idle = turn(&registry, "pipeline.good.rate", 1).unwrap_err().to_string();
    assert_eq!(idle, "pipeline.good has no knob `rate`; it has none", "nothing holds an iterator to a rate of bytes");
    let unknown = turn(&registry, "pipeline.good.keep.speed", 1).unwrap_err().to_string();
    assert_eq!(unknown, "pipeline.good.keep has no knob `speed`; it has workers, batch, capacity");
    assert!(pipeline.wait(LONG));
}

#[test]
fn workers_that_left_are_gone() {
    let pipeline = Pipeline::source("tidy", 0u64..).sink("tidy-stage", options(1, 10, 4), |_| Ok(())).start().unwrap();
    let registry = host(&pipeline);
    for workers in [12, 1, 12, 2, 9, 1] {
        turn(&registry, "pipeline.tidy.tidy-stage.workers", workers).unwrap();
    }
    let named = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with("tidy-stage/")).count()
    };
    let deadline = Instant::now() + LONG;
    while named() > 1 && Instant::now() < deadline {
        thread::yield_now();
    }
    assert_eq!(named(), 1);
    pipeline.stop();
    assert!(pipeline.wait(LONG));
}

#[test]
fn stages_are_listed_in_the_order_of_the_flow() {
    let pass = |n: &mut u8, out: &mut Emit<'_, '_, u8>| {
        out.push(*n);
        Ok(())
    };
    let pipeline = Pipeline::source("flow", 0..10u8)
        .stage("zeta", options(1, 1, 1), pass)
        .stage("alpha", options(1, 1, 1), pass)
        .sink("middle", options(1, 1, 1), |_| Ok(()))
        .start()
        .unwrap();
    let registry = host(&pipeline);
    let listed: Vec<_> = registry.all().iter().map(|resource| resource.address().to_string()).collect();
    assert_eq!(listed, ["pipeline.flow", "pipeline.flow.zeta", "pipeline.flow.alpha", "pipeline.flow.middle"]);
    assert!(pipeline.wait(LONG));
}
