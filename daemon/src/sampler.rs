//! Looks at everything four times a second, for all who want to know: one read, one text, any number of clients.
//!
//! Every look makes a frame for the stream, if anybody is attached; every fourth feeds history and the windows that
//! quantiles are taken over, and has resources look at themselves: one that chooses the value of a knob turns it then.
//! The frame is put into words once and handed out by reference; a client that is slow finds only the newest.
//!
//! Nobody sees anything while the sampler is blind, so it is watched. A resource that panics when it is read is left
//! out of that look, and the others are not; a sampler that panics all the same begins again; and one that stands
//! still, as behind a lock that is never given back, is said to, with what it reads: in the log, by `readyz` and
//! `healthz`. It is not replaced then, as another would stand still behind the same lock.

use crate::app::App;
use crate::history::Key;
use crate::wire;
use axum::body::Bytes;
use rheostat_api as api;
use rheostat_runtime::observe::{self, Address, Measure, Moment, Reading, Resource, Sample, Snapshot, families, now};
use rheostat_runtime::sync::Mutex;
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_millis(250);
const LOOKS_PER_SECOND: u64 = 4;
/// Seconds that quantiles cover.
const WINDOW: usize = 5;
/// A pool that goes on refusing is logged this often.
const REFUSALS_EVERY: Duration = Duration::from_secs(60);
/// Seconds without a look before the sampler is said to stand still.
const STANDSTILL: u32 = 5;

/// One look, in words.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// The snapshot as JSON, with the line end that NDJSON wants.
    pub line: Bytes,
    /// Its number.
    pub seq: u64,
}

/// What is kept between looks.
pub(crate) struct Sampler {
    frames: watch::Sender<Arc<Frame>>,
    windows: Mutex<Windows>,
    self_nanos: AtomicU64,
    stopped: AtomicBool,
    /// Looks begun.
    beats: AtomicU64,
    /// When the last began, in milliseconds since 1970.
    beat_ms: AtomicU64,
    /// The resource being read.
    reading: Mutex<Option<Address>>,
    panics: AtomicU64,
    /// What keeps it from looking, once that has lasted.
    trouble: Mutex<Option<String>>,
    /// Refusals of each pool that were logged, and when more are.
    refusals: Mutex<HashMap<Address, (u64, Moment)>>,
}

/// Histograms as they stood at the last seconds, oldest first.
#[derive(Default)]
struct Windows {
    kept: HashMap<Key, VecDeque<Snapshot>>,
}

impl Windows {
    fn brief(&self, key: &Key, sample: &Sample, spread: &Snapshot) -> api::Quantiles {
        let oldest = self.kept.get(key).and_then(VecDeque::front);
        let recent = oldest.map_or_else(|| spread.clone(), |oldest| spread.since(oldest));
        wire::quantiles(spread, &recent, sample.family.scale())
    }

    fn keep(&mut self, readings: &[(Arc<dyn Resource>, Reading)]) {
        let mut kept = HashMap::with_capacity(self.kept.len());
        for (resource, reading) in readings {
            for sample in &reading.samples {
                if let Measure::Spread(spread) = &sample.measure {
                    // Entries that are not carried over belong to resources that are gone.
                    let (key, mut window) = self
                        .kept
                        .remove_entry(&Key::new(resource.address(), sample))
                        .unwrap_or_else(|| (Key::new(resource.address(), sample), VecDeque::with_capacity(WINDOW + 1)));
                    if window.len() > WINDOW {
                        window.pop_front();
                    }
                    window.push_back((**spread).clone());
                    kept.insert(key, window);
                }
            }
        }
        self.kept = kept;
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Self {
            frames: watch::Sender::new(Arc::default()),
            windows: Mutex::default(),
            self_nanos: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            beats: AtomicU64::new(0),
            beat_ms: AtomicU64::new(wire::now_ms()),
            reading: Mutex::default(),
            panics: AtomicU64::new(0),
            trouble: Mutex::default(),
            refusals: Mutex::default(),
        }
    }
}

impl Sampler {
    /// Attaches to the stream. The frame in place is stale: wait for the next.
    pub(crate) fn attach(&self) -> watch::Receiver<Arc<Frame>> {
        self.frames.subscribe()
    }

