//! Every shipped map and queue workload, run in a short form: it comes to its verdict, and its checks have compared
//! something.

use rheostat_api::{CheckVerdict, RunResult, RunVerdict};
use rheostat_runtime::map::Backend;
use rheostat_runtime::observe::Registry;
use rheostat_runtime::pool::Level;
use rheostat_runtime::sync::Arc;
use rheostat_workloads::engine::{self, Context};
use rheostat_workloads::{Overrides, Workload, catalogue};

fn run(name: &str, vars: &[(&str, &str)]) -> RunResult {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let overrides = Overrides { vars, ..Overrides::default() };
    let workload = Workload::parse(name, catalogue::script(name).unwrap(), &overrides);
    let workload = workload.unwrap_or_else(|faults| panic!("{faults}"));
    let context = Context::new(Arc::new(Registry::new()), "test");
    let result = engine::run(&workload, &context).unwrap();
    assert!(context.registry.all().is_empty(), "{name} left resources behind");
    result
}

/// Runs for 500 ms, and on a machine that is too busy for enough to happen by then for twice as long, up to 8 s.
fn run_until(name: &str, vars: &[(&str, &str)], enough: impl Fn(&RunResult) -> bool) -> RunResult {
    let mut results = [500, 1000, 2000, 4000, 8000].into_iter().map(|milliseconds| {
        let duration = format!("{milliseconds}ms");
        run(name, &[vars, &[("duration", &duration)]].concat())
    });
    let found = results.find(enough);
    found.unwrap_or_else(|| panic!("{name}: too little happens in 8 s"))
}

/// Checks hold and have compared something. Thresholds on times may fail on a busy machine; they are not asserted.
fn holds(result: &RunResult) {
    let name = &result.name;
    assert!(result.checks.iter().all(|check| check.verdict == CheckVerdict::Pass), "{name}: {:#?}", result.checks);
    let wrong = matches!(result.verdict, RunVerdict::Incorrect | RunVerdict::Error | RunVerdict::Cancelled);
    assert!(!wrong, "{name}: {:?} {:?}", result.verdict, result.notes);
    assert!(result.phases.iter().all(|phase| phase.items > 0), "{name}: {:#?}", result.phases);
    let violations = result.thresholds.iter().find(|threshold| threshold.expr == "check.violations == 0").unwrap();
    assert_eq!((violations.value, violations.verdict.as_str()), (Some(0.0), "pass"), "{name}");
    let measured = result.thresholds.iter().filter(|threshold| threshold.value.is_some()).count();
    assert!(
        measured * 2 > result.thresholds.len(),
        "{name} judges by what it does not measure: {:?}",
        result.thresholds
    );
}

fn value(result: &RunResult, expr: &str) -> f64 {
    let found = result.thresholds.iter().find(|threshold| threshold.expr.starts_with(expr));
    found.and_then(|threshold| threshold.value).unwrap_or_else(|| panic!("no {expr}: {:?}", result.thresholds))
}

/// The checks of a run, by name, with how much they compared.
fn compared(result: &RunResult, name: &str) -> u64 {
    result.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no check {name}")).compared
}

#[test]
fn ycsb() {
    for letter in ["a", "b", "c", "d", "e", "f"] {
        for backend in Backend::ALL.map(Backend::as_str) {
            let name = format!("map-ycsb-{letter}");
            let vars = [("backend", backend), ("records", "2000"), ("warm", "100ms"), ("duration", "200ms")];
            let result = run(&name, &vars);
            holds(&result);
            assert!(compared(&result, "values") > 100, "{name} {backend}: {:?}", result.checks);
            if letter == "d" {
                // Reads near the frontier may meet a key on its way in, and hardly ever do.
                assert!(value(&result, "kv.get.hit_ratio") > 0.9);
            } else if letter != "e" {
                assert!((value(&result, "kv.get.hit_ratio") - 1.0).abs() < 1e-9, "every record is there");
            }
        }
    }
}

