//! The stream: newest wins, and no client is another's trouble.

use crate::rheostatd::{PATIENCE, Place, Rheostatd, SMALL, ask, block_on, until};
use futures_util::{StreamExt, stream};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Write};
use std::time::Instant;

fn resident_bytes(daemon: &Rheostatd) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn three_clients_one_of_which_never_reads() {
    let daemon = Place::new(SMALL).start(&[]);
    let mut stalled = daemon.connect().unwrap();
    stalled.write_all(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let client = daemon.client();
    let before = resident_bytes(&daemon);
    block_on(async {
        let (first, second) = (client.stream().await.unwrap(), client.stream().await.unwrap());
        // About four seconds.
        let both = stream::select(first.take(16).map(|s| (1, s)), second.take(16).map(|s| (2, s)));
        let seen: Vec<_> = both.map(|(which, snapshot)| (which, snapshot.unwrap())).collect().await;
        for which in [1, 2] {
            let own: Vec<_> = seen.iter().filter(|(w, _)| *w == which).map(|(_, snapshot)| snapshot).collect();
            assert_eq!(own.len(), 16);
            assert!(own.windows(2).all(|pair| pair[1].seq > pair[0].seq), "snapshots come in order, each once");
            assert!(own.windows(2).all(|pair| pair[1].uptime_s > pair[0].uptime_s));
            assert_eq!(own[0].host.clients, 3);
            assert!(own[0].resources.iter().any(|resource| resource.address == "pipeline.words.count"));
        }
    });
    drop(stalled);
    assert!(resident_bytes(&daemon) < before + (32 << 20), "frames pile up for the client that does not read");
}

#[test]
fn events_for_browsers_and_an_end_that_is_said() {
    let mut daemon = Place::new("").start(&[]);
    let mut stream = daemon.connect().unwrap();
    // HTTP/1.0, so that what comes is not cut into chunks.
    stream.write_all(b"GET /v1/stream HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut next = |start: &str| lines.find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no `{start}`"));
    next("content-type: text/event-stream");
    next("event: snapshot");
    let id: u64 = next("id: ")[4..].parse().unwrap();
    let data: rheostat_api::Snapshot = serde_json::from_str(&next("data: ")[6..]).unwrap();
    assert_eq!(data.seq, id);
    daemon.signal(Signal::TERM);
    next("event: end");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn clients_are_bounded_and_room_is_given_back() {
    let place = Place::new("[limits]\nstreams = 1\n");
    let daemon = place.start(&[]);
    let attach = || {
        let mut stream = daemon.connect().unwrap();
        stream.write_all(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        (line, reader)
    };
    let (line, first) = attach();
    assert!(line.contains("200"), "{line}");
    let refused =
        ask(daemon.connect().unwrap(), "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
    assert_eq!(refused.status, 503);
    assert!(refused.head.contains("retry-after"));
    assert!(refused.problem().detail.contains("1 clients are attached"));
    drop(first);
    until("room", || attach().0.contains("200"));
}

#[test]
fn the_daemon_goes_while_clients_are_attached() {
    let mut daemon = Place::new(SMALL).start(&[]);
    let client = daemon.client();
    block_on(async {
        let mut stream = std::pin::pin!(client.stream().await.unwrap());
        stream.next().await.unwrap().unwrap();
        daemon.signal(Signal::KILL);
        let began = Instant::now();
        // The stream fails or ends; it does not hang.
        while let Some(Ok(_)) = stream.next().await {}
        assert!(began.elapsed() < PATIENCE / 4);
    });
    daemon.wait();
    let error = block_on(daemon.client().resources()).unwrap_err().to_string();
    assert!(error.contains("no daemon answers at unix:"), "{error}");
}
