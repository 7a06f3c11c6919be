//! What AddressSanitizer is told of a pool's blocks.
//!
//! It watches the system's allocator and knows nothing of blocks that are carved out of a mapping of ours: a block that
//! was freed is memory as good as any to it. So it is told: of a block in use the bytes that were asked for may be
//! touched, of a free one none. Whoever does so all the same is reported, with a stack. A pool itself never does, for
//! it keeps nothing in free blocks (`number`); the guard of a pool does, so what is guarded is not forbidden (`guard`).
//!
//! Blocks go by the tags that they come home with: a class, large, or guarded.
//!
//! I1  A block is forbidden before it is put anywhere, while it is still its last holder's, and lent after it was
//!     taken, when it is its next one's: so one thread at a time tells of a block.
//! I2  There is a byte for each granule of eight, and those are changed without regard for other threads. Where a
//!     granule is shared with a neighbour, at the ends of blocks below 64 bytes, it is never forbidden.

use super::core::LARGE;
use super::size_class::SizeClass;
use std::ffi::c_void;
use std::ops::Range;
use std::ptr::NonNull;

// Of the sanitizer's own library, which is linked into every program that is built for it.
unsafe extern "C" {
    safe fn __asan_poison_memory_region(start: *const c_void, bytes: usize);
    safe fn __asan_unpoison_memory_region(start: *const c_void, bytes: usize);
}

const GRANULE: usize = 8;

/// Of a block that somebody has now the bytes asked for may be touched.
pub fn lend(block: NonNull<u8>, tag: usize, len: usize) {
    if let Some(own) = granules(block, tag, len) {
        forbid(block, tag, len);
        let end = (block.as_ptr().addr() + len).max(own.start);
        __asan_unpoison_memory_region(block.as_ptr().with_addr(own.start).cast(), end - own.start);
    }
}

/// All of a block may be touched.
pub fn allow(block: NonNull<u8>, tag: usize, len: usize) {
    if let Some(own) = granules(block, tag, len) {
        __asan_unpoison_memory_region(block.as_ptr().with_addr(own.start).cast(), own.len());
    }
}

/// Nothing of a block may be touched.
pub fn forbid(block: NonNull<u8>, tag: usize, len: usize) {
    if let Some(own) = granules(block, tag, len) {
        __asan_poison_memory_region(block.as_ptr().with_addr(own.start).cast(), own.len());
    }
}

/// These bytes go back to the system, and the next to have them has not been forbidden anything.
pub fn forget(start: NonNull<u8>, bytes: usize) {
    __asan_unpoison_memory_region(start.as_ptr().cast(), bytes);
}

/// The granules that are a block's alone; none of a guarded one.
fn granules(block: NonNull<u8>, tag: usize, len: usize) -> Option<Range<usize>> {
    let bytes = match tag {
        // It ends with a page.
        LARGE => len.next_multiple_of(GRANULE),
        class if class < LARGE => SizeClass::at(class).bytes(),
        _ => return None,
    };
    let start = block.as_ptr().addr();
    let first = start.next_multiple_of(GRANULE);
    Some(first..((start + bytes) / GRANULE * GRANULE).max(first))
}
