//! Text from elsewhere, made safe for a terminal: whatever could move the cursor, reorder a line or hide in it is
//! shown by its code instead. Done once, where text enters; everything behind can print without thinking.

use rheostat_api::{
    ByteString, Change, Effect, Entry, Host, Knob, KnobValue, MapValue, Problem, Range, Resource, Run, Sample, Snapshot,
};
use std::collections::BTreeMap;

/// Whether a terminal shows something else than one visible sign for this character.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The text with every unsafe character shown by its code: an escape becomes `\u{1b}`.
pub fn scrubbed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Something that holds text from elsewhere.
pub trait Scrub {
    /// Makes its text safe, in place.
    fn scrub(&mut self);
}

impl Scrub for String {
    fn scrub(&mut self) {
        // Nearly all text is printable ASCII, and a snapshot holds hundreds of pieces of it four times a second.
        let plain = self.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !plain && self.contains(is_unsafe) {
            *self = scrubbed(self);
        }
    }
}

impl<T: Scrub> Scrub for Vec<T> {
    fn scrub(&mut self) {
        self.iter_mut().for_each(Scrub::scrub);
    }
}

impl<T: Scrub> Scrub for Option<T> {
    fn scrub(&mut self) {
        self.iter_mut().for_each(Scrub::scrub);
    }
}

impl Scrub for BTreeMap<String, String> {
    fn scrub(&mut self) {
        let unsafe_key = |key: &String| key.contains(is_unsafe);
        if self.keys().any(unsafe_key) {
            *self = std::mem::take(self).into_iter().map(|(key, value)| (scrubbed(&key), value)).collect();
        }
        self.values_mut().for_each(Scrub::scrub);
    }
}

/// Implements [`Scrub`] field by field.
macro_rules! scrub_fields {
    ($($type:ty: $($field:ident)*;)*) => {
        $(impl Scrub for $type {
            fn scrub(&mut self) {
                $(self.$field.scrub();)*
            }
        })*
    };
}

scrub_fields! {
    Snapshot: host resources runs;
    Host: version config;
    Resource: address kind knobs samples;
    Knob: name value range unit help;
    Sample: family labels;
    Change: actor resource knob from to why reason effect;
    Effect: family;
    Problem: kind title detail;
    Run: id name error;
}

impl Scrub for Entry {
    fn scrub(&mut self) {
        self.key.scrub();
        if let MapValue::Bytes(bytes) = &mut self.value {
            bytes.scrub();
        }
    }
}

impl Scrub for ByteString {
    fn scrub(&mut self) {
        let mut text = self.to_text_lossy().into_owned();
        text.scrub();
        *self = text.into();
    }
}

impl Scrub for KnobValue {
    fn scrub(&mut self) {
        if let KnobValue::Choice(word) = self {
            word.scrub();
        }
    }
}

impl Scrub for Range {
    fn scrub(&mut self) {
        if let Range::Choice { choices } = self {
            choices.scrub();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_command_a_terminal_is_shown_by_its_code() {
        let attacks = ["\u{1b}[2J", "\u{1b}]52;c;AAAA\u{7}", "\u{9b}31m", "a\u{202e}b", "z\u{200d}w", "\r\n", "\u{7f}"];
        for attack in attacks {
            let mut text = attack.to_owned();
            text.scrub();
            assert!(!text.contains(is_unsafe), "{text:?}");
            assert_ne!(text, "", "shown, not swallowed");
        }
        assert_eq!(scrubbed("\u{1b}[2J"), "\\u{1b}[2J");
    }

    #[test]
    fn ordinary_text_of_any_language_is_left_alone() {
        for text in ["pipeline.words", "żółw", "日本語", "naïve – \u{1f980}"] {
            let mut copy = text.to_owned();
            copy.scrub();
            assert_eq!(copy, text);
        }
    }

    #[test]
    fn labels_are_scrubbed_in_keys_and_values() {
        let mut labels = BTreeMap::from([("a\u{1b}".to_owned(), "b\u{9b}".to_owned())]);
        labels.scrub();
        assert_eq!(labels, BTreeMap::from([("a\\u{1b}".to_owned(), "b\\u{9b}".to_owned())]));
    }
}
