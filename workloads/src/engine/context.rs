//! What a run is given, and how it is followed and stopped from outside.

use rheostat_api as api;
use rheostat_runtime::observe::Registry;
use rheostat_runtime::sync::atomic::{AtomicBool, Ordering::Relaxed};
use rheostat_runtime::sync::{Arc, Mutex};

/// Where a run takes place.
#[derive(Clone)]
pub struct Context {
    /// The host: targets are made in it for the time of the run, so that everyone sees them.
    pub registry: Arc<Registry>,
    /// Names the run, in the result and as the actor of its changes.
    pub run: String,
    /// Stops it.
    pub cancel: Cancel,
    /// How far it is.
    pub progress: Arc<Progress>,
}

impl Context {
    /// A run of that name on that host.
    pub fn new(registry: Arc<Registry>, run: impl Into<String>) -> Self {
        Self { registry, run: run.into(), cancel: Cancel::default(), progress: Arc::default() }
    }
}

/// A request to stop. Copies share it.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the run to stop: it issues nothing more, drains what is on its way for at most five seconds, checks what
    /// was done, and returns a result that says so.
    pub fn cancel(&self) {
        // Relaxed: it carries nothing but itself.
        self.0.store(true, Relaxed);
    }

    /// True once [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// How far a run is, for whoever polls. Written by the run some times a second.
#[derive(Debug, Default)]
pub struct Progress(Mutex<api::Progress>);

impl Progress {
    /// The latest.
    pub fn get(&self) -> api::Progress {
        self.0.lock().clone()
    }

    pub(super) fn set(&self, progress: api::Progress) {
        *self.0.lock() = progress;
    }
}
