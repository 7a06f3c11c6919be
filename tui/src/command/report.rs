//! A run's result as tables for people.

use crate::scrub::scrubbed;
use crate::{units, wording};
use comfy_table::{CellAlignment, Table, presets};
use rheostat_api::{Event, OpResult, Phase, RunResult};
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
        let value = units::or_unknown(threshold.value, units::count);
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
    fn a_report_says_what_was_measured_and_what_to_make_of_it() {
        insta::assert_snapshot!(text(&sketch::result()));
    }
}
