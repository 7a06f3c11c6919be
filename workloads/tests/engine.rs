//! Runs on real maps, queues and pipelines, in this process.

use rheostat_api::{Check, CheckVerdict, KnobValue, Phase, RunResult, RunVerdict};
use rheostat_runtime::map::{Backend, CounterMap, MapLimits, WordMap};
use rheostat_runtime::observe::{Address, Kind, Registry};
use rheostat_runtime::sync::{Arc, thread};
use rheostat_workloads::engine::{self, Context, RunError};
use rheostat_workloads::{Overrides, Workload, catalogue};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

fn parse(text: &str, overrides: &Overrides) -> Workload {
    Workload::parse("w.toml", text, overrides).unwrap_or_else(|faults| panic!("{faults}"))
}

fn script(name: &str, vars: &[(&str, &str)], inputs: &[&Path]) -> Workload {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let inputs = inputs.iter().map(|path| path.display().to_string()).collect();
    parse(catalogue::script(name).unwrap(), &Overrides { inputs, vars })
}

fn context() -> Context {
    Context::new(Arc::new(Registry::new()), "test")
}

/// Runs on a host of its own, and sees that nothing is left behind.
fn run(workload: &Workload) -> RunResult {
    let context = context();
    let result = engine::run(workload, &context).unwrap();
    assert!(context.registry.all().is_empty(), "a run left resources behind");
    result
}

fn check<'r>(result: &'r RunResult, name: &str) -> &'r Check {
    result.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no check {name}: {result:#?}"))
}

fn phase<'r>(result: &'r RunResult, name: &str) -> &'r Phase {
    result.phases.iter().find(|phase| phase.name == name).unwrap()
}

