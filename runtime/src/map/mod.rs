//! Concurrent maps with one face, the backend chosen when the map is made.
//!
//! | noun | choose it when |
//! |---|---|
//! | [`Map`] | you embed a map of your own types |
//! | [`HostedMap`]: [`CounterMap`], [`BytesMap`] | you host a map: byte-string keys, limits, counts of everything it does |
//! | [`Backend`] | you choose: [`Sharded`](Backend::Sharded) unless you have measured |
//!
//! Promises, both backends: operations on one key are linearizable; a value that was put in comes out exactly once,
//! by `remove`, `insert` or `clear`; guards are never handed out.
//!
//! Closures. Those of [`Map::update`] and [`Map::upsert`] run on a clone with no lock held, so they may do anything,
//! other maps and this one included; when somebody else changes the value meanwhile, they run again on the new one,
//! so they should be pure. Those of [`Map::for_each`] and [`Map::fold`] run with no lock held. Only
//! [`Map::get_with`] shows the stored value itself, under a lock on `sharded`: a map operation inside it panics
//! rather than waits for itself. A closure that panics leaves the map as it was.

mod backend;
mod contention;
mod counter;
mod hosted;
mod keyed;
mod lock_free;
mod scan;
mod sharded;

pub use backend::{Backend, BackendError};
pub use hosted::{BytesMap, CounterMap, Hosted, HostedMap, MapError, MapLimits};
pub use scan::{Cursor, CursorError, Page};

use crate::observe::Snapshot;
use backend::Table;
use std::borrow::Borrow;
use std::cell::Cell;
use std::hash::Hash;

/// A concurrent map. Keys are hashed under a random seed of the map's own.
///
/// ```
/// use rheostat_runtime::map::{Backend, Map};
///
/// let map = Map::<String, u64>::new(Backend::Sharded);
/// map.insert("apples".into(), 3);
/// assert_eq!(map.update("apples", |n| n + 1), Some(3));
/// assert_eq!(map.get("apples"), Some(4));
/// ```
pub struct Map<K, V> {
    table: Table<K, V>,
}

thread_local! {
    /// Whether this thread is inside a closure that runs under a map's lock.
    static VIEWING: Cell<bool> = const { Cell::new(false) };
}

/// Holds `VIEWING` up, also while a panic passes.
struct Viewing;

impl Viewing {
    fn begin() -> Self {
        VIEWING.set(true);
        Viewing
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        VIEWING.set(false);
    }
}

