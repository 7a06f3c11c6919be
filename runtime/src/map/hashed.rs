//! How structures keep keys, so that they can grow without running a key's `Hash`, which may panic: with their hash
//! beside them, or bare, where a key is an integer, whose hash is two multiplications and no user code. 8 bytes less
//! there are a third of an entry, and of the cache misses that a large map is made of.

use super::keyed::Keyed;
use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, Hasher};

/// A key as a structure keeps it.
pub(super) trait Kept: Hash + Eq + Clone + Send + Sync + 'static {
    type Key: Hash + Ord + Clone + Send + Sync + 'static;

    fn keep(hash: u64, key: Self::Key) -> Self;

    fn key(&self) -> &Self::Key;

    /// Its hash; `hasher` is the map's.
    fn hash_by(&self, hasher: &Keyed) -> u64;

    /// Whether this is the key. Only keys of equal hashes need be told apart.
    fn is<Q>(&self, hash: u64, key: &Q) -> bool
    where
        Self::Key: Borrow<Q>,
        Q: Eq + ?Sized;
}

/// A key with its hash.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hashed<K> {
    hash: u64,
    key: K,
}

impl<K: Hash + Ord + Clone + Send + Sync + 'static> Kept for Hashed<K> {
    type Key = K;

    #[inline(always)]
    fn keep(hash: u64, key: K) -> Self {
        Self { hash, key }
    }

    #[inline(always)]
    fn key(&self) -> &K {
        &self.key
    }

    #[inline(always)]
    fn hash_by(&self, _: &Keyed) -> u64 {
        self.hash
    }

    /// The hash goes first: comparing it costs nothing and settles almost every case.
    #[inline(always)]
    fn is<Q>(&self, hash: u64, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.hash == hash && self.key.borrow() == key
    }
}

impl<K> Hash for Hashed<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.hash.into());
    }
}

/// An integer of a word or less.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Bare<K>(K);

impl<K: Hash + Ord + Clone + Send + Sync + 'static> Kept for Bare<K> {
    type Key = K;

    #[inline(always)]
    fn keep(_: u64, key: K) -> Self {
        Self(key)
    }

    #[inline(always)]
    fn key(&self) -> &K {
        &self.0
    }

    #[inline(always)]
    fn hash_by(&self, hasher: &Keyed) -> u64 {
        hasher.hash_one(&self.0)
    }

    #[inline(always)]
    fn is<Q>(&self, _: u64, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.0.borrow() == key
    }
}

/// A borrowed key with its hash: what a kept one is looked up by.
pub(super) struct Sought<'a, Q: ?Sized> {
    pub(super) hash: u64,
    pub(super) key: &'a Q,
}

impl<Q: ?Sized> Hash for Sought<'_, Q> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.hash.into());
    }
}

impl<N, Q> papaya::Equivalent<N> for Sought<'_, Q>
where
    N: Kept<Key: Borrow<Q>>,
    Q: Eq + ?Sized,
{
    #[inline(always)]
    fn equivalent(&self, known: &N) -> bool {
        known.is(self.hash, self.key)
    }
}

/// Hashes as the map does, unless it is given a hash, which it passes on: as the 128 bits that no key kept [`Bare`]
/// has.
#[derive(Clone)]
pub(super) struct Knowing(pub(super) Keyed);

pub(super) enum KnowingHasher {
    Told(u64),
    Hashing(<Keyed as BuildHasher>::Hasher),
}

impl BuildHasher for Knowing {
    type Hasher = KnowingHasher;

    #[inline(always)]
    fn build_hasher(&self) -> KnowingHasher {
        KnowingHasher::Hashing(self.0.build_hasher())
    }
}

impl KnowingHasher {
    #[inline(always)]
    fn hashing(&mut self, write: impl FnOnce(&mut <Keyed as BuildHasher>::Hasher)) {
        match self {
            KnowingHasher::Told(_) => unreachable!("a hash is given alone"),
            KnowingHasher::Hashing(hasher) => write(hasher),
        }
    }
}

impl Hasher for KnowingHasher {
    #[inline(always)]
    fn finish(&self) -> u64 {
        match self {
            KnowingHasher::Told(hash) => *hash,
            KnowingHasher::Hashing(hasher) => hasher.finish(),
        }
    }

    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) {
        self.hashing(|hasher| hasher.write(bytes));
    }

    #[inline(always)]
    fn write_u8(&mut self, n: u8) {
        self.hashing(|hasher| hasher.write_u8(n));
    }

    #[inline(always)]
    fn write_u16(&mut self, n: u16) {
        self.hashing(|hasher| hasher.write_u16(n));
    }

    #[inline(always)]
    fn write_u32(&mut self, n: u32) {
        self.hashing(|hasher| hasher.write_u32(n));
    }

    #[inline(always)]
    fn write_u64(&mut self, n: u64) {
        self.hashing(|hasher| hasher.write_u64(n));
    }

    #[inline(always)]
    fn write_usize(&mut self, n: usize) {
        self.hashing(|hasher| hasher.write_usize(n));
    }

    #[inline(always)]
    fn write_u128(&mut self, n: u128) {
        *self = KnowingHasher::Told(n as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::super::keyed::keyed;
    use super::*;

    #[test]
    fn whatever_keeps_a_key_gives_the_hash_of_the_map() {
        fn agrees<K: Hash + Ord + Clone + Send + Sync + 'static>(key: K) {
            let keyed = keyed();
            let (hash, knowing) = (keyed.hash_one(&key), Knowing(keyed.clone()));
            assert_eq!(knowing.hash_one(Sought { hash, key: &key }), hash);
            let (hashed, bare) = (Hashed::keep(hash, key.clone()), Bare::keep(hash, key));
            assert_eq!([hashed.hash_by(&keyed), knowing.hash_one(&hashed)], [hash; 2]);
            assert_eq!([bare.hash_by(&keyed), knowing.hash_one(&bare)], [hash; 2]);
        }
        agrees(7_u8);
        agrees(-7_i16);
        agrees(7_u32);
        agrees(-7_i64);
        agrees(usize::MAX);
    }
}