/// Text in several scripts, over some folders, with what tends to go wrong: no newline at the end, CRLF, invalid
/// UTF-8, a long line, an empty file, a binary.
fn corpus(bytes: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let sub = folder.path().join("sub");
    std::fs::create_dir(&sub).unwrap();
    let texts: String = catalogue::TEXTS.iter().map(|(_, text)| *text).collect();
    let mut text = String::new();
    let mut n = 0;
    while text.len() < bytes / 4 {
        n += 1;
        writeln!(text, "chapter {n} of word{}", n % 977).unwrap();
        text.push_str(&texts);
    }
    for (name, content) in [
        ("one.txt", text.clone().into_bytes()),
        ("sub/two.txt", text.replace('\n', "\r\n").into_bytes()),
        ("sub/no-end.txt", text.trim_end().as_bytes().to_vec()),
        ("long-line.txt", text.replace('\n', " ").into_bytes()),
        ("broken.txt", b"caf\xc3 na\xefve \xff\xfe end\xe2\x82".to_vec()),
        ("empty.txt", Vec::new()),
        ("binary.bin", vec![0; 10_000]),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[test]
fn word_counts_equal_the_oracle_at_any_number_of_workers() {
    let corpus = corpus(4 << 20);
    for workers in ["1", "2", "8"] {
        let result = run(&script("wordcount", &[("workers", workers)], &[corpus.path()]));
        assert_eq!(result.verdict, RunVerdict::Pass, "{workers} workers: {result:#?}");
        let oracle = check(&result, "oracle");
        assert!(oracle.verdict == CheckVerdict::Pass && oracle.compared > 900, "{oracle:?}");
        assert!(oracle.detail.contains("1 files left out"), "{oracle:?}");
        assert!(result.notes.iter().any(|note| note.contains("replaced 5 sequences")), "{:?}", result.notes);
        let counted = phase(&result, "count");
        assert!(counted.bytes > 4 << 20 && counted.items > 500_000, "{counted:?}");
        let table = &result.tables[0];
        assert!(table.rows.len() == 20 && table.rows.is_sorted_by(|a, b| a.value >= b.value), "{table:?}");
    }
}

#[test]
fn a_word_no_map_takes_is_set_aside_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(70_000);
    std::fs::write(folder.path().join("long.txt"), format!("one two {long} two\n")).unwrap();
    let result = run(&script("wordcount", &[], &[folder.path()]));
    assert_eq!(result.verdict, RunVerdict::Pass, "{result:#?}");
    let oracle = check(&result, "oracle");
    assert!(oracle.compared == 2 && oracle.detail.contains("1 keys longer than 65536 bytes"), "{oracle:?}");
    assert!(result.notes.iter().any(|note| note.contains("set 1 records aside")), "{:?}", result.notes);
}

#[test]
fn shipped_texts_are_counted_without_any_file() {
    let result = run(&script("wordcount", &[], &[]));
    assert_eq!(result.verdict, RunVerdict::Pass, "{result:#?}");
    let top = &result.tables[0].rows[0];
    assert!(top.value % 100 == 0, "a hundred passes: {top:?}");
}

#[test]
fn a_hundred_turns_lose_nothing_and_double_nothing() {
    let workload = script("wordcount-turned", &[("every", "4ms"), ("turns", "100")], &[]);
    let result = run(&workload);
    let turned = phase(&result, "turned");
    assert_eq!(turned.events.len(), 200, "{:?}", result.notes);
    assert!(turned.events.iter().all(|event| event.error.is_none()));
    let count: Vec<_> = turned.events.iter().filter(|event| event.knob == "pipeline.wc.count.workers").collect();
    assert_eq!(count.len(), 100);
    let to: Vec<_> = count.iter().take(4).map(|event| event.to.clone()).collect();
    assert_eq!(to, [1, 8, 2, 1].map(KnobValue::Integer));
    assert_eq!(count[1].from, KnobValue::Integer(1));
    assert!(count.windows(2).all(|pair| pair[0].at_ns < pair[1].at_ns && pair[0].to == pair[1].from));
    assert_eq!(result.verdict, RunVerdict::Pass, "{:#?}", (&result.checks, &result.thresholds, &result.notes));
}

#[test]
fn a_shipped_text_lasts_as_long_as_the_turns_and_one_of_ones_own_ends_before_them_without_a_failure() {
    let text = catalogue::script("wordcount-turned").unwrap().replace("passes = 10_000", "passes = 1");
    let vars = [("turns".to_owned(), "20".to_owned())].into();
    let result = run(&parse(&text, &Overrides { vars, ..Overrides::default() }));
    assert_eq!(phase(&result, "turned").events.len(), 40, "{:?}", result.notes);
    assert_eq!(result.verdict, RunVerdict::Pass, "{:#?}", (&result.checks, &result.thresholds, &result.notes));

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("short.txt"), "one two two\n").unwrap();
    let result = run(&script("wordcount-turned", &[("every", "100us")], &[folder.path()]));
    let turned = phase(&result, "turned");
    assert!(turned.events.len() < 200 && turned.events.iter().all(|event| event.error.is_none()), "{turned:?}");
    assert_eq!(check(&result, "oracle").verdict, CheckVerdict::Pass);
    assert!(result.notes.iter().any(|note| note.contains("of its 200 turns")), "{:?}", result.notes);
}

#[test]
fn maps_lose_no_update_on_either_backend() {
    for backend in ["sharded", "lock_free"] {
        let vars = [("backend", backend), ("duration", "500ms"), ("items", "1000"), ("workers", "4"), ("theta", "1.3")];
        let result = run(&script("map-mixed", &vars, &[]));
        let lost = check(&result, "lost_updates");
        assert!(lost.verdict == CheckVerdict::Pass && lost.compared > 10_000, "{backend}: {lost:?}");
        let mixed = phase(&result, "mixed");
        let shares: Vec<_> = ["get", "update", "insert", "remove"]
            .map(|op| mixed.ops.iter().find(|row| row.op == op).unwrap().count)
            .into();
        let share = shares[0] as f64 / mixed.items as f64;
        assert!((share - 0.8).abs() < 0.01, "{backend}: {shares:?} of {}", mixed.items);
        let get = mixed.ops.iter().find(|row| row.op == "get").unwrap();
        let timed = get.service.as_ref().unwrap();
        assert!(get.sample_1_in == 64 && timed.count > get.count / 100 && timed.count < get.count / 40, "{get:?}");
        assert!(timed.p50 <= timed.p99 && timed.p99.unwrap() <= timed.max, "{timed:?}");
        assert_eq!(phase(&result, "load").items, 1000);
        // A tenth of what changes keys removes them, and inserts and updates put them back: most updates hit.
        let update = mixed.ops.iter().find(|row| row.op == "update").unwrap();
        assert!(update.hits < update.count && update.hits > update.count / 2, "{update:?}");
        assert!(result.notes.iter().any(|note| note.contains("generator_ns_per_op")), "{:?}", result.notes);
    }
}

