//! Interleaved repetitions, and the tables that are made of them.

use std::process::Command;
use std::sync::LazyLock;

/// One contender of a case: a name, and a repetition that returns a figure and the count that proves its work.
pub struct Contender<'a> {
    /// Its name in the table.
    pub name: &'a str,
    /// One repetition.
    pub run: Box<dyn FnMut() -> (f64, u64) + 'a>,
}

impl<'a> Contender<'a> {
    /// Names a repetition.
    pub fn new(name: &'a str, run: impl FnMut() -> (f64, u64) + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// Runs the contenders in turn, once to warm up and `repetitions` times to count, and prints the median of each with
/// its spread and its ratio to the first, taken repetition by repetition.
pub fn compare(title: &str, unit: &str, repetitions: usize, mut contenders: Vec<Contender<'_>>) {
    let mut figures = vec![Vec::new(); contenders.len()];
    let mut proofs = vec![0; contenders.len()];
    for repetition in 0..=repetitions {
        for (index, contender) in contenders.iter_mut().enumerate() {
            let (figure, proof) = (contender.run)();
            proofs[index] = proof;
            if repetition > 0 {
                figures[index].push(figure);
            }
        }
    }
    println!(
        "\n### {title}\n\n| contender | {unit}, median (min..max) | ratio to the first (min..max) | proof |\n|---|---|---|---|"
    );
    for (index, contender) in contenders.iter().enumerate() {
        let ratios: Vec<f64> = figures[index].iter().zip(&figures[0]).map(|(own, first)| own / first).collect();
        let ((low, mid, high), (least, ratio, most)) = (spread(&figures[index]), spread(&ratios));
        println!(
            "| {} | {mid:.2} ({low:.2}..{high:.2}) | {ratio:.2} ({least:.2}..{most:.2}) | {} |",
            contender.name, proofs[index]
        );
    }
}

fn spread(figures: &[f64]) -> (f64, f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}

/// Pins the calling thread to one core, wrapping past the last.
pub fn pin(core: usize) {
    // Counted once: a thread that is pinned already, or made by one, is told that there is one core.
    static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut set = rustix::thread::CpuSet::new();
    set.set(core % *CORES);
    // Where it is not allowed the figures are noisier, not wrong.
    _ = rustix::thread::sched_setaffinity(None, &set);
}

/// Prints what the figures were taken on.
pub fn describe_machine() {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown")
        .trim_start_matches([':', '\t', ' ']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit =
        output.map_or_else(|_| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    println!("{model}, {cores} cores; commit {commit}; mimalloc; release profile of the workspace");
}
