//! A stage: a bounded queue, an elastic set of worker threads, and an op.
//!
//! A worker pops a batch, runs the op over its records, hands results on, and looks at its dials between batches:
//! a turned knob never meets a half-done batch. Its end comes in one of two ways. It *leaves* when its slot is
//! surplus: it flushes its op, hands on its last results and gives up the slot. It *finishes* when the queue is
//! closed and drained: it does the same, and the last of the stage to go closes the next queue in turn. So the end
//! of input walks down the pipeline behind the last record, and nothing that was accepted is left behind.

use super::batch::{Batch, Parcel};
use super::elastic::{ElasticSet, Seat};
use super::flow::{Flow, Reason};
use super::op::Op;
use super::outbox::{Outbox, said};
use super::port::Port;
use super::running::Assembly;
use super::state_clock::{State, StateClock};
use super::{Limits, PipelineError};
use crate::alloc::{Class, Scope};
use crate::observe::families::*;
use crate::observe::{Address, Cells, Knob, Range, Reading, Resource, Spread, TurnError, Turned, Value, now};
use crate::queue::{CapacityError, PopError};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Arc, CachePadded, Mutex, Weak, thread};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// An op that keeps records across batches flushes this often, so that a hosted map lags no further behind.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// ... and when it has been without input for this long.
const FLUSH_IDLE: Duration = Duration::from_millis(20);
/// A worker without input looks up this often even if nobody wakes it.
const IDLE_LOOK: Duration = Duration::from_millis(500);
/// A turn waits this long for surplus workers to finish their batches before it says "settling".
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

const IN_ITEMS: usize = 0;
const OUT_ITEMS: usize = 1;
const BYTES: usize = 2;
const BATCHES: usize = 3;
const PANICS: usize = 4;
const REFUSALS: usize = 5;
const OUT_BATCHES: usize = 6;

type Factory<T> = Box<dyn Fn() -> T + Send + Sync>;

/// One stage, generic over what it takes and what it makes.
pub(super) struct Stage<I: Batch, O: Batch> {
    address: Address,
    /// In the flow, from 0.
    position: usize,
    flow: Arc<Flow>,
    input: Arc<Port<I>>,
    output: Option<Arc<Port<O>>>,
    make_op: Factory<Box<dyn Op<I, O>>>,
    make_batch: Factory<O>,
    workers: ElasticSet,
    clocks: Box<[CachePadded<StateClock>]>,
    /// Workers that have been started and have not ended. Counts a worker before its thread exists.
    active: AtomicUsize,
    ended: AtomicBool,
    counters: Cells<7>,
    queue_wait: Spread,
    service: Spread,
    /// What workers allocate is charged to this.
    scope: Scope,
    /// One turn of the workers at a time, so that the time a turn took is its own.
    turning: Mutex<()>,
    /// The greatest time of each state that a reading told.
    told: Mutex<[u64; State::ALL.len()]>,
    limits: Limits,
    this: Weak<Self>,
}

/// What a pipeline does with its stages, whatever they take and make.
pub(super) trait AnyStage: Resource {
    /// Starts the workers asked for.
    fn start(&self, workers: usize) -> Result<(), PipelineError>;
    /// Closes the queue in front, so that the stage drains and ends.
    fn close(&self);
}

impl<I: Batch, O: Batch> Stage<I, O> {
    /// The stage that follows those of `assembly`.
    pub fn new(
        assembly: &Assembly,
        address: Address,
        input: Arc<Port<I>>,
        output: Option<Arc<Port<O>>>,
        make_op: Factory<Box<dyn Op<I, O>>>,
        make_batch: Factory<O>,
    ) -> Arc<Self> {
        let limits = assembly.limits.clone();
        let scope = Scope::new(Class::Pipelines, &address.to_string());
        Arc::new_cyclic(|this| Self {
            address,
            position: assembly.stages.len(),
            flow: assembly.flow.clone(),
            input,
            output,
            make_op,
            make_batch,
            workers: ElasticSet::new(limits.workers_max),
            clocks: (0..limits.workers_max).map(|_| CachePadded::default()).collect(),
            active: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            counters: Cells::new(),
            queue_wait: Spread::new(),
            service: Spread::new(),
            scope,
            turning: Mutex::new(()),
            told: Mutex::new([0; State::ALL.len()]),
            limits,
            this: this.clone(),
        })
    }

    fn name(&self) -> &str {
        self.address.stage_name().unwrap_or_default()
    }

    /// Brings the set of workers to `target`. Seats whose thread could not be started are given back, and the
    /// first reason returned.
    fn resize(&self, target: usize) -> Result<(), String> {
        let seats = self.workers.set_target(target).map_err(|why| why.to_string())?;
        let started = seats.into_iter().map(|seat| self.spawn(seat)).fold(Ok(()), Result::and);
        // Surplus workers may be asleep in front of an empty queue.
        self.input.wake_consumers();
        started
    }