#[test]
fn bytes_are_stored_and_replaced() {
    let text = r#"
format = 1
name = "bytes"
[target.kv]
kind = "map"
value = "100B"
keys = { items = 500 }
[[phase]]
name = "load"
role = "prepare"
insert = { count = 500, workers = 3 }
[[phase]]
name = "mix"
count = 20_001
group = [{ target = "kv", workers = 2, mix = { get = 1, update = 1 } }]
[[threshold]]
on = "mix"
expr = "kv.get.hit_ratio == 1 and kv.update.hit_ratio == 100% and items == 20001"
"#;
    let result = run(&parse(text, &Overrides::default()));
    assert_eq!(result.verdict, RunVerdict::Pass, "{result:#?}");
    let load = &phase(&result, "load").ops[0];
    assert_eq!((load.count, load.hits), (500, 0), "every key goes in once");
}

#[test]
fn words_are_stored_and_replaced_on_every_backend() {
    for backend in Backend::ALL {
        let vars = [("backend", backend.as_str()), ("value", "word"), ("records", "1000")];
        let vars = [vars.as_slice(), &[("warm", "1s"), ("duration", "200ms")]].concat();
        let result = run(&script("map-ycsb-a", &vars, &[]));
        let values = check(&result, "values");
        assert!(values.verdict == CheckVerdict::Pass && values.compared > 1000, "{backend}: {values:?}");
        let get = phase(&result, "run").ops.iter().find(|row| row.op == "get").unwrap();
        assert_eq!(get.hits, get.count, "{backend}: every key is there");
    }
}

#[test]
fn a_hosted_map_of_words_is_driven_too() {
    let context = context();
    let hosted = WordMap::new("hosted", Backend::Flat, MapLimits::default()).unwrap();
    context.registry.add(hosted.clone()).unwrap();
    let text = "format = 1\nname = \"u\"\n[target.kv]\nuse = \"map.hosted\"\nkeys = { items = 50 }\n\
                [[phase]]\nname = \"p\"\ncount = 1000\ngroup = [{ target = \"kv\", workers = 2, mix = { insert_new = 1 } }]\n";
    let result = engine::run(&parse(text, &Overrides::default()), &context).unwrap();
    assert_eq!(result.verdict, RunVerdict::Pass);
    assert_eq!(hosted.len(), 1000, "numbers from 50 on are its keys");
    assert!((50..1050).all(|key| hosted.get(&key).is_some()));
}

#[test]
fn queues_keep_every_item_in_order() {
    let result = run(&script("queue-ping", &[("duration", "400ms")], &[]));
    // How quick it was, which its thresholds ask, is the machine's affair.
    let kept = |check: &Check| check.verdict == CheckVerdict::Pass;
    assert!(result.checks.len() == 2 && result.checks.iter().all(kept), "{:?}", result.checks);
    let rtt = &phase(&result, "rtt").ops;
    assert_eq!(rtt.len(), 1, "echoes are not counted themselves: {rtt:?}");
    assert_eq!(rtt[0].service.as_ref().unwrap().count, rtt[0].count, "every round trip is timed");
}

#[test]
fn many_producers_and_consumers_share_a_queue_while_its_capacity_turns() {
    let text = r#"
format = 1
name = "crowd"
[target.jobs]
kind = "queue"
capacity = 4
item = "16B"
[[phase]]
name = "crowd"
duration = "600ms"
group = [
    { target = "jobs", workers = 4, mix = { push = 1 } },
    { target = "jobs", workers = 3, mix = { pop = 1 } },
    { target = "jobs", workers = 1, mix = { push = 1, pop = 1 } },
]
event = [{ every = "5ms", count = 100, knob = "jobs.capacity", cycle = [1, 64, 3] }]
[check]
conservation = true
[[threshold]]
expr = "check.violations == 0 and events.failed == 0 and events.made == 100"
"#;
    let result = run(&parse(text, &Overrides::default()));
    assert_eq!(result.verdict, RunVerdict::Pass, "{result:#?}");
    assert!(result.notes.iter().any(|note| note.contains("8 workers on")), "{:?}", result.notes);
}