#[test]
fn ycsb_by_other_distributions() {
    for dist in ["uniform", "ycsb-zipfian", "latest", "hotspot", "sequential"] {
        let vars = [("dist", dist), ("records", "1000"), ("warm", "60ms"), ("duration", "100ms")];
        holds(&run("map-ycsb-a", &vars));
    }
}

#[test]
fn map_hot_key() {
    for backend in Backend::ALL.map(Backend::as_str) {
        let result = run("map-hot-key", &[("backend", backend), ("records", "1000"), ("duration", "150ms")]);
        holds(&result);
        assert_eq!(result.checks.len(), 6, "three maps, two checks each: {:?}", result.checks);
    }
}

#[test]
fn map_rmw_lost_update() {
    for backend in Backend::ALL.map(Backend::as_str) {
        let result = run("map-rmw-lost-update", &[("backend", backend), ("duration", "300ms")]);
        holds(&result);
        assert_eq!(result.verdict, RunVerdict::Pass, "{result:#?}");
    }
    // Eight threads on one key, in two steps: some of them meet.
    let racy = [("racy", "1"), ("atomic", "0"), ("keys", "1"), ("workers", "8"), ("duration", "1s")];
    let result = run("map-rmw-lost-update", &racy);
    assert_eq!((result.verdict, result.verdict.exit_code()), (RunVerdict::Incorrect, 3), "{:?}", result.checks);
    assert!(result.checks.iter().all(|check| check.verdict == CheckVerdict::Fail), "{:?}", result.checks);
}

#[test]
fn map_grow_stall() {
    for backend in Backend::ALL.map(Backend::as_str) {
        let result = run("map-grow-stall", &[("backend", backend), ("records", "20000")]);
        holds(&result);
        let op = &result.phases[0].ops[0];
        let timed = op.service.as_ref().unwrap();
        assert_eq!((op.count, timed.count), (20_000, 20_000), "every insert is timed, so that max is the longest");
        assert_eq!(compared(&result, "increments"), 20_000);
    }
}

#[test]
fn map_churn_stalled_reader() {
    for backend in Backend::ALL.map(Backend::as_str) {
        let vars = [("backend", backend), ("records", "500"), ("hold", "100ms"), ("duration", "300ms")];
        let result = run("map-churn-stalled-reader", &vars);
        holds(&result);
        let held = result.phases[2].ops.iter().find(|op| op.op == "hold").unwrap();
        // How many there are is the machine's affair; none lets go before its time.
        let usual = held.service.as_ref().and_then(|service| service.p50);
        assert!(held.count >= 1 && usual >= Some(90e6), "{held:?}");
        assert!(result.phases.iter().all(|phase| phase.memory_growth_bytes.is_some()));
    }
}

#[test]
fn map_scan_under_write() {
    for backend in Backend::ALL.map(Backend::as_str) {
        let vars = [("backend", backend), ("records", "500"), ("page", "250"), ("duration", "600ms")];
        let result = run("map-scan-under-write", &vars);
        holds(&result);
        assert!(compared(&result, "walks") >= 1 && compared(&result, "values") >= 500, "{:?}", result.checks);
    }
}

#[test]
fn map_switch_live() {
    for from in Backend::ALL {
        for to in Backend::ALL.into_iter().filter(|to| *to != from) {
            let vars = [
                ("backend", from.as_str()),
                ("to", to.as_str()),
                ("records", "500"),
                ("every", "20ms"),
                ("still", "60ms"),
                ("duration", "200ms"),
            ];
            let result = run("map-switch-live", &vars);
            holds(&result);
            let turned = &result.phases[2].events;
            assert!(!turned.is_empty() && turned.iter().all(|event| event.error.is_none()), "{from} {to}: {turned:?}");
        }
    }
}

#[test]
fn map_linearizable() {
    for (from, to) in [("sharded", "flat"), ("flat", "lock_free"), ("papaya", "fixed"), ("fixed", "sharded")] {
        let vars = [("backend", from), ("to", to), ("operations", "20000"), ("every", "2ms")];
        let result = run("map-linearizable", &vars);
        holds(&result);
        let check = result.checks.iter().find(|check| check.name == "linearizable").unwrap();
        assert_eq!(check.compared, 20_000, "{from} {to}: {check:?}");
        assert!(!result.phases[0].events.is_empty(), "{from} {to}: nothing was turned");
    }
}

