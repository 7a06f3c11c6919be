//! One phase: workers hired, started together, watched, stopped together, and their figures gathered.

use super::cast::{Cast, Player};
use super::drive::{Driver, OpSpread, Shift, Shiftwork, drive};
use super::event::make_turns;
use super::flow::FlowFigures;
use super::gate::{Done, Gate};
use super::ledger::{MapBook, QueueBook};
use super::load::{Bytes, Chooser, Counters, Echoes, End, Fill, Loaded, MapLoad, QueueLoad, RoundTrips};
use super::{RunError, Runner};
use crate::generate::{KeyStream, Stream};
use crate::script::{
    END_TO_END, Extent, Group, Insert, Keys, MAP_OPS, MapOp, MapValue, Mix, Phase, QUEUE_OPS, QueueOp, ROUND_TRIP,
    TargetKind, Work,
};
use rheostat_api as api;
use rheostat_runtime::observe::{Moment, Snapshot, now};
use rheostat_runtime::sync::{Arc, thread};
use std::time::Duration;

/// Operations of which one is timed, on average.
const SAMPLE_1_IN: u64 = 64;
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
}

/// The books of a worker, by target.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub maps: Vec<(String, MapBook)>,
    pub queues: Vec<(String, QueueBook)>,
}

type Task = Box<dyn FnOnce(&Gate) -> (Shiftwork, Books) + Send>;

/// A worker about to start.
struct Hire {
    name: String,
    counted: bool,
    task: Task,
}

/// Workers of one group or insert: what they count into, and under which target it is reported.
struct Crew {
    target: String,
    ops: Arc<[OpSpread]>,
    sample_1_in: u64,
    /// False for echoes, whose work is part of somebody else's operation.
    reported: bool,
    hires: Vec<Hire>,
    done: Vec<Arc<Done>>,
}

/// How workers of a phase are told apart.
struct Roster {
    seed: u64,
    phase: u64,
    next: u64,
}

impl Roster {
    /// A number that no other worker of the run has.
    fn worker(&mut self) -> u64 {
        self.next += 1;
        self.phase << 32 | self.next
    }
}

impl Crew {
    fn new(target: &str, ops: Vec<&'static str>, sample_1_in: u64, reported: bool) -> Self {
        let ops = ops.into_iter().map(|name| OpSpread { name, spread: Default::default() }).collect();
        Self { target: target.to_owned(), ops, sample_1_in, reported, hires: Vec::new(), done: Vec::new() }
    }

