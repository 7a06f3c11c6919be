//! What is wrong with a workload file, where, and what to do about it.

use std::fmt;
use std::ops::Range;

/// Faults kept; a file with more than this has one cause, not a thousand.
const KEPT: usize = 100;

/// Characters of a line quoted around a fault; the rest of a longer line is left out.
const QUOTED: usize = 120;

/// One fault of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what to do, in one line.
    pub message: String,
    quote: Quote,
}

/// The line of a fault as it is shown, and which part of it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Quote {
    line: String,
    before: usize,
    width: usize,
}

impl Fault {
    /// A fault at a place in `text`. A span past the end means the end.
    fn at(text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let start = text.floor_char_boundary(span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let line = text[..line_start].bytes().filter(|&byte| byte == b'\n').count() + 1;
        let column = text[line_start..start].chars().count() + 1;
        let end = text.floor_char_boundary(span.end).clamp(start, line_end);
        let quote = Quote::of(&text[line_start..line_end], column - 1, text[start..end].chars().count());
        // A message is one line of a terminal: nothing a file says may break out of it.
        let message = message.into().chars().map(printable).collect();
        Self { line, column, message, quote }
    }
}

impl Quote {
    fn of(line: &str, before: usize, width: usize) -> Self {
        let skipped = before.saturating_sub(QUOTED / 2);
        let mut shown: String = line.chars().skip(skipped).take(QUOTED).map(printable).collect();
        shown.truncate(shown.trim_end().len());
        let before = before - skipped;
        let left = shown.chars().count().saturating_sub(before);
        Self { line: shown, before, width: width.min(left).max(1) }
    }
}

fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// Everything that is wrong with a file, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// The file, as it was named.
    pub file: String,
    /// The faults, the first hundred of them.
    pub faults: Vec<Fault>,
    /// How many more there are.
    pub more: usize,
}

impl Faults {
    pub(crate) fn new(file: &str, text: &str, mut found: Vec<(Range<usize>, String)>) -> Self {
        found.sort_by_key(|(span, _)| span.start);
        found.dedup();
        let more = found.len().saturating_sub(KEPT);
        let faults = found.into_iter().take(KEPT).map(|(span, message)| Fault::at(text, span, message)).collect();
        Self { file: file.to_owned(), faults, more }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            let Fault { line, column, message, quote } = fault;
            writeln!(f, "{}:{line}:{column}: {message}", self.file)?;
            let gutter = line.to_string().len().max(4);
            writeln!(f, "{line:>gutter$} | {}", quote.line)?;
            writeln!(f, "{:>gutter$} | {:before$}{}", "", "", "^".repeat(quote.width), before = quote.before)?;
        }
        match self.more {
            0 => Ok(()),
            more => writeln!(f, "{}: and {more} more faults", self.file),
        }
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_quoted_with_a_caret_below() {
        let text = "format = 1\nname = \"größe\" x\n";
        let at = text.find('x').unwrap();
        let faults = Faults::new("f.toml", text, vec![(at..at + 1, "stray `x`".into())]);
        assert_eq!(faults.to_string(), "f.toml:2:16: stray `x`\n   2 | name = \"größe\" x\n     |                ^\n");
    }

    #[test]
    fn nothing_in_a_file_reaches_the_terminal_raw() {
        let text = "a = \x1b[2J\tb";
        let shown = Faults::new("f", text, vec![(4..text.len(), "bad \x1b\n value".into())]).to_string();
        assert!(!shown.contains('\x1b'), "{shown:?}");
        assert_eq!(shown.lines().count(), 3);
    }

    #[test]
    fn long_lines_are_quoted_around_the_fault() {
        let text = format!("{}X{}", "a".repeat(10_000), "b".repeat(10_000));
        let fault = Fault::at(&text, 10_000..10_001, "here");
        assert_eq!((fault.column, fault.quote.line.chars().nth(fault.quote.before)), (10_001, Some('X')));
        assert!(fault.quote.line.len() <= QUOTED);
    }

    #[test]
    fn spans_outside_the_text_mean_its_end() {
        let fault = Fault::at("ab", 50..60, "end");
        assert_eq!((fault.line, fault.column), (1, 3));
    }
}
