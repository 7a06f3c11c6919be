//! The byte strings that a hosted map holds.

use crate::pool::{Pool, PoolError, SharedBlock};
use crate::reclaim;
use crate::sync::Arc;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

/// How long one who found no block waits for readers. An operation holds its guard for a microsecond or so; one that
/// holds it for longer was interrupted, or visits a whole map.
const READERS_MAX: Duration = Duration::from_millis(1);

/// A byte string that is shared: cloning it copies no bytes. It lies on the heap or in a block of a pool, where it
/// stays when the map it is in moves to another backend.
#[derive(Clone)]
pub struct Bytes(Place);

#[derive(Clone)]
enum Place {
    Heap(Arc<[u8]>),
    Pool(SharedBlock),
}

// As long as what lies on the heap alone: the pool's variant is told by the pointer that the heap's never has.
const _: () = assert!(size_of::<Bytes>() == size_of::<Arc<[u8]>>());

impl Bytes {
    /// A copy in a pool.
    ///
    /// # Errors
    /// When the pool has no block for it.
    pub fn in_pool(pool: &Pool, bytes: &[u8]) -> Result<Self, PoolError> {
        Ok(Self(Place::Pool(pool.share(bytes)?)))
    }

    /// A copy in that pool, or on the heap if that is none. A pool that is exhausted may have blocks in what the
    /// process has retired and not yet dropped: values that were replaced or removed just now. They are waited for,
    /// since whoever holds a guard at this moment, on any map, would otherwise have this refused.
    pub(super) fn placed(bytes: &[u8], pool: Option<&Pool>) -> Result<Self, PoolError> {
        let Some(pool) = pool else { return Ok(bytes.into()) };
        match Self::in_pool(pool, bytes) {
            Err(PoolError::Exhausted { .. }) if reclaim::process_domain().flush_within(READERS_MAX) => {
                Self::in_pool(pool, bytes)
            }
            placed => placed,
        }
    }

    /// Whether it lies there: in that pool, or on the heap if that is none.
    pub fn is_in(&self, pool: Option<&Pool>) -> bool {
        match (&self.0, pool) {
            (Place::Heap(_), None) => true,
            (Place::Pool(block), Some(pool)) => block.is_in(pool),
            _ => false,
        }
    }

    /// Bytes it takes where it lies: its own, and what tells how many share them and, in a pool, whose block it is.
    pub(super) fn footprint(&self) -> usize {
        match &self.0 {
            Place::Heap(bytes) => bytes.len() + 2 * size_of::<usize>(),
            Place::Pool(block) => block.len() + SharedBlock::OVERHEAD,
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Heap(bytes) => bytes,
            Place::Pool(block) => block,
        }
    }
}

/// On the heap.
impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(Place::Heap(bytes.into()))
    }
}

/// On the heap.
impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Place::Heap(bytes.into()))
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
