//! Trends: one row high beside a figure, or as high as there is room. A column is a second; a turned knob is marked.

use super::table::Column;
use super::{MEDIUM, Scene, cut_top, put};
use crate::app::Trend;
use crate::theme::Tone;
use crate::units;
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Rect};
use ratatui::text::{Line, Span};
use rheostat_api::Resource;

/// Room for the scale left of a chart.
const SCALE_WIDTH: u16 = 10;
/// A chart lower than this shows less than a row of figures would.
const ROWS_MIN: u16 = 4;
/// A chart higher than this shows no more than one of this height.
const ROWS_MAX: u16 = 10;

/// What stands in one column.
struct Point {
    value: Option<f64>,
    marked: bool,
}

/// The last seconds that fit, right-aligned: the newest is always the last column.
fn points(scene: &Scene, address: &str, trend: &Trend, width: u16) -> Vec<Point> {
    let marks = scene.app.marks(address);
    trend.last(usize::from(width)).map(|(second, value)| Point { value, marked: marks.contains(&second) }).collect()
}

fn greatest(points: &[Point]) -> f64 {
    points.iter().filter_map(|point| point.value).fold(0.0, f64::max)
}

/// The column of a table of resources that has their trends, shown from that width of the table on.
pub const fn trend(from: u16) -> Column<Resource> {
    Column {
        head: "TREND",
        width: 0,
        right: false,
        from,
        cell: |scene, resource, width| spark(scene, &resource.address, width),
    }
}

/// The trend of a resource in one row. There is no room beside the data, so a mark is a style of the column it is on.
pub fn spark(scene: &Scene, address: &str, width: u16) -> Line<'static> {
    let points = scene.look().trend(address).map_or_else(Vec::new, |trend| points(scene, address, trend, width));
    let max = greatest(&points);
    let mut line = Line::from(" ".repeat(usize::from(width).saturating_sub(points.len())));
    let signs = scene.theme.signs;
    for same in points.chunk_by(|a, b| a.marked == b.marked) {
        let columns: String = same
            .iter()
            .map(|point| match point.value {
                None if point.marked => signs.mark,
                None => " ",
                Some(value) => signs.heights[level(value, max, signs.heights.len()).saturating_sub(1)],
            })
            .collect();
        line.push_span(scene.span(if same[0].marked { Tone::Marked } else { Tone::Trend }, columns));
    }
    line
}

/// How many of `levels` a value reaches, as a share of `max`.
fn level(value: f64, max: f64, levels: usize) -> usize {
    if max > 0.0 { ((value / max * levels as f64).ceil() as usize).min(levels) } else { 0 }
}

/// The trend of a resource with a heading and a scale, as high as the area allows; nothing if that is too low.
/// A mark stands above the data, and takes of it the top row at most.
pub fn draw(scene: &Scene, title: &str, address: &str, scale: fn(f64) -> String, mut area: Rect, buf: &mut Buffer) {
    let fits = area.height >= ROWS_MIN && area.width > SCALE_WIDTH;
    let Some(trend) = scene.look().trend(address).filter(|_| fits) else { return };
    scene.heading(title, cut_top(&mut area, 1), buf);
    area.height = area.height.min(ROWS_MAX);
    let plot = Rect { x: area.x + SCALE_WIDTH, width: area.width - SCALE_WIDTH, ..area };
    let points = points(scene, address, trend, plot.width);
    let max = greatest(&points);
    let label = |value: f64| scene.line(Tone::Quiet, scale(value)).alignment(Alignment::Right);
    let gutter = Rect { width: SCALE_WIDTH - 1, ..area };
    put(label(max), gutter, buf);
    put(label(0.0), Rect { y: area.y + area.height - 1, height: 1, ..gutter }, buf);
    let signs = scene.theme.signs;
    let steps = signs.heights.len();
    let blank = plot.width - points.len() as u16;
    for (column, point) in points.iter().enumerate() {
        let x = plot.x + blank + column as u16;
        let reached = point.value.map_or(0, |value| level(value, max, steps * usize::from(plot.height)).max(1));
        for row in 0..plot.height {
            let from_bottom = usize::from(plot.height - 1 - row) * steps;
            let (tone, sign) = match reached.saturating_sub(from_bottom) {
                eighths if point.marked && (row == 0 || eighths == 0) => (Tone::Mark, signs.mark),
                0 => continue,
                eighths => (Tone::Trend, signs.heights[eighths.min(steps) - 1]),
            };
            put(Line::from(Span::styled(sign, scene.theme.style(tone))), Rect::new(x, plot.y + row, 1, 1), buf);
        }
    }
}

/// The chart of a resource's throughput, in what a list has left of the screen.
pub fn draw_below(scene: &Scene, resource: Option<&Resource>, mut area: Rect, buf: &mut Buffer) {
    if let (Some(resource), MEDIUM..) = (resource, area.width) {
        cut_top(&mut area, 1);
        draw(scene, &resource.address, &resource.address, throughput(&resource.kind), area, buf);
    }
}

/// How the throughput of a kind of resource is written.
pub fn throughput(kind: &str) -> fn(f64) -> String {
    if matches!(kind, "pipeline" | "allocator") { units::bytes_rate } else { units::rate }
}
