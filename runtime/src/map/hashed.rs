//! Keys that carry their hash, so that a structure can grow without running a key's `Hash`, which may panic.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, Hasher};

/// A key with its hash: 8 bytes more.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hashed<K> {
    pub(super) hash: u64,
    pub(super) key: K,
}

impl<K> Hashed<K> {
    /// Whether this is the key. The hash goes first: comparing it costs nothing and settles almost every case.
    pub(super) fn is<Q>(&self, hash: u64, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.hash == hash && self.key.borrow() == key
    }
}

impl<K> Hash for Hashed<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// A borrowed key with its hash: what a [`Hashed`] is looked up by.
pub(super) struct Sought<'a, Q: ?Sized> {
    pub(super) hash: u64,
    pub(super) key: &'a Q,
}

impl<Q: ?Sized> Hash for Sought<'_, Q> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl<K: Borrow<Q>, Q: Eq + ?Sized> papaya::Equivalent<Hashed<K>> for Sought<'_, Q> {
    fn equivalent(&self, known: &Hashed<K>) -> bool {
        known.is(self.hash, self.key)
    }
}

/// The hasher of keys that are hashed already.
#[derive(Clone, Copy, Default)]
pub(super) struct Ready;

/// Passes one number on.
pub(super) struct ReadyHasher(u64);

impl BuildHasher for Ready {
    type Hasher = ReadyHasher;

    fn build_hasher(&self) -> ReadyHasher {
        ReadyHasher(0)
    }
}

impl Hasher for ReadyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes go in");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
