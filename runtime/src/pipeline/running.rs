//! A running pipeline.

use super::batch::Batch;
use super::flow::{DeadLetter, Flow};
use super::intake::{Intake, Tally};
use super::port::Port;
use super::stage::AnyStage;
use super::state_clock::State;
use super::{Limits, PipelineError, StageOptions};
use crate::observe::families::*;
use crate::observe::{Address, Kind, Knob, Range, Reading, Resource, TurnError, Turned, Value, now};
use crate::sync::{Arc, thread};
use std::time::{Duration, Instant};

/// Most bytes a second that a source can be held to.
const RATE_MAX: i64 = 1_000_000_000_000;

/// A running pipeline. Dropping it abandons what is in flight; [`stop`](Self::stop) and [`wait`](Self::wait) drain it.
pub struct Pipeline {
    address: Address,
    flow: Arc<Flow>,
    intake: Arc<Intake>,
    is_paced: bool,
    pool: Option<Address>,
    stages: Vec<Arc<dyn AnyStage>>,
}

impl Pipeline {
    /// The pipeline and its stages, to be hosted.
    pub fn resources(self: &Arc<Self>) -> Vec<Arc<dyn Resource>> {
        let stages = self.stages.iter().map(|stage| stage.clone() as Arc<dyn Resource>);
        std::iter::once(self.clone() as Arc<dyn Resource>).chain(stages).collect()
    }

    /// Asks the source to stop. What it has handed over goes its way to the end.
    pub fn stop(&self) {
        self.flow.stop();
    }

    /// Stops at once: what is in flight is dropped.
    pub fn abandon(&self) {
        self.flow.abandon();
        self.stages.iter().for_each(|stage| stage.close());
    }

    /// Waits until the source has ended and every stage has drained; false when that took longer than `timeout`.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.flow.wait(timeout)
    }

    /// True once everything has come to its end.
    pub fn has_ended(&self) -> bool {
        self.flow.has_ended()
    }

    /// True once a part of it has come to its end, the source first: the rest follows, and what it has to do no longer grows.
    pub fn is_ending(&self) -> bool {
        // Its stages and the source.
        self.flow.open_parts() < self.stages.len() + 1
    }

    /// The latest thousand records that ops failed on.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.flow.dead_letters.all()
    }

    /// The first hundred inputs that the source could not read, with their reasons.
    pub fn refused_inputs(&self) -> Vec<String> {
        self.intake.refusals()
    }

    /// Starts what was put together, last stage first, so that whoever pushes finds somebody who pops.
    pub(super) fn start(assembly: Assembly) -> Result<Arc<Self>, PipelineError> {
        let Assembly { address, flow, intake, is_paced, pool, stages, source, .. } = assembly;
        let source = source.ok_or_else(|| PipelineError::Shape(format!("{address} has no source")))?;
        let Some((first, _)) = stages.first().cloned() else {
            return Err(PipelineError::Shape(format!("{address} has no stage; give it at least one")));
        };
        let end = EndOfSource { flow: flow.clone(), intake: intake.clone(), first };
        let parts = stages.iter().map(|(stage, _)| stage.clone()).collect();
        let pipeline = Arc::new(Self { address, flow, intake, is_paced, pool, stages: parts });
        // From here on an early return drops the pipeline, which abandons what has been started.
        for (stage, workers) in stages.iter().rev() {
            stage.start(*workers)?;
        }
        let run = move || {
            // Whatever the source does, a panic in an iterator of the user's included, its end is noticed.
            let end = end;
            let _charged = end.intake.scope.enter();
            end.intake.clock.enter(State::Busy, now().0);
            source();
        };
        let failed = |why: std::io::Error| PipelineError::Threads {
            stage: format!("the source of {}", pipeline.address),
            why: format!("the system starts no more threads: {why}"),
        };
        thread::Builder::new().name("source".into()).spawn(run).map_err(failed)?;
        Ok(pipeline)
    }
}

/// A pipeline being put together: stages are added from the first to the last.
pub(super) struct Assembly {
    pub address: Address,
    pub limits: Limits,
    pub flow: Arc<Flow>,
    pub intake: Arc<Intake>,
    /// Whether the source keeps to the rate that `intake` holds.
    pub is_paced: bool,
    /// The pool that batches live in, where there is one.
    pub pool: Option<Address>,
    /// Each with the workers it starts with.
    pub stages: Vec<(Arc<dyn AnyStage>, usize)>,
    pub source: Option<Box<dyn FnOnce() + Send>>,
}

