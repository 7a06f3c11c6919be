//! How busy the control listeners are.

use rheostat_runtime::observe::{Reading, families};
use rheostat_runtime::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Counts of connections and requests. Off any hot path, so plain atomics.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    opened: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
    classes: [AtomicU64; 3],
    streaming: AtomicI64,
}

/// An open connection; counted as closed when dropped.
pub(super) struct Open<'t>(&'t Traffic);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Relaxed);
    }
}

impl Traffic {
    pub(super) fn open(&self) -> Open<'_> {
        self.opened.fetch_add(1, Relaxed);
        Open(self)
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn answered(&self, status: u16) {
        let class = match status {
            ..400 => 0,
            400..500 => 1,
            500.. => 2,
        };
        self.classes[class].fetch_add(1, Relaxed);
    }

    pub(super) fn stream(&self, clients: i64) {
        self.streaming.fetch_add(clients, Relaxed);
    }

    /// Clients attached to the stream.
    pub(crate) fn streaming(&self) -> u32 {
        u32::try_from(self.streaming.load(Relaxed)).unwrap_or_default()
    }

    /// Says all of it.
    pub(crate) fn read(&self, reading: &mut Reading) {
        let closed = self.closed.load(Relaxed);
        let open = self.opened.load(Relaxed).saturating_sub(closed);
        reading.level(&families::CONNECTIONS, &[], open as f64);
        reading.total(&families::CONNECTIONS_REFUSED, &[], self.refused.load(Relaxed));
        for (class, count) in ["2xx", "4xx", "5xx"].into_iter().zip(&self.classes) {
            reading.total(&families::REQUESTS, &[class], count.load(Relaxed));
        }
        reading.level(&families::STREAM_CLIENTS, &[], f64::from(self.streaming()));
    }
}
