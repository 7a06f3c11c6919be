//! A run's result as tables for people.

use crate::scrub::scrubbed;
use crate::{units, wording};
use comfy_table::{CellAlignment, Table, presets};
use rheostat_api::{Phase, RunResult};
use std::time::Duration;

/// The whole report.
pub fn text(result: &RunResult) -> String {
    let mut parts = vec![format!("{}  run {}  seed {}", result.name, result.run, result.seed)];
    parts.push(table(
        &["phase", "role", "time", "records", "records/s", "bytes", "bytes/s"],
        result.phases.iter().map(phase),
    ));
    let ops: Vec<_> = result.phases.iter().flat_map(ops).collect();
    if !ops.is_empty() {
        parts.push(table(&["phase", "target", "op", "count", "per second", "hits", "p50", "p99", "max", "timed"], ops));
    }
    let events: Vec<_> = result.phases.iter().flat_map(events).collect();
    if !events.is_empty() {
        parts.push(table(&["at", "turned", "from", "to", "took"], events));
    }
    parts.extend(result.tables.iter().filter(|table| !table.rows.is_empty()).map(|shown| {
        let rows = shown.rows.iter().map(|row| vec![row.key.clone(), units::grouped(row.value as f64)]);
        table(&[shown.title.as_str(), ""], rows)
    }));
    for check in &result.checks {
        let word = if check.pass { "ok" } else { "WRONG" };
        let compared = units::grouped(check.compared as f64);
        parts.push(format!("check {}: {word}, {compared} compared  {}", check.name, check.detail));
    }
    for threshold in &result.thresholds {
        let value = units::or_unknown(threshold.value, |value| format!("{value}"));
        parts.push(format!("threshold {}: {}, measured {value}", threshold.expr, threshold.verdict));
    }
    parts.extend(result.notes.iter().map(|note| format!("note: {note}")));
    parts.push(format!("verdict: {}", wording::verdict(result.verdict)));
    let text = parts.join("\n");
    text.lines().map(|line| scrubbed(line).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
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

fn ops(phase: &Phase) -> impl Iterator<Item = Vec<String>> {
    phase.ops.iter().map(|op| {
        let quantile = |number: Option<f64>| units::or_unknown(number, nanoseconds);
        let service = op.service.as_ref();
        vec![
            phase.name.clone(),
            op.target.clone(),
            op.op.clone(),
            units::grouped(op.count as f64),
            units::count(op.per_s),
            units::grouped(op.hits as f64),
            quantile(service.and_then(|spread| spread.p50)),
            quantile(service.and_then(|spread| spread.p99)),
            quantile(service.map(|spread| spread.max)),
            if service.is_some() { format!("1 in {}", op.sample_1_in) } else { "no".to_owned() },
        ]
    })
}

fn events(phase: &Phase) -> impl Iterator<Item = Vec<String>> {
    phase.events.iter().map(|event| {
        let took = match &event.error {
            Some(error) => format!("failed: {error}"),
            None => nanoseconds(event.took_ns as f64),
        };
        vec![nanoseconds(event.at_ns as f64), event.knob.clone(), event.from.to_string(), event.to.to_string(), took]
    })
}

fn nanoseconds(number: f64) -> String {
    units::latency(Duration::from_nanos(number.max(0.0) as u64).as_secs_f64())
}

/// Columns of numbers stand right, so that digits of the same weight stand below each other.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
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
    table.add_rows(rows);
    table.to_string()
}
