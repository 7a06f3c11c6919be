//! The words of a record: maximal runs of alphanumeric characters, lower-cased.
//!
//! Alphanumeric and lower case are Unicode's, as `char::is_alphanumeric` and `str::to_lowercase` have them. Invalid
//! UTF-8 counts as U+FFFD, which is not alphanumeric and so separates words; each replaced sequence is counted.

use super::records::Records;
use crate::pipeline::intake::{Intake, Tally};
use crate::pipeline::{Batch, Op, Outbox, Refused};
use crate::sync::Arc;

/// What an ASCII byte is: 0 ends a word, 0xff starts a character beyond ASCII, anything else is the byte in lower case.
const FOLD: [u8; 256] = {
    let mut fold = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        fold[byte] = match byte as u8 {
            b @ (b'0'..=b'9' | b'a'..=b'z') => b,
            b @ b'A'..=b'Z' => b.to_ascii_lowercase(),
            0..0x80 => 0,
            _ => 0xff,
        };
        byte += 1;
    }
    fold
};

const BEYOND_ASCII: u8 = 0xff;

/// Splits records into words.
pub(super) struct Words {
    pub intake: Arc<Intake>,
}

impl Op<Records, Records> for Words {
    fn run(&mut self, input: &mut Records, next: &mut usize, out: &mut Outbox<'_, Records>) -> Result<(), Refused> {
        while *next < input.len() {
            let record = input.get(*next);
            // This op neither fails nor panics half-way through a record, so every word may stand at once; a chunk
            // of text would otherwise make one batch of all its words.
            match std::str::from_utf8(record) {
                Ok(text) => split(text, &mut |word| emit(word, out)),
                Err(_) => {
                    let replaced = record.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty()).count();
                    self.intake.count(Tally::Replaced, replaced as u64);
                    split(&String::from_utf8_lossy(record), &mut |word| emit(word, out));
                }
            }
            *next += 1;
        }
        out.boundary();
        Ok(())
    }
}

#[inline(always)]
fn emit(word: Word<'_>, out: &mut Outbox<'_, Records>) {
    let batch = out.batch_mut();
    match word {
        Word::Ascii(bytes) => {
            if batch.room() < bytes.len() {
                batch.push(bytes);
                // Rare, and pushed as it was: fold it where it lies.
                batch.last_mut().make_ascii_lowercase();
            } else {
                let spare = &mut batch.spare_mut()[..bytes.len()];
                for (to, from) in spare.iter_mut().zip(bytes) {
                    *to = FOLD[usize::from(*from)];
                }
                batch.seal(bytes.len());
            }
        }
        Word::Other(word) => batch.push(word.as_bytes()),
    }
    if batch.len() >= out.batch_limit() || out.batch_mut().is_full() {
        out.boundary();
    }
}

enum Word<'a> {
    /// As it stands in the text, case and all.
    Ascii(&'a [u8]),
    /// Lower-cased already.
    Other(String),
}

fn split<'t>(text: &'t str, word: &mut impl FnMut(Word<'t>)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match FOLD[usize::from(byte)] {
            0 => at += 1,
            _ => {
                let start = at;
                let fold = loop {
                    match bytes.get(at).map_or(0, |&byte| FOLD[usize::from(byte)]) {
                        fold @ (0 | BEYOND_ASCII) => break fold,
                        _ => at += 1,
                    }
                };
                if fold == 0 {
                    word(Word::Ascii(&bytes[start..at]));
                } else {
                    at = split_beyond_ascii(text, start, word);
                }
            }
        }
    }
}

/// Does the word that starts at `start` and holds a character beyond ASCII, if it is one. Returns where to go on.
fn split_beyond_ascii<'t>(text: &'t str, start: usize, word: &mut impl FnMut(Word<'t>)) -> usize {
    let rest = &text[start..];
    let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
    match &rest[..end] {
        // The character was no alphanumeric one: step over it.
        "" => start + rest.chars().next().map_or(1, char::len_utf8),
        found if found.is_ascii() => {
            word(Word::Ascii(found.as_bytes()));
            start + end
        }
        found => {
            word(Word::Other(found.to_lowercase()));
            start + end
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        split(text, &mut |word| {
            found.push(match word {
                Word::Ascii(bytes) => String::from_utf8(bytes.to_ascii_lowercase()).unwrap(),
                Word::Other(word) => word,
            });
        });
        found
    }

    /// The definition, in the plainest form.
    fn plain(text: &str) -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
    }

    #[test]
    fn words_are_runs_of_alphanumerics_in_lower_case() {
        assert_eq!(words("Don't STOP, 42 times!"), ["don", "t", "stop", "42", "times"]);
        assert_eq!(words("Straße—ΟΔΟΣ «Ёлка»"), ["straße", "οδος", "ёлка"]);
        assert_eq!(words(""), [""; 0]);
    }

    #[test]
    fn agrees_with_the_definition_on_any_text() {
        proptest::proptest!(|(text in "[a-zA-Z0-9 .,ßΣσςİıßÄ–\u{301}١२中\u{fffd}\n]{0,60}")| {
            proptest::prop_assert_eq!(words(&text), plain(&text));
        });
    }
}
