//! One phase: workers started together, watched, stopped together, and their figures gathered.

use super::cast::Cast;
use super::crew::{Books, Crew, Hire};
use super::drive::Shiftwork;
use super::environment::resident_bytes;
use super::event::make_turns;
use super::flow::{Flow, FlowFigures};
use super::gate::{Done, Gate};
use super::pace::Pace;
use super::{RunError, Runner};
use crate::script::{Arrival, END_TO_END, Event, Extent, Phase, TargetKind};
use rheostat_api as api;
use rheostat_runtime::observe::families::{POOL_LIVE, POOL_SLABS};
use rheostat_runtime::observe::{Moment, Reading, Resource, Snapshot, now};
use rheostat_runtime::sync::{Arc, thread};
use std::collections::BTreeMap;
use std::time::Duration;

/// Time between two looks at how far a phase is.
const LOOK: Duration = Duration::from_millis(50);
/// How long a phase that ends by count may stand still before it is taken for stuck.
const STUCK: Duration = Duration::from_secs(1);
/// How long what is on its way may take to come out after a cancel.
const CANCEL_DRAIN: Duration = Duration::from_secs(5);
/// How long it may take otherwise.
const DRAIN: Duration = Duration::from_secs(60);

/// How a phase came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// As the script says.
    Done,
    /// Somebody cancelled the run.
    Cancelled,
    /// The run's time was up.
    TimedOut,
    /// Its workers waited for each other.
    Stuck,
    /// Its throughput did not come to rest in the time it had for that.
    Unsteady,
}

/// What is seen of a phase from outside while it goes on.
#[derive(Default)]
struct Watched {
    pace: Pace,
    /// Resident bytes at the first look, and the most since.
    memory: Option<(u64, u64)>,
    /// Of each pool when it held most from the system: how much that was, and how much of it was in use.
    pools: BTreeMap<String, (f64, f64)>,
}

impl Watched {
    fn look(&mut self, elapsed: Duration, items: u64) {
        self.pace.look(elapsed, items);
        if let Some(bytes) = resident_bytes() {
            let (first, most) = self.memory.unwrap_or((bytes, bytes));
            self.memory = Some((first, most.max(bytes)));
        }
    }

    fn look_at_pools(&mut self, cast: &Cast<'_>) {
        for (name, pooled) in cast.pools() {
            let mut reading = Reading::default();
            pooled.pool.read(&mut reading);
            let held = reading.level_of(&POOL_SLABS).unwrap_or(0.0);
            let in_use = reading.level_of(&POOL_LIVE).unwrap_or(0.0);
            let most = self.pools.entry(name.clone()).or_default();
            if held > most.0 {
                *most = (held, in_use);
            }
        }
    }

    fn memory_growth(&self) -> Option<u64> {
        self.memory.map(|(first, most)| most - first)
    }
}

/// Opens and stops the gate whatever happens, so that nobody waits at it for ever.
struct Opened<'g>(&'g Gate);

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.0.stop();
        self.0.open();
    }
}

/// Lets the pipelines of a phase come to their end when its turns are made, also when that panicked.
struct Held<'c>(Vec<&'c Flow>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|flow| flow.let_end());
    }
}

/// Says that a worker has ended, also when it panicked.
struct Finished<'g>(&'g Gate);

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// What the workers of a phase left behind.
struct Gathered {
    ending: Ending,
    /// Of the phase as a whole, from the opening of the gate to the end of its extent.
    duration: Duration,
    /// Operations per second of the worst tenth of a second, where workers did any.
    items_per_s_min: Option<f64>,
    /// Bytes by which the process grew at most.
    memory_growth: Option<u64>,
    /// What pools held and what of it was in use, when that was most.
    pools: BTreeMap<String, (f64, f64)>,
    /// By crew, by worker.
    works: Vec<Vec<Shiftwork>>,
    events: Vec<api::Event>,
    flows: Vec<FlowFigures>,
}