#[test]
fn a_count_that_cannot_be_reached_ends_and_says_so() {
    let text = r#"
format = 1
name = "stuck"
[target.jobs]
kind = "queue"
capacity = 10
[[phase]]
name = "push"
count = 100
group = [{ target = "jobs", mix = { push = 1 } }]
[check]
conservation = true
"#;
    let result = run(&parse(text, &Overrides::default()));
    assert!(result.notes.iter().any(|note| note.contains("waited for each other")), "{:?}", result.notes);
    let conservation = check(&result, "conservation");
    assert!(
        conservation.verdict == CheckVerdict::Pass && conservation.detail.contains("10 pushed, 0 popped, 10 left"),
        "{conservation:?}"
    );
    assert_eq!(phase(&result, "push").items, 10);
}

#[test]
fn a_cancel_ends_a_run_soon_and_what_was_done_is_checked() {
    let corpus = corpus(1 << 20);
    let endless =
        catalogue::script("wordcount").unwrap().replace("from = \"text\"", "from = \"text\"\nrate = \"1MB/s\"");
    let inputs = vec![corpus.path().display().to_string()];
    for text in [endless.as_str(), catalogue::script("map-mixed").unwrap(), catalogue::script("queue-ping").unwrap()] {
        let overrides =
            Overrides { inputs: if text == endless { inputs.clone() } else { vec![] }, ..Default::default() };
        let workload = parse(text, &overrides);
        let context = context();
        let (cancel, progress, registry) = (context.cancel.clone(), context.progress.clone(), context.registry.clone());
        let running = thread::spawn(move || engine::run(&workload, &context));
        let began = Instant::now();
        while progress.get().items < 1000 {
            assert!(began.elapsed() < Duration::from_secs(10), "no progress: {:?}", progress.get());
            thread::sleep(Duration::from_millis(5));
        }
        assert!(!registry.all().is_empty(), "the targets are on the host while the run goes on");
        let asked = Instant::now();
        cancel.cancel();
        let result = running.join().unwrap().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(6), "took {:?}", asked.elapsed());
        assert_eq!(result.verdict, RunVerdict::Cancelled, "{:#?}", (&result.checks, &result.notes));
        assert!(!result.phases.is_empty() && result.notes.iter().any(|note| note.starts_with("cancelled in phase")));
        for check in &result.checks {
            assert!(check.verdict != CheckVerdict::Fail, "what was done is right: {check:?}");
        }
        let conservation = result.checks.iter().find(|check| check.name != "oracle").unwrap();
        assert!(conservation.verdict == CheckVerdict::Pass, "{conservation:?}");
        assert!(registry.all().is_empty());
    }
}

#[test]
fn progress_tells_bytes_and_time_left() {
    let corpus = corpus(2 << 20);
    let text = catalogue::script("wordcount").unwrap().replace("from = \"text\"", "from = \"text\"\nrate = \"4MB/s\"");
    let inputs = vec![corpus.path().display().to_string()];
    let workload = parse(&text, &Overrides { inputs, ..Default::default() });
    let context = context();
    let progress = context.progress.clone();
    let running = thread::spawn(move || engine::run(&workload, &context));
    let mut seen = Vec::new();
    while !running.is_finished() {
        seen.push(progress.get());
        thread::sleep(Duration::from_millis(20));
    }
    running.join().unwrap().unwrap();
    let counting: Vec<_> = seen.iter().filter(|progress| progress.phase == "count" && progress.bytes > 0).collect();
    assert!(counting.len() > 5, "{seen:?}");
    assert!(counting.is_sorted_by_key(|progress| (progress.bytes, progress.items)), "{counting:?}");
    assert!(counting.iter().all(|progress| progress.bytes_total.is_some_and(|total| total > 2 << 20)));
    assert!(counting.iter().any(|progress| progress.left_s.is_some_and(|left| left > 0.0 && left < 10.0)));
}

