//! Exact zipfian ranks: P(r) = r^-theta / sum of k^-theta over 1..=n.
//!
//! Source: rejection-inversion, W. Hormann and G. Derflinger, "Rejection-inversion to generate variates from monotone
//! discrete distributions", ACM TOMACS 6(3), 1996. Constant set-up, no table of sums, any theta above 0; less than 1.2
//! draws a rank on average. What YCSB calls zipfian is something else: a sample over 10^10 ranks, hashed down.

use super::stream::Stream;

/// Draws ranks 1 to n.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Zipf {
    n: f64,
    theta: f64,
    /// H(1.5) - h(1): the upper end of what is inverted, so that rank 1 gets its share exactly.
    upper: f64,
    /// H(n + 0.5): the lower end.
    lower: f64,
    /// Ranks this close above the inverse are accepted without looking further.
    shortcut: f64,
}

impl Zipf {
    /// Ranks 1 to `n` (at least 1) with exponent `theta` (above 0).
    pub fn new(n: u64, theta: f64) -> Self {
        assert!(n >= 1 && theta > 0.0 && theta.is_finite(), "no zipfian over {n} ranks with exponent {theta}");
        let mut zipf = Self { n: n as f64, theta, upper: 0.0, lower: 0.0, shortcut: 0.0 };
        zipf.upper = zipf.integral(1.5) - 1.0;
        zipf.lower = zipf.integral(zipf.n + 0.5);
        zipf.shortcut = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    /// The rank at `index` of a stream.
    #[inline]
    pub fn at(&self, stream: Stream, index: u64) -> u64 {
        let mut share = stream.unit(index);
        let mut attempt = 0;
        loop {
            let u = self.lower + share * (self.upper - self.lower);
            let x = self.inverse(u);
            let rank = x.round().clamp(1.0, self.n);
            if rank - x <= self.shortcut || u >= self.integral(rank + 0.5) - self.density(rank) {
                return rank as u64;
            }
            // Rare: draw again, from a stream of this index's own, so that the next index is not disturbed.
            attempt += 1;
            share = stream.branch(index).unit(attempt);
        }
    }

    /// h(x) = x^-theta.
    #[inline(always)]
    fn density(&self, x: f64) -> f64 {
        (-self.theta * x.ln()).exp()
    }

    /// H(x) = (x^(1-theta) - 1) / (1-theta), or ln x where theta is 1.
    #[inline(always)]
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        expm1_over(log * (1.0 - self.theta)) * log
    }

    /// The inverse of H.
    #[inline(always)]
    fn inverse(&self, y: f64) -> f64 {
        // Rounding may push the argument of the logarithm out of its domain at the far end.
        let t = (y * (1.0 - self.theta)).max(-1.0);
        (ln_1p_over(t) * y).exp()
    }
}

/// (e^x - 1) / x, also where x is almost 0.
#[inline(always)]
fn expm1_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.exp_m1() / x } else { 1.0 + x * 0.5 * (1.0 + x / 3.0 * (1.0 + x * 0.25)) }
}

