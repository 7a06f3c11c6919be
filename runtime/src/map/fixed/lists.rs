//! Lock-free lists of entries, one for each bucket. Who uses them says which bucket a key is in, the same one always.
//!
//! Source: M. Michael, "High performance dynamic lock-free hash tables and list-based sets", SPAA 2002. Differences:
//! lists are not sorted, as keys need no order; a new key goes to the end. A value is replaced together with its node,
//! by one compare-exchange, so that a replacement and a removal of the same entry cannot both succeed. Memory by
//! `reclaim`.
//!
//! A node's `next` carries a mark in its lowest bit. Marked means that the node is no longer in the map, and `next`
//! will not change any more; it leads to the node's successor, or to the node that replaced it.
//!
//! Writers: `next` of a node that is in the list, and the bucket's head, anyone by compare-exchange; `key` and `value`
//! the maker of the node before it is published, nobody after.
//! I1  A node is in the map from the exchange that makes a list lead to it (at the end, or from the node it replaces)
//!     to the one that marks its `next`. Both are of one word, so its life has exact ends.
//! I2  New keys are put only at the end: into an unmarked `next` that is null. A replacement takes its node's place. So
//!     the order of two entries never changes, and nothing comes between two neighbours.
//! I3  A key is in the map once. Who puts it has walked to the end over unmarked nodes without finding it; had it come
//!     in since, it would be behind that end (I2), and the end's `next` not null.
//! I4  Who unlinks a marked node, by an exchange of the unmarked pointer that leads to it, retires it. There is one
//!     such pointer and it changes once, so a node is retired once, after new readers can no longer find it.
//! O1  Every exchange that publishes a node is Release and every load that follows a pointer Acquire: they carry `key`
//!     and `value`. Marking is AcqRel with them.
//! L   Linearisation: a hit when the found node's `next` was loaded unmarked; a miss when the last one's `next` was
//! loaded
//!     null, if no marked node was met: what had been in the list then would have been met (I2). Who meets a marked
//!     node walks again and unlinks, as writers do. An update when it marks the node it read with the pointer to its
//!     successor: an entry that was changed or removed meanwhile has a marked `next`, so no update is lost.
//! Clearing a bucket marks node after node and then walks for those: each removal is an operation of its own.
//! Progress: lock-free. An operation starts over only when another one of the same bucket has succeeded. Time is in
//! proportion to the entries of the bucket: keys that all hash alike make a list of everything.

use super::super::structure::Revision;
#[cfg(not(any(rt_loom, rt_shuttle)))]
use crate::observe::Cells;
use crate::reclaim::Guard;
use crate::sync::atomic::{AtomicPtr, Ordering};
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

/// One operation: the guard it runs under, and where the compare-exchanges are counted that it loses to others.
#[derive(Clone, Copy)]
pub(super) struct Visit<'g> {
    guard: &'g Guard<'static>,
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    lost: Option<&'g Cells<1>>,
}

impl<'g> Visit<'g> {
    #[inline(always)]
    pub(super) fn under(guard: &'g Guard<'static>) -> Self {
        Self {
            guard,
            #[cfg(not(any(rt_loom, rt_shuttle)))]
            lost: None,
        }
    }

    /// One whose lost compare-exchanges are counted.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    #[inline(always)]
    pub(super) fn counting(guard: &'g Guard<'static>, lost: &'g Cells<1>) -> Self {
        Self { guard, lost: Some(lost) }
    }

    /// A compare-exchange has failed because another operation had been there.
    #[cold]
    #[inline(never)]
    fn lose(self) {
        #[cfg(not(any(rt_loom, rt_shuttle)))]
        if let Some(lost) = self.lost {
            lost.add(0, 1);
        }
    }
}

pub(super) struct Lists<K, V> {
    buckets: Box<[Link<K, V>]>,
}

// SAFETY: the lists own their keys and values, hand out `&K` and `&V` on any thread, and drop them on any thread.
unsafe impl<K: Send + Sync, V: Send + Sync> Send for Lists<K, V> {}
// SAFETY: as above.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for Lists<K, V> {}

impl<K, V> Lists<K, V> {
    /// What an entry allocates. Asked by what models leave out.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub(super) const ENTRY_BYTES: usize = size_of::<Node<K, V>>();

