//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;

/// One thing wrong, at a place of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Bytes of the text it is about.
    pub at: Range<usize>,
    /// What is wrong, what would be right.
    pub message: String,
    /// The flag or variable that says it, where it is not the text.
    pub outside: Option<&'static str>,
}

impl Fault {
    pub(super) fn new(at: Range<usize>, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), outside: None }
    }
}

/// Everything wrong with one file, in the order of its text. Printed as `file:line:column: message`, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    lines: Vec<String>,
}

impl Faults {
    pub(super) fn new(file: &str, text: &str, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| fault.at.start);
        let place = |offset: usize| {
            let before = &text[..text.floor_char_boundary(offset)];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
            format!("{line}:{column}")
        };
        let line = |fault: &Fault| match fault.outside {
            Some(outside) => format!("{outside}: {}", fault.message),
            None => format!("{file}:{}: {}", place(fault.at.start), fault.message),
        };
        Self { lines: faults.iter().map(line).collect() }
    }

    pub(super) fn whole(file: &str, message: impl fmt::Display) -> Self {
        Self { lines: vec![format!("{file}: {message}")] }
    }

    /// One line per fault.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for Faults {}
