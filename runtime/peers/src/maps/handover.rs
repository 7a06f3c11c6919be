//! What being able to move costs a map that stays, and what a map gives while it moves.

use super::steps::{Keys, Kind, Step};
use super::{Peer, Tally, perform};
use crate::Options;
use crate::measure::{self, Contender, Row, Spread, brief};
use crate::memory::{self, Heap};
use dashmap::DashMap;
use foldhash::quality::RandomState;
use rheostat_runtime::map::handover::Phase;
use rheostat_runtime::map::{Backend, FixedMap, FlatMap, Map};
use rheostat_runtime::reclaim;
use rheostat_runtime::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

/// In cache, where nanoseconds show.
const FACED_ENTRIES: usize = 10_000;
const FACED_OPERATIONS: u64 = 4_000_000;
const ENTRIES: usize = 1_000_000;
const QUICK_ENTRIES: usize = 100_000;
/// Of a hundred operations during a hand-over, those that put.
const PUTS: u32 = 10;
/// How long the map is used before it moves, and after.
const SETTLED: Duration = Duration::from_secs(1);
const QUICK_SETTLED: Duration = Duration::from_millis(200);
/// No operation is to wait longer.
const STALL: Duration = Duration::from_millis(5);
/// What the thread that moves keys is called.
const MIGRATOR: &str = "map-handover";

pub fn run(options: Options) {
    facade(options);
    moves(options);
    memory(options);
}