#[test]
fn queue_pairs() {
    let result = run("queue-pairs", &[("workers", "4"), ("capacity", "64"), ("duration", "300ms")]);
    holds(&result);
    let ops: Vec<_> = result.phases[0].ops.iter().map(|op| op.op.as_str()).collect();
    assert_eq!(ops, ["pair", "end_to_end"]);
}

#[test]
fn queue_burst() {
    let result = run("queue-burst", &[("capacity", "16"), ("rate", "100k/s"), ("duration", "400ms")]);
    holds(&result);
    let push = &result.phases[0].ops[0];
    // A hundred come in a rush to a queue of sixteen: some find no room, and all are accounted for.
    assert!(push.hits < push.count && push.hits > 0, "{push:?}");
    assert!(push.due.unwrap() >= push.count && push.response.is_some(), "{push:?}");
    let due = push.due.unwrap();
    assert!((3800..=4200).contains(&due), "40 bursts of 100 are due: {due}");
}

#[test]
fn queue_fan_in_and_out() {
    let result = run("queue-fan-in", &[("producers", "3"), ("duration", "300ms")]);
    holds(&result);
    assert!(result.phases[0].ops.iter().any(|op| op.op == "push" && op.fairness.is_some()));
    let result = run("queue-fan-out", &[("consumers", "3"), ("duration", "300ms")]);
    holds(&result);
    assert!(result.phases[0].ops.iter().any(|op| op.op == "pop" && op.fairness.is_some()));
}

#[test]
fn queue_slow_consumer() {
    let result = run("queue-slow-consumer", &[("duration", "500ms")]);
    holds(&result);
    let phase = &result.phases[0];
    let push = &phase.ops[0];
    // The consumer takes at most half of what is due, so half of it waits, and its waiting is not left out.
    assert!(phase.delivered().unwrap() < 0.8, "{push:?}");
    let (response, service) = (push.response.as_ref().unwrap(), push.service.as_ref().unwrap());
    assert!(response.count > service.count && response.max > 100e6, "{push:?}");
}

#[test]
fn queue_switch_live() {
    let kinds =
        |result: &RunResult| result.phases[1].events.iter().filter(|event| event.knob == "queue.jobs.kind").count();
    let result = run_until("queue-switch-live", &[("every", "25ms")], |result| kinds(result) >= 5);
    holds(&result);
    let turned = &result.phases[1].events;
    assert!(turned.len() > kinds(&result), "the capacity is turned too: {turned:?}");
    assert!(turned.iter().all(|event| event.error.is_none()), "{turned:?}");
}

#[test]
fn queues_of_every_kind() {
    for kind in rheostat_runtime::queue::Kind::ALL {
        for name in ["queue-pairs", "queue-fan-in", "queue-burst"] {
            holds(&run(name, &[("backend", kind.as_str()), ("duration", "200ms")]));
        }
    }
}

/// The levels that several threads may allocate at.
fn shared_levels() -> impl Iterator<Item = &'static str> {
    Level::ALL.into_iter().filter(|level| *level != Level::Unlocked).map(Level::as_str)
}

#[test]
fn alloc_pairs_and_cross_free() {
    holds(&run("alloc-pairs", &[("level", "unlocked"), ("workers", "1"), ("duration", "100ms")]));
    for level in shared_levels() {
        holds(&run("alloc-pairs", &[("level", level), ("duration", "150ms")]));
        let result = run("alloc-cross-free", &[("level", level), ("allocating", "2"), ("duration", "150ms")]);
        holds(&result);
        let [pass, take] = [0, 1].map(|op| &result.phases[0].ops[op]);
        assert!(pass.count >= take.count && take.count > 0, "{pass:?} {take:?}");
    }
}

