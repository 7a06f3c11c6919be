//! The contract of a map's backends: what a structure must give so that a map can run on it, and leave it.
//!
//! It is the intersection of what the structures can do. Values are shown to closures, never handed out by
//! reference. The map hashes each key once and passes the hash along: every structure of a map sees the same hash of
//! a key, so that the order of scans ([`position`]) survives a hand-over. A structure may ignore it and hash by itself
//! as long as its positions agree.
//!
//! Closures given to a structure are the map's own: short, pure, using no map. They run under whatever lock the
//! structure has. What they call of the user's is `Clone` and `Eq` of values, which may panic: the structure must
//! then be as if the operation had not been called, and usable.

use crate::reclaim::{self, Guard};
use std::borrow::Borrow;
use std::hash::Hash;

/// What becomes of an entry that was looked at.
#[derive(Debug)]
pub enum Revision<V> {
    /// It stays as it is.
    Keep,
    /// This value takes the place of the one that was shown.
    Replace(V),
    /// It is removed.
    Remove,
}

/// Where a hash stands in the order of scans: a bijection that puts the bits by which dashmap chooses a shard first.
pub fn position(hash: u64) -> u64 {
    hash.rotate_left(7)
}

/// The hash that stands at a position.
pub fn hash_at(position: u64) -> u64 {
    position.rotate_right(7)
}

/// What the caller of an operation holds meanwhile: a guard of the process's own domain, so that a structure that needs one
/// does not take it again, or [`NOTHING`](Self::NOTHING). Structures take the former for proof that what they read stays,
/// which a guard of another domain is not: so only this crate says what is one.
#[derive(Debug, Clone, Copy)]
pub struct Under<'g>(Option<&'g Guard<'static>>);

impl<'g> Under<'g> {
    /// Nothing that would serve a structure.
    pub const NOTHING: Self = Self(None);

    /// # Safety
    /// The guard is of the process's own domain.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    #[inline(always)]
    pub(super) unsafe fn process_guard(guard: &'g Guard<'static>) -> Self {
        Self(Some(guard))
    }

    /// The guard of the process's own domain that the caller holds.
    #[inline(always)]
    pub fn guard(self) -> Option<&'g Guard<'static>> {
        self.0
    }

    /// Runs `operation` under a guard of the process's own domain.
    #[inline(always)]
    pub fn guarded<R>(self, operation: impl FnOnce(&Guard<'static>) -> R) -> R {
        let own;
        let guard = match self.0 {
            Some(guard) => guard,
            None => {
                own = reclaim::pin();
                &own
            }
        };
        operation(guard)
    }
}

/// An operation that is written for any structure, so that each can have its own copy of it.
pub trait Operation<K, V> {
    /// What it comes to.
    type Output;

    /// The hash of the key that it is about.
    fn hash(&self) -> u64;

    /// Does it.
    fn on<S: Structure<K, V>>(self, structure: &S) -> Self::Output;
}

/// A concurrent map from `K` to `V`. Operations on one key are linearizable.
pub trait Structure<K, V>: Send + Sync {
    /// Does an operation: on itself, or on the structure that it has chosen.
    #[inline(always)]
    fn perform<O: Operation<K, V>>(&self, operation: O) -> O::Output
    where
        Self: Sized,
    {
        operation.on(self)
    }

    /// Shows the value. May run under a shared lock, or on a copy.
    fn view<Q, R>(&self, under: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized;

    /// Whether [`glance`](Self::glance) is so short that it is worth a try before anything else.
    fn can_be_glanced_at(&self) -> bool {
        false
    }

    /// What [`view`](Self::view) would come to, if that can be told without waiting, looking again or a call of anything but
    /// `look`; else `None`, and `view` has to be asked, as also where the caller holds no guard.
    #[inline(always)]
    fn glance<Q, R>(&self, _under: Under<'_>, _hash: u64, _key: &Q, _look: impl FnOnce(&V) -> R) -> Option<Option<R>>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        None
    }

    /// A clone of the entry.
    fn copy<Q>(&self, hash: u64, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q> + Clone,
        Q: Hash + Ord + ?Sized,
        V: Clone;

    /// Puts the value in, whether the key was there or not, and shows the value it replaced.
    fn put<R>(&self, under: Under<'_>, hash: u64, key: K, value: V, look: impl FnOnce(&V) -> R) -> Option<R>;

    /// Puts the value in if the key is not there, else hands it back.
    fn put_absent(&self, under: Under<'_>, hash: u64, key: K, value: V) -> Result<(), V>;

    /// Shows the value to `revise` and does what that says, as one step. `None` when the key is not there, else what
    /// the run of `revise` that took effect gave beside its revision; a structure without locks may run it often.
    fn revise<Q, R>(
        &self,
        under: Under<'_>,
        hash: u64,
        key: &Q,
        revise: impl FnMut(&V) -> (Revision<V>, R),
    ) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized;

    /// Removes the entry and shows its value. Readers that found it before may still be looking.
    fn take<Q, R>(&self, under: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized;

    /// How many entries there are; may lag operations in flight.
    fn len(&self) -> usize;

    /// Whether there are none; may lag likewise.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes every entry that is there when its turn comes and says how many it removed itself.
    fn clear(&self) -> usize;

    /// Makes room for that many more entries, as far as the structure can.
    fn reserve(&self, additional: usize);

    /// Says that entries begin to leave for another structure, or that they no longer do: meanwhile there is no point in being
    /// smaller for fewer of them.
    fn set_leaving(&self, _leaving: bool) {}

    /// About how many bytes it allocates for each entry that is put in, beside the table that it was made with and beside what
    /// keys and values have on the heap themselves.
    fn entry_heap_bytes(&self) -> usize {
        0
    }

    /// Parts that can be walked one at a time, in the order of their entries' positions.
    fn stripes(&self) -> usize {
        1
    }

    /// The stripe that holds the entries at `position`.
    fn stripe_of(&self, _position: u64) -> usize {
        0
    }

    /// Whether `walk` may remove entries of the stripe while it shows them, and take its time: nothing is held that others
    /// could wait for, no lock and no guard of the process's own domain. One of a domain that is the structure's alone may be.
    fn walks_freely(&self) -> bool {
        false
    }

    /// Shows every entry of a stripe with its position, in any order. An entry that is there throughout is shown; one
    /// that is removed and put back meanwhile may be shown twice.
    fn walk(&self, stripe: usize, visit: impl FnMut(u64, &K, &V));

    /// Like [`walk`](Self::walk), but where stripes are long it may leave off after `most` entries: for who removes what is
    /// shown and then walks again, and so need not have it all at once.
    fn walk_some(&self, stripe: usize, _most: usize, visit: impl FnMut(u64, &K, &V)) {
        self.walk(stripe, visit);
    }
}
