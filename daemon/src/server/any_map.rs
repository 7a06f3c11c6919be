//! A hosted map, whatever it holds. Routes are written against this alone: a further kind of map is a variant more here
//! and none there.

use super::refusal::Refusal;
use crate::app::App;
use axum::http::StatusCode;
use rheostat_api::{ByteString, Entry, MapOp, MapOutcome, MapValue, Scan};
use rheostat_runtime::map::{BytesMap, CounterMap, Cursor, CursorError, Hosted, HostedMap, MapError};
use rheostat_runtime::observe::{Address, Kind, Resource};
use std::any::Any;
use std::sync::Arc;

pub(super) enum AnyMap {
    Counters(Arc<CounterMap>),
    Bytes(Arc<BytesMap>),
}

/// What a map of some kind does for the routes.
trait Served: Hosted {
    /// What a value is on the wire.
    fn shown(self) -> MapValue;
    /// The value behind what came over the wire.
    fn taken(map: &HostedMap<Self>, value: &MapValue) -> Result<Self, Refusal>;
    fn add(map: &HostedMap<Self>, key: &[u8], by: i64) -> Result<Self, Refusal>;
    /// Whether there is anything to add to.
    fn adds(map: &HostedMap<Self>) -> Result<(), Refusal>;
}

impl Served for i64 {
    fn shown(self) -> MapValue {
        MapValue::Counter(self)
    }

    fn taken(map: &HostedMap<Self>, value: &MapValue) -> Result<Self, Refusal> {
        let counter = match value {
            MapValue::Counter(counter) => Some(*counter),
            MapValue::Bytes(bytes) => bytes.as_text().and_then(|text| text.parse().ok()),
        };
        // The least of all 64-bit numbers is not among them: a counter's cell has another use for it.
        counter.filter(|&counter| counter > i64::MIN).ok_or_else(|| {
            let detail = format!(
                "{} holds counters: send a whole number from {} to {} as the value",
                map.address(),
                -i64::MAX,
                i64::MAX
            );
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-type", detail)
        })
    }

    fn add(map: &HostedMap<Self>, key: &[u8], by: i64) -> Result<Self, Refusal> {
        Ok(map.add(key, by)?)
    }

    fn adds(_: &HostedMap<Self>) -> Result<(), Refusal> {
        Ok(())
    }
}

impl Served for Arc<[u8]> {
    fn shown(self) -> MapValue {
        MapValue::Bytes(ByteString(self.to_vec()))
    }

    fn taken(map: &HostedMap<Self>, value: &MapValue) -> Result<Self, Refusal> {
        let MapValue::Bytes(ByteString(bytes)) = value else {
            let detail =
                format!("{} holds byte strings: send a text or {{\"base64\": \"...\"}} as the value", map.address());
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-type", detail));
        };
        match map.limits().value_bytes_max {
            max if bytes.len() > max => {
                let map = map.address().to_string();
                Err(MapError::ValueTooLong { map, bytes: bytes.len(), max }.into())
            }
            _ => Ok(bytes.as_slice().into()),
        }
    }

    fn add(map: &HostedMap<Self>, _: &[u8], _: i64) -> Result<Self, Refusal> {
        Err(no_counters(map.address()))
    }

    fn adds(map: &HostedMap<Self>) -> Result<(), Refusal> {
        Err(no_counters(map.address()))
    }
}

impl From<MapError> for Refusal {
    fn from(error: MapError) -> Self {
        let (status, kind) = match &error {
            MapError::KeyTooLong { .. } | MapError::ValueTooLong { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-long"),
            // No time lifts it, but whoever removes entries or raises the limit.
            _ => (StatusCode::CONFLICT, "map-full"),
        };
        Self::new(status, kind, error.to_string())
    }
}

fn no_counters(address: &Address) -> Refusal {
    let detail = format!("{address} does not hold counters: there is nothing to add to or to rank");
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "no-counters", detail)
}

