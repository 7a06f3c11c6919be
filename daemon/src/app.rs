//! Everything the listeners serve, in one place; each part keeps its own lock.

use crate::config::Config;
use crate::effects::Effects;
use crate::exporter::Exporter;
use crate::history::History;
use crate::host::Host;
use crate::journal::JournalFile;
use crate::process;
use crate::runs::Runs;
use crate::sampler::Sampler;
use crate::server::{Refusal, Traffic};
use crate::wire;
use axum::body::Bytes;
use rheostat_api as api;
use rheostat_runtime::observe::{Outcome, Reading, families};
use rheostat_runtime::sync::Mutex;
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The daemon as its listeners see it.
pub(crate) struct App {
    /// What is in force.
    pub config: Config,
    /// The resources.
    pub host: Host,
    /// The one who looks.
    pub sampler: Sampler,
    /// What was.
    pub history: Mutex<History>,
    /// The last exposition.
    pub exporter: Exporter,
    /// Workload runs.
    pub runs: Arc<Runs>,
    /// How busy the listeners are.
    pub traffic: Arc<Traffic>,
    /// Clients the stream takes.
    pub stream_permits: Arc<Semaphore>,
    /// Ends all streams.
    pub streams_end: CancellationToken,
    journal: Arc<Mutex<JournalFile>>,
    turned: Arc<Turned>,
    effects: Arc<Mutex<Effects>>,
    stopping: AtomicBool,
    document: OnceLock<Bytes>,
}

/// Changes since the start, by outcome.
#[derive(Debug, Default)]
struct Turned {
    applied: AtomicU64,
    settling: AtomicU64,
    failed: AtomicU64,
    unknown: AtomicU64,
}

impl App {
    /// Puts the parts together; from here on every change reaches the journal's file.
    pub(crate) fn new(config: Config, host: Host, journal: JournalFile, effects: Effects, runs: Runs) -> Self {
        let journal = Arc::new(Mutex::new(journal));
        let turned = Arc::new(Turned::default());
        let effects = Arc::new(Mutex::new(effects));
        let (file, counts, listening) = (Arc::clone(&journal), Arc::clone(&turned), Arc::clone(&effects));
        host.registry.journal().on_change(move |change| {
            let count = match change.outcome {
                Outcome::Applied => &counts.applied,
                Outcome::Settling => &counts.settling,
                Outcome::Failed(_) => &counts.failed,
                Outcome::Unknown(_) => &counts.unknown,
            };
            count.fetch_add(1, Relaxed);
            file.lock().write(&wire::change(change));
            listening.lock().heard(change);
        });
        Self {
            history: Mutex::new(History::new(config.limits.history_series)),
            stream_permits: Arc::new(Semaphore::new(config.limits.streams)),
            sampler: Sampler::default(),
            exporter: Exporter::default(),
            traffic: Arc::default(),
            runs: Arc::new(runs),
            streams_end: CancellationToken::new(),
            stopping: AtomicBool::new(false),
            document: OnceLock::new(),
            config,
            host,
            journal,
            turned,
            effects,
        }
    }

    /// Does what may wait for a lock, the disk or a hand-over away from the threads that serve connections.
    pub(crate) async fn aside<T, F>(self: &Arc<Self>, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&App) -> Result<T, Refusal> + Send + 'static,
    {
        let app = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&app)).await {
            Ok(done) => done,
            // The door answers for panics.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Changes after the one of id `since`, oldest first.
    pub(crate) fn changes(&self, since: u64) -> Vec<api::Change> {
        let changes = self.host.registry.journal().since(since);
        let effects = self.effects.lock();
        let effect = |id| effects.of(id).cloned();
        let told = changes.iter().map(|change| api::Change { effect: effect(change.id), ..wire::change(change) });
        let mut told: Vec<_> = told.collect();
        drop(effects);
        self.mark_unwritten(&mut told);
        told
    }

    /// Says of changes which the journal's file does not have.
    pub(crate) fn mark_unwritten(&self, changes: &mut [api::Change]) {
        let journal = self.journal.lock();
        changes.iter_mut().for_each(|change| change.journalled = journal.has(change.id));
    }

    /// A second has passed: what is known now of earlier changes goes into the journal, and what had no room there.
    pub(crate) fn measure_effects(&self, history: &History) {
        let measured = self.effects.lock().step(history);
        self.journal.lock().catch_up();
        for (change, effect) in measured {
            self.journal.lock().write(&api::Change { effect: Some(effect), ..wire::change(&change) });
        }
    }

    /// Writes what waits in memory for room in the journal's file, or says what is lost with it.
    pub(crate) fn end_journal(&self) {
        let mut journal = self.journal.lock();
        if !journal.catch_up() {
            tracing::error!(
                lines = journal.waiting(),
                "changes that could not be written to the journal file end with the daemon"
            );
        }
    }

    /// The host in brief.
    pub(crate) fn describe(&self) -> api::Host {
        let process = process::brief();
        api::Host {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            cores: std::thread::available_parallelism()
                .map_or(0, |cores| u32::try_from(cores.get()).unwrap_or_default()),
            config: self.config.origin.to_string(),
            cpu_seconds: process.cpu_seconds,
            rss_bytes: process.rss_bytes,
            threads: process.threads,
            cpu_pressure: process.cpu_pressure,
            self_seconds: self.sampler.self_nanos() as f64 * 1e-9,
            clients: self.traffic.streaming(),
            history_left_out: self.history.lock().left_out().0,
        }
    }

    /// Says what the host itself has to say, process and pressure apart.
    pub(crate) fn read(&self, reading: &mut Reading) {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        reading.level(&families::BUILD_INFO, &[env!("CARGO_PKG_VERSION"), profile], 1.0);
        reading.level(&families::UPTIME, &[], self.host.uptime().as_nanos() as f64);
        reading.total(&families::CHANGES, &["applied"], self.turned.applied.load(Relaxed));
        reading.total(&families::CHANGES, &["settling"], self.turned.settling.load(Relaxed));
        reading.total(&families::CHANGES, &["failed"], self.turned.failed.load(Relaxed));
        reading.total(&families::CHANGES, &["unknown"], self.turned.unknown.load(Relaxed));
        reading.total(&families::JOURNAL_ERRORS, &[], self.journal.lock().errors());
        self.runs.read(reading);
        self.traffic.read(reading);
        reading.total(&families::SERIES_REJECTED, &[], self.history.lock().rejected());
        self.sampler.read(reading);
        reading.total(&families::SELF_TIME, &[], self.sampler.self_nanos());
        for (name, limit) in self.config.limits.named() {
            reading.level(&families::LIMIT, &[name], limit as f64);
        }
    }

    /// The OpenAPI document, as JSON.
    pub(crate) fn document(&self) -> Bytes {
        self.document.get().cloned().unwrap_or_default()
    }

    pub(crate) fn publish(&self, document: &utoipa::openapi::OpenApi) {
        let text = document.to_json().unwrap_or_default();
        // Set once, when the routes are made.
        let _ = self.document.set(text.into());
    }

    /// Whether stopping has begun.
    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    pub(crate) fn begin_stop(&self) {
        self.stopping.store(true, Relaxed);
    }
}
