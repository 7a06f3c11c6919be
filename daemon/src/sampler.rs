//! Looks at everything four times a second, for all who want to know: one read, one text, any number of clients.
//!
//! Every look makes a frame for the stream, if anybody is attached; every fourth feeds history and the windows that
//! quantiles are taken over. The frame is put into words once and handed out by reference; a client that is slow
//! finds only the newest.

use crate::app::App;
use crate::history::Key;
use crate::wire;
use axum::body::Bytes;
use rheostat_api as api;
use rheostat_runtime::observe::{Measure, Moment, Reading, Resource, Sample, Snapshot, now};
use rheostat_runtime::sync::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::watch;

const PERIOD: Duration = Duration::from_millis(250);
const LOOKS_PER_SECOND: u64 = 4;
/// Seconds that quantiles cover.
const WINDOW: usize = 5;

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
}

/// Looks until stopped. Runs on a thread of its own: reading may take locks, and tokio's threads wait for nobody.
pub(crate) fn run(app: &App) {
    let sampler = &app.sampler;
    let mut next = now();
    for look in 1u64.. {
        if sampler.stopped.load(Relaxed) {
            return;
        }
        let began = now();
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
    if !watched && !second {
        return;
    }
    let readings: Vec<_> = app.host.registry.all().into_iter().map(read).collect();
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
        let spoken = readings.iter().map(|(resource, reading)| (resource.address(), reading));
        let mut history = app.history.lock();
        history.step(wire::now_ms(), spoken);
        app.measure_effects(&history);
        drop(history);
        sampler.windows.lock().keep(&readings);
    }
}

fn read(resource: Arc<dyn Resource>) -> (Arc<dyn Resource>, Reading) {
    let mut reading = Reading::default();
    resource.read(&mut reading);
    (resource, reading)
}
