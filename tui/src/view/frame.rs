//! What stands around every screen: whose data it is and how old, the screens, the knobs of the selected row, and
//! the line that talks back.

use super::{Scene, cut_bottom, cut_top, wrapped};
use crate::app::{Link, Mode, Screen, Staging, completions};
use crate::theme::Tone;
use crate::turn::Turn;
use crate::{units, wording};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use rheostat_api::{Knob, Range};

/// The least height that is left to the screen by a sentence of several lines.
const SCREEN_ROWS: u16 = 8;

/// Draws the frame and gives back the room within it.
pub fn draw(scene: &Scene, mut area: Rect, buf: &mut Buffer) -> Rect {
    scene.put(title(scene), cut_top(&mut area, 1), buf);
    scene.put(tabs(scene), cut_top(&mut area, 1), buf);
    let bottom = bottom(scene, area.width);
    let rows = (bottom.len() as u16).min(area.height.saturating_sub(SCREEN_ROWS)).max(1);
    let mut foot = cut_bottom(&mut area, rows);
    let hidden = bottom.len() > usize::from(rows);
    for (index, line) in bottom.into_iter().take(usize::from(rows)).enumerate() {
        let mut line = line;
        if hidden && index + 1 == usize::from(rows) {
            line.push_span(scene.span(Tone::Plain, scene.theme.signs.goes_on));
        }
        scene.put(line, cut_top(&mut foot, 1), buf);
    }
    scene.put(strip(scene, area.width), cut_bottom(&mut area, 1), buf);
    area
}

/// What is shown before there is anything to show.
pub fn draw_waiting(scene: &Scene, mut area: Rect, buf: &mut Buffer) {
    cut_top(&mut area, 1);
    scene.put(scene.line(Tone::Plain, " waiting for the first look at the host"), area, buf);
}

/// A sentence behind a sign, over as many lines as it needs.
fn sentence(scene: &Scene, tone: Tone, sign: &str, text: &str, width: u16) -> Vec<Line<'static>> {
    let sign = format!(" {sign} ");
    let indent = sign.chars().count();
    let lines = wrapped(text, width.saturating_sub(indent as u16)).into_iter().enumerate();
    let begun = |index| if index == 0 { scene.span(tone, sign.clone()) } else { Span::raw(" ".repeat(indent)) };
    lines.map(|(index, text)| Line::from_iter([begun(index), scene.span(Tone::Plain, text)])).collect()
}

/// How it stands with the host, as sign and words.
pub fn link(scene: &Scene) -> Span<'static> {
    let (app, signs) = (scene.app, scene.theme.signs);
    let age = units::or_unknown(app.age().map(|age| age.as_secs_f64()), units::elapsed);
    match app.link() {
        Link::Connecting => scene.span(Tone::Warn, format!("{} connecting", signs.waiting)),
        Link::Lost { .. } => {
            let retry = units::elapsed(app.retry_in().unwrap_or_default().as_secs_f64());
            scene.span(Tone::Bad, format!("{} lost, seen {age} ago, retry in {retry}", signs.lost))
        }
        Link::Live if app.stale() => scene.span(Tone::Warn, format!("{} stale, seen {age} ago", signs.warn)),
        Link::Live if app.is_frozen() => scene.span(Tone::Warn, format!("{} frozen here", signs.frozen)),
        Link::Live => scene.span(Tone::Good, format!("{} live", signs.live)),
    }
}

/// What must be seen comes first: a socket's path may be longer than the window.
fn title(scene: &Scene) -> Line<'static> {
    let app = scene.app;
    let mut spans =
        vec![scene.span(Tone::Head, format!(" rheostat {} ", scene.theme.signs.path)), link(scene), Span::raw("  ")];
    if let Some(latest) = app.look().latest() {
        let cost = units::or_unknown(app.look().rate_of(|snapshot| Some(snapshot.host.self_seconds)), units::percent);
        spans.push(scene.span(Tone::Quiet, format!("self {cost}  clients {}  ", latest.host.clients)));
    }
    spans.push(scene.span(Tone::Plain, app.endpoint()));
    Line::from(spans)
}

fn tabs(scene: &Scene) -> Line<'static> {
    let app = scene.app;
    let mut spans = vec![];
    for screen in Screen::ALL {
        let tone = if screen == app.screen() { Tone::Selected } else { Tone::Quiet };
        spans.push(Span::raw(" "));
        spans.push(scene.span(tone, format!("{} {}", screen.digit(), screen.name())));
    }
    if let Some(resource) = app.detail() {
        spans.push(scene.span(Tone::Head, format!("  {} {}", scene.theme.signs.path, resource.address)));
    }
    if !app.filter().is_empty() {
        spans.push(scene.span(Tone::Warn, format!("  /{}", app.filter())));
    }
    Line::from(spans)
}

/// The line above the last: what can be turned, or what is about to be.
fn strip(scene: &Scene, width: u16) -> Line<'static> {
    match scene.app.mode() {
        Mode::Staging(staging) => staged(scene, staging),
        Mode::Palette(typed) => palette_hint(scene, typed.text()),
        Mode::Browse | Mode::Filter | Mode::Help(_) => knobs(scene, width),
    }
}

