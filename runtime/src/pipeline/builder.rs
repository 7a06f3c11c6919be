//! Pipelines of Rust values, built from closures.

use super::batch::{Batch, Items, Parcel};
use super::flow::Flow;
use super::intake::{Intake, Tally};
use super::op::{Emit, ForEach, Op, Refused};
use super::port::Port;
use super::running::{Assembly, Pipeline};
use super::stage::Stage;
use super::state_clock::State;
use super::{Limits, PipelineError, StageOptions};
use crate::observe::now;
use crate::queue::PushError;
use crate::sync::{Arc, Mutex};

/// Completes everything before a queue, once the queue is known.
type Attach<T> = Box<dyn FnOnce(&mut Assembly, Arc<Port<Items<T>>>) -> Result<(), PipelineError>>;

/// Completes everything, the last stage included.
type AttachLast = Box<dyn FnOnce(&mut Assembly) -> Result<(), PipelineError>>;

/// A pipeline in the making, whose next stage takes `T`.
#[must_use = "a pipeline does nothing until it is given a sink and started"]
pub struct Builder<T: Send + 'static> {
    name: String,
    limits: Limits,
    stages: usize,
    attach: Attach<T>,
}

/// A pipeline that needs only be started.
#[must_use = "a pipeline does nothing until it is started"]
pub struct Complete {
    name: String,
    limits: Limits,
    stages: usize,
    attach: AttachLast,
}

impl Pipeline {
    /// Begins a pipeline of Rust values with its source.
    ///
    /// ```
    /// use rheostat_runtime::pipeline::{Pipeline, StageOptions};
    /// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    /// use std::{sync::Arc, time::Duration};
    ///
    /// let sum = Arc::new(AtomicU64::new(0));
    /// let total = sum.clone();
    /// let pipeline = Pipeline::source("squares", 1..=1000u64)
    ///     .stage("square", StageOptions { workers: 2, ..Default::default() }, |n, out| {
    ///         out.push(*n * *n);
    ///         Ok(())
    ///     })
    ///     .sink("sum", StageOptions::default(), move |n| {
    ///         total.fetch_add(*n, Relaxed);
    ///         Ok(())
    ///     })
    ///     .start()?;
    /// assert!(pipeline.wait(Duration::from_secs(10)));
    /// assert_eq!(sum.load(Relaxed), 333_833_500);
    /// # Ok::<(), rheostat_runtime::pipeline::PipelineError>(())
    /// ```
    pub fn source<T, S>(name: &str, records: S) -> Builder<T>
    where
        T: Send + 'static,
        S: IntoIterator<Item = T>,
        S::IntoIter: Send + 'static,
    {
        let records = records.into_iter();
        let attach: Attach<T> = Box::new(move |assembly, port| {
            let (intake, flow) = (assembly.intake.clone(), assembly.flow.clone());
            assembly.source = Some(Box::new(move || pump(records, &port, &intake, &flow)));
            Ok(())
        });
        Builder { name: name.to_owned(), limits: Limits::default(), stages: 0, attach }
    }
}

impl<T: Send + 'static> Builder<T> {
    /// Sets how far the knobs go.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Adds a stage. Every worker works with a clone of `op` of its own. A record that `op` refuses or panics on
    /// is set aside, without what it had emitted, and the worker goes on.
    pub fn stage<U, F>(self, name: &str, options: StageOptions, op: F) -> Builder<U>
    where
        U: Send + 'static,
        F: FnMut(&mut T, &mut Emit<'_, '_, U>) -> Result<(), Refused> + Clone + Send + 'static,
    {
        let (stage, before) = (name.to_owned(), self.attach);
        let attach: Attach<U> =
            Box::new(move |assembly, output| add_stage(assembly, before, &stage, options, Some(output), op));
        Builder { name: self.name, limits: self.limits, stages: self.stages + 1, attach }
    }

    /// Adds the last stage, which keeps what it is given.
    pub fn sink<F>(self, name: &str, options: StageOptions, op: F) -> Complete
    where
        F: FnMut(&mut T) -> Result<(), Refused> + Clone + Send + 'static,
    {
        let (stage, before, mut op) = (name.to_owned(), self.attach, op);
        let op = move |record: &mut T, _: &mut Emit<'_, '_, ()>| op(record);
        let attach = Box::new(move |assembly: &mut Assembly| add_stage(assembly, before, &stage, options, None, op));
        Complete { name: self.name, limits: self.limits, stages: self.stages + 1, attach }
    }
}

impl Complete {
    /// Starts the pipeline: its workers, then its source.
    ///
    /// # Errors
    /// A name or a number out of its range, or a system that starts no more threads. Nothing runs then.
    pub fn start(self) -> Result<Arc<Pipeline>, PipelineError> {
        let mut assembly = Assembly::new(&self.name, self.stages, self.limits)?;
        (self.attach)(&mut assembly)?;
        Pipeline::start(assembly)
    }
}

fn add_stage<T, U, F>(
    assembly: &mut Assembly,
    before: Attach<T>,
    name: &str,
    options: StageOptions,
    output: Option<Arc<Port<Items<U>>>>,
    op: F,
) -> Result<(), PipelineError>
where
    T: Send + 'static,
    U: Send + 'static,
    F: FnMut(&mut T, &mut Emit<'_, '_, U>) -> Result<(), Refused> + Clone + Send + 'static,
{
    let (address, input) = assembly.port(name, &options)?;
    before(assembly, input.clone())?;
    // Behind a lock, so that the closure need not be Sync; it is cloned once a worker.
    let prototype = Mutex::new(op);
    let make_op = Box::new(move || {
        let op = prototype.lock().clone();
        Box::new(ForEach(op)) as Box<dyn Op<Items<T>, Items<U>>>
    });
    let stage = Stage::new(assembly, address, input, output, make_op, Box::new(Items::default));
    assembly.stages.push((stage, options.workers));
    Ok(())
}

/// Hands an iterator's values to the first stage.
fn pump<T: Send + 'static>(records: impl Iterator<Item = T>, port: &Port<Items<T>>, intake: &Intake, flow: &Flow) {
    let mut batch = Items::default();
    for record in records {
        batch.0.push(record);
        if batch.len() >= port.batch_limit() {
            hand_over(std::mem::take(&mut batch), port, intake);
        }
        if flow.is_stopping() {
            break;
        }
    }
    // A value taken from the iterator counts as accepted, so it goes its way also when the source is stopped.
    hand_over(batch, port, intake);
}

/// Puts a batch into the first queue, on the source's clock.
pub(super) fn hand_over<B: Batch>(batch: B, port: &Port<B>, intake: &Intake) {
    if batch.is_empty() {
        return;
    }
    intake.count(Tally::Items, batch.len() as u64);
    intake.count(Tally::Bytes, batch.bytes() as u64);
    intake.count(Tally::Batches, 1);
    let at = now();
    if let Err(PushError::Full(parcel)) = port.try_push(Parcel { batch, born: at, queued: at }) {
        intake.clock.enter(State::BackPressured, now().0);
        port.push(parcel);
        intake.clock.enter(State::Busy, now().0);
    }
}
