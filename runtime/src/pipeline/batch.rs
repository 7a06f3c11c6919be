//! What travels between stages: batches of records, and the parcel that carries one through a queue.

use crate::observe::Moment;

/// A container of records, the unit that queues hold and workers take.
pub trait Batch: Send + 'static {
    /// Records in it.
    fn len(&self) -> usize;

    /// True when there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of its records; 0 for containers that do not know.
    fn bytes(&self) -> usize {
        0
    }

    /// True when a further record had better go into the next batch.
    fn is_full(&self) -> bool {
        false
    }

    /// Drops the records from `len` on: what a record that failed half-way had produced. When the `Drop` of one of
    /// them panics, that one is gone, and a further call goes on with the others.
    fn truncate(&mut self, len: usize);

    /// A record as bytes people can read, for dead letters; empty for containers that cannot say.
    fn describe(&self, index: usize) -> Vec<u8>;
}

/// A batch of Rust values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items<T>(pub Vec<T>);

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Send + 'static> Batch for Items<T> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn truncate(&mut self, len: usize) {
        // One at a time: `Vec::truncate` would abort the process at a second panic.
        while self.0.len() > len {
            drop(self.0.pop());
        }
    }

    fn describe(&self, _index: usize) -> Vec<u8> {
        Vec::new()
    }
}

/// A batch on its way through a queue.
#[derive(Debug)]
pub(super) struct Parcel<B> {
    pub batch: B,
    /// When the source handed over the oldest of what this batch was made from.
    pub born: Moment,
    /// When it was put into the queue it is in.
    pub queued: Moment,
}
