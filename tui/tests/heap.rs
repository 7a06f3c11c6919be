//! `rheostat heap` beside a daemon of this process, whose allocator is tracked.

#![cfg(feature = "embedded")]

use assert_cmd::cargo::cargo_bin;
use rheostat_daemon::{Config, Daemon, Origin, Overrides, Tracked, start};
use rheostat_runtime::alloc::profile;
use rheostat_runtime::sync::atomic::{AtomicBool, Ordering};
use rheostat_runtime::sync::{Arc, Mutex, MutexGuard, thread};
use rustix::process::{Pid, Signal, kill_process};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[global_allocator]
static GLOBAL: Tracked<System> = Tracked::new(System);

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(25), "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A daemon of this process and where it listens.
fn daemon(folder: &Path) -> (Daemon, PathBuf) {
    let socket = folder.join("control.sock");
    let overrides = Overrides {
        socket: Some(socket.clone()),
        metrics: Some("off".into()),
        state_dir: Some(folder.join("state")),
        ..Overrides::default()
    };
    (start(Config::parse(Origin::Demo, "[map.kept]\n", folder, &overrides).unwrap()).unwrap(), socket)
}

/// The process has one allocator, which one test at a time samples.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock()
}

#[test]
fn whoever_ends_it_early_leaves_no_sampling_behind() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (daemon, socket) = daemon(folder.path());
    let written = folder.path().join("heap.pb.gz");
    let ends = |mut command: Child, signal: Signal| {
        kill_process(Pid::from_child(&command), signal).unwrap();
        assert!(command.wait().unwrap().success(), "{signal:?}: it writes what there is");
        assert_eq!(profile::interval(), 0, "{signal:?}");
        assert!(std::fs::metadata(&written).unwrap().len() > 0);
        std::fs::remove_file(&written).unwrap();
    };
    // Whoever runs this test may have it ignore signals, and what it starts inherits that.
    let begins = |hang_up: &str| {
        let mut command = Command::new("env");
        command.args(["--default-signal=INT,TERM", hang_up]).arg(cargo_bin("rheostat"));
        command.args(["heap", "--for", "10m", "--every", "1000", "-o"]).arg(&written).env("RHEOSTAT_SOCKET", &socket);
        let command = command.stdout(Stdio::null()).spawn().unwrap();
        until("sampling", || profile::interval() == 1000);
        command
    };
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        ends(begins("--default-signal=HUP"), signal);
    }
    // As `nohup` starts it, it outlives its terminal.
    let command = begins("--ignore-signal=HUP");
    kill_process(Pid::from_child(&command), Signal::HUP).unwrap();
    ends(command, Signal::TERM);
    daemon.stop();
}

/// Stands between a client and a daemon, and breaks the connection when the daemon answers the first turn of a knob.
fn losing_an_answer(at: &Path, to: PathBuf) -> Arc<AtomicBool> {
    let listener = UnixListener::bind(at).unwrap();
    let any_lost = Arc::new(AtomicBool::new(false));
    let lost = any_lost.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, daemon) = (client.unwrap(), UnixStream::connect(&to).unwrap());
            let turns = Arc::new(AtomicBool::new(false));
            let (requests, answers) = (client.try_clone().unwrap(), daemon.try_clone().unwrap());
            let asked = turns.clone();
            thread::spawn(move || {
                pass_on(requests, daemon, |bytes| {
                    asked.fetch_or(bytes.starts_with(b"PATCH"), Ordering::Relaxed);
                    true
                })
            });
            let lost = lost.clone();
            thread::spawn(move || {
                pass_on(answers, client, |_| !turns.load(Ordering::Relaxed) || lost.swap(true, Ordering::Relaxed))
            });
        }
    });
    any_lost
}

/// Passes bytes on for as long as `goes_on` says so; then neither side hears of the other any more.
fn pass_on(mut from: UnixStream, mut to: UnixStream, goes_on: impl Fn(&[u8]) -> bool) {
    let mut bytes = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if !goes_on(&bytes[..length]) || to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    [from, to].iter().for_each(|side| _ = side.shutdown(Shutdown::Both));
}

#[test]
fn a_turn_whose_answer_is_lost_is_turned_back() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (daemon, socket) = daemon(folder.path());
    let between = folder.path().join("between.sock");
    let lost = losing_an_answer(&between, socket);
    let written = folder.path().join("heap.pb.gz");
    let mut command = Command::new(cargo_bin("rheostat"));
    command.args(["heap", "--for", "10m", "-o"]).arg(&written).env("RHEOSTAT_SOCKET", &between);
    let output = command.output().unwrap();
    assert!(!output.status.success() && !written.exists(), "{output:?}");
    assert!(lost.load(Ordering::Relaxed), "the daemon was not asked: {output:?}");
    assert_eq!(profile::interval(), 0, "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("sampling still"), "{output:?}");
    daemon.stop();
}
