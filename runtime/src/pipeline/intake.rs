//! The source's end of a pipeline: its clock, its counters, its pace.

use super::flow::Flow;
use super::state_clock::{State, StateClock};
use crate::alloc::{Class, Scope};
use crate::observe::{Address, Cells, now};
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{Mutex, thread};
use std::time::Duration;

/// What a source counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tally {
    Items,
    Bytes,
    Batches,
    Laps,
    RefusedFiles,
    Replaced,
    Cut,
}

/// Refused inputs whose reasons are kept; all are counted.
const REFUSALS_KEPT: usize = 100;
/// A source that waits for its turn looks up this often, so that it stops when asked.
const PACE_LOOK: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Intake {
    pub clock: StateClock,
    /// What the source's thread allocates is charged to this.
    pub scope: Scope,
    counters: Cells<7>,
    /// Bytes of input known so far; 0 when unknown. Written by the source only.
    input_bytes: AtomicU64,
    /// Bytes a second the source may hand over; 0 for as many as there are. A dial, read once a batch.
    rate: AtomicU64,
    refusals: Mutex<Vec<String>>,
}

impl Intake {
    /// The source's end of the pipeline at this address.
    pub fn new(pipeline: &Address) -> Self {
        Self {
            clock: StateClock::default(),
            scope: Scope::new(Class::Pipelines, &pipeline.to_string()),
            counters: Cells::new(),
            input_bytes: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            refusals: Mutex::default(),
        }
    }

    pub fn count(&self, what: Tally, n: u64) {
        self.counters.add(what as usize, n);
    }

    pub fn total(&self, what: Tally) -> u64 {
        self.counters.sum(what as usize)
    }

    pub fn expect(&self, bytes: u64) {
        self.input_bytes.store(bytes, Relaxed);
    }

    pub fn input_bytes(&self) -> u64 {
        self.input_bytes.load(Relaxed)
    }

    pub fn rate(&self) -> u64 {
        self.rate.load(Relaxed)
    }

    pub fn set_rate(&self, rate: u64) -> u64 {
        self.rate.swap(rate, Relaxed)
    }

    /// Notes an input that could not be read.
    pub fn refuse(&self, why: String) {
        self.count(Tally::RefusedFiles, 1);
        let mut refusals = self.refusals.lock();
        if refusals.len() < REFUSALS_KEPT {
            refusals.push(why);
        }
    }

    /// The first hundred refused inputs, with their reasons.
    pub fn refusals(&self) -> Vec<String> {
        self.refusals.lock().clone()
    }

    /// Waits as long as `bytes` just handed over take at the rate in force. A rate turned meanwhile counts for
    /// what is left.
    pub fn pace(&self, bytes: u64, flow: &Flow) {
        let mut left = bytes as f64;
        if self.rate() == 0 {
            return;
        }
        self.clock.enter(State::Idle, now().0);
        loop {
            let rate = self.rate() as f64;
            if rate == 0.0 || left <= 0.0 || flow.is_stopping() {
                break;
            }
            let began = now();
            thread::sleep(PACE_LOOK.min(Duration::from_secs_f64(left / rate)));
            left -= began.elapsed().as_secs_f64() * rate;
        }
        self.clock.enter(State::Busy, now().0);
    }
}
