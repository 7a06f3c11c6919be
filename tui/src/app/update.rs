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
            Mode::Browse => match input::action(BROWSE, key) {
                Some(action) => self.browse(action, key),
                None => {
                    self.miss(key);
                    None
                }
            },
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

    /// Says of a digit whose screen is still to come that it is.
    fn miss(&mut self, key: KeyEvent) {
        let to_come = match key.code {
            KeyCode::Char('6') => "6 Tries",
            KeyCode::Char('7') => "7 Tune",
            KeyCode::Char('9') => "9 Workloads",
            KeyCode::Char('0') => "0 Doctor",
            _ => return,
        };
        self.tell(format!("{to_come} is not there yet"), true);
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

    /// Asks for the greatest entries of the map that is shown in detail, unless they are fresh. Only counters are ranked.
    fn want_top(&mut self) -> Option<Cmd> {
        let resource = self.detail().filter(|resource| resource.values.as_deref() == Some("counters"))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Look;
    use crate::sketch;
    use rheostat_api::{Entry, KnobValue};

    /// A dashboard that has watched the sketched host for two seconds.
    fn app() -> App {
        let start = Instant::now();
        let mut app = App::new("unix:/nowhere".into(), start);
        for step in 0..9 {
            app.update(Msg::Tick(start + Duration::from_millis(250 * step)));
            app.update(Msg::Snapshot(Box::new(sketch::snapshot(step))));
        }
        app
    }

    fn code(app: &mut App, code: KeyCode) -> Option<Cmd> {
        app.update(Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    fn press(app: &mut App, keys: &str) -> Option<Cmd> {
        keys.chars().map(|c| code(app, KeyCode::Char(c))).last().flatten()
    }

    fn subject(app: &App) -> &str {
        app.subject().map_or("", |resource| &resource.address)
    }

    #[test]
    fn digits_show_screens_and_movement_stays_on_rows() {
        let mut app = app();
        assert_eq!(subject(&app), "pipeline.words");
        press(&mut app, "jj");
        assert_eq!(subject(&app), "pipeline.words.split");
        press(&mut app, "4");
        assert_eq!((app.screen(), subject(&app)), (Screen::Maps, "map.words"));
        press(&mut app, "jjj");
        assert_eq!(subject(&app), "map.words");
        press(&mut app, "1G");
        assert_eq!(subject(&app), "scheduler.main");
        press(&mut app, "1g");
        assert_eq!(subject(&app), "pipeline.words");
    }

    #[test]
    fn a_change_is_staged_shown_and_only_then_asked_for() {
        let mut app = app();
        assert_eq!(press(&mut app, "2jW++"), None, "nothing is asked for while staging");
        let Mode::Staging(staging) = app.mode() else { panic!("{:?}", app.mode()) };
        assert_eq!((staging.from.clone(), staging.value()), (KnobValue::Integer(1), Some(KnobValue::Integer(3))));
        let turn = "pipeline.words.count.workers=3".parse().unwrap();
        assert_eq!(press(&mut app, "a"), Some(Cmd::Turn(turn)));
        assert_eq!(app.mode(), &Mode::Browse);
    }

    #[test]
    fn a_staged_change_can_be_discarded_and_a_wrong_one_is_not_applied() {
        let mut app = app();
        press(&mut app, "2jW999");
        assert_eq!(press(&mut app, "a"), None, "999 is outside 1..64");
        assert!(matches!(app.mode(), Mode::Staging(_)));
        assert_eq!(code(&mut app, KeyCode::Esc), None);
        assert_eq!(app.mode(), &Mode::Browse);
    }

    #[test]
    fn a_digit_without_a_screen_says_so_and_stays() {
        let mut app = app();
        press(&mut app, "46");
        assert_eq!((app.screen(), app.notice().unwrap().text.as_str()), (Screen::Maps, "6 Tries is not there yet"));
    }

    #[test]
    fn tab_goes_round_the_knobs_of_a_row() {
        let mut app = app();
        press(&mut app, "2j");
        let names: Vec<String> = (0..4)
            .map(|_| {
                let name = app.subject_knob().unwrap().1.name.clone();
                code(&mut app, KeyCode::Tab);
                name
            })
            .collect();
        assert_eq!(names, ["workers", "batch", "capacity", "workers"]);
        code(&mut app, KeyCode::BackTab);
        assert_eq!(app.subject_knob().unwrap().1.name, "workers");
    }

    #[test]
    fn a_row_without_knobs_says_so() {
        let mut app = app();
        press(&mut app, "2W");
        assert_eq!(app.notice().unwrap().text, "pipeline.words has no knobs");
        assert_eq!(app.mode(), &Mode::Browse);
    }

    #[test]
    fn in_detail_enter_on_a_knob_stages_it() {
        let mut app = app();
        press(&mut app, "2j");
        code(&mut app, KeyCode::Enter);
        assert_eq!(app.detail().unwrap().address, "pipeline.words.count");
        press(&mut app, "j");
        code(&mut app, KeyCode::Enter);
        assert!(matches!(app.mode(), Mode::Staging(staging) if staging.knob == "batch"));
        code(&mut app, KeyCode::Esc);
        code(&mut app, KeyCode::Esc);
        assert!(app.detail().is_none());
    }

    #[test]
    fn the_palette_turns_knobs_and_says_what_it_does_not_understand() {
        let mut app = app();
        press(&mut app, ":set pipeline.words.count.w");
        code(&mut app, KeyCode::Tab);
        press(&mut app, "4");
        let turn = "pipeline.words.count.workers=4".parse().unwrap();
        assert_eq!(code(&mut app, KeyCode::Enter), Some(Cmd::Turn(turn)));
        press(&mut app, ":dance");
        assert_eq!(code(&mut app, KeyCode::Enter), None);
        assert!(app.notice().unwrap().bad);
        press(&mut app, ":q");
        assert_eq!(code(&mut app, KeyCode::Enter), Some(Cmd::Quit));
    }

    #[test]
    fn letters_typed_are_not_keys() {
        let mut app = app();
        assert_eq!(press(&mut app, "/q"), None);
        assert_eq!((app.filter(), app.listed().len()), ("q", 1));
        assert_eq!(subject(&app), "queue.orders");
        code(&mut app, KeyCode::Enter);
        assert_eq!((app.mode(), app.filter()), (&Mode::Browse, "q"), "enter keeps the filter");
        code(&mut app, KeyCode::Esc);
        assert_eq!(app.filter(), "");
    }

    #[test]
    fn freezing_is_local_and_the_host_goes_on() {
        let mut app = app();
        press(&mut app, " ");
        app.take_dirty();
        let seen = app.look().latest().unwrap().seq;
        app.update(Msg::Snapshot(Box::new(sketch::snapshot(9))));
        assert_eq!(app.look().latest().unwrap().seq, seen);
        assert!(!app.take_dirty(), "a frozen screen need not be drawn again");
        press(&mut app, " ");
        assert_eq!(app.look().latest().unwrap().seq, seen + 1);
    }

    #[test]
    fn a_lost_host_leaves_the_last_frame_and_its_age() {
        let mut app = app();
        let seen = app.look().latest().unwrap().seq;
        app.update(Msg::FeedLost { why: "gone".into(), retry_in: Duration::from_secs(4) });
        app.update(Msg::Tick(app.now + Duration::from_secs(3)));
        assert_eq!(app.look().latest().unwrap().seq, seen);
        assert!(app.stale());
        assert_eq!(app.retry_in(), Some(Duration::from_secs(1)));
        app.update(Msg::Snapshot(Box::new(sketch::snapshot(20))));
        assert_eq!((app.link(), app.stale(), app.retry_in()), (&Link::Live, false, None));
    }

    #[test]
    fn changes_are_kept_in_order_and_their_effects_replace_them() {
        let mut app = app();
        let mut changes = sketch::changes();
        let effect = changes[0].effect.take();
        changes.reverse();
        app.update(Msg::Changes(changes));
        assert_eq!(app.changes().iter().map(|change| change.id).collect::<Vec<_>>(), [1, 2]);
        app.update(Msg::Changes(sketch::changes()));
        assert_eq!((app.changes().len(), &app.changes()[0].effect), (2, &effect));
        let [on_count, on_scheduler] = [4, 6].map(|second| vec![sketch::START_MS / 1000 + second]);
        for (address, marks) in [
            ("pipeline.words.count", &on_count),
            ("pipeline.words.split", &on_count),
            ("pipeline.words", &on_count),
            ("scheduler.main", &on_scheduler),
            ("pipeline.words2", &vec![]),
            ("map.words", &vec![]),
        ] {
            assert!(app.marks(address).iter().eq(marks), "{address}: {:?}", app.marks(address));
        }
        let mut reborn = sketch::snapshot(0);
        (reborn.host.pid, reborn.last_change) = (1, 0);
        app.update(Msg::Snapshot(Box::new(reborn)));
        assert!(app.changes().is_empty(), "another host numbers its changes anew");
    }

    #[test]
    fn the_greatest_entries_are_asked_for_while_a_map_is_shown_and_no_oftener_than_needed() {
        let mut app = app();
        press(&mut app, "4");
        let ask = Some(Cmd::Top { address: "map.words".into() });
        assert_eq!(code(&mut app, KeyCode::Enter), ask);
        assert_eq!(app.update(Msg::Snapshot(Box::new(sketch::snapshot(9)))), None);
        let entries = vec![Entry { key: "the".into(), value: 3.into() }];
        app.update(Msg::Top { address: "map.words".into(), entries: entries.clone() });
        app.update(Msg::Tick(app.now + TOP_EVERY));
        assert_eq!(app.update(Msg::Snapshot(Box::new(sketch::snapshot(10)))), ask);
        assert_eq!(app.top("map.words"), Some(entries.as_slice()), "the old ones stay until the new ones come");
        code(&mut app, KeyCode::Esc);
        app.update(Msg::Tick(app.now + TOP_EVERY));
        assert_eq!(app.update(Msg::Snapshot(Box::new(sketch::snapshot(11)))), None);
    }

    #[test]
    fn nothing_is_asked_of_a_map_whose_values_are_not_ranked() {
        for values in ["bytes", "words"] {
            let mut app = app();
            let mut snapshot = sketch::snapshot(9);
            let map = snapshot.resources.iter_mut().find(|resource| resource.kind == "map").unwrap();
            map.values = Some(values.to_owned());
            app.update(Msg::Snapshot(Box::new(snapshot.clone())));
            press(&mut app, "4");
            assert_eq!(code(&mut app, KeyCode::Enter), None, "{values}");
            assert_eq!(app.detail().unwrap().address, "map.words");
            app.update(Msg::Tick(app.now + TOP_EVERY));
            assert_eq!(app.update(Msg::Snapshot(Box::new(snapshot))), None, "{values}");
        }
    }

    #[test]
    fn a_resource_that_goes_leaves_its_detail_without_harm() {
        let mut app = app();
        press(&mut app, "G");
        code(&mut app, KeyCode::Enter);
        let mut snapshot = sketch::snapshot(9);
        snapshot.resources.clear();
        app.update(Msg::Snapshot(Box::new(snapshot)));
        assert!(app.detail().is_none());
        for key in ["j", "G", "W", "8", "1", "2", "W"] {
            press(&mut app, key);
        }
    }

    #[test]
    fn quiet_seconds_are_not_drawn() {
        let mut app = app();
        app.take_dirty();
        app.update(Msg::Tick(app.now + Duration::from_millis(300)));
        assert!(!app.take_dirty());
        app.update(Msg::Tick(app.now + Duration::from_secs(3)));
        assert!(app.take_dirty(), "the age on screen has changed");
    }

    #[test]
    fn what_is_pasted_is_text_only_where_text_is_typed() {
        let mut app = app();
        assert_eq!(app.update(Msg::Paste("q:quit\n".into())), None);
        assert_eq!(app.mode(), &Mode::Browse);
        press(&mut app, ":");
        app.update(Msg::Paste("x".repeat(1 << 20)));
        assert!(matches!(app.mode(), Mode::Palette(typed) if typed.text().len() < 1000));
    }

    #[test]
    fn releases_of_keys_are_not_presses() {
        let mut app = app();
        let release = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(app.update(Msg::Key(release)), None);
        assert_eq!(press(&mut app, "q"), Some(Cmd::Quit));
    }

    #[test]
    fn nothing_seen_is_nothing_to_act_on() {
        let mut app = App::new("unix:/nowhere".into(), Instant::now());
        for c in "1234580jkgGWw/a?:".chars() {
            press(&mut app, &c.to_string());
            code(&mut app, KeyCode::Esc);
            code(&mut app, KeyCode::Enter);
            code(&mut app, KeyCode::Tab);
        }
        assert!(Look::default().latest().is_none());
    }
}