    /// Adds a worker; `books` takes its driver's books when it has ended.
    fn hire<D: Driver + 'static>(
        &mut self,
        mut driver: D,
        jitter: Stream,
        quota: Option<u64>,
        books: impl FnOnce(D) -> Books + Send + 'static,
    ) {
        let done = Arc::<Done>::default();
        let shift = Shift { quota, jitter, sample_1_in: self.sample_1_in, ops: self.ops.clone(), done: done.clone() };
        let task: Task = Box::new(move |gate| {
            let work = drive(&mut driver, &shift, gate);
            (work, books(driver))
        });
        self.hires.push(Hire { name: format!("load-{}", self.hires.len()), counted: self.reported, task });
        self.done.push(done);
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
        let gathered = self.work(cast, phase, index, &mut crews, &pipelines, &before)?;
        self.note_idle(cast, phase, &pipelines);
        self.drain(cast, index, &pipelines, gathered.ending);
        let ending = gathered.ending;
        self.report_phase(phase, &crews, &pipelines, gathered);
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
                    let run = move || {
                        let _finished = counted.then(|| Finished(gate));
                        task(gate)
                    };
                    let spawned = thread::Builder::new().name(name).spawn_scoped(scope, run);
                    crew.push(spawned.map_err(|why| RunError::Threads { why: why.to_string() })?);
                }
                threads.push(crew);
            }
            let turner = (!phase.events.is_empty()).then(|| {
                let turns = || make_turns(&phase.events, cast, &gate);
                thread::Builder::new().name("events".into()).spawn_scoped(scope, turns)
            });
            let turner = turner.transpose().map_err(|why| RunError::Threads { why: why.to_string() })?;

            let began = now();
            gate.open();
            let ending = self.watch(cast, phase, index, &gate, pipelines, &done, began);
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
                    Ok(Gathered { ending, duration, works, events: events.unwrap_or_default(), flows })
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
            match phase.extent {
                Extent::Duration(duration) if elapsed >= duration => return Ending::Done,
                Extent::Duration(duration) => look = look.min(duration - elapsed),
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
    }

    /// Hires the workers of a phase.
    fn crews(&mut self, cast: &Cast<'_>, phase: &Phase, index: usize) -> Result<Vec<Crew>, RunError> {
        let mut roster = Roster { seed: self.workload.seed, phase: index as u64 + 1, next: 0 };
        let mut crews = Vec::new();
        if let Some(insert) = &phase.insert {
            crews.push(self.fill_crew(cast, insert, &mut roster)?);
        }
        let is_counted = |group: &&Group| !matches!(group.work, Work::Echo { .. } | Work::Pipeline { .. });
        let mut share = Share {
            total: if let Extent::Count(count) = phase.extent { Some(count) } else { None },
            workers: phase.groups.iter().filter(is_counted).map(|group| group.workers).sum(),
            taken: 0,
        };
        for group in &phase.groups {
            match &group.work {
                Work::Map { target, mix } => {
                    crews.push(self.map_crew(cast, target, mix, group.workers, &mut roster, &mut share)?);
                }
                Work::Queue { target, mix } => {
                    crews.push(self.queue_crew(cast, target, mix, group.workers, &mut roster, &mut share)?);
                }
                Work::RoundTrip { send, recv } => {
                    let mut crew = Crew::new(send, vec![ROUND_TRIP], 1, true);
                    for _ in 0..group.workers {
                        let worker = roster.worker();
                        let (send_end, recv_end) =
                            (self.end(cast, send, worker, true)?, self.end(cast, recv, worker, true)?);
                        let driver = RoundTrips { send: send_end, recv: recv_end };
                        let (send, recv) = (send.clone(), recv.clone());
                        let jitter = Stream::new(roster.seed, worker).branch(2);
                        crew.hire(driver, jitter, share.next(), |driver: RoundTrips| Books {
                            queues: vec![(send, driver.send.book), (recv, driver.recv.book)],
                            ..Books::default()
                        });
                    }
                    crews.push(crew);
                }
                Work::Echo { recv, send } => {
                    let mut crew = Crew::new(send, vec!["echo"], SAMPLE_1_IN, false);
                    for _ in 0..group.workers {
                        let worker = roster.worker();
                        let (recv_end, send_end) =
                            (self.end(cast, recv, worker, false)?, self.end(cast, send, worker, false)?);
                        let driver = Echoes { recv: recv_end, send: send_end };
                        let (send, recv) = (send.clone(), recv.clone());
                        let jitter = Stream::new(roster.seed, worker).branch(2);
                        crew.hire(driver, jitter, None, |driver: Echoes| Books {
                            queues: vec![(recv, driver.recv.book), (send, driver.send.book)],
                            ..Books::default()
                        });
                    }
                    crews.push(crew);
                }
                Work::Pipeline { .. } => {}
            }
        }
        Ok(crews)
    }

    fn fill_crew(&mut self, cast: &Cast<'_>, insert: &Insert, roster: &mut Roster) -> Result<Crew, RunError> {
        let mut crew = Crew::new(&insert.target, vec!["insert"], SAMPLE_1_IN, true);
        let (share, more) = (insert.count / insert.workers, insert.count % insert.workers);
        let mut first = 0;
        for worker in 0..insert.workers {
            let quota = share + u64::from(worker < more);
            let jitter = Stream::new(roster.seed, roster.worker()).branch(2);
            match self.map(cast, &insert.target)? {
                Map::Counters(map) => hire_fill(&mut crew, map, first, quota, jitter),
                Map::Bytes(map) => hire_fill(&mut crew, map, first, quota, jitter),
            }
            first += quota;
        }
        Ok(crew)
    }

    fn map_crew(
        &mut self,
        cast: &Cast<'_>,
        target: &str,
        mix: &Mix<MapOp>,
        workers: u64,
        roster: &mut Roster,
        share: &mut Share,
    ) -> Result<Crew, RunError> {
        let name = |op: &MapOp| MAP_OPS.iter().find(|(_, known)| known == op).map_or("", |(name, _)| *name);
        let mut crew = Crew::new(target, mix.0.iter().map(|(op, _)| name(op)).collect(), SAMPLE_1_IN, true);
        let keys = self.keys(target)?;
        for _ in 0..workers {
            let worker = roster.worker();
            let stream = Stream::new(roster.seed, worker);
            let (keys, ops) = (KeyStream::new(keys, roster.seed, worker), Chooser::new(mix, stream.branch(1)));
            let (jitter, quota) = (stream.branch(2), share.next());
            match self.map(cast, target)? {
                Map::Counters(map) => {
                    let mut load = MapLoad { map, keys, ops, book: MapBook::default() };
                    self.time_generator(target, &mut load);
                    hire_load(&mut crew, load, jitter, quota);
                }
                Map::Bytes(map) => {
                    let mut load = MapLoad { map, keys, ops, book: MapBook::default() };
                    self.time_generator(target, &mut load);
                    hire_load(&mut crew, load, jitter, quota);
                }
            }
        }
        Ok(crew)
    }

    fn queue_crew(
        &self,
        cast: &Cast<'_>,
        target: &str,
        mix: &Mix<QueueOp>,
        workers: u64,
        roster: &mut Roster,
        share: &mut Share,
    ) -> Result<Crew, RunError> {
        let name = |op: &QueueOp| QUEUE_OPS.iter().find(|(_, known)| known == op).map_or("", |(name, _)| *name);
        let mut crew = Crew::new(target, mix.0.iter().map(|(op, _)| name(op)).collect(), SAMPLE_1_IN, true);
        for _ in 0..workers {
            let worker = roster.worker();
            let stream = Stream::new(roster.seed, worker);
            let driver =
                QueueLoad { end: self.end(cast, target, worker, true)?, ops: Chooser::new(mix, stream.branch(1)) };
            let target = target.to_owned();
            crew.hire(driver, stream.branch(2), share.next(), |driver: QueueLoad| Books {
                queues: vec![(target, driver.end.book)],
                ..Books::default()
            });
        }
        Ok(crew)
    }

    fn end(&self, cast: &Cast<'_>, target: &str, producer: u64, counted: bool) -> Result<End, RunError> {
        let queue = cast.queue(target).ok_or_else(|| RunError::missing(target))?.clone();
        let bytes = match self.workload.target(target).map(|target| &target.kind) {
            Some(TargetKind::Queue(queue)) => queue.item as usize,
            _ => return Err(RunError::missing(target)),
        };
        Ok(End { queue, producer, bytes, tagged: 0, book: QueueBook::default(), counted })
    }

    fn keys(&self, target: &str) -> Result<Keys, RunError> {
        match self.workload.target(target).map(|target| &target.kind) {
            Some(TargetKind::Map(map)) => map.keys.ok_or_else(|| RunError::missing(target)),
            _ => Err(RunError::missing(target)),
        }
    }

    fn map(&self, cast: &Cast<'_>, target: &str) -> Result<Map, RunError> {
        let bytes = match self.workload.target(target).map(|target| &target.kind) {
            Some(TargetKind::Map(map)) => {
                if let MapValue::Bytes(bytes) = map.value {
                    bytes
                } else {
                    0
                }
            }
            _ => 0,
        };
        match cast.player(target) {
            Some(Player::Counters(map)) => Ok(Map::Counters(Counters(map.clone()))),
            Some(Player::Bytes(map)) => Ok(Map::Bytes(Bytes(map.clone(), bytes as usize))),
            _ => Err(RunError::missing(target)),
        }
    }

    fn report_phase(&mut self, phase: &Phase, crews: &[Crew], pipelines: &[String], gathered: Gathered) {
        let Gathered { ending, duration, works, events, flows } = gathered;
        let reported = crews.iter().zip(&works).filter(|(crew, _)| crew.reported);
        let span = reported.clone().flat_map(|(_, works)| works).map(|work| (work.began, work.ended));
        let span = span.reduce(|(began, ended), next| (began.min(next.0), ended.max(next.1)));
        // What workers did is measured by their own clocks; a pipeline is looked at from outside.
        let duration = match span {
            Some((began, ended)) if pipelines.is_empty() => ended.since(began),
            _ => duration,
        };
        let seconds = duration.as_secs_f64().max(1e-9);
        let mut ops: Vec<api::OpResult> = Vec::new();
        for (crew, works) in reported {
            for (place, op) in crew.ops.iter().enumerate() {
                let (count, hits) = works
                    .iter()
                    .fold((0, 0), |(count, hits), work| (count + work.counts[place].0, hits + work.counts[place].1));
                let service = quantiles(&op.spread.snapshot());
                ops.push(op_result(&crew.target, op.name, count, hits, seconds, service, crew.sample_1_in));
            }
        }
        let mut items: u64 = ops.iter().map(|op| op.count).sum();
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

    fn note_ending(&mut self, phase: &Phase, ending: Ending, made: usize) {
        let name = &phase.name;
        match ending {
            Ending::Done => {}
            Ending::Cancelled => self.notes.push(format!("cancelled in phase `{name}`")),
            Ending::TimedOut => {
                let timeout = crate::unit::duration(self.workload.timeout);
                self.notes.push(format!("the run's timeout of {timeout} was reached in phase `{name}`"));
            }
            Ending::Stuck => self.notes.push(format!(
                "phase `{name}` was ended before its count: its workers waited for each other at a full or empty queue"
            )),
        }
        let planned: u64 = phase.events.iter().map(|event| event.count * event.set.len() as u64).sum();
        if (made as u64) < planned {
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
        if workers > 0 {
            self.note_once(
                "load is a closed loop: times are service times, without the wait of what would have queued up",
            );
        }
    }

    /// Times the generator alone, once for each target.
    fn time_generator<M: Loaded>(&mut self, target: &str, load: &mut MapLoad<M>) {
        const DRAWS: u64 = 20_000;
        if !self.timed_generators.insert(target.to_owned()) {
            return;
        }
        let began = now();
        (0..DRAWS).for_each(|index| _ = std::hint::black_box(load.draw(index)));
        let each = began.elapsed().as_nanos() as f64 / DRAWS as f64;
        self.notes.push(format!(
            "generator_ns_per_op of `{target}`: {each:.0} ns to draw a key, an operation and a value, measured alone; \
             throughput includes it, service times do not"
        ));
    }
}

/// A map that workers of a run use.
enum Map {
    Counters(Counters),
    Bytes(Bytes),
}

/// The operations of a phase that ends by count, dealt out.
struct Share {
    total: Option<u64>,
    workers: u64,
    taken: u64,
}

impl Share {
    fn next(&mut self) -> Option<u64> {
        let total = self.total?;
        let quota = total / self.workers + u64::from(self.taken < total % self.workers);
        self.taken += 1;
        Some(quota)
    }
}

fn hire_fill<M: Loaded + 'static>(crew: &mut Crew, map: M, first: u64, quota: u64, jitter: Stream) {
    let target = crew.target.clone();
    let fill = Fill { map, first, book: MapBook::default() };
    crew.hire(fill, jitter, Some(quota), |fill: Fill<M>| Books { maps: vec![(target, fill.book)], ..Books::default() });
}

fn hire_load<M: Loaded + 'static>(crew: &mut Crew, load: MapLoad<M>, jitter: Stream, quota: Option<u64>) {
    let target = crew.target.clone();
    crew.hire(load, jitter, quota, |load: MapLoad<M>| Books { maps: vec![(target, load.book)], ..Books::default() });
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
    api::OpResult { target, op, count, per_s: count as f64 / seconds, hits, service, sample_1_in }
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
