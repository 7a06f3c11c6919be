//! Lock-free lists in a fixed number of buckets: no growth, no migration, so no operation waits for either.
//!
//! Source: M. Michael, "High performance dynamic lock-free hash tables and list-based sets", SPAA 2002. Differences: lists
//! are not sorted, as keys need no order; a new key goes to the end. A value is replaced together with its node, by one
//! compare-exchange, so that a replacement and a removal of the same entry cannot both succeed. Memory by `reclaim`.
//!
//! A node's `next` carries a mark in its lowest bit. Marked means that the node is no longer in the map, and `next` will
//! not change any more; it leads to the node's successor, or to the node that replaced it.
//!
//! Writers: `next` of a node that is in the list, and the bucket's head, anyone by compare-exchange; `key` and `value`
//! the maker of the node before it is published, nobody after.
//! I1  A node is in the map from the exchange that makes a list lead to it (at the end, or from the node it replaces) to
//!     the one that marks its `next`. Both are of one word, so its life has exact ends.
//! I2  New keys are put only at the end: into an unmarked `next` that is null. A replacement takes its node's place. So
//!     the order of two entries never changes, and nothing comes between two neighbours.
//! I3  A key is in the map once. Who puts it has walked to the end over unmarked nodes without finding it; had it come in
//!     since, it would be behind that end (I2), and the end's `next` not null.
//! I4  Who unlinks a marked node, by an exchange of the unmarked pointer that leads to it, retires it. There is one such
//!     pointer and it changes once, so a node is retired once, after new readers can no longer find it.
//! O1  Every exchange that publishes a node is Release and every load that follows a pointer Acquire: they carry `key` and
//!     `value`. Marking is AcqRel with them.
//! L   Linearisation: a hit when the found node's `next` was loaded unmarked; a miss when the last one's `next` was loaded
//!     null, if no marked node was met: what had been in the list then would have been met (I2). Who meets a marked node
//!     walks again and unlinks, as writers do. An update when it marks the node it read with the pointer to its
//!     successor: an entry that was changed or removed meanwhile has a marked `next`, so no update is lost.
//! Progress: lock-free. An operation starts over only when another one of the same bucket has succeeded. Time is in
//! proportion to the entries of the bucket: keys that all hash alike make a list of everything.

use crate::reclaim::{self, Guard};
use crate::sync::atomic::{AtomicPtr, Ordering};
use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::ptr;

struct Node<K, V> {
    next: AtomicPtr<Node<K, V>>,
    key: K,
    value: V,
}

const MARK: usize = 1;
const _: () = assert!(align_of::<Node<(), ()>>() > MARK, "a node's address has room for the mark");

fn is_marked<T>(pointer: *mut T) -> bool {
    pointer.addr() & MARK != 0
}

fn marked<T>(pointer: *mut T) -> *mut T {
    pointer.map_addr(|address| address | MARK)
}

fn unmarked<T>(pointer: *mut T) -> *mut T {
    pointer.map_addr(|address| address & !MARK)
}

type Link<K, V> = AtomicPtr<Node<K, V>>;

type Found<'g, K, V> = (&'g Node<K, V>, *mut Node<K, V>);

/// Where a key is: the link that leads to its node, and the node with the successor it had; or the link at the end.
struct Place<'g, K, V> {
    link: &'g Link<K, V>,
    found: Option<Found<'g, K, V>>,
}

/// A map of a fixed number of buckets. Any hasher; keys need no order.
///
/// Memory: 8 bytes a bucket, and for each entry its key, its value and 8 bytes, as the allocator rounds them. Choose about
/// as many buckets as there will be entries: the cost of an operation grows with entries per bucket.
///
/// Closures see a value where it lies, under a guard of [`reclaim`](crate::reclaim) and no lock; they may use this map and
/// any other. A panic in one, or in `Hash`, `Eq` or `Clone`, leaves the map as it was or with the whole update.
///
/// ```
/// use rheostat_runtime::map::FixedMap;
///
/// let map = FixedMap::new(1024, std::hash::RandomState::new());
/// assert_eq!(map.put("apples", 3, |old| *old), None);
/// map.revise("apples", |n| Some(n + 1));
/// assert_eq!(map.take("apples", |n| *n), Some(4));
/// ```
pub struct FixedMap<K, V, S> {
    buckets: Box<[Link<K, V>]>,
    hasher: S,
}

// SAFETY: the map owns its keys and values, hands out `&K` and `&V` on any thread, and drops them on any thread.
unsafe impl<K: Send + Sync, V: Send + Sync, S: Send> Send for FixedMap<K, V, S> {}
// SAFETY: as above.
unsafe impl<K: Send + Sync, V: Send + Sync, S: Sync> Sync for FixedMap<K, V, S> {}

impl<K, V, S> FixedMap<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher,
{
    /// An empty map of `buckets` buckets, rounded up to a power of two, at least one.
    ///
    /// # Panics
    /// When `buckets` has no power of two above it.
    pub fn new(buckets: usize, hasher: S) -> Self {
        let buckets = buckets.next_power_of_two();
        Self { buckets: (0..buckets).map(|_| AtomicPtr::new(ptr::null_mut())).collect(), hasher }
    }

