//! A host drawn by hand, for tests: the demo's resources at rates that are known exactly.

use crate::family::*;
use rheostat_api::{
    Change, Check, Effect, Event, History, Host, Item, Knob, KnobValue, OpResult, Outcome, Phase, Progress, Quantiles,
    Range, Resource, Run, RunResult, RunState, RunVerdict, Sample, Series, Snapshot, Table, Threshold, Verdict,
};
use std::collections::BTreeMap;

/// What the source of `pipeline.words` reads.
pub const BYTES_PER_S: f64 = 214_000_000.0;
/// Time of the first snapshot.
pub const START_MS: u64 = 1_700_000_700_000;
/// Snapshots a second.
const STEPS_PER_S: f64 = 4.0;

/// The snapshot taken `step` quarter seconds after the host started.
pub fn snapshot(step: u64) -> Snapshot {
    let s = step as f64 / STEPS_PER_S;
    Snapshot {
        seq: step + 1,
        at_ms: START_MS + step * 250,
        uptime_s: s,
        host: Host {
            version: "0.1.0".into(),
            pid: 4711,
            cores: 2,
            config: "demo".into(),
            cpu_seconds: 1.62 * s,
            rss_bytes: 64_000_000,
            threads: 14,
            cpu_pressure: Some(0.12),
            self_seconds: 0.004 * s,
            clients: 1,
            history_left_out: 0,
        },
        resources: vec![
            pipeline(s),
            stage("count", 1, s),
            stage("split", 2, s),
            queue(s),
            map(s),
            pool(s),
            allocator(s),
            scheduler(s),
        ],
        runs: vec![run(s)],
        last_change: 2,
    }
}

/// Two changes: one measured, one refused.
pub fn changes() -> Vec<Change> {
    let change = |id, at_s: u64, resource: &str, knob: &str, from, to, outcome| Change {
        id,
        at_ms: START_MS + at_s * 1000,
        actor: "uid 1000".into(),
        resource: resource.into(),
        knob: knob.into(),
        from: KnobValue::Integer(from),
        to: KnobValue::Integer(to),
        outcome,
        why: None,
        took_us: 1240,
        reason: None,
        effect: None,
        journalled: true,
    };
    let mut measured = change(1, 4, "pipeline.words.count", "workers", 1, 2, Outcome::Applied);
    measured.effect = Some(Effect {
        family: STAGE_IN_ITEMS.into(),
        before: 1_450_000.0,
        after: 1_900_000.0,
        ratio: 1.31,
        lo: 1.18,
        hi: 1.46,
        verdict: Verdict::Better,
        contention: None,
    });
    let mut refused = change(2, 6, "scheduler.main", "threads", 2, 4, Outcome::Failed);
    refused.why = Some("the pool could not start a thread".into());
    vec![measured, refused]
}

/// A change that a pool made of its own accord.
pub fn own_turn() -> Change {
    Change {
        id: 3,
        at_ms: START_MS + 8000,
        actor: "auto".into(),
        resource: "pool.batches".into(),
        knob: "level".into(),
        from: KnobValue::Choice("mutex".into()),
        to: KnobValue::Choice("thread_cached".into()),
        outcome: Outcome::Applied,
        why: None,
        took_us: 1240,
        reason: Some("4 threads, 1.3 M operations in 1.0 s, 12 % of them waited for a lock".into()),
        effect: None,
        journalled: true,
    }
}

/// What the host remembers of `pipeline.words` from before the first snapshot.
pub fn history(seconds: u64) -> History {
    let points = (0..seconds).map(|second| Some(BYTES_PER_S * (0.6 + 0.4 * ((second % 20) as f64 / 20.0)))).collect();
    History {
        step_ms: 1000,
        series: vec![Series {
            address: "pipeline.words".into(),
            family: PIPELINE_SOURCE_BYTES.into(),
            labels: BTreeMap::new(),
            start_ms: START_MS - seconds * 1000,
            points,
        }],
    }
}

