//! A hosted map, whatever it holds. Routes are written against this alone: a further kind of map is a variant more here
//! and none there.

use super::refusal::Refusal;
use crate::app::App;
use axum::http::StatusCode;
use rheostat_api::{ByteString, Entry, MapOp, MapOutcome, MapValue, Scan};
use rheostat_runtime::map::{
    Bytes, BytesMap, CounterMap, Cursor, CursorError, Hosted, HostedKey, HostedMap, MapError, WordMap,
};
use rheostat_runtime::observe::{Address, Kind, Resource};
use rheostat_runtime::pool::PoolError;
use std::any::Any;
use std::borrow::Borrow;
use std::sync::Arc;

pub(super) enum AnyMap {
    Counters(Arc<CounterMap>),
    Bytes(Arc<BytesMap>),
    Words(Arc<WordMap>),
}

/// What a key of some kind is on the wire: a byte string always, which spells a number where keys are numbers.
trait ServedKey: HostedKey {
    fn shown(self) -> ByteString;
    /// The key behind what came over the wire.
    fn taken(address: &Address, key: &[u8]) -> Result<Self, Refusal>;
}

impl ServedKey for Box<[u8]> {
    fn shown(self) -> ByteString {
        ByteString(self.into())
    }

    fn taken(_: &Address, key: &[u8]) -> Result<Self, Refusal> {
        Ok(key.into())
    }
}

impl ServedKey for u64 {
    fn shown(self) -> ByteString {
        self.to_string().as_str().into()
    }

    fn taken(address: &Address, key: &[u8]) -> Result<Self, Refusal> {
        word(key).ok_or_else(|| {
            let detail = format!(
                "{address} holds words: send a text that spells a whole number from 0 to {} as the key",
                u64::MAX
            );
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-type", detail)
        })
    }
}

