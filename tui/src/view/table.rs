//! Rows under a heading. The columns of a screen are one static list; a narrow window leaves out those that can be
//! spared, and only rows that are seen are made.

use super::{Scene, cut_top, put};
use crate::theme::Tone;
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Rect};
use ratatui::text::Line;

/// One column of a table of `R`.
pub struct Column<R: ?Sized> {
    /// Its heading.
    pub head: &'static str,
    /// Its width; 0 takes what the others leave. At most one visible column should.
    pub width: u16,
    /// Whether it holds numbers, which stand right.
    pub right: bool,
    /// The least width of the table at which it is shown.
    pub from: u16,
    /// Makes a cell of that width.
    pub cell: fn(&Scene, &R, u16) -> Line<'static>,
}

/// Room left of the first column for the cursor.
const CURSOR_WIDTH: u16 = 1;
/// Room between columns.
const GAP: u16 = 1;

/// Draws the table with the selected row in sight and gives back what it left of the area.
pub fn draw<R>(
    scene: &Scene,
    columns: &[Column<R>],
    rows: &[&R],
    selected: Option<usize>,
    mut area: Rect,
    buf: &mut Buffer,
) -> Rect {
    let columns: Vec<_> = columns.iter().filter(|column| column.from <= area.width).collect();
    let places = places(&columns, area.width);
    let head = cut_top(&mut area, 1);
    for (column, (x, width)) in columns.iter().zip(&places) {
        let line = scene.line(Tone::Head, column.head).alignment(alignment(column));
        put(line, Rect { x: head.x + x, width: *width, ..head }, buf);
    }
    let seen = usize::from(area.height);
    // Scrolls only as far as the selected row needs.
    let first = selected.map_or(0, |index| (index + 1).saturating_sub(seen));
    for (index, row) in rows.iter().enumerate().skip(first).take(seen) {
        let place = cut_top(&mut area, 1);
        for (column, (x, width)) in columns.iter().zip(&places) {
            let line = (column.cell)(scene, row, *width).alignment(alignment(column));
            put(line, Rect { x: place.x + x, width: *width, ..place }, buf);
        }
        if selected == Some(index) {
            put(scene.line(Tone::Plain, scene.theme.signs.cursor), place, buf);
            buf.set_style(place.intersection(buf.area), scene.theme.style(Tone::Selected));
        }
    }
    area
}

fn alignment<R>(column: &Column<R>) -> Alignment {
    if column.right { Alignment::Right } else { Alignment::Left }
}

/// Where each column begins and how wide it is; what does not fit gets no width.
fn places<R>(columns: &[&Column<R>], total: u16) -> Vec<(u16, u16)> {
    // With no column that takes the rest, the first does: it holds the name.
    let elastic = columns.iter().position(|column| column.width == 0).unwrap_or(0);
    let fixed: u16 = columns.iter().enumerate().filter(|(i, _)| *i != elastic).map(|(_, c)| c.width + GAP).sum();
    let rest = total.saturating_sub(CURSOR_WIDTH + fixed);
    let mut x = CURSOR_WIDTH;
    let mut places = Vec::with_capacity(columns.len());
    for (index, column) in columns.iter().enumerate() {
        let wanted = if index == elastic { rest } else { column.width };
        let width = wanted.min(total.saturating_sub(x));
        places.push((x.min(total), width));
        x = x.saturating_add(width + GAP);
    }
    places
}
