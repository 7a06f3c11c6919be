//! The keys. One table per mode feeds both the dispatch and the help, so neither can promise what the other lacks.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Show the screen of the digit that was pressed.
    Screen,
    /// Move the selection by so many rows.
    Move(isize),
    /// Move it by so many half screens.
    Page(isize),
    /// To the first row.
    First,
    /// To the last row.
    Last,
    /// Select a knob of the selected row, so many further.
    Knob(isize),
    /// Show the selected row in detail, or stage the selected knob.
    Enter,
    /// One level up.
    Back,
    /// Stage a change of the selected knob.
    Stage,
    /// Type a filter.
    Filter,
    /// Type a command.
    Palette,
    /// Freeze the screen, or let it go on.
    Freeze,
    /// Show or hide the help.
    Help,
    /// Draw everything anew.
    Redraw,
    /// Give the terminal back for a while.
    Suspend,
    /// Leave.
    Quit,
    /// Change the staged value by so many steps.
    Step(i64),
    /// Type a digit or sign of the staged value.
    Digit,
    /// Take the last digit back.
    Erase,
    /// Apply the staged change.
    Apply,
    /// Forget the staged change.
    Discard,
    /// Do what was typed.
    Run,
    /// Complete what was typed.
    Complete,
    /// Take back everything typed.
    Clear,
    /// Stop typing.
    Leave,
}

/// One row of a key table.
#[derive(Debug)]
pub struct Binding {
    /// The keys, any of which will do.
    keys: &'static [(KeyModifiers, KeyCode)],
    /// How the help writes them.
    pub shown: &'static str,
    /// What they ask for.
    pub action: Action,
    /// What the help says about it.
    pub help: &'static str,
}

const fn bare(code: KeyCode) -> (KeyModifiers, KeyCode) {
    (KeyModifiers::NONE, code)
}

const fn sign(c: char) -> (KeyModifiers, KeyCode) {
    bare(KeyCode::Char(c))
}

const fn ctrl(c: char) -> (KeyModifiers, KeyCode) {
    (KeyModifiers::CONTROL, KeyCode::Char(c))
}

macro_rules! bindings {
    ($($shown:literal [$($key:expr),*] $action:expr, $help:literal;)*) => {
        &[$(Binding { keys: &[$($key),*], shown: $shown, action: $action, help: $help }),*]
    };
}

/// Keys while looking around.
pub static BROWSE: &[Binding] = bindings! {
    "1-5 8" [sign('1'), sign('2'), sign('3'), sign('4'), sign('5'), sign('8')] Action::Screen, "the screens named on top";
    "j down" [sign('j'), bare(KeyCode::Down)] Action::Move(1), "next row";
    "k up" [sign('k'), bare(KeyCode::Up)] Action::Move(-1), "previous row";
    "^d pgdn" [ctrl('d'), bare(KeyCode::PageDown)] Action::Page(1), "half a screen down";
    "^u pgup" [ctrl('u'), bare(KeyCode::PageUp)] Action::Page(-1), "half a screen up";
    "g home" [sign('g'), bare(KeyCode::Home)] Action::First, "first row";
    "G end" [sign('G'), bare(KeyCode::End)] Action::Last, "last row";
    "tab right" [bare(KeyCode::Tab), bare(KeyCode::Right)] Action::Knob(1), "next knob";
    "left" [bare(KeyCode::BackTab), bare(KeyCode::Left)] Action::Knob(-1), "previous knob";
    "W" [sign('W'), sign('w')] Action::Stage, "stage a change of a knob";
    "enter" [bare(KeyCode::Enter)] Action::Enter, "detail; on a knob, stage";
    "esc" [bare(KeyCode::Esc)] Action::Back, "back; drop the filter";
    "/" [sign('/')] Action::Filter, "filter rows by address";
    ":" [sign(':')] Action::Palette, "command, as in :set A.K=V";
    "space" [sign(' ')] Action::Freeze, "freeze what is shown";
    "?" [sign('?')] Action::Help, "this help";
    "^l" [ctrl('l')] Action::Redraw, "draw anew";
    "^z" [ctrl('z')] Action::Suspend, "suspend";
    "q ^c" [sign('q'), ctrl('c')] Action::Quit, "quit";
};