#[test]
fn a_timeout_ends_a_run_and_is_no_pass() {
    let text = catalogue::script("map-mixed").unwrap().replace("[target.kv]", "[run]\ntimeout = \"1s\"\n[target.kv]");
    let began = Instant::now();
    let result = run(&parse(&text, &Overrides::default()));
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(result.verdict, RunVerdict::Error);
    assert!(result.notes.iter().any(|note| note.contains("timeout of 1s was reached")), "{:?}", result.notes);
}

#[test]
fn verdicts_and_exit_codes() {
    let threshold = |expr: &str| {
        let text = format!(
            "format = 1\nname = \"v\"\n[target.kv]\nkind = \"map\"\nkeys = {{ items = 10 }}\n\
             [[phase]]\nname = \"p\"\ncount = 5000\ngroup = [{{ target = \"kv\", mix = {{ update = 1 }} }}]\n\
             [check]\nlost_updates = true\n[[threshold]]\nexpr = \"{expr}\"\n"
        );
        run(&parse(&text, &Overrides::default()))
    };
    for (expr, verdict, exit) in [
        ("items == 5000", RunVerdict::Pass, 0),
        ("items > 5000", RunVerdict::Failed, 4),
        ("kv.get.p99 < 1h", RunVerdict::Inconclusive, 5),
        ("kv.update.p999 < 1h", RunVerdict::Inconclusive, 5),
        ("bandwidth > 0B/s", RunVerdict::Inconclusive, 5),
    ] {
        let result = threshold(expr);
        assert_eq!((result.verdict, result.verdict.exit_code()), (verdict, exit), "{expr}: {:?}", result.thresholds);
        assert_eq!(result.thresholds[0].expr, expr);
    }
    assert_eq!(threshold("items > 5000").thresholds[0].value, Some(5000.0));
}

/// Increments commute, so what a map of counters comes to follows from the draws, in whatever order they were done.
const COUNTED: &str = r#"
format = 1
name = "counted"
seed = 5
[target.kv]
kind = "map"
keys = { dist = "hotspot", items = 300 }
[[phase]]
name = "load"
role = "prepare"
insert = { count = 200, workers = 2 }
[[phase]]
name = "count"
duration = "300ms"
group = [
    { target = "kv", workers = 3, mix = { update = 3, get = 1 } },
    { target = "kv", arrival = "poisson", rate = "2k/s", mix = { update = 1 } },
]
[check]
oracle = "sequential"
increments = true
lost_updates = true
"#;

#[test]
fn a_map_of_counters_equals_a_plain_count_of_the_same_draws() {
    let result = run(&parse(COUNTED, &Overrides::default()));
    assert_eq!((result.verdict, result.checks.len()), (RunVerdict::Pass, 3), "{:#?}", result.checks);
    let oracle = check(&result, "oracle");
    assert!(oracle.compared == 300 && oracle.detail.contains("equal to a plain sequential count"), "{oracle:?}");
    let paced = &phase(&result, "count").ops[2];
    assert!(paced.due.is_some_and(|due| due >= paced.count) && paced.response.is_some(), "{paced:?}");
}

