//! Who is let in, and how long they may take.

use crate::rheostatd::{PATIENCE, Place, ask, tcp};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

#[test]
fn tcp_needs_the_token_and_the_right_host() {
    let place = Place::new("");
    let daemon = place.start(&["--listen", "127.0.0.1:0"]);
    let address = daemon.address("control on http://");
    let port = address.rsplit(':').next().unwrap();
    let token = std::fs::read_to_string(place.path("state/token")).unwrap();
    let token = token.trim();
    let get = |host: &str, further: &str| {
        let request = format!("GET /v1/resources HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{further}\r\n");
        ask(tcp(&address), &request).unwrap()
    };
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    assert_eq!(get(&address, &bearer(token)).status, 200);
    assert_eq!(get(&format!("localhost:{port}"), &bearer(token)).status, 200);
    let wrong = token.replace(|c: char| c != '0', "0");
    for refused in ["", &bearer(""), &bearer(&wrong), &bearer(&token[1..]), "Authorization: Basic eDp5\r\n"] {
        let answer = get(&address, refused);
        assert_eq!(answer.status, 401, "{refused}");
        assert!(answer.problem().detail.contains("token"));
        assert!(answer.head.contains("www-authenticate: bearer"));
    }
    for host in ["evil.example", &format!("evil.example:{port}"), "localhost:1"] {
        let answer = get(host, &bearer(token));
        assert_eq!((answer.status, answer.problem().kind.as_str()), (403, "urn:rheostat:wrong-host"), "{host}");
    }
    assert_eq!(get(&address, &format!("{}Origin: http://evil.example\r\n", bearer(token))).status, 403);
    assert_eq!(get(&address, &format!("{}Sec-Fetch-Site: cross-site\r\n", bearer(token))).status, 403);
    // Neither the log nor an answer repeats the token.
    assert!(!daemon.said().contains(token), "the token was logged");
}

#[test]
fn answers_tell_browsers_to_make_nothing_of_them() {
    let daemon = Place::new("").start(&[]);
    for path in ["/v1/resources", "/v1/nowhere"] {
        let head = daemon.get(path).unwrap().head;
        for line in [
            "x-content-type-options: nosniff",
            "content-security-policy: default-src 'none'",
            "cache-control: no-store",
        ] {
            assert!(head.contains(line), "{path}: no {line}");
        }
        assert!(!head.contains("access-control"), "{path}: there is no CORS here");
    }
}

#[test]
fn a_head_that_never_ends_is_cut_off_and_others_are_served() {
    let place = Place::new("[limits]\nheader_timeout_ms = 400\n");
    let daemon = place.start(&[]);
    let mut slow = daemon.connect().unwrap();
    slow.write_all(b"GET /v1/resources HTTP/1.1\r\nHost: loc").unwrap();
    let mut silent = daemon.connect().unwrap();
    assert_eq!(daemon.get("/v1/healthz").unwrap().status, 200);
    for stream in [&mut slow, &mut silent] {
        let began = Instant::now();
        let mut rest = Vec::new();
        // Closed, with an answer or without one; what counts is that it ends.
        let _ = stream.read_to_end(&mut rest);
        assert!(began.elapsed() < Duration::from_secs(5), "held open for {:?}", began.elapsed());
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
    }
}

#[test]
fn heads_are_bounded() {
    let daemon = Place::new("").start(&[]);
    let many: String = (0..100).map(|n| format!("X-{n}: 1\r\n")).collect();
    let long = format!("X: {}\r\n", "a".repeat(20_000));
    for fields in [many, long] {
        let request = format!("GET /v1/resources HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
        assert_eq!(ask(daemon.connect().unwrap(), &request).unwrap().status, 431);
    }
    assert_eq!(
        ask(daemon.connect().unwrap(), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").map(|answer| answer.status).unwrap_or(400),
        400
    );
}

#[test]
fn connections_are_bounded_and_the_socket_keeps_its_reserve() {
    let place = Place::new("[limits]\nconnections = 6\nconnections_reserved = 2\n");
    let daemon = place.start(&["--listen", "127.0.0.1:0"]);
    let address = daemon.address("control on http://");
    let held: Vec<_> = (0..8).map(|_| tcp(&address)).collect();
    // Four are let in; of the others each is turned away as soon as it is accepted.
    let refused = || {
        let text = daemon.get("/v1/healthz").map(|answer| answer.status);
        assert_eq!(text.unwrap(), 200, "the socket's reserve is not for TCP");
        held.iter()
            .filter(|stream| {
                stream.set_nonblocking(true).unwrap();
                let mut byte = [0; 12];
                matches!(stream.peek(&mut byte), Ok(n) if byte[..n].starts_with(b"HTTP/1.1 503") || n == 0)
            })
            .count()
    };
    let began = Instant::now();
    while refused() < 4 {
        assert!(began.elapsed() < PATIENCE, "only {} were turned away", refused());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(refused(), 4);
    drop(held);
    let began = Instant::now();
    while ask(tcp(&address), "GET /v1/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .map_or(503, |a| a.status)
        != 403
    {
        assert!(began.elapsed() < PATIENCE, "room is not given back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_body_that_stalls_is_given_up() {
    let place = Place::new("[limits]\nrequest_timeout_ms = 1000\n");
    let daemon = place.start(&[]);
    let mut stream = daemon.connect().unwrap();
    stream
        .write_all(b"PATCH /v1/resources/map.words/knobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\nConnection: close\r\n\r\n{")
        .unwrap();
    let began = Instant::now();
    let answer = ask(stream, "").unwrap();
    assert_eq!(answer.status, 408);
    assert!(began.elapsed() < Duration::from_secs(5));
}
