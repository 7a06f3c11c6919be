//! `rheostat heap` beside a daemon of this process, whose allocator is tracked.

#![cfg(feature = "embedded")]

use assert_cmd::cargo::cargo_bin;
use rheostat_daemon::{Config, Origin, Overrides, Tracked, start};
use rheostat_runtime::alloc::profile;
use rustix::process::{Pid, Signal, kill_process};
use std::alloc::System;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[global_allocator]
static GLOBAL: Tracked<System> = Tracked::new(System);

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(25), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn whoever_ends_it_early_leaves_no_sampling_behind() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let overrides = Overrides {
        socket: Some(socket.clone()),
        metrics: Some("off".into()),
        state_dir: Some(folder.path().join("state")),
        ..Overrides::default()
    };
    let daemon = start(Config::parse(Origin::Demo, "[map.kept]\n", folder.path(), &overrides).unwrap()).unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let written = folder.path().join("heap.pb.gz");
        let mut command = Command::new(cargo_bin("rheostat"));
        command.args(["heap", "--for", "10m", "--every", "1000", "-o"]).arg(&written).env("RHEOSTAT_SOCKET", &socket);
        let mut command = command.stdout(Stdio::null()).spawn().unwrap();
        until("sampling", || profile::interval() == 1000);
        kill_process(Pid::from_child(&command), signal).unwrap();
        assert!(command.wait().unwrap().success(), "{signal:?}: it writes what there is");
        assert_eq!(profile::interval(), 0, "{signal:?}");
        assert!(std::fs::metadata(&written).unwrap().len() > 0);
        std::fs::remove_file(written).unwrap();
    }
    daemon.stop();
}
