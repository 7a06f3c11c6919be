//! Bytes in a block that many hold and nobody changes.
//!
//! One block has it all, so that a share is a pointer and making it costs one allocation:
//!
//! ```text
//! | shares | the block itself | bytes .. |
//! 0        8                  32
//! ```
//!
//! I1  The head and the bytes are written before there is a second share, and only `shares` changes after.
//! I2  The block lies in its own head until the last share leaves (`shares`); who that was takes it out and drops it.

use super::block::Block;
use super::error::PoolError;
use super::hosted::Pool;
use super::shares::Shares;
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

struct Head {
    shares: Shares,
    block: Block,
}

const HEAD_BYTES: usize = size_of::<Head>();

// What comes back to the pool are bytes that were written, so the head has no padding (I4 of `ground`).
const _: () = assert!(HEAD_BYTES == size_of::<Shares>() + size_of::<Block>());

/// Bytes in a [`Pool`], shared: cloning it copies none of them, and the last that is dropped gives their block back, on
/// whatever thread. It keeps its pool's memory alive. Beside the bytes it takes [`OVERHEAD`](Self::OVERHEAD).
pub struct SharedBlock {
    head: NonNull<Head>,
}

// SAFETY: what is shared only lets its bytes be read (I1), and a block comes home from any thread.
unsafe impl Send for SharedBlock {}
// SAFETY: as above.
unsafe impl Sync for SharedBlock {}

impl SharedBlock {
    /// Bytes of its block that are not for the bytes it holds.
    pub const OVERHEAD: usize = HEAD_BYTES;

    fn head(&self) -> &Head {
        // SAFETY: it was written when the first share was made and stays as long as there is one (I1, I2).
        unsafe { self.head.as_ref() }
    }

    /// Whether it lies in that pool.
    pub fn is_in(&self, pool: &Pool) -> bool {
        self.head().block.is_of(pool.core())
    }
}

impl Pool {
    /// Copies bytes into a block that can be shared.
    ///
    /// # Errors
    /// As for [`alloc`](Self::alloc).
    pub fn share(&self, bytes: &[u8]) -> Result<SharedBlock, PoolError> {
        let mut block = self.alloc_aligned_to(HEAD_BYTES + bytes.len(), align_of::<Head>())?;
        block[HEAD_BYTES..].copy_from_slice(bytes);
        let head = block.start().cast::<Head>();
        // SAFETY: the block is ours alone, aligned for a head and long enough.
        unsafe { head.write(Head { shares: Shares::one(), block }) };
        Ok(SharedBlock { head })
    }
}

impl Deref for SharedBlock {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let len = self.head().block.len() - HEAD_BYTES;
        // SAFETY: the bytes lie behind the head in the same block, written and not changed again (I1).
        unsafe { std::slice::from_raw_parts(self.head.as_ptr().cast::<u8>().add(HEAD_BYTES), len) }
    }
}

impl Clone for SharedBlock {
    #[inline]
    fn clone(&self) -> Self {
        self.head().shares.join();
        Self { head: self.head }
    }
}

impl Drop for SharedBlock {
    #[inline]
    fn drop(&mut self) {
        if self.head().shares.leave() {
            // SAFETY: we were the last, so nobody looks at the head any more, and this is the one time that the block
            // is taken out of it (I2).
            drop(unsafe { std::ptr::read(&raw const (*self.head.as_ptr()).block) });
        }
    }
}

impl fmt::Debug for SharedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBlock").field("len", &self.len()).finish_non_exhaustive()
    }
}
