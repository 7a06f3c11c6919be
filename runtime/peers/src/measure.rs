//! Repetitions in turn, those that others disturbed thrown away, and the tables that are made of the rest.

use crate::Options;
use rustix::time::{ClockId, clock_gettime};
use std::fmt;
use std::process::Command;
use std::sync::{Barrier, LazyLock};
use std::thread;
use std::time::Instant;

/// What one repetition measured for one column.
#[derive(Clone, Copy)]
pub struct Figure {
    pub ns: f64,
    /// Whether somebody else's work ran in between on the cores it was taken on.
    pub disturbed: bool,
}

/// One row of a table.
pub struct Contender<'a> {
    pub name: String,
    /// One repetition, under the seed it is given: a figure for each column, `None` where it does not apply.
    pub run: Box<dyn FnMut(u64) -> Vec<Option<Figure>> + 'a>,
    /// What stands behind the figures.
    pub remark: String,
}

/// The figures of one contender, by repetition and column.
pub struct Row {
    pub name: String,
    figures: Vec<Vec<Option<Figure>>>,
    remark: String,
}

/// Of each undisturbed repetition that is wanted, how many are tried at most.
const TRIES: usize = 3;
/// A thread that was runnable and did not run for more than this part of its time was disturbed.
const WAITED_MAX: f64 = 0.02;

static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));

/// Runs the contenders in turn, once to warm up, then until each has `repetitions` that nobody disturbed in any column, or
/// has had its tries. All contenders of a repetition see the same seed.
pub fn repeat(options: Options, mut contenders: Vec<Contender<'_>>) -> Vec<Row> {
    let wanted = options.repetitions();
    contenders.retain(|contender| options.wants(&contender.name));
    let mut rows: Vec<Row> = contenders
        .iter()
        .map(|contender| Row { name: contender.name.clone(), figures: Vec::new(), remark: contender.remark.clone() })
        .collect();
    let mut seeds = fastrand::Rng::with_seed(options.seed);
    for repetition in 0..=wanted * TRIES {
        let seed = seeds.u64(..);
        for (contender, row) in contenders.iter_mut().zip(&mut rows) {
            let figures = (contender.run)(seed);
            if repetition > 0 {
                row.figures.push(figures);
            }
        }
        if rows.iter().all(|row| row.undisturbed() >= wanted) {
            break;
        }
    }
    rows
}

impl Row {
    /// Repetitions undisturbed in every column.
    fn undisturbed(&self) -> usize {
        self.figures.iter().filter(|figures| figures.iter().flatten().all(|figure| !figure.disturbed)).count()
    }

    /// The figures of a column: the undisturbed ones, or all if there are none; and whether these are.
    fn column(&self, column: usize) -> (Vec<f64>, bool) {
        let all = || self.figures.iter().filter_map(move |figures| figures[column]);
        let clean: Vec<f64> = all().filter(|figure| !figure.disturbed).map(|figure| figure.ns).collect();
        if clean.is_empty() { (all().map(|figure| figure.ns).collect(), false) } else { (clean, true) }
    }

    /// By how much a column exceeds that of another row, over the repetitions in which neither was disturbed.
    pub fn excess(&self, other: &Row, column: usize) -> Option<Spread> {
        let pairs = self.figures.iter().zip(&other.figures).filter_map(|(own, other)| own[column].zip(other[column]));
        let clean = pairs.filter(|(own, other)| !own.disturbed && !other.disturbed);
        Spread::of(clean.map(|(own, other)| own.ns - other.ns).collect())
    }
}

/// Prints rows as Markdown: median, least and greatest of each column; `~` where no repetition was undisturbed.
pub fn print(title: &str, columns: &[&str], remark: &str, rows: &[Row]) {
    println!("\n### {title}\n\n| contender | {} | {remark} | repetitions, undisturbed |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len() + 3));
    for row in rows {
        let cells: Vec<String> = (0..columns.len())
            .map(|column| {
                let (figures, clean) = row.column(column);
                let mark = if clean { "" } else { "~" };
                Spread::of(figures).map_or("-".into(), |spread| format!("{mark}{spread}"))
            })
            .collect();
        let (cells, all, clean) = (cells.join(" | "), row.figures.len(), row.undisturbed());
        println!("| {} | {cells} | {} | {all}, {clean} |", row.name, row.remark);
    }
}

/// Prints by how much each of the named rows exceeds the one named beside it.
pub fn print_faces(columns: &[&str], rows: &[Row], faces: &[(&str, &str)]) {
    println!("\n| face | adds to | {} |\n|---|---|{}", columns.join(" | "), "---|".repeat(columns.len()));
    let find = |name: &str| rows.iter().find(|row| row.name == name);
    for (face, behind) in faces {
        let (Some(row), Some(alone)) = (find(face), find(behind)) else { continue };
        let adds = |column| row.excess(alone, column).map_or("~".into(), |spread| format!("{spread} ns"));
        let cells: Vec<String> = (0..columns.len()).map(adds).collect();
        println!("| {face} | {behind} | {} |", cells.join(" | "));
    }
}

/// Three digits, as many as a figure of a shared machine deserves.
pub fn brief(figure: f64) -> String {
    match figure.abs() {
        0.0..10.0 => format!("{figure:.2}"),
        10.0..100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

/// Median, least and greatest.
pub struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        Some(Self { least: *figures.first()?, median: figures[figures.len() / 2], most: *figures.last()? })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}..{})", brief(self.median), brief(self.least), brief(self.most))
    }
}