    /// With so many buckets, a power of two.
    pub(super) fn new(buckets: usize) -> Self {
        assert!(buckets.is_power_of_two(), "{buckets} buckets are no power of two");
        Self { buckets: (0..buckets).map(|_| AtomicPtr::new(ptr::null_mut())).collect() }
    }

    pub(super) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// There is always one: numbers of buckets are taken modulo how many there are, which is a power of two.
    #[inline(always)]
    fn bucket(&self, number: usize) -> &Link<K, V> {
        let number = number & (self.buckets.len() - 1);
        // SAFETY: there is at least one bucket (`new`), so the mask does not wrap, and what is masked is below their
        // number.
        unsafe { self.buckets.get_unchecked(number) }
    }
}

impl<K, V> Lists<K, V>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Shows the entry whose key `is` the one.
    #[inline(always)]
    pub(super) fn view<R>(
        &self,
        visit: Visit<'_>,
        bucket: usize,
        is: impl Fn(&K) -> bool,
        look: impl FnOnce(&K, &V) -> R,
    ) -> Option<R> {
        let found = match self.seek(visit, bucket, &is) {
            Some(found) => found,
            None => find_apart(self.bucket(bucket), is, visit),
        };
        found.map(|node| look(&node.key, &node.value))
    }

    /// What [`view`](Self::view) would come to; `None` when it would meet a marked node.
    #[inline(always)]
    pub(super) fn glance<R>(
        &self,
        visit: Visit<'_>,
        bucket: usize,
        is: impl Fn(&K) -> bool,
        look: impl FnOnce(&K, &V) -> R,
    ) -> Option<Option<R>> {
        Some(self.seek(visit, bucket, is)?.map(|node| look(&node.key, &node.value)))
    }

    /// The node of a key, if there is one; `None` when a marked node is met before that can be told.
    #[inline(always)]
    fn seek<'g>(&'g self, _visit: Visit<'g>, bucket: usize, is: impl Fn(&K) -> bool) -> Option<Option<&'g Node<K, V>>> {
        let mut node = self.bucket(bucket).load(Ordering::Acquire);
        // SAFETY: what a link led to under the guard stays for the guard (I4); published nodes are whole (O1).
        while let Some(at) = unsafe { node.as_ref() } {
            let next = at.next.load(Ordering::Acquire);
            if is_marked(next) {
                return None;
            }
            if is(&at.key) {
                return Some(Some(at)); // L
            }
            node = next;
        }
        Some(None)
    }

    /// Puts the entry in and shows the value it replaced.
    pub(super) fn put<R>(
        &self,
        visit: Visit<'_>,
        bucket: usize,
        key: K,
        value: V,
        look: impl FnOnce(&V) -> R,
    ) -> Option<R>
    where
        K: Eq,
    {
        let bucket = self.bucket(bucket);
        let mut node = Box::new(Node { next: AtomicPtr::new(ptr::null_mut()), key, value });
        loop {
            let place = find(bucket, |key| *key == node.key, visit);
            let put = match place.found {
                None => publish(place.link, node, visit).map(|()| None),
                Some((old, next)) => replace(&place, old, next, node, bucket, visit).map(|()| Some(old)),
            };
            match put {
                Ok(old) => return old.map(|old| look(&old.value)),
                Err(back) => node = back,
            }
        }
    }

    /// Puts the entry in if the key has none, else hands the value back.
    pub(super) fn put_absent(&self, visit: Visit<'_>, bucket: usize, key: K, value: V) -> Result<(), V>
    where
        K: Eq,
    {
        let bucket = self.bucket(bucket);
        let mut node = Box::new(Node { next: AtomicPtr::new(ptr::null_mut()), key, value });
        loop {
            let place = find(bucket, |key| *key == node.key, visit);
            if place.found.is_some() {
                return Err(node.value);
            }
            match publish(place.link, node, visit) {
                Ok(()) => return Ok(()),
                Err(back) => node = back,
            }
        }
    }

    /// Shows the value to `revise`, again when another update came first, and does what it says. Gives what its last
    /// run gave, which is the one that took effect.
    pub(super) fn revise<R>(
        &self,
        visit: Visit<'_>,
        bucket: usize,
        is: impl Fn(&K) -> bool,
        mut revise: impl FnMut(&V) -> (Revision<V>, R),
    ) -> Option<R>
    where
        K: Clone,
    {
        let bucket = self.bucket(bucket);
        loop {
            let place = find(bucket, &is, visit);
            let (old, next) = place.found?;
            let (revision, gift) = revise(&old.value);
            let done = match revision {
                Revision::Keep => true,
                Revision::Remove => remove(&place, old, next, bucket, visit),
                Revision::Replace(value) => {
                    let node = Box::new(Node { next: AtomicPtr::new(ptr::null_mut()), key: old.key.clone(), value });
                    replace(&place, old, next, node, bucket, visit).is_ok()
                }
            };
            if done {
                return Some(gift);
            }
        }
    }

    /// Removes the entry if `holds` says so of its value, and shows that. `holds` is called again when another update
    /// came first, and its last answer counts.
    pub(super) fn take_if<R>(
        &self,
        visit: Visit<'_>,
        bucket: usize,
        is: impl Fn(&K) -> bool,
        mut holds: impl FnMut(&V) -> bool,
        look: impl FnOnce(&V) -> R,
    ) -> Option<R> {
        let bucket = self.bucket(bucket);
        loop {
            let place = find(bucket, &is, visit);
            let (node, next) = place.found?;
            if !holds(&node.value) {
                return None;
            }
            if remove(&place, node, next, bucket, visit) {
                return Some(look(&node.value));
            }
        }
    }

    /// Removes every entry of a bucket that is there when its turn comes, and says how many it removed itself.
    pub(super) fn clear(&self, visit: Visit<'_>, bucket: usize) -> usize {
        let bucket = self.bucket(bucket);
        let mut removed = 0;
        let mut node = bucket.load(Ordering::Acquire);
        // SAFETY: what a link led to under the guard stays for the guard (I4); published nodes are whole (O1).
        while let Some(at) = unsafe { node.as_ref() } {
            let next = match mark(at, at.next.load(Ordering::Acquire), visit) {
                Ok(next) => {
                    removed += 1;
                    next
                }
                Err(next) => next,
            };
            node = next;
        }
        if removed > 0 {
            sweep(bucket, visit);
        }
        removed
    }

    /// Shows every entry of a bucket: those that are there all the time once, others at most once for each time they
    /// were put.
    pub(super) fn walk(&self, _visit: Visit<'_>, bucket: usize, mut show: impl FnMut(&K, &V)) {
        let mut node = self.bucket(bucket).load(Ordering::Acquire);
        // SAFETY: what a link led to under the guard stays for the guard (I4); published nodes are whole (O1).
        while let Some(at) = unsafe { node.as_ref() } {
            let next = at.next.load(Ordering::Acquire);
            if !is_marked(next) {
                show(&at.key, &at.value);
            }
            node = unmarked(next);
        }
    }
}

