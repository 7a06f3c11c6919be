//! What is known of a resource, in rows: a word, and parts beside it as far as they fit.

use super::{Scene, cut_top};
use crate::theme::Tone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

/// A heading and the row above it.
const HEADING_ROWS: u16 = 2;
/// Room for the words left of what is known.
const WORDS_WIDTH: u16 = 16;
/// Between two parts.
const GAP: &str = "   ";

/// A word and its parts.
pub type Fact = (&'static str, Vec<Span<'static>>);

/// Draws those that have parts under a heading, or takes nothing of the area if there is no room for all of them and
/// `below` rows more.
pub fn draw(scene: &Scene, title: &str, facts: Vec<Fact>, below: u16, area: &mut Rect, buf: &mut Buffer) {
    let facts: Vec<_> = facts.into_iter().filter(|(_, parts)| !parts.is_empty()).collect();
    if area.height < HEADING_ROWS + facts.len() as u16 + below || area.width < WORDS_WIDTH {
        return;
    }
    cut_top(area, 1);
    scene.heading(title, cut_top(area, 1), buf);
    for (word, parts) in facts {
        let row = cut_top(area, 1);
        scene.put(scene.line(Tone::Quiet, format!(" {word:<14}")), row, buf);
        let columns = Rect { x: row.x + WORDS_WIDTH, width: row.width - WORDS_WIDTH, ..row };
        scene.put(fitting(scene, parts, columns.width), columns, buf);
    }
}

/// The parts as far as they fit, none of them cut, and a sign if there are more.
fn fitting(scene: &Scene, parts: Vec<Span<'static>>, width: u16) -> Line<'static> {
    let mut line = Line::default();
    let last = parts.len().saturating_sub(1);
    let sign = scene.span(Tone::Quiet, format!(" {}", scene.theme.signs.goes_on));
    for (index, part) in parts.into_iter().enumerate() {
        let gap = if line.spans.is_empty() { "" } else { GAP };
        let more = if index < last { sign.width() } else { 0 };
        if line.width() + gap.len() + part.width() + more > usize::from(width) {
            line.push_span(sign);
            break;
        }
        line.push_span(Span::raw(gap));
        line.push_span(part);
    }
    line
}