    /// Time spent on looking and exposing so far, in nanoseconds.
    pub(crate) fn self_nanos(&self) -> u64 {
        self.self_nanos.load(Relaxed)
    }

    /// Charges work done elsewhere for the sake of telemetry.
    pub(crate) fn charge(&self, since: Moment) {
        self.self_nanos.fetch_add(since.elapsed().as_nanos() as u64, Relaxed);
    }

    /// Reads one resource now, with quantiles over the last seconds.
    pub(crate) fn look(&self, resource: &dyn Resource) -> api::Resource {
        let mut reading = Reading::default();
        resource.read(&mut reading);
        self.brief(resource, &reading)
    }

    fn brief(&self, resource: &dyn Resource, reading: &Reading) -> api::Resource {
        let windows = self.windows.lock();
        wire::resource(resource, &reading.samples, |sample, spread| {
            windows.brief(&Key::new(resource.address(), sample), sample, spread)
        })
    }

    /// Ends [`run`] after the look under way.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// Says how looking goes.
    pub(crate) fn read(&self, reading: &mut Reading) {
        reading.level(&families::LOOK_TIMESTAMP, &[], self.beat_ms.load(Relaxed) as f64 * 1e-3);
        reading.total(&families::LOOK_PANICS, &[], self.panics.load(Relaxed));
    }

    /// What keeps it from looking; `None` while it looks.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Reads a resource; `None` if that panicked.
    pub(crate) fn read_one(&self, resource: &dyn Resource) -> Option<Reading> {
        let mut reading = Reading::default();
        let read = catch_unwind(AssertUnwindSafe(|| resource.read(&mut reading)));
        read.map_err(|_| {
            self.panicked(&format!(
                "{} panicked when it was read, and is left out of what clients and Prometheus see",
                resource.address()
            ))
        })
        .ok()?;
        Some(reading)
    }

    /// Logs that a pool refuses: when it begins to, and then once a minute for as long as it does.
    fn log_refusals(&self, pool: &Address, reading: &Reading) {
        let Some(refusals) = reading.total_of(&families::POOL_REFUSALS).filter(|refusals| *refusals > 0) else {
            return;
        };
        let mut told = self.refusals.lock();
        let (before, quiet_until) = told.get(pool).copied().unwrap_or((0, reading.at));
        if refusals > before && reading.at >= quiet_until {
            told.insert(pool.clone(), (refusals, Moment(reading.at.0 + REFUSALS_EVERY.as_nanos() as u64)));
            let more = refusals - before;
            tracing::warn!(%pool, refusals = more, "a pool refuses blocks: it is at its limit (bytes_max), or at `unlocked` and asked by a second thread, which another level serves; pipelines go on with the heap");
        }
    }

    /// Says so at the first time and then ever more rarely: a resource that panics does so four times a second.
    fn panicked(&self, what: &str) {
        let panics = self.panics.fetch_add(1, Relaxed) + 1;
        if panics.is_power_of_two() {
            tracing::error!(panics, "{what}");
        }
    }
}

/// Looks until stopped. Runs on a thread of its own: reading may take locks, and tokio's threads wait for nobody.
pub(crate) fn run(app: &App) {
    while catch_unwind(AssertUnwindSafe(|| look_on(app))).is_err() {
        app.sampler.panicked("a look panicked, and begins again: something that clients see may be old");
        std::thread::sleep(PERIOD);
    }
}

/// Sees to it that looking goes on, and says when it does not. Counts its own turns rather than time: if the process
/// was stopped for a minute, nobody stood still.
pub(crate) async fn watch(app: Arc<App>, closing: CancellationToken) {
    let sampler = &app.sampler;
    let mut turns = tokio::time::interval(Duration::from_secs(1));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut beats, mut still) = (0, 0);
    while closing.run_until_cancelled(turns.tick()).await.is_some() {
        let before = std::mem::replace(&mut beats, sampler.beats.load(Relaxed));
        still = if beats == before { still + 1 } else { 0 };
        if still == 0 && sampler.trouble.lock().take().is_some() {
            tracing::warn!("the sampler looks again");
        }
        if still == STANDSTILL {
            let reading = sampler.reading.lock().as_ref().map_or("nothing".to_owned(), Address::to_string);
            let trouble = format!(
                "nothing has been sampled for {STANDSTILL} s: the sampler stands still reading {reading}, so streams, \
                 history and effects stand still too: keep what you need of that resource, then restart the daemon"
            );
            tracing::error!("{trouble}");
            *sampler.trouble.lock() = Some(trouble);
        }
    }
}

