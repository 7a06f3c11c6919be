//! The `papaya` backend: papaya's open-addressing table of pointers to entries.
//!
//! Entries carry their hash or have an integer for a key ([`Kept`]): a table that grows is copied in blocks by all
//! threads that meet it, and one whose key's `Hash` panicked there would leave its block unfinished, and the others
//! waiting for it for good. Growth compares no keys and clones none, so with the hash at hand it runs no user code at
//! all.
//!
//! Updates need a key of their own, as an entry and its key are one allocation: `revise` finds the entry first, and
//! clones its key only if it is there. Memory that readers may still look at is retired to the process's own domain
//! (see `guard`), as that of our own structures. papaya issues membarrier system calls; a seccomp filter must allow
//! them.
//!
//! A removed key leaves a mark that no insert takes up. So a key that comes and goes fills the probe that leads to it,
//! and after some 5 log2(capacity) times the table is copied; until that is done writes go into the next one, whose
//! probe fills as well. By the 64 slots that papaya has each write copy unless told otherwise, 75 000 keys of a zipfian
//! law made tables faster than they were copied, 300 MiB of them in a minute, and every operation looked through them
//! all. Hence [`COPIED`].
//!
//! What it does not promise: to be quick while a few keys come and go, as the table is copied again and again; to stay
//! small while one key alone does in a table of over 160 times [`COPIED`] slots; nor to hold many keys of one and the
//! same 64-bit hash. papaya gives up a probe after five steps for each doubling of its table and makes a new one; with
//! few entries that is of the same size, and so on for ever, in the midst of the operation. Seeds are random, so nobody
//! who chooses keys can bring it about; a `Hash` that returns a constant can, from some twenty keys on.
//! Nor to drop the entry that is on its way in when the `Eq` of a key panics: it is leaked.
//! What waits for growth cannot be seen from outside, so stalls are sampled.
//! Progress: lock-free to read and write; a table that grows while it is being grown makes writers wait.

mod guard;

use super::hashed::{Kept, Knowing, Sought};
use super::keyed::Keyed;
use super::prefault;
use super::record::Record;
use super::stalls::Stalls;
use super::structure::{Revision, Structure, Under, position};
use crate::sync::Arc;
use ::papaya::{Compute, HashMap, Operation, ResizeMode};
use guard::Pinned;
use seize::Collector;
use std::borrow::Borrow;
use std::hash::Hash;

/// Slots that a write copies while the table moves. The more, the longer that write takes, a fifth of a millisecond
/// now; the fewer, the sooner tables follow each other faster than they are copied.
const COPIED: usize = 4096;

pub(super) struct Papaya<N, V> {
    map: HashMap<N, V, Knowing>,
    /// The map's, which papaya knows it by.
    collector: Arc<Collector>,
    hasher: Keyed,
    stalls: Arc<Stalls>,
}

impl<N: Kept, V: Send + 'static> Papaya<N, V> {
    /// `hasher` is the map's.
    pub(super) fn with_capacity(hasher: Keyed, record: &Record, capacity: usize) -> Self {
        prefault_table(capacity);
        let collector = Arc::<Collector>::default();
        let map = HashMap::builder()
            .capacity(capacity)
            .hasher(Knowing(hasher.clone()))
            .shared_collector(collector.clone())
            .resize_mode(ResizeMode::Incremental(COPIED))
            .build();
        Self { map, collector, hasher, stalls: record.watch_stalls() }
    }

    /// Runs `operation` with a guard for the map.
    #[inline(always)]
    fn pinned<R>(&self, under: Under<'_>, operation: impl FnOnce(&Pinned<'_>) -> R) -> R {
        Pinned::run(under, &self.collector, operation)
    }

    pub(super) fn stalls(&self) -> &Stalls {
        &self.stalls
    }
}