/// What a word count came to.
pub fn result() -> RunResult {
    let quantiles = Quantiles {
        count: 8000,
        sum: 1.9e9,
        p50: Some(210_000.0),
        p90: Some(400_000.0),
        p99: Some(1_900_000.0),
        p999: Some(2_500_000.0),
        max: 3_000_000.0,
    };
    let op = |op: &str, count: u64, service| OpResult {
        target: "words".into(),
        op: op.into(),
        count,
        per_s: count as f64 / 4.0,
        hits: count,
        service,
        sample_1_in: 64,
        ..OpResult::default()
    };
    let measured = Phase {
        name: "count".into(),
        role: "measure".into(),
        duration_ns: 4_000_000_000,
        items: 7_600_000,
        items_per_s: 1_900_000.0,
        bytes: 856_000_000,
        bytes_per_s: BYTES_PER_S,
        ops: vec![op("split", 512_000, Some(quantiles)), op("count", 7_600_000, None)],
        events: vec![Event {
            at_ns: 1_000_000_000,
            knob: "pipeline.words.count.workers".into(),
            from: KnobValue::Integer(1),
            to: KnobValue::Integer(4),
            took_ns: 120_000,
            error: None,
        }],
        ..Phase::default()
    };
    let rows = [("the", 912_345), ("of\u{1b}[2J", 611_002)].map(|(key, value)| Item { key: key.into(), value });
    RunResult {
        format: 1,
        run: "01J0".into(),
        name: "wordcount".into(),
        sha256: "ab".into(),
        seed: 1,
        verdict: RunVerdict::Failed,
        env: BTreeMap::new(),
        phases: vec![measured],
        checks: vec![Check::new("oracle", true, 41_203, "as one thread counts them".into())],
        thresholds: vec![Threshold {
            expr: "throughput >= 300".into(),
            value: Some(214.0),
            verdict: "fail".into(),
            why: None,
        }],
        tables: vec![Table { title: "top words".into(), rows: rows.into() }],
        notes: vec!["2 files refused".into()],
    }
}

fn sample(family: &str, labels: &[(&str, &str)], value: f64) -> Sample {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sample { family: family.into(), labels, value: Some(value), quantiles: None, strip: None }
}

fn spread(family: &str, p50: f64, p99: f64) -> Sample {
    let quantiles = Quantiles {
        count: 81_234,
        sum: 93.0,
        p50: Some(p50),
        p90: Some(p99 / 2.0),
        p99: Some(p99),
        p999: Some(p99 * 2.0),
        max: p99 * 3.0,
    };
    Sample { family: family.into(), labels: BTreeMap::new(), value: None, quantiles: Some(quantiles), strip: None }
}

fn dial(name: &str, value: i64, min: i64, max: i64, unit: &str, help: &str) -> Knob {
    let (value, range) = (KnobValue::Integer(value), Range::Integer { min, max });
    Knob { name: name.into(), value, range, unit: unit.into(), help: help.into() }
}

fn resource(address: &str, kind: &str, knobs: Vec<Knob>, samples: Vec<Sample>) -> Resource {
    Resource { address: address.into(), kind: kind.into(), pool: None, values: None, knobs, samples }
}

fn pipeline(s: f64) -> Resource {
    let pipeline = resource(
        "pipeline.words",
        "pipeline",
        vec![],
        vec![
            sample(PIPELINE_RUNNING, &[], 1.0),
            sample(PIPELINE_SOURCE_ITEMS, &[], 512_000.0 * s),
            sample(PIPELINE_SOURCE_BYTES, &[], BYTES_PER_S * s),
            sample(PIPELINE_SOURCE_BATCHES, &[], 4_000.0 * s),
            sample(PIPELINE_LAPS, &[], 3.0),
            sample(PIPELINE_SOURCE_STATE, &[("state", "busy")], 0.4 * s),
            sample(PIPELINE_SOURCE_STATE, &[("state", "idle")], 0.0),
            sample(PIPELINE_SOURCE_STATE, &[("state", "backpressured")], 0.6 * s),
            sample(PIPELINE_DEAD_LETTERS, &[], 0.0),
            sample(PIPELINE_SOURCE_ALLOC_BYTES, &[], 2_100_000.0 * s),
            sample(PIPELINE_SOURCE_FREED_BYTES, &[], 90_000.0 * s),
            spread(PIPELINE_LATENCY, 0.0021, 0.041),
        ],
    );
    Resource { pool: Some("pool.batches".into()), ..pipeline }
}

