//! What Prometheus gets.

use crate::rheostatd::{Place, SMALL, ask, tcp, until};
use rheostat_runtime::observe::{What, families};
use std::collections::{BTreeMap, HashSet};

fn request(address: &str, method: &str, path: &str) -> crate::rheostatd::Answer {
    ask(tcp(address), &format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")).unwrap()
}

/// The samples of an exposition, after holding it to the format: help and type before samples, families in one
/// piece, no series twice.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let (mut typed, mut current, mut samples) = (HashSet::new(), String::new(), BTreeMap::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            current = rest.split(' ').next().unwrap().to_owned();
            assert!(typed.insert(current.clone()), "{current} comes in two pieces");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let stem =
                ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
            assert!(name == current || stem == current, "{line} stands under {current}");
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} twice");
        }
    }
    samples
}

#[test]
fn everything_declared_of_what_is_hosted_is_exposed() {
    // Each backend counts what it can: waits for shards, lost compare-exchanges, what reads of cache lines meet.
    let maps = "[map.lists]\nbackend = \"fixed\"\n[map.lines]\nbackend = \"flat\"";
    let place = Place::new(&format!("{SMALL}\n{maps}"));
    let daemon = place.start(&[]);
    let address = daemon.address("metrics on http://");
    let counted = |text: &str| {
        let series = "rheostat_stage_in_items_total{pipeline=\"words\",stage=\"count\"}";
        samples(text).get(series).is_some_and(|&count| count > 100.0)
    };
    until("words to be counted", || counted(&request(&address, "GET", "/metrics").body));
    // Two scrapes inside a tenth of a second share one exposition.
    std::thread::sleep(std::time::Duration::from_millis(150));
    let answer = request(&address, "GET", "/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    let samples = samples(&answer.body);
    let tables = [
        families::PIPELINE,
        families::STAGE,
        families::QUEUE,
        families::MAP,
        families::POOL,
        families::ALLOCATOR,
        families::HOST,
    ];
    // Estimated from samples that are taken from the first heap profile on, and nobody has asked for one.
    let later = [families::STAGE_SAMPLED_LIVE.name, families::STAGE_FREED_ELSEWHERE.name];
    let exported = tables.into_iter().flatten().filter(|family| family.what != What::Strip);
    for family in exported.filter(|family| !later.contains(&family.name)) {
        let help = format!("# HELP {} {}", family.name, family.help);
        assert!(answer.body.contains(&help), "{} is not exposed", family.name);
    }
    let value = |series: &str| *samples.get(series).unwrap_or_else(|| panic!("no {series}"));
    let histogram = "rheostat_stage_service_seconds";
    let of = "pipeline=\"words\",stage=\"split\"";
    let all = value(&format!("{histogram}_count{{{of}}}"));
    assert!(all > 0.0);
    assert_eq!(value(&format!("{histogram}_bucket{{{of},le=\"+Inf\"}}")), all);
    let bounds: Vec<_> = samples
        .iter()
        .filter_map(|(series, &count)| {
            let le = series.strip_prefix(&format!("{histogram}_bucket{{{of},le=\""))?.strip_suffix("\"}")?;
            Some((le.parse::<f64>().unwrap(), count))
        })
        .collect();
    assert!(bounds.len() > 20);
    let mut sorted = bounds.clone();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(sorted.windows(2).all(|pair| pair[0].1 <= pair[1].1), "buckets are cumulative: {sorted:?}");
    // The states of a stage's workers share out their time: one worker, so about as much as the daemon's.
    let states: f64 = ["busy", "idle", "backpressured"]
        .map(|state| value(&format!("rheostat_stage_state_seconds_total{{{of},state=\"{state}\"}}")))
        .iter()
        .sum();
    let uptime = value("rheostat_uptime_seconds");
    assert!((states - uptime).abs() < 0.5 + uptime * 0.1, "states sum to {states}, uptime is {uptime}");
    assert!(value("process_resident_memory_bytes") > 1e6);
    // The binary tracks: each stage is charged for what it does, and the sums are the process's.
    let charged = value(&format!("rheostat_alloc_attributed_bytes_total{{{of}}}"));
    let pipelines = value("rheostat_allocator_allocated_bytes_total{allocator=\"process\",class=\"pipelines\"}");
    assert!(charged > 0.0 && pipelines >= charged, "{charged} of {pipelines}");
    assert_eq!(value("rheostat_map_backend{map=\"words\",backend=\"sharded\"}"), 1.0);
}

#[test]
fn types_are_those_declared() {
    let daemon = Place::new(SMALL).start(&[]);
    let body = request(&daemon.address("metrics on http://"), "GET", "/metrics").body;
    let declared: BTreeMap<_, _> = families::all().map(|family| (family.name, family.what)).collect();
    let mut seen = 0;
    for line in body.lines() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) else { continue };
        let what = match kind {
            "counter" => What::Counter,
            "gauge" => What::Gauge,
            "histogram" => What::Histogram,
            other => panic!("{name} is a {other}"),
        };
        assert_eq!(declared.get(name), Some(&what), "{name}");
        seen += 1;
    }
    assert!(seen > 40, "only {seen} families");
}

#[test]
fn the_listener_gives_metrics_and_nothing_else() {
    let daemon = Place::new("").start(&[]);
    let address = daemon.address("metrics on http://");
    assert_eq!(request(&address, "GET", "/healthz").status, 200);
    let head = request(&address, "HEAD", "/metrics");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(request(&address, "POST", "/metrics").status, 405);
    for path in ["/v1/resources", "/v1/changes", "/"] {
        assert_eq!(request(&address, "GET", path).status, 404, "{path}");
    }
}
