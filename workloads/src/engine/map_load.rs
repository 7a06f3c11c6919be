//! What workers do to maps.

use super::chooser::Chooser;
use super::drive::{Driver, Performed};
use super::gate::Gate;
use super::history::Desk;
use super::ledger::MapBook;
use super::value::{Lengths, derived, is_whole, is_word_of, word};
use crate::generate::{Frontier, KEY_BYTES, KeyStream, Stream};
use crate::script::MapOp;
use rheostat_linearize::RegisterCall;
use rheostat_runtime::map::{self, BytesMap, CounterMap, Cursor, Hosted, HostedKey, HostedMap, MapError, WordMap};
use rheostat_runtime::observe::Moment;
use rheostat_runtime::sync::Arc;
use std::borrow::Borrow;
use std::collections::HashSet;
use std::time::Duration;

/// A key by number, and as its map spells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<S> {
    number: u64,
    spelled: S,
}

/// What a map with such values is asked for.
type Spelled<V> = <<V as Hosted>::Key as HostedKey>::Spelled;

/// A map as a worker sees it. Operations say whether the key was there, and keep the book.
pub(super) trait Loaded: Clone + Send + 'static {
    /// What is put in.
    type Value: Hosted + Send;
    /// How a key is spelled.
    type Spelling: Borrow<Spelled<Self::Value>> + Copy + Send;

    fn map(&self) -> &HostedMap<Self::Value>;

    /// The key of a number.
    fn spell(number: u64) -> Self::Spelling;

    /// The number of a key; `None` for one that [`spell`](Self::spell) has not made.
    fn number(key: &<Self::Value as Hosted>::Key) -> Option<u64>;

    fn key(number: u64) -> Key<Self::Spelling> {
        Key { number, spelled: Self::spell(number) }
    }

    /// The value of a key at a version; versions of a key differ.
    fn value(&self, key: u64, version: u64) -> Self::Value;

    /// Whether that may be in the map at that key. False says that bytes were torn or mixed up.
    fn is_whole(&self, key: u64, value: &Self::Value) -> bool;

    /// A value as histories have it; of no account where none is kept.
    fn as_number(value: &Self::Value) -> i64;

    fn get(&self, key: &Key<Self::Spelling>, desk: &mut Desk) -> Option<Self::Value> {
        let get = || self.map().get(key.spelled.borrow());
        desk.record(key.number, RegisterCall::Get, get, |value| value.as_ref().map(Self::as_number))
    }

    /// Puts a value in; `None` when that was refused, else what was there.
    fn put(&self, key: &Key<Self::Spelling>, value: Self::Value, desk: &mut Desk) -> Option<Option<Self::Value>> {
        let call = RegisterCall::Insert(Self::as_number(&value));
        let insert = || self.map().insert(key.spelled.borrow(), value);
        let replaced =
            |answer: &Result<Option<Self::Value>, MapError>| answer.as_ref().ok()?.as_ref().map(Self::as_number);
        let answer = desk.record(key.number, call, insert, replaced);
        acknowledged(answer, &mut desk.book)
    }

    fn take(&self, key: &Key<Self::Spelling>, desk: &mut Desk) -> Option<Self::Value> {
        let remove = || self.map().remove(key.spelled.borrow());
        let removed =
            desk.record(key.number, RegisterCall::Remove, remove, |value| value.as_ref().map(Self::as_number));
        desk.book.acknowledged += u64::from(removed.is_some());
        removed
    }

    fn insert(&self, key: &Key<Self::Spelling>, value: Self::Value, desk: &mut Desk) -> bool {
        self.put(key, value, desk).is_some_and(|replaced| replaced.is_some())
    }

    fn update(&self, key: &Key<Self::Spelling>, value: Self::Value, desk: &mut Desk) -> bool {
        self.insert(key, value, desk)
    }

    fn read_modify_write(&self, key: &Key<Self::Spelling>, value: Self::Value, desk: &mut Desk) -> bool {
        let seen = self.get(key, desk).is_some();
        self.insert(key, value, desk);
        seen
    }

    fn remove(&self, key: &Key<Self::Spelling>, desk: &mut Desk) -> bool {
        self.take(key, desk).is_some()
    }
}

/// Counters: `insert` sets to 1, `update` adds one. So an update that comes to 1 has found nothing there.
#[derive(Clone)]
pub(super) struct Counters(pub Arc<CounterMap>);

impl Loaded for Counters {
    type Value = i64;
    type Spelling = [u8; KEY_BYTES];

    fn map(&self) -> &HostedMap<i64> {
        &self.0
    }

    fn spell(number: u64) -> [u8; KEY_BYTES] {
        KeyStream::spell(number)
    }

    fn number(key: &Box<[u8]>) -> Option<u64> {
        KeyStream::number(key)
    }

    fn value(&self, _: u64, _: u64) -> i64 {
        1
    }

    fn is_whole(&self, _: u64, _: &i64) -> bool {
        true
    }

    fn as_number(value: &i64) -> i64 {
        *value
    }

