//! Text pipelines against the plainest program of the same definition.

use rheostat_runtime::map::{Backend, CounterMap, MapLimits};
use rheostat_runtime::observe::families::*;
use rheostat_runtime::observe::{Actor, Address, Family, Reading, Registry, Value};
use rheostat_runtime::pipeline::text::{Op, RECORD_BYTES_MAX, Source, SourceError, Spec, StageSpec};
use rheostat_runtime::pipeline::{Limits, Pipeline, PipelineError, StageOptions};
use rheostat_runtime::pool::{Level, Pool, PoolLimits};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(25);

type Counts = BTreeMap<String, i64>;

/// The definition, one file at a time, on one thread.
fn plain_count(folder: &Path) -> Counts {
    let mut counts = Counts::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    counts
}

fn counts(map: &CounterMap) -> Counts {
    let top = map.top(usize::MAX);
    top.into_iter().map(|(key, count)| (String::from_utf8(key.into()).unwrap(), count)).collect()
}

fn words(backend: Backend) -> Arc<CounterMap> {
    CounterMap::new("words", backend, MapLimits::default()).unwrap()
}

fn stage(name: &str, op: Op, workers: usize) -> StageSpec {
    StageSpec { name: name.into(), op, options: StageOptions { workers, batch: 500, capacity: 8 } }
}

fn files(pattern: &Path) -> Source {
    Source::Files { patterns: vec![pattern.to_str().unwrap().into()], base: ".".into(), repeat: false }
}

fn start(source: Source, stages: Vec<StageSpec>) -> Result<Arc<Pipeline>, PipelineError> {
    let pool = Pool::new("batches", Level::ThreadCached, PoolLimits::default()).unwrap();
    Spec { name: "words".into(), source, rate: 0, stages, pool, limits: Limits::default() }.start()
}

fn word_count(source: Source, map: &Arc<CounterMap>, workers: usize) -> Arc<Pipeline> {
    let count = stage("count", Op::CountInto(map.clone()), workers);
    start(source, vec![stage("split", Op::Words, workers), count]).unwrap()
}

fn total(pipeline: &Arc<Pipeline>, stage: usize, family: &Family) -> u64 {
    let mut reading = Reading::default();
    pipeline.resources()[stage].read(&mut reading);
    reading.total_of(family).unwrap()
}

/// Some megabytes of every kind of trouble: scripts, invalid bytes, long lines, empty files, no end of line.
fn corpus() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(42);
    let vocabulary =
        ["the", "Quick", "straße", "ΟΔΟΣ", "Ёлка", "naïve", "e\u{301}", "漢字", "x1", "İstanbul", "١٢٣", "ﬁn"];
    for file in 0..12 {
        let mut bytes = Vec::new();
        for line in 0..6_000 {
            for _ in 0..random.usize(0..14) {
                bytes.extend_from_slice(vocabulary[random.usize(..vocabulary.len())].as_bytes());
                if random.usize(..50) == 0 {
                    bytes.extend_from_slice(
                        [&b"\xff"[..], b"\xe2\x82", b"\xc0\xaf", b"\xed\xa0\x80"][random.usize(..4)],
                    );
                }
                bytes.extend_from_slice([" ", ", ", "-", "'", "—", "_"][random.usize(..6)].as_bytes());
            }
            if !(file == 3 && line % 2000 > 5) {
                bytes.push(b'\n');
            }
        }
        bytes.extend_from_slice(b"last");
        std::fs::write(folder.path().join(format!("{file:02}.txt")), bytes).unwrap();
    }
    std::fs::write(folder.path().join("empty.txt"), b"").unwrap();
    std::fs::write(folder.path().join("long.txt"), "word ".repeat(RECORD_BYTES_MAX / 2)).unwrap();
    folder
}