impl AnyMap {
    /// The map of that name, whoever hosts it: the configuration or a run under way.
    pub(super) fn find(app: &App, name: &str) -> Result<Self, Refusal> {
        let address = Address::new(Kind::Map, name)?;
        let resource: Arc<dyn Any + Send + Sync> = app.host.registry.get(&address)?;
        let resource = match resource.downcast() {
            Ok(counters) => return Ok(Self::Counters(counters)),
            Err(other) => other,
        };
        resource.downcast().map(Self::Bytes).map_err(|_| {
            let detail = format!("{address} holds what this API does not spell");
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "no-such-values", detail)
        })
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<MapValue> {
        match self {
            Self::Counters(map) => map.get(key).map(Served::shown),
            Self::Bytes(map) => map.get(key).map(Served::shown),
        }
    }

    pub(super) fn top(&self, n: usize) -> Result<Vec<Entry>, Refusal> {
        match self {
            Self::Counters(map) => Ok(map.top(n).into_iter().map(entry).collect()),
            Self::Bytes(map) => Err(no_counters(map.address())),
        }
    }

    pub(super) fn scan(&self, cursor: Option<String>, limit: usize) -> Result<Scan, Refusal> {
        let refuse = |error: CursorError| Refusal::new(StatusCode::BAD_REQUEST, "no-cursor", error.to_string());
        let cursor = cursor.map(|cursor| cursor.parse().map_err(refuse)).transpose()?;
        Ok(match self {
            Self::Counters(map) => page(map, cursor, limit),
            Self::Bytes(map) => page(map, cursor, limit),
        })
    }

    /// Refuses what could not be done at any time: keys and values that are too long, or of the wrong kind.
    pub(super) fn check(&self, op: &MapOp) -> Result<(), Refusal> {
        match self {
            Self::Counters(map) => check(map, op),
            Self::Bytes(map) => check(map, op),
        }
    }

    /// Does it, or refuses and changes nothing.
    pub(super) fn apply(&self, op: &MapOp) -> Result<MapOutcome, Refusal> {
        match self {
            Self::Counters(map) => apply(map, op),
            Self::Bytes(map) => apply(map, op),
        }
    }
}

fn check<V: Served>(map: &HostedMap<V>, op: &MapOp) -> Result<(), Refusal> {
    let (MapOp::Get { key } | MapOp::Put { key, .. } | MapOp::Add { key, .. } | MapOp::Delete { key }) = op;
    let (bytes, max) = (key.0.len(), map.limits().key_bytes_max);
    if bytes > max {
        return Err(MapError::KeyTooLong { map: map.address().to_string(), bytes, max }.into());
    }
    match op {
        MapOp::Put { value, .. } => V::taken(map, value).map(drop),
        MapOp::Add { .. } => V::adds(map),
        MapOp::Get { .. } | MapOp::Delete { .. } => Ok(()),
    }
}

fn apply<V: Served>(map: &HostedMap<V>, op: &MapOp) -> Result<MapOutcome, Refusal> {
    let mut outcome = MapOutcome::default();
    match op {
        MapOp::Get { key } => outcome.value = map.get(&key.0).map(V::shown),
        MapOp::Put { key, value } => outcome.previous = map.insert(&key.0, V::taken(map, value)?)?.map(V::shown),
        MapOp::Add { key, by } => outcome.value = Some(V::add(map, &key.0, *by)?.shown()),
        MapOp::Delete { key } => outcome.previous = map.remove(&key.0).map(V::shown),
    }
    Ok(outcome)
}

fn page<V: Served>(map: &HostedMap<V>, cursor: Option<Cursor>, limit: usize) -> Scan {
    let (entries, next) = map.scan(cursor, limit);
    Scan { entries: entries.into_iter().map(entry).collect(), next: next.map(|next| next.to_string()) }
}

fn entry<V: Served>((key, value): (Box<[u8]>, V)) -> Entry {
    Entry { key: ByteString(key.into()), value: value.shown() }
}