fn knobs(scene: &Scene, width: u16) -> Line<'static> {
    let Some(resource) = scene.app.subject() else { return Line::default() };
    if resource.knobs.is_empty() {
        return scene.line(Tone::Quiet, format!(" {} has no knobs", resource.address));
    }
    let selected = scene.app.subject_knob().map(|(index, _)| index);
    let title = " knobs";
    let named: Vec<_> = resource.knobs.iter().map(|knob| format!("{} {}", knob.name, knob.value)).collect();
    let ranges: Vec<_> = resource.knobs.iter().map(|knob| format!(" ({})", wording::range(&knob.range, ""))).collect();
    let hidden = format!(" ({})", scene.theme.signs.goes_on);
    // Every name and value first; then the range of the selected knob, and of the others those that fit, the short first.
    let wide = |text: &str| Span::raw(text).width();
    let mut left = usize::from(width).saturating_sub(wide(title));
    left = left.saturating_sub(named.iter().map(|named| 2 + wide(named) + wide(&hidden)).sum());
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|index| (selected != Some(*index), wide(&ranges[*index])));
    let mut shown = vec![false; ranges.len()];
    for index in order {
        let more = wide(&ranges[index]).saturating_sub(wide(&hidden));
        if more <= left {
            left -= more;
            shown[index] = true;
        }
    }
    let mut spans = vec![scene.span(Tone::Quiet, title)];
    for (index, ((named, range), shown)) in named.into_iter().zip(ranges).zip(shown).enumerate() {
        let tone = if selected == Some(index) { Tone::Selected } else { Tone::Plain };
        spans.push(Span::raw("  "));
        spans.push(scene.span(tone, named));
        spans.push(scene.span(Tone::Quiet, if shown { range } else { hidden.clone() }));
    }
    Line::from(spans)
}

/// The difference a staged change would make.
fn staged(scene: &Scene, staging: &Staging) -> Line<'static> {
    let mut spans = vec![
        scene.span(Tone::Quiet, " stage  "),
        scene.span(Tone::Plain, format!("{}.{}  ", staging.address, staging.knob)),
        scene.span(Tone::Plain, format!("{} {} ", staging.from, scene.theme.signs.to)),
        scene.span(Tone::Selected, format!("{}_", staging.text())),
        scene.span(Tone::Quiet, format!("  {}", wording::range(&staging.range, &staging.unit))),
    ];
    if let Some(fault) = staging.fault() {
        spans.push(scene.span(Tone::Warn, format!("  {} {fault}", scene.theme.signs.warn)));
    }
    Line::from(spans)
}

/// While a `set` is typed, the difference it would make; else what the line could become.
fn palette_hint(scene: &Scene, text: &str) -> Line<'static> {
    let resources = scene.look().resources();
    let turn = text.strip_prefix("set ").and_then(|rest| rest.parse::<Turn>().ok());
    if let Some(turn) = turn {
        let resource = resources.iter().find(|resource| resource.address == turn.address);
        if let Some(knob) = resource.and_then(|resource| resource.knob(&turn.knob)) {
            let Knob { value, unit, .. } = knob;
            let text = format!(" {}.{}  {value} {} {}", turn.address, turn.knob, scene.theme.signs.to, turn.to);
            let span = scene.span(Tone::Quiet, format!("  {}", wording::range(&knob.range, unit)));
            return Line::from_iter([scene.span(Tone::Plain, text), span]);
        }
    }
    let words = completions(text, resources);
    let words = words.iter().map(|word| word.rsplit(' ').find(|part| !part.is_empty()).unwrap_or(word));
    scene.line(Tone::Quiet, format!(" {}", words.collect::<Vec<_>>().join("  ")))
}

/// The last line: what is typed, what was said, or which keys there are. What was said may take several.
fn bottom(scene: &Scene, width: u16) -> Vec<Line<'static>> {
    let (app, signs) = (scene.app, scene.theme.signs);
    let line = match app.mode() {
        Mode::Palette(typed) => scene.line(Tone::Plain, format!(":{}_", typed.text())),
        Mode::Filter => scene.line(Tone::Plain, format!("/{}_", app.filter())),
        Mode::Staging(staging) => {
            let keys = if matches!(staging.range, Range::Choice { .. }) { "+ -" } else { "+ - or digits" };
            scene.line(Tone::Quiet, format!(" a apply   esc discard   {keys} change it"))
        }
        Mode::Help(_) => scene.line(Tone::Quiet, " esc back   j k scroll"),
        Mode::Browse => match app.notice() {
            Some(notice) => {
                let (tone, sign) = if notice.bad { (Tone::Bad, signs.bad) } else { (Tone::Good, signs.good) };
                return sentence(scene, tone, sign, &notice.text, width);
            }
            None => match app.link() {
                Link::Lost { why, .. } => {
                    let text = format!("the host does not answer: {why}");
                    return sentence(scene, Tone::Bad, signs.lost, &text, width);
                }
                _ => scene.line(Tone::Quiet, " ? help   : command   / filter   W turn a knob   enter detail   q quit"),
            },
        },
    };
    vec![line]
}