/// The number that a text spells in digits alone, so that a key has one spelling.
fn word(text: &[u8]) -> Option<u64> {
    let number: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

/// What a map of some kind does for the routes.
trait Served: Hosted<Key: ServedKey> {
    /// What a value is on the wire.
    fn shown(self) -> MapValue;
    /// The value behind what came over the wire.
    fn taken(map: &HostedMap<Self>, value: &MapValue) -> Result<Self, Refusal>;
    /// Whether there could be one at any time.
    fn could_be_taken(map: &HostedMap<Self>, value: &MapValue) -> Result<(), Refusal> {
        Self::taken(map, value).map(drop)
    }
    /// What it holds, in words.
    const HOLDS: &str;
    /// Adds, where there is anything to add to.
    fn add(map: &HostedMap<Self>, _: &Self::Key, _: i64) -> Result<Self, Refusal> {
        Err(no_counters(map, TO_ADD))
    }
    /// Whether there is.
    fn adds(map: &HostedMap<Self>) -> Result<(), Refusal> {
        Err(no_counters(map, TO_ADD))
    }
}

impl Served for i64 {
    const HOLDS: &str = "counters";

    fn shown(self) -> MapValue {
        MapValue::Counter(self)
    }

    fn taken(map: &HostedMap<Self>, value: &MapValue) -> Result<Self, Refusal> {
        let counter = match value {
            MapValue::Counter(counter) => Some(*counter),
            MapValue::Word(_) => None,
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

    fn add(map: &HostedMap<Self>, key: &Box<[u8]>, by: i64) -> Result<Self, Refusal> {
        Ok(map.add(key, by)?)
    }

    fn adds(_: &HostedMap<Self>) -> Result<(), Refusal> {
        Ok(())
    }
}

impl Served for Bytes {
    const HOLDS: &str = "byte strings";

    fn shown(self) -> MapValue {
        MapValue::Bytes(ByteString(self.to_vec()))
    }

    fn taken(map: &HostedMap<Self>, value: &MapValue) -> Result<Self, Refusal> {
        Ok(map.value(byte_string(map, value)?)?)
    }

    /// Takes no block of the pool that values live in: whether there is one is found out when it is wanted.
    fn could_be_taken(map: &HostedMap<Self>, value: &MapValue) -> Result<(), Refusal> {
        let (bytes, max) = (byte_string(map, value)?.len(), map.limits().value_bytes_max);
        if bytes > max {
            return Err(MapError::ValueTooLong { map: map.address().to_string(), bytes, max }.into());
        }
        Ok(())
    }
}

fn byte_string<'v>(map: &BytesMap, value: &'v MapValue) -> Result<&'v [u8], Refusal> {
    let MapValue::Bytes(ByteString(bytes)) = value else {
        let detail =
            format!("{} holds byte strings: send a text or {{\"base64\": \"...\"}} as the value", map.address());
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-type", detail));
    };
    Ok(bytes)
}

impl Served for u64 {
    const HOLDS: &str = "words";

    fn shown(self) -> MapValue {
        MapValue::word(self)
    }

    fn taken(map: &HostedMap<Self>, value: &MapValue) -> Result<Self, Refusal> {
        let number = match value {
            MapValue::Counter(number) => u64::try_from(*number).ok(),
            MapValue::Word(number) => Some(*number),
            MapValue::Bytes(ByteString(text)) => word(text),
        };
        number.ok_or_else(|| {
            let detail =
                format!("{} holds words: send a whole number from 0 to {} as the value", map.address(), u64::MAX);
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-type", detail)
        })
    }
}

impl From<MapError> for Refusal {
    fn from(error: MapError) -> Self {
        let (status, kind) = match &error {
            MapError::KeyTooLong { .. }
            | MapError::ValueTooLong { .. }
            | MapError::Pool { why: PoolError::TooLong { .. }, .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-long"),
            // No time lifts it, but whoever frees blocks, raises the limit or turns the level.
            MapError::Pool { .. } => (StatusCode::CONFLICT, "no-block"),
            // No time lifts it, but whoever removes entries or raises the limit.
            _ => (StatusCode::CONFLICT, "map-full"),
        };
        Self::new(status, kind, error.to_string())
    }
}

/// What goes with counters alone, and what does with other values instead.
const TO_ADD: &str = "which cannot be added to; put another value in place of the one that is there";
const TO_RANK: &str = "which are not ranked; scan it for all entries, or get the value of a key";

fn no_counters<V: Served>(map: &HostedMap<V>, instead: &str) -> Refusal {
    let detail = format!("{} holds {}, {instead}", map.address(), V::HOLDS);
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
        let resource = match resource.downcast() {
            Ok(bytes) => return Ok(Self::Bytes(bytes)),
            Err(other) => other,
        };
        resource.downcast().map(Self::Words).map_err(|_| {
            let detail = format!("{address} holds what this API does not spell");
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "no-such-values", detail)
        })
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<MapValue>, Refusal> {
        match self {
            Self::Counters(map) => get(map, key),
            Self::Bytes(map) => get(map, key),
            Self::Words(map) => get(map, key),
        }
    }

    pub(super) fn top(&self, n: usize) -> Result<Vec<Entry>, Refusal> {
        match self {
            Self::Counters(map) => Ok(map.top(n).into_iter().map(entry).collect()),
            Self::Bytes(map) => Err(no_counters(map, TO_RANK)),
            Self::Words(map) => Err(no_counters(map, TO_RANK)),
        }
    }

    pub(super) fn scan(&self, cursor: Option<String>, limit: usize) -> Result<Scan, Refusal> {
        let refuse = |error: CursorError| Refusal::new(StatusCode::BAD_REQUEST, "no-cursor", error.to_string());
        let cursor = cursor.map(|cursor| cursor.parse().map_err(refuse)).transpose()?;
        Ok(match self {
            Self::Counters(map) => page(map, cursor, limit),
            Self::Bytes(map) => page(map, cursor, limit),
            Self::Words(map) => page(map, cursor, limit),
        })
    }

    /// Refuses what could not be done at any time: keys and values that are too long, or of the wrong kind.
    pub(super) fn check(&self, op: &MapOp) -> Result<(), Refusal> {
        match self {
            Self::Counters(map) => check(map, op),
            Self::Bytes(map) => check(map, op),
            Self::Words(map) => check(map, op),
        }
    }

    /// Does it, or refuses and changes nothing.
    pub(super) fn apply(&self, op: &MapOp) -> Result<MapOutcome, Refusal> {
        match self {
            Self::Counters(map) => apply(map, op),
            Self::Bytes(map) => apply(map, op),
            Self::Words(map) => apply(map, op),
        }
    }
}

fn get<V: Served>(map: &HostedMap<V>, key: &[u8]) -> Result<Option<MapValue>, Refusal> {
    let key = V::Key::taken(map.address(), key)?;
    Ok(map.get(key.borrow()).map(V::shown))
}

fn check<V: Served>(map: &HostedMap<V>, op: &MapOp) -> Result<(), Refusal> {
    let (MapOp::Get { key } | MapOp::Put { key, .. } | MapOp::Add { key, .. } | MapOp::Delete { key }) = op;
    let (bytes, max) = (key.0.len(), map.limits().key_bytes_max);
    if bytes > max {
        return Err(MapError::KeyTooLong { map: map.address().to_string(), bytes, max }.into());
    }
    V::Key::taken(map.address(), &key.0)?;
    match op {
        MapOp::Put { value, .. } => V::could_be_taken(map, value),
        MapOp::Add { .. } => V::adds(map),
        MapOp::Get { .. } | MapOp::Delete { .. } => Ok(()),
    }
}

fn apply<V: Served>(map: &HostedMap<V>, op: &MapOp) -> Result<MapOutcome, Refusal> {
    let mut outcome = MapOutcome::default();
    let key = |key: &ByteString| V::Key::taken(map.address(), &key.0);
    match op {
        MapOp::Get { key } => outcome.value = get(map, &key.0)?,
        MapOp::Put { key: at, value } => {
            outcome.previous = map.insert(key(at)?.borrow(), V::taken(map, value)?)?.map(V::shown);
        }
        MapOp::Add { key: at, by } => outcome.value = Some(V::add(map, &key(at)?, *by)?.shown()),
        MapOp::Delete { key: at } => outcome.previous = map.remove(key(at)?.borrow()).map(V::shown),
    }
    Ok(outcome)
}

fn page<V: Served>(map: &HostedMap<V>, cursor: Option<Cursor>, limit: usize) -> Scan {
    let (entries, next) = map.scan(cursor, limit);
    Scan { entries: entries.into_iter().map(entry).collect(), next: next.map(|next| next.to_string()) }
}

fn entry<V: Served>((key, value): (V::Key, V)) -> Entry {
    Entry { key: key.shown(), value: value.shown() }
}
