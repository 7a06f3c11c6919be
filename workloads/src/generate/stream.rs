//! Uniform numbers by counter: any of them can be had without those before it.
//!
//! Source: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), whose output is a mix of `seed + index * GAMMA`. Drawing
//! by index instead of stepping a state costs the same multiplication.

/// 2^64 divided by the golden ratio, odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of uniform numbers; one for each worker and purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    seed: u64,
}

impl Stream {
    /// The stream of a worker.
    pub fn new(seed: u64, worker: u64) -> Self {
        // Mixed twice, so that neighbouring seeds and workers have nothing in common.
        Self { seed: mix(mix(seed.wrapping_add(GAMMA)) ^ worker.wrapping_mul(GAMMA)) }
    }

    /// A stream that has nothing to do with this one, for another purpose of the same worker.
    pub fn branch(self, purpose: u64) -> Self {
        Self { seed: mix(self.seed ^ mix(purpose.wrapping_add(GAMMA))) }
    }

    /// The number at `index`.
    #[inline(always)]
    pub fn at(self, index: u64) -> u64 {
        mix(self.seed.wrapping_add(index.wrapping_mul(GAMMA)))
    }

    /// The number at `index` as a share of the whole: 53 bits in `[0, 1)`.
    #[inline(always)]
    pub fn unit(self, index: u64) -> f64 {
        (self.at(index) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// The number at `index`, scaled to `0..n`. Off from uniform by at most n / 2^64.
    #[inline(always)]
    pub fn below(self, index: u64, n: u64) -> u64 {
        ((u128::from(self.at(index)) * u128::from(n)) >> 64) as u64
    }
}

/// SplitMix64's finaliser: a bijection in which each input bit flips each output bit about half the time.
#[inline(always)]
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        let draw = |seed, worker| (0..100).map(|i| Stream::new(seed, worker).at(i)).collect::<Vec<_>>();
        assert_eq!(draw(42, 3), draw(42, 3));
        for (seed, worker) in [(42, 4), (43, 3), (0, 0)] {
            let other = draw(seed, worker);
            assert!(draw(42, 3).iter().zip(&other).all(|(a, b)| a != b), "seed {seed}, worker {worker}");
        }
        assert_ne!(Stream::new(42, 3).branch(1), Stream::new(42, 3).branch(2));
    }

    #[test]
    fn numbers_are_uniform() {
        const DRAWS: u64 = 1_000_000;
        let mut cells = [0u64; 100];
        let stream = Stream::new(7, 1);
        (0..DRAWS).for_each(|index| cells[stream.below(index, 100) as usize] += 1);
        let expected = DRAWS as f64 / 100.0;
        let chi2: f64 = cells.iter().map(|&n| (n as f64 - expected).powi(2) / expected).sum();
        // 99 degrees of freedom: above 161.6 once in 10 000 seeds, below 49 as rarely.
        assert!((49.0..161.6).contains(&chi2), "chi-square {chi2}");
        let mean = (0..DRAWS).map(|index| stream.unit(index)).sum::<f64>() / DRAWS as f64;
        assert!((mean - 0.5).abs() < 0.002, "mean {mean}");
    }
}
