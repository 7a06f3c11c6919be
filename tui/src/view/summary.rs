//! What is left in a window too small for lists: one line each, as many as there is room for.

use super::{Scene, cut_top, frame};
use crate::theme::Tone;
use crate::units;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

/// Draws the summary.
pub fn draw(scene: &Scene, mut area: Rect, buf: &mut Buffer) {
    scene.put(Line::from(frame::link(scene)), cut_top(&mut area, 1), buf);
    for resource in scene.app.listed() {
        let rate = units::or_unknown(scene.look().throughput(resource), super::chart::throughput(&resource.kind));
        let spans = [scene.span(Tone::Plain, resource.address.clone()), Span::raw(" "), scene.span(Tone::Trend, rate)];
        scene.put(Line::from_iter(spans), cut_top(&mut area, 1), buf);
    }
}
