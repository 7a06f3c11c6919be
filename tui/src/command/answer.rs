//! What a command answers, on stdout: text for people, or JSON a line for scripts.

use crate::exit::Failure;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Stdout, Write};

/// Stdout, and whether anyone still reads it.
pub struct Answer {
    out: BufWriter<Stdout>,
    json: bool,
    reader_left: bool,
}

impl Answer {
    /// An answer in JSON or in text.
    pub fn new(json: bool) -> Self {
        Self { out: BufWriter::new(io::stdout()), json, reader_left: false }
    }

    /// Whether scripts are listening.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether the reader closed its end: then the command is over, and that is no failure.
    pub fn reader_left(&self) -> bool {
        self.reader_left
    }

    /// A line of text.
    pub fn line(&mut self, line: impl Display) -> Result<(), Failure> {
        let written = writeln!(self.out, "{line}");
        self.note(written)
    }

    /// An object on a line of its own.
    pub fn object(&mut self, object: &impl Serialize) -> Result<(), Failure> {
        let written = serde_json::to_writer(&mut self.out, object).map_err(io::Error::from);
        let written = written.and_then(|()| self.out.write_all(b"\n"));
        self.note(written)
    }

    /// Hands everything on: at the end, and after each line of something that goes on.
    pub fn flush(&mut self) -> Result<(), Failure> {
        let written = self.out.flush();
        self.note(written)
    }

    fn note(&mut self, written: io::Result<()>) -> Result<(), Failure> {
        if let Err(error) = &written {
            self.reader_left |= error.kind() == ErrorKind::BrokenPipe;
        }
        Ok(written?)
    }
}
