//! The format of workload files: what is accepted, and what is said about everything else.

use proptest::prelude::*;
use rheostat_workloads::script::{Arrival, Backend, Extent, Keys, MapValue, Schedule, TargetKind, Work};
use rheostat_workloads::{Faults, Overrides, Workload, catalogue};
use std::collections::BTreeMap;
use std::path::Path;

fn parse(text: &str) -> Result<Workload, Faults> {
    Workload::parse("w.toml", text, &Overrides::default())
}

fn vars(vars: &[(&str, &str)]) -> Overrides {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Overrides { vars: vars.collect(), ..Overrides::default() }
}

/// A file with one map, and `rest`.
fn with_map(rest: &str) -> String {
    format!("format = 1\nname = \"t\"\n[target.kv]\nkind = \"map\"\nkeys = {{ items = 100 }}\n{rest}")
}

/// The backends of maps, as refusals list them.
fn backends() -> String {
    Backend::ALL.map(Backend::as_str).join(", ")
}

/// Every file in `tests/faults` is answered exactly as the `.out` beside it says. `BLESS=1` writes the answers anew;
/// read the difference before committing it.
#[test]
fn faults_are_all_reported_at_once_and_in_place() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    assert!(files.len() >= 8, "the corpus is not there: {files:?}");
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let said = Workload::parse(name, &text, &Overrides::default()).unwrap_err().to_string();
        // How many workers a machine takes depends on its cores.
        let workers = rheostat_workloads::script::limits::workers_max();
        let said = said.replace(&format!("from 1 to {workers}"), "from 1 to WORKERS");
        let said = said.replace(&backends(), "BACKENDS");
        let golden = path.with_extension("out");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(said, expected, "{name} is answered otherwise than {} says", golden.display());
    }
}

#[test]
fn words_are_a_value_also_by_a_variable() {
    let text = |value: &str| {
        format!(
            "format = 1\nname = \"t\"\nvars = {{ v = \"word\" }}\n[target.kv]\nkind = \"map\"\nvalue = \"{value}\"\n\
             keys = {{ items = 10 }}\n[[phase]]\nname = \"p\"\ncount = 10\ngroup = [{{ target = \"kv\", mix = {{ get = 1 }} }}]\n"
        )
    };
    for value in ["word", "${vars.v}"] {
        let workload = parse(&text(value)).unwrap_or_else(|faults| panic!("{faults}"));
        let TargetKind::Map(map) = &workload.targets[0].kind else { panic!("a map") };
        assert_eq!(map.value, MapValue::Word);
    }
    let faults = parse(&text("words")).unwrap_err().to_string();
    assert!(faults.contains("not the string \"words\""), "{faults}");
}

#[test]
fn a_misspelled_operation_is_said_as_that_and_nothing_else() {
    let phase = "[[phase]]\nname = \"p\"\ncount = 10\ngroup = [{ target = \"kv\", mix = { gett = 1 } }]\n";
    let faults = parse(&with_map(phase)).unwrap_err().to_string();
    assert!(faults.contains("unknown key `gett`; did you mean `get`?"), "{faults}");
    assert!(!faults.contains("nothing has a weight"), "{faults}");
}

#[test]
fn a_history_needs_numbers_and_an_end() {
    let with = |value: &str, end: &str| {
        let phase = format!("[[phase]]\nname = \"p\"\n{end}\ngroup = [{{ target = \"kv\", mix = {{ get = 1 }} }}]\n");
        parse(&with_map(&format!("{value}{phase}[check]\nlinearizable = true\n")))
    };
    assert!(with("", "count = 1000").is_ok_and(|workload| workload.checks.linearizable));
    assert!(with("value = \"word\"\n", "count = 200_000").is_ok());
    for (value, end, expected) in [
        ("value = \"100B\"\n", "count = 1000", "needs a map of counters or words with `keys`"),
        ("", "duration = \"1s\"", "end the phases that drive it by `count`, 200000 together at most"),
        ("", "count = 200_001", "end the phases that drive it by `count`"),
    ] {
        let faults = with(value, end).unwrap_err().to_string();
        assert!(faults.contains(expected), "{faults}");
    }
}

