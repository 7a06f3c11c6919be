//! The command line as users call it: the real binary, its words and its exit codes.

use assert_cmd::Command;
use std::path::Path;
use std::time::Duration;

/// The binary, with nothing of the developer's own environment that would change what it does.
fn rheostat() -> Command {
    let mut command = Command::cargo_bin("rheostat").unwrap();
    for variable in ["RHEOSTAT_SOCKET", "RHEOSTAT_TOKEN", "XDG_RUNTIME_DIR"] {
        command.env_remove(variable);
    }
    command.timeout(Duration::from_secs(60));
    command
}

/// Runs it and gives back exit code, stdout and stderr.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn help_teaches() {
    let (code, help, _) = run(rheostat().arg("--help").env("COLUMNS", "100"));
    assert_eq!(code, 0);
    insta::assert_snapshot!("help", help);
    let (code, help, _) = run(rheostat().args(["run", "--help"]).env("COLUMNS", "100"));
    assert_eq!(code, 0);
    insta::assert_snapshot!("help_run", help);
}

#[test]
fn a_daemon_that_was_named_and_does_not_answer_is_exit_7() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere.sock");
    let file = folder.path().join("w.toml");
    std::fs::write(&file, "format = 1\n").unwrap();
    let file = file.to_str().unwrap();
    for arguments in [
        &["resources"][..],
        &["get", "map.words"],
        &["set", "map.words.backend=sharded"],
        &["changes"],
        &["stream"],
        &["map", "top", "map.words"],
        &["map", "put", "map.words", "k", "1"],
        &["queue", "pop", "queue.jobs"],
        &["blocks", "pool.batches"],
        &["runs"],
        &["watch", "1"],
        &["cancel", "1"],
        &["run", file],
        &["submit", file],
        &["check", file],
        &["--for", "1s"],
    ] {
        let (code, out, err) = run(rheostat().args(arguments).arg("--socket").arg(&nowhere));
        assert_eq!(code, 7, "{arguments:?}: {err}");
        assert!(out.is_empty(), "{arguments:?}: {out}");
        let place = nowhere.display().to_string();
        assert!(err.contains(&place) && err.contains("because: ") && err.contains("try: "), "{arguments:?}: {err}");
    }
    let (code, _, err) = run(rheostat().arg("resources").env("RHEOSTAT_SOCKET", &nowhere));
    assert_eq!(code, 7, "{err}");
}

#[test]
fn mistakes_of_usage_are_exit_2_and_say_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.toml");
    std::fs::write(&file, "format = 1\n").unwrap();
    let file = file.to_str().unwrap();
    for (arguments, expected) in [
        (&["set", "pipeline.words.count.workers"][..], "ADDRESS.KNOB=VALUE"),
        (&["set", "workers=8"], "ADDRESS.KNOB=VALUE"),
        (&["map", "top", "words"], "map.NAME"),
        (&["map", "add", "map.words", "k", "many"], "invalid digit"),
        (&["map", "put", "map.words", "k?", "AA==", "--base64"], "no base64"),
        (&["queue", "pop", "map.words"], "queue.NAME"),
        (&["blocks", "batches"], "pool.NAME"),
        (&["queue", "pop", "queue.jobs", "--wait", "5"], "10s"),
        (&["--for", "10"], "10s"),
        (&["--for", "1s", "resources"], "--for"),
        (&["run", "no-such-file.toml"], "no-such-file.toml"),
        (&["run", file, "--input", "no-such-input"], "no-such-input"),
        (&["run", file, "-D", "records"], "NAME=VALUE"),
        (&["dance"], "dance"),
        (&["resources", "--socket", "http://127.0.0.1:9"], "RHEOSTAT_TOKEN"),
    ] {
        let (code, out, err) = run(rheostat().args(arguments));
        assert_eq!(code, 2, "{arguments:?}: {err}");
        assert!(out.is_empty(), "{arguments:?}: {out}");
        assert!(err.contains(expected), "{arguments:?}: {err}");
    }
}

