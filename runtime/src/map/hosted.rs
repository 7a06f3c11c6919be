//! Maps that a host runs: limits, and counts of everything they do.

use super::handover::Phase;
use super::podium::Podium;
use super::room::{Lack, MapLimits, Room};
use super::values::{Hosted, HostedKey};
use super::{Backend, Bytes, Cursor, FIXED_BUCKETS, Handover, HandoverRefused, Handovers, Map, Page, SampledStalls};
use crate::observe::families::{
    MAP_BACKEND, MAP_BYTES, MAP_BYTES_LIMIT, MAP_CAS_FAILURES, MAP_CONTENTION_SEEN, MAP_ENTRIES, MAP_ENTRIES_LIMIT,
    MAP_GROWTH, MAP_HANDOVER_FAILURES, MAP_HANDOVER_KEYS, MAP_HANDOVER_LOCK_WAITS, MAP_HANDOVER_MOVED,
    MAP_HANDOVER_MOVES, MAP_HANDOVER_PHASE, MAP_HANDOVER_RETRIES, MAP_HANDOVER_STALL, MAP_HANDOVERS, MAP_HELPS,
    MAP_LOAD, MAP_LOCK_CONTENTIONS, MAP_LOCK_WAIT, MAP_MIGRATED, MAP_OPS, MAP_PROBE_MAX, MAP_PROBE_MEAN, MAP_REFUSED,
    MAP_RESIZES, MAP_SAMPLED_OPS, MAP_SAMPLED_STALL, MAP_SAMPLED_STALLS, MAP_SEQLOCK_FALLBACKS, MAP_SEQLOCK_RETRIES,
    MAP_SHARD_CONTENTIONS, MAP_SHARD_OPS, MAP_SHARD_SKEW,
};
use crate::observe::{
    Address, AddressError, Cells, Kind, Knob, Range, Reading, Resource, TurnError, Turned, Value, now, words,
};
use crate::pool::{Pool, PoolError};
use crate::sync::Arc;

use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

/// Counters by byte string, added to in place.
pub type CounterMap = HostedMap<i64>;
/// Byte strings by byte string. Values are shared, so that reading one copies no bytes under a lock. They live on the heap,
/// or in a pool ([`BytesMap::in_pool`]). Keys live on the heap in either case, as those of counters do, and so do the tables.
pub type BytesMap = HostedMap<Bytes>;
/// Words by word, both plain data.
pub type WordMap = HostedMap<u64>;

/// How a key of such a map is spelled by those who look it up.
type Spelled<V> = <<V as Hosted>::Key as HostedKey>::Spelled;

const BACKEND: &str = "backend";
const BACKENDS: Range = Range::Choice(&words!(Backend));
/// How long a turn waits for the keys to have moved. A few million do in this time; more go on moving after it.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