impl<K, V> Map<K, V>
where
    K: Hash + Ord + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// An empty map.
    pub fn new(backend: Backend) -> Self {
        Self { table: Table::new(backend) }
    }

    /// The backend it runs on.
    pub fn backend(&self) -> Backend {
        self.table.backend()
    }

    /// The table, unless this thread already stands inside it: waiting then could be waiting for oneself.
    fn table(&self) -> &Table<K, V> {
        assert!(!VIEWING.get(), "a closure of Map::get_with used a map: take the value out first (Map::get)");
        &self.table
    }

    /// A clone of the value.
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
        V: Clone,
    {
        self.table().view(key, V::clone)
    }

    /// Shows the value to `look`, without a clone. On `sharded` the key's shard is locked for reading meanwhile.
    ///
    /// # Panics
    /// When `look` uses a map; the map stays whole.
    pub fn get_with<Q, R>(&self, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.table().view(key, |value| {
            let _viewing = Viewing::begin();
            look(value)
        })
    }

    /// Whether the key is there.
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.table().view(key, |_| ()).is_some()
    }

    /// Puts a value in and returns the one it replaces.
    pub fn insert(&self, key: K, value: V) -> Option<V>
    where
        V: Clone,
    {
        self.table().put(key, value, V::clone)
    }

    /// Takes the entry out and returns its value.
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
        V: Clone,
    {
        self.table().take(key, V::clone)
    }

    /// Replaces the value by what `f` makes of it and returns the one replaced; `None`, and nothing done, when the
    /// key is not there. `f` runs again when the value has changed meanwhile, as seen by `Eq`.
    ///
    /// Progress: a try that fails has been overtaken by one that did not.
    pub fn update<Q>(&self, key: &Q, f: impl Fn(&V) -> V) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
        V: Clone + Eq,
    {
        loop {
            let seen = self.get(key)?;
            if self.exchange(key, &seen, &f(&seen))? {
                return Some(seen);
            }
        }
    }

    /// Like [`update`](Self::update), but puts `default` in when the key is not there, and then returns `None`.
    pub fn upsert(&self, key: K, default: V, f: impl Fn(&V) -> V) -> Option<V>
    where
        V: Clone + Eq,
    {
        loop {
            if let Some(replaced) = self.update(&key, &f) {
                return Some(replaced);
            }
            if self.table().put_absent(key.clone(), default.clone()).is_ok() {
                return None;
            }
        }
    }

    /// Stores `new` if the value still equals `seen`; says whether it did, or `None` when the key is not there.
    fn exchange<Q>(&self, key: &Q, seen: &V, new: &V) -> Option<bool>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
        V: Clone + Eq,
    {
        let mut exchanged = false;
        self.table().revise(key, |value| {
            exchanged = value == seen;
            exchanged.then(|| new.clone())
        })?;
        Some(exchanged)
    }

    /// How many entries there are; may lag operations in flight. `sharded` looks at each of its shards.
    pub fn len(&self) -> usize {
        self.table().len()
    }

    /// Whether the map holds nothing; may lag operations in flight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out every entry that is there when its turn comes, and says how many that were. Not one step: others
    /// may see part of it done, and entries put in meanwhile may stay.
    pub fn clear(&self) -> usize {
        self.table().clear()
    }

    /// Shows every entry to `f`, with no lock held: `sharded` copies one shard (1/256 of the map) at a time. Entries
    /// that come, go or change meanwhile may be shown or not; on `lock_free`, a key that is removed and put back
    /// meanwhile may be shown twice.
    pub fn for_each(&self, f: impl FnMut(&K, &V))
    where
        V: Clone,
    {
        self.table().visit(|value| Some(value.clone()), f);
    }

    /// Folds every entry into one value, as [`for_each`](Self::for_each) shows them.
    pub fn fold<A>(&self, start: A, mut f: impl FnMut(A, &K, &V) -> A) -> A
    where
        V: Clone,
    {
        let mut folded = Some(start);
        self.for_each(|key, value| folded = folded.take().map(|so_far| f(so_far, key, value)));
        folded.expect("put back after every entry, or a panic of `f` has passed")
    }

    /// One page of a scan of about `limit` entries, from the start or where the page before left off. No key comes
    /// twice; a key that is there throughout comes exactly once; no cursor comes with the last page.
    pub fn scan(&self, cursor: Option<Cursor>, limit: usize) -> Page<K, V>
    where
        V: Clone,
    {
        self.table().page(cursor, limit, |value| Some(value.clone()))
    }

    /// Times operations waited for a lock, of which [`Snapshot::count`] is the number of contentions. `None` on
    /// `lock_free`, whose locks cannot be seen.
    pub fn lock_waits(&self) -> Option<Snapshot> {
        self.table.contention().map(|contention| contention.waits())
    }

    /// Operations by shard so far, estimated from one in 64. `None` on a backend without shards that we can see.
    pub fn shard_operations(&self) -> Option<Box<[u64]>> {
        self.table.contention().map(|contention| contention.operations())
    }

    /// Lock acquisitions that had to wait, by shard. `None` as above.
    pub fn shard_contentions(&self) -> Option<Box<[u64]>> {
        self.table.contention().map(|contention| contention.contentions())
    }

    /// Operations of the busiest shard over the mean of all shards, in the last 5 to 10 seconds; 1 is even. `None`
    /// as above, and while there were no operations.
    pub fn shard_skew(&self) -> Option<f64> {
        self.table.contention().and_then(|contention| contention.skew())
    }
}
