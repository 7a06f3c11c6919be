//! What hosted maps hold: kinds of keys and of values.

use super::Map;
use super::bytes::Bytes;
use super::counter::Counter;
use super::room::{Lack, Room};
use super::structure::Revision;
use crate::pool::{Pool, PoolError};
use std::borrow::Borrow;
use std::hash::Hash;

mod sealed {
    pub trait Sealed {}
    impl Sealed for i64 {}
    impl Sealed for u64 {}
    impl Sealed for Box<[u8]> {}
    impl Sealed for super::Bytes {}
}

/// A key of a hosted map: a byte string, or a `u64`.
pub trait HostedKey: sealed::Sealed + Borrow<Self::Spelled> + Hash + Ord + Clone + Send + Sync + 'static {
    /// What is looked up by.
    type Spelled: Hash + Ord + ?Sized;
    #[doc(hidden)]
    fn new(spelled: &Self::Spelled) -> Self;
    /// Its length, which the limit on keys is about.
    #[doc(hidden)]
    fn length(spelled: &Self::Spelled) -> usize;
    /// Bytes it keeps on the heap.
    #[doc(hidden)]
    fn heap(spelled: &Self::Spelled) -> usize;
}

impl HostedKey for Box<[u8]> {
    type Spelled = [u8];

    fn new(spelled: &[u8]) -> Self {
        spelled.into()
    }

    fn length(spelled: &[u8]) -> usize {
        spelled.len()
    }

    fn heap(spelled: &[u8]) -> usize {
        spelled.len()
    }
}

impl HostedKey for u64 {
    type Spelled = u64;

    fn new(spelled: &u64) -> Self {
        *spelled
    }

    fn length(_: &u64) -> usize {
        size_of::<u64>()
    }

    fn heap(_: &u64) -> usize {
        0
    }
}

/// What a hosted map can hold: `i64` counters and byte strings by byte string, `u64` by `u64`. How each is stored is
/// its own business.
pub trait Hosted: sealed::Sealed + Clone + Send + Sync + 'static {
    /// What it is found by.
    type Key: HostedKey;
    /// What stands in the map for a value.
    #[doc(hidden)]
    type Stored: Clone + Send + Sync + 'static;
    /// Its length, which the limit on values is about.
    #[doc(hidden)]
    fn length(&self) -> usize;
    /// Bytes it keeps outside of the table.
    #[doc(hidden)]
    fn footprint(&self) -> usize {
        0
    }
    /// The value where a map keeps what does not lie in its table: in that pool, or on the heap.
    #[doc(hidden)]
    fn placed(self, _pool: Option<&Pool>) -> Result<Self, PoolError> {
        Ok(self)
    }
    #[doc(hidden)]
    fn store(self) -> Self::Stored;
    /// The value, unless the entry is on its way out.
    #[doc(hidden)]
    fn load(stored: &Self::Stored) -> Option<Self>;
    /// The last value of what was unlinked.
    #[doc(hidden)]
    fn finish(stored: &Self::Stored) -> Self;
    /// Replaces the value of a key that is there and returns the one before. The room is for values that differ in
    /// size.
    #[doc(hidden)]
    fn replace(
        &self,
        map: &Map<Self::Key, Self::Stored>,
        key: &<Self::Key as HostedKey>::Spelled,
        room: &Room,
    ) -> Result<Option<Self>, Lack>;
}

impl Hosted for i64 {
    type Key = Box<[u8]>;
    type Stored = Counter;

    fn length(&self) -> usize {
        size_of::<i64>()
    }

    fn store(self) -> Counter {
        Counter::new(self)
    }

    fn load(stored: &Counter) -> Option<i64> {
        stored.value()
    }

    fn finish(stored: &Counter) -> i64 {
        stored.close()
    }

    fn replace(&self, map: &Map<Box<[u8]>, Counter>, key: &[u8], _: &Room) -> Result<Option<i64>, Lack> {
        Ok(map.touch(key, |counter| counter.replace(*self)).flatten())
    }
}

impl Hosted for u64 {
    type Key = u64;
    type Stored = u64;

    fn length(&self) -> usize {
        size_of::<u64>()
    }

    fn store(self) -> u64 {
        self
    }

    fn load(stored: &u64) -> Option<u64> {
        Some(*stored)
    }

    fn finish(stored: &u64) -> u64 {
        *stored
    }

    fn replace(&self, map: &Map<u64, u64>, key: &u64, _: &Room) -> Result<Option<u64>, Lack> {
        Ok(map.switch.revise(map.hash(key), key, |stored| (Revision::Replace(*self), *stored)))
    }
}

impl Hosted for Bytes {
    type Key = Box<[u8]>;
    type Stored = Bytes;

    fn length(&self) -> usize {
        self.len()
    }

    fn footprint(&self) -> usize {
        self.footprint()
    }

    fn placed(self, pool: Option<&Pool>) -> Result<Self, PoolError> {
        if self.is_in(pool) { Ok(self) } else { Bytes::placed(&self, pool) }
    }

    fn store(self) -> Bytes {
        self
    }

    fn load(stored: &Bytes) -> Option<Self> {
        Some(stored.clone())
    }

    fn finish(stored: &Bytes) -> Self {
        stored.clone()
    }

    /// Takes the room that the value needs beyond the one it replaces, whichever that turns out to be.
    fn replace(&self, map: &Map<Box<[u8]>, Bytes>, key: &[u8], room: &Room) -> Result<Option<Self>, Lack> {
        let mut taken = 0;
        let revised = map.switch.revise(map.hash(key), key, |stored| {
            // A try that was overtaken may have been about a value of another size.
            room.shrink(std::mem::take(&mut taken));
            let more = self.len().saturating_sub(stored.len());
            match room.grow(more) {
                Ok(()) => {
                    taken = more;
                    (Revision::Replace(self.clone()), Ok(stored.clone()))
                }
                Err(lack) => (Revision::Keep, Err(lack)),
            }
        });
        match revised {
            Some(Ok(replaced)) => {
                room.shrink(replaced.len().saturating_sub(self.len()));
                Ok(Some(replaced))
            }
            Some(Err(lack)) => Err(lack),
            None => {
                room.shrink(taken);
                Ok(None)
            }
        }
    }
}
