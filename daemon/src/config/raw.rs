//! What was written: every setting optional, each value with the place it stands at.

use rheostat_runtime::{map, pool, queue};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_spanned::Spanned;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

pub(super) type Written<T> = Option<Spanned<T>>;
pub(super) type Named<T> = BTreeMap<Spanned<String>, T>;

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub control: RawControl,
    pub metrics: RawMetrics,
    pub allocator: RawAllocator,
    pub limits: RawLimits,
    pub stop: RawStop,
    pub state: RawState,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub map: Named<RawMap>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub queue: Named<RawQueue>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pool: Named<RawPool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scheduler: Named<RawScheduler>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pipeline: Named<RawPipeline>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawControl {
    pub socket: Written<String>,
    pub listen: Written<String>,
    pub token_file: Written<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMetrics {
    pub listen: Written<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAllocator {
    pub eager_commit: Written<RawEagerCommit>,
    pub large_os_pages: Written<bool>,
    pub purge_delay_ms: Written<i64>,
    pub statistics_at_exit: Written<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawEagerCommit {
    Auto,
    On,
    Off,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    pub header_bytes: Written<i64>,
    pub headers: Written<i64>,
    pub header_timeout_ms: Written<i64>,
    pub body_bytes: Written<i64>,
    pub upload_bytes: Written<i64>,
    pub request_timeout_ms: Written<i64>,
    pub connections: Written<i64>,
    pub connections_reserved: Written<i64>,
    pub streams: Written<i64>,
    pub runs_queued: Written<i64>,
    pub history_series: Written<i64>,
    pub operations: Written<i64>,
    pub key_bytes: Written<i64>,
    pub value_bytes: Written<i64>,
    pub journal_bytes: Written<i64>,
    pub workers: Written<i64>,
    pub batch: Written<i64>,
    pub capacity: Written<i64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStop {
    pub limit_ms: Written<i64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawState {
    pub dir: Written<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMap {
    pub values: Written<RawValues>,
    pub pool: Written<String>,
    pub backend: Written<Spelled<map::Backend>>,
    pub buckets: Written<i64>,
    pub entries_max: Written<i64>,
    pub bytes_max: Written<i64>,
    pub turn_bytes_max: Written<i64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawQueue {
    pub kind: Written<Spelled<queue::Kind>>,
    pub capacity: Written<i64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPool {
    pub preset: Written<Spelled<pool::Preset>>,
    pub level: Written<Spelled<pool::LevelAsked>>,
    pub bytes_max: Written<i64>,
    pub bytes_initial: Written<i64>,
    pub alignment: Written<i64>,
    pub cache_bytes: Written<i64>,
    pub idle_bytes: Written<i64>,
    pub huge_pages: Written<bool>,
    pub guarded: Written<bool>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawScheduler {
    pub threads: Written<i64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPipeline {
    pub source: Written<RawSource>,
    pub pool: Written<String>,
    pub stage: Vec<Spanned<RawStage>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSource {
    pub files: Written<Vec<String>>,
    pub base: Written<String>,
    pub repeat: Written<bool>,
    pub bytes_per_second: Written<i64>,
    pub stdin: Written<bool>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStage {
    pub name: Written<String>,
    pub op: Written<RawOp>,
    pub contains: Written<String>,
    pub regex: Written<String>,
    pub map: Written<String>,
    pub path: Written<String>,
    pub workers: Written<i64>,
    pub batch: Written<i64>,
    pub capacity: Written<i64>,
}

/// Spelled as the runtime spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spelled<T>(pub T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Spelled<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

impl<T: fmt::Display> Serialize for Spelled<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawValues {
    Counters,
    Bytes,
    Words,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawOp {
    Lines,
    Words,
    Filter,
    Count,
    Write,
}