/// Reads and overwrites of keys that are there, one thread.
fn faced<'a, P: Peer + 'a>(name: &str, operations: u64, make: impl Fn() -> P + 'a) -> Contender<'a> {
    let run = move |seed| {
        let (keys, map) = (Keys::new(seed), make());
        keys.all(FACED_ENTRIES).for_each(|key| _ = map.put(key, !key));
        let phase = |puts: u32| {
            let steps = keys.uniform(FACED_ENTRIES, operations, puts, u64::from(puts));
            let map = &map;
            let body: Box<dyn FnOnce() -> Tally + Send + '_> = Box::new(|| perform(map, &mut steps.iter()));
            let (figure, tallies) = measure::together(operations, vec![body]);
            assert!(tallies.iter().all(|tally| tally.hits + tally.updates == operations), "every key is there");
            Some(figure)
        };
        vec![phase(0), phase(100)]
    };
    Contender { name: name.into(), run: Box::new(run), remark: String::new() }
}

impl Peer for FixedMap<u64, u64, RandomState> {
    fn get(&self, key: u64) -> Option<u64> {
        self.view(&key, |value| *value)
    }
    fn put(&self, key: u64, value: u64) -> bool {
        FixedMap::put(self, key, value, |_| ()).is_none()
    }
    fn remove(&self, key: u64) -> bool {
        self.take(&key, |_| ()).is_some()
    }
}

/// The map on each backend beside the structure alone, with the same hash.
fn facade(options: Options) {
    const COLUMNS: [&str; 2] = ["get", "put over"];
    let operations = if options.quick { FACED_OPERATIONS / 20 } else { FACED_OPERATIONS };
    let alone = |backend: Backend| {
        Some(match backend {
            Backend::Sharded => faced("dashmap", operations, || {
                DashMap::<u64, u64, _>::with_hasher_and_shard_amount(RandomState::default(), 256)
            }),
            Backend::LockFree => {
                faced("flurry", operations, || flurry::HashMap::<u64, u64, _>::with_hasher(RandomState::default()))
            }
            Backend::Papaya => {
                faced("papaya", operations, || papaya::HashMap::<u64, u64, _>::with_hasher(RandomState::default()))
            }
            Backend::Fixed => faced("FixedMap", operations, || FixedMap::new(1 << 16, RandomState::default())),
            Backend::Flat => faced("FlatMap", operations, || FlatMap::with_hasher(RandomState::default())),
            _ => return None,
        })
    };
    let with = |backend: Backend| {
        let map = faced(&format!("**{backend}**"), operations, move || Map::<u64, u64>::new(backend));
        alone(backend).map(|alone| [map, alone])
    };
    let rows = measure::repeat(options, Backend::ALL.into_iter().filter_map(with).flatten().collect());
    if rows.is_empty() {
        return;
    }
    let title = format!("Faces of maps, {FACED_ENTRIES} entries, 1 thread: ns per operation");
    measure::print(&title, &COLUMNS, "", &rows);
    println!("\n| face | adds to | {} |\n|---|---|---|---|", COLUMNS.join(" | "));
    for pair in rows.chunks_exact(2) {
        let [face, alone]: &[Row; 2] = pair.try_into().expect("chunks of two");
        let adds = |column| face.excess(alone, column).map_or("~".into(), |spread| format!("{spread} ns"));
        println!("| {} | {} | {} | {} |", face.name, alone.name, adds(0), adds(1));
    }
}

/// Before, while and after the map moves.
const STAGES: usize = 3;
const BEFORE: usize = 0;
const DURING: usize = 1;
const AFTER: usize = 2;

/// What the operations that began in one stage came to.
#[derive(Clone, Copy, Default)]
struct Stage {
    operations: u64,
    longest: Duration,
    /// The longest, less the time for which its thread wanted a core and had none. Others may have wanted one meanwhile
    /// that had a lock it waited for.
    longest_on_core: Duration,
    stalled: u64,
}

impl Stage {
    fn and(self, other: Self) -> Self {
        Self {
            operations: self.operations + other.operations,
            longest: self.longest.max(other.longest),
            longest_on_core: self.longest_on_core.max(other.longest_on_core),
            stalled: self.stalled + other.stalled,
        }
    }
}

/// Uses the map until the stages are over, and times every operation from the end of the one before.
fn use_through(map: &Map<u64, u64>, steps: impl Iterator<Item = Step>, stage: &AtomicUsize) -> [Stage; STAGES] {
    /// Below this nothing is blamed on anybody.
    const NOTABLE: Duration = Duration::from_millis(1);
    /// Operations between two looks at how long the thread has waited for a core.
    const LOOK: u64 = 1024;
    let mut stages = [Stage::default(); STAGES];
    let (mut began, mut waited) = (Instant::now(), measure::waited_ns());
    for Step { key, kind } in steps {
        let Some(stage) = stages.get_mut(stage.load(Relaxed)) else { break };
        match kind {
            Kind::Get => _ = black_box(map.get(&key)),
            _ => _ = black_box(map.insert(key, !key)),
        }
        let ended = Instant::now();
        let took = ended - began;
        stage.operations += 1;
        stage.longest = stage.longest.max(took);
        let mut on_core = took;
        if took > NOTABLE || stage.operations.is_multiple_of(LOOK) {
            let before = std::mem::replace(&mut waited, measure::waited_ns());
            on_core = took.saturating_sub(Duration::from_nanos(waited - before));
        }
        stage.longest_on_core = stage.longest_on_core.max(on_core);
        stage.stalled += u64::from(on_core > STALL);
        // What was done about the figures is no part of the next operation.
        began = if took > NOTABLE || stage.operations.is_multiple_of(LOOK) { Instant::now() } else { ended };
    }
    stages
}

/// What one hand-over under load came to.
struct Moved {
    /// Operations a second in each stage.
    rates: [f64; STAGES],
    stages: [Stage; STAGES],
    took: Duration,
}

fn move_under_load(from: Backend, to: Backend, options: Options, seed: u64) -> Moved {
    let (entries, settled) = sizes(options);
    // `fixed` has a bucket for each entry, whether the map begins on it or moves there.
    let map = Map::<u64, u64>::with_buckets(from, entries);
    let (keys, stage) = (Keys::new(seed), AtomicUsize::new(BEFORE));
    keys.all(entries).for_each(|key| _ = map.insert(key, !key));
    let users = measure::cores().max(2);
    let (stages, lengths) = thread::scope(|scope| {
        let users: Vec<_> = (0..users as u64)
            .map(|part| {
                let steps = keys.uniform(entries, u64::MAX, PUTS, part);
                let (map, stage) = (&map, &stage);
                scope.spawn(move || use_through(map, steps.iter(), stage))
            })
            .collect();
        let mut lengths = [Duration::ZERO; STAGES];
        let mut go_through = |index: usize, part: &dyn Fn()| {
            stage.store(index, Relaxed);
            let start = Instant::now();
            part();
            lengths[index] = start.elapsed();
        };
        go_through(BEFORE, &|| thread::sleep(settled));
        go_through(DURING, &|| {
            let handover = map.turn(to).expect("none is under way");
            handover.wait(None);
            assert_eq!(handover.phase(), Phase::Done);
        });
        go_through(AFTER, &|| thread::sleep(settled));
        stage.store(STAGES, Relaxed);
        let all = users.into_iter().map(|user| user.join().expect("a user of the map panicked"));
        let stages = all.fold([Stage::default(); STAGES], |sum, more| std::array::from_fn(|at| sum[at].and(more[at])));
        (stages, lengths)
    });
    assert_eq!(map.len(), entries, "every key is there once");
    let rates = std::array::from_fn(|at| stages[at].operations as f64 / lengths[at].as_secs_f64());
    Moved { rates, stages, took: lengths[DURING] }
}

fn sizes(options: Options) -> (usize, Duration) {
    let (entries, settled) = if options.quick { (QUICK_ENTRIES, QUICK_SETTLED) } else { (ENTRIES, SETTLED) };
    (options.entries.unwrap_or(entries), settled)
}

/// The moves that are wanted: `--only flat-fixed` names one, `--only flat` all that begin there.
fn pairs(options: Options) -> Vec<(Backend, Backend)> {
    let others = |from| Backend::ALL.into_iter().filter(move |&to| to != from).map(move |to| (from, to));
    let all = Backend::ALL.into_iter().flat_map(others);
    all.filter(|(from, to)| options.wants(&format!("{from}-{to}"))).collect()
}

/// Throughput and waits while a map moves.
fn moves(options: Options) {
    let ((entries, _), pairs) = (sizes(options), pairs(options));
    let mut seeds = fastrand::Rng::with_seed(options.seed);
    let moved: Vec<Vec<Moved>> =
        (0..options.repetitions()).fold(pairs.iter().map(|_| Vec::new()).collect(), |mut all: Vec<Vec<Moved>>, _| {
            let seed = seeds.u64(..);
            for (&(from, to), of_pair) in pairs.iter().zip(&mut all) {
                of_pair.push(move_under_load(from, to, options, seed));
            }
            all
        });
    println!(
        "\n### A map of {entries} entries moves under {}, {PUTS} % puts",
        measure::threads(measure::cores().max(2))
    );
    println!(
        "\n| from, to | takes, ms | M ops/s before | % of before while it moves | % of after | % of the \
         slower of these | longest operation while it moves, \
         ms | the same less waits for a core, ms | before, less those, ms | over {} ms, less those |\n|{}",
        STALL.as_millis(),
        "---|".repeat(10)
    );
    for ((from, to), of_pair) in pairs.into_iter().zip(moved) {
        let spread = |figure: &dyn Fn(&Moved) -> f64| {
            Spread::of(of_pair.iter().map(figure).collect()).map_or("-".into(), |spread| spread.to_string())
        };
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "| {from}, {to} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            spread(&|moved| ms(moved.took)),
            spread(&|moved| moved.rates[BEFORE] / 1e6),
            spread(&|moved| 100.0 * moved.rates[DURING] / moved.rates[BEFORE]),
            spread(&|moved| 100.0 * moved.rates[DURING] / moved.rates[AFTER]),
            spread(&|moved| 100.0 * moved.rates[DURING] / moved.rates[BEFORE].min(moved.rates[AFTER])),
            spread(&|moved| ms(moved.stages[DURING].longest)),
            spread(&|moved| ms(moved.stages[DURING].longest_on_core)),
            spread(&|moved| ms(moved.stages[BEFORE].longest_on_core)),
            of_pair.iter().map(|moved| moved.stages[DURING].stalled).sum::<u64>(),
        );
    }
}

