//! A run's result as tables for people.

use crate::scrub::scrubbed;
use crate::{units, wording};
use comfy_table::{CellAlignment, Table, presets};
use rheostat_api::{CheckVerdict, Event, OpResult, Phase, Quantiles, RunResult, Threshold};
use std::collections::BTreeMap;
use std::time::Duration;

/// The whole report: what ran, tables of what was measured, and what is to be made of it.
pub fn text(result: &RunResult) -> String {
    let mut parts = vec![format!("{}  run {}  seed {}", result.name, result.run, result.seed)];
    let head = [
        "phase",
        "role",
        "time",
        "records",
        "records/s",
        "worst/s",
        "delivered",
        "memory",
        "allocated",
        "bytes",
        "bytes/s",
    ];
    parts.extend(table(&head, result.phases.iter().map(phase)));
    let head = ["op", "count", "per second", "hits", "fair", "p50", "p99", "p99.9", "max", "timed"];
    parts.extend(result.phases.iter().filter_map(|phase| {
        let shown = table(&head, phase.ops.iter().flat_map(op))?;
        // With one phase there is nothing to tell apart.
        Some(if result.phases.len() > 1 { format!(" {}\n{shown}", phase.name) } else { shown })
    }));
    parts.extend(turns(&result.phases));
    parts.extend(result.tables.iter().filter_map(|shown| {
        let rows = shown.rows.iter().map(|row| vec![row.key.clone(), units::grouped(row.value as f64)]);
        table(&[shown.title.as_str(), ""], rows)
    }));
    parts.push(findings(result).join("\n"));
    let text = parts.join("\n\n");
    text.lines().map(|line| scrubbed(line).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn findings(result: &RunResult) -> Vec<String> {
    let checks = result.checks.iter().map(|check| {
        let word = match check.verdict {
            CheckVerdict::Pass => "ok",
            CheckVerdict::Fail => "WRONG",
            CheckVerdict::Inconclusive => "inconclusive",
        };
        format!("check {}: {word}, {} compared; {}", check.name, units::grouped(check.compared as f64), check.detail)
    });
    let thresholds = result.thresholds.iter().map(|threshold| {
        let found = match (threshold.value, &threshold.why) {
            (None, Some(why)) => why.clone(),
            (value, _) => format!("measured {}", units::or_unknown(value, measured(threshold))),
        };
        format!("threshold {}: {}, {found}", threshold.expr, threshold.verdict)
    });
    let notes = result.notes.iter().map(|note| format!("note: {note}"));
    let verdict = format!("verdict: {}", wording::verdict(result.verdict));
    checks.chain(thresholds).chain(notes).chain([verdict]).collect()
}

fn phase(phase: &Phase) -> Vec<String> {
    let bytes = |number: f64, show: fn(f64) -> String| if phase.bytes == 0 { String::new() } else { show(number) };
    let known = |number: Option<f64>, show: fn(f64) -> String| number.map(show).unwrap_or_default();
    vec![
        phase.name.clone(),
        phase.role.clone(),
        nanoseconds(phase.duration_ns as f64),
        units::grouped(phase.items as f64),
        units::count(phase.items_per_s),
        known(phase.items_per_s_min, units::count),
        known(phase.delivered(), units::percent),
        known(phase.memory_growth_bytes.map(|bytes| bytes as f64), units::memory),
        known(phase.allocated_bytes.map(|bytes| bytes as f64), units::memory),
        bytes(phase.bytes as f64, units::bytes),
        bytes(phase.bytes_per_s, units::bytes_rate),
    ]
}

/// A row of the times an operation took; of one that was due at some time, another of the times from then.
fn op(op: &OpResult) -> Vec<Vec<String>> {
    let times = |times: Option<&Quantiles>| {
        let quantile = |number: Option<f64>| units::or_unknown(number, nanoseconds);
        [
            quantile(times.and_then(|spread| spread.p50)),
            quantile(times.and_then(|spread| spread.p99)),
            quantile(times.and_then(|spread| spread.p999)),
            quantile(times.map(|spread| spread.max)),
        ]
    };
    let mut row = vec![
        format!("{}.{}", op.target, op.op),
        units::grouped(op.count as f64),
        units::count(op.per_s),
        units::grouped(op.hits as f64),
        op.fairness.map(|fairness| format!("{fairness:.2}")).unwrap_or_default(),
    ];
    row.extend(times(op.service.as_ref()));
    row.push(if op.service.is_some() { format!("1 in {}", op.sample_1_in) } else { "no".to_owned() });
    let mut rows = vec![row];
    if let (Some(response), Some(due)) = (&op.response, op.due) {
        let mut row = vec!["  from when due".to_owned(), units::grouped(due as f64)];
        row.extend([const { String::new() }; 3]);
        row.extend(times(Some(response)));
        row.push("all".to_owned());
        rows.push(row);
    }
    rows
}

/// Turns that are shown one by one; of more, what they came to.
const TURNS_SHOWN: usize = 12;

/// The knobs that were turned.
fn turns(phases: &[Phase]) -> Option<String> {
    let events: Vec<&Event> = phases.iter().flat_map(|phase| &phase.events).collect();
    if events.len() <= TURNS_SHOWN {
        return table(&["at", "turned", "from", "to", "took"], events.into_iter().map(event));
    }
    let mut by_knob = BTreeMap::<&str, Vec<&Event>>::new();
    events.iter().for_each(|event| by_knob.entry(&event.knob).or_default().push(event));
    let rows = by_knob.into_iter().map(|(knob, events)| {
        let mut took: Vec<u64> = events.iter().filter(|event| event.error.is_none()).map(|e| e.took_ns).collect();
        took.sort_unstable();
        let failed = events.len() - took.len();
        let time = |ns: Option<&u64>| units::or_unknown(ns.map(|ns| *ns as f64), nanoseconds);
        let why = events.iter().rev().find_map(|event| event.error.clone()).unwrap_or_default();
        vec![
            knob.to_owned(),
            units::grouped(events.len() as f64),
            time(took.get(took.len() / 2)),
            time(took.last()),
            units::grouped(failed as f64),
            why,
        ]
    });
    table(&["turned", "times", "took p50", "took max", "failed", "why"], rows)
}

fn event(event: &Event) -> Vec<String> {
    let took = match &event.error {
        Some(error) => format!("failed: {error}"),
        None => nanoseconds(event.took_ns as f64),
    };
    vec![nanoseconds(event.at_ns as f64), event.knob.clone(), event.from.to_string(), event.to.to_string(), took]
}

/// How the value of a threshold is written.
fn measured(threshold: &Threshold) -> fn(f64) -> String {
    let path = threshold.expr.split(['<', '>', '=', '!']).next().unwrap_or_default().trim();
    match kind(path.rsplit('.').next().unwrap_or_default()) {
        Kind::Number => units::count,
        Kind::Rate => units::rate,
        Kind::Memory => units::memory,
        Kind::BytesRate => units::bytes_rate,
        Kind::Share => units::percent,
        Kind::Time => nanoseconds,
    }
}

/// What a metric measures.
enum Kind {
    Number,
    Rate,
    Memory,
    BytesRate,
    Share,
    Time,
}

/// The kind of a metric by the last word of its path.
fn kind(figure: &str) -> Kind {
    match figure {
        "throughput" | "throughput_min" => Kind::Rate,
        "memory" => Kind::Memory,
        "bandwidth" => Kind::BytesRate,
        "hit_ratio" | "delivered" => Kind::Share,
        "duration" | "took" | "max" => Kind::Time,
        _ if figure.strip_prefix('p').is_some_and(|rank| rank.starts_with(|c: char| c.is_ascii_digit())) => Kind::Time,
        _ => Kind::Number,
    }
}

fn nanoseconds(number: f64) -> String {
    units::latency(Duration::from_nanos(number.max(0.0) as u64).as_secs_f64())
}

/// A table, unless it has no rows. Columns of numbers stand right: digits of the same weight below each other.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Option<String> {
    let mut table = Table::new();
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.iter().map(|cell| scrubbed(cell)).collect()).collect();
    // A column that says nothing of any row only takes room.
    let says: Vec<bool> = (0..head.len()).map(|column| rows.iter().any(|row| !row[column].is_empty())).collect();
    let head: Vec<&str> = head.iter().zip(&says).filter(|(_, says)| **says).map(|(name, _)| *name).collect();
    let kept = |row: Vec<String>| row.into_iter().zip(&says).filter(|(_, says)| **says).map(|(cell, _)| cell).collect();
    let rows: Vec<Vec<String>> = rows.into_iter().map(kept).collect();
    table.load_style(presets::NOTHING).set_header(head.iter().copied());
    let numeric = |column: usize| {
        let starts_with_digit = |row: &Vec<String>| row[column].starts_with(|c: char| c.is_ascii_digit());
        column > 0 && rows.iter().any(starts_with_digit)
    };
    for column in (0..head.len()).filter(|column| numeric(*column)) {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    if rows.is_empty() {
        return None;
    }
    table.add_rows(rows);
    Some(table.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch;

    #[test]
    fn the_value_of_a_threshold_has_the_unit_of_its_metric() {
        for (expr, verdict, value, shown) in [
            ("kv.get.p99 < 1us", "fail", 4860.0, "4.86us"),
            ("throughput >= 1M/s", "pass", 1_900_000.0, "1.9M/s"),
            ("bandwidth>=1MB/s", "pass", 214e6, "214 MB/s"),
            ("kv.get.hit_ratio > 0.5", "pass", 0.61, "61%"),
            ("events.made >= 100", "pass", 120.0, "120"),
            ("kv.get.response.max < 1ms", "fail", 2e6, "2ms"),
            ("events.took < 1ms", "pass", 5000.0, "5us"),
            ("memory < 1GiB", "pass", 5e6, "4.77 MiB"),
            ("delivered >= 99%", "fail", 0.5, "50%"),
            ("jobs.push.fairness > 0.9", "pass", 0.95, "0.95"),
        ] {
            let threshold = Threshold { expr: expr.into(), value: Some(value), verdict: verdict.into(), why: None };
            assert_eq!(measured(&threshold)(value), shown, "{expr} {verdict}");
        }
    }

    #[test]
    fn a_report_says_what_was_measured_and_what_to_make_of_it() {
        insta::assert_snapshot!(text(&sketch::result()));
    }
}
