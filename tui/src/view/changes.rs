//! Turned knobs: who, when, from, to, why where that was said, and what it did once that is measured.

use super::table::Column;
use super::{FULL, Scene, chart, cut_top, table, wrapped};
use crate::theme::Tone;
use crate::units;
use crate::wording;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use rheostat_api::{Change, Outcome, Verdict};
use std::time::Duration;

static COLUMNS: &[Column<Change>] = &[
    Column {
        head: "WHEN",
        width: 9,
        right: false,
        from: 0,
        cell: |scene, row, _| scene.line(Tone::Plain, units::clock(row.at_ms)),
    },
    Column {
        head: "WHO",
        width: 10,
        right: false,
        from: 100,
        cell: |scene, row, _| scene.line(Tone::Plain, row.actor.clone()),
    },
    Column {
        head: "KNOB",
        width: 0,
        right: false,
        from: 0,
        cell: |scene, row, _| scene.line(Tone::Plain, format!("{}.{}", row.resource, row.knob)),
    },
    Column {
        head: "CHANGE",
        width: 12,
        right: false,
        from: 40,
        cell: |scene, row, _| scene.line(Tone::Plain, format!("{} {} {}", row.from, scene.theme.signs.to, row.to)),
    },
    // The foot has it, too: a narrow window has room for the values instead.
    Column { head: "TOOK", width: 7, right: true, from: 90, cell: |scene, row, _| scene.line(Tone::Plain, took(row)) },
    Column { head: "RESULT", width: 14, right: false, from: 50, cell: |scene, row, _| Line::from(result(scene, row)) },
    Column {
        head: "EFFECT",
        width: 40,
        right: false,
        from: FULL,
        cell: |scene, row, _| scene.line(Tone::Plain, effect(row).unwrap_or_default()),
    },
];

/// Draws the screen.
pub fn draw(scene: &Scene, mut area: Rect, buf: &mut Buffer) {
    let listed = scene.app.listed_changes();
    if listed.is_empty() {
        cut_top(&mut area, 1);
        let text = " no knob has been turned yet: select one with tab, stage a change with W, or type :set";
        scene.put(scene.line(Tone::Quiet, text), area, buf);
        return;
    }
    let selected = scene.app.selected();
    // Room for what is said about the selected one.
    let told = selected.and_then(|index| listed.get(index)).map_or_else(Vec::new, |change| told(scene, change));
    let told: Vec<_> = told.iter().flat_map(|text| wrapped(text, area.width.saturating_sub(1))).collect();
    let foot_rows = (2 + told.len() as u16).min(area.height.saturating_sub(4));
    let mut foot = super::cut_bottom(&mut area, foot_rows);
    let left = table::draw(scene, COLUMNS, &listed, selected, area, buf);
    foot.y -= left.height;
    foot.height += left.height;
    let Some(change) = selected.and_then(|index| listed.get(index)) else { return };
    cut_top(&mut foot, 1);
    scene.heading(
        &format!("change {} of {}.{} by {}", change.id, change.resource, change.knob, change.actor),
        cut_top(&mut foot, 1),
        buf,
    );
    for text in told {
        scene.put(scene.line(Tone::Plain, format!(" {text}")), cut_top(&mut foot, 1), buf);
    }
    chart::draw_below(scene, scene.app.subject(), foot, buf);
}

/// What there is to say of a change, a sentence each.
fn told(scene: &Scene, change: &Change) -> Vec<String> {
    let (from, to, sign) = (&change.from, &change.to, scene.theme.signs.to);
    let reason = change.reason.as_ref().map(|reason| format!("because: {reason}"));
    let effect = effect(change).unwrap_or_else(|| "effect not measured yet, or nothing to measure".to_owned());
    [Some(format!("{from} {sign} {to}, {}", outcome(change))), reason, Some(effect)].into_iter().flatten().collect()
}

/// A change in one line, for the foot of another screen.
pub fn line(scene: &Scene, change: &Change) -> Line<'static> {
    let text = format!(
        " {}  {}.{}  {} {} {}  ",
        units::clock(change.at_ms),
        change.resource,
        change.knob,
        change.from,
        scene.theme.signs.to,
        change.to
    );
    Line::from_iter([scene.span(Tone::Plain, text), result(scene, change)])
}

fn took(change: &Change) -> String {
    units::latency(Duration::from_micros(change.took_us).as_secs_f64())
}

/// The measured verdict, or while there is none, how it ended.
fn result(scene: &Scene, change: &Change) -> Span<'static> {
    let signs = scene.theme.signs;
    let (tone, sign, word) = match (change.outcome, change.effect.as_ref().map(|effect| effect.verdict)) {
        (Outcome::Failed, _) => (Tone::Bad, signs.bad, "failed"),
        (Outcome::Unknown, _) => (Tone::Warn, signs.warn, "not known"),
        (_, Some(Verdict::Better)) => (Tone::Good, signs.good, "better"),
        (_, Some(Verdict::Worse)) => (Tone::Warn, signs.warn, "worse"),
        (_, Some(Verdict::Same)) => (Tone::Good, signs.good, "same"),
        (_, Some(Verdict::Inconclusive)) => (Tone::Quiet, signs.good, "inconclusive"),
        (Outcome::Settling, None) => (Tone::Warn, signs.waiting, "settling"),
        (Outcome::Applied, None) => (Tone::Good, signs.good, "applied"),
    };
    scene.span(tone, format!("{sign} {word}"))
}

fn outcome(change: &Change) -> String {
    match change.outcome {
        Outcome::Applied => format!("applied in {}", took(change)),
        Outcome::Settling => format!("in force after {}, still settling then", took(change)),
        Outcome::Unknown => format!("not known how it ended: {}", change.why.as_deref().unwrap_or("nobody saw it")),
        Outcome::Failed => format!("failed: {}", change.why.as_deref().unwrap_or("the resource gave no reason")),
    }
}

/// `1.45M/s to 1.9M/s: 1.31x [1.18, 1.46]`.
fn effect(change: &Change) -> Option<String> {
    let effect = change.effect.as_ref()?;
    let (before, after) = (units::rate(effect.before), units::rate(effect.after));
    let met = wording::contention(change).map_or_else(String::new, |met| format!("   {met}"));
    Some(format!("{before} to {after}: {:.2}x [{:.2}, {:.2}]{met}", effect.ratio, effect.lo, effect.hi))
}
