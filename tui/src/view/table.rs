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
///
/// A column is as wide as it says, or as its widest cell in sight needs where others can spare that. What still does not fit
/// loses its end.
pub fn draw<R>(
    scene: &Scene,
    columns: &[Column<R>],
    rows: &[&R],
    selected: Option<usize>,
    mut area: Rect,
    buf: &mut Buffer,
) -> Rect {
    let columns: Vec<_> = columns.iter().filter(|column| column.from <= area.width).collect();
    let head = cut_top(&mut area, 1);
    let seen = usize::from(area.height);
    // Scrolls only as far as the selected row needs.
    let first = selected.map_or(0, |index| (index + 1).saturating_sub(seen));
    let in_sight: Vec<_> = rows.iter().enumerate().skip(first).take(seen).collect();
    let (places, mut cells) = fitted(scene, &columns, in_sight.iter().map(|(_, row)| **row), area.width);
    for (column, (x, width)) in columns.iter().zip(&places) {
        let line = scene.line(Tone::Head, column.head);
        cell(scene, column, line, Rect { x: head.x + x, width: *width, ..head }, buf);
    }
    for (index, _) in &in_sight {
        let place = cut_top(&mut area, 1);
        for ((column, (x, width)), cells) in columns.iter().zip(&places).zip(&mut cells) {
            let line = cells.next().unwrap_or_default();
            cell(scene, column, line, Rect { x: place.x + x, width: *width, ..place }, buf);
        }
        let sign = match index {
            index if selected == Some(*index) => scene.theme.signs.cursor,
            index if *index == first && first > 0 => scene.theme.signs.above,
            index if index + 1 == first + seen && index + 1 < rows.len() => scene.theme.signs.below,
            _ => "",
        };
        put(scene.line(Tone::Plain, sign), place, buf);
        if selected == Some(*index) {
            buf.set_style(place.intersection(buf.area), scene.theme.style(Tone::Selected));
        }
    }
    area
}

/// Draws a cell or a heading. A number stands right; text that is cut keeps its beginning.
fn cell<R>(scene: &Scene, column: &Column<R>, line: Line, place: Rect, buf: &mut Buffer) {
    let alignment = if column.right { Alignment::Right } else { Alignment::Left };
    scene.put(line.alignment(alignment), place, buf);
}

/// The cells of a column from top to bottom.
type Cells = std::vec::IntoIter<Line<'static>>;

/// Where each column begins and how wide it is, and its cells. What does not fit gets no width.
fn fitted<'r, R: 'r>(
    scene: &Scene,
    columns: &[&Column<R>],
    rows: impl Iterator<Item = &'r R> + Clone,
    total: u16,
) -> (Vec<(u16, u16)>, Vec<Cells>) {
    let cells =
        |column: &Column<R>, width| rows.clone().map(|row| (column.cell)(scene, row, width)).collect::<Vec<_>>();
    let needed = |cells: &[Line]| cells.iter().map(Line::width).max().unwrap_or(0) as u16;
    // With no column that takes the rest, the first does: it holds the name, and spares what its names do not need. Trends,
    // which are as long as there is room, and what stands at the end can be spared.
    let elastic = columns.iter().position(|column| column.width == 0).unwrap_or(0);
    let mut widths: Vec<u16> = columns.iter().map(|column| column.width).collect();
    let fixed: u16 =
        widths.iter().enumerate().filter(|(index, _)| *index != elastic).map(|(_, width)| width + GAP).sum();
    let rest = total.saturating_sub(CURSOR_WIDTH + fixed);
    let mut made: Vec<_> = columns.iter().map(|column| cells(column, column.width)).collect();
    if let Some(column) = columns.get(elastic) {
        let fills = elastic > 0 && (elastic + 1 == columns.len() || needed(&made[elastic]) == 0);
        let names = if fills { 0 } else { needed(&made[elastic]) };
        let kept = names.max(column.head.chars().count() as u16);
        let mut spare = rest.saturating_sub(kept);
        for index in (0..columns.len()).filter(|index| *index != elastic) {
            let more = needed(&made[index]).saturating_sub(widths[index]).min(spare);
            widths[index] += more;
            spare -= more;
        }
        widths[elastic] = rest.min(kept) + spare;
        if fills {
            made[elastic] = cells(column, widths[elastic]);
        }
    }
    let mut x = CURSOR_WIDTH;
    let mut places = Vec::with_capacity(columns.len());
    for wanted in widths {
        let width = wanted.min(total.saturating_sub(x));
        places.push((x.min(total), width));
        x = x.saturating_add(width + GAP);
    }
    (places, made.into_iter().map(Vec::into_iter).collect())
}
