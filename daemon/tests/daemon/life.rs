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
    until("the fault to be told", || daemon.said().contains("unknown key `nonsense`"));
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

#[test]
fn what_hangs_is_named_and_a_second_signal_ends_it_at_once() {
    // A source that never ends and that nobody can interrupt: standard input held open.
    let text =
        "[pipeline.stuck]\nsource = { stdin = true }\n[[pipeline.stuck.stage]]\nname = \"cut\"\nop = \"lines\"\n";
    for second in [false, true] {
        let limit = if second { 60_000 } else { 300 };
        let place = Place::new(&format!("{text}[stop]\nlimit_ms = {limit}\n"));
        let mut daemon = place.start(&[]);
        daemon.signal(Signal::TERM);
        if second {
            until("it to be stopping", || daemon.said().contains("stopping"));
            daemon.signal(Signal::INT);
            assert_eq!(daemon.wait().code(), Some(130));
        } else {
            assert_eq!(daemon.wait().code(), Some(1));
            until("what hung to be named", || daemon.said().contains("something left: pipeline.stuck"));
        }
    }
}

#[test]
fn out_of_descriptors_it_backs_off_and_recovers() {
    let place = Place::new("");
    let daemon = place.start(&[]);
    let limit = |most: &str| {
        let pid = daemon.pid().to_string();
        let done = std::process::Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={most}:")]).status();
        done.expect("prlimit of util-linux").success()
    };
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    assert!(limit(&(open + 3).to_string()));
    let held: Vec<_> = (0..20).map(|_| daemon.connect().unwrap()).collect();
    until("it to say so", || daemon.said().contains("could not be accepted"));
    let cpu = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
        let fields: Vec<u64> =
            stat.split(") ").nth(1).unwrap().split(' ').skip(11).take(2).map(|n| n.parse().unwrap()).collect();
        fields[0] + fields[1]
    };
    let before = cpu();
    std::thread::sleep(std::time::Duration::from_secs(1));
    // In hundredths of a second: a loop that spins would use all of it.
    assert!(cpu() - before < 30, "{} ticks of a second", cpu() - before);
    drop(held);
    until("it to serve again", || daemon.get("/v1/readyz").is_ok_and(|answer| answer.status == 200));
    daemon.said();
}
