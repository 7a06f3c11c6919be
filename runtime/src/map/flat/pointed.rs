//! The `flat` backend for any type: the table keeps a position and a pointer, the entry lies behind it.
//!
//! What stands at a position is one word: the address of the node of its entry or, where keys share all 64 bits of
//! their hash, the address of a list of such nodes, with its lowest bit set. A list is never changed but replaced by
//! another, so every change of what stands at a position, whatever the key, is one compare-and-swap of one word of
//! [`Tables`], made inside the odd window of its chain by comparing numbers. Chaining the nodes of a list by pointers
//! of their own would take a second protocol for what a random 64-bit hash never brings about; a list that is copied
//! costs time in step with its length, and only a `Hash` that sends many keys to one number pays that.
//!
//! Writers: a node's key and value by who makes it, before anybody sees it; after that only in place, by what the value
//! itself allows (a counter's atomic). Words by the table's writers.
//! P1  A node is reachable from one word at most, the table's own copy of which moves with the table, and once out
//!     never comes back. Whoever swapped the word that had it for one that has not retires it, and is the only one to.
//! P2  A list belongs to one word for as long as it stands, and is retired by whoever swapped that out.
//! P3  A word is followed only when its sequence was validated, under a guard that was taken before it was read. So
//!     what it leads to was reachable under the guard, and stays until that is dropped.
//! P4  No user code runs inside a window: keys are compared, cloned and dropped outside, on nodes that the guard keeps.
//! O6  A node's content is written before the word that leads to it, inside a window whose end is Release; the reader's
//!     first load of a sequence at that end or later is Acquire (O1), and through each later writer, or mover to
//!     another table, it is passed on (O3).
//! O7  A word swapped for an equal one that had been there before (a list shrinks to its last node) is no wrong
//!     success: the address cannot be another node's while the guard holds (P3), so the state swapped out is the one
//!     seen.
//!
//! Why a change in place is never lost: growth moves the word, not the node. One made to a node that was unlinked
//! meanwhile counts as made just before that; who unlinks and wants the last value closes it (`counter`).
//!
//! Progress: as the table's. `revise` runs again when the word has changed meanwhile; a try that fails was overtaken.
//! Not promised: when a value that was taken out or replaced is dropped; that is after a grace period.

use super::counts::Counts;
use super::stripes::{STRIPES, positions_of, stripe_of};
use super::tables::Tables;
use crate::map::structure::{Revision, Structure, Under, position};
use crate::reclaim::{self, Guard};
use crate::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::borrow::Borrow;
use std::hash::Hash;
use std::marker::PhantomData;
use std::{mem, ptr, slice};

/// The bit of a word that leads to a list.
const LIST: u64 = 1;

/// Aligned so that the lowest bit of its address is free.
#[repr(align(8))]
struct Node<K, V> {
    key: K,
    value: V,
}

/// A concurrent map of any types, each entry in a node of its own.
pub struct Pointed<K, V> {
    tables: Tables<u64, u64>,
    /// Entries beyond the first of their position.
    beside: AtomicI64,
    _nodes: PhantomData<(K, V)>,
}

/// A node or a list that nobody else sees yet. Frees it, unless it is let go.
struct Unseen<K, V> {
    word: u64,
    _node: PhantomData<Node<K, V>>,
}

impl<K, V> Unseen<K, V> {
    fn node(key: K, value: V) -> Self {
        let node = Box::into_raw(Box::new(Node { key, value }));
        Self { word: node.expose_provenance() as u64, _node: PhantomData }
    }

    /// The word for these nodes; `None` for none. It does not own them.
    fn list(nodes: Vec<u64>) -> Option<Next<K, V>> {
        match *nodes {
            [] => None,
            [node] => Some(Next::Node(node)),
            _ => {
                let list = Box::into_raw(Box::new(nodes));
                Some(Next::List(Self { word: list.expose_provenance() as u64 | LIST, _node: PhantomData }))
            }
        }
    }

    fn get(&self) -> &Node<K, V> {
        // SAFETY: made by `node`, and alive as long as this is.
        unsafe { &*ptr::with_exposed_provenance(self.word as usize) }
    }

    /// Takes the node apart.
    fn into_node(self) -> Box<Node<K, V>> {
        let node = ptr::with_exposed_provenance_mut(self.let_go() as usize);
        // SAFETY: made by `node` from a box, and nobody saw it.
        unsafe { Box::from_raw(node) }
    }

