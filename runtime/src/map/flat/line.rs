//! Memory of a table: cache lines of words, zero at first or not written yet.

use crate::sync::atomic::AtomicU64;
#[cfg(not(any(rt_loom, rt_shuttle)))]
use crate::sync::atomic::Ordering;
use std::ptr::NonNull;

/// One cache line of eight words.
#[repr(align(64))]
pub(super) struct Line(pub(super) [AtomicU64; 8]);

/// Asks for a line that is about to be used.
#[inline(always)]
pub(super) fn prefetch(line: *const Line) {
    #[cfg(all(target_arch = "x86_64", not(any(rt_loom, rt_shuttle))))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which no address makes fault.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
    }
    let _ = line; // Elsewhere there is nothing to ask.
}

/// Writes zeroes to a line, whatever was there.
///
/// # Safety
/// The line is alive, and nobody else can reach it yet.
#[inline(always)]
pub(super) unsafe fn empty(line: NonNull<Line>) {
    // SAFETY: by the caller.
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    unsafe {
        line.write(Line([const { AtomicU64::new(0) }; 8]));
    }
    // A model's lines are objects, made in their place and zero until somebody has reached them.
    #[cfg(any(rt_loom, rt_shuttle))]
    let _ = line;
}

/// A run of lines. Large runs are backed by large pages where the system has them: a random read then misses one
/// cache line and no more than one entry of the page table, and a run is given back without a walk over its pages.
pub(super) struct Lines {
    first: NonNull<Line>,
    count: usize,
}

// SAFETY: a run owns its lines, and lines are atomics.
unsafe impl Send for Lines {}
// SAFETY: as above.
unsafe impl Sync for Lines {}

impl Lines {
    /// The first line. The others follow it, in one allocation.
    #[inline(always)]
    pub(super) fn first(&self) -> NonNull<Line> {
        self.first
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}

#[cfg(not(any(rt_loom, rt_shuttle)))]
impl Lines {
    /// # Panics
    /// When `count` is none, or more than can be addressed.
    pub(super) fn zeroed(count: usize) -> Self {
        // SAFETY: the layout has a size. A line whose bytes are zero is eight atomics of value zero.
        Self::from_allocator(count, |layout| unsafe { std::alloc::alloc_zeroed(layout) })
    }

    /// Lines each of which is to be [emptied](empty) before it is used: an allocator that hands memory out anew would
    /// write zeroes to all of it at once, in the operation that asks.
    ///
    /// # Panics
    /// As [`zeroed`](Self::zeroed).
    pub(super) fn unwritten(count: usize) -> Self {
        // SAFETY: the layout has a size.
        Self::from_allocator(count, |layout| unsafe { std::alloc::alloc(layout) })
    }

    fn from_allocator(count: usize, allocate: impl FnOnce(std::alloc::Layout) -> *mut u8) -> Self {
        let layout = Self::layout(count);
        let Some(first) = NonNull::new(allocate(layout).cast()) else { std::alloc::handle_alloc_error(layout) };
        let lines = Self { first, count };
        lines.ask_for_large_pages();
        lines
    }

    fn layout(count: usize) -> std::alloc::Layout {
        assert!(count > 0, "a table of no lines");
        std::alloc::Layout::array::<Line>(count).expect("a table larger than the address space")
    }

    /// Where the run begins, and where the large pages that lie wholly in it begin and end.
    fn large_pages(&self) -> (usize, usize, usize) {
        const LARGE_PAGE: usize = 2 << 20;
        let start = self.first.as_ptr() as usize;
        (start, start.next_multiple_of(LARGE_PAGE), (start + self.count * size_of::<Line>()) & !(LARGE_PAGE - 1))
    }

    fn ask_for_large_pages(&self) {
        let (start, from, to) = self.large_pages();
        if from < to {
            let whole_pages = self.first.as_ptr().wrapping_byte_add(from - start).cast();
            // SAFETY: the range lies in this allocation, and the advice changes nothing but how it is backed.
            // Refusal costs speed, nothing else.
            _ = unsafe { rustix::mm::madvise(whole_pages, to - from, rustix::mm::Advice::LinuxHugepage) };
        }
    }
}

#[cfg(not(any(rt_loom, rt_shuttle)))]
impl Lines {
    /// Has the system back every page now rather than when it is first written: it clears a large one for milliseconds.
    /// For a run that nobody uses yet, all of whose words are still zero.
    pub(super) fn populate(&mut self) {
        const PAGE: usize = 4096 / size_of::<Line>();
        for line in (0..self.count).step_by(PAGE) {
            // SAFETY: a line of the run.
            unsafe { self.first.add(line).as_ref() }.0[0].store(0, Ordering::Relaxed);
        }
    }

    /// Gives pages back to the system, a slice at a time, and leaves zeroes. For one who has the run to himself.
    pub(super) fn give_back_slices(&self) {
        /// Half a millisecond in small pages.
        const SLICE: usize = 4 << 20;
        let (start, from, to) = self.large_pages();
        for slice in (from..to).step_by(SLICE) {
            let pages = self.first.as_ptr().wrapping_byte_add(slice - start).cast();
            // SAFETY: the range lies in this allocation, whose bytes are atomics and may become zero. Refusal costs
            // time when the run is freed, nothing else.
            _ = unsafe { rustix::mm::madvise(pages, SLICE.min(to - slice), rustix::mm::Advice::LinuxDontNeed) };
        }
    }
}

#[cfg(not(any(rt_loom, rt_shuttle)))]
impl Drop for Lines {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this layout; atomics need no drop.
        unsafe { std::alloc::dealloc(self.first.as_ptr().cast(), Self::layout(self.count)) };
    }
}

/// A model's atomics are objects, not bytes.
#[cfg(any(rt_loom, rt_shuttle))]
impl Lines {
    pub(super) fn zeroed(count: usize) -> Self {
        let lines: Box<[Line]> = (0..count).map(|_| Line(std::array::from_fn(|_| AtomicU64::new(0)))).collect();
        let first = NonNull::new(Box::into_raw(lines).cast()).expect("a box is never null");
        Self { first, count }
    }

    pub(super) fn unwritten(count: usize) -> Self {
        Self::zeroed(count)
    }
}

#[cfg(any(rt_loom, rt_shuttle))]
impl Drop for Lines {
    fn drop(&mut self) {
        // SAFETY: made of a box of that many lines in `zeroed`.
        drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.first.as_ptr(), self.count)) });
    }
}

#[cfg(all(test, not(any(rt_loom, rt_shuttle))))]
mod tests {
    use super::*;
    use crate::sync::atomic::Ordering::Relaxed;

    #[test]
    fn whole_pages_are_given_back_and_the_rest_stays() {
        const LINES: usize = (12 << 20) / size_of::<Line>();
        let lines = Lines::zeroed(LINES);
        // SAFETY: lines of the run.
        let first_word = |line: usize| unsafe { &lines.first().add(line).as_ref().0[0] };
        (0..LINES).for_each(|line| first_word(line).store(1, Relaxed));
        lines.give_back_slices();
        let (start, from, to) = lines.large_pages();
        let given_back = (from - start) / size_of::<Line>()..(to - start) / size_of::<Line>();
        assert!(given_back.len() >= LINES * 2 / 3);
        (0..LINES).for_each(|line| assert_eq!(first_word(line).load(Relaxed), u64::from(!given_back.contains(&line))));
    }
}
