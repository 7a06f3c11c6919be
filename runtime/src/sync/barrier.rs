//! A fence in two halves: next to nothing for the many who pass by, a system call for the few who need to know.
//!
//! The many store, call [`light`] and load; the few store, call [`heavy`] and load. Of a pair of them at least one sees
//! what the other stored before its half, as if both halves were SeqCst fences. Between two light halves there is no
//! order: an argument that needs one needs real fences.
//!
//! On Linux the heavy half is `membarrier(PRIVATE_EXPEDITED)`: between its begin and its end every thread of the process
//! passes a full fence, wherever in its program it is, and the light half only keeps the compiler from moving accesses
//! across. Take a thread and its call of `light`. If the kernel's fence came after it in program order, the store before
//! it was visible when `heavy` returned. If before, every load after it sees what was stored before `heavy` began. Those
//! are the two outcomes of a pair of SeqCst fences, so models have a SeqCst fence for each half: every execution of the
//! real pair is one of the model. In two ways the model promises more than there is, and nobody may rely on those: it
//! orders light halves among each other, and its light half is an acquire and a release fence.
//!
//! Where the kernel has no such call, both halves are SeqCst fences. Which it is, is settled by [`prepare`], before the
//! first light half, and for the whole process.

pub use halves::{heavy, light, light_load, light_load_is_zero, light_load_or_fenced, prefer_fences, prepare, settled};
#[cfg(not(any(rt_loom, rt_shuttle)))]
pub use halves::{is_free, light_when_free};

/// In a byte for [`light_load`]: the halves are fences.
pub const FENCED: u8 = 1 << 7;

#[cfg(all(target_os = "linux", not(any(rt_loom, rt_shuttle))))]
mod halves {
    use super::FENCED;
    use rustix::thread::{MembarrierCommand, membarrier, membarrier_query};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, compiler_fence, fence};

    static SETTLED: OnceLock<()> = OnceLock::new();
    /// Written once, inside `SETTLED`; who calls a half has been through that, so Relaxed reads what was written.
    static ASYMMETRIC: AtomicBool = AtomicBool::new(false);

    /// Settles what the halves are. To be called before either half, by each thread or by one it has heard from.
    pub fn prepare() {
        SETTLED.get_or_init(|| ASYMMETRIC.store(register(), Ordering::Relaxed));
    }

    /// Settles on fences although the kernel could do better: for tools that do not know the call, and to measure what
    /// it is worth. False when it had been settled otherwise.
    pub fn prefer_fences() -> bool {
        SETTLED.get_or_init(|| ());
        !ASYMMETRIC.load(Ordering::Relaxed)
    }

    fn register() -> bool {
        let known = membarrier_query();
        known.contains_command(MembarrierCommand::PrivateExpedited)
            && known.contains_command(MembarrierCommand::RegisterPrivateExpedited)
            && membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
    }

    /// The half of the many.
    #[inline(always)]
    pub fn light() {
        if ASYMMETRIC.load(Ordering::Relaxed) {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    /// What the bytes that [`light_load`] reads must have in them, beside what they are for. Call [`prepare`] before.
    pub fn settled() -> u8 {
        if ASYMMETRIC.load(Ordering::Relaxed) { 0 } else { FENCED }
    }

    /// [`light`], and the load for which it was: of a byte that says itself what the halves are, which saves looking it up.
    #[inline(always)]
    pub fn light_load(byte: &AtomicU8) -> u8 {
        compiler_fence(Ordering::SeqCst);
        let found = byte.load(Ordering::Relaxed);
        if found & FENCED == 0 { found } else { fenced_load(byte) }
    }

    /// [`light_load`] for who has more to do when the byte is not 0, and asks for it then: so it is where halves are fences.
    #[inline(always)]
    pub fn light_load_is_zero(byte: &AtomicU8) -> bool {
        compiler_fence(Ordering::SeqCst);
        byte.load(Ordering::Relaxed) == 0
    }

    /// [`light_load`] for who does it again by that when the byte has [`FENCED`] in it, and has learned nothing then.
    #[inline(always)]
    pub fn light_load_or_fenced(byte: &AtomicU8) -> u8 {
        compiler_fence(Ordering::SeqCst);
        byte.load(Ordering::Relaxed)
    }

    #[cold]
    fn fenced_load(byte: &AtomicU8) -> u8 {
        fence(Ordering::SeqCst);
        byte.load(Ordering::Relaxed)
    }

    /// Whether the light half is no instruction at all. Asked after [`prepare`], the answer stays.
    pub fn is_free() -> bool {
        ASYMMETRIC.load(Ordering::Relaxed)
    }

    /// The half of the many, for who knows that it [`is_free`].
    #[inline(always)]
    pub fn light_when_free() {
        compiler_fence(Ordering::SeqCst);
    }

    /// The half of the few: about a microsecond, and an interrupt to each core on which the process runs.
    ///
    /// # Panics
    /// When the kernel refuses what it had granted, as it does under a filter of system calls installed since.
    pub fn heavy() {
        fence(Ordering::SeqCst);
        if ASYMMETRIC.load(Ordering::Relaxed) {
            let done = membarrier(MembarrierCommand::PrivateExpedited);
            assert!(
                done.is_ok(),
                "the kernel granted membarrier and now refuses it ({done:?}): allow it in the filter"
            );
        }
    }
}

#[cfg(not(all(target_os = "linux", not(any(rt_loom, rt_shuttle)))))]
mod halves {
    use super::FENCED;
    use crate::sync::atomic::{AtomicU8, Ordering, fence};

    /// Whether the light half is no instruction at all: never here.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub fn is_free() -> bool {
        false
    }

    /// The half of the many, for who knows that it [`is_free`]: for nobody here.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub fn light_when_free() {
        light();
    }

    #[cfg(rt_loom)]
    loom::lazy_static! {
        static ref TURN: loom::sync::atomic::AtomicUsize = loom::sync::atomic::AtomicUsize::new(0);
    }

    /// A place where a model may change threads. To loom a fence is no step: it goes with the access before it, and what
    /// can happen between the two would not be explored; nor does it change threads where their next steps have nothing
    /// to do with each other, hence one word for all. Two halves learn nothing through it that the fences do not say.
    fn step() {
        #[cfg(rt_loom)]
        TURN.fetch_add(1, Ordering::Relaxed);
    }

    /// Settles what the halves are; here they are fences from the start.
    pub fn prepare() {}

    /// Settles on fences. Always true here.
    pub fn prefer_fences() -> bool {
        true
    }

    /// The half of the many.
    #[inline(always)]
    pub fn light() {
        step();
        fence(Ordering::SeqCst);
    }

    /// What the bytes that [`light_load`] reads must have in them, beside what they are for.
    pub fn settled() -> u8 {
        FENCED
    }

    /// [`light`], and the load for which it was.
    #[inline(always)]
    pub fn light_load(byte: &AtomicU8) -> u8 {
        light();
        byte.load(Ordering::Relaxed)
    }

    /// [`light_load`] for who asks for it when the byte is not 0, as no byte is here.
    #[inline(always)]
    pub fn light_load_is_zero(_byte: &AtomicU8) -> bool {
        false
    }

    /// [`light_load`] for who does it again by that, as is always so here.
    #[inline(always)]
    pub fn light_load_or_fenced(_byte: &AtomicU8) -> u8 {
        FENCED
    }

    /// The half of the few.
    pub fn heavy() {
        step();
        fence(Ordering::SeqCst);
    }
}