#[test]
fn a_warm_up_ends_when_it_has_come_to_rest_or_says_that_it_did_not() {
    let text = COUNTED.replace("duration = \"300ms\"", "until = { steady = \"throughput\", max = \"400ms\" }");
    let result = run(&parse(&text, &Overrides::default()));
    // Rest takes two seconds to be seen.
    assert!(result.notes.iter().any(|note| note.contains("did not come to rest")), "{:?}", result.notes);
    assert_eq!(result.verdict, RunVerdict::Pass);
    let paced = "[[phase]]\nname = \"paced\"\nuntil = { steady = \"throughput\", max = \"20s\" }\n\
                 group = [{ target = \"kv\", rate = \"4k/s\", mix = { get = 1 } }]\n[check]\n";
    let began = Instant::now();
    run(&parse(&COUNTED.replace("[check]\n", paced), &Overrides::default()));
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

/// What is wrong is said to be wrong: somebody else tampers with the targets of a run while it goes on.
#[test]
fn checks_bite() {
    let tampered = |text: &str, tamper: fn(&Registry) -> bool| {
        let workload = parse(text, &Overrides::default());
        let context = context();
        let registry = context.registry.clone();
        let running = thread::spawn(move || engine::run(&workload, &context));
        while !running.is_finished() && !tamper(&registry) {
            thread::sleep(Duration::from_millis(1));
        }
        running.join().unwrap().unwrap()
    };
    fn downcast<T: 'static + Send + Sync>(registry: &Registry, kind: Kind, name: &str) -> Option<Arc<T>> {
        let resource = registry.get(&Address::new(kind, name).ok()?).ok()?;
        let any: Arc<dyn std::any::Any + Send + Sync> = resource;
        any.downcast().ok()
    }
    let map = catalogue::script("map-mixed").unwrap().replace("duration = \"5s\"", "duration = \"300ms\"");
    let result = tampered(&map, |registry| {
        let map = downcast::<CounterMap>(registry, Kind::Map, "kv");
        // An update nobody acknowledged: as good as one that was acknowledged and lost.
        map.filter(|map| map.len() > 1000).is_some_and(|map| map.add(b"000000000000001f", -1).is_ok())
    });
    assert_eq!(result.verdict, RunVerdict::Incorrect, "{:?}", result.checks);
    assert_eq!(result.verdict.exit_code(), 3);

    let words = catalogue::script("wordcount").unwrap().replace("from = \"text\"", "from = \"text\"\nrate = \"2MB/s\"");
    let result = tampered(&words, |registry| {
        let map = downcast::<CounterMap>(registry, Kind::Map, "counts");
        map.filter(|map| map.len() > 10).is_some_and(|map| map.add(b"the", 1).is_ok())
    });
    let oracle = check(&result, "oracle");
    assert!(
        oracle.verdict == CheckVerdict::Fail && oracle.detail.contains("1 of ") && oracle.detail.contains("`the` is "),
        "{oracle:?}"
    );
    assert!(check(&result, "conservation").verdict == CheckVerdict::Fail, "{:?}", result.checks);
    assert_eq!(result.verdict, RunVerdict::Incorrect);

    let result = tampered(COUNTED, |registry| {
        let map = downcast::<CounterMap>(registry, Kind::Map, "kv");
        // One more on one key, one less on another: the sum is as it should be.
        map.filter(|map| map.len() > 200)
            .is_some_and(|map| map.add(b"000000000000001f", 1).is_ok() && map.add(b"0000000000000020", -1).is_ok())
    });
    assert!(check(&result, "lost_updates").verdict == CheckVerdict::Pass, "{:?}", result.checks);
    assert!(check(&result, "increments").verdict == CheckVerdict::Fail, "{:?}", result.checks);
    let oracle = check(&result, "oracle");
    assert!(oracle.verdict == CheckVerdict::Fail && oracle.detail.contains("2 of 300 counters differ"), "{oracle:?}");

    let scan = catalogue::script("map-scan-under-write").unwrap();
    let scan = scan.replace("duration = \"5s\"", "duration = \"500ms\"").replace("records = 100_000", "records = 1000");
    let result = tampered(&scan, |registry| {
        let map = downcast::<rheostat_runtime::map::BytesMap>(registry, Kind::Map, "kv");
        map.filter(|map| map.len() >= 1000).is_some_and(|map| {
            // New keys get numbers past these, so that nobody puts them right again.
            map.insert(b"00000000ffffffff", vec![7; 64].into()).is_ok()
        })
    });
    let values = check(&result, "values");
    assert!(values.verdict == CheckVerdict::Fail && values.detail.contains("were torn"), "{values:?}");

    let queue = catalogue::script("queue-ping").unwrap().replace("duration = \"5s\"", "duration = \"300ms\"");
    let result = tampered(&queue, |registry| {
        let queue = downcast::<rheostat_runtime::queue::HostedQueue>(registry, Kind::Queue, "ping");
        // A theft.
        queue.is_some_and(|queue| queue.try_pop().is_ok())
    });
    assert_eq!(result.verdict, RunVerdict::Incorrect, "{:?}", result.checks);

    let blocks = catalogue::script("alloc-pairs").unwrap().replace("duration = \"5s\"", "duration = \"300ms\"");
    let result = tampered(&blocks, |registry| {
        let pool = downcast::<rheostat_runtime::pool::Pool>(registry, Kind::Pool, "blocks");
        // A block that no worker knows of: the pool's book is not theirs.
        pool.is_some_and(|pool| pool.alloc(64).map(drop).is_ok())
    });
    let conservation = check(&result, "conservation");
    assert!(
        conservation.verdict == CheckVerdict::Fail && conservation.detail.contains("; the pool counted "),
        "{conservation:?}"
    );
    assert_eq!(result.verdict, RunVerdict::Incorrect);
}