impl<K, V> Drop for Lists<K, V> {
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

/// The node of a key, for a look-up that has met a marked one.
#[cold]
#[inline(never)]
fn find_apart<'g, K: Send + 'static, V: Send + 'static>(
    bucket: &'g Link<K, V>,
    is: impl Fn(&K) -> bool,
    visit: Visit<'g>,
) -> Option<&'g Node<K, V>> {
    find(bucket, is, visit).found.map(|(node, _)| node) // L
}

/// Walks to the key or the end, over unmarked nodes only: it unlinks the marked ones that it meets.
fn find<'g, K: Send + 'static, V: Send + 'static>(
    bucket: &'g Link<K, V>,
    is: impl Fn(&K) -> bool,
    visit: Visit<'g>,
) -> Place<'g, K, V> {
    'again: loop {
        let mut link = bucket;
        let mut node = link.load(Ordering::Acquire);
        loop {
            // SAFETY: what a link led to under the guard stays for the guard (I4); published nodes are whole (O1).
            let Some(at) = (unsafe { node.as_ref() }) else { return Place { link, found: None } };
            let next = at.next.load(Ordering::Acquire);
            if is_marked(next) {
                if !try_unlink(link, at, unmarked(next), visit) {
                    continue 'again;
                }
                node = unmarked(next);
            } else if is(&at.key) {
                return Place { link, found: Some((at, next)) };
            } else {
                (link, node) = (&at.next, next);
            }
        }
    }
}

