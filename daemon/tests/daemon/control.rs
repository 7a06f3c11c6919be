//! The API, through its client where it goes well and by hand where it does not.

use crate::rheostatd::{Place, SMALL, ask, block_on, tcp, until};
use rheostat_api::{ClientError, KnobValue, MapValue, Outcome, Resource};
use std::io::Read;

const STAGE: &str = "pipeline.words.count";

#[test]
fn resources_are_listed_and_looked_at() {
    let daemon = Place::new(SMALL).start(&[]);
    let resources = block_on(daemon.client().resources()).unwrap();
    let addresses: Vec<_> = resources.iter().map(|resource| resource.address.as_str()).collect();
    let expected =
        ["map.words", "pipeline.words", "pipeline.words.count", "pipeline.words.split", "pool.batches", "queue.jobs"];
    for address in expected {
        assert!(addresses.contains(&address), "{address} is not among {addresses:?}");
    }
    let stage = block_on(daemon.client().resource(STAGE)).unwrap();
    assert_eq!((stage.kind.as_str(), stage.value("rheostat_stage_workers_target")), ("stage", Some(1.0)));
    assert_eq!(stage.knob("workers").unwrap().value, KnobValue::Integer(1));
}

#[test]
fn a_turn_is_in_force_seen_and_journaled() {
    let daemon = Place::new(SMALL).start(&[]);
    let client = daemon.client();
    let turned = block_on(client.turn(STAGE, "workers", KnobValue::Integer(3))).unwrap();
    assert_eq!(turned.len(), 1);
    let change = &turned[0];
    assert_eq!((change.id, &change.from, &change.to), (1, &KnobValue::Integer(1), &KnobValue::Integer(3)));
    assert_eq!((change.outcome, change.resource.as_str(), change.knob.as_str()), (Outcome::Applied, STAGE, "workers"));
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(change.actor, format!("uid {uid}"));
    // Far above the promise of 100 ms: this shows that nothing waits for a timeout, not how fast the machine is.
    assert!(change.took_us < 1_000_000, "{change:?}");
    assert_eq!(block_on(client.resource(STAGE)).unwrap().value("rheostat_stage_workers"), Some(3.0));
    assert_eq!(block_on(client.changes(0)).unwrap(), turned);
    assert_eq!(block_on(client.changes(1)).unwrap(), []);
}

