//! The screen, drawn from the state and nothing else. Nothing here changes the state or can fail: whatever does not
//! fit the window is left out, down to a window of no cells at all.

mod allocator;
mod bars;
mod changes;
mod chart;
mod contention;
mod detail;
mod facts;
mod frame;
mod heat;
mod help;
mod maps;
mod overview;
mod pipelines;
mod pools;
mod pool_classes;
mod queues;
mod summary;
mod table;

#[cfg(test)]
mod frames;

use crate::app::{App, Look, Mode, Screen};
use crate::theme::{Theme, Tone};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

/// From this width on there is room for charts.
const FULL: u16 = 120;
/// From this width on there is room for trends beside the figures.
const MEDIUM: u16 = 80;
/// Below this width or height only a summary in text is drawn.
const LIST: (u16, u16) = (40, 10);

/// Draws the whole screen.
pub fn draw(app: &App, theme: &Theme, frame: &mut Frame) {
    let area = frame.area();
    let scene = Scene { app, theme };
    let buf = frame.buffer_mut();
    if area.width < LIST.0 || area.height < LIST.1 {
        summary::draw(&scene, area, buf);
        return;
    }
    let body = frame::draw(&scene, area, buf);
    if let Mode::Help(scroll) = app.mode() {
        help::draw(&scene, *scroll, body, buf);
    } else if app.look().latest().is_none() {
        frame::draw_waiting(&scene, body, buf);
    } else if let Some(resource) = app.detail() {
        detail::draw(&scene, resource, body, buf);
    } else if let Some(text) = unmatched(app) {
        scene.put(
            scene.line(Tone::Quiet, text),
            Rect { y: body.y + 1, height: body.height.saturating_sub(1), ..body },
            buf,
        );
    } else {
        match app.screen() {
            Screen::Overview => overview::draw(&scene, body, buf),
            Screen::Pipelines => pipelines::draw(&scene, body, buf),
            Screen::Queues => queues::draw(&scene, body, buf),
            Screen::Maps => maps::draw(&scene, body, buf),
            Screen::Pools => pools::draw(&scene, body, buf),
            Screen::Changes => changes::draw(&scene, body, buf),
        }
    }
    if app.stale() {
        buf.set_style(body.intersection(buf.area), theme.style(Tone::Quiet));
    }
}

/// What to say when the filter leaves nothing of what there is.
fn unmatched(app: &App) -> Option<String> {
    let (nothing, noun) = match app.screen() {
        Screen::Changes => (app.listed_changes().is_empty() && !app.changes().is_empty(), "change"),
        _ => (app.listed().is_empty(), "resource"),
    };
    (nothing && !app.filter().is_empty()).then(|| format!(" no {noun} matches /{}", app.filter()))
}

/// What is drawn, and how.
struct Scene<'a> {
    app: &'a App,
    theme: &'a Theme,
}

impl Scene<'_> {
    fn look(&self) -> &Look {
        self.app.look()
    }

    fn span(&self, tone: Tone, text: impl Into<String>) -> Span<'static> {
        Span::styled(text.into(), self.theme.style(tone))
    }

    fn line(&self, tone: Tone, text: impl Into<String>) -> Line<'static> {
        Line::from(self.span(tone, text))
    }

    /// A heading above a part of the screen, with a rule to its end.
    fn heading(&self, text: &str, area: Rect, buf: &mut Buffer) {
        let rule = usize::from(area.width).saturating_sub(text.chars().count() + 2);
        let spans =
            [self.span(Tone::Head, format!(" {text} ")), self.span(Tone::Quiet, self.theme.signs.rule.repeat(rule))];
        self.put(Line::from_iter(spans), area, buf);
    }

    /// Draws one line into the first row of an area; one that does not fit loses its end, and says so by a sign.
    fn put(&self, line: Line, area: Rect, buf: &mut Buffer) {
        put(self.shortened(line, area.width), area, buf);
    }

    /// The line as it is, or as much of its beginning as fits before the sign that it goes on.
    fn shortened<'l>(&self, line: Line<'l>, width: u16) -> Line<'l> {
        if line.width() <= usize::from(width) {
            return line;
        }
        let sign = self.theme.signs.goes_on;
        let mut left = usize::from(width).saturating_sub(sign.chars().count());
        let mut shortened = Line { spans: Vec::new(), ..line.clone() };
        for span in line.spans {
            if span.width() <= left {
                left -= span.width();
                shortened.push_span(span);
                continue;
            }
            let mut text = String::new();
            for c in span.content.chars() {
                let wide = Span::raw(c.to_string()).width();
                if wide > left {
                    break;
                }
                left -= wide;
                text.push(c);
            }
            shortened.push_span(Span::styled(text + sign, span.style));
            break;
        }
        shortened
    }
}

/// A text in lines of at most that width, broken between words where there are some.
fn wrapped(text: &str, width: u16) -> Vec<String> {
    let width = usize::from(width.max(1));
    let wide = |text: &str| Span::raw(text).width();
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        let gap = usize::from(!line.is_empty());
        if !line.is_empty() && wide(&line) + gap + wide(word) > width {
            lines.push(std::mem::take(&mut line));
        } else if gap == 1 {
            line.push(' ');
        }
        for c in word.chars() {
            if !line.is_empty() && wide(&line) + wide(c.encode_utf8(&mut [0; 4])) > width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    lines.push(line);
    lines
}

/// Draws one line into the first row of an area, cut at its end.
fn put(line: Line, area: Rect, buf: &mut Buffer) {
    let row = Rect { height: 1, ..area }.intersection(area).intersection(buf.area);
    if !row.is_empty() {
        line.render(row, buf);
    }
}

/// Takes so many rows off the top of an area, or as many as there are.
fn cut_top(area: &mut Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    let top = Rect { height: rows, ..*area };
    area.y += rows;
    area.height -= rows;
    top
}

/// Takes so many rows off the bottom of an area, or as many as there are.
fn cut_bottom(area: &mut Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    area.height -= rows;
    Rect { y: area.y + area.height, height: rows, ..*area }
}
