//! The study as tables, and as JSON.

use crate::Allocator;
use crate::case::Case;
use crate::study::Study;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, ExitCode};

/// One row: an allocator at a thread count.
#[derive(Debug, Serialize)]
struct Row {
    case: Case,
    allocator: &'static str,
    threads: u32,
    operations: u64,
    /// Wall time of the whole work: median, least, greatest.
    nanoseconds: [u64; 3],
    operations_per_second: f64,
    /// One thread's median over this one, of the same allocator.
    speed_up: f64,
    /// Speed-up over threads.
    efficiency: f64,
    /// The time over the system's allocator's at as many threads, repetition by repetition: median, least, greatest.
    over_system: [f64; 3],
    proof: u64,
}

#[derive(Debug, Serialize)]
struct Document {
    machine: String,
    cores: usize,
    repetitions: u32,
    quick: bool,
    rows: Vec<Row>,
}

fn spread<T: Copy + PartialOrd>(mut numbers: Vec<T>) -> Option<[T; 3]> {
    numbers.sort_by(|a, b| a.partial_cmp(b).expect("a number"));
    Some([*numbers.get(numbers.len() / 2)?, *numbers.first()?, *numbers.last()?])
}

fn rows(study: &Study, case: Case) -> Vec<Row> {
    let (operations, proof) = study.operations(case);
    let row = |allocator: Allocator, threads| {
        let times = study.times(allocator, case, threads);
        let system = study.times(Allocator::System, case, threads);
        let over_system = times.iter().zip(system).map(|(own, system)| *own as f64 / system as f64).collect();
        let nanoseconds = spread(times)?;
        // Without one thread in the study there is nothing to speed up from.
        let one = spread(study.times(allocator, case, 1)).map_or(f64::NAN, |[median, ..]| median as f64);
        let speed_up = one / nanoseconds[0] as f64;
        Some(Row {
            case,
            allocator: allocator.name(),
            threads,
            operations,
            nanoseconds,
            operations_per_second: operations as f64 * 1e9 / nanoseconds[0] as f64,
            speed_up,
            efficiency: speed_up / f64::from(threads),
            over_system: spread(over_system)?,
            proof,
        })
    };
    let pairs =
        Allocator::ALL.iter().flat_map(|allocator| study.threads.iter().map(move |threads| (*allocator, *threads)));
    pairs.filter_map(|(allocator, threads)| row(allocator, threads)).collect()
}

fn machine() -> (String, usize) {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    let model = model.trim_start_matches([':', '\t', ' ']).to_owned();
    (model, std::thread::available_parallelism().map_or(0, usize::from))
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints JSON.
pub fn json(study: &Study) -> ExitCode {
    let (machine, cores) = machine();
    let rows = Case::ALL.into_iter().flat_map(|case| rows(study, case)).collect();
    let document = Document { machine, cores, repetitions: study.repetitions, quick: study.quick, rows };
    print(&(serde_json::to_string_pretty(&document).expect("numbers and words") + "\n"))
}

/// Prints a table a case.
pub fn markdown(study: &Study) -> ExitCode {
    print(&text(study))
}

fn text(study: &Study) -> String {
    let (machine, cores) = machine();
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit =
        output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let mut text = format!(
        "{machine}, {cores} cores; commit {commit}; medians of {} with least and greatest{}\n",
        study.repetitions,
        if study.quick { "; quick, so it proves nothing" } else { "" }
    );
    for case in Case::ALL {
        let ((title, what), (operations, proof)) = (case.title(), study.operations(case));
        _ = write!(
            text,
            "\n### {title}\n\n{operations} {what} at every thread count; proof {proof}.\n\n\
             | allocator | threads | ms | {what}/s | speed-up | efficiency | time / system's |\n|---|---|---|---|---|---|---|\n"
        );
        for row in rows(study, case) {
            let [median, least, most] = row.nanoseconds.map(|nanoseconds| nanoseconds as f64 / 1e6);
            let [ratio, lowest, highest] = row.over_system;
            let oversubscribed = if row.threads as usize > cores { " (more than cores)" } else { "" };
            _ = writeln!(
                text,
                "| {} | {}{oversubscribed} | {median:.1} ({least:.1}..{most:.1}) | {:.2} M | {:.2} | {:.0} % | \
                 {ratio:.2} ({lowest:.2}..{highest:.2}) |",
                row.allocator,
                row.threads,
                row.operations_per_second / 1e6,
                row.speed_up,
                row.efficiency * 100.0
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Figure;

    #[test]
    fn speed_up_is_over_one_thread_and_efficiency_over_threads() {
        let figure = |threads, nanoseconds| Figure {
            case: Case::ParallelInsert,
            threads,
            operations: 100,
            nanoseconds,
            proof: 1,
        };
        let figures = Allocator::ALL.iter().flat_map(|allocator| {
            let slower = if *allocator == Allocator::System { 2 } else { 1 };
            [(1, 800), (1, 900), (1, 1000), (4, 290), (4, 300), (4, 400)]
                .map(|(threads, nanoseconds)| (*allocator, figure(threads, slower * nanoseconds)))
        });
        let study = Study { figures: figures.collect(), threads: vec![1, 4], repetitions: 3, quick: false };
        let rows = rows(&study, Case::ParallelInsert);
        assert_eq!(rows.len(), 2 * Allocator::ALL.len());
        let row = rows.iter().find(|row| row.allocator == "mimalloc" && row.threads == 4).unwrap();
        assert_eq!((row.nanoseconds, row.speed_up, row.efficiency), ([300, 290, 400], 3.0, 0.75));
        assert_eq!(row.over_system[0], 0.5);
        assert!(
            text(&study).contains("| mimalloc | 4 | 0.0 (0.0..0.0) |") || text(&study).contains("| mimalloc | 4 (more")
        );
    }
}