    fn insert(&self, key: &Key<[u8; KEY_BYTES]>, value: i64, desk: &mut Desk) -> bool {
        self.put(key, value, desk).is_some_and(|replaced| {
            desk.book.net += i128::from(value) - i128::from(replaced.unwrap_or(0));
            if replaced.is_none() {
                desk.book.increments.add(key.number, 0);
            }
            replaced.is_some()
        })
    }

    fn update(&self, key: &Key<[u8; KEY_BYTES]>, value: i64, desk: &mut Desk) -> bool {
        // Counters of a run never stand at 0.
        let before =
            |answer: &Result<i64, MapError>| answer.as_ref().ok().map(|sum| sum - value).filter(|old| *old != 0);
        let answer =
            desk.record(key.number, RegisterCall::AddOrInsert(value), || self.0.add(&key.spelled, value), before);
        acknowledged(answer, &mut desk.book).is_some_and(|sum| {
            desk.book.net += i128::from(value);
            desk.book.increments.add(key.number, sum - value);
            sum != value
        })
    }

    /// Adds one in two steps: what others add between them is lost, and the check says so.
    fn read_modify_write(&self, key: &Key<[u8; KEY_BYTES]>, value: i64, desk: &mut Desk) -> bool {
        let seen = self.get(key, desk);
        let old = seen.unwrap_or(0);
        self.put(key, old + value, desk).is_some_and(|_| {
            desk.book.net += i128::from(value);
            desk.book.increments.add(key.number, old);
            seen.is_some()
        })
    }

    fn remove(&self, key: &Key<[u8; KEY_BYTES]>, desk: &mut Desk) -> bool {
        let removed = self.take(key, desk);
        desk.book.net -= i128::from(removed.unwrap_or(0));
        removed.is_some()
    }
}

/// Byte strings that can be told to be whole.
#[derive(Clone)]
pub(super) struct Bytes(pub Arc<BytesMap>, pub Lengths);

impl Loaded for Bytes {
    type Value = map::Bytes;
    type Spelling = [u8; KEY_BYTES];

    fn map(&self) -> &BytesMap {
        &self.0
    }

    fn spell(number: u64) -> [u8; KEY_BYTES] {
        KeyStream::spell(number)
    }

    fn number(key: &Box<[u8]>) -> Option<u64> {
        KeyStream::number(key)
    }

    fn value(&self, key: u64, version: u64) -> map::Bytes {
        (*derived(key, version, self.1)).into()
    }

    fn is_whole(&self, key: u64, value: &map::Bytes) -> bool {
        is_whole(value, key, self.1)
    }

    fn as_number(_: &map::Bytes) -> i64 {
        0
    }
}

/// Numbers that can be told to be those of their key.
#[derive(Clone)]
pub(super) struct Words(pub Arc<WordMap>);

impl Loaded for Words {
    type Value = u64;
    type Spelling = u64;

    fn map(&self) -> &HostedMap<u64> {
        &self.0
    }

    fn spell(number: u64) -> u64 {
        number
    }

    fn number(key: &u64) -> Option<u64> {
        Some(*key)
    }

    fn value(&self, key: u64, version: u64) -> u64 {
        word(key, version)
    }

    fn is_whole(&self, key: u64, value: &u64) -> bool {
        is_word_of(*value, key)
    }

    fn as_number(value: &u64) -> i64 {
        value.cast_signed()
    }
}

fn acknowledged<T>(answer: Result<T, MapError>, book: &mut MapBook) -> Option<T> {
    let is_taken = answer.is_ok();
    book.acknowledged += u64::from(is_taken);
    book.refused += u64::from(!is_taken);
    book.no_block += u64::from(matches!(answer, Err(MapError::Pool { .. })));
    answer.ok()
}

/// A mix of operations on a map.
pub(super) struct MapLoad<M> {
    pub map: M,
    pub keys: KeyStream,
    pub ops: Chooser<MapOp>,
    /// Draws where scans begin and how long they are; also names this worker in versions.
    pub extra: Stream,
    pub frontier: Arc<Frontier>,
    /// Keys `0..loaded` are in the map, and nobody takes them out if walks are checked.
    pub loaded: u64,
    /// Entries of a scan at most, and of a page of a walk.
    pub scan: u64,
    /// How long a `hold` stands still.
    pub hold: Duration,
    /// Whether values that are read are looked at.
    pub audit: bool,
    pub desk: Desk,
}

/// An operation on a map about to be done.
pub(super) struct MapAsk<S, V> {
    place: usize,
    op: MapOp,
    key: Key<S>,
    value: Option<V>,
    /// Where a scan begins, and how long it is.
    from: Option<Cursor>,
    limit: u64,
}

impl<M: Loaded> Driver for MapLoad<M> {
    type Op = MapAsk<M::Spelling, M::Value>;

