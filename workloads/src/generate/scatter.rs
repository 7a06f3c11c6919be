//! A seeded bijection of `0..n`: hot ranks lie scattered over the keys, and there are exactly n of them.
//!
//! Hashing ranks down to n would merge some and leave others out. Here every step permutes the numbers below the next
//! power of two, and what falls past n walks on until it falls below (Black and Rogaway, "Ciphers with arbitrary
//! finite domains", 2002): less than two walks on average.

use super::stream::Stream;

/// The bijection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scatter {
    n: u64,
    mask: u64,
    shift: u32,
    factors: [u64; 2],
    add: u64,
}

impl Scatter {
    /// The bijection of `0..n` for this seed.
    pub fn new(n: u64, seed: u64) -> Self {
        assert!(n >= 1, "there is nothing to scatter");
        let bits = (64 - (n - 1).leading_zeros()).max(1);
        let stream = Stream::new(seed, u64::MAX);
        let mask = u64::MAX >> (64 - bits);
        Self { n, mask, shift: bits.div_ceil(2), factors: [stream.at(0) | 1, stream.at(1) | 1], add: stream.at(2) }
    }

    /// Where `rank` (below n) lies.
    #[inline(always)]
    pub fn of(&self, rank: u64) -> u64 {
        let mut x = rank;
        loop {
            x = self.step(x);
            if x < self.n {
                return x;
            }
        }
    }

    /// Permutes the numbers up to the mask: odd multiplications, additions and shifts to the right each do.
    #[inline(always)]
    fn step(&self, mut x: u64) -> u64 {
        x = x.wrapping_mul(self.factors[0]).wrapping_add(self.add) & self.mask;
        x ^= x >> self.shift;
        x = x.wrapping_mul(self.factors[1]) & self.mask;
        x ^ (x >> self.shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_exactly_once() {
        for n in [1, 2, 3, 7, 64, 65, 1000, 4096, 5000] {
            for seed in 0..5 {
                let scatter = Scatter::new(n, seed);
                let mut seen: Vec<u64> = (0..n).map(|rank| scatter.of(rank)).collect();
                seen.sort_unstable();
                assert!(seen.iter().copied().eq(0..n), "n {n}, seed {seed}");
            }
        }
    }

    #[test]
    fn hot_ranks_lie_apart_and_elsewhere_for_another_seed() {
        let hot = |seed| (0..64).map(|rank| Scatter::new(1 << 20, seed).of(rank)).collect::<Vec<_>>();
        let mut places = hot(1);
        assert_ne!(places, hot(2));
        places.sort_unstable();
        let neighbours = places.windows(2).filter(|pair| pair[1] - pair[0] < 100).count();
        assert!(neighbours <= 5, "{neighbours} of 64 lie next to each other");
    }
}
