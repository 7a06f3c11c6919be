//! Sampled heap profile: one block in so many bytes is remembered with where it was allocated, and forgotten when
//! freed.
//!
//! Every thread counts bytes down to its next sample, at distances that are exponentially distributed around the
//! interval, so that each byte is as likely to be sampled as any other and a loop does not hide between samples. A
//! block of `b` bytes is sampled with probability 1 - e^(-b/interval), and stands for 1 / that of its like: sums of
//! samples are unbiased estimates.
//!
//! A free has to know whether its block is a sample, which must cost next to nothing for those that are not. So only
//! while there are samples it asks, and samples are allocated at the beginning of a page: only blocks there are looked
//! up. That is a page for each interval's bytes, less than one in a hundred at the default of 512 KiB. The look-up is
//! also what knows the layout the block was really allocated with.
//!
//! Off until asked; memory is bounded, 2.5 MiB from when it is first asked for to the end of the process: what is
//! sampled once has to be known until it is freed. Samples past [`SAMPLES_MAX`] that live at once are dropped and
//! counted.
//!
//! Writers: the thread-local cells, their thread; `STORE`, under its lock; `INTERVAL` and `LIVE`, under that lock.
//! I1  Nothing that runs under the lock allocates or frees through the global allocator, so a thread never waits for
//!     itself.
//! I2  A block that `keep` took is in the store until `take` gives it up, which its free asks for before it frees.
//! O1  `LIVE` is read Relaxed by a free: the count that covers its block was stored before the block was handed out,
//!     and whoever frees it has got it by something that happened after.
//! O2  `INTERVAL` is a dial, read Relaxed when a countdown ends; while there is no sampling a thread looks up every
//!     512 KiB.

mod samples;
mod sites;
mod spin;

use super::scope::{self, NAMES_MAX};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use samples::{Sample, Samples, Weight};
use sites::{Sites, Stack};
use spin::Spin;
use std::cell::Cell;

pub use samples::SAMPLES_MAX;
pub use sites::{DEPTH_MAX, SITES_MAX};

/// A good interval: 512 KiB, as tcmalloc and Go have it.
pub const SAMPLE_EVERY: usize = 512 << 10;
/// Samples begin at a multiple of this.
const PAGE: usize = 4096;
/// Bytes after which a thread looks whether sampling has been asked for.
const LOOK: usize = 512 << 10;

/// Bytes from one sample to the next on average; 0 while it is off.
static INTERVAL: AtomicUsize = AtomicUsize::new(0);
/// Samples in the store.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// Blocks that should have been sampled, when there was no room for another.
static DROPPED: AtomicU64 = AtomicU64::new(0);
static STORE: Spin<Option<Box<Store>>> = Spin::new(None);

thread_local! {
    /// Bytes to the next sample, or to the next look.
    static LEFT: Cell<i64> = const { Cell::new(0) };
    /// The interval that `LEFT` was drawn for.
    static DRAWN_FOR: Cell<usize> = const { Cell::new(0) };
    static RANDOM: Cell<u64> = const { Cell::new(0) };
    /// The thread is taking a sample or a profile: what it allocates for that is not sampled.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// What samples say of one scope. Estimates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sampled {
    /// Bytes allocated in it that are not freed yet.
    pub live_bytes: u64,
    /// Bytes allocated in it that were freed in another scope, or outside of any.
    pub freed_elsewhere_bytes: u64,
}

struct Store {
    samples: Samples,
    sites: Sites,
    scopes: [Sampled; NAMES_MAX],
}

/// One place in the program that allocates, as reached by one way, in one scope. Numbers are estimates.
#[derive(Debug, Clone)]
pub struct Site {
    /// Return addresses, innermost first, from the one into the allocator's entry on; what it calls is left out.
    pub frames: Vec<usize>,
    /// The scope's name, `outside` or `other`.
    pub scope: &'static str,
    /// Blocks allocated since the profile was begun.
    pub allocations: u64,
    /// Bytes allocated since the profile was begun.
    pub allocated_bytes: u64,
    /// Blocks not freed yet, of those sampled at any time.
    pub live_blocks: u64,
    /// Bytes not freed yet.
    pub live_bytes: u64,
}

/// What was sampled.
#[derive(Debug, Clone)]
pub struct HeapProfile {
    /// Bytes from one sample to the next, on average; 0 when sampling has been turned off since.
    pub interval_bytes: usize,
    /// The sites, at most [`SITES_MAX`]. The first stands for all that found no room, and has no frames.
    pub sites: Vec<Site>,
    /// Samples of blocks that are not freed yet.
    pub samples: usize,
    /// Blocks that should have been sampled, when there was no room for another.
    pub dropped: u64,
}

/// Bytes from one sample to the next, on average; 0 while it is off.
pub fn interval() -> usize {
    INTERVAL.load(Relaxed)
}

/// Begins a profile with a sample every so many bytes, or ends it with 0. Beginning one forgets what was allocated
/// before; what lives stays known. From 0, threads follow within 512 KiB that they allocate; from another interval,
/// when the distance that they have drawn is used up.
pub fn set_interval(bytes: usize) {
    // Made before the lock is taken (I1); most of it is not touched before it is used.
    let mut made = (bytes > 0).then(|| {
        Box::new(Store { samples: Samples::new(), sites: Sites::new(), scopes: [Sampled::default(); NAMES_MAX] })
    });
    STORE.with(|store| {
        if bytes > 0 && INTERVAL.load(Relaxed) == 0 {
            match store {
                Some(store) => store.sites.begin_anew(),
                None => *store = made.take(),
            }
        }
        INTERVAL.store(bytes, Relaxed);
    });
}

