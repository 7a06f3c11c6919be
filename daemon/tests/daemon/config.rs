//! Wrong configurations, all faults at once; right ones, printed and read back.

use crate::rheostatd::{Place, Rheostatd, SMALL, ask, tcp};
use rheostat_daemon::{Config, Origin, Overrides};
use rheostat_runtime::pool::{Level, PoolSetup, Preset};
use std::path::Path;

fn faults(text: &str) -> Vec<String> {
    let origin = Origin::File("r.toml".into());
    Config::parse(origin, text, Path::new("/"), &Overrides::default()).unwrap_err().lines().to_vec()
}

/// The fault about `text`, alone.
fn fault(text: &str) -> String {
    let faults = faults(text);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].clone()
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let text = "\
[control]
sokcet = \"x\"
[limits]
headers = \"many\"
connections = 1000000000
[map.Words]
backend = \"sharp\"
[pool.batches]
bytes_max = -1
";
    let expected = [
        "r.toml:2:1: control.sokcet: unknown key `sokcet`; did you mean `socket`?",
        "r.toml:4:11: limits.headers: must be a whole number, not the text \"many\"",
        "r.toml:5:15: limits.connections = 1000000000: must be a whole number from 2 to 65536",
        "r.toml:6:6: map.Words: `Words` is not a name",
        "r.toml:7:11: map.Words.backend: `sharp` is not a map backend: write one of sharded, lock_free, papaya, fixed, flat",
        "r.toml:9:13: pool.batches.bytes_max = -1: must be a whole number from 1048576",
    ];
    let faults = faults(text);
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.starts_with(expected), "{fault}\nis not\n{expected}");
    }
}

#[test]
fn values_live_in_a_pool_that_is_there_if_there_is_something_to_keep_in_it() {
    let faults = faults(
        "\
[pool.values]
[map.a]
pool = \"values\"
[map.b]
values = \"words\"
pool = \"values\"
[map.c]
values = \"bytes\"
pool = \"gone\"
",
    );
    let expected = [
        "r.toml:3:8: map.a.pool = \"values\": counters stand in the map itself and take nothing from a pool; remove it, or \
         keep byte strings with values = \"bytes\"",
        "r.toml:6:8: map.b.pool = \"values\": words stand in the map itself and take nothing from a pool; remove it, or \
         keep byte strings with values = \"bytes\"",
        "r.toml:9:8: map.c.pool = \"gone\": there is no pool `gone`, there is pool.values alone; add [pool.gone]",
    ];
    assert_eq!(faults, expected);
}

#[test]
fn workers_have_a_range() {
    for workers in ["0", "-1", "1000000000"] {
        let text = format!(
            "[pipeline.p]\nsource = {{ files = [\".\"] }}\n[[pipeline.p.stage]]\nname = \"s\"\nop = \"lines\"\nworkers = {workers}\n"
        );
        let fault = fault(&text);
        assert!(fault.starts_with("r.toml:6:11: pipeline.p.s.workers = "), "{fault}");
        assert!(fault.contains("from 1 to "), "{fault}");
    }
}

#[test]
fn buckets_of_a_fixed_map_have_a_range_and_are_printed_as_they_will_be() {
    for buckets in ["0", "15", "16777217"] {
        let fault = fault(&format!("[map.m]\nbackend = \"fixed\"\nbuckets = {buckets}\n"));
        let expected = format!("r.toml:3:11: map.m.buckets = {buckets}: must be a whole number from 16 to 16777216");
        assert_eq!(fault, expected);
    }
    let printed =
        |text: &str| Config::parse(Origin::Demo, text, Path::new("/"), &Overrides::default()).unwrap().to_string();
    for (text, expected) in [("[map.m]\nbuckets = 1000\n", "buckets = 1024"), ("[map.m]\n", "buckets = 65536")] {
        assert!(printed(text).lines().any(|line| line == expected), "no `{expected}` in\n{}", printed(text));
    }
}