    #[inline]
    fn draw(&mut self, index: u64) -> Self::Op {
        let (place, op) = self.ops.at(index);
        let (mut from, mut limit) = (None, self.scan);
        let number = match op {
            MapOp::InsertNew => self.frontier.next(),
            MapOp::Scan => {
                from = format!("{:016x}", self.extra.at(index)).parse().ok();
                limit = 1 + self.extra.branch(1).below(index, self.scan);
                0
            }
            MapOp::Walk | MapOp::Hold => 0,
            _ => self.keys.at(index, &self.frontier),
        };
        // Made here, so that the making is not timed.
        let puts = matches!(op, MapOp::Insert | MapOp::InsertNew | MapOp::Update | MapOp::ReadModifyWrite);
        let value = puts.then(|| self.map.value(number, self.extra.at(index)));
        MapAsk { place, op, key: M::key(number), value, from, limit }
    }

    #[inline]
    fn perform(&mut self, ask: Self::Op, _: Option<Moment>, gate: &Gate) -> Option<Performed> {
        let desk = &mut self.desk;
        let hit = match (ask.op, ask.value) {
            (MapOp::Insert, Some(value)) => self.map.insert(&ask.key, value, desk),
            (MapOp::Update, Some(value)) => self.map.update(&ask.key, value, desk),
            (MapOp::ReadModifyWrite, Some(value)) => self.map.read_modify_write(&ask.key, value, desk),
            (MapOp::InsertNew, Some(value)) => {
                let hit = self.map.insert(&ask.key, value, desk);
                self.frontier.acknowledge();
                hit
            }
            (MapOp::Remove, _) => self.map.remove(&ask.key, desk),
            (MapOp::Scan, _) => !self.page(ask.from, ask.limit, |_| {}).1,
            (MapOp::Walk, _) => self.walk(gate)?,
            (MapOp::Hold, _) => self.stand_still(gate),
            _ => self.get(&ask.key),
        };
        Some(Performed { op: ask.place, hit })
    }
}

impl<M: Loaded> MapLoad<M> {
    fn get(&mut self, key: &Key<M::Spelling>) -> bool {
        let value = self.map.get(key, &mut self.desk);
        if let Some(value) = &value {
            self.look_at(key.number, value);
        }
        value.is_some()
    }

    fn look_at(&mut self, key: u64, value: &M::Value) {
        if self.audit {
            self.desk.book.looked_at += 1;
            self.desk.book.damaged += u64::from(!self.map.is_whole(key, value));
        }
    }

    /// One page of a scan: where the next begins, and whether this one was empty.
    fn page(&mut self, from: Option<Cursor>, limit: u64, mut each: impl FnMut(u64)) -> (Option<Cursor>, bool) {
        let (entries, next) = self.map.map().scan(from, limit as usize);
        for (key, value) in &entries {
            // Every key of a run's own map is a number; that of a hosted one may be anything.
            if let Some(number) = M::number(key) {
                self.look_at(number, value);
                each(number);
            }
        }
        (next, entries.is_empty())
    }

    /// Reads every entry, page by page. `None` if the phase ended before the last.
    ///
    /// Keys that were there before the phase and are never taken out have to come exactly once, all others at most
    /// once: that is what a scan promises.
    fn walk(&mut self, gate: &Gate) -> Option<bool> {
        let mut seen = vec![0u64; self.loaded.div_ceil(64) as usize];
        let mut others = HashSet::new();
        let (mut met, mut doubled) = (0, 0);
        let (mut from, mut any) = (None, false);
        loop {
            let loaded = self.loaded;
            let (next, empty) = self.page(from, self.scan, |number| {
                let fresh = if number < loaded {
                    let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
                    let fresh = seen[word] & bit == 0;
                    seen[word] |= bit;
                    met += u64::from(fresh);
                    fresh
                } else {
                    others.insert(number)
                };
                doubled += u64::from(!fresh);
            });
            any |= !empty;
            from = next;
            if from.is_none() {
                break;
            }
            if gate.is_stopped() {
                return None;
            }
        }
        self.desk.book.walks += 1;
        self.desk.book.missed += self.loaded - met;
        self.desk.book.doubled += doubled;
        Some(any)
    }

    /// Goes through the entries and stands still at the first.
    fn stand_still(&self, gate: &Gate) -> bool {
        let mut stood = false;
        self.map.map().for_each(|_, _| {
            if !stood {
                gate.sleep(self.hold);
            }
            stood = true;
        });
        stood
    }
}

/// Every key of a range put in once.
pub(super) struct Fill<M> {
    pub map: M,
    pub first: u64,
    pub desk: Desk,
}

impl<M: Loaded> Driver for Fill<M> {
    type Op = (Key<M::Spelling>, M::Value);

    fn draw(&mut self, index: u64) -> Self::Op {
        let number = self.first + index;
        (M::key(number), self.map.value(number, 0))
    }

    fn perform(&mut self, (key, value): Self::Op, _: Option<Moment>, _: &Gate) -> Option<Performed> {
        Some(Performed { op: 0, hit: self.map.insert(&key, value, &mut self.desk) })
    }
}