#[test]
fn with_json_an_error_is_one_object() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere.sock");
    for (arguments, exit, says) in [
        (&["resources", "--json"][..], 7, "no daemon answers"),
        (&["set", "workers=8", "--json"], 2, "ADDRESS.KNOB=VALUE"),
        (&["--json", "dance"], 2, "dance"),
        (&["run", "no-such-file.toml", "--json"], 2, "no-such-file.toml"),
    ] {
        let (code, out, err) = run(rheostat().args(arguments).env("RHEOSTAT_SOCKET", &nowhere));
        assert_eq!((code, out.as_str()), (exit, ""), "{arguments:?}: {err}");
        assert_eq!(err.lines().count(), 1, "{arguments:?}: {err}");
        let error: serde_json::Value = serde_json::from_str(&err).unwrap();
        assert_eq!(error["exit"], exit, "{err}");
        assert!(error["detail"].as_str().unwrap().contains(says), "{err}");
    }
    let (code, out, err) = run(rheostat().args(["--help", "--json"]));
    assert!(code == 0 && out.contains("Usage:") && err.is_empty(), "{err}");
}

#[cfg(feature = "embedded")]
mod embedded {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    /// The binary in a place where no daemon is, so that it hosts its own.
    fn alone(folder: &Path) -> Command {
        let mut command = rheostat();
        command.env("XDG_RUNTIME_DIR", folder).env("TMPDIR", folder);
        command
    }

    /// The same, begun and not waited for.
    fn begun(folder: &Path, arguments: &[&str]) -> std::process::Child {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("rheostat"));
        command.args(arguments).env_remove("RHEOSTAT_SOCKET").env("XDG_RUNTIME_DIR", folder).env("TMPDIR", folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn without_a_terminal_there_are_status_lines_and_a_summary() {
        let folder = tempfile::tempdir().unwrap();
        let (code, out, err) = run(alone(folder.path()).args(["--for", "3s"]));
        assert_eq!(code, 0, "{err}");
        assert!(err.contains("hosting the demo"), "{err}");
        let lines: Vec<_> = out.lines().collect();
        let seconds = lines.iter().filter(|line| line.contains("  rss ") && !line.starts_with(' ')).count();
        assert!((2..=3).contains(&seconds), "a line a second:\n{out}");
        assert!(lines.iter().any(|line| line.starts_with("summary: ")), "{out}");
        assert!(!out.contains('\u{1b}'), "no escapes without a terminal: {out:?}");
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    #[test]
    fn json_status_lines_are_snapshots() {
        let folder = tempfile::tempdir().unwrap();
        let (code, out, err) = run(alone(folder.path()).args(["--for", "2500ms", "--json"]));
        assert_eq!(code, 0, "{err}");
        let snapshots: Vec<rheostat_api::Snapshot> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(snapshots.len() >= 2, "{out}");
        assert!(snapshots.is_sorted_by(|a, b| a.seq < b.seq && a.uptime_s < b.uptime_s));
    }

    #[test]
    fn a_reader_that_leaves_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = begun(folder.path(), &["--for", "30s"]);
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{err}");
        assert!(!err.contains("panicked"), "{err}");
    }

    #[test]
    fn a_wrong_workload_is_refused_before_anything_runs() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wrong.toml");
        std::fs::write(&file, "format = 1\nnmae = \"typo\"\n").unwrap();
        let (code, _, err) = run(alone(folder.path()).arg("check").arg(&file));
        assert_eq!(code, 2, "{err}");
        let (code, _, err) = run(alone(folder.path()).args(["check", "--json"]).arg(&file));
        let error: serde_json::Value = serde_json::from_str(&err).unwrap();
        assert_eq!(
            (code, &error["exit"]),
            (2, &serde_json::json!(2)),
            "one object, also where a daemon is hosted for it"
        );
        assert!(err.contains("wrong.toml") && err.contains("nmae"), "the file and the key are named: {err}");
    }

