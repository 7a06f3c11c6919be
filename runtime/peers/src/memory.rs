//! Bytes that a structure takes, counted where they are allocated.
//!
//! Rust's allocations are counted here while somebody measures, and at no other time: counting costs more than some of
//! the operations that are timed. The C++ originals allocate from glibc, whose own figures are asked, but for oneTBB,
//! which has an allocator of its own: of that, the process's resident memory has to tell.

use mimalloc::MiMalloc;
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};
use std::alloc::{GlobalAlloc, Layout};

/// The allocator of this program: mimalloc, counted on demand.
pub struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

fn add(bytes: isize) {
    if COUNTS.load(Relaxed) {
        PEAK.fetch_max(LIVE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
    }
}

// SAFETY: every call is handed to mimalloc as it came; the counts beside it allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { MiMalloc.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        add(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { MiMalloc.dealloc(block, layout) }
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size as isize - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { MiMalloc.realloc(block, layout, size) }
    }
}

/// Whose allocator a contender uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Heap {
    Rust,
    #[cfg_attr(not(feature = "cpp"), expect(dead_code, reason = "no C++ contender without the feature"))]
    Glibc,
    #[cfg_attr(not(feature = "cpp"), expect(dead_code, reason = "no C++ contender without the feature"))]
    Resident,
}

/// Bytes that `make` leaves allocated, and the most it had at once; the latter is known of Rust's only.
pub fn of<T>(heap: Heap, make: impl FnOnce() -> T) -> (T, usize, Option<usize>) {
    match heap {
        Heap::Rust => {
            LIVE.store(0, Relaxed);
            PEAK.store(0, Relaxed);
            COUNTS.store(true, Relaxed);
            let made = make();
            COUNTS.store(false, Relaxed);
            (made, LIVE.load(Relaxed).max(0) as usize, Some(PEAK.load(Relaxed).max(0) as usize))
        }
        Heap::Glibc => grown(glibc_bytes, make),
        Heap::Resident => grown(resident_bytes, make),
    }
}

/// Touches and gives back more memory than a map of a million entries takes while it grows, in large pages.
///
/// A virtual machine may report free large pages to its host (virtio-balloon's free page reporting), which takes them
/// back within seconds and provides each anew, 4 KiB at a time, at the next touch: 9 us for every 4 KiB on the machine
/// of RESULTS.md, 0.3 us where the host has not taken them. Who asks for large pages would pay for that and nobody
/// else, by how long the others took.
pub fn wake_host() {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
    const BYTES: usize = 256 << 20;
    const PAGE: usize = 4096;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, where the system likes.
    let mapped = unsafe { mmap_anonymous(std::ptr::null_mut(), BYTES, access, MapFlags::PRIVATE) };
    let Ok(mapping) = mapped else { return };
    // Refusal means small pages, which the host is not told of.
    // SAFETY: our own mapping; its contents do not change.
    _ = unsafe { madvise(mapping, BYTES, Advice::LinuxHugepage) };
    for page in (0..BYTES).step_by(PAGE) {
        // SAFETY: within our mapping.
        unsafe { mapping.cast::<u8>().add(page).write_volatile(1) };
    }
    // SAFETY: our mapping, and nobody uses it after us.
    _ = unsafe { munmap(mapping, BYTES) };
}

fn grown<T>(bytes: impl Fn() -> usize, make: impl FnOnce() -> T) -> (T, usize, Option<usize>) {
    let before = bytes();
    let made = make();
    (made, bytes().saturating_sub(before), None)
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    resident.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(0) * 1024
}

#[cfg(not(feature = "cpp"))]
fn glibc_bytes() -> usize {
    0
}

#[cfg(feature = "cpp")]
fn glibc_bytes() -> usize {
    unsafe extern "C" {
        fn peers_heap_bytes() -> usize;
    }
    // SAFETY: reads glibc's figures under glibc's own locks.
    unsafe { peers_heap_bytes() }
}