    fn spawn(&self, seat: Seat) -> Result<(), String> {
        let stage = self.this.upgrade().ok_or("the stage is gone")?;
        let charged = stage.clone();
        let _charged = charged.scope.enter();
        self.active.fetch_add(1, Ordering::Relaxed);
        // Whatever fails from here on, the seat is given back when this is dropped.
        let worker = Worker { stage, seat: Some(seat) };
        // Made here, so that a factory that panics does so in the face of whoever asked for the worker.
        let op = catch_unwind(AssertUnwindSafe(|| (self.make_op)())).map_err(|panic| said(&*panic))?;
        // The kernel keeps 15 bytes of a thread's name.
        let name = format!("{}/{}", self.name(), worker.slot());
        let work = move || {
            let stage = worker.stage.clone();
            // To the end of the op, whose last blocks are freed with it.
            let _charged = stage.scope.enter();
            worker.work(op);
        };
        let started = thread::Builder::new().name(name).spawn(work);
        started.map(drop).map_err(|error| format!("the system starts no more threads: {error}"))
    }

    /// Waits for a batch with nothing left undone: what was gathered goes on its way first.
    fn wait_for_input(
        &self,
        seat: &Seat,
        op: &mut dyn Op<I, O>,
        out: &mut Outbox<'_, O>,
    ) -> Result<Parcel<I>, PopError> {
        out.hand_on();
        // Time held back here belongs to no batch's service.
        out.take_held_back();
        self.count_handed_on(out);
        let clock = &*self.clocks[seat.index()];
        clock.enter(State::Idle, now().0);
        let patience = if op.is_dirty() { FLUSH_IDLE } else { IDLE_LOOK };
        let popped = self.input.pop_until(|| seat.should_leave() || self.flow.is_abandoned(), patience);
        clock.enter(State::Busy, now().0);
        if popped.is_err() && op.is_dirty() {
            self.settle(op, out);
        }
        popped
    }

    fn do_batch(&self, parcel: Parcel<I>, op: &mut dyn Op<I, O>, out: &mut Outbox<'_, O>) {
        let Parcel { mut batch, born, queued } = parcel;
        let began = now();
        self.queue_wait.record(began.since(queued).as_nanos() as u64);
        out.begin(born);
        let (records, bytes) = (batch.len(), batch.bytes());
        let mut next = 0;
        while next < records {
            let failed = match catch_unwind(AssertUnwindSafe(|| op.run(&mut batch, &mut next, out))) {
                Ok(Ok(())) => break,
                Ok(Err(refused)) => (Reason::Refused, refused.0),
                Err(panic) => (Reason::Panic, said(&*panic)),
            };
            out.set_aside(batch.describe(next), failed.0, failed.1);
            out.undo();
            next += 1;
        }
        out.discard(&mut batch, 0);
        drop(batch);
        let ended = now();
        let service = ended.since(began).saturating_sub(out.take_held_back());
        self.service.record(service.as_nanos() as u64);
        if self.output.is_none() {
            self.flow.latency.record_n(ended.since(born).as_nanos() as u64, records as u64);
        }
        self.counters.add(IN_ITEMS, records as u64);
        self.counters.add(BYTES, bytes as u64);
        self.counters.add(BATCHES, 1);
        self.count_handed_on(out);
    }