impl Runner<'_> {
    /// Runs a phase to its end and adds its figures to the run's.
    pub(super) fn run_phase(&mut self, cast: &mut Cast<'_>, index: usize) -> Result<Ending, RunError> {
        let phase = &self.workload.phases[index];
        let mut crews = self.crews(cast, phase, index)?;
        self.note_crews(phase, &crews);
        let pipelines: Vec<String> =
            phase.groups.iter().filter_map(|group| group.work.pipeline().map(str::to_owned)).collect();
        let mut before = Vec::new();
        for name in &pipelines {
            if let Some(target) = self.workload.target(name)
                && let TargetKind::Pipeline(pipeline) = &target.kind
            {
                let fresh = cast.start(target, pipeline)?;
                // What a pipeline did before this look and after its start belongs to the phase too.
                let figures = if fresh && !target.hosted { None } else { cast.flow(name).map(|flow| flow.figures()) };
                before.push(figures.unwrap_or_default());
            }
        }
        let charged_before = self.scope.counts();
        let gathered = self.work(cast, phase, index, &mut crews, &pipelines, &before)?;
        self.note_idle(cast, phase, &pipelines);
        self.drain(cast, index, &pipelines, gathered.ending);
        let ending = gathered.ending;
        self.report_phase(phase, &crews, &pipelines, gathered);
        let charged = self.scope.counts().zip(charged_before);
        if let Some(last) = self.phases.last_mut().filter(|_| !crews.is_empty()) {
            last.allocated_bytes = charged.map(|(now, before)| (now - before).allocated_bytes);
        }
        Ok(ending)
    }

    /// Starts everyone, watches, stops everyone, and collects what they did.
    fn work(
        &mut self,
        cast: &Cast<'_>,
        phase: &Phase,
        index: usize,
        crews: &mut [Crew],
        pipelines: &[String],
        before: &[FlowFigures],
    ) -> Result<Gathered, RunError> {
        let gate = Gate::default();
        let hires: Vec<Vec<Hire>> = crews.iter_mut().map(|crew| std::mem::take(&mut crew.hires)).collect();
        let done: Vec<Arc<Done>> =
            crews.iter().filter(|crew| crew.reported).flat_map(|crew| crew.done.iter().cloned()).collect();
        thread::scope(|scope| {
            let opened = Opened(&gate);
            let mut threads = Vec::new();
            for hires in hires {
                let mut crew = Vec::new();
                for Hire { name, counted, task } in hires {
                    if counted {
                        gate.expect();
                    }
                    let gate = &gate;
                    let charged = self.scope.clone();
                    let run = move || {
                        let _charged = charged.enter();
                        let _finished = counted.then(|| Finished(gate));
                        task(gate)
                    };
                    let spawned = thread::Builder::new().name(name).spawn_scoped(scope, run);
                    crew.push(spawned.map_err(|why| RunError::Threads { why: why.to_string() })?);
                }
                threads.push(crew);
            }
            let turner = (!phase.events.is_empty()).then(|| {
                let held = Held(pipelines.iter().filter_map(|name| cast.flow(name)).collect());
                let turns = || {
                    let _held = held;
                    make_turns(&phase.events, cast, &gate)
                };
                thread::Builder::new().name("events".into()).spawn_scoped(scope, turns)
            });
            let turner = turner.transpose().map_err(|why| RunError::Threads { why: why.to_string() })?;

            let mut watched = Watched::default();
            let began = now();
            gate.open();
            let ending = self.watch(cast, phase, index, &gate, pipelines, &done, began, &mut watched);
            let duration = began.elapsed();
            let after = pipelines.iter().filter_map(|name| cast.flow(name).map(|flow| flow.figures()));
            let flows = after.zip(before).map(|(after, before)| after.since(before)).collect();
            drop(opened);

            let mut works = Vec::new();
            let mut panicked = None;
            for crew in threads {
                let mut ended = Vec::new();
                for thread in crew {
                    match thread.join() {
                        Ok((work, books)) => {
                            ended.push(work);
                            self.keep_books(books);
                        }
                        Err(panic) => panicked = Some(panic),
                    }
                }
                works.push(ended);
            }
            let events = turner.map(|turner| turner.join()).transpose();
            match (panicked, events) {
                (None, Ok(events)) => {
                    let events = events.unwrap_or_default();
                    let (items_per_s_min, memory_growth) = (watched.pace.slowest(), watched.memory_growth());
                    let pools = watched.pools;
                    Ok(Gathered { ending, duration, items_per_s_min, memory_growth, pools, works, events, flows })
                }
                (Some(panic), _) | (None, Err(panic)) => Err(RunError::panicked(&*panic)),
            }
        })
    }

    /// Waits for the end of a phase and says how far it is meanwhile.
    #[expect(clippy::too_many_arguments, reason = "all of a phase's parts are watched, and nothing else is")]
    fn watch(
        &self,
        cast: &Cast<'_>,
        phase: &Phase,
        index: usize,
        gate: &Gate,
        pipelines: &[String],
        done: &[Arc<Done>],
        began: Moment,
        watched: &mut Watched,
    ) -> Ending {
        let own = pipelines.iter().filter_map(|name| cast.flow(name)?.own());
        let own: Vec<_> = own.collect();
        let mut moved = (0, now());
        loop {
            if self.context.cancel.is_cancelled() {
                return Ending::Cancelled;
            }
            if self.is_overdue() {
                return Ending::TimedOut;
            }
            let items: u64 = done.iter().map(|done| done.get()).sum();
            let elapsed = began.elapsed();
            let mut look = LOOK;
            watched.look(elapsed, items);
            watched.look_at_pools(cast);
            match phase.extent {
                Extent::Duration(duration) if elapsed >= duration => return Ending::Done,
                Extent::Duration(duration) => look = look.min(duration - elapsed),
                Extent::Steady(_) if watched.pace.is_steady() => return Ending::Done,
                Extent::Steady(max) if elapsed >= max => return Ending::Unsteady,
                Extent::Steady(max) => look = look.min(max - elapsed),
                Extent::Count(_) if gate.wait_finished(Duration::ZERO) => return Ending::Done,
                Extent::Count(_) if !gate.is_stuck() || items != moved.0 => moved = (items, now()),
                Extent::Count(_) if moved.1.elapsed() > STUCK => return Ending::Stuck,
                Extent::Count(_) => {}
                Extent::Input if own.iter().all(|pipeline| pipeline.has_ended()) => return Ending::Done,
                Extent::Input => {}
            }
            self.show_progress(cast, phase, index, items, elapsed);
            match own.iter().find(|pipeline| !pipeline.has_ended()) {
                Some(pipeline) => _ = pipeline.wait(look),
                None => _ = gate.wait_finished(look) && gate.sleep(look),
            }
        }
    }

    /// Brings the pipelines to their end that no later phase needs.
    fn drain(&mut self, cast: &Cast<'_>, index: usize, pipelines: &[String], ending: Ending) {
        for name in pipelines {
            let later = &self.workload.phases[index + 1..];
            let needed =
                later.iter().flat_map(|phase| &phase.groups).any(|group| group.work.targets().contains(&&**name));
            if needed && ending == Ending::Done {
                continue;
            }
            self.drain_flow(cast, name, ending);
        }
    }

    /// Brings every pipeline that still runs to its end.
    pub(super) fn drain_all(&mut self, cast: &Cast<'_>, ending: Ending) {
        let names: Vec<String> = cast.flows().map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.drain_flow(cast, name, ending));
    }

    fn drain_flow(&mut self, cast: &Cast<'_>, name: &str, ending: Ending) {
        let Some(own) = cast.flow(name).and_then(|flow| flow.own()) else { return };
        if !own.has_ended() {
            self.cut_short.insert(name.to_owned());
            own.stop();
        }
        let limit = if ending == Ending::Done { DRAIN } else { CANCEL_DRAIN };
        let began = now();
        // In slices, so that a cancel during a long drain shortens it.
        while !own.wait(LOOK) {
            let limit = if self.context.cancel.is_cancelled() { limit.min(CANCEL_DRAIN) } else { limit };
            if began.elapsed() > limit {
                own.abandon();
                self.abandoned.insert(name.to_owned());
                self.notes.push(format!(
                    "`{name}` had not drained {} after it was stopped; what was on its way was dropped",
                    crate::unit::duration(limit)
                ));
                return;
            }
        }
    }

    fn keep_books(&mut self, books: Books) {
        for (target, book) in books.maps {
            self.map_books.entry(target).or_default().merge(book);
        }
        for (target, book) in books.queues {
            self.queue_books.entry(target).or_default().merge(book);
        }
        for (target, book) in books.pools {
            self.pool_books.entry(target).or_default().merge(book);
        }
        for (target, mut history) in books.histories {
            self.histories.entry(target).or_default().append(&mut history);
        }
        for (target, replay) in books.replays {
            self.replays.entry(target).or_default().push(replay);
        }
    }

    fn report_phase(&mut self, phase: &Phase, crews: &[Crew], pipelines: &[String], gathered: Gathered) {
        let Gathered { ending, duration, items_per_s_min, memory_growth, pools, works, events, flows } = gathered;
        self.note_pools(phase, &pools);
        let reported = crews.iter().zip(&works).filter(|(crew, _)| crew.reported);
        let span = reported.clone().flat_map(|(_, works)| works).map(|work| (work.began, work.ended));
        let span = span.reduce(|(began, ended), next| (began.min(next.0), ended.max(next.1)));
        // What workers did is measured by their own clocks; a pipeline is looked at from outside.
        let duration = match span {
            Some((began, ended)) if pipelines.is_empty() => ended.since(began),
            _ => duration,
        };
        let seconds = duration.as_secs_f64().max(1e-9);
        let mut ops: Vec<api::OpResult> =
            reported.flat_map(|(crew, works)| crew_results(crew, works, seconds)).collect();
        let mut items: u64 = ops.iter().filter(|op| op.op != END_TO_END).map(|op| op.count).sum();
        self.loaded += items;
        let mut bytes = 0;
        for (name, flow) in pipelines.iter().zip(&flows) {
            items += flow.items();
            bytes += flow.bytes;
            for stage in &flow.stages {
                let service = quantiles(&stage.service);
                ops.push(op_result(name, &stage.name, stage.in_items, stage.out_items, seconds, service, 1));
            }
            let (records, latency) = (flow.latency.count(), quantiles(&flow.latency));
            ops.push(op_result(name, END_TO_END, records, records, seconds, latency, 1));
        }
        self.items += items;
        self.bytes += bytes;
        self.note_ending(phase, ending, events.len());
        self.phases.push(api::Phase {
            name: phase.name.clone(),
            role: phase.role.as_str().to_owned(),
            duration_ns: duration.as_nanos() as u64,
            items,
            items_per_s: items as f64 / seconds,
            items_per_s_min,
            memory_growth_bytes: memory_growth,
            allocated_bytes: None,
            bytes,
            bytes_per_s: bytes as f64 / seconds,
            ops,
            events,
        });
    }

    /// A pipeline whose input ended before its time has rates that average in doing nothing.
    fn note_idle(&mut self, cast: &Cast<'_>, phase: &Phase, pipelines: &[String]) {
        let has_ended = |name: &&String| cast.flow(name).and_then(|flow| flow.own()).is_some_and(|own| own.has_ended());
        for name in pipelines.iter().filter(has_ended) {
            if let Extent::Duration(_) = phase.extent {
                self.notes.push(format!(
                    "`{name}` came to the end of its input before phase `{}` did: its rates include doing nothing; \
                     set `repeat`, or leave the `duration` out",
                    phase.name
                ));
            }
        }
    }

    /// What a pool keeps over what is in use is what it costs beside time.
    fn note_pools(&mut self, phase: &Phase, pools: &BTreeMap<String, (f64, f64)>) {
        for (name, (held, in_use)) in pools.iter().filter(|(_, (held, _))| *held > 0.0) {
            let (idle, phase) = (100.0 * (1.0 - in_use / held), &phase.name);
            let [held, in_use] = [held, in_use].map(|bytes| crate::unit::bytes(*bytes as u64));
            self.notes.push(format!(
                "phase `{phase}`: `{name}` held at most {held}, of which {in_use} were in blocks in use: {idle:.0} % idle"
            ));
        }
    }

    fn note_ending(&mut self, phase: &Phase, ending: Ending, made: usize) {
        let name = &phase.name;
        match ending {
            Ending::Done => {}
            Ending::Cancelled => self.notes.push(format!("cancelled in phase `{name}`")),
            Ending::TimedOut => {
                let timeout = crate::unit::duration(self.workload.timeout);
                self.notes.push(format!("the run's timeout of {timeout} was reached in phase `{name}`"));
            }
            Ending::Unsteady => self
                .notes
                .push(format!("phase `{name}` did not come to rest in the time it had: what follows may drift")),
            Ending::Stuck => self.notes.push(format!(
                "phase `{name}` was ended before its count: its workers waited for each other at a full or empty queue"
            )),
        }
        let planned: u64 = phase.events.iter().filter(|event| !event.open).map(Event::turns).sum();
        let open = phase.events.iter().any(|event| event.open);
        if !open && (made as u64) < planned {
            self.notes.push(format!("phase `{name}` ended after {made} of its {planned} turns"));
        }
    }

    fn note_crews(&mut self, phase: &Phase, crews: &[Crew]) {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers: usize = crews.iter().map(|crew| crew.hires.len()).sum();
        if workers > cores {
            self.notes.push(format!(
                "phase `{}` has {workers} workers on {cores} cores: oversubscribed, its times include waiting for a core",
                phase.name
            ));
        }
        let closed = |group: &crate::script::Group| group.arrival == Arrival::Closed && group.work.pipeline().is_none();
        if phase.groups.iter().any(closed) {
            self.note_once(
                "groups without arrivals are closed loops: their times leave out what would have queued up meanwhile",
            );
        }
    }
}