#[test]
fn shipped_scripts_are_read_and_planned() {
    for (name, text) in catalogue::SCRIPTS {
        let workload = parse(text).unwrap_or_else(|faults| panic!("{name}:\n{faults}"));
        assert_eq!(workload.name, name);
        let plan = workload.plan();
        assert!(plan.problems.is_empty(), "{name}: {:?}", plan.problems);
        assert!(plan.memory > 0 && plan.phases.len() == workload.phases.len(), "{name}: {plan}");
    }
    let map = parse(catalogue::script("map-mixed").unwrap()).unwrap();
    let planned = map.plan().to_string();
    assert!(planned.contains("time    6s and as long as the rest takes, 30m00s at most"), "{planned}");
    assert!(planned.contains("mixed            measure   5s, 2 workers"), "{planned}");
}

#[test]
fn variables_take_the_place_of_whole_values() {
    let script = catalogue::script("map-mixed").unwrap();
    let set = [("workers", "8"), ("backend", "lock_free"), ("theta", "2"), ("duration", "250ms")];
    let workload = Workload::parse("w.toml", script, &vars(&set)).unwrap();
    assert_eq!(workload.phases[2].groups[0].workers, 8);
    assert_eq!(workload.phases[2].extent, Extent::Duration(std::time::Duration::from_millis(250)));
    let TargetKind::Map(map) = &workload.target("kv").unwrap().kind else { panic!("kv is a map") };
    assert_eq!(map.keys, Some(Keys::Zipfian { items: 100_000, theta: 2.0 }));

    for (name, value, message) in [
        ("workers", "many", "the command line sets `workers` to `many`, but it takes a whole number"),
        ("workers", "0", "takes a whole number from 1 to"),
        ("worker", "2", "the command line sets an unknown variable `worker`; did you mean `workers`?"),
        ("backend", "cuckoo", &format!("takes one of {}, not the string \"cuckoo\"", backends())),
        ("duration", "5", "takes a time with its unit"),
    ] {
        let said = Workload::parse("w.toml", script, &vars(&[(name, value)])).unwrap_err().to_string();
        assert!(said.contains(message), "{name}={value}: {said}");
    }
    let partial = with_map("vars = { n = 1 }\n").replace("\"t\"", "\"a${vars.n}\"");
    let said = parse(&partial).unwrap_err().to_string();
    assert!(said.contains("a variable takes the place of a whole value"), "{said}");
}

#[test]
fn inputs_of_the_command_line_take_the_place_of_the_files() {
    let overrides = Overrides { inputs: vec!["/srv/texts".into()], vars: BTreeMap::new() };
    let workload = Workload::parse("w.toml", catalogue::script("wordcount").unwrap(), &overrides).unwrap();
    let origin = &workload.data["text"].origin;
    assert_eq!(*origin, rheostat_workloads::script::Origin::Files(vec!["/srv/texts".into()]));
    let said = Workload::parse("w.toml", catalogue::script("queue-ping").unwrap(), &overrides).unwrap_err().to_string();
    assert!(said.contains("takes the place") || said.contains("take the place of the one [data.NAME]"), "{said}");
}

#[test]
fn a_hosted_resource_can_be_driven() {
    let text = "format = 1\nname = \"t\"\n[target.kv]\nuse = \"map.words\"\nkeys = { items = 5 }\n\
                [[phase]]\nname = \"run\"\nduration = \"1s\"\ngroup = [{ target = \"kv\", mix = { get = 1 } }]\n";
    let workload = parse(text).unwrap();
    let target = workload.target("kv").unwrap();
    assert!(target.hosted && target.address.to_string() == "map.words");
    assert!(matches!(workload.phases[0].groups[0].work, Work::Map { .. }));
}

