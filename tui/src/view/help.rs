//! The keys, from the tables that dispatch them, and what the signs mean.

use super::Scene;
use crate::input::{BROWSE, Binding, STAGING, TYPING};
use crate::theme::Tone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

/// A column of help is this wide.
const COLUMN_WIDTH: u16 = 40;
/// Keys take this much of it.
const KEYS_WIDTH: usize = 11;

/// Draws the help, from line `scroll` on where it does not fit.
pub fn draw(scene: &Scene, scroll: usize, area: Rect, buf: &mut Buffer) {
    let lines = lines(scene);
    let rows = usize::from(area.height).max(1);
    let columns = usize::from((area.width / COLUMN_WIDTH).max(1));
    let scroll = scroll.min(lines.len().saturating_sub(rows * columns));
    for (index, line) in lines.into_iter().skip(scroll).take(rows * columns).enumerate() {
        let (column, row) = ((index / rows) as u16, (index % rows) as u16);
        let x = area.x + column * COLUMN_WIDTH;
        scene.put(
            line,
            Rect { x, y: area.y + row, width: COLUMN_WIDTH.min(area.right().saturating_sub(x)), height: 1 },
            buf,
        );
    }
}

fn lines(scene: &Scene) -> Vec<Line<'static>> {
    let mut lines = vec![];
    for (title, table) in [("looking around", BROWSE), ("a change is staged", STAGING), ("typing", TYPING)] {
        lines.push(scene.line(Tone::Head, format!(" {title}")));
        lines.extend(table.iter().map(|binding| key(scene, binding)));
    }
    lines.push(scene.line(Tone::Head, " signs"));
    lines.extend(signs(scene));
    lines
}

fn key(scene: &Scene, binding: &Binding) -> Line<'static> {
    let keys = scene.span(Tone::Good, format!("  {:<KEYS_WIDTH$}", binding.shown));
    Line::from_iter([keys, scene.span(Tone::Plain, binding.help)])
}

fn signs(scene: &Scene) -> Vec<Line<'static>> {
    let signs = scene.theme.signs;
    let rows = [
        (Tone::Good, signs.busy, "workers busy"),
        (Tone::Idle, signs.idle, "idle: nothing to do"),
        (Tone::Warn, signs.backpressured, "held back by the next stage"),
        (Tone::Good, signs.good, "well"),
        (Tone::Warn, signs.warn, "saturated, or worth a look"),
        (Tone::Bad, signs.bad, "held back much, or failed"),
        (Tone::Mark, signs.mark, "a knob was turned"),
    ];
    let row = |(tone, sign, text): (Tone, &'static str, &'static str)| {
        Line::from_iter([
            Span::raw("  "),
            scene.span(tone, format!("{sign:<KEYS_WIDTH$}")),
            scene.span(Tone::Plain, text),
        ])
    };
    rows.into_iter().map(row).collect()
}