#[test]
fn a_pool_is_its_preset_with_what_is_written_over_it() {
    let parse = |text: &str| Config::parse(Origin::Demo, text, Path::new("/"), &Overrides::default()).unwrap();
    let setup = |text: &str| {
        let config = parse(&format!("[pool.p]\n{text}"));
        assert_eq!(parse(&config.to_string()), config, "printed and read back");
        config.resources.pools[0].setup
    };
    for preset in Preset::ALL {
        assert_eq!(setup(&format!("preset = \"{preset}\"\n")), preset.setup());
    }
    let changed = setup("preset = \"performance\"\nlevel = \"mutex\"\nbytes_max = 4194304\nhuge_pages = false\n");
    assert_eq!((changed.level, changed.huge_pages, changed.alignment), (Level::Mutex.into(), false, 16));
    assert_eq!((changed.limits.bytes_max, changed.bytes_initial), (4 << 20, 2 << 20), "half of the limit");
    let all = setup("bytes_max = 4194304\nbytes_initial = 4194304\n");
    assert_eq!(all.bytes_initial, PoolSetup::ALL, "who writes the limit asks for all of it");
    assert!(!changed.guarded && setup("guarded = true\n").guarded);
    let named = setup("alignment = 64\ncache_bytes = 0\nidle_bytes = 7\nbytes_initial = 65536\n");
    assert_eq!((named.alignment, named.cache_bytes, named.idle_bytes, named.bytes_initial), (64, 0, 7, 65_536));
    assert_eq!(setup(""), PoolSetup::default());
}

#[test]
fn a_pool_that_cannot_be_is_told_where() {
    for (text, expected) in [
        (
            "preset = \"quick\"",
            "r.toml:2:10: pool.p.preset: `quick` is not a preset: write performance, memory or realtime",
        ),
        ("alignment = 24", "r.toml:2:13: pool.p.alignment = 24: must be a power of two from 2 to 64"),
        ("alignment = 128", "r.toml:2:13: pool.p.alignment = 128: must be a power of two from 2 to 64"),
        ("alignment = -9223372036854775808", "r.toml:2:13: pool.p.alignment = -9223372036854775808: must be a power"),
        ("cache_bytes = -1", "r.toml:2:15: pool.p.cache_bytes = -1: must be a whole number from 0 to 1048576"),
        ("idle_bytes = -1", "r.toml:2:14: pool.p.idle_bytes = -1: must be a whole number from 0 to"),
        (
            "bytes_initial = 2000000\nbytes_max = 1048576",
            "r.toml:2:17: pool.p.bytes_initial = 2000000: must be a whole number from 0 to 1048576",
        ),
    ] {
        let fault = fault(&format!("[pool.p]\n{text}\n"));
        assert!(fault.starts_with(expected), "{fault}\nis not\n{expected}");
    }
}

#[test]
fn what_a_pipeline_refers_to_must_exist() {
    let stage = "[pipeline.p]\nsource = { files = [\".\"] }\n[[pipeline.p.stage]]\nname = \"s\"\n";
    for (rest, expected) in [
        ("op = \"count\"\nmap = \"words\"\n", "there is no map `words`, no map is configured; add [map.words]"),
        ("op = \"count\"\n", "add map = \"NAME\""),
        ("op = \"filter\"\n", "either contains = \"TEXT\" or regex"),
        ("op = \"filter\"\nregex = \"(\"\n", "unclosed group"),
        ("op = \"lines\"\nmap = \"words\"\n", "this op has no such setting; remove it"),
        ("op = \"wrods\"\n", "unknown word `wrods`; did you mean `words`?"),
        ("", "it has no op"),
    ] {
        let fault = fault(&format!("{stage}{rest}"));
        assert!(fault.contains(expected), "{fault}");
    }
    let fault = fault(&format!("{stage}op = \"lines\"\n[[pipeline.p.stage]]\nname = \"s\"\nop = \"words\"\n"));
    assert!(fault.contains("two stages called `s`"), "{fault}");
}

#[test]
fn a_pool_for_one_thread_is_refused_to_a_pipeline_of_several() {
    let text = |pool: &str, stages: &str| {
        format!("[pool.p]\nlevel = \"unlocked\"\n[pipeline.a]\nsource = {{ files = [\".\"] }}\n{pool}{stages}")
    };
    let stage = |name: &str| format!("[[pipeline.a.stage]]\nname = \"{name}\"\nop = \"lines\"\nworkers = 2\n");
    let two = format!("{}{}", stage("s"), stage("t"));
    let fault = fault(&text("pool = \"p\"\n", &two));
    assert!(fault.starts_with("r.toml:5:8: pipeline.a takes blocks from pool.p on more than one thread"), "{fault}");
    for right in [text("", &two), text("pool = \"p\"\n", &stage("s"))] {
        Config::parse(Origin::Demo, &right, Path::new("/"), &Overrides::default()).unwrap();
    }
}