/// Has the system back with memory what the table of that many entries will be made of. papaya asks for zeroes, and an
/// allocator that has just had pages back that were written to writes those itself; from the system they come
/// unwritten, for the first of the map's users who meets each of them to wait for. A map that is handed over is in use
/// already.
fn prefault_table(capacity: usize) {
    /// papaya fills three quarters of its slots, whose number is a power of two, and has a byte and a pointer for each.
    const SLOT: usize = 1 + size_of::<usize>();
    let slots = (capacity / 3 * 4).next_power_of_two();
    prefault::write_to(slots * SLOT);
}

impl<N, V> Structure<N::Key, V> for Papaya<N, V>
where
    N: Kept,
    V: Send + Sync + 'static,
{
    #[inline(always)]
    fn view<Q, R>(&self, under: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        N::Key: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.pinned(under, |guard| self.map.get(&Sought { hash, key }, guard).map(look))
    }

    fn copy<Q>(&self, hash: u64, key: &Q) -> Option<(N::Key, V)>
    where
        N::Key: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
        V: Clone,
    {
        self.pinned(Under::NOTHING, |guard| {
            let (known, value) = self.map.get_key_value(&Sought { hash, key }, guard)?;
            Some((known.key().clone(), value.clone()))
        })
    }

    #[inline(always)]
    fn put<R>(&self, under: Under<'_>, hash: u64, key: N::Key, value: V, look: impl FnOnce(&V) -> R) -> Option<R> {
        self.pinned(under, |guard| self.map.insert(N::keep(hash, key), value, guard).map(look))
    }

    #[inline(always)]
    fn put_absent(&self, under: Under<'_>, hash: u64, key: N::Key, value: V) -> Result<(), V> {
        self.pinned(under, |guard| match self.map.try_insert(N::keep(hash, key), value, guard) {
            Ok(_) => Ok(()),
            Err(refused) => Err(refused.not_inserted),
        })
    }

    #[inline(always)]
    fn revise<Q, R>(
        &self,
        under: Under<'_>,
        hash: u64,
        key: &Q,
        mut revise: impl FnMut(&V) -> (Revision<V>, R),
    ) -> Option<R>
    where
        N::Key: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.pinned(under, |guard| {
            let (known, _) = self.map.get_key_value(&Sought { hash, key }, guard)?;
            // papaya runs the closure on one entry at a time and acts on the last run, whose gift stands here then.
            let mut given = None;
            let step = |entry: Option<(&N, &V)>| {
                let Some((_, value)) = entry else { return Operation::Abort(None) };
                match revise(value) {
                    (Revision::Keep, gift) => Operation::Abort(Some(gift)),
                    (Revision::Replace(value), gift) => {
                        given = Some(gift);
                        Operation::Insert(value)
                    }
                    (Revision::Remove, gift) => {
                        given = Some(gift);
                        Operation::Remove
                    }
                }
            };
            match self.map.compute(known.clone(), step, guard) {
                Compute::Aborted(kept) => kept,
                _ => given,
            }
        })
    }

    #[inline(always)]
    fn take<Q, R>(&self, under: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        N::Key: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.pinned(under, |guard| self.map.remove(&Sought { hash, key }, guard).map(look))
    }

    fn len(&self) -> usize {
        self.map.len()
    }

    /// papaya's own `clear` does not say how many there were.
    fn clear(&self) -> usize {
        self.pinned(Under::NOTHING, |guard| {
            self.map.keys(guard).filter(|key| self.map.remove(*key, guard).is_some()).count()
        })
    }

    fn reserve(&self, additional: usize) {
        self.pinned(Under::NOTHING, |guard| self.map.reserve(additional, guard));
    }

    fn entry_heap_bytes(&self) -> usize {
        size_of::<(N, V)>()
    }

    /// No lock is held; writers go on meanwhile.
    fn walk(&self, stripe: usize, visit: impl FnMut(u64, &N::Key, &V)) {
        self.walk_some(stripe, usize::MAX, visit);
    }

    fn walk_some(&self, _stripe: usize, most: usize, mut visit: impl FnMut(u64, &N::Key, &V)) {
        self.pinned(Under::NOTHING, |guard| {
            let entries = self.map.iter(guard).take(most);
            entries.for_each(|(known, value)| visit(position(known.hash_by(&self.hasher)), known.key(), value));
        });
    }
}
