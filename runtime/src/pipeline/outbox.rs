//! A worker's unfinished output batch and its way into the next queue.

use super::batch::{Batch, Parcel};
use super::flow::{Flow, Reason};
use super::port::Port;
use super::state_clock::{State, StateClock};
use crate::observe::{Moment, now};
use crate::queue::PushError;
use crate::sync::Arc;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Collects what an op emits, and hands it on in batches of the size the next stage asks for.
///
/// The last stage of a pipeline has an outbox too, with nowhere to hand on to: it only counts.
pub struct Outbox<'w, O: Batch> {
    port: Option<&'w Port<O>>,
    make: &'w dyn Fn() -> O,
    batch: Option<O>,
    /// When the oldest input of `batch` was born.
    born: Moment,
    /// When the input being worked on was born.
    input_born: Moment,
    /// Records of `batch` that stand: those behind belong to the record being worked on.
    mark: usize,
    flow: &'w Flow,
    stage: &'w str,
    clock: &'w StateClock,
    /// Time spent held back, since last asked.
    held_back: Duration,
    counts: Counts,
}

/// What became of records since the worker last asked.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub handed_on: u64,
    pub batches: u64,
    pub panicked: u64,
    pub refused: u64,
}

impl<'w, O: Batch> Outbox<'w, O> {
    pub(super) fn new(
        port: Option<&'w Arc<Port<O>>>,
        make: &'w dyn Fn() -> O,
        flow: &'w Flow,
        stage: &'w str,
        clock: &'w StateClock,
    ) -> Self {
        let (port, batch) = (port.map(|port| &**port), None);
        let (born, input_born) = (Moment::default(), Moment::default());
        let (mark, held_back, counts) = (0, Duration::ZERO, Counts::default());
        Self { port, make, batch, born, input_born, mark, flow, stage, clock, held_back, counts }
    }

    /// The batch being filled.
    pub(super) fn batch_mut(&mut self) -> &mut O {
        self.batch.get_or_insert_with(self.make)
    }

    /// Records in a batch of the next stage.
    pub(super) fn batch_limit(&self) -> usize {
        self.port.map_or(usize::MAX, |port| port.batch_limit())
    }

    /// Says that everything emitted so far stands, and hands the batch on if it is full.
    pub fn boundary(&mut self) {
        let Some(batch) = &self.batch else { return };
        self.mark = batch.len();
        if self.mark >= self.batch_limit() || batch.is_full() {
            self.hand_on();
        }
    }

    /// Drops what was emitted since the last boundary.
    pub(super) fn undo(&mut self) {
        if let Some(mut batch) = self.batch.take() {
            self.discard(&mut batch, self.mark);
            self.batch = Some(batch);
        }
    }

    /// Drops the records of `batch` from `from` on. Their `Drop` is the user's and may panic, as an op may: that is
    /// noted among the dead letters and the others are dropped all the same.
    pub(super) fn discard<B: Batch>(&mut self, batch: &mut B, from: usize) {
        while batch.len() > from {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| batch.truncate(from))) {
                self.set_aside(Vec::new(), Reason::Panic, said(&*panic));
            }
        }
    }

    /// Notes that what follows is made from a parcel born at `born`.
    pub(super) fn begin(&mut self, born: Moment) {
        let is_fresh = self.batch.as_ref().is_none_or(Batch::is_empty);
        self.born = if is_fresh { born } else { self.born.min(born) };
        self.input_born = born;
    }

    /// Hands the batch on, full or not, waiting while the next queue is full.
    pub(super) fn hand_on(&mut self) {
        self.mark = 0;
        let Some(batch) = self.batch.take().filter(|batch| !batch.is_empty()) else { return };
        self.counts.handed_on += batch.len() as u64;
        self.counts.batches += 1;
        // What follows is made from the present input alone.
        let born = std::mem::replace(&mut self.born, self.input_born);
        let Some(port) = self.port else { return };
        let queued = now();
        let Err(PushError::Full(parcel)) = port.try_push(Parcel { batch, born, queued }) else { return };
        self.clock.enter(State::BackPressured, now().0);
        port.push(parcel);
        let free = now();
        self.clock.enter(State::Busy, free.0);
        self.held_back += free.since(queued);
    }

    /// Sets a record aside: it is counted and kept, with its reason, among the pipeline's dead letters.
    pub fn set_aside(&mut self, record: Vec<u8>, reason: Reason, why: String) {
        match reason {
            Reason::Panic => self.counts.panicked += 1,
            Reason::Refused => self.counts.refused += 1,
        }
        self.flow.dead_letters.keep(self.stage, reason, why, record);
    }

    pub(super) fn take_held_back(&mut self) -> Duration {
        std::mem::take(&mut self.held_back)
    }

    pub(super) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }
}

/// What a panic said.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".into())
}

#[cfg(test)]
mod tests {
    use super::super::batch::Items;
    use super::*;

    #[test]
    fn a_batch_is_as_old_as_the_oldest_input_in_it() {
        let port = Arc::new(Port::<Items<u8>>::new(8, 8, 2).unwrap());
        let (flow, clock) = (Flow::new(1), StateClock::default());
        let mut out = Outbox::new(Some(&port), &Items::default, &flow, "stage", &clock);
        for (born, emits) in [(1, 1), (100, 3), (200, 0), (300, 1)] {
            out.begin(Moment(born));
            for record in 0..emits {
                out.batch_mut().0.push(record);
                out.boundary();
            }
        }
        out.hand_on();
        let born: Vec<_> = std::iter::from_fn(|| port.try_pop().ok()).map(|parcel| parcel.born.0).collect();
        assert_eq!(born, [1, 100, 300], "records of one input made those of another look old");
    }
}
