//! What was written: every setting optional, each value with the place it stands at.

use rheostat_runtime::{map, pool, queue};
use rheostat_workloads::unit::{Dimension, Quantity};
use serde::de::{Error, Unexpected, Visitor};
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
    pub large_os_pages: Written<Switch>,
    pub purge_delay_ms: Written<i64>,
    pub statistics_at_exit: Written<Switch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RawEagerCommit {
    Auto,
    Switched(Switch),
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    pub header_bytes: Written<Size>,
    pub headers: Written<i64>,
    pub header_timeout_ms: Written<i64>,
    pub body_bytes: Written<Size>,
    pub upload_bytes: Written<Size>,
    pub request_timeout_ms: Written<i64>,
    pub connections: Written<i64>,
    pub connections_reserved: Written<i64>,
    pub streams: Written<i64>,
    pub runs_queued: Written<i64>,
    pub history_series: Written<i64>,
    pub operations: Written<i64>,
    pub key_bytes: Written<Size>,
    pub value_bytes: Written<Size>,
    pub journal_bytes: Written<Size>,
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
    pub bytes_max: Written<Size>,
    pub turn_bytes_max: Written<Size>,
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
    pub bytes_max: Written<Size>,
    pub bytes_initial: Written<Size>,
    pub alignment: Written<i64>,
    pub cache_bytes: Written<Size>,
    pub idle_bytes: Written<Size>,
    pub huge_pages: Written<Switch>,
    pub guarded: Written<Switch>,
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
    pub repeat: Written<Switch>,
    pub bytes_per_second: Written<Pace>,
    pub stdin: Written<Switch>,
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

/// A switch: on or off, as knobs spell it, or true or false.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Switch(pub bool);

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = Switch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"on\" or \"off\"")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<Switch, E> {
                Ok(Switch(on))
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Switch, E> {
                match word {
                    "on" => Ok(Switch(true)),
                    "off" => Ok(Switch(false)),
                    _ => Err(E::invalid_value(Unexpected::Str(word), &self)),
                }
            }
        }
        deserializer.deserialize_any(Words)
    }
}

impl Serialize for Switch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0 { "on" } else { "off" })
    }
}

impl<'de> Deserialize<'de> for RawEagerCommit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = RawEagerCommit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\", \"on\" or \"off\"")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<RawEagerCommit, E> {
                Ok(RawEagerCommit::Switched(Switch(on)))
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<RawEagerCommit, E> {
                match word {
                    "auto" => Ok(RawEagerCommit::Auto),
                    "on" => self.visit_bool(true),
                    "off" => self.visit_bool(false),
                    _ => Err(E::invalid_value(Unexpected::Str(word), &self)),
                }
            }
        }
        deserializer.deserialize_any(Words)
    }
}

impl Serialize for RawEagerCommit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            RawEagerCommit::Auto => serializer.serialize_str("auto"),
            RawEagerCommit::Switched(switch) => switch.serialize(serializer),
        }
    }
}

/// Bytes: a whole number, or a text with a unit as workloads have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub i64);

/// Bytes per second, written likewise, with `/s` or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace(pub i64);

/// Reads either.
struct Bytes {
    expected: &'static str,
    takes: &'static [Dimension],
}

impl Visitor<'_> for Bytes {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<i64, E> {
        Ok(bytes)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i64, E> {
        let size = Quantity::parse(text).filter(|size| self.takes.contains(&size.dimension));
        // Whole, and no more than a float holds exactly.
        let whole = size.filter(|size| size.base.fract() == 0.0 && size.base <= (1_u64 << 53) as f64);
        whole.map(|size| size.base as i64).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a number of bytes, such as 65536 or \"64KiB\"";
        deserializer.deserialize_any(Bytes { expected, takes: &[Dimension::Size] }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Pace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "bytes per second, such as 4194304 or \"4MiB/s\"";
        deserializer.deserialize_any(Bytes { expected, takes: &[Dimension::ByteRate, Dimension::Size] }).map(Self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl Serialize for Pace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl From<Size> for i64 {
    fn from(size: Size) -> Self {
        size.0
    }
}

impl From<Pace> for i64 {
    fn from(pace: Pace) -> Self {
        pace.0
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
