//! What a stage does to records.

use super::batch::{Batch, Items};
use super::outbox::Outbox;

/// An op refused a record, with the reason; the record is set aside among the dead letters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// One worker's instance of an op. Each worker of a stage has its own, made by the stage's factory.
pub trait Op<I: Batch, O: Batch>: Send {
    /// Does the records of `input` from `*next` on, advancing `next` past each one it has done with and calling
    /// [`Outbox::boundary`] there: everything before the boundary stands, whatever happens after.
    ///
    /// # Errors
    /// [`Refused`] for the record at `*next`. It is set aside, what it had produced since the last boundary is
    /// dropped, and the op is called again for the records behind it. A panic has the same effect.
    fn run(&mut self, input: &mut I, next: &mut usize, out: &mut Outbox<'_, O>) -> Result<(), Refused>;

    /// Hands on what the op keeps across batches. Called when the worker has been without input for a while, at
    /// regular intervals under load, and before the worker leaves.
    fn flush(&mut self, _out: &mut Outbox<'_, O>) {}

    /// True while there is something to flush.
    fn is_dirty(&self) -> bool {
        false
    }
}

/// A closure as an op: called for each record, may take from it, emits what it likes.
pub(super) struct ForEach<F>(pub F);

impl<T, U, F> Op<Items<T>, Items<U>> for ForEach<F>
where
    T: Send + 'static,
    U: Send + 'static,
    F: FnMut(&mut T, &mut Emit<'_, '_, U>) -> Result<(), Refused> + Send,
{
    fn run(&mut self, input: &mut Items<T>, next: &mut usize, out: &mut Outbox<'_, Items<U>>) -> Result<(), Refused> {
        while let Some(record) = input.0.get_mut(*next) {
            (self.0)(record, &mut Emit(out))?;
            *next += 1;
            out.boundary();
        }
        Ok(())
    }
}

/// Where a closure puts what it makes of a record.
pub struct Emit<'o, 'p, U: Send + 'static>(&'o mut Outbox<'p, Items<U>>);

impl<U: Send + 'static> Emit<'_, '_, U> {
    /// Hands a record on to the next stage. Nothing emitted for a record leaves the worker before its closure
    /// has returned `Ok`.
    pub fn push(&mut self, record: U) {
        self.0.batch_mut().0.push(record);
    }
}