/// Cores that this program may use.
pub fn cores() -> usize {
    *CORES
}

/// Runs bodies at once, each on a thread pinned to a core of its own as far as there are cores. Returns what they return,
/// and the nanoseconds from the first beginning to the last end, divided by `operations`.
pub fn together<R: Send>(operations: u64, bodies: Vec<Box<dyn FnOnce() -> R + Send + '_>>) -> (Figure, Vec<R>) {
    let oversubscribed = bodies.len() > *CORES;
    let start = Barrier::new(bodies.len());
    let results: Vec<(Instant, Instant, bool, R)> = thread::scope(|scope| {
        let threads: Vec<_> = bodies
            .into_iter()
            .enumerate()
            .map(|(core, body)| {
                let start = &start;
                scope.spawn(move || {
                    pin(core);
                    start.wait();
                    let (waited, began) = (waited_ns(), Instant::now());
                    let result = body();
                    let ended = Instant::now();
                    let waited = waited_ns().saturating_sub(waited) as f64;
                    (began, ended, waited > WAITED_MAX * (ended - began).as_nanos() as f64, result)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a contender panicked")).collect()
    });
    let began = results.iter().map(|result| result.0).min().expect("at least one body");
    let ended = results.iter().map(|result| result.1).max().expect("at least one body");
    // With more threads than cores they disturb each other, and nobody can tell by whom a thread was kept waiting.
    let disturbed = !oversubscribed && results.iter().any(|result| result.2);
    let ns = (ended - began).as_nanos() as f64 / operations as f64;
    (Figure { ns, disturbed }, results.into_iter().map(|result| result.3).collect())
}

/// Runs a body on a thread of its own. Its time is that of the processor that ran it: what others ran there in between
/// disturbs its caches at most.
pub fn alone<R: Send>(operations: u64, body: impl FnOnce() -> R + Send) -> (Figure, R) {
    alone_with(operations, || (), |()| body())
}

/// The same, with something that is made on that thread before, and dropped after, in nobody's time.
pub fn alone_with<S, R: Send>(
    operations: u64,
    make: impl FnOnce() -> S + Send,
    body: impl FnOnce(&S) -> R + Send,
) -> (Figure, R) {
    let timed: Box<dyn FnOnce() -> (u64, R) + Send> = Box::new(|| {
        let made = make();
        let began = processor_ns();
        let result = body(&made);
        (processor_ns() - began, result)
    });
    let (figure, results) = together(operations, vec![timed]);
    let (ns, result) = results.into_iter().next().expect("one body");
    (Figure { ns: ns as f64 / operations as f64, ..figure }, result)
}

/// How long the calling thread has run.
fn processor_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How long the calling thread has been runnable without running.
pub fn waited_ns() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    schedstat.split_whitespace().nth(1).and_then(|waited| waited.parse().ok()).unwrap_or(0)
}

/// Pins the calling thread to one core, wrapping past the last.
fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core % *CORES);
    // Where it is not allowed the figures are noisier, not wrong.
    _ = rustix::thread::sched_setaffinity(None, &set);
}

/// A word on threads for the title of a table.
pub fn threads(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    let over = if count > *CORES { ", more than there are cores" } else { "" };
    format!("{count} thread{plural}{over}")
}

/// Prints what the figures were taken on.
pub fn describe_run(options: Options) {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit =
        output.map_or_else(|_| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    println!(
        "{}, {} cores; commit {commit}; mimalloc (C++: {}); the workspace's release profile; seed {}{}",
        model.trim_start_matches([':', '\t', ' ']),
        *CORES,
        std::env::var("LD_PRELOAD").unwrap_or_else(|_| "glibc's allocator".into()),
        options.seed,
        if options.quick { "; **quick: shows that everything runs, proves nothing**" } else { "" },
    );
}
