//! What happens to the state when something happens: no input or output, no clock, no terminal.

use super::palette::{self, Command};
use super::{App, CHANGES_MAX, Link, Mode, NOTICE_LASTS, Notice, Screen, Staging, Top, Typed};
use crate::input::{self, Action, BROWSE, STAGING, TYPING};
use crate::msg::{Cmd, Msg};
use crate::turn::Turn;
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use rheostat_api::Change;
use std::time::{Duration, Instant};

/// The greatest entries of a map on screen are fetched again this often: counting them costs the host a walk.
const TOP_EVERY: Duration = Duration::from_secs(2);

impl App {
    /// Takes in what happened and says what is to be done.
    pub fn update(&mut self, msg: Msg) -> Option<Cmd> {
        match msg {
            Msg::Key(key) if key.kind == KeyEventKind::Release => None,
            Msg::Key(key) => {
                self.dirty = true;
                self.key(key)
            }
            Msg::Paste(text) => {
                self.dirty = true;
                match &mut self.mode {
                    Mode::Palette(typed) => typed.paste(&text),
                    Mode::Filter => self.filter.paste(&text),
                    Mode::Browse | Mode::Help(_) | Mode::Staging(_) => {}
                }
                None
            }
            Msg::Resize(_, rows) => {
                self.rows_shown = rows;
                self.dirty = true;
                None
            }
            Msg::Snapshot(snapshot) => {
                // A frozen screen changes only when the state of the link does.
                self.dirty |= !self.is_frozen() || self.link != Link::Live;
                self.seen = Some(self.now);
                self.link = Link::Live;
                if self.changes.last().is_some_and(|newest| newest.id > snapshot.last_change) {
                    // Another host answers here now: its changes are numbered anew.
                    self.changes.clear();
                }
                self.live.take(*snapshot);
                self.follow_staged_knob();
                self.want_top()
            }
            Msg::FeedLost { why, retry_in } => {
                self.link = Link::Lost { why, retry_at: self.now + retry_in };
                self.dirty = true;
                None
            }
            Msg::Changes(changes) => {
                self.dirty |= !changes.is_empty();
                changes.into_iter().for_each(|change| self.record(change));
                None
            }
            Msg::History(history) => {
                self.live.remember(&history);
                self.dirty = true;
                None
            }
            Msg::Top { address, entries } => {
                if let Some(top) = self.top.as_mut().filter(|top| top.address == address) {
                    top.entries = entries;
                    self.dirty = true;
                }
                None
            }
            Msg::Told { text, bad } => {
                self.tell(text, bad);
                None
            }
            Msg::Tick(now) => {
                self.tick(now);
                None
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        let whole_seconds = |app: &App| (app.age().map(|age| age.as_secs()), app.retry_in().map(|left| left.as_secs()));
        let before = whole_seconds(self);
        self.now = now;
        self.dirty |= before != whole_seconds(self);
        if self.notice.as_ref().is_some_and(|notice| now.saturating_duration_since(notice.since) > NOTICE_LASTS) {
            self.notice = None;
            self.dirty = true;
        }
    }

    fn key(&mut self, key: KeyEvent) -> Option<Cmd> {
        if !matches!(self.mode, Mode::Staging(_)) {
            self.notice = None;
        }
        match &self.mode {
            Mode::Browse => self.browse(input::action(BROWSE, key)?, key),
            Mode::Help(_) => self.help(input::action(BROWSE, key)),
            Mode::Filter | Mode::Palette(_) => self.typing(key),
            Mode::Staging(_) => self.staging(input::action(STAGING, key)?, key),
        }
    }

    fn browse(&mut self, action: Action, key: KeyEvent) -> Option<Cmd> {
        match action {
            Action::Screen => {
                let pressed = |screen: &Screen| key.code == KeyCode::Char(screen.digit());
                if let Some(screen) = Screen::ALL.into_iter().find(pressed) {
                    self.show(screen);
                }
            }
            Action::Move(by) => self.step(by),
            Action::Page(by) => self.step(by.saturating_mul((self.rows_shown / 2).max(1) as isize)),
            Action::First => self.step(isize::MIN),
            Action::Last => self.step(isize::MAX),
            Action::Knob(by) if self.detail.is_some() => self.step(by),
            Action::Knob(by) => {
                let knobs = self.subject().map_or(0, |resource| resource.knobs.len()).max(1);
                self.knob = (self.knob % knobs).wrapping_add_signed(by.rem_euclid(knobs as isize)) % knobs;
            }
            Action::Enter if self.detail.is_some() => {
                if self.subject_knob().is_some() {
                    self.stage();
                }
            }
            Action::Enter => {
                if let Some(address) = self.subject().map(|resource| resource.address.clone()) {
                    return self.open(address);
                }
            }
            Action::Back if self.detail.is_some() => self.detail = None,
            Action::Back => self.filter.clear(),
            Action::Stage => self.stage(),
            Action::Filter => {
                self.detail = None;
                self.mode = Mode::Filter;
            }
            Action::Palette => self.mode = Mode::Palette(Typed::default()),
            Action::Freeze => {
                self.frozen = if self.is_frozen() { None } else { Some(Box::new(self.live.clone())) };
            }
            Action::Help => self.mode = Mode::Help(0),
            Action::Suspend => return Some(Cmd::Suspend),
            Action::Quit => return Some(Cmd::Quit),
            Action::Redraw => return Some(Cmd::Redraw),
            // The other tables' actions.
            Action::Step(_) | Action::Digit | Action::Erase | Action::Apply | Action::Discard => {}
            Action::Run | Action::Complete | Action::Clear | Action::Leave => {}
        }
        None
    }

    fn help(&mut self, action: Option<Action>) -> Option<Cmd> {
        let Mode::Help(scroll) = &mut self.mode else { return None };
        match action {
            Some(Action::Move(by) | Action::Page(by)) => {
                *scroll = scroll.saturating_add_signed(by).min(input::bindings_total());
            }
            Some(Action::Suspend) => return Some(Cmd::Suspend),
            _ => self.mode = Mode::Browse,
        }
        None
    }

    fn typing(&mut self, key: KeyEvent) -> Option<Cmd> {
        let typed = match &mut self.mode {
            Mode::Palette(typed) => typed,
            _ => &mut self.filter,
        };
        let Some(action) = input::action(TYPING, key) else {
            if let (KeyCode::Char(c), true) = (key.code, (key.modifiers - KeyModifiers::SHIFT).is_empty()) {
                typed.push(c);
            }
            return None;
        };
        match action {
            Action::Clear => typed.clear(),
            Action::Erase if typed.pop() => {}
            // There was nothing to erase but the prompt itself.
            Action::Erase => self.mode = Mode::Browse,
            Action::Complete => {
                if let Mode::Palette(typed) = &mut self.mode
                    && let Some(completed) = palette::complete(typed.text(), self.live.resources())
                {
                    typed.set(completed);
                }
            }
            Action::Leave => {
                if self.mode == Mode::Filter {
                    self.filter.clear();
                }
                self.mode = Mode::Browse;
            }
            Action::Run => {
                if let Mode::Palette(typed) = std::mem::replace(&mut self.mode, Mode::Browse) {
                    return self.command(typed.text());
                }
            }
            _ => {}
        }
        None
    }

    fn command(&mut self, text: &str) -> Option<Cmd> {
        match palette::parse(text, self.live.resources()) {
            Ok(Command::Nothing) => None,
            Ok(Command::Show(screen)) => {
                self.show(screen);
                None
            }
            Ok(Command::Set(turn)) => Some(Cmd::Turn(turn)),
            Ok(Command::Open(address)) => self.open(address),
            Ok(Command::Get { address, knob }) => {
                let value = self.live.resource(&address).and_then(|resource| resource.knob(&knob));
                let text = value.map_or_else(String::new, |knob| format!("{address}.{} = {}", knob.name, knob.value));
                self.tell(text, false);
                None
            }
            Ok(Command::Help) => {
                self.mode = Mode::Help(0);
                None
            }
            Ok(Command::Quit) => Some(Cmd::Quit),
            Err(refusal) => {
                self.tell(refusal, true);
                None
            }
        }
    }

    fn staging(&mut self, action: Action, key: KeyEvent) -> Option<Cmd> {
        let Mode::Staging(staging) = &mut self.mode else { return None };
        match action {
            Action::Step(by) => staging.step(by),
            Action::Digit => {
                if let KeyCode::Char(digit) = key.code {
                    staging.digit(digit);
                }
            }
            Action::Erase => staging.erase(),
            Action::Apply => {
                if let (Some(to), None) = (staging.value(), staging.fault()) {
                    let turn = Turn { address: staging.address.clone(), knob: staging.knob.clone(), to };
                    self.mode = Mode::Browse;
                    self.tell(format!("turning {turn}"), false);
                    return Some(Cmd::Turn(turn));
                }
            }
            Action::Discard => self.mode = Mode::Browse,
            _ => {}
        }
        None
    }

    fn show(&mut self, screen: Screen) {
        self.screen = screen;
        self.detail = None;
        self.knob = 0;
    }

    fn open(&mut self, address: String) -> Option<Cmd> {
        self.detail = Some(address);
        self.detail_cursor = Default::default();
        self.want_top()
    }

    fn step(&mut self, by: isize) {
        let keys = self.row_keys();
        self.cursor_mut().step(by, &keys);
        self.knob = 0;
    }

    fn stage(&mut self) {
        let staged =
            self.subject().zip(self.subject_knob()).map(|(resource, (_, knob))| Staging::new(&resource.address, knob));
        match (staged, self.subject()) {
            (Some(staging), _) => self.mode = Mode::Staging(staging),
            (None, Some(resource)) if self.detail.is_none() => {
                let text = format!("{} has no knobs", resource.address);
                self.tell(text, true);
            }
            (None, _) => self.tell("select a knob first".to_owned(), true),
        }
    }

    /// Somebody else may have turned the knob since a change of it was staged here.
    fn follow_staged_knob(&mut self) {
        if let Mode::Staging(staging) = &mut self.mode
            && let Some(knob) = self.live.resource(&staging.address).and_then(|resource| resource.knob(&staging.knob))
        {
            staging.from = knob.value.clone();
        }
    }

    /// Asks for the greatest entries of the map that is shown in detail, unless they are fresh.
    fn want_top(&mut self) -> Option<Cmd> {
        let resource = self.detail().filter(|resource| resource.kind == "map")?;
        let address = resource.address.clone();
        let known = self.top.take().filter(|top| top.address == address);
        let fresh = known.as_ref().is_some_and(|top| self.now.saturating_duration_since(top.asked) < TOP_EVERY);
        let (entries, asked) = match known {
            Some(top) if fresh => (top.entries, top.asked),
            known => (known.map_or_else(Vec::new, |top| top.entries), self.now),
        };
        self.top = Some(Top { address: address.clone(), entries, asked });
        (!fresh).then_some(Cmd::Top { address })
    }

    fn record(&mut self, change: Change) {
        match self.changes.binary_search_by_key(&change.id, |known| known.id) {
            Ok(index) => self.changes[index] = change,
            Err(index) => self.changes.insert(index, change),
        }
        let surplus = self.changes.len().saturating_sub(CHANGES_MAX);
        self.changes.drain(..surplus);
    }

    fn tell(&mut self, text: String, bad: bool) {
        self.notice = Some(Notice { text, bad, since: self.now });
        self.dirty = true;
    }
}
