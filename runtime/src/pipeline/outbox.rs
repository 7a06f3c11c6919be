//! A worker's unfinished output batch and its way into the next queue.

use super::batch::{Batch, Parcel};
use super::flow::{Flow, Reason};
use super::port::Port;
use super::state_clock::{State, StateClock};
use crate::observe::{Moment, now};
use crate::queue::PushError;
use crate::sync::Arc;
use std::time::Duration;

/// Collects what an op emits, and hands it on in batches of the size the next stage asks for.
///
/// The last stage of a pipeline has an outbox too, with nowhere to hand on to: it only counts.
pub struct Outbox<'w, O: Batch> {
    port: Option<&'w Port<O>>,
    make: &'w dyn Fn() -> O,
    batch: Option<O>,
    born: Moment,
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
        let (port, batch, born) = (port.map(|port| &**port), None, Moment::default());
        let (mark, held_back, counts) = (0, Duration::ZERO, Counts::default());
        Self { port, make, batch, born, mark, flow, stage, clock, held_back, counts }
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
        if let Some(batch) = &mut self.batch {
            batch.truncate(self.mark);
        }
    }

    /// Notes that what follows is made from a parcel born at `born`.
    pub(super) fn begin(&mut self, born: Moment) {
        let is_fresh = self.batch.as_ref().is_none_or(Batch::is_empty);
        self.born = if is_fresh { born } else { self.born.min(born) };
    }

    /// Hands the batch on, full or not, waiting while the next queue is full.
    pub(super) fn hand_on(&mut self) {
        self.mark = 0;
        let Some(batch) = self.batch.take().filter(|batch| !batch.is_empty()) else { return };
        self.counts.handed_on += batch.len() as u64;
        let Some(port) = self.port else { return };
        let queued = now();
        let Err(PushError::Full(parcel)) = port.try_push(Parcel { batch, born: self.born, queued }) else { return };
        self.clock.enter(State::BackPressured, queued.0);
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
