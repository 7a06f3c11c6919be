//! The backends of a map: their names, and the one place that chooses between them.

use super::contention::Contention;
use super::keyed::keyed;
use super::lock_free::LockFree;
use super::sharded::Sharded;
use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::str::FromStr;

/// Which structure implements a map. Chosen when the map is made.
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
}

impl Backend {
    /// Every backend.
    pub const ALL: [Backend; 2] = [Backend::Sharded, Backend::LockFree];

    /// The backend as it is spelled in configurations, knobs and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Backend::Sharded => "sharded",
            Backend::LockFree => "lock_free",
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
#[error("`{0}` is not a map backend: write sharded or lock_free")]
pub struct BackendError(String);

impl FromStr for Backend {
    type Err = BackendError;

    fn from_str(text: &str) -> Result<Self, BackendError> {
        let known = Backend::ALL.into_iter().find(|backend| backend.as_str() == text);
        known.ok_or_else(|| BackendError(text.chars().take(40).collect()))
    }
}

/// A backend at work. Operations come in the shapes both backends can give without a clone they do not need:
/// values are shown to a closure, never handed out by reference. The closures run under the backend's locks.
#[expect(clippy::large_enum_variant, reason = "a map is made once and does not move; a box would cost every operation")]
pub(super) enum Table<K, V> {
    Sharded(Sharded<K, V>),
    LockFree(LockFree<K, V>),
}

impl<K, V> Table<K, V>
where
    K: Hash + Ord + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(super) fn new(backend: Backend) -> Self {
        match backend {
            Backend::Sharded => Table::Sharded(Sharded::new(keyed())),
            Backend::LockFree => Table::LockFree(LockFree::new(keyed())),
        }
    }

    pub(super) fn backend(&self) -> Backend {
        match self {
            Table::Sharded(_) => Backend::Sharded,
            Table::LockFree(_) => Backend::LockFree,
        }
    }

    /// What waiting for locks has cost, where the backend can tell.
    pub(super) fn contention(&self) -> Option<&Contention> {
        match self {
            Table::Sharded(table) => Some(table.contention()),
            Table::LockFree(_) => None,
        }
    }

    pub(super) fn view<Q, R>(&self, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        match self {
            Table::Sharded(table) => table.view(key, look),
            Table::LockFree(table) => table.view(key, look),
        }
    }

    pub(super) fn put<R>(&self, key: K, value: V, look: impl FnOnce(&V) -> R) -> Option<R> {
        match self {
            Table::Sharded(table) => table.put(key, value).as_ref().map(look),
            Table::LockFree(table) => table.put(key, value, look),
        }
    }

    pub(super) fn put_absent(&self, key: K, value: V) -> Result<(), V> {
        match self {
            Table::Sharded(table) => table.put_absent(key, value),
            Table::LockFree(table) => table.put_absent(key, value),
        }
    }

    pub(super) fn revise<Q>(&self, key: &Q, revise: impl FnOnce(&V) -> Option<V>) -> Option<()>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
        V: Clone,
    {
        match self {
            Table::Sharded(table) => table.revise(key, revise),
            Table::LockFree(table) => table.revise(key, revise),
        }
    }

    pub(super) fn take<Q, R>(&self, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        match self {
            Table::Sharded(table) => table.take(key).as_ref().map(look),
            Table::LockFree(table) => table.take(key, look),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Table::Sharded(table) => table.len(),
            Table::LockFree(table) => table.len(),
        }
    }

    pub(super) fn clear(&self) -> usize {
        match self {
            Table::Sharded(table) => table.clear(),
            Table::LockFree(table) => table.clear(),
        }
    }

    /// Parts that can be walked one at a time, in the order of their entries' positions.
    pub(super) fn stripes(&self) -> usize {
        match self {
            Table::Sharded(table) => table.stripes(),
            Table::LockFree(_) => 1,
        }
    }

    pub(super) fn stripe_of(&self, position: u64) -> usize {
        match self {
            Table::Sharded(table) => table.stripe_of(position),
            Table::LockFree(_) => 0,
        }
    }

    pub(super) fn walk(&self, stripe: usize, visit: impl FnMut(u64, &K, &V)) {
        match self {
            Table::Sharded(table) => table.walk(stripe, visit),
            Table::LockFree(table) => table.walk(visit),
        }
    }
}