impl Assembly {
    /// The beginnings of a pipeline that will have `stages` stages.
    pub fn new(name: &str, stages: usize, limits: Limits) -> Result<Self, PipelineError> {
        let address = Address::new(Kind::Pipeline, name)?;
        // The source is a part too.
        let flow = Arc::new(Flow::new(stages + 1));
        let intake = Arc::new(Intake::new(&address));
        Ok(Self { address, limits, flow, intake, is_paced: false, pool: None, stages: Vec::new(), source: None })
    }

    /// Checks a stage's name and options, and makes the queue in front of it.
    pub fn port<B: Batch>(
        &self,
        stage: &str,
        options: &StageOptions,
    ) -> Result<(Address, Arc<Port<B>>), PipelineError> {
        let address = Address::stage(self.address.name(), stage)?;
        if self.stages.iter().any(|(other, _)| *other.address() == address) {
            return Err(PipelineError::Shape(format!("there are two stages `{address}`; rename one")));
        }
        let knobs = [
            ("workers", options.workers, self.limits.workers_max),
            ("batch", options.batch, self.limits.batch_max),
            ("capacity", options.capacity, self.limits.capacity_max),
        ];
        if let Some((knob, given, max)) = knobs.into_iter().find(|&(_, given, max)| given == 0 || given > max) {
            return Err(PipelineError::Range { of: format!("{address}.{knob}"), given, max });
        }
        let port = Port::new(options.capacity, self.limits.capacity_max, options.batch);
        let port = port.map_err(|why| PipelineError::Op { stage: address.to_string(), why: why.to_string() })?;
        Ok((address, Arc::new(port)))
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// Tells the first stage that nothing more will come.
struct EndOfSource {
    flow: Arc<Flow>,
    intake: Arc<Intake>,
    first: Arc<dyn AnyStage>,
}

impl Drop for EndOfSource {
    fn drop(&mut self) {
        self.intake.clock.stop(now().0);
        // In this order, so that a stage that is over belongs to a pipeline that is ending.
        self.flow.part_ended();
        self.first.close();
    }
}

const RATE: &str = "rate";

impl Resource for Pipeline {
    fn address(&self) -> &Address {
        &self.address
    }

    fn pool(&self) -> Option<&Address> {
        self.pool.as_ref()
    }

    fn read(&self, reading: &mut Reading) {
        let intake = &self.intake;
        reading.level(&PIPELINE_RUNNING, &[], f64::from(u8::from(!self.flow.has_ended())));
        reading.total(&PIPELINE_SOURCE_ITEMS, &[], intake.total(Tally::Items));
        reading.total(&PIPELINE_SOURCE_BYTES, &[], intake.total(Tally::Bytes));
        reading.total(&PIPELINE_SOURCE_BATCHES, &[], intake.total(Tally::Batches));
        reading.level(&PIPELINE_INPUT_BYTES, &[], intake.input_bytes() as f64);
        for (state, time) in State::ALL.into_iter().zip(intake.clock.read(now().0)) {
            reading.total(&PIPELINE_SOURCE_STATE, &[state.as_str()], time);
        }
        reading.total(&PIPELINE_LAPS, &[], intake.total(Tally::Laps));
        reading.total(&PIPELINE_REFUSED_FILES, &[], intake.total(Tally::RefusedFiles));
        reading.total(&PIPELINE_REPLACED, &[], intake.total(Tally::Replaced));
        reading.total(&PIPELINE_CUT, &[], intake.total(Tally::Cut));
        reading.total(&PIPELINE_DEAD_LETTERS, &[], self.flow.dead_letters.total());
        if let Some(counts) = intake.scope.counts() {
            reading.total(&PIPELINE_SOURCE_ALLOC_BYTES, &[], counts.allocated_bytes);
            reading.total(&PIPELINE_SOURCE_FREED_BYTES, &[], counts.freed_bytes);
        }
        reading.spread(&PIPELINE_LATENCY, &[], self.flow.latency.snapshot());
    }

    fn knobs(&self) -> Vec<Knob> {
        if !self.is_paced {
            return Vec::new();
        }
        vec![Knob {
            name: RATE,
            value: Value::Integer(self.intake.rate() as i64),
            range: Range::Integer { min: 0, max: RATE_MAX },
            unit: "bytes/s",
            help: "Bytes a second the source hands over at most; 0 for as many as the stages take.",
        }]
    }

    fn turn(&self, knob: &str, to: &Value) -> Result<Turned, TurnError> {
        let began = Instant::now();
        if !self.is_paced {
            let resource = self.address.to_string();
            return Err(TurnError::UnknownKnob { resource, knob: knob.to_owned(), has: Vec::new() });
        }
        let Value::Integer(rate) = *to else { unreachable!("the registry checked the type of the rate") };
        let from = Value::Integer(self.intake.set_rate(rate as u64) as i64);
        Ok(Turned { from, to: to.clone(), took: began.elapsed(), settled: true, reason: None })
    }
}
