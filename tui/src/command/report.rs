//! A run's result as tables for people.

use crate::scrub::scrubbed;
use crate::{units, wording};
use comfy_table::{CellAlignment, Table, presets};
use rheostat_api::{Event, OpResult, Phase, RunResult, Threshold};
use std::time::Duration;

/// The whole report: what ran, tables of what was measured, and what is to be made of it.
pub fn text(result: &RunResult) -> String {
    let mut parts = vec![format!("{}  run {}  seed {}", result.name, result.run, result.seed)];
    let head = ["phase", "role", "time", "records", "records/s", "bytes", "bytes/s"];
    parts.extend(table(&head, result.phases.iter().map(phase)));
    let head = ["op", "count", "per second", "hits", "p50", "p99", "max", "timed"];
    parts.extend(result.phases.iter().filter_map(|phase| table(&head, phase.ops.iter().map(op))));
    let head = ["at", "turned", "from", "to", "took"];
    parts.extend(table(&head, result.phases.iter().flat_map(|phase| &phase.events).map(event)));
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
        let word = if check.pass { "ok" } else { "WRONG" };
        format!("check {}: {word}, {} compared; {}", check.name, units::grouped(check.compared as f64), check.detail)
    });
    let thresholds = result.thresholds.iter().map(|threshold| {
        let value = units::or_unknown(threshold.value, measured(threshold));
        format!("threshold {}: {}, measured {value}", threshold.expr, threshold.verdict)
    });
    let notes = result.notes.iter().map(|note| format!("note: {note}"));
    let verdict = format!("verdict: {}", wording::verdict(result.verdict));
    checks.chain(thresholds).chain(notes).chain([verdict]).collect()
}

fn phase(phase: &Phase) -> Vec<String> {
    let bytes = |number: f64, show: fn(f64) -> String| if phase.bytes == 0 { String::new() } else { show(number) };
    vec![
        phase.name.clone(),
        phase.role.clone(),
        nanoseconds(phase.duration_ns as f64),
        units::grouped(phase.items as f64),
        units::count(phase.items_per_s),
        bytes(phase.bytes as f64, units::bytes),
        bytes(phase.bytes_per_s, units::bytes_rate),
    ]
}

fn op(op: &OpResult) -> Vec<String> {
    let quantile = |number: Option<f64>| units::or_unknown(number, nanoseconds);
    let service = op.service.as_ref();
    vec![
        format!("{}.{}", op.target, op.op),
        units::grouped(op.count as f64),
        units::count(op.per_s),
        units::grouped(op.hits as f64),
        quantile(service.and_then(|spread| spread.p50)),
        quantile(service.and_then(|spread| spread.p99)),
        quantile(service.map(|spread| spread.max)),
        if service.is_some() { format!("1 in {}", op.sample_1_in) } else { "no".to_owned() },
    ]
}

fn event(event: &Event) -> Vec<String> {
    let took = match &event.error {
        Some(error) => format!("failed: {error}"),
        None => nanoseconds(event.took_ns as f64),
    };
    vec![nanoseconds(event.at_ns as f64), event.knob.clone(), event.from.to_string(), event.to.to_string(), took]
}

/// How the value of a threshold is written. It is that of the first condition if all hold, else of one that does not;
/// where those could be of different kinds, only the bare number is sure to be right.
fn measured(threshold: &Threshold) -> fn(f64) -> String {
    let first_decides = threshold.verdict == "pass";
    let conditions = threshold.expr.split(" and ").take(if first_decides { 1 } else { usize::MAX });
    let mut kinds = conditions.map(|condition| {
        let path = condition.split(['<', '>', '=', '!']).next().unwrap_or_default().trim();
        kind(path.rsplit('.').next().unwrap_or_default())
    });
    let first = kinds.next().unwrap_or(Kind::Number);
    match first {
        _ if kinds.any(|other| other != first) => units::count,
        Kind::Number => units::count,
        Kind::Rate => units::rate,
        Kind::BytesRate => units::bytes_rate,
        Kind::Share => units::percent,
        Kind::Time => nanoseconds,
    }
}

/// What a metric measures.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Number,
    Rate,
    BytesRate,
    Share,
    Time,
}

/// The kind of a metric by the last word of its path.
fn kind(figure: &str) -> Kind {
    match figure {
        "throughput" => Kind::Rate,
        "bandwidth" => Kind::BytesRate,
        "hit_ratio" => Kind::Share,
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
    table.load_style(presets::NOTHING).set_header(head.iter().copied());
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.iter().map(|cell| scrubbed(cell)).collect()).collect();
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
            ("kv.get.p50 < 1us and kv.get.max < 1ms", "fail", 2e6, "2ms"),
            ("events.took < 1ms and throughput > 1", "pass", 5000.0, "5us"),
            ("events.took < 1ms and throughput > 1", "fail", 5000.0, "5k"),
        ] {
            let threshold = Threshold { expr: expr.into(), value: Some(value), verdict: verdict.into() };
            assert_eq!(measured(&threshold)(value), shown, "{expr} {verdict}");
        }
    }

    #[test]
    fn a_report_says_what_was_measured_and_what_to_make_of_it() {
        insta::assert_snapshot!(text(&sketch::result()));
    }
}
