//! What stands around every screen: whose data it is and how old, the screens, the knobs of the selected row, and
//! the line that talks back.

use super::{Scene, cut_bottom, cut_top, put};
use crate::app::{Link, Mode, Screen, Staging, completions};
use crate::theme::Tone;
use crate::turn::Turn;
use crate::{units, wording};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use rheostat_api::{Knob, Range};

/// Draws the frame and gives back the room within it.
pub fn draw(scene: &Scene, mut area: Rect, buf: &mut Buffer) -> Rect {
    put(title(scene), cut_top(&mut area, 1), buf);
    put(tabs(scene), cut_top(&mut area, 1), buf);
    put(bottom(scene), cut_bottom(&mut area, 1), buf);
    put(strip(scene), cut_bottom(&mut area, 1), buf);
    area
}

/// What is shown before there is anything to show.
pub fn draw_waiting(scene: &Scene, mut area: Rect, buf: &mut Buffer) {
    cut_top(&mut area, 1);
    put(scene.line(Tone::Plain, " waiting for the first look at the host"), area, buf);
}

/// Why the host does not answer.
fn lost(scene: &Scene) -> Line<'static> {
    let Link::Lost { why, .. } = scene.app.link() else { return Line::default() };
    let sign = scene.span(Tone::Bad, format!(" {} ", scene.theme.signs.lost));
    Line::from_iter([sign, scene.span(Tone::Plain, format!("the host does not answer: {why}"))])
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
fn strip(scene: &Scene) -> Line<'static> {
    match scene.app.mode() {
        Mode::Staging(staging) => staged(scene, staging),
        Mode::Palette(typed) => palette_hint(scene, typed.text()),
        Mode::Browse | Mode::Filter | Mode::Help(_) => knobs(scene),
    }
}

fn knobs(scene: &Scene) -> Line<'static> {
    let Some(resource) = scene.app.subject() else { return Line::default() };
    if resource.knobs.is_empty() {
        return scene.line(Tone::Quiet, format!(" {} has no knobs", resource.address));
    }
    let selected = scene.app.subject_knob().map(|(index, _)| index);
    let mut spans = vec![scene.span(Tone::Quiet, " knobs")];
    for (index, knob) in resource.knobs.iter().enumerate() {
        let tone = if selected == Some(index) { Tone::Selected } else { Tone::Plain };
        spans.push(Span::raw("  "));
        spans.push(scene.span(tone, format!("{} {}", knob.name, knob.value)));
        spans.push(scene.span(Tone::Quiet, format!(" ({})", wording::range(&knob.range, ""))));
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

/// The last line: what is typed, what was said, or which keys there are.
fn bottom(scene: &Scene) -> Line<'static> {
    let app = scene.app;
    match app.mode() {
        Mode::Palette(typed) => scene.line(Tone::Plain, format!(":{}_", typed.text())),
        Mode::Filter => scene.line(Tone::Plain, format!("/{}_", app.filter())),
        Mode::Staging(staging) => {
            let keys = if matches!(staging.range, Range::Choice { .. }) { "+ -" } else { "+ - or digits" };
            scene.line(Tone::Quiet, format!(" a apply   esc discard   {keys} change it"))
        }
        Mode::Help(_) => scene.line(Tone::Quiet, " esc back   j k scroll"),
        Mode::Browse => match app.notice() {
            Some(notice) => {
                let signs = scene.theme.signs;
                let (tone, sign) = if notice.bad { (Tone::Bad, signs.bad) } else { (Tone::Good, signs.good) };
                Line::from_iter([scene.span(tone, format!(" {sign} ")), scene.span(Tone::Plain, notice.text.clone())])
            }
            None if matches!(app.link(), Link::Lost { .. }) => lost(scene),
            None => scene.line(Tone::Quiet, " ? help   : command   / filter   W turn a knob   enter detail   q quit"),
        },
    }
}