fn stage(name: &str, workers: i64, s: f64) -> Resource {
    let (records, busy, idle) = if name == "count" { (1_900_000.0, 0.61, 0.35) } else { (512_000.0, 0.93, 0.02) };
    let each = workers as f64 * s;
    resource(
        &format!("pipeline.words.{name}"),
        "stage",
        vec![
            dial("workers", workers, 1, 64, "threads", "Threads that work on the stage."),
            dial("batch", 256, 1, 65_536, "records", "Records handed over at a time."),
            dial("capacity", 64, 2, 4096, "batches", "Batches its queue takes."),
        ],
        vec![
            sample(STAGE_WORKERS, &[], workers as f64),
            sample(STAGE_WORKERS_TARGET, &[], workers as f64),
            sample(STAGE_IN_ITEMS, &[], records * s),
            sample(STAGE_OUT_ITEMS, &[], records * 3.7 * s),
            sample(STAGE_OUT_BATCHES, &[], if name == "count" { 0.0 } else { 8_000.0 * s }),
            sample(STAGE_STATE, &[("state", "busy")], busy * each),
            sample(STAGE_STATE, &[("state", "idle")], idle * each),
            sample(STAGE_STATE, &[("state", "backpressured")], (1.0 - busy - idle) * each),
            sample(STAGE_QUEUE_ENQUEUED, &[], records * s + 3072.0),
            sample(STAGE_QUEUE_DEQUEUED, &[], records * s),
            sample(STAGE_QUEUE_DEPTH, &[], 3072.0),
            sample(STAGE_QUEUE_BATCHES, &[], 12.0),
            sample(STAGE_QUEUE_CAPACITY, &[], 64.0),
            spread(STAGE_QUEUE_WAIT, 0.0011, 0.0413),
            spread(STAGE_SERVICE, 210e-6, 0.0019),
            sample(STAGE_ERRORS, &[("reason", "panic")], 0.0),
            sample(STAGE_ALLOCATIONS, &[], 0.6 * records * s),
            sample(STAGE_ALLOC_BYTES, &[], 40.0 * records * s),
            sample(STAGE_FREED_BYTES, &[], 36.0 * records * s),
        ],
    )
}

/// Shard 77 is hot.
fn strip(family: &str, per_s: f64, s: f64) -> Sample {
    let busy = |shard: usize| if shard == 77 { 6.0 } else { 0.6 + (shard % 7) as f64 / 7.0 };
    let parts = (0..256).map(|shard| (busy(shard) * per_s * s / 256.0).floor()).collect();
    Sample { family: family.into(), labels: BTreeMap::new(), value: None, quantiles: None, strip: Some(parts) }
}

fn map(s: f64) -> Resource {
    let choices = ["sharded", "lock_free", "papaya", "flat", "fixed"].map(String::from).to_vec();
    let backend = Knob {
        name: "backend".into(),
        value: KnobValue::Choice("sharded".into()),
        range: Range::Choice { choices },
        unit: String::new(),
        help: "Structure that holds the entries; all of them move, and none is lost.".into(),
    };
    let map = resource(
        "map.words",
        "map",
        vec![backend],
        vec![
            sample(MAP_OPS, &[("op", "update"), ("outcome", "hit")], 1_890_000.0 * s),
            sample(MAP_OPS, &[("op", "update"), ("outcome", "miss")], 10_000.0 * s),
            sample(MAP_ENTRIES, &[], 41_203.0),
            sample(MAP_LOCK_CONTENTIONS, &[], 1200.0 * s),
            spread(MAP_LOCK_WAIT, 900e-9, 14e-6),
            strip(MAP_SHARD_OPS, 1_900_000.0, s),
            strip(MAP_SHARD_CONTENTIONS, 1200.0, s),
            sample(MAP_SHARD_SKEW, &[], 5.7),
            sample(MAP_CONTENTION_SEEN, &[("by", "hook")], 1.0),
            sample(MAP_BACKEND, &[("backend", "sharded")], 1.0),
            sample(MAP_HANDOVER_PHASE, &[("phase", "moving")], 1.0),
            sample(MAP_HANDOVER_KEYS, &[], 41_203.0),
            sample(MAP_HANDOVER_MOVED, &[], 18_003.0),
            spread(MAP_HANDOVER_STALL, 21e-6, 640e-6),
        ],
    );
    Resource { values: Some("counters".into()), ..map }
}

