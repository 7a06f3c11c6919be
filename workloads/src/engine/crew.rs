//! Who works in a phase: drivers made of groups, with streams, targets and terms.

use super::arrival::Arrivals;
use super::cast::{Cast, Player};
use super::chooser::Chooser;
use super::drive::{Driver, OpSpread, Shift, Shiftwork, drive};
use super::gate::{Done, Gate};
use super::history::{Desk, History};
use super::ledger::{MapBook, PoolBook, QueueBook};
use super::map_load::{Bytes, Counters, Fill, Loaded, MapLoad, Words};
use super::pool_load::{Climb, Hands, PoolLoad};
use super::queue_load::{Echoes, End, QueueLoad, RoundTrips};
use super::value::Lengths;
use super::{RunError, Runner};
use crate::generate::{Frontier, KeyStream, Stream};
use crate::script::{
    Arrival, Extent, Group, Insert, Keys, MAP_OPS, MapOp, MapTarget, MapValue, Mix, POOL_OPS, Phase, PoolOp, QUEUE_OPS,
    ROUND_TRIP, TargetKind, Work, is_recorded,
};
use rheostat_runtime::observe::{Spread, now};
use rheostat_runtime::sync::Arc;
use std::time::Duration;

/// Inserts of which one is timed while a map is filled, on average.
const FILL_SAMPLE_1_IN: u64 = 64;
/// Bytes of a value put into a map of the host's.
const HOSTED_VALUE_BYTES: u64 = 16;

/// The books of a worker, by target.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub maps: Vec<(String, MapBook)>,
    pub queues: Vec<(String, QueueBook)>,
    pub pools: Vec<(String, PoolBook)>,
    pub replays: Vec<(String, Replay)>,
    pub histories: Vec<(String, History)>,
}

/// What one worker asked of a map, so that it can be asked again: keys and operations follow from the seed.
#[derive(Debug, Clone)]
pub(super) struct Replay {
    pub keys: KeyStream,
    pub ops: Chooser<MapOp>,
    /// Operations it did.
    pub done: u64,
}

/// What a worker does on its thread.
pub(super) type Task = Box<dyn FnOnce(&Gate) -> (Shiftwork, Books) + Send>;

/// A worker about to start.
pub(super) struct Hire {
    pub name: String,
    pub counted: bool,
    pub task: Task,
}

/// Workers of one group or insert: what they count into, and under which target it is reported.
pub(super) struct Crew {
    pub target: String,
    pub ops: Arc<[OpSpread]>,
    pub sample_1_in: u64,
    /// Times of items from when they set out to when these workers got them.
    pub transit: Arc<Spread>,
    /// False for echoes, whose work is part of somebody else's operation.
    pub reported: bool,
    pub hires: Vec<Hire>,
    pub done: Vec<Arc<Done>>,
}

/// When and how often the workers of a crew do what they do.
#[derive(Clone, Copy)]
struct Terms {
    workers: u64,
    arrival: Arrival,
    think: Duration,
    /// Of the phase, if it has one.
    duration: Option<Duration>,
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
    /// A crew whose operations have these shares of the mix.
    fn new(target: &str, ops: Vec<(&'static str, u64)>, sample_1_in: u64, reported: bool) -> Self {
        let total: u64 = ops.iter().map(|(_, weight)| weight).sum();
        let ops = ops.into_iter().map(|(name, weight)| OpSpread::new(name, weight as f64 / total as f64)).collect();
        let target = target.to_owned();
        Self { target, ops, sample_1_in, transit: Arc::default(), reported, hires: Vec::new(), done: Vec::new() }
    }

    /// Adds a worker; `books` takes its driver's books, and how many operations it did, when it has ended.
    fn hire<D: Driver + 'static>(
        &mut self,
        mut driver: D,
        terms: &Terms,
        stream: Stream,
        quota: Option<u64>,
        books: impl FnOnce(D, u64) -> Books + Send + 'static,
    ) {
        let done = Arc::<Done>::default();
        let arrivals = match terms.arrival {
            Arrival::Closed => None,
            Arrival::Planned(schedule) => {
                let worker = self.hires.len() as u64;
                Some(Arrivals::new(schedule, terms.duration, worker, terms.workers, stream.branch(3)))
            }
        };
        let shift = Shift {
            quota,
            arrivals,
            think: terms.think,
            jitter: stream.branch(2),
            sample_1_in: self.sample_1_in,
            ops: self.ops.clone(),
            done: done.clone(),
        };
        let task: Task = Box::new(move |gate| {
            let work = drive(&mut driver, shift, gate);
            let done = work.counts.iter().map(|(count, _)| count).sum();
            (work, books(driver, done))
        });
        self.hires.push(Hire { name: format!("load-{}", self.hires.len()), counted: self.reported, task });
        self.done.push(done);
    }
}

