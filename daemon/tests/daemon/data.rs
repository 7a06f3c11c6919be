//! What is put into hosted maps and queues and taken out of them.

use crate::rheostatd::{Place, Rheostatd, ask, block_on, tcp, until};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rheostat_api::{Add, ByteString, ClientError, Entry, MapOp, MapOutcome, MapValue, Pop, Problem, Push, Put, Scan};
use rustix::process::Signal;
use std::cell::{Cell, RefCell};
use std::io::Write;

/// Small enough that every limit is within reach.
const BOTH: &str = r#"
[map.counts]
entries_max = 3
[map.texts]
values = "bytes"
entries_max = 100
[map.ids]
values = "words"
bytes_max = 1024
[queue.jobs]
capacity = 4
[limits]
operations = 10
key_bytes = 8
value_bytes = 100
"#;

fn bytes(bytes: &[u8]) -> ByteString {
    ByteString(bytes.to_vec())
}

fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> Problem {
    match answer.unwrap_err() {
        ClientError::Refused(problem) => problem,
        other => panic!("not refused: {other}"),
    }
}

fn pop(daemon: &Rheostatd, max: usize, wait_ms: u64) -> Vec<ByteString> {
    block_on(daemon.client().queue_pop("jobs", &Pop { max, wait_ms })).unwrap()
}

fn push(daemon: &Rheostatd, items: &[&str]) -> Result<usize, ClientError> {
    let push = Push { items: items.iter().map(|&item| item.into()).collect(), wait_ms: 0 };
    block_on(daemon.client().queue_push("jobs", &push)).map(|pushed| pushed.pushed)
}

