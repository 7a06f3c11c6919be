//! Heat strips: one column for each part of a structure (a shard, a stripe), as high and as hot as the part is busy.

use super::{MEDIUM, Scene, cut_top};
use crate::family::{MAP_SHARD_CONTENTIONS, MAP_SHARD_OPS, MAP_SHARD_SKEW};
use crate::theme::Tone;
use crate::units;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use rheostat_api::Resource;

/// A part this many times as busy as the mean is worth a look, or wrong.
const WARM: f64 = 2.0;
const HOT: f64 = 4.0;
/// Room for the words left of a strip.
const WORDS_WIDTH: u16 = 16;
/// A strip, its heading and the row above it.
const ROWS: u16 = 4;

/// Draws the strips of a resource, or takes nothing of the area if it has none or there is no room.
pub fn draw(scene: &Scene, resource: Option<&Resource>, area: &mut Rect, buf: &mut Buffer) {
    let Some(resource) = resource.filter(|_| area.width >= MEDIUM && area.height >= ROWS) else { return };
    let strips = [("operations", MAP_SHARD_OPS), ("lock waits", MAP_SHARD_CONTENTIONS)];
    let strips = strips.map(|(words, family)| (words, scene.look().strip_rates(&resource.address, family)));
    if strips.iter().all(|(_, rates)| rates.is_none()) {
        return;
    }
    cut_top(area, 1);
    let skew =
        resource.value(MAP_SHARD_SKEW).map_or_else(String::new, |skew| format!("  busiest {skew:.1} x the mean"));
    scene.heading(&format!("{}  shards{skew}", resource.address), cut_top(area, 1), buf);
    for (words, rates) in strips {
        let row = cut_top(area, 1);
        let rates = rates.unwrap_or_default();
        let total = units::rate(rates.iter().sum());
        scene.put(scene.line(Tone::Quiet, format!(" {words:<10}")), row, buf);
        let columns = Rect { x: row.x + WORDS_WIDTH, width: row.width - WORDS_WIDTH, ..row };
        scene.put(strip(scene, &rates, columns.width.saturating_sub(total.len() as u16 + 1), &total), columns, buf);
    }
}

/// One column of a strip: as high as a share of the whole height, and blank for none.
pub fn column(scene: &Scene, share: f64, tone: Tone) -> Span<'static> {
    let heights = scene.theme.signs.heights;
    let level = (share * heights.len() as f64).ceil() as usize;
    scene.span(tone, if level == 0 { " " } else { heights[level.min(heights.len()) - 1] })
}

/// Neighbours share a column where there are more parts than columns; the busiest of them shows.
fn strip(scene: &Scene, rates: &[f64], width: u16, total: &str) -> Line<'static> {
    let mean = rates.iter().sum::<f64>() / rates.len().max(1) as f64;
    let greatest = rates.iter().copied().fold(0.0, f64::max);
    let share = rates.len().div_ceil(usize::from(width.max(1))).max(1);
    let mut spans: Vec<_> = rates
        .chunks(share)
        .map(|parts| {
            let busiest = parts.iter().copied().fold(0.0, f64::max);
            let tone = match busiest {
                _ if mean == 0.0 || busiest < WARM * mean => Tone::Good,
                _ if busiest < HOT * mean => Tone::Warn,
                _ => Tone::Bad,
            };
            column(scene, if greatest > 0.0 { busiest / greatest } else { 0.0 }, tone)
        })
        .collect();
    spans.push(Span::raw(" "));
    spans.push(scene.span(Tone::Plain, total.to_owned()));
    Line::from(spans)
}
