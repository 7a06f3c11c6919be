//! Bars and gauges of one row: signs and colours that say the same, and the figures beside them.

use super::Scene;
use crate::app::Shares;
use crate::theme::Tone;
use crate::units;
use ratatui::text::{Line, Span};

/// Workers busy for more than this share can take no more.
const SATURATED: f64 = 0.85;
/// Workers held back for more than this share wait for the next stage.
const HELD_BACK: f64 = 0.30;
/// Something of limited room that is fuller than this may soon refuse.
pub const NEARLY_FULL: f64 = 0.9;
/// Cells of the bar of a stage.
const STAGE_BAR: u16 = 6;

/// The sign of a stage that spends its time like this.
pub fn stage_sign(scene: &Scene, shares: Shares) -> Span<'static> {
    let signs = scene.theme.signs;
    match shares {
        Shares { backpressured, .. } if backpressured > HELD_BACK => scene.span(Tone::Bad, signs.bad),
        Shares { busy, .. } if busy > SATURATED => scene.span(Tone::Warn, signs.warn),
        _ => scene.span(Tone::Good, signs.good),
    }
}

/// `· ██░░▒▒ 61/35/ 4`: busy, idle, held back.
pub fn stage(scene: &Scene, shares: Option<Shares>) -> Line<'static> {
    let Some(shares) = shares else { return scene.line(Tone::Quiet, units::UNKNOWN) };
    let mut spans = vec![stage_sign(scene, shares), Span::raw(" ")];
    spans.extend(stage_bar(scene, shares, STAGE_BAR));
    let Shares { busy, idle, backpressured } = shares;
    let figures = format!(" {:>2.0}/{:>2.0}/{:>2.0}", busy * 100.0, idle * 100.0, backpressured * 100.0);
    spans.push(scene.span(Tone::Plain, figures));
    Line::from(spans)
}

/// The bar alone: busy from the left, held back from the right, idle between.
pub fn stage_bar(scene: &Scene, shares: Shares, cells: u16) -> [Span<'static>; 3] {
    let cells = usize::from(cells);
    let of = |share: f64| ((share * cells as f64).round() as usize).min(cells);
    let busy = of(shares.busy);
    let backpressured = of(shares.backpressured).min(cells - busy);
    let signs = scene.theme.signs;
    [
        scene.span(Tone::Good, signs.busy.repeat(busy)),
        scene.span(Tone::Idle, signs.idle.repeat(cells - busy - backpressured)),
        scene.span(Tone::Warn, signs.backpressured.repeat(backpressured)),
    ]
}

/// `███░░░░░ 12/64`: how full something of limited room is.
pub fn fill(scene: &Scene, level: Option<f64>, limit: Option<f64>, cells: u16) -> Line<'static> {
    let (Some(level), Some(limit)) = (level, limit) else { return scene.line(Tone::Quiet, units::UNKNOWN) };
    let tone = if level > NEARLY_FULL * limit && limit > 0.0 { Tone::Warn } else { Tone::Good };
    let figures = scene.span(Tone::Plain, format!(" {}/{}", units::count(level), units::count(limit)));
    Line::from_iter(share(scene, level, limit, tone, cells).into_iter().chain([figures]))
}

/// `███░░░░░`: a part of a whole, in a tone that says what to think of it.
pub fn share(scene: &Scene, part: f64, whole: f64, tone: Tone, cells: u16) -> [Span<'static>; 2] {
    let share = if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 };
    let full = ((share * f64::from(cells)).round() as usize).min(usize::from(cells));
    let signs = scene.theme.signs;
    [scene.span(tone, signs.full.repeat(full)), scene.span(Tone::Idle, signs.empty.repeat(usize::from(cells) - full))]
}