/// A map that grows on `flat`, one on `papaya`, and where the former's garbage is: beside what a snapshot shows.
pub fn contended(step: u64) -> Vec<Resource> {
    let s = step as f64 / STEPS_PER_S;
    let flat = vec![
        sample(MAP_OPS, &[("op", "get"), ("outcome", "hit")], 900_000.0 * s),
        sample(MAP_ENTRIES, &[], 812_000.0),
        sample(MAP_CONTENTION_SEEN, &[("by", "hook")], 1.0),
        sample(MAP_LOCK_CONTENTIONS, &[], 310.0 * s),
        spread(MAP_LOCK_WAIT, 200e-9, 1.9e-6),
        sample(MAP_SEQLOCK_RETRIES, &[], 40.0 * s),
        sample(MAP_SEQLOCK_FALLBACKS, &[], 0.0),
        sample(MAP_HELPS, &[], 1500.0 * s),
        sample(MAP_RESIZES, &[], 15.0),
        sample(MAP_GROWTH, &[], 0.44),
        sample(MAP_LOAD, &[], 0.71),
        sample(MAP_PROBE_MEAN, &[], 1.23),
        sample(MAP_PROBE_MAX, &[], 3.0),
        sample(MAP_BACKEND, &[("backend", "flat")], 1.0),
    ];
    let papaya = vec![
        sample(MAP_OPS, &[("op", "get"), ("outcome", "hit")], 640_000.0 * s),
        sample(MAP_ENTRIES, &[], 5_000.0),
        sample(MAP_CONTENTION_SEEN, &[("by", "sample")], 1.0),
        sample(MAP_SAMPLED_OPS, &[], 10_000.0 * s),
        sample(MAP_SAMPLED_STALLS, &[], 2.0 * s),
        spread(MAP_SAMPLED_STALL, 31e-6, 2.1e-3),
        sample(MAP_BACKEND, &[("backend", "papaya")], 1.0),
    ];
    let retired = vec![
        sample(RECLAIM_RETIRED_BYTES, &[], 9_000_000.0 * s + 1_572_864.0),
        sample(RECLAIM_FREED_BYTES, &[], 9_000_000.0 * s),
        sample(RECLAIM_OLDEST_PIN, &[], 1.25),
    ];
    vec![
        resource("domain.process", "domain", vec![], retired),
        resource("map.index", "map", vec![], flat),
        resource("map.sessions", "map", vec![], papaya),
    ]
}

fn level() -> Knob {
    let levels = ["unlocked", "mutex", "lock_free", "thread_cached", "fixed", "auto"].map(String::from).to_vec();
    Knob {
        name: "level".into(),
        value: KnobValue::Choice("thread_cached".into()),
        range: Range::Choice { choices: levels },
        unit: String::new(),
        help: "Concurrency level; at auto the pool chooses. Blocks in use stay valid; free ones are handed over."
            .into(),
    }
}