/// Makes the link at the end of a list lead to `node`; if it is the end no longer, the node comes back.
fn publish<K, V>(link: &Link<K, V>, node: Box<Node<K, V>>, visit: Visit<'_>) -> Result<(), Box<Node<K, V>>> {
    // It may come from a replacement that failed and still lead to where that would have been: published so, it would
    // close a circle.
    if cfg!(not(rt_mutant = "fixed_late_put_closes_circle")) {
        node.next.store(ptr::null_mut(), Ordering::Relaxed);
    }
    let node = Box::into_raw(node);
    match link.compare_exchange(ptr::null_mut(), node, Ordering::Release, Ordering::Relaxed) {
        Ok(_) => Ok(()),
        Err(_) => {
            visit.lose();
            // SAFETY: it came from a box and was not published.
            Err(unsafe { Box::from_raw(node) })
        }
    }
}

/// Puts `node` in the place of `old`, unless `old` has left the map; the node then comes back.
fn replace<K: Send + 'static, V: Send + 'static>(
    place: &Place<'_, K, V>,
    old: &Node<K, V>,
    mut next: *mut Node<K, V>,
    node: Box<Node<K, V>>,
    bucket: &Link<K, V>,
    visit: Visit<'_>,
) -> Result<(), Box<Node<K, V>>> {
    let node = Box::into_raw(node);
    while !is_marked(next) {
        // SAFETY: not published yet.
        unsafe { (*node).next.store(next, Ordering::Relaxed) };
        match old.next.compare_exchange(next, marked(node), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                unlink(place, old, node, bucket, visit);
                return Ok(());
            }
            // A new neighbour is no reason to give up; a mark is.
            Err(now) => {
                visit.lose();
                next = now;
            }
        }
    }
    // SAFETY: it came from a box and was not published.
    Err(unsafe { Box::from_raw(node) })
}

/// Takes the node out of the map, unless it has left.
fn remove<K: Send + 'static, V: Send + 'static>(
    place: &Place<'_, K, V>,
    node: &Node<K, V>,
    next: *mut Node<K, V>,
    bucket: &Link<K, V>,
    visit: Visit<'_>,
) -> bool {
    let marked = mark(node, next, visit);
    if let Ok(next) = marked {
        unlink(place, node, next, bucket, visit);
    }
    marked.is_ok()
}

/// Marks the node, whose `next` was seen to be this, and gives its successor; that of one that is marked already comes
/// as an error.
fn mark<K, V>(
    node: &Node<K, V>,
    mut next: *mut Node<K, V>,
    visit: Visit<'_>,
) -> Result<*mut Node<K, V>, *mut Node<K, V>> {
    while !is_marked(next) {
        match node.next.compare_exchange(next, marked(next), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok(next),
            // A new neighbour is no reason to give up; a mark is.
            Err(now) => {
                visit.lose();
                next = now;
            }
        }
    }
    Err(unmarked(next))
}

/// Takes a node that the caller has marked out of the list, or sees to it that somebody has. `next` is where its link
/// leads.
fn unlink<K: Send + 'static, V: Send + 'static>(
    place: &Place<'_, K, V>,
    node: &Node<K, V>,
    next: *mut Node<K, V>,
    bucket: &Link<K, V>,
    visit: Visit<'_>,
) {
    if !try_unlink(place.link, node, next, visit) {
        sweep(bucket, visit);
    }
}

/// Unlinks every marked node of a bucket that it meets. Runs no user code, so that an update that has happened cannot
/// end in a panic of somebody's `Eq`.
fn sweep<K: Send + 'static, V: Send + 'static>(bucket: &Link<K, V>, visit: Visit<'_>) {
    'again: loop {
        let mut link = bucket;
        let mut node = link.load(Ordering::Acquire);
        // SAFETY: what a link led to under the guard stays for the guard (I4); published nodes are whole (O1).
        while let Some(at) = unsafe { node.as_ref() } {
            let next = at.next.load(Ordering::Acquire);
            if is_marked(next) {
                if !try_unlink(link, at, unmarked(next), visit) {
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

/// Takes a marked node out of the list if `link` still leads to it, and retires it.
fn try_unlink<K: Send + 'static, V: Send + 'static>(
    link: &Link<K, V>,
    node: &Node<K, V>,
    next: *mut Node<K, V>,
    visit: Visit<'_>,
) -> bool {
    let node = ptr::from_ref(node).cast_mut();
    // AcqRel: it publishes `next` again, which this thread may have from another's exchange.
    let unlinked = link.compare_exchange(node, next, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    if unlinked || cfg!(rt_mutant = "fixed_retired_twice") {
        // SAFETY: nodes come from boxes; this exchange took it out of reach of new readers, and there is one such (I4).
        unsafe { visit.guard.retire(node) };
    } else {
        visit.lose();
    }
    unlinked
}
