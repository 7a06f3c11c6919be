//! Which operations are looked at closely: one in 64 of each thread's, at distances that are not even, so that a
//! loop of 64 steps does not show the same step for ever.

use std::cell::Cell;

/// A thread looks at one operation in this many, on average.
pub(crate) const SAMPLE_EVERY: u64 = 64;

thread_local! {
    /// Operations until the next sample.
    static LEFT: Cell<u32> = const { Cell::new(0) };
    /// The state of the generator that spaces samples (xorshift; Marsaglia 2003).
    static STATE: Cell<u32> = const { Cell::new(0x9e37_79b9) };
}

/// True for one call in [`SAMPLE_EVERY`] of this thread's, on average.
#[inline(always)]
pub(crate) fn is_sampled() -> bool {
    let due = is_due();
    if due {
        space();
    }
    due
}

/// [`is_sampled`] for who then calls [`space`] itself, out of the way of what is not sampled. No more than a decrement of a
/// word in memory, whose borrow is the answer.
#[inline(always)]
pub(crate) fn is_due() -> bool {
    let (left, due) = LEFT.get().overflowing_sub(1);
    LEFT.set(left);
    due
}

/// Counts an operation that is not of the sample; false, and nothing counted, when the next one is, for which [`is_due`] has
/// to be asked. For those who know no way aside where they are.
#[inline(always)]
pub(crate) fn passes() -> bool {
    let left = LEFT.get();
    if left > 0 {
        LEFT.set(left - 1);
    }
    left > 0
}

/// Says how far off the next sample is.
#[cold]
#[inline(never)]
pub(crate) fn space() {
    let mut state = STATE.get();
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    STATE.set(state);
    // Evenly among 0..=126, which is 63 on average, and the sampled call itself.
    LEFT.set(state % (2 * SAMPLE_EVERY as u32 - 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_passes_counts_as_who_asks() {
        let sampled = (0..640_000).filter(|_| !passes() && is_sampled()).count();
        assert!((9_000..11_000).contains(&sampled), "{sampled}");
    }

    #[test]
    fn one_in_64_at_uneven_distances() {
        let sampled: Vec<u32> = (0..640_000).filter(|_| is_sampled()).collect();
        assert!((9_000..11_000).contains(&sampled.len()), "{}", sampled.len());
        let in_step = sampled.iter().filter(|n| **n % 64 == 0).count();
        assert!(in_step < 400, "{in_step} of {} samples fall on the same step of a loop", sampled.len());
    }
}