    /// Leaves nothing behind in the op or the outbox.
    fn settle(&self, op: &mut dyn Op<I, O>, out: &mut Outbox<'_, O>) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| op.flush(out))) {
            out.undo();
            out.set_aside(Vec::new(), Reason::Panic, said(&*panic));
        }
        out.boundary();
        out.hand_on();
        out.take_held_back();
        self.count_handed_on(out);
    }

    fn count_handed_on(&self, out: &mut Outbox<'_, O>) {
        let counts = out.take_counts();
        self.counters.add(OUT_ITEMS, counts.handed_on);
        self.counters.add(OUT_BATCHES, counts.batches);
        self.counters.add(PANICS, counts.panicked);
        self.counters.add(REFUSALS, counts.refused);
    }

    /// A worker has ended. The last one behind a drained queue ends the stage. A last one that went before died of a
    /// fault of ours: nobody would ever drain the queue, so the pipeline is abandoned rather than left hanging.
    fn worker_ended(&self) {
        // AcqRel: the last to go has seen all that the others did before they went.
        let is_last = self.active.fetch_sub(1, Ordering::AcqRel) == 1;
        let is_over = self.input.is_drained() || self.flow.is_abandoned();
        if is_last && !is_over {
            self.flow.abandon();
            self.input.close();
        }
        if is_last && !self.ended.swap(true, Ordering::AcqRel) {
            // Turns wait for as many workers as were asked for, and there will be none.
            self.workers.look_again();
            if let Some(output) = &self.output {
                output.close();
            }
            self.flow.part_ended();
        }
    }

    fn turn_workers(&self, to: usize) -> Result<(usize, bool), TurnError> {
        let _one_at_a_time = self.turning.lock();
        let failed = |why: String| TurnError::Failed { knob: WORKERS.into(), why };
        // Once the queue is drained the last batches are with their workers, and one that came now would find none.
        let is_over = || self.ended.load(Ordering::Acquire) || self.input.is_drained();
        let has_ended = || failed(format!("{} has ended", self.address));
        if is_over() {
            return Err(has_ended());
        }
        let from = self.workers.target();
        if let Err(why) = self.resize(to) {
            // Back to what there was, which needs no new thread.
            self.resize(from.min(to)).map_err(failed)?;
            return Err(failed(why));
        }
        let settled = self.workers.wait_settled_or(Some(SETTLE_LIMIT), || self.ended.load(Ordering::Acquire));
        if !settled && is_over() {
            // The end came between. Workers leave by themselves; the number shown is again the one in force.
            drop(self.workers.set_target(from));
            return Err(has_ended());
        }
        Ok((from, settled))
    }
}

/// A worker thread: its place in the stage, and the loop it runs there.
struct Worker<I: Batch, O: Batch> {
    stage: Arc<Stage<I, O>>,
    /// `None` once given up.
    seat: Option<Seat>,
}

impl<I: Batch, O: Batch> Worker<I, O> {
    fn slot(&self) -> usize {
        self.seat.as_ref().map_or(0, Seat::index)
    }

    fn should_leave(&self) -> bool {
        self.seat.as_ref().is_some_and(Seat::should_leave)
    }

    fn work(mut self, mut op: Box<dyn Op<I, O>>) {
        let stage = self.stage.clone();
        let clock = &*stage.clocks[self.slot()];
        clock.enter(State::Busy, now().0);
        let make = || (stage.make_batch)();
        let mut out = Outbox::new(stage.output.as_ref(), &make, &stage.flow, stage.name(), clock);
        let mut flushed = now();
        while !stage.flow.is_abandoned() {
            if self.should_leave() {
                stage.settle(&mut *op, &mut out);
                // The next worker in this slot has the clock from the moment it is given up.
                clock.stop(now().0);
                self.seat = self.seat.take().and_then(Seat::leave);
                if self.seat.is_some() {
                    clock.enter(State::Busy, now().0);
                }
            }
            let Some(seat) = &self.seat else { return };
            let popped = match stage.input.try_pop() {
                Err(PopError::Empty) => stage.wait_for_input(seat, &mut *op, &mut out),
                popped => popped,
            };
            match popped {
                Ok(parcel) => stage.do_batch(parcel, &mut *op, &mut out),
                Err(PopError::Empty) => continue,
                Err(PopError::Closed) => return stage.settle(&mut *op, &mut out),
            }
            if op.is_dirty() && flushed.elapsed() >= FLUSH_INTERVAL {
                stage.settle(&mut *op, &mut out);
                flushed = now();
            }
        }
    }
}

/// However a worker ends, its seat is free and its end noticed.
impl<I: Batch, O: Batch> Drop for Worker<I, O> {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.stage.clocks[seat.index()].stop(now().0);
        }
        self.stage.worker_ended();
    }
}

const WORKERS: &str = "workers";
const BATCH: &str = "batch";
const CAPACITY: &str = "capacity";

fn whole(min: usize, max: usize) -> Range {
    Range::Integer { min: min as i64, max: max as i64 }
}

impl<I: Batch, O: Batch> Resource for Stage<I, O> {
    fn address(&self) -> &Address {
        &self.address
    }

    fn position(&self) -> usize {
        self.position
    }