    /// Buckets there are.
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// Shows the value of `key` to `look`; `None` if there is none.
    pub fn view<Q, R>(&self, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let guard = reclaim::pin();
        let bucket = self.bucket(key);
        let mut node = bucket.load(Ordering::Acquire);
        // SAFETY: what a link led to under the guard stays for the guard (I4); published nodes are whole (O1).
        while let Some(at) = unsafe { node.as_ref() } {
            let next = at.next.load(Ordering::Acquire);
            if is_marked(next) {
                return self.find(bucket, key, &guard).found.map(|(node, _)| look(&node.value)); // L
            }
            if at.key.borrow() == key {
                return Some(look(&at.value));
            }
            node = next;
        }
        None
    }

    /// Puts `value` in place of what `key` had, which is shown to `look`; `None` if it had none.
    pub fn put<R>(&self, key: K, value: V, look: impl FnOnce(&V) -> R) -> Option<R> {
        let guard = reclaim::pin();
        let bucket = self.bucket(&key);
        let mut node = Box::new(Node { next: AtomicPtr::new(ptr::null_mut()), key, value });
        loop {
            let place = self.find(bucket, &node.key, &guard);
            let Some((old, next)) = place.found else {
                match publish(place.link, ptr::null_mut(), node) {
                    Ok(()) => return None,
                    Err(back) => node = back,
                }
                continue;
            };
            match self.replace(&place, old, next, node, bucket, &guard) {
                Ok(()) => return Some(look(&old.value)),
                Err(back) => node = back,
            }
        }
    }

    /// Puts `value` if `key` has none.
    ///
    /// # Errors
    /// There is one; the value comes back.
    pub fn put_absent(&self, key: K, value: V) -> Result<(), V> {
        let guard = reclaim::pin();
        let bucket = self.bucket(&key);
        let mut node = Box::new(Node { next: AtomicPtr::new(ptr::null_mut()), key, value });
        loop {
            let place = self.find(bucket, &node.key, &guard);
            if place.found.is_some() {
                return Err(node.value);
            }
            match publish(place.link, ptr::null_mut(), node) {
                Ok(()) => return Ok(()),
                Err(back) => node = back,
            }
        }
    }

    /// Puts what `revise` makes of the value of `key`; leaves it if that is nothing. `None` if the key has no value. The
    /// closure is called again when another update came first.
    pub fn revise<Q>(&self, key: &Q, mut revise: impl FnMut(&V) -> Option<V>) -> Option<()>
    where
        K: Borrow<Q> + Clone,
        Q: Hash + Eq + ?Sized,
    {
        let guard = reclaim::pin();
        let bucket = self.bucket(key);
        loop {
            let place = self.find(bucket, key, &guard);
            let (old, next) = place.found?;
            let Some(value) = revise(&old.value) else { return Some(()) };
            let node = Box::new(Node { next: AtomicPtr::new(ptr::null_mut()), key: old.key.clone(), value });
            if self.replace(&place, old, next, node, bucket, &guard).is_ok() {
                return Some(());
            }
        }
    }

    /// Removes `key` and shows what it had to `look`; `None` if it had nothing.
    pub fn take<Q, R>(&self, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.take_if(key, |_| true, look)
    }

    /// Removes `key` if `holds` says so of its value, which is then shown to `look`. `holds` is called again when another
    /// update came first, and its last answer counts.
    pub fn take_if<Q, R>(&self, key: &Q, mut holds: impl FnMut(&V) -> bool, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let guard = reclaim::pin();
        let bucket = self.bucket(key);
        loop {
            let place = self.find(bucket, key, &guard);
            let (node, mut next) = place.found?;
            if !holds(&node.value) {
                return None;
            }
            while !is_marked(next) {
                match node.next.compare_exchange(next, marked(next), Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => {
                        self.unlink(&place, node, next, bucket, &guard);
                        return Some(look(&node.value));
                    }
                    // A new neighbour is no reason to ask again; a mark is.
                    Err(now) => next = now,
                }
            }
        }
    }

    /// Shows every entry of a bucket: those that are there all the time once, others at most once for each time they
    /// were put.
    ///
    /// # Panics
    /// When there is no such bucket.
    pub fn walk(&self, bucket: usize, mut visit: impl FnMut(&K, &V)) {
        let _guard = reclaim::pin();
        let mut node = self.buckets[bucket].load(Ordering::Acquire);
        // SAFETY: what a link led to under the guard stays for the guard (I4); published nodes are whole (O1).
        while let Some(at) = unsafe { node.as_ref() } {
            let next = at.next.load(Ordering::Acquire);
            if !is_marked(next) {
                visit(&at.key, &at.value);
            }
            node = unmarked(next);
        }
    }

    fn bucket<Q: Hash + ?Sized>(&self, key: &Q) -> &Link<K, V> {
        &self.buckets[self.hasher.hash_one(key) as usize & (self.buckets.len() - 1)]
    }