#[test]
fn counters_and_bytes_go_in_and_come_out() {
    let daemon = Place::new(BOTH).start(&[]);
    let client = daemon.client();
    block_on(async {
        let put = |key: ByteString, value: MapValue| Put { key, value };
        assert_eq!(client.map_put("counts", &put("a".into(), 7.into())).await.unwrap(), None);
        assert_eq!(client.map_put("counts", &put("a".into(), "-3".into())).await.unwrap(), Some(7.into()));
        let add = |key: &str, by| Add { key: key.into(), by };
        assert_eq!(client.map_add("counts", &add("a", 5)).await.unwrap(), Some(2.into()));
        assert_eq!(client.map_add("counts", &add("b", i64::MAX)).await.unwrap(), Some(i64::MAX.into()));
        assert_eq!(client.map_add("counts", &add("b", 1)).await.unwrap(), Some(i64::MAX.into()), "it stops there");
        assert_eq!(client.map_top("counts", 1).await.unwrap(), [Entry { key: "b".into(), value: i64::MAX.into() }]);
        assert_eq!(client.map_delete("counts", &"b".into()).await.unwrap(), Some(i64::MAX.into()));
        assert_eq!(client.map_delete("counts", &"b".into()).await.unwrap(), None);

        // Keys and values that are no text, and an empty key, which is one.
        let (key, value) = (bytes(&[0, 255]), bytes(&[254; 100]));
        for key in [key.clone(), "".into()] {
            let entry = Entry { key: key.clone(), value: MapValue::Bytes(value.clone()) };
            assert_eq!(client.map_put("texts", &put(key.clone(), entry.value.clone())).await.unwrap(), None);
            assert_eq!(client.map_get("texts", &key).await.unwrap(), Some(entry));
        }
        let mut entries = client.map_scan("texts", None, 10).await.unwrap().entries;
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(entries.iter().map(|entry| &entry.key).collect::<Vec<_>>(), [&"".into(), &key]);
    });
    // As curl does it.
    let answer = daemon.send("POST", "/v1/maps/texts/put", r#"{"key": {"base64": "AP8="}, "value": "fox"}"#);
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with(r#"{"previous":{"base64":"/v7+"#), "{}", answer.body);
    assert_eq!(
        daemon.get("/v1/maps/texts/get?key_base64=AP8%3D").unwrap().body,
        r#"{"key":{"base64":"AP8="},"value":"fox"}"#
    );
    assert_eq!(daemon.send("POST", "/v1/maps/counts/add", r#"{"key": "curl"}"#).body, r#"{"value":1}"#);
}

#[test]
fn words_go_in_by_number_and_no_further_than_their_room() {
    let daemon = Place::new(BOTH).start(&[]);
    let client = daemon.client();
    block_on(async {
        let put = |key: &str, value: u64| Put { key: key.into(), value: MapValue::word(value) };
        for (key, value) in [("0", 0), ("17", i64::MAX as u64), ("99999999", u64::MAX)] {
            assert_eq!(client.map_put("ids", &put(key, value)).await.unwrap(), None);
            let entry = Entry { key: key.into(), value: MapValue::word(value) };
            assert_eq!(client.map_get("ids", &key.into()).await.unwrap(), Some(entry));
        }
        assert_eq!(client.map_put("ids", &put("17", 4)).await.unwrap(), Some(i64::MAX.into()));
        assert_eq!(client.map_delete("ids", &"17".into()).await.unwrap(), Some(4.into()));
        let mut entries = client.map_scan("ids", None, 10).await.unwrap().entries;
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(
            entries.into_iter().map(|entry| entry.value).collect::<Vec<_>>(),
            [0.into(), MapValue::word(u64::MAX)]
        );
        // Sixteen bytes each.
        for key in 2..64 {
            client.map_put("ids", &put(&(1000 + key).to_string(), 1)).await.unwrap();
        }
        let full = refused(client.map_put("ids", &put("7", 1)).await);
        assert_eq!((full.status, full.kind.as_str()), (409, "urn:rheostat:map-full"));
        assert!(full.detail.contains("full at 1024 of 1024 bytes"), "{full:?}");
    });
    let answer = daemon.send("POST", "/v1/maps/ids/put", r#"{"key": "0", "value": "18446744073709551615"}"#);
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"previous":0}"#));
    assert_eq!(daemon.get("/v1/maps/ids/get?key=0").unwrap().body, r#"{"key":"0","value":18446744073709551615}"#);
    for (path, body, says) in [
        ("put", r#"{"key": "fox", "value": 1}"#, "map.ids holds words: send a text that spells a whole number"),
        ("put", r#"{"key": "007", "value": 1}"#, "as the key"),
        ("put", r#"{"key": "0", "value": -1}"#, "from 0 to 18446744073709551615 as the value"),
        ("delete", r#"{"key": "-1"}"#, "as the key"),
        ("add", r#"{"key": "0"}"#, "map.ids holds words, which cannot be added to"),
    ] {
        let answer = daemon.send("POST", &format!("/v1/maps/ids/{path}"), body);
        assert_eq!(answer.status, 422, "{body}: {}", answer.body);
        assert!(answer.problem().detail.contains(says), "{body}: {}", answer.body);
    }
}

#[test]
fn a_batch_tells_of_each_operation_or_does_nothing() {
    let daemon = Place::new(BOTH).start(&[]);
    let client = daemon.client();
    let add = |key: &str| MapOp::Add { key: key.into(), by: 1 };
    let get = |key: &str| MapOp::Get { key: key.into() };
    let operations =
        vec![add("a"), add("b"), get("a"), get("x"), add("c"), add("d"), MapOp::Delete { key: "a".into() }, add("d")];
    let outcomes = block_on(client.map_batch("counts", operations)).unwrap();
    let value = |counter: i64| MapOutcome { value: Some(counter.into()), ..MapOutcome::default() };
    let full = outcomes[5].error.clone().unwrap();
    assert_eq!((full.status, full.kind.as_str()), (409, "urn:rheostat:map-full"));
    assert_eq!(full.detail, "map.counts is full at 3 entries: remove some or raise entries_max");
    let previous = MapOutcome { previous: Some(1.into()), ..MapOutcome::default() };
    assert_eq!(outcomes[..5], [value(1), value(1), value(1), MapOutcome::default(), value(1)]);
    assert_eq!(outcomes[6..], [previous, value(1)]);

    // What no batch could do: the one operation that is wrong is named, and those before it were not done either.
    let before = entries(&daemon, "counts");
    for (wrong, status, says) in [
        (r#"{"op": "get", "key": "too long k"}"#, 413, "operation 1: map.counts takes keys of at most 8 bytes, not 10"),
        (r#"{"op": "put", "key": "k", "value": "fox"}"#, 422, "operation 1: map.counts holds counters"),
        (r#"{"op": "put", "key": "k", "value": -9223372036854775808}"#, 422, "operation 1: map.counts holds counters"),
        (r#"{"op": "put", "key": "k", "value": 1.5}"#, 422, "must be a whole number"),
        (r#"{"op": "turn", "key": "k"}"#, 422, "unknown word `turn`; known: get, put, add, delete"),
        (r#"{"op": "add", "key": "k", "by": 1, "to": 2}"#, 422, "unknown key `to`"),
        (r#"{"key": "k"}"#, 422, "`op` is missing"),
    ] {
        let body = format!(r#"{{"operations": [{{"op": "add", "key": "b"}}, {wrong}]}}"#);
        let answer = daemon.send("POST", "/v1/maps/counts/batch", &body);
        assert_eq!(answer.status, status, "{wrong}: {}", answer.body);
        assert!(answer.problem().detail.contains(says), "{wrong}: {}", answer.body);
    }
    let many = refused(block_on(client.map_batch("counts", vec![add("b"); 11])));
    assert_eq!((many.status, many.kind.as_str()), (413, "urn:rheostat:too-many"));
    assert!(many.detail.contains("11 operations are more than the 10"), "{many:?}");
    assert_eq!(entries(&daemon, "counts"), before);
    assert_eq!(block_on(client.map_batch("counts", vec![])).unwrap(), []);
}

#[test]
fn refused_operations_change_nothing_and_say_why() {
    let daemon = Place::new(BOTH).start(&[]);
    let long = format!(r#"{{"key": "k", "value": "{}"}}"#, "x".repeat(101));
    let huge = format!(r#"{{"key": "k", "value": "{}"}}"#, "x".repeat(9 << 20));
    for (path, body, status, says) in [
        ("maps/texts/put", long.as_str(), 413, "map.texts takes values of at most 100 bytes, not 101"),
        ("maps/texts/put", &huge, 413, "longer than the 8388608 bytes"),
        ("maps/texts/put", r#"{"key": "k", "value": 1}"#, 422, "map.texts holds byte strings"),
        ("maps/texts/put", r#"{"key": "k", "value": {"base64": "?"}}"#, 422, "no base64"),
        ("maps/texts/put", r#"{"key": "k"}"#, 422, "`value` is missing"),
        ("maps/texts/add", r#"{"key": "k"}"#, 422, "map.texts holds byte strings, which cannot be added to"),
        ("maps/counts/add", r#"{"key": "too long k"}"#, 413, "keys of at most 8 bytes, not 10"),
        ("maps/counts/add", r#"{"key": "k", "by": 9223372036854775808}"#, 422, "does not fit"),
        ("maps/counts/delete", r#"{"key": 1}"#, 422, "must be a text"),
        ("maps/nowhere/put", r#"{"key": "k", "value": 1}"#, 404, "there is no resource `map.nowhere`"),
        ("maps/..%2fx/delete", r#"{"key": "k"}"#, 400, "is not a name"),
        ("queues/nowhere/pop", "{}", 404, "there is no resource `queue.nowhere`"),
        ("queues/jobs/pop", r#"{"max": 0}"#, 422, "max takes a whole number from 1 to 10"),
        ("queues/jobs/pop", r#"{"max": 11}"#, 422, "max takes a whole number from 1 to 10"),
        ("queues/jobs/pop", r#"{"wait_ms": 20001}"#, 422, "wait_ms takes a whole number from 0 to 20000"),
        ("queues/jobs/pop", r#"{"wait": 1}"#, 422, "unknown key `wait`"),
        ("queues/jobs/push", r#"{"items": ["a", 1]}"#, 422, "must be a text"),
        ("queues/jobs/push", r#"{"items": ["a"], "wait_ms": 1e9}"#, 422, "does not fit"),
        ("queues/jobs/push", r#"{"items": [1,1,1,1,1,1,1,1,1,1,1]}"#, 422, "does not fit"),
        ("queues/jobs/push", r#"{"items": ["","","","","","","","","","",""]}"#, 413, "11 items are more than the 10"),
    ] {
        let answer = daemon.send("POST", &format!("/v1/{path}"), body);
        let shown = &body[..body.len().min(80)];
        assert_eq!(answer.status, status, "{path} {shown}: {}", answer.body);
        assert!(answer.problem().detail.contains(says), "{path} {shown}: {}", answer.body);
    }
    let long = format!(r#"{{"items": ["a", "{}"]}}"#, "x".repeat(101));
    let answer = daemon.send("POST", "/v1/queues/jobs/push", &long).problem();
    assert_eq!(
        (answer.status, answer.detail.as_str()),
        (413, "item 1 has 101 bytes, more than limits.value_bytes = 100")
    );
    for (path, status) in [
        ("texts/get", 400),
        ("texts/get?key=a&key_base64=YQ%3D%3D", 400),
        ("texts/get?key_base64=a", 400),
        ("texts/top", 422),
    ] {
        assert_eq!(daemon.get(&format!("/v1/maps/{path}")).unwrap().problem().status, status, "{path}");
    }
    assert_eq!((entries(&daemon, "counts"), entries(&daemon, "texts"), depth(&daemon)), (vec![], vec![], 0.0));
}

#[test]
fn a_queue_takes_what_it_has_room_for_and_says_how_much() {
    let daemon = Place::new(BOTH).start(&[]);
    let client = daemon.client();
    let six = ["1", "2", "3", "4", "5", "6"];
    let pushed = Push { items: six.map(Into::into).into(), wait_ms: 0 };
    let pushed = block_on(client.queue_push("jobs", &pushed)).unwrap();
    let problem = pushed.error.unwrap();
    assert_eq!((pushed.pushed, problem.status, problem.kind.as_str()), (4, 503, "urn:rheostat:queue-full"));
    assert!(problem.detail.starts_with("queue.jobs is full at 4 items, 2 were left over: pop some"), "{problem:?}");
    let answer = daemon.send("POST", "/v1/queues/jobs/push", r#"{"items": ["7"]}"#);
    assert_eq!((answer.status, answer.problem().kind.as_str()), (503, "urn:rheostat:queue-full"));
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    assert_eq!(pop(&daemon, 3, 0), ["1", "2", "3"].map(ByteString::from));
    assert_eq!(push(&daemon, &["8"]).unwrap(), 1);
    assert_eq!(pop(&daemon, 10, 0), ["4", "8"].map(ByteString::from));
    assert_eq!(pop(&daemon, 10, 0), []);
    let resource = block_on(client.resource("queue.jobs")).unwrap();
    assert_eq!(resource.value_where("rheostat_queue_rejected_items_total", "reason", "full"), Some(3.0));
    assert_eq!(resource.value("rheostat_queue_empty_pops_total"), Some(1.0));

    // Who waits gets what comes.
    block_on(async {
        let waits = Pop { max: 2, wait_ms: 9000 };
        let (popped, pushed) = tokio::join!(client.queue_pop("jobs", &waits), async {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            client.queue_push("jobs", &Push { items: vec![bytes(&[255])], wait_ms: 0 }).await
        });
        assert_eq!((popped.unwrap(), pushed.unwrap().pushed), (vec![bytes(&[255])], 1));
        let all = Push { items: six.map(Into::into).into(), wait_ms: 9000 };
        let (pushed, popped) = tokio::join!(client.queue_push("jobs", &all), async {
            let mut popped = Vec::new();
            while popped.len() < 6 {
                popped.extend(client.queue_pop("jobs", &waits).await.unwrap());
            }
            popped
        });
        let pushed = pushed.unwrap();
        assert_eq!((pushed.pushed, pushed.error, popped), (6, None, six.map(ByteString::from).to_vec()));
    });
}

#[test]
fn a_pop_whose_client_leaves_takes_nothing() {
    let daemon = Place::new(BOTH).start(&[]);
    let body = r#"{"max": 10, "wait_ms": 19000}"#;
    let request = format!(
        "POST /v1/queues/jobs/pop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // More of them than there are threads for calls that block: they may cost nobody else the daemon.
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = daemon.connect().unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    until("all to be connected", || connections(&daemon) >= 50.0);
    assert_eq!(block_on(daemon.client().resource("queue.jobs")).unwrap().kind, "queue");
    drop(waiting);
    until("all to be gone", || connections(&daemon) == 0.0);
    assert_eq!(push(&daemon, &["a", "b"]).unwrap(), 2);
    assert_eq!(pop(&daemon, 10, 0), ["a", "b"].map(ByteString::from));
}

#[test]
fn stopping_ends_who_waits_and_loses_no_answer() {
    let place = Place::new(BOTH);
    let mut daemon = place.start(&[]);
    let client = daemon.client();
    let waiting = std::thread::spawn(move || block_on(client.queue_pop("jobs", &Pop { max: 1, wait_ms: 19_000 })));
    until("it to wait", || connections(&daemon) == 1.0);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.said());
    assert_eq!(waiting.join().unwrap().unwrap(), []);
    assert!(!daemon.said().contains("were cut"), "{}", daemon.said());
}

/// Values of 60 000 bytes in a pool of a MiB.
const IN_POOL: &str = r#"
[pool.values]
level = "mutex"
bytes_max = 1048576
[map.texts]
values = "bytes"
pool = "values"
"#;

#[test]
fn values_live_in_their_pool_and_are_refused_when_it_is_full() {
    let daemon = Place::new(IN_POOL).start(&[]);
    let client = daemon.client();
    let resource = |address: &str| -> rheostat_api::Resource {
        serde_json::from_str(&daemon.get(&format!("/v1/resources/{address}")).unwrap().body).unwrap()
    };
    assert_eq!(resource("map.texts").pool.as_deref(), Some("pool.values"));
    let value = |n: u8| MapValue::Bytes(bytes(&[n; 60_000]));
    let put = |n: u8| block_on(client.map_put("texts", &Put { key: bytes(&[n]), value: value(n) }));
    let kept = (0u8..).find(|&n| put(n).is_err()).unwrap();
    assert!((10..18).contains(&kept), "{kept} values of 60 000 bytes in a MiB");
    let refusal = refused(put(kept));
    assert_eq!((refusal.kind.as_str(), refusal.status), ("urn:rheostat:no-block", 409));
    let why = "map.texts keeps its values in a pool, and pool.values has no block of ";
    assert!(refusal.detail.starts_with(why) && refusal.detail.ends_with("raise bytes_max"), "{}", refusal.detail);

    // A batch is not refused whole for it: what has a block is done.
    let operations = vec![
        MapOp::Put { key: "new".into(), value: value(0) },
        MapOp::Put { key: "short".into(), value: "fox".into() },
    ];
    let outcomes = block_on(client.map_batch("texts", operations)).unwrap();
    assert_eq!(outcomes[0].error.as_ref().map(|problem| problem.kind.as_str()), Some("urn:rheostat:no-block"));
    assert_eq!(outcomes[1], MapOutcome::default());

    // Nothing was lost, neither by refusals nor by turning both; what is removed makes room.
    let turn = |address: &str, knobs: &str| {
        let answer = daemon.send("PATCH", &format!("/v1/resources/{address}/knobs"), knobs);
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    turn("pool.values", r#"{"level": "thread_cached"}"#);
    turn("map.texts", r#"{"backend": "flat"}"#);
    for n in 0..kept {
        let entry = Entry { key: bytes(&[n]), value: value(n) };
        assert_eq!(block_on(client.map_get("texts", &bytes(&[n]))).unwrap(), Some(entry));
    }
    assert_eq!(block_on(client.map_scan("texts", None, 100)).unwrap().entries.len(), usize::from(kept) + 1);
    let live = resource("pool.values").value("rheostat_pool_live_bytes").unwrap();
    assert!(live >= 60_000.0 * f64::from(kept), "{live} bytes are in use");
    assert_eq!(block_on(client.map_delete("texts", &bytes(&[0]))).unwrap(), Some(value(0)));
    assert_eq!(put(kept).unwrap(), None);
}

#[test]
fn a_map_of_bytes_is_nothing_to_count_into() {
    let config = "[map.texts]\nvalues = \"bytes\"\n[pipeline.p]\nsource = { stdin = true }\n\
                  [[pipeline.p.stage]]\nname = \"count\"\nop = \"count\"\nmap = \"texts\"\n";
    let (code, said) = Place::new(config).fail(&[]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("rheostat.toml:8:7") && said.contains("which map.texts is not"), "{said}");
}

/// JSON of any kind, with the names that mean something among others.
fn json() -> impl Strategy<Value = String> {
    let word = || {
        prop_oneof![
            "(op|key|value|by|items|max|wait_ms|operations|base64|get|put|add|delete)",
            "[a-z]{0,12}",
            Just("AP8=".to_owned()),
        ]
    };
    let leaf = prop_oneof![
        word().prop_map(|word| format!("{word:?}")),
        any::<i64>().prop_map(|number| number.to_string()),
        (-3..12i64).prop_map(|number| number.to_string()),
        prop_oneof![Just("null"), Just("true"), Just("1.5"), Just("1e999"), Just("-0"), Just("18446744073709551616")]
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        let list = proptest::collection::vec(inner.clone(), 0..6).prop_map(|parts| format!("[{}]", parts.join(",")));
        let object = proptest::collection::vec((word(), inner), 0..4).prop_map(|fields| {
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
            format!("{{{}}}", fields.join(","))
        });
        prop_oneof![list, object]
    })
}

/// Bodies that are nearly right, or right.
fn body() -> impl Strategy<Value = String> {
    let right = prop_oneof![
        Just(r#"{"key":"k","value":"7"}"#),
        Just(r#"{"key":"k","by":-2}"#),
        Just(r#"{"key":"k"}"#),
        Just(r#"{"operations":[{"op":"add","key":"a"},{"op":"put","key":"b","value":"1"},{"op":"delete","key":"c"}]}"#),
        Just(r#"{"items":["a",{"base64":"AP8="}]}"#),
        Just(r#"{"max":2,"wait_ms":1}"#),
    ];
    let swapped = (right.clone(), json()).prop_map(|(right, json)| {
        let at = right.rfind(':').unwrap_or(0);
        format!("{}:{json}}}", &right[..at])
    });
    let cut =
        (right.clone(), any::<prop::sample::Index>()).prop_map(|(right, at)| right[..at.index(right.len())].to_owned());
    prop_oneof![3 => right.prop_map(str::to_owned), 4 => swapped, 2 => cut, 4 => json(), 1 => "\\PC{0,40}"]
}

#[test]
fn whatever_comes_is_answered_in_kind_and_refusals_change_nothing() {
    let daemon = Place::new(BOTH).start(&[]);
    let routes = ["put", "add", "delete", "batch"]
        .into_iter()
        .flat_map(|verb| ["counts", "texts"].map(|map| format!("maps/{map}/{verb}")));
    let routes: Vec<_> = routes.chain(["push", "pop"].map(|verb| format!("queues/jobs/{verb}"))).collect();
    let state = || (entries(&daemon, "counts"), entries(&daemon, "texts"), depth(&daemon));
    let before = RefCell::new(state());
    let (accepted, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    let done = runner.run(&(prop::sample::select(routes), body()), |(route, body)| {
        let answer = daemon.send("POST", &format!("/v1/{route}"), &body);
        let now = state();
        if answer.status == 200 {
            accepted.set(accepted.get() + 1);
            *before.borrow_mut() = now;
            return Ok(());
        }
        refused.set(refused.get() + 1);
        prop_assert!([400, 409, 413, 422, 503].contains(&answer.status), "{} {}", answer.status, answer.body);
        prop_assert!(!answer.problem().detail.is_empty());
        prop_assert_eq!(&now, &*before.borrow(), "a refusal changed something");
        Ok(())
    });
    done.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(accepted.get() > 5 && refused.get() > 100, "{accepted:?} accepted, {refused:?} refused");
    assert!(daemon.is_running() && !daemon.said().contains("panic"), "{}", daemon.said());
}

fn entries(daemon: &Rheostatd, map: &str) -> Vec<Entry> {
    let Scan { mut entries, next } =
        serde_json::from_str(&daemon.get(&format!("/v1/maps/{map}/scan")).unwrap().body).unwrap();
    assert_eq!(next, None);
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}

fn depth(daemon: &Rheostatd) -> f64 {
    let resource: rheostat_api::Resource =
        serde_json::from_str(&daemon.get("/v1/resources/queue.jobs").unwrap().body).unwrap();
    resource.value("rheostat_queue_depth_items").unwrap()
}

fn connections(daemon: &Rheostatd) -> f64 {
    let address = daemon.address("metrics on http://");
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let text = ask(tcp(&address), &request).unwrap().body;
    let line = text.lines().find(|line| line.starts_with("rheostat_control_connections ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