    fn read(&self, reading: &mut Reading) {
        let count = |index| self.counters.sum(index);
        reading.level(&STAGE_WORKERS, &[], self.workers.running() as f64);
        reading.level(&STAGE_WORKERS_TARGET, &[], self.workers.target() as f64);
        reading.total(&STAGE_IN_ITEMS, &[], count(IN_ITEMS));
        reading.total(&STAGE_OUT_ITEMS, &[], count(OUT_ITEMS));
        reading.total(&STAGE_BYTES, &[], count(BYTES));
        reading.total(&STAGE_BATCHES, &[], count(BATCHES));
        reading.total(&STAGE_OUT_BATCHES, &[], count(OUT_BATCHES));
        reading.level(&STAGE_BATCH_LIMIT, &[], self.input.batch_limit() as f64);
        let at = now().0;
        let mut totals = [0; State::ALL.len()];
        for clock in &self.clocks {
            clock.read(at).into_iter().zip(&mut totals).for_each(|(time, total)| *total += time);
        }
        // A worker that read the clock just before us charges its state up to then only: never tell less than before.
        let mut told = self.told.lock();
        totals
            .iter_mut()
            .zip(&mut *told)
            .for_each(|(total, told)| (*total, *told) = ((*total).max(*told), (*total).max(*told)));
        drop(told);
        for (state, total) in State::ALL.into_iter().zip(totals) {
            reading.total(&STAGE_STATE, &[state.as_str()], total);
        }
        let (enqueued, dequeued) = self.input.items();
        reading.total(&STAGE_QUEUE_ENQUEUED, &[], enqueued);
        reading.total(&STAGE_QUEUE_DEQUEUED, &[], dequeued);
        reading.level(&STAGE_QUEUE_DEPTH, &[], enqueued.saturating_sub(dequeued) as f64);
        reading.level(&STAGE_QUEUE_BATCHES, &[], self.input.batches() as f64);
        reading.level(&STAGE_QUEUE_CAPACITY, &[], self.input.capacity() as f64);
        reading.spread(&STAGE_QUEUE_WAIT, &[], self.queue_wait.snapshot());
        reading.spread(&STAGE_SERVICE, &[], self.service.snapshot());
        reading.total(&STAGE_ERRORS, &[Reason::Panic.as_str()], count(PANICS));
        reading.total(&STAGE_ERRORS, &[Reason::Refused.as_str()], count(REFUSALS));
        if let Some(counts) = self.scope.counts() {
            reading.total(&STAGE_ALLOCATIONS, &[], counts.allocations);
            reading.total(&STAGE_ALLOC_BYTES, &[], counts.allocated_bytes);
            reading.total(&STAGE_FREES, &[], counts.frees);
            reading.total(&STAGE_FREED_BYTES, &[], counts.freed_bytes);
        }
        if let Some(sampled) = self.scope.sampled() {
            reading.level(&STAGE_SAMPLED_LIVE, &[], sampled.live_bytes as f64);
            reading.total(&STAGE_FREED_ELSEWHERE, &[], sampled.freed_elsewhere_bytes);
        }
    }

    fn knobs(&self) -> Vec<Knob> {
        let number = |value: usize| Value::Integer(value as i64);
        vec![
            Knob {
                name: WORKERS,
                value: number(self.workers.target()),
                range: whole(1, self.limits.workers_max),
                unit: "threads",
                help: "Threads that work on this stage at once; surplus ones finish their batch and leave.",
            },
            Knob {
                name: BATCH,
                value: number(self.input.batch_limit()),
                range: whole(1, self.limits.batch_max),
                unit: "records",
                help: "Records at most in a batch handed to this stage; more means fewer hand-overs and later ones.",
            },
            Knob {
                name: CAPACITY,
                value: number(self.input.capacity()),
                range: whole(1, self.limits.capacity_max),
                unit: "batches",
                help: "Batches its queue takes before those who push are held back.",
            },
        ]
    }

    fn turn(&self, knob: &str, to: &Value) -> Result<Turned, TurnError> {
        let began = Instant::now();
        let Value::Integer(number) = *to else { unreachable!("the registry checked the type of {knob}") };
        let number = number as usize;
        let (from, settled) = match knob {
            WORKERS => self.turn_workers(number)?,
            BATCH => (self.input.set_batch_limit(number), true),
            _ => {
                let failed = |why: CapacityError| TurnError::Failed { knob: knob.to_owned(), why: why.to_string() };
                (self.input.set_capacity(number).map_err(failed)?, true)
            }
        };
        Ok(Turned { from: Value::Integer(from as i64), to: to.clone(), took: began.elapsed(), settled, reason: None })
    }

    fn settled(&self, knob: &str, to: &Value) -> Option<Result<(), TurnError>> {
        let failed = |why: String| Some(Err(TurnError::Failed { knob: knob.to_owned(), why }));
        let target = self.workers.target();
        if *to != Value::Integer(target as i64) {
            return failed(format!("it was turned to {target} before surplus workers had finished their batches"));
        }
        if self.workers.running() == target {
            return Some(Ok(()));
        }
        if self.ended.load(Ordering::Acquire) {
            return failed(format!("{} has ended", self.address));
        }
        None
    }
}

impl<I: Batch, O: Batch> AnyStage for Stage<I, O> {
    fn start(&self, workers: usize) -> Result<(), PipelineError> {
        self.resize(workers).map_err(|why| PipelineError::Threads { stage: self.address.to_string(), why })
    }

    fn close(&self) {
        self.input.close();
    }
}