/// The profile as it stands; `None` before the first was begun. Takes milliseconds, and holds allocations that are to
/// be sampled up for some hundred microseconds.
pub fn heap_profile() -> Option<HeapProfile> {
    let _own = Own::begin();
    let mut sites = Vec::with_capacity(SITES_MAX);
    STORE.with(|store| store.as_ref().map(|store| store.sites.copy_into(&mut sites)))?;
    let site = |site: &sites::Entry| Site {
        frames: site.stack.frames().to_vec(),
        scope: scope::name(site.name),
        allocations: site.allocated.blocks(),
        allocated_bytes: site.allocated.bytes,
        live_blocks: site.live.blocks(),
        live_bytes: site.live.bytes,
    };
    Some(HeapProfile {
        interval_bytes: interval(),
        sites: sites.iter().map(site).collect(),
        samples: LIVE.load(Relaxed),
        dropped: DROPPED.load(Relaxed),
    })
}

/// Samples of blocks that are not freed yet, and blocks that found no room among them.
pub fn samples() -> (usize, u64) {
    (LIVE.load(Relaxed), DROPPED.load(Relaxed))
}

/// What samples say of the scopes of that name; `None` before the first profile was begun.
pub(super) fn of_scope(name: u16) -> Option<Sampled> {
    STORE.with(|store| store.as_ref().map(|store| store.scopes[usize::from(name)]))
}

/// Counts bytes down; true when the block that is to be allocated has to be looked at closely.
#[inline(always)]
pub(super) fn is_due(bytes: usize) -> bool {
    let left = LEFT.get().wrapping_sub(bytes as i64);
    LEFT.set(left);
    left < 0
}

/// Whether a block may be a sample. While there are none the processor foresees that; where blocks begin it cannot, one
/// in four of 1 KiB at a page, so that is asked second.
#[inline(always)]
pub(super) fn may_be_sample(block: *mut u8) -> bool {
    LIVE.load(Relaxed) > 0 && block.addr() & (PAGE - 1) == 0 // O1
}

/// The layout that a sample is allocated with; `None` for a block too large for it.
pub(super) fn layout_of_sample(layout: std::alloc::Layout) -> Option<std::alloc::Layout> {
    layout.align_to(PAGE).ok()
}

/// Whether the block of `bytes` at which a countdown ended is to be sampled. `within` is on the caller's stack.
pub(super) fn decide(bytes: usize, within: &u8) -> Option<Due> {
    let interval = INTERVAL.load(Relaxed);
    if interval == 0 || BUSY.get() {
        DRAWN_FOR.set(0);
        LEFT.set(LOOK as i64);
        return None;
    }
    if DRAWN_FOR.replace(interval) != interval {
        // The countdown that ended was one to a look, or of another interval: this block has its own chance.
        let left = distance(interval).wrapping_sub(bytes as i64);
        LEFT.set(left);
        if left >= 0 {
            return None;
        }
    }
    LEFT.set(distance(interval));
    let probability = -(-(bytes as f64) / interval as f64).exp_m1();
    Some(Due { probability, within: std::ptr::from_ref(within).addr() })
}

/// Bytes to the next sample, exponentially distributed (xorshift; Marsaglia 2003).
fn distance(interval: usize) -> i64 {
    let mut state = RANDOM.get();
    if state == 0 {
        // Different for each thread, whose cells are not where another's are.
        state = (RANDOM.with(std::ptr::from_ref).addr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    }
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    RANDOM.set(state);
    // In (0, 1], so that the logarithm is finite.
    let evenly = ((state >> 11) + 1) as f64 / (1u64 << 53) as f64;
    (-evenly.ln() * interval as f64) as i64
}

/// A block that is to be sampled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// With what probability it was to be.
    pub probability: f64,
    /// An address in the frame of the allocator's function that found it due: the stack that is kept begins outside.
    pub within: usize,
}

/// Remembers a block with the stack that asked for it. False when there is no room for it.
pub(super) fn keep(block: *mut u8, bytes: usize, due: Due) -> bool {
    let _own = Own::begin();
    let stack = Stack::outside(due.within);
    let name = scope::current_name();
    let weight = Weight::of(bytes, due.probability);
    STORE.with(|store| {
        let Some(Store { samples, sites, scopes }) = store.as_deref_mut() else { return false };
        if samples.is_full() {
            DROPPED.store(DROPPED.load(Relaxed) + 1, Relaxed);
            return false;
        }
        let site = sites.of(&stack, name);
        sites.allocated(site, weight);
        scopes[usize::from(name)].live_bytes += weight.bytes;
        samples.insert(Sample { address: block.addr(), site, name, weight });
        LIVE.store(samples.len(), Relaxed); // O1
        true
    })
}

/// Whether the block is a sample.
pub(super) fn is_sample(block: *mut u8) -> bool {
    STORE.with(|store| store.as_ref().is_some_and(|store| store.samples.has(block.addr())))
}

/// Forgets a block that is about to be freed. True if it was a sample.
pub(super) fn take(block: *mut u8) -> bool {
    let freed_in = scope::current_name();
    STORE.with(|store| {
        let Some(Store { samples, sites, scopes }) = store.as_deref_mut() else { return false };
        let Some(Sample { site, name, weight, .. }) = samples.remove(block.addr()) else { return false };
        sites.freed(site, weight);
        let scope = &mut scopes[usize::from(name)];
        scope.live_bytes -= weight.bytes;
        if name != freed_in {
            scope.freed_elsewhere_bytes += weight.bytes;
        }
        LIVE.store(samples.len(), Relaxed); // O1
        true
    })
}

/// While this lives, the thread's own allocations are not sampled.
struct Own(bool);

impl Own {
    fn begin() -> Self {
        Self(BUSY.replace(true))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        BUSY.set(self.0);
    }
}