fn pool(s: f64) -> Resource {
    let class = |family: &str, bytes: &'static str, value| sample(family, &[("size_class", bytes)], value);
    resource(
        "pool.batches",
        "pool",
        vec![level()],
        vec![
            class(POOL_ALLOCS, "4096", 9_000.0 * s),
            class(POOL_ALLOCS, "65536", 3_000.0 * s),
            class(POOL_FREES, "4096", 9_000.0 * s),
            class(POOL_FREES, "65536", 3_000.0 * s),
            class(POOL_LIVE, "4096", 262_144.0),
            class(POOL_LIVE, "65536", 4_194_304.0),
            class(POOL_REQUESTED, "4096", 240_000.0),
            class(POOL_REQUESTED, "65536", 4_194_304.0),
            class(POOL_SLABS, "4096", 1_048_576.0),
            class(POOL_SLABS, "65536", 8_388_608.0),
            class(POOL_MAPPED, "4096", 1_048_576.0),
            class(POOL_MAPPED, "65536", 8_388_608.0),
            class(POOL_REFUSALS, "4096", 0.0),
            class(POOL_REFUSALS, "65536", 0.0),
            class(POOL_REMOTE_FREES, "4096", 1_080.0 * s),
            class(POOL_REMOTE_FREES, "65536", 3_000.0 * s),
            class(POOL_CACHE_FILLS, "4096", 90.0 * s),
            class(POOL_CACHE_FILLS, "65536", 1_500.0 * s),
            class(POOL_CACHE_FLUSHES, "4096", 90.0 * s),
            class(POOL_CACHE_FLUSHES, "65536", 1_500.0 * s),
            class(POOL_DEPOT_EXCHANGES, "4096", 180.0 * s),
            class(POOL_DEPOT_EXCHANGES, "65536", 3_000.0 * s),
            class(POOL_LOCK_CONTENTIONS, "4096", 0.0),
            class(POOL_LOCK_CONTENTIONS, "65536", 12.0 * s),
            class(POOL_CAS_FAILURES, "4096", 0.0),
            class(POOL_CAS_FAILURES, "65536", 0.0),
            sample(POOL_LIMIT, &[], 268_435_456.0),
            sample(POOL_LEVEL, &[("level", "thread_cached")], 1.0),
        ],
    )
}

/// A pool near its limit at a level with locks, with many classes, large blocks and refusals, and the map whose values
/// are in it: beside what a snapshot shows.
pub fn crowded(step: u64) -> Vec<Resource> {
    let s = step as f64 / STEPS_PER_S;
    let mut samples = Vec::new();
    let class = |family: &str, bytes: &str, value: f64| sample(family, &[("size_class", bytes)], value);
    for n in 0..12u32 {
        let busy = f64::from(n % 5 + 1);
        let name = if n == 11 { "large".to_owned() } else { (64 << n).to_string() };
        let carved = f64::from(1 + n % 4) * 4_000_000.0;
        // The first has had many blocks in use once, and few now.
        let live = if n == 0 { 64_000.0 } else { carved * busy / 6.0 };
        let carved = if n == 0 { 24_000_000.0 } else { carved };
        samples.extend([
            class(POOL_ALLOCS, &name, 20_000.0 * busy * s),
            class(POOL_FREES, &name, 20_000.0 * busy * s),
            class(POOL_LIVE, &name, live),
            class(POOL_REQUESTED, &name, live * 0.93),
            class(POOL_SLABS, &name, carved),
            class(POOL_MAPPED, &name, carved * 1.1),
            class(POOL_REFUSALS, &name, if n == 7 { 3.0 * s } else { 0.0 }),
            class(POOL_REMOTE_FREES, &name, 5_000.0 * s),
            class(POOL_CACHE_FILLS, &name, 0.0),
            class(POOL_CACHE_FLUSHES, &name, 0.0),
            class(POOL_DEPOT_EXCHANGES, &name, 0.0),
            class(POOL_LOCK_CONTENTIONS, &name, 400.0 * busy * s),
            class(POOL_CAS_FAILURES, &name, 0.0),
        ]);
    }
    samples.extend([
        sample(POOL_GUARDED, &[], 1.0),
        sample(POOL_GUARDED_BLOCKS, &[], 8_100.0),
        sample(POOL_FAULTS, &[("kind", "overrun")], 1.0),
        sample(POOL_FAULTS, &[("kind", "double_free")], 1.0),
    ]);
    samples.extend([sample(POOL_LIMIT, &[], 160_000_000.0), sample(POOL_LEVEL, &[("level", "mutex")], 1.0)]);
    let level = Knob { value: KnobValue::Choice("mutex".into()), ..level() };
    let values = resource("map.labels", "map", vec![], vec![sample(MAP_ENTRIES, &[], 812_000.0)]);
    vec![Resource { pool: Some("pool.values".into()), ..values }, resource("pool.values", "pool", vec![level], samples)]
}