impl Runner<'_> {
    /// Hires the workers of a phase.
    pub(super) fn crews(&mut self, cast: &Cast<'_>, phase: &Phase, index: usize) -> Result<Vec<Crew>, RunError> {
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
        let duration = if let Extent::Duration(duration) = phase.extent { Some(duration) } else { None };
        for group in &phase.groups {
            let Group { work, workers, arrival, think, sample } = group;
            let terms = Terms { workers: *workers, arrival: *arrival, think: *think, duration };
            crews.extend(match work {
                Work::Map { target, mix, scan, hold } => {
                    let mut crew = Crew::new(target, worded(mix, &MAP_OPS), *sample, true);
                    match self.map(cast, target)? {
                        Map::Counters(map) => {
                            self.map_crew(&mut crew, map, mix, (*scan, *hold), &terms, &mut roster, &mut share);
                        }
                        Map::Bytes(map) => {
                            self.map_crew(&mut crew, map, mix, (*scan, *hold), &terms, &mut roster, &mut share);
                        }
                        Map::Words(map) => {
                            self.map_crew(&mut crew, map, mix, (*scan, *hold), &terms, &mut roster, &mut share);
                        }
                    }
                    Some(crew)
                }
                Work::Queue { target, mix, waits } => {
                    let mut crew = Crew::new(target, worded(mix, &QUEUE_OPS), *sample, true);
                    for _ in 0..*workers {
                        let worker = roster.worker();
                        let stream = Stream::new(roster.seed, worker);
                        let end = self.end(cast, target, worker, &crew)?;
                        let driver = QueueLoad { end, ops: Chooser::new(mix, stream.branch(1)), waits: *waits };
                        let target = target.clone();
                        crew.hire(driver, &terms, stream, share.next(), |driver, _| Books {
                            queues: vec![(target, driver.end.book)],
                            ..Books::default()
                        });
                    }
                    Some(crew)
                }
                Work::RoundTrip { send, recv } => {
                    let mut crew = Crew::new(send, vec![(ROUND_TRIP, 1)], *sample, true);
                    for _ in 0..*workers {
                        let worker = roster.worker();
                        let driver = RoundTrips {
                            send: self.end(cast, send, worker, &crew)?,
                            recv: self.end(cast, recv, worker, &crew)?,
                        };
                        let (send, recv) = (send.clone(), recv.clone());
                        crew.hire(driver, &terms, Stream::new(roster.seed, worker), share.next(), |driver, _| Books {
                            queues: vec![(send, driver.send.book), (recv, driver.recv.book)],
                            ..Books::default()
                        });
                    }
                    Some(crew)
                }
                Work::Echo { recv, send } => {
                    let mut crew = Crew::new(send, vec![("echo", 1)], *sample, false);
                    for _ in 0..*workers {
                        let worker = roster.worker();
                        let driver = Echoes {
                            recv: self.end(cast, recv, worker, &crew)?,
                            send: self.end(cast, send, worker, &crew)?,
                        };
                        let (send, recv) = (send.clone(), recv.clone());
                        crew.hire(driver, &terms, Stream::new(roster.seed, worker), None, |driver, _| Books {
                            queues: vec![(recv, driver.recv.book), (send, driver.send.book)],
                            ..Books::default()
                        });
                    }
                    Some(crew)
                }
                Work::Pool { target, mix, live } => {
                    let mut crew = Crew::new(target, worded(mix, &POOL_OPS), *sample, true);
                    for _ in 0..*workers {
                        let worker = roster.worker();
                        let stream = Stream::new(roster.seed, worker);
                        let driver = self.pool_load(cast, target, worker, mix, *live)?;
                        let target = target.clone();
                        crew.hire(driver, &terms, stream, share.next(), |driver: PoolLoad, _| Books {
                            pools: vec![(target, driver.hands.close())],
                            ..Books::default()
                        });
                    }
                    Some(crew)
                }
                Work::Pipeline { .. } => None,
            });
        }
        Ok(crews)
    }

    fn fill_crew(&mut self, cast: &Cast<'_>, insert: &Insert, roster: &mut Roster) -> Result<Crew, RunError> {
        let mut crew = Crew::new(&insert.target, vec![("insert", 1)], FILL_SAMPLE_1_IN, true);
        let terms = Terms { workers: insert.workers, arrival: Arrival::Closed, think: Duration::ZERO, duration: None };
        let (share, more) = (insert.count / insert.workers, insert.count % insert.workers);
        let mut first = 0;
        for index in 0..insert.workers {
            let quota = share + u64::from(index < more);
            let worker = roster.worker();
            let (stream, desk) = (Stream::new(roster.seed, worker), self.desk(&insert.target, worker));
            match self.map(cast, &insert.target)? {
                Map::Counters(map) => hire_fill(&mut crew, map, &terms, (first, quota), stream, desk),
                Map::Bytes(map) => hire_fill(&mut crew, map, &terms, (first, quota), stream, desk),
                Map::Words(map) => hire_fill(&mut crew, map, &terms, (first, quota), stream, desk),
            }
            first += quota;
        }
        let loaded = self.loaded_keys.entry(insert.target.clone()).or_default();
        *loaded = insert.count.max(*loaded);
        Ok(crew)
    }

    #[expect(clippy::too_many_arguments, reason = "a crew is what its group says, on the map it says, in this phase")]
    fn map_crew<M: Loaded>(
        &mut self,
        crew: &mut Crew,
        map: M,
        mix: &Mix<MapOp>,
        (scan, hold): (u64, Duration),
        terms: &Terms,
        roster: &mut Roster,
        share: &mut Share,
    ) {
        // Without keys nothing is drawn, and new keys start at 0.
        let drawn = match self.workload.target(&crew.target).map(|target| &target.kind) {
            Some(TargetKind::Map(map)) => map.keys,
            _ => None,
        };
        let frontier = self.frontiers.entry(crew.target.clone());
        let frontier = frontier.or_insert_with(|| Arc::new(Frontier::new(drawn.map_or(0, Keys::items)))).clone();
        let drawn = drawn.unwrap_or(Keys::Sequential { items: 1 });
        for _ in 0..terms.workers {
            let worker = roster.worker();
            let stream = Stream::new(roster.seed, worker);
            let keys = KeyStream::new(drawn, roster.seed, worker);
            let ops = Chooser::new(mix, stream.branch(1));
            let mut load = MapLoad {
                map: map.clone(),
                keys,
                ops: ops.clone(),
                extra: stream.branch(4),
                frontier: frontier.clone(),
                loaded: self.loaded_keys.get(&crew.target).copied().unwrap_or(0),
                scan,
                hold,
                audit: self.workload.checks.values,
                desk: self.desk(&crew.target, worker),
            };
            if !mix.has(&[MapOp::InsertNew]) {
                self.time_generator(&crew.target, &mut load);
            }
            let target = crew.target.clone();
            crew.hire(load, terms, stream, share.next(), move |load: MapLoad<M>, done| {
                let (book, history) = load.desk.close();
                Books {
                    maps: vec![(target.clone(), book)],
                    replays: vec![(target.clone(), Replay { keys, ops, done })],
                    histories: vec![(target, history)],
                    ..Books::default()
                }
            });
        }
    }

    fn end(&self, cast: &Cast<'_>, target: &str, producer: u64, crew: &Crew) -> Result<End, RunError> {
        let queue = cast.queue(target).ok_or_else(|| RunError::missing(target))?.clone();
        let bytes = match self.workload.target(target).map(|target| &target.kind) {
            Some(TargetKind::Queue(queue)) => queue.item as usize,
            _ => return Err(RunError::missing(target)),
        };
        let (transit, counted) = (crew.transit.clone(), crew.reported);
        Ok(End { queue, producer, bytes, tagged: 0, book: QueueBook::default(), transit, counted })
    }

    fn pool_load(
        &self,
        cast: &Cast<'_>,
        target: &str,
        worker: u64,
        mix: &Mix<PoolOp>,
        live: u64,
    ) -> Result<PoolLoad, RunError> {
        let pooled = cast.pooled(target).ok_or_else(|| RunError::missing(target))?.clone();
        let sizes = match self.workload.target(target).map(|target| &target.kind) {
            Some(TargetKind::Pool(pool)) => pool.size,
            _ => return Err(RunError::missing(target)),
        };
        let stream = Stream::new(self.workload.seed, worker);
        let (extra, ops) = (stream.branch(4), Chooser::new(mix, stream.branch(1)));
        let (live, hands, climb) = (live as usize, Hands::new(worker), sizes.over.map(Climb::new));
        Ok(PoolLoad { pooled, sizes, extra, ops, live, hands, climb })
    }

    fn map(&self, cast: &Cast<'_>, target: &str) -> Result<Map, RunError> {
        let lengths = match self.workload.target(target).map(|target| &target.kind) {
            Some(TargetKind::Map(MapTarget { value: MapValue::Bytes(from, to), .. })) => {
                Lengths { from: *from, to: *to }
            }
            // A map of bytes that the host has: the file says nothing of its values.
            _ => Lengths { from: HOSTED_VALUE_BYTES, to: HOSTED_VALUE_BYTES },
        };
        match cast.player(target) {
            Some(Player::Counters(map)) => Ok(Map::Counters(Counters(map.clone()))),
            Some(Player::Bytes(map)) => Ok(Map::Bytes(Bytes(map.clone(), lengths))),
            Some(Player::Words(map)) => Ok(Map::Words(Words(map.clone()))),
            _ => Err(RunError::missing(target)),
        }
    }

    /// A worker's desk at a map.
    fn desk(&self, target: &str, worker: u64) -> Desk {
        let target = self.workload.target(target).filter(|target| is_recorded(target));
        Desk::new(self.recorder.as_ref().filter(|_| target.is_some()), worker)
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
    Words(Words),
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

fn hire_fill<M: Loaded>(
    crew: &mut Crew,
    map: M,
    terms: &Terms,
    (first, quota): (u64, u64),
    stream: Stream,
    desk: Desk,
) {
    let target = crew.target.clone();
    let fill = Fill { map, first, desk };
    crew.hire(fill, terms, stream, Some(quota), |fill: Fill<M>, _| {
        let (book, history) = fill.desk.close();
        Books { maps: vec![(target.clone(), book)], histories: vec![(target, history)], ..Books::default() }
    });
}

/// The operations of a mix by their words, with their weights.
fn worded<O: PartialEq>(mix: &Mix<O>, words: &[(&'static str, O)]) -> Vec<(&'static str, u64)> {
    let word = |op: &O| words.iter().find(|(_, known)| known == op).map_or("", |(word, _)| *word);
    mix.0.iter().map(|(op, weight)| (word(op), *weight)).collect()
}