#[test]
fn counts_equal_the_plain_program_while_workers_turn_a_hundred_times() {
    let folder = corpus();
    let expected = plain_count(folder.path());
    assert!(expected.len() > 10 && expected.contains_key("οδος"), "{expected:?}");
    for (workers, backend) in [(1, Backend::Sharded), (2, Backend::LockFree), (8, Backend::Sharded)] {
        let map = words(backend);
        let pipeline = word_count(files(folder.path()), &map, workers);
        let registry = Registry::new();
        pipeline.resources().into_iter().for_each(|resource| registry.add(resource).unwrap());
        for n in 0..100i64 {
            let stage: Address = ["pipeline.words.split", "pipeline.words.count"][n as usize % 2].parse().unwrap();
            // The last turns may find that the stage has ended; no turn may change the counts.
            _ = registry.turn(&stage, "workers", Value::Integer(1 + n % 8), Actor::Process);
        }
        assert!(pipeline.wait(LONG));
        assert_eq!(counts(&map), expected, "{workers} workers");
        assert_eq!(total(&pipeline, 1, &STAGE_OUT_ITEMS), total(&pipeline, 2, &STAGE_IN_ITEMS));
        assert!(total(&pipeline, 0, &PIPELINE_REPLACED) > 100);
        assert!(total(&pipeline, 0, &PIPELINE_CUT) > 0);
    }
}

#[test]
fn lines_and_filters_write_what_grep_would() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = (0..20_000).map(|n| format!("line {n}{}", if n % 3 == 0 { "\r\n" } else { "\n" })).collect();
    std::fs::write(folder.path().join("in.txt"), &text).unwrap();
    let out = folder.path().join("out.txt");
    let stages = vec![
        stage("lines", Op::Lines, 1),
        stage("sevens", Op::Contains("7".into()), 1),
        stage("round", Op::Matches("[05]$".into()), 1),
        stage("out", Op::WriteTo(out.clone()), 1),
    ];
    let pipeline = start(files(&folder.path().join("*.txt")), stages).unwrap();
    assert!(pipeline.wait(LONG));
    let expected: String =
        text.lines().filter(|l| l.contains('7') && l.ends_with(['0', '5'])).map(|l| format!("{l}\n")).collect();
    assert_eq!(std::fs::read_to_string(out).unwrap(), expected);
}

#[test]
fn a_reader_is_a_source_too() {
    let map = words(Backend::Sharded);
    let pipeline = word_count(Source::Reader(Box::new(&b"one two two\nthree three three"[..])), &map, 2);
    assert!(pipeline.wait(LONG));
    assert_eq!(counts(&map), [("one", 1), ("two", 2), ("three", 3)].map(|(word, n)| (word.to_owned(), n)).into());
}

#[test]
fn a_repeating_source_goes_round_until_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "again\n").unwrap();
    let map = words(Backend::LockFree);
    let patterns = vec![folder.path().to_str().unwrap().to_owned()];
    let pipeline = word_count(Source::Files { patterns, base: ".".into(), repeat: true }, &map, 1);
    while total(&pipeline, 0, &PIPELINE_LAPS) < 10_000 {
        std::thread::yield_now();
    }
    pipeline.stop();
    assert!(pipeline.wait(LONG));
    let again = map.get(b"again").unwrap();
    assert!(again >= 10_000 && again as u64 * 6 == total(&pipeline, 0, &PIPELINE_SOURCE_BYTES), "{again}");
}

#[test]
fn a_repeating_source_waits_for_files_that_have_gone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.txt");
    std::fs::write(&file, "again\n").unwrap();
    let map = words(Backend::Sharded);
    let patterns = vec![file.to_str().unwrap().to_owned()];
    let pipeline = word_count(Source::Files { patterns, base: ".".into(), repeat: true }, &map, 1);
    // Gone while its record is still being packed with those of further laps.
    while total(&pipeline, 0, &PIPELINE_LAPS) == 0 {
        std::thread::yield_now();
    }
    std::fs::remove_file(&file).unwrap();
    let refused = || total(&pipeline, 0, &PIPELINE_REFUSED_FILES);
    while refused() == 0 {
        std::thread::yield_now();
    }
    let (began, before) = (std::time::Instant::now(), refused());
    while refused() < before + 3 {
        std::thread::yield_now();
    }
    assert!(began.elapsed() > Duration::from_millis(150), "it spins");
    std::fs::write(&file, "again\n").unwrap();
    let items = total(&pipeline, 0, &PIPELINE_SOURCE_ITEMS);
    while total(&pipeline, 0, &PIPELINE_SOURCE_ITEMS) == items {
        std::thread::yield_now();
    }
    pipeline.stop();
    assert!(pipeline.wait(LONG));
}