fn allocator(s: f64) -> Resource {
    let class = |family: &str, class: &'static str, value| sample(family, &[("class", class)], value);
    resource(
        "allocator.process",
        "allocator",
        vec![dial("sampling", 0, 0, 1 << 30, "bytes", "Bytes from one sample of the heap profile to the next.")],
        vec![
            class(ALLOCATOR_BYTES, "outside", 3_000_000.0 + 1_200_000.0 * s),
            class(ALLOCATOR_BYTES, "pipelines", 60_000_000.0 + 98_600_000.0 * s),
            class(ALLOCATOR_FREED_BYTES, "outside", 1_200_000.0 * s),
            class(ALLOCATOR_FREED_BYTES, "pipelines", 98_600_000.0 * s),
            class(ALLOCATOR_ALLOCATIONS, "outside", 4_000.0 * s),
            class(ALLOCATOR_ALLOCATIONS, "pipelines", 1_200_000.0 * s),
            sample(ALLOCATOR_SAMPLING, &[], 0.0),
            sample(ALLOCATOR_SAMPLES, &[], 1_200.0),
            sample(ALLOCATOR_SAMPLES_DROPPED, &[], 0.0),
            sample(ALLOCATOR_RESERVED, &[], 1_073_741_824.0),
            sample(ALLOCATOR_COMMITTED, &[], 71_303_168.0),
            sample(ALLOCATOR_COMMITTED_PEAK, &[], 83_886_080.0),
            sample(ALLOCATOR_PAGES, &[], 812.0),
            sample(ALLOCATOR_HEAPS, &[], 1.0),
            sample(ALLOCATOR_PURGED, &[], 3_200_000.0 * s),
            sample(ALLOCATOR_MMAPS, &[], 0.5 * s),
        ],
    )
}

fn queue(s: f64) -> Resource {
    let choices = ["ring", "segmented", "array_queue", "seg_queue"].map(String::from).to_vec();
    let kind = Knob {
        name: "kind".into(),
        value: KnobValue::Choice("segmented".into()),
        range: Range::Choice { choices },
        unit: String::new(),
        help: "The structure that holds the items.".into(),
    };
    resource(
        "queue.orders",
        "queue",
        vec![kind, dial("capacity", 1024, 1, 65_536, "items", "Items it takes.")],
        vec![
            sample(QUEUE_ENQUEUED, &[], 88_000.0 * s + 512.0),
            sample(QUEUE_DEQUEUED, &[], 88_000.0 * s),
            sample(QUEUE_DEPTH, &[], 512.0),
            sample(QUEUE_CAPACITY, &[], 1024.0),
            sample(QUEUE_FULL_TIME, &[], 0.05 * s),
            sample(QUEUE_EMPTY_TIME, &[], 0.2 * s),
            spread(QUEUE_WAIT, 0.004, 0.019),
            sample(QUEUE_KIND, &[("kind", "segmented")], 1.0),
            sample(QUEUE_HANDING_OVER, &[], 1.0),
        ],
    )
}

fn scheduler(s: f64) -> Resource {
    resource(
        "scheduler.main",
        "scheduler",
        vec![dial("threads", 2, 1, 64, "threads", "Threads of parallel regions.")],
        vec![sample(SCHEDULER_THREADS, &[], 2.0), sample(SCHEDULER_REGIONS, &[], 40.0 * s)],
    )
}

fn run(s: f64) -> Run {
    Run {
        id: "01J0".into(),
        name: "wordcount".into(),
        state: RunState::Running,
        uses: vec![],
        submitted_ms: START_MS,
        started_ms: Some(START_MS),
        ended_ms: None,
        progress: Progress {
            phase: "measure".into(),
            items: (1_900_000.0 * s) as u64,
            bytes: (BYTES_PER_S * s) as u64,
            bytes_total: Some(2_000_000_000),
            elapsed_s: s,
            left_s: Some(4.0),
        },
        verdict: None,
        error: None,
    }
}