/// Why a hosted map refused an update. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The key is longer than the limit.
    #[error("{map} takes keys of at most {max} bytes, not {bytes}: shorten the key")]
    KeyTooLong {
        /// The map.
        map: String,
        /// Length of the key.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The value is longer than the limit.
    #[error("{map} takes values of at most {max} bytes, not {bytes}: split the value or raise value_bytes_max")]
    ValueTooLong {
        /// The map.
        map: String,
        /// Length of the value.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The key is new and the map is full.
    #[error("{map} is full at {max} entries: remove some or raise entries_max")]
    Full {
        /// The map.
        map: String,
        /// The limit.
        max: usize,
    },
    /// What the update brings takes more bytes than are left.
    #[error("{map} is full at {used} of {max} bytes, too near for an entry of {bytes}: remove some or raise bytes_max")]
    OutOfBytes {
        /// The map.
        map: String,
        /// Bytes of its keys and values.
        used: usize,
        /// What the entry takes.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The pool that values live in gave no block.
    #[error("{map} keeps its values in a pool, and {why}")]
    Pool {
        /// The map.
        map: String,
        /// What the pool said.
        why: PoolError,
    },
}

/// What is counted, in pairs of key there (hit) and not there (miss).
#[derive(Clone, Copy)]
enum Op {
    Get,
    Insert,
    Add,
    Remove,
}

const OPS: [(Op, &str); 4] = [(Op::Get, "get"), (Op::Insert, "insert"), (Op::Add, "add"), (Op::Remove, "remove")];
const OUTCOMES: [&str; 2] = ["hit", "miss"];
/// Refusals are counted after the pairs.
const REFUSALS: [&str; 5] = ["full", "key_too_long", "value_too_long", "out_of_bytes", "no_block"];
const CELLS: usize = OPS.len() * OUTCOMES.len() + REFUSALS.len();

const fn op_cell(op: Op, outcome: usize) -> usize {
    op as usize * OUTCOMES.len() + outcome
}

const fn refusal_cell(refusal: usize) -> usize {
    OPS.len() * OUTCOMES.len() + refusal
}

/// What an entry takes, in the sense of [`MapLimits::bytes_max`].
fn entry_bytes<V: Hosted>(key: &Spelled<V>, value: &V) -> usize {
    size_of::<(V::Key, V::Stored)>() + V::Key::heap(key) + value.footprint()
}

/// A map that a host runs, at the address `map.NAME`.
///
/// Room is taken before it is used, so the map never holds more than its limits. Everything else is counted per thread.
pub struct HostedMap<V: Hosted> {
    address: Address,
    map: Map<V::Key, V::Stored>,
    room: Room,
    /// Where values live that do not lie in the table itself; the heap without one.
    pool: Option<Arc<Pool>>,
    cells: Cells<CELLS>,
}

impl<V: Hosted> HostedMap<V> {
    /// An empty map.
    ///
    /// # Errors
    /// When `name` breaks the rule for names.
    pub fn new(name: &str, backend: Backend, limits: MapLimits) -> Result<Arc<Self>, AddressError> {
        Self::with_buckets(name, backend, limits, FIXED_BUCKETS)
    }

    /// An empty map with so many buckets whenever it is on [`Backend::Fixed`]; see [`Map::with_buckets`].
    ///
    /// # Errors
    /// When `name` breaks the rule for names.
    pub fn with_buckets(
        name: &str,
        backend: Backend,
        limits: MapLimits,
        buckets: usize,
    ) -> Result<Arc<Self>, AddressError> {
        Self::make(name, backend, limits, buckets, None)
    }

    fn make(
        name: &str,
        backend: Backend,
        limits: MapLimits,
        buckets: usize,
        pool: Option<Arc<Pool>>,
    ) -> Result<Arc<Self>, AddressError> {
        let address = Address::new(Kind::Map, name)?;
        let map = Map::with_buckets(backend, buckets);
        Ok(Arc::new(Self { address, map, room: Room::new(limits), pool, cells: Cells::new() }))
    }

    /// The backend it runs on.
    pub fn backend(&self) -> Backend {
        self.map.backend()
    }

    /// Begins to move the map to another backend; see [`Map::turn_within`].
    ///
    /// # Errors
    /// When one is under way already, or the new table would need more than [`MapLimits::turn_bytes_max`].
    pub fn turn_backend(&self, to: Backend) -> Result<Handover, HandoverRefused> {
        self.map.turn_within(to, self.limits().turn_bytes_max)
    }

    /// The last hand-over that began; see [`Map::handover`].
    pub fn handover(&self) -> Option<Handover> {
        self.map.handover()
    }

    /// What all hand-overs so far came to; see [`Map::handovers`].
    pub fn handovers(&self) -> Handovers {
        self.map.handovers()
    }

    /// What it takes before it refuses.
    pub fn limits(&self) -> MapLimits {
        self.room.limits()
    }

    /// The value of a key.
    pub fn get(&self, key: &Spelled<V>) -> Option<V> {
        let value = self.map.switch.view(self.map.hash(key), key, V::load).flatten();
        self.count(Op::Get, value.is_some());
        value
    }

    /// Puts a value in and returns the one it replaces. A counter's value is kept within `-i64::MAX..=i64::MAX`.
    ///
    /// A value that lives elsewhere than this map's do is copied first.
    ///
    /// # Errors
    /// When the key or value is too long, there is no room for it, or no block in the pool that values live in. While a value
    /// is being replaced there are two of them in the pool.
    pub fn insert(&self, key: &Spelled<V>, value: V) -> Result<Option<V>, MapError> {
        self.admit(key, &value)?;
        let value = value.placed(self.pool.as_deref()).map_err(|why| self.no_block(why))?;
        loop {
            let replaced = value.replace(&self.map, key, &self.room);
            if let Some(replaced) = replaced.map_err(|lack| self.refuse(lack, key, &value))? {
                self.count(Op::Insert, true);
                return Ok(Some(replaced));
            }
            if self.put_absent(key, value.clone())? {
                self.count(Op::Insert, false);
                return Ok(None);
            }
        }
    }

    /// Takes the entry out and returns its value: every update that was accepted for it is in there.
    pub fn remove(&self, key: &Spelled<V>) -> Option<V> {
        let removed = self.map.switch.take(self.map.hash(key), key, V::finish);
        if let Some(value) = &removed {
            self.room.give(entry_bytes(key, value));
        }
        self.count(Op::Remove, removed.is_some());
        removed
    }

    /// How many entries there are; new keys on their way in are counted already.
    pub fn len(&self) -> usize {
        self.room.entries()
    }

    /// Bytes its keys and values take, in the sense of [`MapLimits::bytes_max`].
    pub fn bytes(&self) -> usize {
        self.room.bytes()
    }

    /// Whether the map holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out every entry that is there when its turn comes, one by one: each gives back the room that it took. Keeps
    /// a copy of all keys meanwhile.
    pub fn clear(&self) {
        let mut keys = Vec::new();
        self.map.switch.visit(|_| Some(()), |key, ()| keys.push(key.clone()));
        for key in keys {
            let key = key.borrow();
            if let Some(value) = self.map.switch.take(self.map.hash(key), key, V::finish) {
                self.room.give(entry_bytes(key, &value));
            }
        }
    }

    /// One page of a scan of about `limit` entries; see [`Map::scan`].
    pub fn scan(&self, cursor: Option<Cursor>, limit: usize) -> Page<V::Key, V> {
        self.map.switch.page(cursor, limit, V::load)
    }

    /// Shows every entry to `f`, with no lock held; see [`Map::for_each`].
    pub fn for_each(&self, mut f: impl FnMut(&Spelled<V>, &V)) {
        self.map.switch.visit(V::load, |key, value| f(key.borrow(), value));
    }

    fn admit(&self, key: &Spelled<V>, value: &V) -> Result<(), MapError> {
        let (bytes, max) = (V::Key::length(key), self.limits().key_bytes_max);
        if bytes > max {
            self.cells.add(refusal_cell(1), 1);
            return Err(MapError::KeyTooLong { map: self.address.to_string(), bytes, max });
        }
        self.admit_length(value.length())
    }

    fn admit_length(&self, bytes: usize) -> Result<(), MapError> {
        let max = self.limits().value_bytes_max;
        if bytes > max {
            self.cells.add(refusal_cell(2), 1);
            return Err(MapError::ValueTooLong { map: self.address.to_string(), bytes, max });
        }
        Ok(())
    }

    #[cold]
    fn no_block(&self, why: PoolError) -> MapError {
        self.cells.add(refusal_cell(4), 1);
        MapError::Pool { map: self.address.to_string(), why }
    }

    #[cold]
    fn refuse(&self, lack: Lack, key: &Spelled<V>, value: &V) -> MapError {
        let map = self.address.to_string();
        match lack {
            Lack::Entries => {
                self.cells.add(refusal_cell(0), 1);
                MapError::Full { map, max: self.limits().entries_max }
            }
            Lack::Bytes => {
                self.cells.add(refusal_cell(3), 1);
                let (bytes, max) = (entry_bytes(key, value), self.limits().bytes_max);
                MapError::OutOfBytes { map, used: self.bytes(), bytes, max }
            }
        }
    }

    /// Puts a new key in; false when somebody else was quicker.
    fn put_absent(&self, key: &Spelled<V>, value: V) -> Result<bool, MapError> {
        let bytes = entry_bytes(key, &value);
        self.room.take(bytes).map_err(|lack| self.refuse(lack, key, &value))?;
        let put = self.map.switch.put_absent(self.map.hash(key), V::Key::new(key), value.store()).is_ok();
        if !put {
            self.room.give(bytes);
        }
        Ok(put)
    }

    fn count(&self, op: Op, hit: bool) {
        self.cells.add(op_cell(op, usize::from(!hit)), 1);
    }

    /// What is absent from the reading is not zero but unknown: no backend that shows it has been in force.
    fn read_contention(&self, reading: &mut Reading) {
        let shown = self.backend().shows_contention();
        for (by, is_so) in [("hook", shown), ("sample", !shown)] {
            reading.level(&MAP_CONTENTION_SEEN, &[by], f64::from(u8::from(is_so)));
        }
        if let Some(waits) = self.map.lock_waits() {
            reading.total(&MAP_LOCK_CONTENTIONS, &[], waits.count());
            reading.spread(&MAP_LOCK_WAIT, &[], waits);
        }
        if let Some(failures) = self.map.cas_failures() {
            reading.total(&MAP_CAS_FAILURES, &[], failures);
        }
        if let Some(SampledStalls { timed, stalls }) = self.map.sampled_stalls() {
            reading.total(&MAP_SAMPLED_OPS, &[], timed);
            reading.total(&MAP_SAMPLED_STALLS, &[], stalls.count());
            reading.spread(&MAP_SAMPLED_STALL, &[], stalls);
        }
        if let Some(met) = self.map.flat_totals() {
            reading.total(&MAP_SEQLOCK_RETRIES, &[], met.read_retries);
            reading.total(&MAP_SEQLOCK_FALLBACKS, &[], met.read_fallbacks);
            reading.total(&MAP_HELPS, &[], met.helps);
            reading.total(&MAP_MIGRATED, &[], met.moved_buckets);
            reading.total(&MAP_RESIZES, &[], met.resizes);
        }
        if let Some(shape) = self.map.shape() {
            reading.level(&MAP_LOAD, &[], shape.load);
            reading.level(&MAP_GROWTH, &[], shape.moved.unwrap_or(0.0));
            reading.level(&MAP_PROBE_MEAN, &[], shape.mean());
            reading.level(&MAP_PROBE_MAX, &[], shape.longest as f64);
        }
        if let Some(operations) = self.map.shard_operations() {
            reading.strip(&MAP_SHARD_OPS, &[], operations);
        }
        if let Some(contentions) = self.map.shard_contentions() {
            reading.strip(&MAP_SHARD_CONTENTIONS, &[], contentions);
        }
        if let Some(skew) = self.map.shard_skew() {
            reading.level(&MAP_SHARD_SKEW, &[], skew);
        }
    }

    fn read_handovers(&self, reading: &mut Reading) {
        let Handovers { done, undone, moved, failures, lock_waits, stalls } = self.handovers();
        let last = self.handover();
        let phase = last.as_ref().map(Handover::phase);
        let (moved_by_last, keys) = last.map_or((0, 0), |last| last.keys());
        reading.total(&MAP_HANDOVERS, &["done"], done);
        reading.total(&MAP_HANDOVERS, &["undone"], undone);
        for each in Phase::ALL {
            reading.level(&MAP_HANDOVER_PHASE, &[each.as_str()], f64::from(u8::from(phase == Some(each))));
        }
        reading.level(&MAP_HANDOVER_KEYS, &[], keys as f64);
        reading.level(&MAP_HANDOVER_MOVED, &[], moved_by_last as f64);
        reading.total(&MAP_HANDOVER_MOVES, &[], moved);
        reading.total(&MAP_HANDOVER_FAILURES, &[], failures);
        reading.total(&MAP_HANDOVER_RETRIES, &[], self.map.retries());
        reading.total(&MAP_HANDOVER_LOCK_WAITS, &[], lock_waits);
        reading.spread(&MAP_HANDOVER_STALL, &[], stalls);
    }

    /// Calls the hand-over under way back if it comes from `to`, and says where it was going, how far it was, and whether
    /// the map is back. `None` when there is no such hand-over, or its last key had moved: then it takes another to be on `to`.
    fn call_back(&self, to: Backend) -> Option<(Backend, String, bool)> {
        let comes_from = |handover: &Handover| !handover.is_over() && handover.from() == to && handover.to() != to;
        let handover = self.handover().filter(comes_from)?;
        let (moved, keys) = handover.keys();
        handover.cancel();
        let is_over = handover.wait(Some(SETTLE_LIMIT));
        let reason = format!("turned back after {moved} of {keys} keys");
        (handover.phase() != Phase::Done).then_some((handover.to(), reason, is_over))
    }
}

impl CounterMap {
    /// Adds to a counter, which starts at 0, and returns its new value. Stops at `-i64::MAX` and `i64::MAX`. A key
    /// that is there costs one look-up and no allocation.
    ///
    /// # Errors
    /// When the key is too long, or new and the map is full.
    pub fn add(&self, key: &[u8], n: i64) -> Result<i64, MapError> {
        self.admit(key, &n)?;
        loop {
            if let Some(sum) = self.map.touch(key, |counter| counter.add(n)).flatten() {
                self.count(Op::Add, true);
                return Ok(sum);
            }
            if self.put_absent(key, n)? {
                self.count(Op::Add, false);
                return Ok(n.max(-i64::MAX));
            }
        }
    }

    /// The `n` greatest counters, greatest first, equal ones by key. Looks at every entry once and keeps `n`; no
    /// snapshot, as with a scan.
    pub fn top(&self, n: usize) -> Vec<(Box<[u8]>, i64)> {
        let mut podium = Podium::new(n);
        self.map.switch.look_through(|_, key, counter| {
            if let Some(value) = counter.value() {
                podium.consider(key, value);
            }
        });
        podium.into_top()
    }
}

impl BytesMap {
    /// An empty map whose values live in blocks of a pool, which lives at least as long as the map. A hand-over to another
    /// backend leaves them where they are. Keys, and the tables that hold them, stay on the heap: what the pool's limit bounds
    /// are the values, and [`MapLimits::bytes_max`] all of it.
    ///
    /// What is removed or replaced gives its block back when nobody can be looking any more: on `sharded` at once; on
    /// `fixed`, `flat` and `papaya` when the pool would otherwise refuse, which for that waits for those who read, a
    /// millisecond at most. A reader who was interrupted for longer makes it refuse all the same, and so does a thread
    /// that was while it dropped that very value: try again later. `papaya` keeps what is removed while its table grows
    /// until that is copied, and `lock_free` collects some dozens of values for each thread that removes; so many may
    /// be in the pool beside those of the map.
    ///
    /// # Errors
    /// When `name` breaks the rule for names.
    pub fn in_pool(
        name: &str,
        backend: Backend,
        limits: MapLimits,
        buckets: usize,
        pool: Arc<Pool>,
    ) -> Result<Arc<Self>, AddressError> {
        Self::make(name, backend, limits, buckets, Some(pool))
    }

    /// A value of these bytes where this map's values live, so that [`insert`](Self::insert) copies nothing.
    ///
    /// # Errors
    /// When it is too long, or there is no block in the pool that values live in.
    pub fn value(&self, bytes: &[u8]) -> Result<Bytes, MapError> {
        self.admit_length(bytes.len())?;
        Bytes::placed(bytes, self.pool.as_deref()).map_err(|why| self.no_block(why))
    }
}

impl<V: Hosted> Resource for HostedMap<V> {
    fn address(&self) -> &Address {
        &self.address
    }

    fn pool(&self) -> Option<&Address> {
        self.pool.as_ref().map(|pool| pool.address())
    }

    fn read(&self, reading: &mut Reading) {
        for (op, name) in OPS {
            for (index, outcome) in OUTCOMES.into_iter().enumerate() {
                reading.total(&MAP_OPS, &[name, outcome], self.cells.sum(op_cell(op, index)));
            }
        }
        reading.level(&MAP_ENTRIES, &[], self.len() as f64);
        reading.level(&MAP_ENTRIES_LIMIT, &[], self.limits().entries_max as f64);
        reading.level(&MAP_BYTES, &[], self.bytes() as f64);
        reading.level(&MAP_BYTES_LIMIT, &[], self.limits().bytes_max as f64);
        for (index, reason) in REFUSALS.into_iter().enumerate() {
            reading.total(&MAP_REFUSED, &[reason], self.cells.sum(refusal_cell(index)));
        }
        self.read_contention(reading);
        for backend in Backend::ALL {
            let in_force = backend == self.backend();
            reading.level(&MAP_BACKEND, &[backend.as_str()], f64::from(u8::from(in_force)));
        }
        self.read_handovers(reading);
    }

    fn knobs(&self) -> Vec<Knob> {
        vec![Knob {
            name: BACKEND,
            value: Value::Choice(self.backend().to_string()),
            range: BACKENDS,
            unit: "",
            help: "Which structure holds the entries; turning it moves them while the map is used, and turning it back meanwhile cancels that.",
        }]
    }

    /// Settled once every key has moved; until then the map is in both, and right in both. Turning back to where a
    /// hand-over under way comes from cancels it.
    fn turn(&self, knob: &str, to: &Value) -> Result<Turned, TurnError> {
        if knob != BACKEND {
            let (resource, knob) = (self.address.to_string(), knob.to_owned());
            return Err(TurnError::UnknownKnob { resource, knob, has: vec![BACKEND.to_owned()] });
        }
        BACKENDS.check(knob, to)?;
        let start = now();
        let backend = to.to_string().parse().expect("a word of the range names a backend");
        let turned = |from: Backend, settled, reason| {
            let (from, to) = (Value::Choice(from.to_string()), to.clone());
            Turned { from, to, took: start.elapsed(), settled, reason }
        };
        let from = self.backend();
        if let Some((heading_for, reason, settled)) = self.call_back(backend) {
            return Ok(turned(heading_for, settled, Some(reason)));
        }
        let failed = |why: String| TurnError::Failed { knob: knob.to_owned(), why };
        let handover = match self.handover().filter(|handover| !handover.is_over()) {
            Some(goes_there) if goes_there.to() == backend => goes_there,
            None if self.backend() == backend => return Ok(turned(from, true, None)),
            _ => self.turn_backend(backend).map_err(|refused| failed(refused.to_string()))?,
        };
        let settled = handover.wait(Some(SETTLE_LIMIT));
        if matches!(handover.phase(), Phase::GoingBack | Phase::Undone) {
            return Err(failed(why_undone(&handover)));
        }
        Ok(turned(from, settled, None))
    }

    fn settled(&self, knob: &str, to: &Value) -> Option<Result<(), TurnError>> {
        let Some(handover) = self.handover() else { return Some(Ok(())) };
        let failed = |why: String| Some(Err(TurnError::Failed { knob: knob.to_owned(), why }));
        let goes = |backend: Backend| *to == Value::Choice(backend.to_string());
        match handover.phase() {
            Phase::Done if goes(handover.to()) => Some(Ok(())),
            // The turn that called a hand-over back.
            Phase::Undone if goes(handover.from()) => Some(Ok(())),
            Phase::Undone => failed(why_undone(&handover)),
            Phase::Done => failed(format!("it was too late to turn back: every key is on {}", handover.to())),
            Phase::Opening | Phase::Moving | Phase::GoingBack => None,
        }
    }
}

/// Why a hand-over ended where it began.
fn why_undone(handover: &Handover) -> String {
    let (from, to, failures) = (handover.from(), handover.to(), handover.failures());
    let why = match (handover.is_cancelled(), handover.keys()) {
        (true, _) => "it was turned back".to_owned(),
        (false, (_, 0)) => format!("no table could be made on {to}"),
        (false, _) => format!("{failures} moves panicked in code of keys or values"),
    };
    format!("{why}; the map is whole, on {from}")
}

impl<V: Hosted> fmt::Debug for HostedMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.to_string();
        f.debug_struct("HostedMap").field("address", &address).field("backend", &self.backend()).finish_non_exhaustive()
    }
}