    /// It is the table's now.
    fn let_go(self) -> u64 {
        let word = self.word;
        mem::forget(self);
        word
    }
}

impl<K, V> Drop for Unseen<K, V> {
    fn drop(&mut self) {
        // SAFETY: made from a box by `node` or `list`, which the bit tells apart, and nobody saw it.
        unsafe {
            if self.word & LIST == 0 {
                drop(Box::<Node<K, V>>::from_raw(ptr::with_exposed_provenance_mut(self.word as usize)));
            } else {
                drop(Box::from_raw(list_at(self.word)));
            }
        }
    }
}

/// What is to stand at a position next.
enum Next<K, V> {
    /// A node that was there already, or that somebody else owns.
    Node(u64),
    List(Unseen<K, V>),
}

impl<K, V> Next<K, V> {
    fn word(&self) -> u64 {
        match self {
            Next::Node(word) => *word,
            Next::List(list) => list.word,
        }
    }

    fn let_go(self) {
        if let Next::List(list) = self {
            list.let_go();
        }
    }
}

fn list_at(word: u64) -> *mut Vec<u64> {
    ptr::with_exposed_provenance_mut((word & !LIST) as usize)
}

/// Positions stand for themselves.
fn itself(position: &u64) -> u64 {
    *position
}

/// The addresses of the nodes that a word leads to.
///
/// # Safety
/// The word was read, or put in, under the guard (P3).
unsafe fn nodes_of<'g>(word: &'g u64, _guard: &'g Guard<'_>) -> &'g [u64] {
    if word & LIST == 0 {
        slice::from_ref(word)
    } else {
        // SAFETY: by the caller; lists are not changed once they are seen.
        unsafe { &*list_at(*word) }
    }
}

impl<K, V> Pointed<K, V> {
    /// An empty map with room for that many entries.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::on(Tables::new(capacity.max(16), Counts::default()))
    }

    /// Of a map that may have been on such tables before: `met` is the map's.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub(in crate::map) fn in_map(capacity: usize, met: crate::sync::Arc<super::Met>) -> Self {
        // A map that is handed over is in use already.
        Self::on(Tables::populated(capacity.max(16), Counts::beside(met)))
    }

    fn on(tables: Tables<u64, u64>) -> Self {
        Self { tables, beside: AtomicI64::new(0), _nodes: PhantomData }
    }

    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub(in crate::map) fn shape(&self) -> crate::map::TableShape {
        self.tables.shape()
    }

    /// Moves to a table of twice the size, though nothing asks for it. For models.
    #[doc(hidden)]
    pub fn begin_growth(&self) {
        let guard = reclaim::pin();
        self.tables.resize(self.tables.current(&guard), super::Resize::Grow(2), &itself, &guard);
    }

    /// The node at an address from `nodes_of`.
    ///
    /// # Safety
    /// The word that led to it was read under the guard (P3).
    unsafe fn node<'g>(address: u64, _guard: &'g Guard<'_>) -> &'g Node<K, V> {
        // SAFETY: by the caller.
        unsafe { &*ptr::with_exposed_provenance(address as usize) }
    }

    /// The node of a key, with its address, if it is among those of a word that was read under the guard.
    fn find<'g, Q>(word: u64, key: &Q, guard: &'g Guard<'_>) -> Option<(u64, &'g Node<K, V>)>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        // SAFETY: `word` is from `Tables`, which validated it, under this guard.
        unsafe {
            let mut nodes = nodes_of(&word, guard).iter().map(|address| (*address, Self::node(*address, guard)));
            nodes.find(|(_, node)| node.key.borrow() == key)
        }
    }

    /// The nodes of a word but one, and another one.
    fn change(word: u64, without: Option<u64>, with: Option<u64>, guard: &Guard<'_>) -> Option<Next<K, V>> {
        if word & LIST == 0 && without.is_some() {
            return with.map(Next::Node);
        }
        // SAFETY: as in `find`.
        let nodes = unsafe { nodes_of(&word, guard) };
        let left = nodes.iter().copied().filter(|node| Some(*node) != without);
        Unseen::list(left.chain(with).collect())
    }

    #[inline]
    fn read(&self, position: u64, guard: &Guard<'_>) -> Option<u64> {
        self.tables.get(position, &position, guard)
    }

    /// Puts `next` in the place of `seen`, or nothing; false when something else stands there by now.
    fn swap(&self, position: u64, seen: u64, next: Option<Next<K, V>>, guard: &Guard<'_>) -> bool {
        let Some(next) = next else {
            return self.tables.remove(position, &position, |word| *word == seen, &itself, guard).is_some();
        };
        let swapped = self.tables.exchange(position, &position, &next.word(), |word| *word == seen, guard).is_ok();
        if swapped {
            next.let_go();
        }
        swapped
    }
}