#[test]
fn inputs_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.txt");
    let binaries = folder.path().join("binaries");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&binaries).unwrap();
    std::fs::create_dir(&empty).unwrap();
    std::fs::write(binaries.join("a.bin"), [0u8; 100]).unwrap();
    for (input, says) in [(&missing, "missing.txt"), (&empty, "holds no files"), (&binaries, "is readable text")] {
        let context = context();
        let error = engine::run(&script("wordcount", &[], &[input]), &context).unwrap_err().to_string();
        assert!(error.starts_with("target `wc` (pipeline.wc): ") && error.contains(says), "{error}");
        assert!(context.registry.all().is_empty(), "{input:?} left resources behind");
    }
    let plan = script("wordcount", &[], &[&missing]).plan();
    assert!(plan.problems.len() == 1 && plan.to_string().contains("missing.txt"), "{plan}");
}

#[test]
fn a_taken_address_is_refused_and_left_alone() {
    let context = context();
    let words = CounterMap::new("counts", Backend::Sharded, MapLimits::default()).unwrap();
    words.add(b"mine", 7).unwrap();
    context.registry.add(words.clone()).unwrap();
    let error = engine::run(&script("wordcount", &[], &[]), &context).unwrap_err();
    assert!(matches!(error, RunError::Taken { .. }), "{error}");
    assert!(error.to_string().contains("use = \"map.counts\""), "{error}");
    assert_eq!((words.get(b"mine"), context.registry.all().len()), (Some(7), 1));
}

#[test]
fn a_hosted_map_is_driven_and_stays() {
    let context = context();
    let hosted = CounterMap::new("hosted", Backend::LockFree, MapLimits::default()).unwrap();
    context.registry.add(hosted.clone()).unwrap();
    let text = "format = 1\nname = \"u\"\n[target.kv]\nuse = \"map.hosted\"\nkeys = { items = 50 }\n\
                [[phase]]\nname = \"p\"\ncount = 1000\ngroup = [{ target = \"kv\", workers = 2, mix = { update = 1 } }]\n";
    let result = engine::run(&parse(text, &Overrides::default()), &context).unwrap();
    assert_eq!(result.verdict, RunVerdict::Pass);
    let mut sum = 0;
    hosted.for_each(|_, count| sum += count);
    assert_eq!((sum, context.registry.all().len()), (1000, 1));
    let gone = parse(&text.replace("map.hosted", "map.gone"), &Overrides::default());
    let error = engine::run(&gone, &context).unwrap_err().to_string();
    assert!(error.contains("there is no resource `map.gone`"), "{error}");
}

#[test]
fn a_hosted_pipeline_is_watched_turned_and_turned_back() {
    use rheostat_runtime::pipeline::text::{Op, Source, Spec, StageSpec};
    use rheostat_runtime::pipeline::{Limits, StageOptions};
    use rheostat_runtime::pool::{Level, Pool, PoolLimits};

    let corpus = corpus(1 << 20);
    let context = context();
    let stage = |name: &str, op| StageSpec { name: name.into(), op, options: StageOptions::default() };
    let hosted = Spec {
        name: "hosted".into(),
        source: Source::Files { patterns: vec![".".into()], base: corpus.path().into(), repeat: true },
        rate: 20_000_000,
        stages: vec![stage("split", Op::Words)],
        pool: Pool::new("p", Level::ThreadCached, PoolLimits::default()).unwrap(),
        limits: Limits::default(),
    };
    let hosted = hosted.start().unwrap();
    hosted.resources().into_iter().for_each(|part| context.registry.add(part).unwrap());
    let text = r#"
format = 1
name = "watch"
[target.theirs]
use = "pipeline.hosted"
[[phase]]
name = "watch"
duration = "400ms"
group = [{ target = "theirs" }]
event = [{ at = "50ms", set = { "theirs.split.workers" = 3, "pipeline.hosted.split.batch" = 7 } },
         { at = "60ms", set = { "theirs.split.speed" = 1 } }]
"#;
    let faults = Workload::parse("w.toml", text, &Overrides::default()).unwrap_err().to_string();
    assert!(faults.contains("unknown knob `speed`"), "{faults}");
    let text = text.replace("theirs.split.speed", "pipeline.hosted.split.speed");
    let result = engine::run(&parse(&text, &Overrides::default()), &context).unwrap();
    let watched = phase(&result, "watch");
    assert!(watched.bytes > 1 << 20 && watched.items > 10_000, "{watched:?}");
    assert_eq!(watched.events.len(), 3);
    let failed = watched.events[2].error.as_ref().unwrap();
    assert!(failed.contains("has no knob `speed`"), "{failed}");
    let knobs = context.registry.get(&"pipeline.hosted.split".parse().unwrap()).unwrap().knobs();
    let value = |name: &str| knobs.iter().find(|knob| knob.name == name).unwrap().value.to_string();
    assert_eq!((value("workers"), value("batch")), ("1".into(), "100".into()), "knobs are turned back");
    assert!(!hosted.has_ended());
    hosted.abandon();
}