#[test]
fn sizes_have_units_and_switches_are_on_or_off() {
    let parse = |text: &str| Config::parse(Origin::Demo, text, Path::new("/"), &Overrides::default()).unwrap();
    let plain = "[limits]\nbody_bytes = 65536\n[pool.p]\nbytes_max = 268435456\nguarded = true\nhuge_pages = false\n";
    let spelled =
        "[limits]\nbody_bytes = \"64KiB\"\n[pool.p]\nbytes_max = \"256MiB\"\nguarded = \"on\"\nhuge_pages = \"off\"\n";
    assert_eq!(parse(plain), parse(spelled));
    assert_eq!(parse(&parse(spelled).to_string()), parse(plain), "printed and read back");
    for (text, expected) in [
        ("bytes_max = \"256\"", "must be a number of bytes, such as 65536 or \"64KiB\", not the text \"256\""),
        ("bytes_max = \"1MiB/s\"", "not the text \"1MiB/s\""),
        ("bytes_max = \"0.3B\"", "not the text \"0.3B\""),
        ("guarded = \"yes\"", "must be \"on\" or \"off\", not the text \"yes\""),
        ("bytes_maxx = 1", "unknown key `bytes_maxx`; did you mean `bytes_max`?"),
    ] {
        let fault = fault(&format!("[pool.p]\n{text}\n"));
        assert!(fault.starts_with("r.toml:2:") && fault.contains(expected), "{fault}\nis not\n{expected}");
    }
    let twice = faults("[limits]\nheaders = 20\nheaders = 30\n");
    assert!(twice[0].starts_with("r.toml:3:1: duplicate key `headers`"), "{twice:?}");
}

#[test]
fn faults_of_flags_and_variables_are_theirs_and_the_file_is_checked_all_the_same() {
    let place = Place::new("[metrics]\nlisten = \"here\"\n");
    let check = |args: &[&str], variable: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rheostatd"));
        command.arg("check").args(args).arg("--config").arg(place.path("rheostat.toml"));
        let output = command.env("RHEOSTAT_METRICS", variable).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = check(&[], "0.0.0.0:1");
    assert!(code == Some(2) && said.lines().any(|line| line.starts_with("RHEOSTAT_METRICS: metrics.listen")), "{said}");
    assert!(said.contains("rheostat.toml:2:10: metrics.listen = \"here\""), "{said}");
    let (_, said) = check(&["--metrics", "there"], "off");
    assert!(said.lines().any(|line| line.starts_with("--metrics: metrics.listen = \"there\"")), "{said}");
}

#[test]
fn inputs_that_are_not_there_and_variables_that_are_none_are_warned_of() {
    let place = Place::new(&SMALL.replace("input.txt", "gone*.txt"));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rheostatd"));
    command.arg("check").arg(place.path("rheostat.toml")).env("RHEOSTAT_METRIC", "off");
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("pipeline.words.source: ") && said.contains("gone*.txt"), "{said}");
    assert!(said.contains("`RHEOSTAT_METRIC`; did you mean `RHEOSTAT_METRICS`?"), "{said}");
}

#[test]
fn standard_input_feeds_one_pipeline() {
    let pipeline = |name: &str| {
        format!(
            "[pipeline.{name}]\nsource = {{ stdin = true }}\n[[pipeline.{name}.stage]]\nname = \"s\"\nop = \"lines\"\n"
        )
    };
    let fault = fault(&format!("{}{}", pipeline("a"), pipeline("b")));
    assert!(fault.starts_with("r.toml:6:11: pipeline.a and pipeline.b both read"), "{fault}");
}

#[test]
fn text_that_is_no_toml_says_where() {
    let faults = faults("[limits]\nheaders = \n");
    assert!(faults[0].starts_with("r.toml:2:"), "{faults:?}");
}