impl<K, V> Pointed<K, V>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Retires the list that a word led to, if it did.
    ///
    /// # Safety
    /// The caller swapped the word out (P2).
    unsafe fn retire_list(word: u64, guard: &Guard<'_>) {
        if word & LIST != 0 {
            // SAFETY: by the caller; it came from a box.
            unsafe { guard.retire(list_at(word)) };
        }
    }

    /// # Safety
    /// The caller swapped the word that had this node for one that has not (P1).
    unsafe fn retire_node(address: u64, guard: &Guard<'_>) {
        let node = ptr::with_exposed_provenance_mut::<Node<K, V>>(address as usize);
        if cfg!(rt_mutant = "flat_node_freed_at_once") {
            // SAFETY: it came from a box. That a reader may hold it is what the mutant is about.
            return drop(unsafe { Box::from_raw(node) });
        }
        // SAFETY: by the caller; it came from a box.
        unsafe { guard.retire(node) };
    }

    /// Unlinks a node, with or without another in its place; false, and nothing done, when `seen` is overtaken.
    fn unlink(&self, position: u64, seen: u64, node: u64, with: Option<u64>, guard: &Guard<'_>) -> bool {
        if !self.swap(position, seen, Self::change(seen, Some(node), with, guard), guard) {
            return false;
        }
        if seen & LIST != 0 && with.is_none() {
            self.beside.fetch_sub(1, Relaxed);
        }
        // SAFETY: `swap` took out both.
        unsafe {
            Self::retire_list(seen, guard);
            Self::retire_node(node, guard);
        }
        true
    }

    /// Adds a node whose key is not among those of `seen`; false, and nothing done, when that is overtaken.
    fn link(&self, position: u64, seen: Option<u64>, node: u64, guard: &Guard<'_>) -> bool {
        let Some(seen) = seen else {
            return self.tables.insert_absent(position, &position, &node, &itself, guard).is_none();
        };
        if !self.swap(position, seen, Self::change(seen, None, Some(node), guard), guard) {
            return false;
        }
        self.beside.fetch_add(1, Relaxed);
        // SAFETY: `swap` took it out.
        unsafe { Self::retire_list(seen, guard) };
        true
    }
}

