//! The lines of a record, without their ends (`\n` or `\r\n`).

use super::records::Records;
use crate::pipeline::{Batch, Op, Outbox, Refused};

/// Splits records into lines. Empty lines are records too.
pub(super) struct Lines;

impl Op<Records, Records> for Lines {
    fn run(&mut self, input: &mut Records, next: &mut usize, out: &mut Outbox<'_, Records>) -> Result<(), Refused> {
        while *next < input.len() {
            let mut rest = input.get(*next);
            // As with words: nothing here fails half-way, so every line may stand at once.
            while !rest.is_empty() {
                let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                let line = &rest[..end];
                out.batch_mut().push(line.strip_suffix(b"\r").unwrap_or(line));
                out.boundary();
                rest = rest.get(end + 1..).unwrap_or_default();
            }
            *next += 1;
        }
        Ok(())
    }
}