#[test]
fn phases_go_on_with_the_same_pipeline() {
    let text = r#"
format = 1
name = "phases"
[data.text]
shipped = "harbour"
[target.words]
kind = "map"
[target.wc]
kind = "pipeline"
from = "text"
repeat = true
rate = "20MB/s"
stage = [{ op = "lines" }, { op = "filter", contains = "boats" }, { op = "words" }, { op = "count", map = "words" }]
[[phase]]
name = "warm"
role = "warmup"
duration = "200ms"
group = [{ target = "wc" }]
[[phase]]
name = "measure"
duration = "200ms"
group = [{ target = "wc" }]
[check]
conservation = true
[[threshold]]
expr = "bandwidth > 100kB/s and wc.filter.hit_ratio < 50% and wc.end_to_end.count > 0"
"#;
    let result = run(&parse(text, &Overrides::default()));
    assert_eq!(result.verdict, RunVerdict::Pass, "{result:#?}");
    let (warm, measure) = (phase(&result, "warm"), phase(&result, "measure"));
    assert!(warm.bytes > 0 && measure.bytes > 0 && measure.bytes < 3 * warm.bytes, "{warm:?} {measure:?}");
}

#[test]
fn what_passes_the_filters_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
format = 1
name = "write"
[data.text]
files = "in.txt"
[target.errors]
kind = "pipeline"
from = "text"
stage = [{ op = "lines" }, { op = "filter", regex = "(?i)error" }, { op = "write", path = "out.txt" }]
[[phase]]
name = "write"
duration = "200ms"
group = [{ target = "errors" }]
[check]
conservation = true
"#;
    std::fs::write(folder.path().join("in.txt"), "fine\nan error\nERROR\nfine\nerrors, all of them").unwrap();
    // Paths start at the folder of the workload file.
    let file = folder.path().join("w.toml");
    let workload = Workload::parse(file.to_str().unwrap(), text, &Overrides::default()).unwrap();
    let result = run(&workload);
    assert_eq!(result.verdict, RunVerdict::Pass, "{result:#?}");
    let written = std::fs::read_to_string(folder.path().join("out.txt")).unwrap();
    assert_eq!(written, "an error\nERROR\nerrors, all of them\n");
    assert!(result.notes.iter().any(|note| note.contains("came to the end of its input before")), "{:?}", result.notes);
}

#[test]
fn runs_with_the_same_seed_do_the_same() {
    let text = catalogue::script("map-mixed").unwrap();
    let text =
        text.replace("duration = \"${vars.duration}\"", "count = 50_000").replace("duration = \"1s\"", "count = 1000");
    let text = text.replace("duration = \"5s\"", "unused = 0");
    let hits = |seed: &str| {
        let text = text.replace("seed = 42", seed).replace("workers = 2,", "workers = 1,");
        let result = run(&parse(&text, &Overrides::default()));
        phase(&result, "mixed").ops.iter().map(|op| (op.op.clone(), op.count, op.hits)).collect::<Vec<_>>()
    };
    assert_eq!(hits("seed = 42"), hits("seed = 42"));
    assert_ne!(hits("seed = 42"), hits("seed = 43"));
}
