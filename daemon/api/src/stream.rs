//! The stream: one whole snapshot four times a second, never a queue of them.

use crate::{Resource, Run};
use serde::{Deserialize, Serialize};

/// Everything a dashboard shows, at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Snapshot {
    /// Rises by one with each snapshot of a host; a gap means that a slow client was spared some.
    pub seq: u64,
    /// When, in milliseconds since 1970, by the host's clock.
    pub at_ms: u64,
    /// Monotonic seconds since the host started: take differences of this for rates.
    pub uptime_s: f64,
    /// The host itself.
    pub host: Host,
    /// Every resource, ordered by address; stages follow their pipeline in the order of its flow.
    pub resources: Vec<Resource>,
    /// Runs queued, running and lately finished.
    pub runs: Vec<Run>,
    /// Id of the newest change.
    pub last_change: u64,
}

/// The host of the resources.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Host {
    /// Version of the daemon.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Cores it may use.
    pub cores: u32,
    /// Which configuration it hosts: a file's path, or `demo`.
    pub config: String,
    /// CPU seconds used so far.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// Threads.
    pub threads: u32,
    /// Share of the last ten seconds in which some task waited for a CPU; absent where the kernel does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_pressure: Option<f64>,
    /// Seconds the host spent on reading, keeping and exposing figures so far.
    pub self_seconds: f64,
    /// Clients attached to the stream.
    pub clients: u32,
    /// Series that history had no room for at the last second: their charts stay empty, and effects of changes are not
    /// measured on them, until `limits.history_series` is raised.
    #[serde(default)]
    pub history_left_out: u64,
}