/// Waits until the thread that moved keys has let go of what it moved them from.
fn settle() {
    let moves = || {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        tasks
            .into_iter()
            .any(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == MIGRATOR))
    };
    while moves() {
        thread::sleep(Duration::from_millis(1));
    }
    reclaim::process_domain().flush();
}

/// Bytes that a map keeps when it has moved, beside one that was filled where the other has arrived.
fn memory(options: Options) {
    let (entries, _) = sizes(options);
    let keys = Keys::new(options.seed);
    let fill = |backend: Backend| {
        let map = Map::<u64, u64>::with_buckets(backend, entries);
        keys.all(entries).for_each(|key| _ = map.insert(key, !key));
        map
    };
    let filled = Backend::ALL.map(|backend| {
        settle();
        memory::of(Heap::Rust, || fill(backend)).1
    });
    let of = |backend: Backend| filled[Backend::ALL.iter().position(|&other| other == backend).expect("one of all")];
    println!("\n### Memory of a map of {entries} entries that has moved: bytes per entry");
    println!("\n| from, to | before | at the peak | after | of a map filled on the new backend | more than that |");
    println!("|{}", "---|".repeat(6));
    for (from, to) in pairs(options) {
        settle();
        let (map, after, peak) = memory::of(Heap::Rust, || {
            let map = fill(from);
            map.turn(to).expect("none is under way").wait(None);
            settle();
            map
        });
        drop(map);
        let each = |bytes: usize| brief(bytes as f64 / entries as f64);
        let excess = 100.0 * (after as f64 / of(to) as f64 - 1.0);
        println!(
            "| {from}, {to} | {} | {} | {} | {} | {excess:.0} % |",
            each(of(from)),
            peak.map_or("?".into(), each),
            each(after),
            each(of(to)),
        );
    }
}