#[test]
fn alloc_larson() {
    for level in shared_levels() {
        let result = run("alloc-larson", &[("level", level), ("live", "200"), ("duration", "300ms")]);
        holds(&result);
        let generations = result.phases[0].ops.iter().find(|op| op.op == "generation").unwrap();
        assert!(generations.count > 0 && generations.hits == generations.count, "{generations:?}");
    }
}

#[test]
fn alloc_size_ramp() {
    let result = run("alloc-size-ramp", &[("live", "300"), ("longest", "80KiB"), ("climb", "400ms")]);
    holds(&result);
    let held = result.notes.iter().find(|note| note.contains("held at most")).unwrap();
    assert!(held.starts_with("phase `ramp`: `blocks` held at most") && held.ends_with("% idle"), "{held}");
}

#[test]
fn alloc_level_storm() {
    let vars = [("live", "200"), ("every", "2ms")];
    let result = run_until("alloc-level-storm", &vars, |result| result.phases[1].events.len() > 50);
    holds(&result);
    let turned = &result.phases[1].events;
    assert!(turned.iter().all(|event| event.error.is_none()), "{turned:?}");
}

#[test]
fn alloc_impact() {
    let turned = |result: &RunResult| result.phases.iter().flat_map(|phase| phase.events.clone()).collect::<Vec<_>>();
    let result = run_until("alloc-impact", &[], |result| !turned(result).is_empty());
    holds(&result);
    let turned = turned(&result);
    assert!(turned.iter().all(|event| event.knob == "pool.wc.level" && event.error.is_none()), "{turned:?}");
}

#[test]
fn alloc_map_values() {
    for backend in Backend::ALL.map(Backend::as_str) {
        let vars = [("backend", backend), ("records", "2000"), ("duration", "200ms")];
        let result = run("alloc-map-values", &vars);
        holds(&result);
        assert!(compared(&result, "values") > 0, "{:?}", result.checks);
        // Every value that was put in had a block of its own.
        let put = result.phases.iter().flat_map(|phase| &phase.ops).filter(|op| op.op == "insert").map(|op| op.count);
        let (put, blocks) = (put.sum::<u64>(), compared(&result, "conservation"));
        assert!(put > 0 && blocks >= put, "{backend}: {put} of {blocks}");
        let turned: Vec<_> = result.phases.iter().flat_map(|phase| phase.events.clone()).collect();
        assert!(turned.iter().all(|event| event.knob == "pool.values.level" && event.error.is_none()), "{turned:?}");
    }
}

#[test]
fn values_that_find_no_block_are_refused_and_the_rest_is_whole() {
    let overrides = [("records", "2000"), ("room", "256KiB"), ("duration", "200ms")];
    let result = run("alloc-map-values", &overrides);
    assert!(result.checks.iter().all(|check| check.verdict == CheckVerdict::Pass), "{:?}", result.checks);
    let said = |part: &str| result.notes.iter().any(|note| note.starts_with("`kv` refused") && note.ends_with(part));
    assert!(said("values: `values` had no block for them; raise the pool's bytes_max"), "{:?}", result.notes);
    assert!(!said("raise its entries_max"), "{:?}", result.notes);
}

#[test]
fn a_pool_that_is_full_is_said_to_be() {
    let text = catalogue::script("alloc-size-ramp").unwrap().replace("1GiB", "256KiB");
    let overrides = Overrides { vars: [("climb".into(), "200ms".into())].into(), ..Overrides::default() };
    let workload = Workload::parse("full", &text, &overrides).unwrap();
    let result = engine::run(&workload, &Context::new(Arc::new(Registry::new()), "test")).unwrap();
    assert!(result.checks.iter().all(|check| check.verdict == CheckVerdict::Pass), "{:?}", result.checks);
    assert_eq!(result.verdict, RunVerdict::Failed, "not every replacement found a block: {:?}", result.thresholds);
    assert!(result.notes.iter().any(|note| note.contains("raise its bytes_max")), "{:?}", result.notes);
}

#[test]
fn every_script_says_what_it_is_about() {
    for (name, text) in catalogue::SCRIPTS {
        let summary = catalogue::summary(text);
        assert!(summary.len() > 30 && summary.len() < 400, "{name}: {summary}");
    }
}