    /// Walks to `key` or the end, over unmarked nodes only: it unlinks the marked ones that it meets.
    fn find<'g, Q>(&'g self, bucket: &'g Link<K, V>, key: &Q, guard: &'g Guard<'_>) -> Place<'g, K, V>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        'again: loop {
            let mut link = bucket;
            let mut node = link.load(Ordering::Acquire);
            loop {
                // SAFETY: what a link led to under the guard stays for the guard (I4); published nodes are whole (O1).
                let Some(at) = (unsafe { node.as_ref() }) else { return Place { link, found: None } };
                let next = at.next.load(Ordering::Acquire);
                if is_marked(next) {
                    if !try_unlink(link, at, unmarked(next), guard) {
                        continue 'again;
                    }
                    node = unmarked(next);
                } else if at.key.borrow() == key {
                    return Place { link, found: Some((at, next)) };
                } else {
                    (link, node) = (&at.next, next);
                }
            }
        }
    }

    /// Puts `node` in the place of `old`, unless `old` has left the map; the node then comes back.
    fn replace(
        &self,
        place: &Place<'_, K, V>,
        old: &Node<K, V>,
        mut next: *mut Node<K, V>,
        node: Box<Node<K, V>>,
        bucket: &Link<K, V>,
        guard: &Guard<'_>,
    ) -> Result<(), Box<Node<K, V>>> {
        let node = Box::into_raw(node);
        while !is_marked(next) {
            // SAFETY: not published yet.
            unsafe { (*node).next.store(next, Ordering::Relaxed) };
            match old.next.compare_exchange(next, marked(node), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.unlink(place, old, node, bucket, guard);
                    return Ok(());
                }
                // A new neighbour is no reason to give up; a mark is.
                Err(now) => next = now,
            }
        }
        // SAFETY: it came from a box and was not published.
        Err(unsafe { Box::from_raw(node) })
    }

    /// Takes a node that the caller has marked out of the list, or sees to it that somebody has. `next` is where its link
    /// leads.
    fn unlink(
        &self,
        place: &Place<'_, K, V>,
        node: &Node<K, V>,
        next: *mut Node<K, V>,
        bucket: &Link<K, V>,
        guard: &Guard<'_>,
    ) {
        if !try_unlink(place.link, node, next, guard) {
            self.sweep(bucket, guard);
        }
    }

    /// Unlinks every marked node of a bucket that it meets. Runs no user code, so that an update that has happened cannot
    /// end in a panic of somebody's `Eq`.
    fn sweep(&self, bucket: &Link<K, V>, guard: &Guard<'_>) {
        'again: loop {
            let mut link = bucket;
            let mut node = link.load(Ordering::Acquire);
            // SAFETY: what a link led to under the guard stays for the guard (I4); published nodes are whole (O1).
            while let Some(at) = unsafe { node.as_ref() } {
                let next = at.next.load(Ordering::Acquire);
                if is_marked(next) {
                    if !try_unlink(link, at, unmarked(next), guard) {
                        continue 'again;
                    }
                } else {
                    link = &at.next;
                }
                node = unmarked(next);
            }
            return;
        }
    }
}

/// Makes an unmarked link that leads to `expected` lead to `node`; if it does no longer, the node comes back.
fn publish<K, V>(link: &Link<K, V>, expected: *mut Node<K, V>, node: Box<Node<K, V>>) -> Result<(), Box<Node<K, V>>> {
    let node = Box::into_raw(node);
    match link.compare_exchange(expected, node, Ordering::Release, Ordering::Relaxed) {
        Ok(_) => Ok(()),
        // SAFETY: it came from a box and was not published.
        Err(_) => Err(unsafe { Box::from_raw(node) }),
    }
}

/// Takes a marked node out of the list if `link` still leads to it, and retires it.
fn try_unlink<K: Send + 'static, V: Send + 'static>(
    link: &Link<K, V>,
    node: &Node<K, V>,
    next: *mut Node<K, V>,
    guard: &Guard<'_>,
) -> bool {
    let node = ptr::from_ref(node).cast_mut();
    // AcqRel: it publishes `next` again, which this thread may have from another's exchange.
    let unlinked = link.compare_exchange(node, next, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    if unlinked {
        // SAFETY: nodes come from boxes; this exchange took it out of reach of new readers, and there is one such (I4).
        unsafe { guard.retire(node) };
    }
    unlinked
}

impl<K, V, S> Drop for FixedMap<K, V, S> {
    fn drop(&mut self) {
        for bucket in &self.buckets {
            let mut node = bucket.load(Ordering::Relaxed);
            while !node.is_null() {
                // SAFETY: exclusive; what is linked, marked or not, has not been retired (I4).
                let owned = unsafe { Box::from_raw(node) };
                node = unmarked(owned.next.load(Ordering::Relaxed));
            }
        }
    }
}

impl<K, V, S> fmt::Debug for FixedMap<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedMap").field("buckets", &self.buckets.len()).finish_non_exhaustive()
    }
}