#[test]
fn listeners_stay_on_this_machine() {
    for address in ["0.0.0.0:9745", "192.168.1.1:9745", "[::]:9745"] {
        let fault = fault(&format!("[control]\nlisten = \"{address}\"\n"));
        assert!(fault.contains("other machines could reach it"), "{fault}");
    }
    assert!(fault("[metrics]\nlisten = \"here\"\n").contains("must be ADDRESS:PORT"));
}

#[test]
fn what_is_printed_means_what_was_read() {
    let text = "\
[limits]
headers = 77
[metrics]
listen = \"off\"
[map.m]
backend = \"lock_free\"
[pipeline.p]
source = { files = [\"a\", \"b*\"], base = \"/tmp\", repeat = true, bytes_per_second = 5 }
[[pipeline.p.stage]]
name = \"f\"
op = \"filter\"
contains = \"x\\\"y\"
workers = 3
[[pipeline.p.stage]]
name = \"c\"
op = \"count\"
map = \"m\"
";
    let parse = |text: &str| Config::parse(Origin::Demo, text, Path::new("/base"), &Overrides::default()).unwrap();
    let config = parse(text);
    assert_eq!(parse(&config.to_string()), config);
    assert_eq!((config.limits.headers, config.resources.pools.len()), (77, 1));
}

#[test]
fn check_prints_what_is_in_force_and_flags_go_over_the_environment_over_the_file() {
    let place = Place::new("[stop]\nlimit_ms = 1234\n[metrics]\nlisten = \"127.0.0.1:1111\"\n[state]\ndir = \"/a\"\n");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_rheostatd"))
        .args(["check", "--metrics", "127.0.0.1:3333", "--config"])
        .arg(place.path("rheostat.toml"))
        .env("RHEOSTAT_METRICS", "127.0.0.1:2222")
        .env("RHEOSTAT_STATE_DIR", "/b")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for line in ["limit_ms = 1234", "listen = \"127.0.0.1:3333\"", "dir = \"/b\"", "header_bytes = 16384"] {
        assert!(printed.lines().any(|printed| printed == line), "no `{line}` in\n{printed}");
    }
}

#[test]
fn a_wrong_file_ends_the_daemon_before_anything_is_touched() {
    let place = Place::new("[nonsense]\n");
    let (code, said) = place.fail(&[]);
    assert_eq!(code, 2);
    assert!(said.contains("rheostat.toml:1:2: nonsense: unknown key `nonsense`; known: control"), "{said}");
    assert!(!place.path("state").exists() && !place.socket().exists());
    let (code, said) = place.fail(&["--config", "no/such/file"]);
    assert!(code == 2 && said.contains("no/such/file"), "{code} {said}");
}

#[test]
fn options_of_the_allocator_that_act_early_are_enforced_and_the_environment_wins() {
    let place = Place::new(&format!(
        "{SMALL}\n[allocator]\neager_commit = \"off\"\npurge_delay_ms = 77\nstatistics_at_exit = false\n"
    ));
    let option = |daemon: &Rheostatd, name: &str| {
        let address = daemon.address("metrics on http://");
        let get = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let body = ask(tcp(&address), &get).unwrap().body;
        let series = format!("rheostat_allocator_option{{allocator=\"process\",option=\"{name}\"}} ");
        body.lines().find_map(|line| line.strip_prefix(&series)).expect("the option").to_owned()
    };
    let daemon = place.start(&[]);
    // The program was executed anew in its own process, and is still called what it is called.
    assert_eq!(option(&daemon, "eager_commit"), "0");
    assert_eq!(option(&daemon, "purge_delay_ms"), "77");
    let name = std::fs::read_to_string(format!("/proc/{}/comm", daemon.pid())).unwrap();
    assert_eq!(name.trim(), "rheostatd");
    drop(daemon);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_rheostatd"))
        .arg("check")
        .arg(place.path("rheostat.toml"))
        .env("MIMALLOC_PURGE_DELAY", "88")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    for line in ["[allocator]", "eager_commit = \"off\"", "purge_delay_ms = 88", "large_os_pages = \"off\""] {
        assert!(printed.lines().any(|printed| printed == line), "no `{line}` in\n{printed}");
    }
    assert!(printed.contains("\n# mimalloc "), "{printed}");
}
