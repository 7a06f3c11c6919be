//! The map as its users see it.

use super::backend::{Backend, Table};
use super::fixed::FIXED_BUCKETS;
use super::flat::FlatTotals;
use super::keyed::{Keyed, keyed};
use super::record::Record;
use super::scan::{Cursor, Page};
use super::shape::TableShape;
use super::stalls::SampledStalls;
use super::structure::Revision;
use super::switch::Switch;
use super::turn::{Process, Turning};
use super::viewing::{self, Viewing};
use crate::observe::Snapshot;
use crate::sync::Arc;
use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

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
    pub(super) hasher: Keyed,
    pub(super) switch: Arc<Switch<K, V, Table<K, V>, Process>>,
    pub(super) record: Record,
    pub(super) turning: Turning,
    /// Buckets of its tables on `fixed`.
    pub(super) buckets: usize,
}

impl<K, V> Map<K, V>
where
    K: Hash + Ord + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// An empty map.
    pub fn new(backend: Backend) -> Self {
        Self::with_buckets(backend, FIXED_BUCKETS)
    }

    /// An empty map with so many buckets whenever it is on [`Backend::Fixed`], rounded up to a power of two and kept within
    /// [`FIXED_BUCKETS_MIN`](super::FIXED_BUCKETS_MIN) and [`FIXED_BUCKETS_MAX`](super::FIXED_BUCKETS_MAX). About as many as
    /// there will be entries are good; a hand-over that finds more entries than that makes as many as it finds.
    pub fn with_buckets(backend: Backend, buckets: usize) -> Self {
        let (hasher, record) = (keyed(), Record::default());
        let switch = Arc::new(Switch::new(Table::new(backend, &hasher, &record, 0, buckets), Process));
        Self { hasher, switch, record, turning: Turning::default(), buckets }
    }

    /// The backend it runs on; during a hand-over the one that new keys go to.
    pub fn backend(&self) -> Backend {
        self.ask(Table::backend)
    }

    /// Asks the table that new keys go to.
    fn ask<R>(&self, question: impl FnOnce(&Table<K, V>) -> R) -> R {
        let guard = self.switch.pin();
        let (table, other) = self.switch.plan(&guard).tables();
        question(other.unwrap_or(table))
    }

    /// The way in for operations on all of the map, unless this thread already stands inside it. Those on one key ask that
    /// only if the thread holds a guard already ([`Process::pin_after_all`](super::switch::Grace::pin_after_all)).
    pub(super) fn enter(&self) -> &Switch<K, V, Table<K, V>, Process> {
        viewing::refuse();
        &self.switch
    }

    pub(super) fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.hasher.hash_one(key)
    }

    /// A clone of the value.
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.switch.get(self.hash(key), key)
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
        let mut look = Some(look);
        let shown = self.switch.view(self.hash(key), key, |value| {
            let _viewing = Viewing::begin();
            look.take().map(|look| look(value))
        });
        shown.flatten()
    }

    /// Whether the key is there.
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.switch.view(self.hash(key), key, |_| ()).is_some()
    }

    /// Puts a value in and returns the one it replaces.
    pub fn insert(&self, key: K, value: V) -> Option<V> {
        self.switch.put(self.hash(&key), key, value, V::clone)
    }

    /// Takes the entry out and returns its value.
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.switch.take(self.hash(key), key, V::clone)
    }

    /// Puts a value in if the key is not there.
    ///
    /// # Errors
    /// When the key is there: the value comes back.
    pub fn insert_if_absent(&self, key: K, value: V) -> Result<(), V> {
        self.switch.put_absent(self.hash(&key), key, value)
    }

    /// Replaces the value by what `f` makes of it and returns the one replaced; `None`, and nothing done, when the
    /// key is not there. `f` runs again when the value has changed meanwhile, as seen by `Eq`.
    ///
    /// Progress: a try that fails has been overtaken by one that did not.
    pub fn update<Q>(&self, key: &Q, f: impl Fn(&V) -> V) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
        V: Eq,
    {
        loop {
            let seen = self.get(key)?;
            let new = f(&seen);
            if self.revise_if(key, &seen, || Revision::Replace(new.clone()))? {
                return Some(seen);
            }
        }
    }

    /// Like [`update`](Self::update), but puts `default` in when the key is not there, and then returns `None`.
    pub fn upsert(&self, key: K, default: V, f: impl Fn(&V) -> V) -> Option<V>
    where
        V: Eq,
    {
        loop {
            if let Some(replaced) = self.update(&key, &f) {
                return Some(replaced);
            }
            if self.insert_if_absent(key.clone(), default.clone()).is_ok() {
                return None;
            }
        }
    }

    /// Replaces the value by `new` if it equals `current`, and returns the one replaced.
    ///
    /// # Errors
    /// When the value differs it comes back, as a clone; `None` when the key is not there.
    pub fn compare_exchange<Q>(&self, key: &Q, current: &V, new: &V) -> Result<V, Option<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
        V: Eq,
    {
        let exchange = |value: &V| {
            let _viewing = Viewing::begin();
            let found = value.clone();
            if found == *current {
                (Revision::Replace(new.clone()), Ok(found))
            } else {
                (Revision::Keep, Err(Some(found)))
            }
        };
        self.switch.revise(self.hash(key), key, exchange).unwrap_or(Err(None))
    }

    /// Takes the entry out if `f` says so of its value, and returns that; `None` when the key is not there or `f`
    /// said no. `f` runs again when the value has changed meanwhile, as seen by `Eq`.
    pub fn remove_if<Q>(&self, key: &Q, f: impl Fn(&V) -> bool) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
        V: Eq,
    {
        loop {
            let seen = self.get(key)?;
            if !f(&seen) {
                return None;
            }
            if self.revise_if(key, &seen, || Revision::Remove)? {
                return Some(seen);
            }
        }
    }

    /// Takes out every entry of which `f` does not say that it stays, and says how many those were. Each entry is a
    /// step of its own, as with [`remove_if`](Self::remove_if), in a walk like that of [`for_each`](Self::for_each).
    pub fn retain(&self, f: impl Fn(&K, &V) -> bool) -> usize
    where
        V: Eq,
    {
        let mut removed = 0;
        self.for_each(|key, seen| {
            let gone = !f(key, seen) && self.remove_if(key, |value| !f(key, value)).is_some();
            removed += usize::from(gone);
        });
        removed
    }

    /// Does what `to` says if the value still equals `seen`; says whether it did, or `None` when the key is not there.
    fn revise_if<Q>(&self, key: &Q, seen: &V, to: impl Fn() -> Revision<V>) -> Option<bool>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
        V: Eq,
    {
        self.switch.revise(self.hash(key), key, |value| {
            let _viewing = Viewing::begin();
            if value == seen { (to(), true) } else { (Revision::Keep, false) }
        })
    }

    /// Makes room for that many more entries, as far as the backend can, so that they go in without growth. Does nothing on
    /// `fixed`, whose buckets stay as many as they were made.
    pub fn reserve(&self, additional: usize) {
        self.enter().reserve(additional);
    }

    /// How many entries there are; may lag operations in flight. `sharded` looks at each of its shards.
    pub fn len(&self) -> usize {
        self.enter().len()
    }

    /// Whether the map holds nothing; may lag operations in flight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out every entry that is there when its turn comes, and says how many that were. Not one step: others
    /// may see part of it done, and entries put in meanwhile may stay.
    pub fn clear(&self) -> usize {
        self.enter().clear()
    }

    /// Shows every entry to `f`, with no lock held: `sharded` and `flat` copy 1/256 of the map at a time, `fixed`
    /// 16 of its buckets, and `lock_free` and `papaya` the whole map. Entries that come, go or change meanwhile may be shown or
    /// not; none is shown twice.
    pub fn for_each(&self, f: impl FnMut(&K, &V)) {
        self.enter().visit(|value| Some(value.clone()), f);
    }

    /// Folds every entry into one value, as [`for_each`](Self::for_each) shows them.
    pub fn fold<A>(&self, start: A, mut f: impl FnMut(A, &K, &V) -> A) -> A {
        let mut folded = Some(start);
        self.for_each(|key, value| folded = folded.take().map(|so_far| f(so_far, key, value)));
        folded.expect("put back after every entry, or a panic of `f` has passed")
    }

    /// One page of a scan of about `limit` entries, from the start or where the page before left off. No key comes
    /// twice; a key that is there throughout comes exactly once; no cursor comes with the last page.
    pub fn scan(&self, cursor: Option<Cursor>, limit: usize) -> Page<K, V> {
        self.enter().page(cursor, limit, |value| Some(value.clone()))
    }

    /// Times operations waited for a lock, of which [`Snapshot::count`] is the number of contentions, over all the time
    /// the map was on a backend whose locks can be seen: `sharded` or `flat`. `None` when it never was.
    pub fn lock_waits(&self) -> Option<Snapshot> {
        let of_shards = self.record.contention().map(|contention| contention.waits());
        let of_lines = self.record.met().map(|met| met.waits());
        of_shards.into_iter().chain(of_lines).reduce(|mut all, others| {
            all.merge(&others);
            all
        })
    }

    /// What reads and writers met while the map was on `flat`. `None` when it never was.
    pub fn flat_totals(&self) -> Option<FlatTotals> {
        self.record.met().map(|met| met.totals())
    }

    /// What sampling has found while the map was on a backend that does not show its contention
    /// ([`Backend::shows_contention`]). `None` when it never was.
    pub fn sampled_stalls(&self) -> Option<SampledStalls> {
        self.record.stalls().map(|stalls| stalls.look())
    }

    /// How the table stands that new keys go to: load, growth, length of chains, of which it looks at some 250. `None` but
    /// on `flat` and `fixed`.
    pub fn shape(&self) -> Option<TableShape> {
        self.ask(Table::shape)
    }

    /// Operations by shard so far, estimated from one in 64. Continued when the map comes back
    /// to `sharded`. `None` on a backend without shards that we can see.
    pub fn shard_operations(&self) -> Option<Box<[u64]>> {
        self.ask(|table| table.contention().map(|contention| contention.operations()))
    }

    /// Lock acquisitions that had to wait, by shard. `None` as above.
    pub fn shard_contentions(&self) -> Option<Box<[u64]>> {
        self.ask(|table| table.contention().map(|contention| contention.contentions()))
    }

    /// Operations of the busiest shard over the mean of all shards, in the last 5 to 10 seconds; 1 is even. `None`
    /// as above, and while there were no operations.
    pub fn shard_skew(&self) -> Option<f64> {
        self.ask(|table| table.contention().and_then(|contention| contention.skew()))
    }

    /// Compare-exchanges that operations have lost to others and tried again, over all the time the map was on a
    /// backend that counts them: `fixed`. `None` when it never was.
    pub fn cas_failures(&self) -> Option<u64> {
        self.record.lost()
    }

    /// Shows the stored value itself, for those who change it in place.
    pub(super) fn touch<Q, R>(&self, key: &Q, touch: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.switch.touch(self.hash(key), key, touch)
    }
}
