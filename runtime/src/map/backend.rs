//! The backends of a map: their names, and the one place that chooses between them.

use super::contention::Contention;
use super::fixed::Fixed;
use super::flat::{InPlace, Pointed};
use super::hashed::{Bare, Hashed};
use super::integer::is_integer;
use super::keyed::Keyed;
use super::lock_free::LockFree;
use super::papaya::Papaya;
use super::record::Record;
use super::shape::TableShape;
use super::sharded::Sharded;
use super::structure::{Operation, Revision, Structure, Under};
use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::str::FromStr;

/// Which structure implements a map. Chosen when it is made, turned while it is used ([`Map::turn`](super::Map::turn)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Backend {
    /// 256 locked tables (dashmap). The default: quick, compact, shows its contention; readers and writers of a
    /// shard wait for each other.
    #[default]
    Sharded,
    /// Linked bins (flurry). Readers never wait; every operation costs several times as much, an entry about three
    /// times the memory, and a page of a scan walks the whole map.
    LockFree,
    /// A table of pointers that is read and written without locks (papaya). Readers of different keys and of the same
    /// one scale; every write allocates, and a page of a scan walks the whole map. Not for keys whose `Hash` sends
    /// more than a dozen of them to the same number: papaya then looks for room for ever. Nor for few keys that come and go
    /// all the time: every some eighty times one of them does, the table is copied.
    Papaya,
    /// Lock-free lists in a number of buckets that stays (ours, after Michael): as many as the map was told
    /// ([`Map::with_buckets`](super::Map::with_buckets)), 64 Ki if it was not, or as many as there are entries when a map is
    /// handed over to it, if that is more. No operation waits for another, nor for growth, and a page of a scan looks at
    /// few entries beside its own; every write allocates. Past as many entries as buckets every operation walks the
    /// longer: with four in a bucket it costs some three times one of `sharded`, with sixteen over ten times. Turn a map
    /// that has outgrown its buckets to another backend and back.
    Fixed,
    /// Cache lines that point to entries (ours, after CLHT): readers store nothing, and writers lock one line. It grows a
    /// few lines at a time, by its writers, and a page of a scan walks 1/256 of the map. Integers are kept
    /// in the lines themselves, other types behind pointers, and every write of a new one allocates. A writer that is suspended inside holds up those of its line.
    Flat,
}

impl Backend {
    /// Every backend.
    pub const ALL: [Backend; 5] = [Backend::Sharded, Backend::LockFree, Backend::Papaya, Backend::Fixed, Backend::Flat];

    /// The backend as it is spelled in configurations, knobs and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Backend::Sharded => "sharded",
            Backend::LockFree => "lock_free",
            Backend::Papaya => "papaya",
            Backend::Fixed => "fixed",
            Backend::Flat => "flat",
        }
    }

    /// Whether it shows its contention where that happens; on others one operation in 64 is timed instead.
    pub const fn shows_contention(self) -> bool {
        matches!(self, Backend::Sharded | Backend::Flat)
    }

    /// About what an entry costs in bytes, for keys and values of this size together. An estimate from how each structure
    /// lays entries out, slack of a table that has just grown included; what they keep on the heap is not in it.
    pub(super) const fn entry_bytes(self, payload: usize) -> usize {
        match self {
            Backend::Sharded => 2 * (payload + 9),
            Backend::LockFree => payload + 144,
            Backend::Papaya => payload + 48,
            Backend::Fixed => payload + 40,
            Backend::Flat => payload + 56,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a map backend: write one of {}", Backend::ALL.map(Backend::as_str).join(", "))]
pub struct BackendError {
    word: String,
}

impl FromStr for Backend {
    type Err = BackendError;

    fn from_str(text: &str) -> Result<Self, BackendError> {
        let known = Backend::ALL.into_iter().find(|backend| backend.as_str() == text);
        known.ok_or_else(|| BackendError { word: text.chars().take(40).collect() })
    }
}

/// A backend at work.
#[expect(
    clippy::large_enum_variant,
    reason = "a table is made once and does not move; a box would cost every operation"
)]
pub(super) enum Table<K, V> {
    Sharded(Sharded<Hashed<K>, V>),
    ShardedBare(Sharded<Bare<K>, V>),
    LockFree(LockFree<K, V>),
    Papaya(Papaya<Hashed<K>, V>),
    PapayaBare(Papaya<Bare<K>, V>),
    Fixed(Fixed<Hashed<K>, V>),
    FixedBare(Fixed<Bare<K>, V>),
    Flat(Pointed<K, V>),
    FlatInPlace(InPlace<K, V>),
}

/// The same expression for whichever structure is at work.
macro_rules! on {
    ($table:expr, $at_work:ident => $result:expr) => {
        match $table {
            Table::Sharded($at_work) => $result,
            Table::ShardedBare($at_work) => $result,
            Table::LockFree($at_work) => $result,
            Table::Papaya($at_work) => $result,
            Table::PapayaBare($at_work) => $result,
            Table::Fixed($at_work) => $result,
            Table::FixedBare($at_work) => $result,
            Table::Flat($at_work) => $result,
            Table::FlatInPlace($at_work) => $result,
        }
    };
}

