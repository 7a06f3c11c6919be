//! The allocator of this process: the one that a variable of the environment names.
//!
//! Asked for once, at the first allocation, which comes before `main` and before there is a second thread. Every call
//! then pays for a load and a branch that the processor foresees, the same under each allocator.

use mimalloc::MiMalloc;
use rheostat_runtime::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{CStr, c_char};
#[cfg(feature = "jemalloc")]
use tikv_jemallocator::Jemalloc;

/// Names the allocator.
pub const VARIABLE: &CStr = c"RHEOSTAT_STUDY_ALLOCATOR";

/// The allocators that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocator {
    /// What the C library has.
    System,
    /// What Rheostat's binaries have.
    Mimalloc,
    /// jemalloc.
    #[cfg(feature = "jemalloc")]
    Jemalloc,
}

impl Allocator {
    /// All of this build; the first is what the others are compared with.
    pub const ALL: &[Allocator] = &[
        Allocator::System,
        Allocator::Mimalloc,
        #[cfg(feature = "jemalloc")]
        Allocator::Jemalloc,
    ];

    /// Its name, in tables and in the environment.
    pub const fn name(self) -> &'static str {
        match self {
            Allocator::System => "system",
            Allocator::Mimalloc => "mimalloc",
            #[cfg(feature = "jemalloc")]
            Allocator::Jemalloc => "jemalloc",
        }
    }
}

const UNASKED: u8 = u8::MAX;
static CHOICE: AtomicU8 = AtomicU8::new(UNASKED);

unsafe extern "C" {
    /// The C library's: std's own makes a `String`.
    fn getenv(name: *const c_char) -> *const c_char;
}

/// The allocator in force; the system's when the environment names none.
pub fn chosen() -> Allocator {
    match CHOICE.load(Relaxed) {
        UNASKED => ask(),
        choice => Allocator::ALL[usize::from(choice)],
    }
}

#[cold]
fn ask() -> Allocator {
    // SAFETY: a string that ends in zero; nobody changes the environment before `main`, nor here after it.
    let named = unsafe { getenv(VARIABLE.as_ptr()).as_ref() };
    let is_named = |allocator: &Allocator| {
        // SAFETY: what `getenv` returns ends in zero, and stays while nobody changes the environment.
        named.is_some_and(|named| unsafe { CStr::from_ptr(named) }.to_bytes() == allocator.name().as_bytes())
    };
    let choice = Allocator::ALL.iter().position(is_named).unwrap_or(0);
    CHOICE.store(choice as u8, Relaxed);
    Allocator::ALL[choice]
}

/// Hands every call to the allocator in force.
pub struct Chosen;

// SAFETY: every call is handed to the same allocator as it came: the choice is made once, before the first block.
unsafe impl GlobalAlloc for Chosen {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe {
            match chosen() {
                Allocator::System => System.alloc(layout),
                Allocator::Mimalloc => MiMalloc.alloc(layout),
                #[cfg(feature = "jemalloc")]
                Allocator::Jemalloc => Jemalloc.alloc(layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe {
            match chosen() {
                Allocator::System => System.alloc_zeroed(layout),
                Allocator::Mimalloc => MiMalloc.alloc_zeroed(layout),
                #[cfg(feature = "jemalloc")]
                Allocator::Jemalloc => Jemalloc.alloc_zeroed(layout),
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe {
            match chosen() {
                Allocator::System => System.dealloc(block, layout),
                Allocator::Mimalloc => MiMalloc.dealloc(block, layout),
                #[cfg(feature = "jemalloc")]
                Allocator::Jemalloc => Jemalloc.dealloc(block, layout),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe {
            match chosen() {
                Allocator::System => System.realloc(block, layout, size),
                Allocator::Mimalloc => MiMalloc.realloc(block, layout, size),
                #[cfg(feature = "jemalloc")]
                Allocator::Jemalloc => Jemalloc.realloc(block, layout, size),
            }
        }
    }
}
