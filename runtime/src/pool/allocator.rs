//! Collections and boxes in a pool, through `allocator-api2`.
//!
//! A block is found again by its layout: what was allocated for a layout is of the class of that layout, or large. Blocks
//! count as any others, but for remote frees, as nobody says who allocated them.

use super::core::{Core, LARGE};
use super::hosted::Pool;
use super::size_class::{ALIGNMENT_MAX, SizeClass};
use crate::observe::row;
use crate::sync::Arc;
use allocator_api2::alloc::{AllocError, Allocator, Layout};
use allocator_api2::boxed::Box;
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
            Some(class) => self.core().alloc(class, layout.size()).map_err(|_| AllocError)?.0,
            None => self.core().alloc_large(layout.size()).map_err(|_| AllocError)?.0,
        };
        Ok(NonNull::slice_from_raw_parts(start, layout.size()))
    }

    unsafe fn deallocate(&self, start: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        let class = class_of(layout).expect("it was allocated with this layout").map_or(LARGE, SizeClass::index);
        // SAFETY: by the caller it is a block of this pool, of this layout, that nobody uses any more.
        unsafe { Core::free(NonNull::from(self.core()), class, layout.size(), row(), start) };
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