    /// A daemon of this process with that configuration, all of its files in a folder.
    fn hosting(folder: &Path, config: &str) -> rheostat_daemon::Daemon {
        let file = folder.join("rheostat.toml");
        std::fs::write(&file, config).unwrap();
        let overrides = rheostat_daemon::Overrides {
            config: Some(file),
            socket: Some(folder.join("control.sock")),
            state_dir: Some(folder.join("state")),
            metrics: Some("off".into()),
            ..Default::default()
        };
        rheostat_daemon::start(rheostat_daemon::Config::load(&overrides).unwrap()).unwrap()
    }

    #[test]
    fn maps_and_queues_are_filled_and_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let config = "[map.counts]\nentries_max = 2\n[map.texts]\nvalues = \"bytes\"\n[queue.jobs]\ncapacity = 4\n";
        let daemon = hosting(folder.path(), config);
        let ask = |input: &str, line: &str| {
            let mut command = rheostat();
            command.args(line.split(' ')).env("RHEOSTAT_SOCKET", daemon.socket()).write_stdin(input);
            run(&mut command)
        };
        for (line, code, out, err) in [
            ("map put map.counts apples 3", 0, "apples = 3, new\n", ""),
            ("map put map.counts apples -5", 0, "apples = -5, was 3\n", ""),
            ("map add map.counts apples", 0, "-4\n", ""),
            ("map add map.counts pears -2", 0, "-2\n", ""),
            ("map add map.counts plums", 1, "", "map.counts is full at 2 entries: remove some or raise entries_max"),
            ("map put map.counts pears fox", 2, "", "map.counts holds counters"),
            ("map delete map.counts pears --json", 0, "{\"previous\":-2}\n", ""),
            ("map delete map.counts pears", 1, "", "holds no key `pears`"),
            ("map add map.counts pears 9 --json", 0, "{\"value\":9}\n", ""),
            ("map add map.texts k", 2, "", "map.texts holds byte strings, which cannot be added to; put another value"),
            ("map put map.texts AP8= w --base64", 2, "", "no base64"),
            ("map put map.texts AP8= /g== --base64", 0, "AP8= = /g==, new\n", ""),
            ("map get map.texts AP8= --base64", 0, "/g==\n", ""),
            (
                "map get map.texts AP8= --base64 --json",
                0,
                "{\"key\":{\"base64\":\"AP8=\"},\"value\":{\"base64\":\"/g==\"}}\n",
                "",
            ),
            ("map scan map.texts --base64", 0, "AP8=  /g==\n", ""),
            ("map top map.texts", 2, "", "map.texts holds byte strings, which are not ranked; scan it"),
            ("queue pop queue.jobs", 1, "", "queue.jobs is empty"),
            ("queue push queue.jobs -- a -b", 0, "2 pushed\n", ""),
            (
                "queue push queue.jobs c d e --json",
                1,
                "{\"pushed\":2}\n",
                "\"because\":\"queue.jobs is full at 4 items",
            ),
            ("queue push queue.jobs f", 1, "0 pushed\n", "queue.jobs is full at 4 items"),
            ("queue pop queue.jobs -n 2", 0, "a\n-b\n", ""),
            ("queue pop queue.jobs -n 9 --json", 0, "{\"item\":\"c\"}\n{\"item\":\"d\"}\n", ""),
            ("queue pop queue.nowhere", 2, "", "there is no resource `queue.nowhere`"),
            ("queue pop queue.jobs --wait 1h", 2, "", "wait_ms takes a whole number from 0 to 20000"),
        ] {
            let (exit, said, wrong) = ask("", line);
            assert_eq!((exit, said.as_str()), (code, out), "{line}: {wrong}");
            assert!(wrong.contains(err) && wrong.is_empty() == err.is_empty(), "{line}: {wrong}");
        }
        // Lines of standard input, the last one without its end.
        assert_eq!(ask("one\n\ntwo", "queue push queue.jobs"), (0, "3 pushed\n".into(), String::new()));
        assert_eq!(ask("", "queue pop queue.jobs -n 9").1, "one\n\ntwo\n");
        assert_eq!(ask("", "queue push queue.jobs").1, "0 pushed\n");
        assert_eq!(daemon.stop().hung, Vec::<String>::new());
    }

    #[test]
    fn a_guarded_pool_says_who_has_its_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let config = "[map.texts]\nvalues = \"bytes\"\npool = \"held\"\n[pool.held]\nguarded = true\n";
        let daemon = hosting(folder.path(), config);
        let ask = |line: &str| {
            let mut command = rheostat();
            let (code, out, err) = run(command.args(line.split(' ')).env("RHEOSTAT_SOCKET", daemon.socket()));
            assert_eq!(code, 0, "{line}: {err}");
            out
        };
        ask("map put map.texts k some-value");
        let told = ask("blocks pool.held");
        let lines: Vec<_> = told.lines().collect();
        assert!(lines[0].starts_with("pool.held ") && lines[0].ends_with("  guarded"), "{told}");
        assert!(lines[0].contains(" 1 blocks ") && lines[1].starts_with("  class ") && lines.len() == 3, "{told}");
        assert!(lines[2].starts_with("  from "), "{told}");
        ask("set pool.held.guarded=off");
        ask("map put map.texts l other-value");
        let told: serde_json::Value = serde_json::from_str(&ask("blocks pool.held --json")).unwrap();
        let of = |key: &str| told[key].as_u64();
        assert_eq!((of("blocks"), of("unattributed"), told["guarded"].as_bool()), (Some(2), Some(1), Some(false)));
        assert_eq!(told["faults"].as_array().map(Vec::len), Some(0));
        assert_eq!(daemon.stop().hung, Vec::<String>::new());
    }

    /// A workload that ships with the repository.
    fn script(name: &str) -> String {
        format!("{}/../workloads/scripts/{name}.toml", env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn a_run_counts_what_it_was_given_and_exits_by_its_verdict() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text.txt");
        std::fs::write(&text, "The cat. The dog!\nthe END\n".repeat(1000)).unwrap();
        let run_it = |arguments: &[&str]| {
            let mut command = alone(folder.path());
            command.args(["run", &script("wordcount"), "--input"]).arg(&text).args(arguments);
            run(&mut command)
        };
        let (code, out, err) = run_it(&["--json"]);
        assert_eq!((code, err.as_str()), (0, ""), "with --json stderr is for errors alone");
        let result: rheostat_api::RunResult = serde_json::from_str(&out).unwrap();
        let rows: Vec<_> = result.tables[0].rows.iter().map(|row| (row.key.as_str(), row.value)).collect();
        assert_eq!(rows, [("the", 3000), ("cat", 1000), ("dog", 1000), ("end", 1000)]);
        let (code, out, err) = run_it(&[]);
        assert_eq!(code, 0, "{err}");
        assert!(out.contains("3 000") && out.ends_with("verdict: pass\n"), "{out}");
    }

    #[test]
    fn inputs_that_cannot_be_counted_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        let binary = folder.path().join("binary");
        std::fs::write(&binary, [0, 159, 146, 150, 0]).unwrap();
        for input in [&empty, &binary] {
            let mut command = alone(folder.path());
            let (code, _, err) = run(command.args(["run", &script("wordcount"), "--input"]).arg(input));
            assert_eq!(code, 1, "{err}");
            assert!(err.contains(&input.display().to_string()), "{err}");
        }
    }

    #[test]
    fn an_interrupted_run_is_cancelled_and_still_reports() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = begun(folder.path(), &["run", &script("map-mixed"), "-D", "duration=60s"]);
        // A line of progress says that it is under way.
        let mut progress = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(progress.any(|line| line.unwrap().contains(" records")), "it never got under way");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(6), "{out}");
        assert!(out.ends_with("verdict: cancelled\n"), "{out}");
    }
}