#[test]
fn a_full_map_sets_counts_aside_and_says_so() {
    let limits = MapLimits { entries_max: 2, ..MapLimits::default() };
    let map = CounterMap::new("words", Backend::Sharded, limits).unwrap();
    let pipeline = word_count(Source::Reader(Box::new(&b"a b a b c c c"[..])), &map, 1);
    assert!(pipeline.wait(LONG));
    let letters = pipeline.dead_letters();
    let kept: i64 = counts(&map).values().sum();
    let lost: i64 = letters.iter().map(|l| l.why.split(' ').next().unwrap().parse::<i64>().unwrap()).sum();
    assert_eq!((letters.len(), kept + lost), (1, 7), "{letters:?}");
}

#[test]
fn an_output_that_is_full_loses_nothing_silently() {
    let stages = vec![stage("lines", Op::Lines, 1), stage("out", Op::WriteTo("/dev/full".into()), 1)];
    let pipeline = start(Source::Reader(Box::new(&b"one\ntwo\nthree\n"[..])), stages).unwrap();
    assert!(pipeline.wait(LONG));
    let letters = pipeline.dead_letters();
    let records: Vec<_> = letters.iter().map(|letter| &letter.record[..]).collect();
    assert_eq!(records, [&b"one"[..], b"two", b"three"]);
    assert!(letters[0].why.contains("No space left on device"), "{}", letters[0].why);
}

#[test]
fn a_start_that_fails_leaves_the_output_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.txt");
    std::fs::write(&out, "yesterday's results\n").unwrap();
    let write = || stage("out", Op::WriteTo(out.clone()), 1);
    let missing = start(files(&folder.path().join("typo.log")), vec![stage("lines", Op::Lines, 1), write()]);
    assert!(matches!(missing.map(drop), Err(PipelineError::Source(_))));
    std::fs::write(folder.path().join("in.txt"), "text").unwrap();
    let twice = vec![stage("out", Op::Lines, 1), write()];
    assert!(matches!(start(files(&folder.path().join("in.txt")), twice).map(drop), Err(PipelineError::Shape(_))));
    let bad = vec![stage("find", Op::Matches("(".into()), 1), write()];
    assert!(matches!(start(files(&folder.path().join("in.txt")), bad).map(drop), Err(PipelineError::Op { .. })));
    assert_eq!(std::fs::read_to_string(out).unwrap(), "yesterday's results\n");
}

#[test]
fn what_is_no_text_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| start(files(path), vec![stage("split", Op::Words, 1)]).map(drop).unwrap_err();
    let missing = folder.path().join("missing.txt");
    let error = refused(&missing);
    assert!(
        matches!(&error, PipelineError::Source(SourceError::Unreadable { path, .. }) if *path == missing),
        "{error}"
    );
    let empty = refused(folder.path()).to_string();
    assert!(empty.contains("holds no files"), "{empty}");
    std::fs::write(folder.path().join("a.bin"), b"\x7fELF\0\0\0").unwrap();
    let binary = refused(folder.path()).to_string();
    assert!(binary.contains("none of the 1 files") && binary.contains("zero bytes"), "{binary}");
    // With text beside it the binary is passed over, and counted.
    std::fs::write(folder.path().join("b.txt"), "text").unwrap();
    let map = words(Backend::Sharded);
    let pipeline = word_count(files(folder.path()), &map, 1);
    assert!(pipeline.wait(LONG));
    assert_eq!(total(&pipeline, 0, &PIPELINE_REFUSED_FILES), 1);
    assert!(pipeline.refused_inputs()[0].contains("a.bin"), "{:?}", pipeline.refused_inputs());
    assert_eq!(counts(&map).len(), 1);
}

#[test]
fn a_sink_can_only_be_last_and_names_only_once() {
    let text = || Source::Reader(Box::new(&b""[..]));
    let sink = Op::CountInto(words(Backend::Sharded));
    let error = start(text(), vec![stage("count", sink, 1), stage("split", Op::Words, 1)]).map(drop).unwrap_err();
    assert!(error.to_string().contains("no stage can follow it"), "{error}");
    let error = start(text(), vec![stage("split", Op::Words, 1), stage("split", Op::Words, 1)]).map(drop).unwrap_err();
    assert!(error.to_string().contains("two stages"), "{error}");
    let error = start(text(), vec![stage("find", Op::Matches("(".into()), 1)]).map(drop).unwrap_err();
    assert!(error.to_string().contains("no regular expression"), "{error}");
}