#[test]
fn arrivals_bursts_and_ends_are_read() {
    let burst = catalogue::script("queue-burst").unwrap();
    let workload = Workload::parse("w.toml", burst, &vars(&[("rate", "1M/s"), ("on", "2ms")])).unwrap();
    let millis = std::time::Duration::from_millis;
    let schedule = Schedule { poisson: false, rate: 1e6, ramp: None, burst: Some((millis(2), millis(9))) };
    assert_eq!(workload.phases[0].groups[0].arrival, Arrival::Planned(schedule));
    assert_eq!(workload.phases[0].groups[1].arrival, Arrival::Closed);
    assert!(matches!(workload.phases[0].groups[0].work, Work::Queue { waits: false, .. }));

    let ycsb = Workload::parse("w.toml", catalogue::script("map-ycsb-d").unwrap(), &Overrides::default()).unwrap();
    assert_eq!(ycsb.phases[1].extent, Extent::Steady(millis(10_000)));
    let TargetKind::Map(map) = &ycsb.target("kv").unwrap().kind else { panic!("kv is a map") };
    assert_eq!(map.keys, Some(Keys::Latest { items: 1_000_000, theta: 0.99 }));

    // Without a count, a turn comes round until the phase ends: after 200, 400, 600 and 800 ms.
    let text = with_map(
        "[target.q]\nkind = \"queue\"\n[[phase]]\nname = \"p\"\nduration = \"1s\"\n\
         group = [{ target = \"q\", mix = { pair = 1 } }]\n\
         event = [{ every = \"200ms\", knob = \"q.capacity\", cycle = [1, 2] }]\n",
    );
    let event = &parse(&text).unwrap().phases[0].events[0];
    assert_eq!((event.count, event.open, event.turns()), (4, true, 4));
}

#[test]
fn a_file_past_the_limit_is_not_even_parsed() {
    let text = "#".repeat(rheostat_workloads::script::limits::FILE_BYTES_MAX + 1);
    let said = parse(&text).unwrap_err().to_string();
    assert!(said.contains("w.toml:1:1: the file has 8388609 bytes; a workload has at most 8388608"), "{said}");
}

#[test]
fn a_file_full_of_faults_is_answered_briefly_and_soon() {
    let mut text = with_map("");
    (0..300_000).for_each(|n| text.push_str(&format!("k{n} = 1\n")));
    let said = parse(&text).unwrap_err().to_string();
    assert!(said.lines().count() < 310, "{} lines", said.lines().count());
    assert!(said.contains("more faults"));
}

#[test]
fn deep_nesting_is_refused_not_a_stack_overflow() {
    let text = with_map(&format!("deep = {}{}\n", "[".repeat(100_000), "]".repeat(100_000)));
    assert!(parse(&text).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever it is, it is answered.
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = parse(&text).map_err(|faults| faults.to_string());
    }

    /// Shipped scripts with a part cut out, doubled or replaced reach deeper than noise does.
    #[test]
    fn no_damaged_script_panics(
        which in 0..catalogue::SCRIPTS.len(),
        from in 0..3000usize,
        len in 0..60usize,
        put in prop_oneof![Just(""), Just("0"), Just("-1"), Just("1e400"), Just("\"\""), Just("[[]]"), Just("{}"),
            Just("${vars.x}"), Just("99999999999999999999"), Just("nan"), Just("é\u{0}"), Just("\n[a]\n")],
    ) {
        let text = catalogue::SCRIPTS[which].1;
        let from = text.floor_char_boundary(from);
        let to = text.floor_char_boundary(from + len);
        let damaged = format!("{}{put}{}", &text[..from], &text[to..]);
        if let Err(faults) = parse(&damaged) {
            prop_assert!(!faults.faults.is_empty());
            let _ = faults.to_string();
        }
    }

    /// Every key of a phase with every kind of value.
    #[test]
    fn no_value_panics(
        key in prop_oneof![Just("name"), Just("role"), Just("duration"), Just("count"), Just("insert"), Just("group"),
            Just("event"), Just("unknown")],
        value in prop_oneof![Just("1"), Just("-1"), Just("1.5"), Just("true"), Just("\"x\""), Just("[]"), Just("{}"),
            Just("[{}]"), Just("[{ target = \"kv\" }]"), Just("[{ every = \"1s\" }]"), Just("1979-05-27"),
            Just("{ count = 5 }"), Just("\"1s\""), Just("[{ op = \"echo\" }]")],
    ) {
        let text = with_map(&format!("[[phase]]\n{key} = {value}\n"));
        let _ = parse(&text).map_err(|faults| faults.to_string());
    }
}