impl<K, V> Table<K, V>
where
    K: Hash + Ord + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// An empty table with room for that many entries. `hasher` is the map's: a structure that hashes by itself has
    /// to agree with it. Contention is counted in the map's own `record`.
    /// `buckets` is for [`Backend::Fixed`].
    pub(super) fn new(backend: Backend, hasher: &Keyed, record: &Record, capacity: usize, buckets: usize) -> Self {
        let (hasher, bare) = (hasher.clone(), is_integer::<K>());
        match backend {
            Backend::Sharded if bare => Table::ShardedBare(Sharded::with_capacity(hasher, record, capacity)),
            Backend::Sharded => Table::Sharded(Sharded::with_capacity(hasher, record, capacity)),
            Backend::LockFree => Table::LockFree(LockFree::with_capacity(hasher, record, capacity)),
            Backend::Papaya if bare => Table::PapayaBare(Papaya::with_capacity(hasher, record, capacity)),
            Backend::Papaya => Table::Papaya(Papaya::with_capacity(hasher, record, capacity)),
            Backend::Fixed if bare => Table::FixedBare(Fixed::with_capacity(hasher, record, capacity, buckets)),
            Backend::Fixed => Table::Fixed(Fixed::with_capacity(hasher, record, capacity, buckets)),
            Backend::Flat if InPlace::<K, V>::takes_these() => {
                Table::FlatInPlace(InPlace::with_capacity(hasher, capacity, record.count_met()))
            }
            Backend::Flat => Table::Flat(Pointed::in_map(capacity, record.count_met())),
        }
    }

    pub(super) fn backend(&self) -> Backend {
        match self {
            Table::Sharded(_) | Table::ShardedBare(_) => Backend::Sharded,
            Table::LockFree(_) => Backend::LockFree,
            Table::Papaya(_) | Table::PapayaBare(_) => Backend::Papaya,
            Table::Fixed(_) | Table::FixedBare(_) => Backend::Fixed,
            Table::Flat(_) | Table::FlatInPlace(_) => Backend::Flat,
        }
    }

    /// How the table stands, where we can look into it.
    pub(super) fn shape(&self) -> Option<TableShape> {
        match self {
            Table::Fixed(table) => Some(table.shape()),
            Table::FixedBare(table) => Some(table.shape()),
            Table::Flat(table) => Some(table.shape()),
            Table::FlatInPlace(table) => Some(table.shape()),
            _ => None,
        }
    }

    /// What waiting for shards has cost, where there are any.
    pub(super) fn contention(&self) -> Option<&Contention> {
        match self {
            Table::Sharded(table) => Some(table.contention()),
            Table::ShardedBare(table) => Some(table.contention()),
            _ => None,
        }
    }
}

impl<K, V> Structure<K, V> for Table<K, V>
where
    K: Hash + Ord + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Where a sample of operations is taken: beside them, so that all others pay for no more than the question.
    #[inline(always)]
    fn perform<O: Operation<K, V>>(&self, operation: O) -> O::Output {
        match self {
            Table::Sharded(table) => table.contention().sampled(operation, table),
            Table::ShardedBare(table) => table.contention().sampled(operation, table),
            Table::LockFree(table) => table.stalls().sampled(operation, table),
            Table::Papaya(table) => table.stalls().sampled(operation, table),
            Table::PapayaBare(table) => table.stalls().sampled(operation, table),
            Table::Fixed(table) => table.stalls().sampled(operation, table),
            Table::FixedBare(table) => table.stalls().sampled(operation, table),
            Table::Flat(table) => operation.on(table),
            Table::FlatInPlace(table) => operation.on(table),
        }
    }

    #[inline(always)]
    fn view<Q, R>(&self, under: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        on!(self, table => table.view(under, hash, key, look))
    }

    fn can_be_glanced_at(&self) -> bool {
        matches!(self, Table::FlatInPlace(_) | Table::FixedBare(_))
    }

    #[inline(always)]
    fn glance<Q, R>(&self, under: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<Option<R>>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        match self {
            Table::FlatInPlace(table) => table.glance(under, hash, key, look),
            Table::FixedBare(table) => table.stalls().unless_sampled(|| table.glance(under, hash, key, look)),
            _ => None,
        }
    }

    fn copy<Q>(&self, hash: u64, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        on!(self, table => table.copy(hash, key))
    }

    #[inline(always)]
    fn put<R>(&self, under: Under<'_>, hash: u64, key: K, value: V, look: impl FnOnce(&V) -> R) -> Option<R> {
        on!(self, table => table.put(under, hash, key, value, look))
    }

    #[inline(always)]
    fn put_absent(&self, under: Under<'_>, hash: u64, key: K, value: V) -> Result<(), V> {
        on!(self, table => table.put_absent(under, hash, key, value))
    }

    #[inline(always)]
    fn revise<Q, R>(
        &self,
        under: Under<'_>,
        hash: u64,
        key: &Q,
        revise: impl FnMut(&V) -> (Revision<V>, R),
    ) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        on!(self, table => table.revise(under, hash, key, revise))
    }

    #[inline(always)]
    fn take<Q, R>(&self, under: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        on!(self, table => table.take(under, hash, key, look))
    }

    fn len(&self) -> usize {
        on!(self, table => table.len())
    }

    fn clear(&self) -> usize {
        on!(self, table => table.clear())
    }

    fn reserve(&self, additional: usize) {
        on!(self, table => table.reserve(additional))
    }

    fn set_leaving(&self, leaving: bool) {
        on!(self, table => table.set_leaving(leaving));
    }

    fn entry_heap_bytes(&self) -> usize {
        on!(self, table => table.entry_heap_bytes())
    }

    fn stripes(&self) -> usize {
        on!(self, table => table.stripes())
    }

    fn stripe_of(&self, position: u64) -> usize {
        on!(self, table => table.stripe_of(position))
    }

    fn walks_freely(&self) -> bool {
        on!(self, table => table.walks_freely())
    }

    fn walk(&self, stripe: usize, visit: impl FnMut(u64, &K, &V)) {
        on!(self, table => table.walk(stripe, visit))
    }

    fn walk_some(&self, stripe: usize, most: usize, visit: impl FnMut(u64, &K, &V)) {
        on!(self, table => table.walk_some(stripe, most, visit))
    }
}
