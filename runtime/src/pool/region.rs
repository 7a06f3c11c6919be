//! Memory from the system: the one door of pools to it.
//!
//! A region is a stretch of addresses, reserved at once and without memory. What is committed of it can be used, reads
//! as zero until it is written, and costs memory from then on. What is released reads as zero again.

#[cfg(rt_asan)]
use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap};
use std::ptr::NonNull;

/// What regions are aligned to: a huge page.
const ALIGNMENT: usize = 2 << 20;

/// A region of our own.
#[derive(Debug)]
pub struct Region {
    mapping: NonNull<u8>,
    mapping_bytes: usize,
    start: NonNull<u8>,
    bytes: usize,
    /// Where what was committed ends: the sanitizer may have been told of bytes before (`shadow`).
    #[cfg(rt_asan)]
    told: AtomicUsize,
}

// SAFETY: a region owns its memory, which no thread is special to.
unsafe impl Send for Region {}
// SAFETY: a shared region gives out its start and length, and asks the system for what threads may ask for side by
// side.
unsafe impl Sync for Region {}

impl Region {
    /// Reserves addresses for `bytes`, none of them committed; `None` when the system refuses.
    pub fn reserve(bytes: usize) -> Option<Self> {
        let mapping_bytes = bytes.checked_add(ALIGNMENT)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping, where the system likes.
        let mapping = unsafe { mmap_anonymous(std::ptr::null_mut(), mapping_bytes, ProtFlags::empty(), flags) };
        let mapping = NonNull::new(mapping.ok()?.cast::<u8>())?;
        let past = mapping.as_ptr().align_offset(ALIGNMENT);
        // SAFETY: the mapping is longer than `bytes` by the alignment.
        let start = unsafe { mapping.add(past) };
        Some(Self {
            mapping,
            mapping_bytes,
            start,
            bytes,
            #[cfg(rt_asan)]
            told: AtomicUsize::new(0),
        })
    }

    /// A region of `bytes` that is committed, aligned to a page. With `huge_pages` one that has room for a huge page is
    /// aligned to that, and asks for them.
    pub fn committed(bytes: usize, huge_pages: bool) -> Option<Self> {
        if huge_pages && bytes >= ALIGNMENT {
            let region = Self::reserve(bytes)?;
            region.prefer_huge_pages();
            return region.commit(0, bytes).then_some(region);
        }
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, where the system likes.
        let mapping = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes.max(1), flags, MapFlags::PRIVATE) };
        let mapping = NonNull::new(mapping.ok()?.cast::<u8>())?;
        Some(Self {
            mapping,
            mapping_bytes: bytes.max(1),
            start: mapping,
            bytes,
            #[cfg(rt_asan)]
            told: AtomicUsize::new(bytes),
        })
    }

    /// Where it begins.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// How long it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn at(&self, from: usize, bytes: usize) -> *mut std::ffi::c_void {
        assert!(from.checked_add(bytes).is_some_and(|end| end <= self.bytes), "{from}+{bytes} of {}", self.bytes);
        self.start.as_ptr().wrapping_add(from).cast()
    }

    /// Makes `bytes` from `from` on usable; false when the system refuses.
    pub fn commit(&self, from: usize, bytes: usize) -> bool {
        let flags = MprotectFlags::READ | MprotectFlags::WRITE;
        #[cfg(rt_asan)]
        self.told.fetch_max(from + bytes, Relaxed);
        // SAFETY: within our mapping; access is only ever added.
        unsafe { mprotect(self.at(from, bytes), bytes, flags) }.is_ok()
    }

    /// Gives memory back to the system; the addresses stay, and read as zero. Nobody uses those bytes.
    pub fn release(&self, from: usize, bytes: usize) {
        // Whoever has them next may be of another class, whose blocks share granules that were one block's alone.
        #[cfg(rt_asan)]
        super::shadow::forget(NonNull::new(self.at(from, bytes).cast()).unwrap_or(self.start), bytes);
        // A system that refuses keeps the memory as it is, which is no fault.
        // SAFETY: within our mapping, and nobody counts on what is there.
        _ = unsafe { madvise(self.at(from, bytes), bytes, Advice::LinuxDontNeed) };
    }

    /// Has the system provide memory for what is committed there, now; what is written stays. False when it refuses.
    pub fn populate(&self, from: usize, bytes: usize) -> bool {
        // SAFETY: within our mapping; contents do not change.
        bytes == 0 || unsafe { madvise(self.at(from, bytes), bytes, Advice::LinuxPopulateWrite) }.is_ok()
    }

    /// Asks for huge pages; a system without goes on with small ones.
    pub fn prefer_huge_pages(&self) {
        // SAFETY: within our mapping; contents do not change.
        _ = unsafe { madvise(self.at(0, self.bytes), self.bytes, Advice::LinuxHugepage) };
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // The next to have these addresses has not been forbidden anything.
        #[cfg(rt_asan)]
        super::shadow::forget(self.start, *self.told.get_mut());
        // SAFETY: our mapping, and nobody uses it after us.
        _ = unsafe { munmap(self.mapping.as_ptr().cast(), self.mapping_bytes) };
    }
}
