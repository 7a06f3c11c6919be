//! Operations on a map that stays, as each structure has them: a copy for each, out of line, that holds the guard and
//! nothing else.
//!
//! What chooses between structures jumps to a copy with everything in registers and is done: no frame of its own, no
//! result that goes through it, and no registers saved for structures other than the one at work.

use super::structure::{Operation, Revision, Structure};
use super::switch::Grace;
use std::borrow::Borrow;
use std::hash::Hash;

/// [`Structure::view`].
pub(super) struct View<'s, 'k, G: Grace + 's, Q: ?Sized, F> {
    pub(super) guard: G::Guard<'s>,
    pub(super) hash: u64,
    pub(super) key: &'k Q,
    pub(super) look: F,
}

impl<K, V, G, Q, F, R> Operation<K, V> for View<'_, '_, G, Q, F>
where
    K: Borrow<Q>,
    G: Grace,
    Q: Hash + Ord + ?Sized,
    F: FnMut(&V) -> R,
{
    type Output = Option<R>;

    fn hash(&self) -> u64 {
        self.hash
    }

    #[inline(always)]
    fn on<T: Structure<K, V>>(self, structure: &T) -> Option<R> {
        let Self { guard, hash, key, look } = self;
        view::<T, K, V, G, Q, R>(structure, hash, key, guard, look)
    }
}

#[inline(never)]
fn view<T, K, V, G, Q, R>(
    structure: &T,
    hash: u64,
    key: &Q,
    guard: G::Guard<'_>,
    mut look: impl FnMut(&V) -> R,
) -> Option<R>
where
    T: Structure<K, V>,
    K: Borrow<Q>,
    G: Grace,
    Q: Hash + Ord + ?Sized,
{
    match structure.glance(G::under(&guard), hash, key, &mut look) {
        Some(found) => G::leave_with(guard, found),
        None => view_closely::<T, K, V, G, Q, R>(structure, hash, key, guard, look),
    }
}

/// Where a glance did not tell, or the structure knows none. Last, so that a glance saves no registers for it.
#[inline(never)]
fn view_closely<T, K, V, G, Q, R>(
    structure: &T,
    hash: u64,
    key: &Q,
    guard: G::Guard<'_>,
    look: impl FnMut(&V) -> R,
) -> Option<R>
where
    T: Structure<K, V>,
    K: Borrow<Q>,
    G: Grace,
    Q: Hash + Ord + ?Sized,
{
    let found = structure.view(G::under(&guard), hash, key, look);
    G::leave_with(guard, found)
}

/// [`Structure::view`] for who can look but once.
pub(super) struct Touch<'s, 'k, G: Grace + 's, Q: ?Sized, F> {
    pub(super) guard: G::Guard<'s>,
    pub(super) hash: u64,
    pub(super) key: &'k Q,
    pub(super) touch: F,
}

impl<K, V, G, Q, F, R> Operation<K, V> for Touch<'_, '_, G, Q, F>
where
    K: Borrow<Q>,
    G: Grace,
    Q: Hash + Ord + ?Sized,
    F: FnOnce(&V) -> R,
{
    type Output = Option<R>;

    fn hash(&self) -> u64 {
        self.hash
    }

    #[inline(always)]
    fn on<T: Structure<K, V>>(self, structure: &T) -> Option<R> {
        let Self { guard, hash, key, touch: how } = self;
        touch::<T, K, V, G, Q, R>(structure, hash, key, guard, how)
    }
}

#[inline(never)]
fn touch<T, K, V, G, Q, R>(
    structure: &T,
    hash: u64,
    key: &Q,
    guard: G::Guard<'_>,
    touch: impl FnOnce(&V) -> R,
) -> Option<R>
where
    T: Structure<K, V>,
    K: Borrow<Q>,
    G: Grace,
    Q: Hash + Ord + ?Sized,
{
    let touched = structure.view(G::under(&guard), hash, key, touch);
    G::leave_with(guard, touched)
}

/// [`Structure::put`].
pub(super) struct Put<'s, K, V, G: Grace + 's, F> {
    pub(super) guard: G::Guard<'s>,
    pub(super) hash: u64,
    pub(super) key: K,
    pub(super) value: V,
    pub(super) look: F,
}

impl<K, V, G, F, R> Operation<K, V> for Put<'_, K, V, G, F>
where
    G: Grace,
    F: FnOnce(&V) -> R,
{
    type Output = Option<R>;

    fn hash(&self) -> u64 {
        self.hash
    }

    #[inline(always)]
    fn on<T: Structure<K, V>>(self, structure: &T) -> Option<R> {
        let Self { guard, hash, key, value, look } = self;
        put::<T, K, V, G, R>(structure, hash, key, value, guard, look)
    }
}