#[test]
fn configured_limits_bound_the_knobs_and_are_exported() {
    let daemon = Place::new(&format!("{SMALL}\n[limits]\nworkers = 3\n")).start(&[]);
    let refused = daemon.send("PATCH", &format!("/v1/resources/{STAGE}/knobs"), r#"{"workers": 4}"#);
    assert_eq!(refused.status, 422);
    assert!(refused.problem().detail.ends_with("a whole number from 1 to 3"), "{:?}", refused.problem());
    let metrics = daemon.address("metrics on http://");
    let scrape = ask(tcp(&metrics), &format!("GET /metrics HTTP/1.1\r\nHost: {metrics}\r\nConnection: close\r\n\r\n"));
    let text = scrape.unwrap().body;
    assert!(text.contains("rheostat_limit{limit=\"workers\"} 3\n"), "{text}");
}

#[test]
fn a_pool_told_to_choose_says_so_and_its_moves_say_why() {
    let place = Place::new("[pool.p]\nlevel = \"fixed\"\nbytes_max = 1048576\n[pool.q]\nlevel = \"auto\"\n");
    let mut daemon = place.start(&[]);
    let client = daemon.client();
    let word = |word: &str| KnobValue::Choice(word.into());
    let look = |address: &str| {
        let pool = block_on(client.resource(address)).unwrap();
        let in_force = |level: &&str| pool.value_where("rheostat_pool_level", "level", level) == Some(1.0);
        let in_force = ["unlocked", "mutex", "lock_free", "thread_cached", "fixed"].into_iter().find(in_force);
        (pool.knob("level").unwrap().value.clone(), in_force.unwrap())
    };
    assert_eq!(look("pool.q").0, word("auto"));
    assert_eq!(look("pool.p"), (word("fixed"), "fixed"));
    let turned = block_on(client.turn("pool.p", "level", word("auto"))).unwrap();
    assert_eq!((&turned[0].from, &turned[0].to, &turned[0].reason), (&word("fixed"), &word("auto"), &None));
    // A level that is not for it to choose is left when the host next has it look at itself.
    until("the pool to choose", || block_on(client.changes(turned[0].id)).unwrap().len() == 1);
    let [own] = block_on(client.changes(turned[0].id)).unwrap().try_into().unwrap();
    assert_eq!((own.actor.as_str(), own.resource.as_str(), own.outcome), ("auto", "pool.p", Outcome::Applied));
    let (asked, in_force) = look("pool.p");
    assert_eq!((asked, &own.from, &own.to), (word("auto"), &word("fixed"), &word(in_force)));
    let reason = own.reason.clone().unwrap();
    assert!(reason.starts_with("fixed is not a level to choose: ") && reason.contains(" core"), "{reason}");
    // The reason outlives the daemon.
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait();
    let daemon = place.start(&[]);
    assert_eq!(block_on(daemon.client().changes(0)).unwrap(), [turned[0].clone(), own]);
}

#[test]
fn refused_turns_turn_nothing_and_say_what_there_is() {
    let daemon = Place::new(SMALL).start(&[]);
    let patch = |address: &str, body: &str| daemon.send("PATCH", &format!("/v1/resources/{address}/knobs"), body);
    let cases = [
        ("pipeline.words.count", r#"{"workers": 0}"#, 422, "out of range: workers takes a whole number from 1 to"),
        ("pipeline.words.count", r#"{"workers": -1}"#, 422, "-1 is out of range"),
        ("pipeline.words.count", r#"{"workers": 1000000000}"#, 422, "1000000000 is out of range"),
        ("pipeline.words.count", r#"{"workers": "many"}"#, 422, "workers takes a whole number"),
        ("pipeline.words.count", r#"{"workers": 1.5}"#, 422, "does not fit"),
        ("pipeline.words.count", r#"{"workers": 10000000000000000000}"#, 422, "does not fit"),
        ("pipeline.words.count", r#"{"workers": 1e999}"#, 400, "no JSON"),
        ("pipeline.words.count", r#"{"workers": null}"#, 422, "does not fit"),
        ("pipeline.words.count", r#"{"workers": 2"#, 400, "no JSON"),
        ("pipeline.words.count", r#"{"workers": 2} x"#, 400, "no JSON"),
        ("pipeline.words.count", "\u{feff}{\"workers\": 2}", 400, "no JSON"),
        ("pipeline.words.count", "{}", 422, "no knob is named"),
        ("pipeline.words.count", "[]", 422, "does not fit"),
        ("pipeline.words.count", r#"{"wrokers": 2}"#, 404, "has no knob `wrokers`; it has workers"),
        // The first is right and must not be turned either.
        ("pipeline.words.count", r#"{"batch": 7, "workers": 0}"#, 422, "0 is out of range"),
        ("pipeline.nowhere", r#"{"workers": 2}"#, 404, "there is no resource `pipeline.nowhere`"),
        ("pipeline", r#"{"workers": 2}"#, 400, "wrong number of parts"),
        ("gadget.x", r#"{"workers": 2}"#, 400, "does not start with a kind"),
        ("map.%2e%2e%2fetc", r#"{"workers": 2}"#, 400, "wrong number of parts"),
        ("map.%00", r#"{"workers": 2}"#, 400, "is not a name"),
    ];
    for (address, body, status, says) in cases {
        let answer = patch(address, body);
        assert_eq!(answer.status, status, "{address} {body}: {}", answer.body);
        assert!(answer.problem().detail.contains(says), "{address} {body}: {}", answer.body);
    }
    let deep = format!("{{\"workers\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(patch(STAGE, &deep).status, 400);
    let stage = block_on(daemon.client().resource(STAGE)).unwrap();
    assert_eq!(stage.knob("workers").unwrap().value, KnobValue::Integer(1));
    assert_ne!(stage.knob("batch").unwrap().value, KnobValue::Integer(7));
    assert_eq!(block_on(daemon.client().changes(0)).unwrap(), [], "nothing was turned, so nothing is journaled");
}

#[test]
fn bodies_are_bounded_however_they_come() {
    let place = Place::new("[limits]\nbody_bytes = 2048\nupload_bytes = 4096\n");
    let daemon = place.start(&[]);
    let padded = |bytes: usize| format!("{{\"workers\": 2{}}}", " ".repeat(bytes));
    for bytes in [3000, 100_000] {
        let answer = daemon.send("PATCH", "/v1/resources/map.words/knobs", &padded(bytes));
        assert_eq!((answer.status, answer.problem().kind.as_str()), (413, "urn:rheostat:too-large"), "{bytes}");
    }
    let chunk = "x".repeat(1000);
    let chunks: String = (0..10).map(|_| format!("3e8\r\n{chunk}\r\n")).collect();
    let request = format!(
        "PATCH /v1/resources/map.words/knobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
    );
    assert_eq!(ask(daemon.connect().unwrap(), &request).unwrap().status, 413);
    let plain = "PATCH /v1/resources/map.words/knobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(ask(daemon.connect().unwrap(), plain).unwrap().status, 415);
}

#[test]
fn paths_and_methods_that_are_none() {
    let daemon = Place::new("").start(&[]);
    for path in ["/", "/v1", "/v1/", "/v2/resources", "/v1/resources/", "/metrics", "/v1/resources/map.x/knobs/y"] {
        assert_eq!(daemon.get(path).unwrap().problem().status, 404, "{path}");
    }
    let answer = daemon.send("POST", "/v1/resources", "{}");
    assert_eq!(answer.problem().status, 405);
    assert!(answer.head.contains("allow: get"), "{}", answer.head);
    for query in ["/v1/changes?since=x", "/v1/changes?sinze=1", "/v1/history", "/v1/history?address=map.x&step_ms=-1"] {
        assert_eq!(daemon.get(query).unwrap().problem().status, 400, "{query}");
    }
    assert_eq!(daemon.get("/v1/history?address=map.nowhere").unwrap().problem().status, 404);
}

#[test]
fn the_document_and_the_routes_are_one() {
    let daemon = Place::new("").start(&[]);
    let document: serde_json::Value = serde_json::from_str(&daemon.get("/v1/openapi.json").unwrap().body).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let paths = document["paths"].as_object().unwrap();
    let mut operations = Vec::new();
    for (path, item) in paths {
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| ["get", "patch", "post", "delete", "put"].contains(&key.as_str()))
        {
            operations.push(format!("{method} {path}"));
            let asked =
                path.replace("{address}", "map.nowhere").replace("{name}", "nowhere").replace("{id}", "nowhere");
            if asked == "/v1/stream" {
                continue;
            }
            let answer = daemon.send(&method.to_uppercase(), &asked, "{}");
            assert_ne!(answer.status, 405, "{method} {path} is documented and not routed");
            assert!(!answer.body.contains("no-such-path"), "{method} {path} is documented and not routed");
            assert_ne!(answer.status, 500, "{method} {path}: {}", answer.body);
        }
    }
    // What the client calls.
    let expected = [
        "get /v1/resources",
        "get /v1/resources/{address}",
        "patch /v1/resources/{address}/knobs",
        "get /v1/changes",
        "get /v1/history",
        "get /v1/stream",
        "get /v1/runs",
        "post /v1/runs",
        "post /v1/runs/check",
        "get /v1/runs/{id}",
        "post /v1/runs/{id}/cancel",
        "get /v1/runs/{id}/result",
        "get /v1/workloads",
        "get /v1/maps/{name}/get",
        "get /v1/maps/{name}/top",
        "get /v1/maps/{name}/scan",
        "post /v1/maps/{name}/put",
        "post /v1/maps/{name}/add",
        "post /v1/maps/{name}/delete",
        "post /v1/maps/{name}/batch",
        "post /v1/queues/{name}/push",
        "post /v1/queues/{name}/pop",
        "get /v1/pools/{name}/blocks",
        "get /v1/heap/profile",
        "get /v1/healthz",
        "get /v1/readyz",
        "get /v1/openapi.json",
    ];
    for operation in expected {
        assert!(operations.iter().any(|known| known == operation), "{operation} is not documented: {operations:?}");
    }
    assert_eq!(operations.len(), expected.len(), "{operations:?}");
    // Every schema that is referred to is there.
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name} is referred to and missing");
    }
}

#[test]
fn maps_are_read() {
    let daemon = Place::new(SMALL).start(&[]);
    let client = daemon.client();
    until("words to be counted", || block_on(client.map_get("words", &"fox".into())).unwrap().is_some());
    assert_eq!(block_on(client.map_get("words", &"wolf".into())).unwrap(), None);
    let top = block_on(client.map_top("words", 3)).unwrap();
    assert_eq!((top.len(), &top[0].key), (3, &"the".into()));
    let values = top.iter().map(|entry| match entry.value {
        MapValue::Counter(counter) => counter,
        MapValue::Word(_) | MapValue::Bytes(_) => panic!("not a counter: {entry:?}"),
    });
    assert!(values.is_sorted_by(|a, b| a >= b), "{top:?}");
    let (mut keys, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let page = block_on(client.map_scan("words", cursor.as_deref(), 3)).unwrap();
        keys.extend(page.entries.into_iter().map(|entry| entry.key.to_string()));
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    keys.sort();
    assert_eq!(keys, ["brown", "dog", "fox", "jumps", "lazy", "over", "quick", "the"]);
    assert!(pages >= 3, "{pages} pages of three");
    for (path, status) in [
        ("/v1/maps/nowhere/top", 404),
        ("/v1/maps/words/top?n=0", 422),
        ("/v1/maps/words/top?n=1000000", 422),
        ("/v1/maps/words/scan?cursor=garbage", 400),
        ("/v1/maps/words/get", 400),
        ("/v1/maps/words/get?key=wolf", 404),
    ] {
        assert_eq!(daemon.get(path).unwrap().problem().status, status, "{path}");
    }
    assert!(matches!(block_on(client.map_top("nowhere", 3)), Err(ClientError::Refused(_))));
}

#[test]
fn history_fills_while_nobody_looks() {
    let daemon = Place::new(SMALL).start(&[]);
    let client = daemon.client();
    let family = "rheostat_pipeline_source_bytes_total";
    let known = |points: &[Option<f64>]| points.iter().flatten().filter(|&&rate| rate > 1000.0).count();
    until("three seconds of history", || {
        let history = block_on(client.history("pipeline.words", Some(family), 1000)).unwrap();
        history.series.first().is_some_and(|series| known(&series.points) >= 3)
    });
    let all = block_on(client.history("pipeline.words.count", None, 1000)).unwrap();
    let service: Vec<_> =
        all.series.iter().filter(|series| series.family == "rheostat_stage_service_seconds").collect();
    assert_eq!(service.iter().map(|series| series.labels["quantile"].as_str()).collect::<Vec<_>>(), ["0.5", "0.99"]);
}

#[test]
fn a_heap_profile_names_the_stages_that_allocate() {
    let daemon = Place::new(SMALL).start(&[]);
    let client = daemon.client();
    let Err(ClientError::Refused(problem)) = block_on(client.heap_profile()) else { panic!("nothing was sampled yet") };
    assert_eq!((problem.status, problem.kind.as_str()), (409, "urn:rheostat:no-heap-profile"));
    block_on(client.turn("allocator.process", "sampling", KnobValue::Integer(1))).unwrap();
    let mut workers = (1..=3).cycle();
    until("samples of a stage", || {
        // Workers that work already follow when they have allocated half a mebibyte, new ones at once.
        let to = KnobValue::Integer(workers.next().unwrap());
        block_on(client.turn("pipeline.words.split", "workers", to)).unwrap();
        let zipped = block_on(client.heap_profile()).unwrap();
        assert_eq!(zipped[..2], [0x1f, 0x8b], "gzip, as pprof's tools expect");
        let mut profile = Vec::new();
        flate2::read::GzDecoder::new(&*zipped).read_to_end(&mut profile).unwrap();
        profile.windows(20).any(|bytes| bytes == b"pipeline.words.split")
    });
    let sampled = |resource: Resource| resource.value("rheostat_alloc_freed_elsewhere_bytes_total");
    assert!(sampled(block_on(client.resource("pipeline.words.split")).unwrap()).is_some());
    block_on(client.turn("allocator.process", "sampling", KnobValue::Integer(0))).unwrap();
    let changes = block_on(client.changes(0)).unwrap();
    let sampling = changes.iter().filter(|change| change.resource == "allocator.process");
    assert_eq!(sampling.count(), 2, "who samples stands in the journal");
}
