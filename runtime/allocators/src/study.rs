//! The study: processes of this program, one after the other, each under another allocator.
//!
//! Allocators take turns within a repetition, so that what the machine does meanwhile falls on all of them.

use crate::case::{Case, Figure};
use crate::chosen::{VARIABLE, chosen};
use crate::{Allocator, Cli};
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

/// What all processes measured.
pub struct Study {
    pub figures: Vec<(Allocator, Figure)>,
    pub threads: Vec<u32>,
    pub repetitions: u32,
    pub quick: bool,
}

/// Does the work of one process, a figure a line.
pub fn work(cli: &Cli) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    for case in Case::ALL {
        for threads in cli.threads() {
            let figure = case.run(threads, cli.quick);
            let line = serde_json::to_string(&figure).expect("numbers and a word");
            if writeln!(stdout, "{} {line}", chosen().name()).is_err() {
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Has the work done under every allocator, so many times.
pub fn run(cli: &Cli) -> Result<Study, String> {
    let threads = cli.threads();
    let mut figures = Vec::new();
    for _ in 0..cli.repetitions {
        for &allocator in Allocator::ALL {
            let done = process(cli, allocator, &threads)?;
            figures.extend(done.into_iter().map(|figure| (allocator, figure)));
        }
    }
    let study = Study { figures, threads, repetitions: cli.repetitions, quick: cli.quick };
    study.holds().map(|()| study)
}

fn process(cli: &Cli, allocator: Allocator, threads: &[u32]) -> Result<Vec<Figure>, String> {
    let name = allocator.name();
    let failed = |why: &dyn std::fmt::Display| format!("the process under {name} failed: {why}");
    let own = std::env::current_exe().map_err(|error| failed(&error))?;
    let threads: Vec<_> = threads.iter().map(u32::to_string).collect();
    let mut command = Command::new(own);
    command.arg("--work").arg("--threads").arg(threads.join(",")).args(cli.quick.then_some("--quick"));
    command.env(VARIABLE.to_str().expect("letters"), name).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&output.status));
    }
    let text = String::from_utf8(output.stdout).map_err(|error| failed(&error))?;
    let figure = |line: &str| match line.split_once(' ') {
        Some((said, figure)) if said == name => serde_json::from_str(figure).map_err(|error| failed(&error)),
        _ => Err(failed(&format_args!("it says `{line}`"))),
    };
    text.lines().map(figure).collect()
}

impl Study {
    /// The work must have been the same everywhere, or nothing can be compared.
    fn holds(&self) -> Result<(), String> {
        for case in Case::ALL {
            let mut proofs =
                self.figures.iter().filter(|(_, figure)| figure.case == case).map(|(_, figure)| figure.proof);
            let first = proofs.next();
            if let Some(other) = proofs.find(|proof| Some(*proof) != first) {
                return Err(format!("the work was not the same: proofs {first:?} and {other} of {case:?}"));
            }
        }
        Ok(())
    }

    /// Nanoseconds of every repetition.
    pub fn times(&self, allocator: Allocator, case: Case, threads: u32) -> Vec<u64> {
        let wanted =
            |(of, figure): &&(Allocator, Figure)| *of == allocator && figure.case == case && figure.threads == threads;
        self.figures.iter().filter(wanted).map(|(_, figure)| figure.nanoseconds).collect()
    }

    /// Operations of a case, and the proof that they were done.
    pub fn operations(&self, case: Case) -> (u64, u64) {
        let first = self.figures.iter().find(|(_, figure)| figure.case == case);
        first.map_or((0, 0), |(_, figure)| (figure.operations, figure.proof))
    }
}
