//! `run --sweep`: a workload over the values of its variables, compared in one table.
//!
//! The runs come one after the other, each on targets of its own. One run of each is a look, no proof: what the machine
//! does besides is in the difference too, and the table says so.

use crate::scrub::scrubbed;
use crate::{units, wording};
use rheostat_api::{CheckVerdict, OpResult, RunResult, RunVerdict};
use std::fmt::Write;
use std::time::Duration;

/// Runs of one sweep at most.
const CELLS_MAX: usize = 256;

/// A variable and its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    name: String,
    values: Vec<String>,
}

/// A value for each variable.
pub type Cell = Vec<(String, String)>;

impl Axis {
    /// Reads `backend=sharded,lock_free`.
    ///
    /// # Errors
    /// Nothing before or behind the sign, or too many values.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no sweep: write NAME=VALUE,VALUE");
        let (name, values) = text.split_once('=').ok_or_else(refuse)?;
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        if name.is_empty() || values.iter().any(String::is_empty) || values.len() > CELLS_MAX {
            return Err(refuse());
        }
        Ok(Self { name: name.to_owned(), values })
    }
}

/// Every combination, the last variable changing soonest.
pub fn cells(axes: &[Axis]) -> Vec<Cell> {
    let mut cells: Vec<Cell> = vec![Vec::new()];
    for axis in axes {
        let with = |cell: &Cell, value: &String| [&cell[..], &[(axis.name.clone(), value.clone())]].concat();
        cells = cells.iter().flat_map(|cell| axis.values.iter().map(move |value| with(cell, value))).collect();
        cells.truncate(CELLS_MAX);
    }
    cells
}

/// `backend=sharded workers=2`.
pub fn spelled(cell: &Cell) -> String {
    cell.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// The one of two verdicts that the whole comes to.
pub fn worse(a: RunVerdict, b: RunVerdict) -> RunVerdict {
    let weight = |verdict| match verdict {
        RunVerdict::Incorrect => 5,
        RunVerdict::Error => 4,
        RunVerdict::Cancelled => 3,
        RunVerdict::Failed => 2,
        RunVerdict::Inconclusive => 1,
        RunVerdict::Pass => 0,
    };
    if weight(b) > weight(a) { b } else { a }
}

/// The results side by side, in Markdown: an operation of a measured phase to the row.
pub fn report(done: &[(Cell, RunResult)]) -> String {
    let Some((first, reference)) = done.first() else { return "nothing was measured".to_owned() };
    let mut text = format!("{}, seed {}\n\n", reference.name, reference.seed);
    let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    let _ = writeln!(
        text,
        "| {} | operation | per second | of first | p50 | p99 | p99.9 | max | verdict |",
        names.join(" | ")
    );
    let _ = writeln!(text, "|{}", "---|".repeat(names.len() + 8));
    for (cell, result) in done {
        let values: Vec<&str> = cell.iter().map(|(_, value)| value.as_str()).collect();
        for (phase, op) in ops(result) {
            let same = ops(reference).find(|(other, of)| *other == phase && of.op == op.op && of.target == op.target);
            let ratio = same.map_or_else(String::new, |(_, of)| format!("{:.2}", op.per_s / of.per_s));
            let times = op.response.as_ref().or(op.service.as_ref());
            let time = |ns: Option<f64>| units::or_unknown(ns, nanoseconds);
            let row = [
                values.join(" | "),
                format!("{phase} {}.{}", op.target, op.op),
                units::count(op.per_s),
                ratio,
                time(times.and_then(|times| times.p50)),
                time(times.and_then(|times| times.p99)),
                time(times.and_then(|times| times.p999)),
                time(times.map(|times| times.max)),
                wording::verdict(result.verdict).to_owned(),
            ];
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
    }
    for (cell, result) in done.iter().filter(|(_, result)| result.verdict != RunVerdict::Pass) {
        for check in result.checks.iter().filter(|check| check.verdict != CheckVerdict::Pass) {
            let _ = write!(text, "\n{}: check {}: {}", spelled(cell), check.name, check.detail);
        }
        for threshold in result.thresholds.iter().filter(|threshold| threshold.verdict != "pass") {
            let why = threshold.why.as_ref().map_or_else(String::new, |why| format!(", {why}"));
            let _ = write!(text, "\n{}: threshold {}: {}{why}", spelled(cell), threshold.expr, threshold.verdict);
        }
    }
    text.push_str("\n\nOne run of each, one after the other: a difference the machine's noise can make means nothing.");
    text.lines().map(scrubbed).collect::<Vec<_>>().join("\n")
}

/// The operations of the phases that a run is about.
fn ops(result: &RunResult) -> impl Iterator<Item = (&str, &OpResult)> {
    let measured = result.phases.iter().filter(|phase| phase.role == "measure");
    measured.flat_map(|phase| phase.ops.iter().map(|op| (phase.name.as_str(), op)))
}

fn nanoseconds(number: f64) -> String {
    units::latency(Duration::from_nanos(number.max(0.0) as u64).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch;

    #[test]
    fn every_combination_comes_once() {
        let axes = [Axis::parse("backend=sharded,lock_free").unwrap(), Axis::parse("workers=1, 2").unwrap()];
        let spelled: Vec<String> = cells(&axes).iter().map(super::spelled).collect();
        let expected = ["sharded workers=1", "sharded workers=2", "lock_free workers=1", "lock_free workers=2"];
        assert_eq!(spelled, expected.map(|cell| format!("backend={cell}")));
        for text in ["backend", "=a", "backend=", "backend=a,,b"] {
            assert!(Axis::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cells_stand_side_by_side() {
        let cell = |backend: &str| vec![("backend".to_owned(), backend.to_owned())];
        let (one, mut other) = (sketch::result(), sketch::result());
        other.phases[0].ops[1].per_s *= 1.5;
        other.verdict = RunVerdict::Pass;
        insta::assert_snapshot!(report(&[(cell("sharded"), one), (cell("lock_free"), other)]));
    }

    #[test]
    fn the_whole_is_as_bad_as_its_worst() {
        use RunVerdict::{Failed, Inconclusive, Incorrect, Pass};
        assert_eq!([Pass, Failed, Inconclusive].into_iter().reduce(worse), Some(Failed));
        assert_eq!([Incorrect, Failed, Pass].into_iter().reduce(worse), Some(Incorrect));
    }
}
