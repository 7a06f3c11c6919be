//! Pools of memory blocks. For now every block comes from the heap; size classes and levels follow.

use crate::observe::{Address, AddressError, Kind};
use crate::sync::Arc;

/// How concurrent a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A lock per size class.
    Mutex,
    /// Magazines per thread before it.
    ThreadCached,
}

/// What a pool may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Bytes at most.
    pub bytes_max: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { bytes_max: 256 << 20 }
    }
}

/// The pool is at its limit.
#[derive(Debug, thiserror::Error)]
#[error("the pool is at its limit")]
pub struct PoolError;

/// A pool.
#[derive(Debug)]
pub struct Pool;

/// A block.
#[derive(Debug)]
pub struct Block(Box<[u8]>);

impl Pool {
    /// A pool.
    ///
    /// # Errors
    /// A name that is none.
    pub fn new(name: &str, _level: Level, _limits: PoolLimits) -> Result<Arc<Self>, AddressError> {
        Address::new(Kind::Pool, name).map(|_| Arc::new(Self))
    }

    /// A block of `len` bytes.
    ///
    /// # Errors
    /// The pool is at its limit.
    pub fn alloc(self: &Arc<Self>, len: usize) -> Result<Block, PoolError> {
        Ok(Block(vec![0; len].into()))
    }
}

impl std::ops::Deref for Block {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::ops::DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