/// ln(1 + x) / x, also where x is almost 0.
#[inline(always)]
fn ln_1p_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.ln_1p() / x } else { 1.0 - x * (0.5 - x * (1.0 / 3.0 - x * 0.25)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::Distribution;

    /// Pearson's statistic of `counts` (ranks from 1) against exact probabilities, with ranks of few expected
    /// draws pooled, and its degrees of freedom.
    fn chi2(counts: &[u64], theta: f64) -> (f64, f64) {
        let draws: u64 = counts.iter().sum();
        let total: f64 = (1..=counts.len()).map(|rank| (rank as f64).powf(-theta)).sum();
        let (mut chi2, mut cells) = (0.0, 0.0);
        let (mut expected, mut seen) = (0.0, 0.0);
        for (rank, &count) in counts.iter().enumerate().rev() {
            expected += draws as f64 * ((rank + 1) as f64).powf(-theta) / total;
            seen += count as f64;
            if expected >= 20.0 {
                chi2 += (seen - expected).powi(2) / expected;
                cells += 1.0;
                (expected, seen) = (0.0, 0.0);
            }
        }
        (chi2, cells - 1.0)
    }

    /// How far `chi2` lies from its mean, in standard deviations, by Wilson and Hilferty's approximation.
    fn deviation(chi2: f64, freedom: f64) -> f64 {
        ((chi2 / freedom).cbrt() - (1.0 - 2.0 / (9.0 * freedom))) / (2.0 / (9.0 * freedom)).sqrt()
    }

    fn counts(n: u64, draws: u64, rank: impl Fn(u64) -> u64) -> Vec<u64> {
        let mut counts = vec![0; n as usize];
        (0..draws).for_each(|index| counts[rank(index) as usize - 1] += 1);
        counts
    }

    #[test]
    fn ranks_have_exactly_their_probabilities() {
        for (n, theta) in [(2, 0.5), (10, 0.1), (100, 0.99), (100, 1.0), (1000, 0.6), (1000, 1.4), (5, 10.0), (50, 3.0)]
        {
            let (zipf, stream) = (Zipf::new(n, theta), Stream::new(42, 0));
            let (chi2, freedom) = chi2(&counts(n, 500_000, |index| zipf.at(stream, index)), theta);
            if freedom >= 1.0 {
                let deviation = deviation(chi2, freedom);
                assert!(deviation.abs() < 4.0, "n {n}, theta {theta}: {deviation:.1} deviations off");
            }
        }
    }

    #[test]
    fn the_test_would_notice_a_wrong_exponent() {
        let (zipf, stream) = (Zipf::new(100, 0.99), Stream::new(42, 0));
        let (chi2, freedom) = chi2(&counts(100, 500_000, |index| zipf.at(stream, index)), 1.0);
        assert!(deviation(chi2, freedom) > 5.0, "an exponent off by one hundredth passes");
    }

    #[test]
    fn as_the_oracle_of_rand_distr() {
        const DRAWS: u64 = 400_000;
        let (n, theta) = (200, 1.2);
        let (zipf, stream) = (Zipf::new(n, theta), Stream::new(1, 2));
        let ours = counts(n, DRAWS, |index| zipf.at(stream, index));
        let oracle = rand_distr::Zipf::new(n as f64, theta).unwrap();
        let rng = std::cell::RefCell::new(rand::rngs::SmallRng::seed_from_u64(5));
        let theirs = counts(n, DRAWS, |_| oracle.sample(&mut *rng.borrow_mut()) as u64);
        // Two samples of the same size: (a - b)^2 / (a + b) is chi-square with one degree less than there are cells.
        let cells: Vec<_> = ours.iter().zip(&theirs).filter(|(a, b)| **a + **b >= 20).collect();
        let chi2: f64 = cells.iter().map(|(a, b)| (**a as f64 - **b as f64).powi(2) / (**a + **b) as f64).sum();
        let deviation = deviation(chi2, cells.len() as f64 - 1.0);
        assert!(deviation.abs() < 4.0, "{deviation:.1} deviations apart");
    }

    #[test]
    fn the_ends_of_the_range_hold() {
        let stream = Stream::new(9, 9);
        let one = Zipf::new(1, 0.99);
        assert!((0..1000).all(|index| one.at(stream, index) == 1));
        for theta in [1e-9, 0.5, 1.0, 2.0, 10.0] {
            let many = Zipf::new(1_000_000_000, theta);
            assert!((0..10_000).all(|index| (1..=1_000_000_000).contains(&many.at(stream, index))), "theta {theta}");
        }
    }

    /// Zipf(0.99): the hottest of a million keys takes 6.50 % of all draws, of a thousand 12.94 %.
    #[test]
    fn the_hottest_key_is_as_hot_as_computed() {
        for (n, share) in [(1_000_000, 0.0650), (1_000, 0.1294)] {
            let (zipf, stream) = (Zipf::new(n, 0.99), Stream::new(3, 1));
            let hits = (0..400_000).filter(|&index| zipf.at(stream, index) == 1).count();
            assert!((hits as f64 / 400_000.0 - share).abs() < 0.002, "{hits} of {n}");
        }
    }
}
