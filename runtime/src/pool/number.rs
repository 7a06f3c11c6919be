//! Blocks by number, and the side array in which free ones are linked.
//!
//! ```text
//! BlockId   31 .. 12   11 .. 0
//!           chunk      place in it
//! ```
//! A pool's chunks lie side by side, so a number and the size of a class give an address, and the other way round,
//! without looking at memory. Links are kept beside the blocks, never in them: a block that is free holds what its
//! last holder left, a reader of a link never reads memory that somebody else may be writing, and links stay readable
//! when the block's memory has gone back to the system.
//!
//! I1  A block's link is written by whoever has the block to himself, and means something only while the block is in a
//!     list. A reader that raced with that finds out by the list's head (`tagged`).
//! I2  Links are readable for as long as the pool's memory is there, for every block that was ever carved.

use crate::sync::atomic::AtomicU32;
use std::ptr::NonNull;

/// Bytes of a chunk: what is given to a size class at a time, and taken back from it.
pub const CHUNK_BYTES: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 16;
const PLACE_BITS: u32 = 12;
/// Chunks a pool can have: 64 GiB. The last number is no block's, for it would be `BlockId::NONE`.
pub const CHUNKS_MAX: usize = (1 << (32 - PLACE_BITS)) - 1;

/// A block's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockId(u32);

impl BlockId {
    const NONE: u32 = u32::MAX;

    /// The block at a place in a chunk.
    pub fn new(chunk: u32, place: u32) -> Self {
        debug_assert!((chunk as usize) < CHUNKS_MAX && place < 1 << PLACE_BITS, "chunk {chunk}, place {place}");
        Self(chunk << PLACE_BITS | place)
    }

    /// From a word of a list's head or of a link.
    pub(super) fn from_word(word: u32) -> Option<Self> {
        (word != Self::NONE).then_some(Self(word))
    }

    /// The word that says `id`.
    pub(super) fn to_word(id: Option<Self>) -> u32 {
        id.map_or(Self::NONE, |id| id.0)
    }

    /// The chunk it lies in.
    pub fn chunk(self) -> u32 {
        self.0 >> PLACE_BITS
    }

    /// Its place there.
    pub fn place(self) -> u32 {
        self.0 & ((1 << PLACE_BITS) - 1)
    }
}

/// Where the blocks of one class lie.
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    base: NonNull<u8>,
    bytes: u32,
    /// 2^32 / `bytes`, rounded up. An offset within a chunk is below 2^16 and a block at least 16 bytes, so that the
    /// error stays below one place.
    reciprocal: u32,
}

impl Geometry {
    /// Blocks of `bytes` in the chunks that begin at `base`.
    pub fn new(base: NonNull<u8>, bytes: usize) -> Self {
        assert!((16..=CHUNK_BYTES).contains(&bytes), "no class has blocks of {bytes} bytes");
        let reciprocal = (1_u64 << 32).div_ceil(bytes as u64) as u32;
        Self { base, bytes: bytes as u32, reciprocal }
    }

    /// Bytes of a block.
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Where a block begins.
    #[inline(always)]
    pub fn start(&self, id: BlockId) -> NonNull<u8> {
        let offset = ((id.chunk() as usize) << CHUNK_BITS) + (id.place() * self.bytes) as usize;
        // Not `add`: a model has numbers and no memory.
        NonNull::new(self.base.as_ptr().wrapping_add(offset)).unwrap_or(self.base)
    }

    /// The block that begins at `start`.
    #[inline(always)]
    pub fn id(&self, start: NonNull<u8>) -> BlockId {
        let offset = start.as_ptr() as usize - self.base.as_ptr() as usize;
        let within = (offset & (CHUNK_BYTES - 1)) as u64;
        BlockId::new((offset >> CHUNK_BITS) as u32, ((within * u64::from(self.reciprocal)) >> 32) as u32)
    }
}

/// The side array of one class's links (I1, I2).
#[derive(Debug, Clone, Copy)]
pub struct Links {
    start: NonNull<AtomicU32>,
    /// Links to the chunk, as a power of two.
    stride_bits: u32,
}

// SAFETY: links are atomics that outlive their lists (I2).
unsafe impl Send for Links {}
// SAFETY: as above.
unsafe impl Sync for Links {}

// SAFETY: a geometry is arithmetic; the address in it is not followed.
unsafe impl Send for Geometry {}
// SAFETY: as above.
unsafe impl Sync for Geometry {}

impl Links {
    /// Over memory that holds `2^stride_bits` atomics for each chunk.
    ///
    /// # Safety
    /// The memory is mapped for every chunk from which a block is carved, before its number is used, and stays so while
    /// this or a copy of it is used.
    pub unsafe fn new(start: NonNull<AtomicU32>, stride_bits: u32) -> Self {
        Self { start, stride_bits }
    }

    /// For models: links of the blocks of one chunk, never freed.
    #[cfg(any(rt_loom, rt_shuttle))]
    pub fn modelled(blocks: usize) -> Self {
        let links: Vec<AtomicU32> = (0..blocks).map(|_| AtomicU32::new(0)).collect();
        Self { start: NonNull::from(Box::leak(links.into_boxed_slice())).cast(), stride_bits: PLACE_BITS }
    }

    #[inline(always)]
    pub(super) fn of(&self, id: BlockId) -> &AtomicU32 {
        let at = ((id.chunk() as usize) << self.stride_bits) + id.place() as usize;
        // SAFETY: the number is of a block that was carved, so its link is mapped (`new`).
        unsafe { self.start.add(at).as_ref() }
    }
}

#[cfg(all(test, not(any(rt_loom, rt_shuttle))))]
mod tests {
    use super::*;
    use crate::pool::size_class::SizeClass;

    #[test]
    fn numbers_and_addresses_say_the_same() {
        let base = NonNull::new(0x7f00_0000_0000 as *mut u8).unwrap();
        for class in SizeClass::all() {
            let geometry = Geometry::new(base, class.bytes());
            for chunk in [0, 1, CHUNKS_MAX as u32 - 1] {
                for place in 0..(CHUNK_BYTES / class.bytes()) as u32 {
                    let id = BlockId::new(chunk, place);
                    assert_eq!(geometry.id(geometry.start(id)), id, "{} bytes", class.bytes());
                }
            }
        }
    }
}
