//! Which operations are looked at closely: one in 64 of each thread's, at distances that are not even, so that a
//! loop of 64 steps does not show the same step for ever.

use std::cell::Cell;

/// A thread looks at one operation in this many, on average.
pub(crate) const SAMPLE_EVERY: u64 = 64;

thread_local! {
    /// Operations until the next sample, and the state of the generator that spaces them (xorshift; Marsaglia 2003).
    static NEXT: Cell<(u32, u32)> = const { Cell::new((0, 0x9e37_79b9)) };
}

/// True for one call in [`SAMPLE_EVERY`] of this thread's, on average. A load, a decrement and a store.
#[inline(always)]
pub(crate) fn is_sampled() -> bool {
    let (left, state) = NEXT.get();
    if left > 0 {
        NEXT.set((left - 1, state));
        return false;
    }
    space(state);
    true
}

#[cold]
fn space(mut state: u32) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    // Evenly among 0..=126, which is 63 on average, and the sampled call itself.
    NEXT.set((state % (2 * SAMPLE_EVERY as u32 - 1), state));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_64_at_uneven_distances() {
        let sampled: Vec<u32> = (0..640_000).filter(|_| is_sampled()).collect();
        assert!((9_000..11_000).contains(&sampled.len()), "{}", sampled.len());
        let in_step = sampled.iter().filter(|n| **n % 64 == 0).count();
        assert!(in_step < 400, "{in_step} of {} samples fall on the same step of a loop", sampled.len());
    }
}