fn look_on(app: &App) {
    let sampler = &app.sampler;
    let mut next = now();
    for look in sampler.beats.load(Relaxed) + 1.. {
        if sampler.stopped.load(Relaxed) {
            return;
        }
        let began = now();
        sampler.beats.store(look, Relaxed);
        sampler.beat_ms.store(wire::now_ms(), Relaxed);
        take_look(app, look);
        sampler.charge(began);
        next = Moment(next.0 + PERIOD.as_nanos() as u64);
        let at = now();
        if at < next {
            std::thread::sleep(next.since(at));
        } else {
            // Late by a whole period, as after a stop of the process: take up the beat from here.
            next = at;
        }
    }
}

fn take_look(app: &App, look: u64) {
    let sampler = &app.sampler;
    let watched = sampler.frames.receiver_count() > 0;
    let second = look.is_multiple_of(LOOKS_PER_SECOND);
    settle(app);
    if !watched && !second {
        return;
    }
    let resources = app.host.registry.all().into_iter();
    let readings: Vec<_> = resources.filter_map(|resource| read(sampler, resource)).collect();
    if watched {
        let snapshot = api::Snapshot {
            seq: look,
            at_ms: wire::now_ms(),
            uptime_s: app.host.uptime().as_secs_f64(),
            host: app.describe(),
            resources: readings.iter().map(|(resource, reading)| sampler.brief(&**resource, reading)).collect(),
            runs: app.runs.list(),
            last_change: app.host.registry.journal().last_id(),
        };
        let mut line = serde_json::to_vec(&snapshot).unwrap_or_default();
        line.push(b'\n');
        sampler.frames.send_replace(Arc::new(Frame { line: line.into(), seq: look }));
    }
    if second {
        readings.iter().for_each(|(resource, _)| tend(app, &**resource));
        readings.iter().for_each(|(resource, reading)| sampler.log_refusals(resource.address(), reading));
        let spoken = readings.iter().map(|(resource, reading)| (resource.address(), reading));
        let mut history = app.history.lock();
        history.step(wire::now_ms(), spoken);
        if let Some(left_out) = history.news() {
            let (_, limit) = history.left_out();
            tracing::warn!(
                left_out,
                limit,
                "history is full: {left_out} series have no chart, and effects of changes are not measured on them; raise \
                 limits.history_series, at 16 KiB each, or host fewer resources"
            );
        }
        app.measure_effects(&history);
        drop(history);
        sampler.windows.lock().keep(&readings);
    }
}

fn read(sampler: &Sampler, resource: Arc<dyn Resource>) -> Option<(Arc<dyn Resource>, Reading)> {
    *sampler.reading.lock() = Some(resource.address().clone());
    let reading = sampler.read_one(&*resource);
    *sampler.reading.lock() = None;
    reading.map(|reading| (resource, reading))
}

/// Has changes end that had not settled when their turns returned.
fn settle(app: &App) {
    match catch_unwind(AssertUnwindSafe(|| app.host.registry.settle())) {
        Ok(ended) => ended.iter().for_each(|change| {
            let observe::Change { id, address, knob, to, outcome, took, .. } = change;
            tracing::info!(id, %address, knob, %to, ?outcome, ?took, "a change has settled");
        }),
        Err(_) => app.sampler.panicked("a resource panicked when asked whether a change had settled"),
    }
}

