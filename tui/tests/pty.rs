//! The dashboard in a real terminal: the real binary, a pseudo-terminal, and a screen that can be read back.
#![cfg(feature = "embedded")]

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, SlavePty, native_pty_system};
use rheostat_daemon::config::{Config, Overrides};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take to show up; the machine may be busy building.
const PATIENCE: Duration = Duration::from_secs(30);

const SIZE: PtySize = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };

/// The binary in a place where no daemon is, so that it hosts its own.
fn command(folder: &Path, arguments: &[&str]) -> CommandBuilder {
    let mut command = CommandBuilder::new(assert_cmd::cargo::cargo_bin("rheostat"));
    command.args(arguments);
    command.env("TERM", "xterm-256color");
    command.env("LC_ALL", "C.UTF-8");
    command.env("XDG_RUNTIME_DIR", folder);
    command.env("TMPDIR", folder);
    command.env_remove("RHEOSTAT_SOCKET");
    command
}

/// The binary in a terminal of its own.
struct Session {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    master: Box<dyn MasterPty + Send>,
    /// Kept open, so that the terminal outlives the dashboard and can be looked at.
    _slave: Box<dyn SlavePty + Send>,
    modes_before: String,
}

impl Session {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::of(command(folder, arguments))
    }

    fn of(command: CommandBuilder) -> Self {
        let pair = native_pty_system().openpty(SIZE).unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::default()));
        let modes_before = format!("{:?}", pair.master.get_termios().unwrap());
        let child = pair.slave.spawn_command(command).unwrap();
        let mut output = pair.master.try_clone_reader().unwrap();
        let seen = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                seen.lock().unwrap().process(&bytes[..n]);
            }
        });
        let keys = pair.master.take_writer().unwrap();
        Self { child, keys, screen, master: pair.master, _slave: pair.slave, modes_before }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn wait_for(&mut self, what: &str, seen: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        while !seen(&self.text()) {
            let gone = self.child.try_wait().unwrap();
            assert!(gone.is_none(), "ended with {gone:?} before {what}:\n{}", self.text());
            assert!(begun.elapsed() < PATIENCE, "{what} did not show up:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait_for_text(&mut self, text: &str) {
        self.wait_for(text, |screen| screen.contains(text));
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.process_id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    fn wait_for_end(&mut self) -> u32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for what was written before the end, which may still be on its way to the screen.
    fn wait_for_last_words(&self, words: &str) {
        let begun = Instant::now();
        while !self.text().contains(words) {
            assert!(begun.elapsed() < PATIENCE, "`{words}` is not among the last words:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The terminal is as the shell left it.
    fn assert_restored(&self) {
        let begun = Instant::now();
        // What was written last may still be on its way to the screen.
        while begun.elapsed() < Duration::from_secs(2) && self.screen.lock().unwrap().screen().alternate_screen() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let parser = self.screen.lock().unwrap();
        let screen = parser.screen();
        assert!(!screen.alternate_screen(), "the alternate screen was not left");
        assert!(!screen.hide_cursor(), "the cursor is hidden");
        assert!(!screen.bracketed_paste(), "bracketed paste is on");
        let modes = format!("{:?}", self.master.get_termios().unwrap());
        assert_eq!(modes, self.modes_before, "raw mode was not left");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_knob_is_turned_and_the_terminal_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::start(folder.path(), &[]);
    session.wait_for_text("pipeline.words.count");
    assert!(session.screen.lock().unwrap().screen().alternate_screen());

    session.press(":set pipeline.words.count.workers=3\r");
    session.wait_for_text("pipeline.words.count.workers: ");
    session.press("8");
    session.wait_for("the change", |screen| {
        screen.lines().any(|line| line.contains("pipeline.words.count.workers") && line.contains("→ 3"))
    });

    // And the long way: stage, look at the difference, apply.
    session.press("2/words.count\r");
    session.wait_for("the knobs of the stage", |screen| screen.contains("knobs") && screen.contains("workers 3"));
    session.press("W++");
    session.wait_for_text("3 → 5_");
    session.press("a");
    session.wait_for_text("3 -> 5");
    session.wait_for_text("workers 5");

    session.press("?");
    session.wait_for_text("looking around");
    session.press("\u{1b}");
    session.wait_for("the help to go", |screen| !screen.contains("looking around"));
    session.press("q");
    assert_eq!(session.wait_for_end(), 0);
    session.assert_restored();
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn signals_give_the_terminal_back() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let folder = tempfile::tempdir().unwrap();
        let mut session = Session::start(folder.path(), &[]);
        session.wait_for_text("1 Overview");
        session.wait_for_text("live");
        session.signal(signal);
        assert_eq!(session.wait_for_end(), code, "{signal:?}");
        session.assert_restored();
    }
}

#[test]
fn a_terminal_that_goes_away_ends_the_dashboard() {
    let folder = tempfile::tempdir().unwrap();
    let pair = native_pty_system().openpty(SIZE).unwrap();
    let mut child = pair.slave.spawn_command(command(folder.path(), &[])).unwrap();
    let mut output = pair.master.try_clone_reader().unwrap();
    let mut screen = vt100::Parser::default();
    let mut bytes = [0; 4096];
    while !screen.screen().contents().contains("live") {
        let n = output.read(&mut bytes).unwrap();
        screen.process(&bytes[..n]);
    }
    // Every descriptor of our side: then the terminal is gone.
    drop((output, pair));
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "it goes on without a terminal");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Set for the processes that this file starts of itself.
const CHILD: &str = "RHEOSTAT_TEST_CHILD";

/// Not a test by itself: what a dashboard does that panics, in a process of its own.
#[test]
fn child_takes_the_terminal_and_panics() {
    let Ok(which) = std::env::var(CHILD) else { return };
    let mut guard = rheostat_tui::terminal::Guard::take().unwrap();
    let frame = |text: &'static str| move |frame: &mut ratatui::Frame| frame.render_widget(text, frame.area());
    if which == "aside" {
        std::thread::spawn(|| panic!("a worker stumbled")).join().unwrap_err();
        guard.draw(frame("still drawn")).unwrap();
        std::thread::sleep(Duration::from_millis(500));
    } else {
        guard.draw(frame("about to fall")).unwrap();
        panic!("the dashboard stumbled");
    }
}

fn start_child(folder: &Path, which: &str) -> Session {
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["child_takes_the_terminal_and_panics", "--exact", "--nocapture", "--test-threads", "1"]);
    command.env(CHILD, which);
    command.env("TMPDIR", folder);
    command.env("RUST_BACKTRACE", "0");
    Session::of(command)
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = start_child(folder.path(), "own");
    assert_eq!(session.wait_for_end(), 101);
    session.wait_for_last_words("the dashboard stumbled");
    session.assert_restored();
}

#[test]
fn a_panic_of_another_thread_is_told_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = start_child(folder.path(), "aside");
    session.wait_for_text("still drawn");
    assert!(!session.text().contains("stumbled"), "not over the screen: {}", session.text());
    assert_eq!(session.wait_for_end(), 0);
    session.wait_for_last_words("while the dashboard was shown");
    session.wait_for_last_words("a worker stumbled");
    session.assert_restored();
}

#[test]
fn any_window_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::start(folder.path(), &[]);
    session.wait_for_text("live");
    for (rows, cols) in [(1, 1), (5, 30), (200, 500), (2, 80), (24, 3), (24, 80)] {
        session.master.resize(PtySize { rows, cols, ..SIZE }).unwrap();
        session.screen.lock().unwrap().screen_mut().set_size(NonZero::new(rows).unwrap(), NonZero::new(cols).unwrap());
        std::thread::sleep(Duration::from_millis(150));
    }
    session.wait_for_text("1 Overview 2 Pipelines");
    session.press("q");
    assert_eq!(session.wait_for_end(), 0);
    session.assert_restored();
}

#[test]
fn a_daemon_that_goes_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let config = folder.path().join("rheostat.toml");
    std::fs::write(&config, "").unwrap();
    let start = || {
        let overrides = Overrides {
            config: Some(config.clone()),
            socket: Some(socket.clone()),
            state_dir: Some(folder.path().join("state")),
            metrics: Some("off".into()),
            ..Overrides::default()
        };
        rheostat_daemon::start(Config::load(&overrides).unwrap()).unwrap()
    };
    let daemon = start();
    let mut session = Session::start(folder.path(), &["--socket", socket.to_str().unwrap()]);
    session.wait_for_text("live");
    daemon.stop();
    session.wait_for_text("lost, seen");
    session.wait_for_text("the host does not answer");
    let daemon = start();
    session.wait_for_text("✓ live");
    session.press("q");
    assert_eq!(session.wait_for_end(), 0);
    session.assert_restored();
    daemon.stop();
}
