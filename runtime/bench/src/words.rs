//! Word count of files, three ways with one answer: the hosted pipeline as the daemon runs it, a rayon program written
//! by hand for the occasion, and the plainest loop.
//!
//! The hand-written one reads whole files, splits ASCII words byte by byte (falling back to Unicode where a file is not
//! ASCII), counts into a table per rayon task and merges them: what someone who knows rayon would write in an hour.
//! The pipeline runs with its counters, clocks and histograms on, and is read four times a second as the daemon does.

use crate::measure::{Contender, compare};
use rayon::prelude::*;
use rheostat_runtime::map::{Backend, CounterMap, MapLimits};
use rheostat_runtime::observe::Reading;
use rheostat_runtime::pipeline::text::{Op, Source, Spec, StageSpec, list};
use rheostat_runtime::pipeline::{Limits, StageOptions};
use rheostat_runtime::pool::{Level, Pool, PoolLimits};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Counts = HashMap<Box<[u8]>, i64, foldhash::fast::RandomState>;

/// Bytes that the corpus made from the repository's text has.
const CORPUS_BYTES: usize = 128 << 20;
const CORPUS_FILE_BYTES: usize = 8 << 20;
/// Workers of the two stages.
const WIDTHS: [(usize, usize); 3] = [(1, 1), (1, 2), (2, 2)];

/// Prints the table for the files below `paths`, or for a corpus made from the repository.
pub fn run(paths: &[String]) {
    let folder = corpus_folder();
    let paths = if paths.is_empty() { vec![make_corpus(&folder)] } else { paths.to_vec() };
    let files = match list(&paths, Path::new(".")) {
        Ok(files) => files.into_iter().map(|file| file.path).collect::<Vec<_>>(),
        Err(error) => return eprintln!("{error}"),
    };
    let bytes: u64 = files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|meta| meta.len()).sum();
    let rate = |began: Instant| bytes as f64 / began.elapsed().as_secs_f64() / 1e6;
    let title = format!(
        "word count, {} files, {} MB, MB/s (more is better); proof: words counted",
        files.len(),
        bytes / 1_000_000
    );
    let names = WIDTHS.map(|(split, count)| format!("pipeline, {split} split + {count} count"));
    let mut contenders = vec![
        Contender::new("rayon, by hand", || {
            let began = Instant::now();
            let counts = by_hand(&files);
            (rate(began), counts.values().sum::<i64>() as u64)
        }),
        Contender::new("one plain thread", || {
            let began = Instant::now();
            let counts = plain(&files);
            (rate(began), counts.values().sum::<i64>() as u64)
        }),
    ];
    for (name, (split, count)) in names.iter().zip(WIDTHS) {
        let paths = &paths;
        contenders.push(Contender::new(name, move || {
            let began = Instant::now();
            let words = pipeline(paths, split, count, batches(Level::ThreadCached));
            (rate(began), words)
        }));
    }
    compare(&title, "MB/s", 5, contenders);
    _ = std::fs::remove_dir_all(folder);
}

/// Prints what the word count costs by where its batches live: on the heap, or in a pool at each level that several
/// threads can use. Processor time, as that moves less than throughput does on a machine that others use.
///
/// On the heap is what a pipeline does when its pool is at its limit, so that case is a pool with room for nothing: it
/// pays for the refusal too, some nanoseconds for 64 KiB of words.
pub fn run_batches(paths: &[String]) {
    let folder = corpus_folder();
    let paths = if paths.is_empty() { vec![make_corpus(&folder)] } else { paths.to_vec() };
    let nothing = PoolLimits { bytes_max: 4096 };
    let heap = || Pool::new("batches", Level::Mutex, nothing).expect("a good name");
    let mut contenders = vec![Contender::new("heap", || cost(&paths, heap()))];
    for level in [Level::Mutex, Level::LockFree, Level::ThreadCached, Level::Fixed] {
        let paths = &paths;
        contenders.push(Contender::new(level.as_str(), move || cost(paths, batches(level))));
    }
    let title =
        "word count, 2 split + 2 count, by where batches live; processor ns a word (less is better); proof: words";
    compare(title, "ns", 7, contenders);
    _ = std::fs::remove_dir_all(folder);
}