/// Lets a resource turn a knob of its own. Named as being read, as it may stand still as well.
fn tend(app: &App, resource: &dyn Resource) {
    let sampler = &app.sampler;
    *sampler.reading.lock() = Some(resource.address().clone());
    let tended = catch_unwind(AssertUnwindSafe(|| app.host.registry.tend(resource, now())));
    *sampler.reading.lock() = None;
    match tended {
        Ok(Some(change)) => {
            let observe::Change { address, knob, from, to, reason, .. } = &change;
            let reason = reason.as_deref().unwrap_or_default();
            tracing::info!(%address, knob, %from, %to, reason, "a resource has turned a knob of its own");
        }
        Ok(None) => {}
        Err(_) => {
            sampler.panicked(&format!("{} panicked when it looked at itself, and stays as it is", resource.address()))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Origin, Overrides};
    use crate::daemon::{Daemon, start};
    use rheostat_api::{Client, Endpoint};
    use rheostat_runtime::observe::{Address, Knob, Reading, Resource, TurnError, Turned, Value, families};
    use rheostat_runtime::sync::Mutex;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// A resource that does when it is read what a test wants it to.
    struct Odd {
        address: Address,
        read: Box<dyn Fn() + Send + Sync>,
    }

    impl Resource for Odd {
        fn address(&self) -> &Address {
            &self.address
        }

        fn read(&self, _: &mut Reading) {
            (self.read)();
        }

        fn knobs(&self) -> Vec<Knob> {
            Vec::new()
        }

        fn turn(&self, knob: &str, _: &Value) -> Result<Turned, TurnError> {
            Err(TurnError::UnknownKnob { resource: self.address.to_string(), knob: knob.to_owned(), has: Vec::new() })
        }
    }

    /// A daemon with one map and one odd resource.
    fn host(folder: &Path, read: impl Fn() + Send + Sync + 'static) -> Daemon {
        let overrides = Overrides {
            socket: Some(folder.join("control.sock")),
            metrics: Some("off".into()),
            state_dir: Some(folder.join("state")),
            ..Overrides::default()
        };
        let config = Config::parse(Origin::Demo, "[map.sound]\n", folder, &overrides).unwrap();
        let daemon = start(config).unwrap();
        let odd = Odd { address: "map.odd".parse().unwrap(), read: Box::new(read) };
        daemon.app().host.registry.add(Arc::new(odd)).unwrap();
        daemon
    }

    fn until(what: &str, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(25), "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_resource_that_panics_when_read_blinds_nobody_to_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = host(folder.path(), || panic!("as the test wants it"));
        let app = daemon.app();
        let frames = app.sampler.attach();
        let panics = || {
            let mut reading = Reading::default();
            app.sampler.read(&mut reading);
            reading.total_of(&families::LOOK_PANICS).unwrap()
        };
        until("a panic, and a frame after it", || panics() > 1 && frames.has_changed().unwrap());
        let line = frames.borrow().line.clone();
        let frame: rheostat_api::Snapshot = serde_json::from_slice(&line).unwrap();
        let shown: Vec<_> = frame.resources.iter().map(|resource| resource.address.as_str()).collect();
        assert!(shown.contains(&"map.sound") && !shown.contains(&"map.odd"), "{shown:?}");
        assert_eq!(app.sampler.trouble(), None, "it looks");
        assert!(String::from_utf8_lossy(&app.exporter.render(app)).contains("map=\"sound\""), "and so does Prometheus");
        daemon.stop();
    }

    #[test]
    fn a_sampler_that_stands_still_is_told_of_until_it_looks_again() {
        let folder = tempfile::tempdir().unwrap();
        let held = Arc::new(Mutex::new(()));
        let blocked = Arc::clone(&held);
        let daemon = host(folder.path(), move || drop(blocked.lock()));
        let client = Client::new(Endpoint::Unix(folder.path().join("control.sock"))).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let ready = || runtime.block_on(client.ready()).map_err(|error| error.to_string());
        assert_eq!(ready(), Ok(()), "it looks");
        let lock = held.lock();
        until("somebody to notice", || daemon.app().sampler.trouble().is_some());
        let refused = ready().unwrap_err();
        assert!(refused.contains("stands still reading map.odd"), "{refused}");
        drop(lock);
        until("it to look again", || ready().is_ok());
        daemon.stop();
    }
}
