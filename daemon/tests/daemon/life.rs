//! Starting, stopping, and what stands in the way.

use crate::rheostatd::{Place, SMALL, until};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;

#[test]
fn asked_to_stop_it_drains_and_exits_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new(SMALL);
        let mut daemon = place.start(&[]);
        daemon.signal(signal);
        assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.said());
        assert!(!place.socket().exists(), "the socket is left behind");
    }
}

#[test]
fn its_socket_is_its_owners_alone() {
    let place = Place::new("");
    let _daemon = place.start(&[]);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.socket()), 0o600);
    assert_eq!(mode(place.socket().parent().unwrap()), 0o700);
    assert_eq!(mode(&place.path("state")), 0o700);
}

#[test]
fn a_second_daemon_says_who_is_there() {
    let place = Place::new("");
    let first = place.start(&[]);
    let (code, said) = place.fail(&["--state-dir", &place.path("other").display().to_string()]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(&format!("pid {}", first.pid())), "{said}");
    assert_eq!(first.get("/v1/readyz").unwrap().status, 200, "the first daemon is undisturbed");
}

#[test]
fn two_daemons_do_not_write_one_journal() {
    let place = Place::new("");
    let _first = place.start(&[]);
    let other = place.path("other.sock");
    let (code, said) = place.fail(&["--socket", &other.display().to_string()]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("journal"), "{said}");
}

#[test]
fn a_socket_left_by_the_dead_is_taken_over() {
    let place = Place::new("");
    let mut daemon = place.start(&[]);
    daemon.signal(Signal::KILL);
    daemon.wait();
    assert!(place.socket().exists(), "kill -9 leaves the socket");
    let again = place.start(&[]);
    assert_eq!(again.get("/v1/readyz").unwrap().status, 200);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, advice) in [("--metrics", "choose another with --metrics"), ("--listen", "choose another with --listen")]
    {
        let place = Place::new("");
        let (code, said) = place.fail(&[flag, &address]);
        assert_eq!(code, 3, "{said}");
        assert!(said.contains(&address) && said.contains(advice), "{said}");
        assert!(!place.socket().exists(), "the socket is left behind");
    }
}

#[test]
fn a_wrong_configuration_on_reload_changes_nothing_and_is_told() {
    let place = Place::new("");
    let mut daemon = place.start(&[]);
    std::fs::write(place.path("rheostat.toml"), "[nonsense]\n").unwrap();
    daemon.signal(Signal::HUP);
    until("the fault to be told", || daemon.said().contains("unknown field `nonsense`"));
    std::fs::write(place.path("rheostat.toml"), "[limits]\nheaders = 32\n").unwrap();
    daemon.signal(Signal::HUP);
    until("the difference to be told", || daemon.said().contains("next start"));
    assert_eq!(daemon.get("/v1/readyz").unwrap().status, 200);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn nobody_listening_to_its_log_is_no_reason_to_die() {
    use std::process::Stdio;
    let place = Place::new("");
    // Its standard error is a pipe whose reader is gone.
    let mut child = place.command().stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    drop(child.stderr.take());
    until("the socket", || std::os::unix::net::UnixStream::connect(place.socket()).is_ok());
    rustix::process::kill_process(rustix::process::Pid::from_raw(child.id() as i32).unwrap(), Signal::TERM).unwrap();
    let mut code = None;
    until("the end", || {
        code = child.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(0));
}