impl<K, V> Structure<K, V> for Pointed<K, V>
where
    K: Hash + Ord + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Under no lock; the value may be taken out meanwhile.
    #[inline(never)]
    fn view<Q, R>(&self, under: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        under.guarded(|guard| {
            let word = self.read(position(hash), guard)?;
            Self::find(word, key, guard).map(|(_, node)| look(&node.value))
        })
    }

    fn copy<Q>(&self, hash: u64, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
        V: Clone,
    {
        let guard = reclaim::pin();
        let word = self.read(position(hash), &guard)?;
        Self::find(word, key, &guard).map(|(_, node)| (node.key.clone(), node.value.clone()))
    }

    #[inline(never)]
    fn put<R>(&self, under: Under<'_>, hash: u64, key: K, value: V, look: impl FnOnce(&V) -> R) -> Option<R> {
        let position = position(hash);
        under.guarded(|guard| {
            let new = Unseen::node(key, value);
            loop {
                let seen = self.read(position, guard);
                match seen.and_then(|word| Self::find(word, &new.get().key, guard).map(|found| (word, found))) {
                    Some((word, (address, old))) => {
                        if self.unlink(position, word, address, Some(new.word), guard) {
                            new.let_go();
                            return Some(look(&old.value));
                        }
                    }
                    None => {
                        if self.link(position, seen, new.word, guard) {
                            new.let_go();
                            return None;
                        }
                    }
                }
            }
        })
    }

    #[inline(never)]
    fn put_absent(&self, under: Under<'_>, hash: u64, key: K, value: V) -> Result<(), V> {
        let position = position(hash);
        under.guarded(|guard| {
            let new = Unseen::node(key, value);
            loop {
                let seen = self.read(position, guard);
                if seen.is_some_and(|word| Self::find(word, &new.get().key, guard).is_some()) {
                    return Err(new.into_node().value);
                }
                if self.link(position, seen, new.word, guard) {
                    new.let_go();
                    return Ok(());
                }
            }
        })
    }

    #[inline(never)]
    fn revise<Q, R>(
        &self,
        under: Under<'_>,
        hash: u64,
        key: &Q,
        mut revise: impl FnMut(&V) -> (Revision<V>, R),
    ) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let position = position(hash);
        under.guarded(|guard| {
            loop {
                let word = self.read(position, guard)?;
                let (address, old) = Self::find(word, key, guard)?;
                let (revision, given) = revise(&old.value);
                let done = match revision {
                    Revision::Keep => true,
                    Revision::Remove => self.unlink(position, word, address, None, guard),
                    Revision::Replace(value) => {
                        let new = Unseen::node(old.key.clone(), value);
                        let swapped = self.unlink(position, word, address, Some(new.word), guard);
                        if swapped {
                            new.let_go();
                        }
                        swapped
                    }
                };
                if done {
                    return Some(given);
                }
            }
        })
    }

    #[inline(never)]
    fn take<Q, R>(&self, under: Under<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let position = position(hash);
        under.guarded(|guard| {
            loop {
                let word = self.read(position, guard)?;
                let (address, old) = Self::find(word, key, guard)?;
                if self.unlink(position, word, address, None, guard) {
                    return Some(look(&old.value));
                }
            }
        })
    }

    fn len(&self) -> usize {
        self.tables.len().saturating_add_signed(self.beside.load(Relaxed).max(0) as isize)
    }

    /// Position by position; the table goes down to what it was made for.
    fn clear(&self) -> usize {
        let guard = reclaim::pin();
        let mut cleared = 0;
        self.tables.walk(0, u64::MAX, &itself, &mut |position, _, _| {
            let Some(word) = self.tables.remove(position, &position, |_| true, &itself, &guard) else { return };
            // SAFETY: taken out here and now, under the guard.
            unsafe {
                let nodes = nodes_of(&word, &guard);
                nodes.iter().for_each(|node| Self::retire_node(*node, &guard));
                cleared += nodes.len();
                self.beside.fetch_sub(nodes.len() as i64 - 1, Relaxed);
                Self::retire_list(word, &guard);
            }
        });
        drop(guard);
        self.tables.shrink(&itself);
        cleared
    }

    fn reserve(&self, additional: usize) {
        self.tables.reserve(additional, &itself);
    }

    #[cfg(not(any(rt_loom, rt_shuttle)))]
    fn set_leaving(&self, leaving: bool) {
        self.tables.set_leaving(leaving);
    }

    fn entry_heap_bytes(&self) -> usize {
        size_of::<Node<K, V>>()
    }

    fn stripes(&self) -> usize {
        STRIPES
    }

    fn stripe_of(&self, position: u64) -> usize {
        stripe_of(position)
    }

    /// Chain by chain, each as it was at one moment, in the order of positions but for those of a chain.
    fn walk(&self, stripe: usize, mut visit: impl FnMut(u64, &K, &V)) {
        let guard = reclaim::pin();
        let (first, last) = positions_of(stripe);
        self.tables.walk(first, last, &itself, &mut |position, _, word| {
            // SAFETY: the word was read validated, under the guard.
            unsafe {
                for address in nodes_of(word, &guard) {
                    let node = Self::node(*address, &guard);
                    visit(position, &node.key, &node.value);
                }
            }
        });
    }
}

impl<K, V> Drop for Pointed<K, V> {
    fn drop(&mut self) {
        // Gathered first: a drop that panics must not keep the others from being dropped.
        let mut unseen = Vec::<Unseen<K, V>>::new();
        let guard = reclaim::pin();
        self.tables.walk(0, u64::MAX, &itself, &mut |_, _, word| {
            // SAFETY: nobody else is in the map; each word is met once.
            let nodes = unsafe { nodes_of(word, &guard) };
            unseen.extend(nodes.iter().map(|node| Unseen { word: *node, _node: PhantomData }));
            if word & LIST != 0 {
                unseen.push(Unseen { word: *word, _node: PhantomData });
            }
        });
        drop(guard);
    }
}