#[inline(never)]
fn put<T, K, V, G, R>(
    structure: &T,
    hash: u64,
    key: K,
    value: V,
    guard: G::Guard<'_>,
    look: impl FnOnce(&V) -> R,
) -> Option<R>
where
    T: Structure<K, V>,
    G: Grace,
{
    let replaced = structure.put(G::under(&guard), hash, key, value, look);
    G::leave_with(guard, replaced)
}

/// [`Structure::put_absent`].
pub(super) struct PutAbsent<'s, K, V, G: Grace + 's> {
    pub(super) guard: G::Guard<'s>,
    pub(super) hash: u64,
    pub(super) key: K,
    pub(super) value: V,
}

impl<K, V, G: Grace> Operation<K, V> for PutAbsent<'_, K, V, G> {
    type Output = Result<(), V>;

    fn hash(&self) -> u64 {
        self.hash
    }

    #[inline(always)]
    fn on<T: Structure<K, V>>(self, structure: &T) -> Result<(), V> {
        let Self { guard, hash, key, value } = self;
        put_absent::<T, K, V, G>(structure, hash, key, value, guard)
    }
}

#[inline(never)]
fn put_absent<T, K, V, G>(structure: &T, hash: u64, key: K, value: V, guard: G::Guard<'_>) -> Result<(), V>
where
    T: Structure<K, V>,
    G: Grace,
{
    let put = structure.put_absent(G::under(&guard), hash, key, value);
    G::leave_with(guard, put)
}

/// [`Structure::revise`].
pub(super) struct Revise<'s, 'k, G: Grace + 's, Q: ?Sized, F> {
    pub(super) guard: G::Guard<'s>,
    pub(super) hash: u64,
    pub(super) key: &'k Q,
    pub(super) revise: F,
}

impl<K, V, G, Q, F, R> Operation<K, V> for Revise<'_, '_, G, Q, F>
where
    K: Borrow<Q>,
    G: Grace,
    Q: Hash + Ord + ?Sized,
    F: FnMut(&V) -> (Revision<V>, R),
{
    type Output = Option<R>;

    fn hash(&self) -> u64 {
        self.hash
    }

    #[inline(always)]
    fn on<T: Structure<K, V>>(self, structure: &T) -> Option<R> {
        let Self { guard, hash, key, revise: how } = self;
        revise::<T, K, V, G, Q, R>(structure, hash, key, guard, how)
    }
}

#[inline(never)]
fn revise<T, K, V, G, Q, R>(
    structure: &T,
    hash: u64,
    key: &Q,
    guard: G::Guard<'_>,
    revise: impl FnMut(&V) -> (Revision<V>, R),
) -> Option<R>
where
    T: Structure<K, V>,
    K: Borrow<Q>,
    G: Grace,
    Q: Hash + Ord + ?Sized,
{
    let revised = structure.revise(G::under(&guard), hash, key, revise);
    G::leave_with(guard, revised)
}

/// [`Structure::take`].
pub(super) struct Take<'s, 'k, G: Grace + 's, Q: ?Sized, F> {
    pub(super) guard: G::Guard<'s>,
    pub(super) hash: u64,
    pub(super) key: &'k Q,
    pub(super) look: F,
}

impl<K, V, G, Q, F, R> Operation<K, V> for Take<'_, '_, G, Q, F>
where
    K: Borrow<Q>,
    G: Grace,
    Q: Hash + Ord + ?Sized,
    F: FnOnce(&V) -> R,
{
    type Output = Option<R>;

    fn hash(&self) -> u64 {
        self.hash
    }

    #[inline(always)]
    fn on<T: Structure<K, V>>(self, structure: &T) -> Option<R> {
        let Self { guard, hash, key, look } = self;
        take::<T, K, V, G, Q, R>(structure, hash, key, guard, look)
    }
}

#[inline(never)]
fn take<T, K, V, G, Q, R>(
    structure: &T,
    hash: u64,
    key: &Q,
    guard: G::Guard<'_>,
    look: impl FnOnce(&V) -> R,
) -> Option<R>
where
    T: Structure<K, V>,
    K: Borrow<Q>,
    G: Grace,
    Q: Hash + Ord + ?Sized,
{
    let taken = structure.take(G::under(&guard), hash, key, look);
    G::leave_with(guard, taken)
}