/// Keys while a change is staged.
pub static STAGING: &[Binding] = bindings! {
    "+ = up" [sign('+'), sign('='), bare(KeyCode::Up), bare(KeyCode::Right)] Action::Step(1), "one more; next choice";
    "- down" [sign('-'), bare(KeyCode::Down), bare(KeyCode::Left)] Action::Step(-1), "one less; previous choice";
    "0-9" [sign('0'), sign('1'), sign('2'), sign('3'), sign('4'), sign('5'), sign('6'), sign('7'), sign('8'), sign('9')]
        Action::Digit, "type a value";
    "bksp" [bare(KeyCode::Backspace)] Action::Erase, "take a digit back";
    "a enter" [sign('a'), bare(KeyCode::Enter)] Action::Apply, "apply";
    "esc" [bare(KeyCode::Esc), sign('q'), ctrl('c')] Action::Discard, "discard";
};

/// Keys while a filter or a command is typed; every other key is text.
pub static TYPING: &[Binding] = bindings! {
    "enter" [bare(KeyCode::Enter)] Action::Run, "run; keep the filter";
    "tab" [bare(KeyCode::Tab)] Action::Complete, "complete the command";
    "bksp" [bare(KeyCode::Backspace)] Action::Erase, "take a letter back";
    "^u" [ctrl('u')] Action::Clear, "take everything back";
    "esc" [bare(KeyCode::Esc), ctrl('c')] Action::Leave, "leave";
};

/// How many rows all tables have together: as far as the help can be scrolled.
pub fn bindings_total() -> usize {
    BROWSE.len() + STAGING.len() + TYPING.len()
}

/// What a key asks for in a table.
pub fn action(table: &[Binding], key: KeyEvent) -> Option<Action> {
    // Shift is already in the character; Alt and the like make it another key.
    let pressed = (key.modifiers - KeyModifiers::SHIFT, key.code);
    table.iter().find(|binding| binding.keys.contains(&pressed)).map(|binding| binding.action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_key_means_two_things_in_a_mode() {
        for table in [BROWSE, STAGING, TYPING] {
            let mut seen = HashSet::new();
            for key in table.iter().flat_map(|binding| binding.keys) {
                assert!(seen.insert(key), "{key:?} is bound twice");
            }
        }
    }

    #[test]
    fn shift_is_part_of_the_character_and_control_is_not() {
        let key = |modifiers, c| KeyEvent::new(KeyCode::Char(c), modifiers);
        assert_eq!(action(BROWSE, key(KeyModifiers::SHIFT, 'G')), Some(Action::Last));
        assert_eq!(action(BROWSE, key(KeyModifiers::NONE, 'g')), Some(Action::First));
        assert_eq!(action(BROWSE, key(KeyModifiers::CONTROL, 'd')), Some(Action::Page(1)));
        assert_eq!(action(BROWSE, key(KeyModifiers::ALT, 'q')), None);
    }

    #[test]
    fn every_screen_has_its_digit_in_the_table() {
        for screen in crate::app::Screen::ALL {
            let key = KeyEvent::new(KeyCode::Char(screen.digit()), KeyModifiers::NONE);
            assert_eq!(action(BROWSE, key), Some(Action::Screen), "{screen:?}");
        }
    }

    #[test]
    fn control_keys_never_change_the_host() {
        for binding in STAGING.iter().filter(|binding| binding.action == Action::Apply) {
            assert!(binding.keys.iter().all(|(modifiers, _)| modifiers.is_empty()));
        }
    }
}