/// What the workers of a crew did, by operation.
fn crew_results(crew: &Crew, works: &[Shiftwork], seconds: f64) -> Vec<api::OpResult> {
    let left: Option<u64> = works.iter().map(|work| work.left).sum();
    let mut rows: Vec<api::OpResult> = Vec::new();
    for (place, op) in crew.ops.iter().enumerate() {
        let counts: Vec<u64> = works.iter().map(|work| work.counts[place].0).collect();
        let hits = works.iter().map(|work| work.counts[place].1).sum();
        let count = counts.iter().sum();
        let sample = if left.is_some() { 1 } else { crew.sample_1_in };
        let row = op_result(&crew.target, op.name, count, hits, seconds, quantiles(&op.service.snapshot()), sample);
        rows.push(api::OpResult {
            due: left.map(|left| count + (left as f64 * op.share).round() as u64),
            response: quantiles(&op.response.snapshot()),
            fairness: fairness(&counts),
            ..row
        });
    }
    let transit = crew.transit.snapshot();
    if transit.count() > 0 {
        let count = transit.count();
        rows.push(op_result(&crew.target, END_TO_END, count, count, seconds, quantiles(&transit), 1));
    }
    rows
}

/// Jain's index: 1 when all did as much, 1/n when one of n did all. `None` for a single worker, or nothing done.
fn fairness(counts: &[u64]) -> Option<f64> {
    let sum: f64 = counts.iter().map(|count| *count as f64).sum();
    let squares: f64 = counts.iter().map(|count| (*count as f64).powi(2)).sum();
    (counts.len() > 1 && squares > 0.0).then(|| sum * sum / (counts.len() as f64 * squares))
}

fn op_result(
    target: &str,
    op: &str,
    count: u64,
    hits: u64,
    seconds: f64,
    service: Option<api::Quantiles>,
    sample_1_in: u64,
) -> api::OpResult {
    let (target, op) = (target.to_owned(), op.to_owned());
    let per_s = count as f64 / seconds;
    api::OpResult { target, op, count, per_s, hits, service, sample_1_in, ..Default::default() }
}

/// A histogram in nanoseconds; `None` when nothing was timed.
fn quantiles(spread: &Snapshot) -> Option<api::Quantiles> {
    let at = |q| spread.quantile(q).map(|ns| ns as f64);
    (spread.count() > 0).then(|| api::Quantiles {
        count: spread.count(),
        sum: spread.sum() as f64,
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: spread.max() as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_one_when_all_did_as_much() {
        assert_eq!(fairness(&[5, 5, 5, 5]), Some(1.0));
        assert_eq!(fairness(&[20, 0, 0, 0]), Some(0.25));
        assert_eq!((fairness(&[3]), fairness(&[0, 0])), (None, None));
    }
}