/// Processor time of a word, and how many there were.
fn cost(paths: &[String], pool: Arc<Pool>) -> (f64, u64) {
    let spent = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let before = spent();
    let words = pipeline(paths, 2, 2, pool);
    ((spent() - before) / words as f64, words)
}

fn batches(level: Level) -> Arc<Pool> {
    Pool::new("batches", level, PoolLimits::default()).expect("a good name")
}

fn corpus_folder() -> PathBuf {
    std::env::temp_dir().join(format!("rheostat-bench-{}", std::process::id()))
}

/// The repository's own text, repeated.
fn make_corpus(folder: &Path) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let inputs =
        ["runtime", "daemon", "workloads", "tui", "README.md", "ARCHITECTURE.md"].map(|part| format!("{root}/{part}"));
    let files = list(&inputs, Path::new(".")).unwrap_or_default();
    let text: Vec<u8> = files
        .iter()
        .filter_map(|file| std::fs::read(&file.path).ok())
        .filter(|text| !text.contains(&0))
        .flatten()
        .collect();
    assert!(!text.is_empty(), "the repository's text is not where this was built; name a PATH");
    std::fs::create_dir_all(folder).expect("the folder for temporary files takes a folder");
    for part in 0..CORPUS_BYTES / CORPUS_FILE_BYTES {
        let from = part * CORPUS_FILE_BYTES;
        let bytes: Vec<u8> = text.iter().cycle().skip(from % text.len()).take(CORPUS_FILE_BYTES).copied().collect();
        std::fs::write(folder.join(format!("{part:03}.txt")), bytes)
            .expect("the folder for temporary files takes 128 MB");
    }
    folder.display().to_string()
}

fn pipeline(paths: &[String], split: usize, count: usize, pool: Arc<Pool>) -> u64 {
    let map = CounterMap::new("words", Backend::Sharded, MapLimits::default()).expect("a good name");
    let stage = |name: &str, op, workers, batch| StageSpec {
        name: name.into(),
        op,
        options: StageOptions { workers, batch, capacity: 16 },
    };
    let pipeline = Spec {
        name: "words".into(),
        source: Source::Files { patterns: paths.to_vec(), base: PathBuf::from("."), repeat: false },
        rate: 0,
        stages: vec![stage("split", Op::Words, split, 64), stage("count", Op::CountInto(map.clone()), count, 4096)],
        pool,
        limits: Limits::default(),
    };
    let pipeline = pipeline.start().expect("the files were listed before");
    while !pipeline.wait(Duration::from_millis(250)) {
        pipeline.resources().iter().for_each(|resource| resource.read(&mut Reading::default()));
    }
    let mut words = 0;
    map.for_each(|_, count| words += *count as u64);
    words
}

fn by_hand(files: &[PathBuf]) -> Counts {
    let count = |mut counts: Counts, file: &PathBuf| {
        let bytes = std::fs::read(file).unwrap_or_default();
        if bytes.is_ascii() {
            let mut word = Vec::new();
            for word_bytes in bytes.split(|byte| !byte.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
                word.clear();
                word.extend(word_bytes.iter().map(u8::to_ascii_lowercase));
                add(&mut counts, &word, 1);
            }
        } else {
            count_text(&String::from_utf8_lossy(&bytes), &mut counts);
        }
        counts
    };
    let merge = |a: Counts, b: Counts| {
        let (mut more, fewer) = if a.len() > b.len() { (a, b) } else { (b, a) };
        fewer.iter().for_each(|(word, n)| add(&mut more, word, *n));
        more
    };
    files.par_iter().fold(Counts::default, count).reduce(Counts::default, merge)
}

fn plain(files: &[PathBuf]) -> Counts {
    let mut counts = Counts::default();
    for file in files {
        count_text(&String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()), &mut counts);
    }
    counts
}

fn count_text(text: &str, counts: &mut Counts) {
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        add(counts, word.to_lowercase().as_bytes(), 1);
    }
}

fn add(counts: &mut Counts, word: &[u8], n: i64) {
    match counts.get_mut(word) {
        Some(count) => *count += n,
        None => {
            counts.insert(word.into(), n);
        }
    }
}
