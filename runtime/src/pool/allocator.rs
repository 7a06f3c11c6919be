//! Collections and boxes in a pool, through `allocator-api2`.
//!
//! A block is found again by its layout: what was allocated for a layout is of the class of that layout, or large.
//! Blocks count as any others, but for remote frees, as nobody says who allocated them.

use super::core::{Core, LARGE};
use super::guard::Door;
use super::hosted::Pool;
use super::size_class::{ALIGNMENT_MAX, SizeClass};
use crate::observe::row;
use crate::sync::Arc;
use allocator_api2::alloc::{AllocError, Allocator, Layout};
use allocator_api2::boxed::Box;
use std::arch::asm;
use std::ptr::NonNull;

// SAFETY: a block stays where it is and valid until it is deallocated, also when the pool is moved or dropped (`core`).
// There is no way to clone a pool; references to it, and [`InPool`], lead to the same one.
unsafe impl Allocator for Pool {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        let start = match class_of(layout)? {
            Some(class) => self.core().alloc(class, layout.size(), Door::Address).map_err(|_| AllocError)?.0,
            None => self.core().alloc_large(layout.size(), Door::Address).map_err(|_| AllocError)?.0,
        };
        Ok(NonNull::slice_from_raw_parts(start, layout.size()))
    }

    unsafe fn deallocate(&self, start: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        let class = class_of(layout).expect("it was allocated with this layout").map_or(LARGE, SizeClass::index);
        bytes_again(start);
        // SAFETY: by the caller it is a block of this pool, of this layout, that nobody uses any more.
        unsafe { Core::free(NonNull::from(&**self.core()), class, layout.size(), row(), start) };
    }
}

/// The class for a layout; none when it takes a large block.
#[inline(always)]
fn class_of(layout: Layout) -> Result<Option<SizeClass>, AllocError> {
    if layout.align() > ALIGNMENT_MAX {
        return Err(AllocError);
    }
    Ok(SizeClass::aligned_of(layout.size(), layout.align()))
}

/// Makes the bytes of a block initialised that held values of any type (I4 of `ground`). A value that is moved in may
/// leave its padding, and what it never wrote, uninitialised, and the next holder of the block sees bytes.
///
/// There is no instruction in it, but the compiler may not know that: it has to take the assembly for a routine that is
/// given the block's address and writes what it likes to every byte of the block. What lies in memory is one of the
/// things it could have written, and stays there, as nothing takes the page from under a block that is in use or in a
/// list.
#[inline(always)]
fn bytes_again(start: NonNull<u8>) {
    // SAFETY: no instruction, so no register, flag or byte is changed.
    unsafe { asm!("/* {0} */", in(reg) start.as_ptr(), options(nostack, preserves_flags)) };
}

/// No bytes, well aligned.
fn nothing(layout: Layout) -> NonNull<[u8]> {
    let start = NonNull::without_provenance(std::num::NonZero::new(layout.align()).expect("alignments are not zero"));
    NonNull::slice_from_raw_parts(start, 0)
}

/// A pool as the allocator of something that owns a share of it.
///
/// ```
/// use allocator_api2::vec::Vec;
/// use rheostat_runtime::pool::{InPool, Level, Pool, PoolLimits};
///
/// let pool = Pool::new("values", Level::ThreadCached, PoolLimits::default()).unwrap();
/// let mut words = Vec::new_in(InPool(pool.clone()));
/// words.extend(["one", "two"]);
/// assert!(pool.held_bytes() > 0);
/// ```
#[derive(Debug, Clone)]
pub struct InPool(pub Arc<Pool>);

// SAFETY: all of it is the pool's, to which clones lead too.
unsafe impl Allocator for InPool {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.as_ref().allocate(layout)
    }

    #[inline]
    unsafe fn deallocate(&self, start: NonNull<u8>, layout: Layout) {
        // SAFETY: by the caller.
        unsafe { self.0.as_ref().deallocate(start, layout) };
    }
}

/// A value in a pool.
pub type PoolBox<T> = Box<T, InPool>;

impl Pool {
    /// Moves a value into the pool. It keeps the pool.
    ///
    /// # Errors
    /// When the pool has no block for it; the value is dropped.
    pub fn boxed<T>(self: &Arc<Self>, value: T) -> Result<PoolBox<T>, AllocError> {
        Box::try_new_in(value, InPool(self.clone()))
    }
}
