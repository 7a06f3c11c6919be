//! Lets through the records that hold a text or match a pattern.

use super::records::Records;
use crate::pipeline::{Batch, Op, Outbox, Refused};
use crate::sync::Arc;
use memchr::memmem;

/// What a record must have to pass.
pub(super) enum Filter {
    /// This text, byte for byte.
    Contains(Arc<memmem::Finder<'static>>),
    /// A match of this pattern. Each worker has its own copy, for the scratch space regex shares between clones.
    Matches(regex::bytes::Regex),
}

impl Op<Records, Records> for Filter {
    fn run(&mut self, input: &mut Records, next: &mut usize, out: &mut Outbox<'_, Records>) -> Result<(), Refused> {
        while *next < input.len() {
            let record = input.get(*next);
            let passes = match self {
                Filter::Contains(text) => text.find(record).is_some(),
                Filter::Matches(pattern) => pattern.is_match(record),
            };
            if passes {
                out.batch_mut().push(record);
            }
            *next += 1;
            out.boundary();
        }
        Ok(())
    }
}
