//! What the threads do to the maps, drawn before the clock starts.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Zipf};

#[derive(Clone, Copy)]
pub enum Kind {
    Get,
    Put,
    Remove,
}

/// One operation.
#[derive(Clone, Copy)]
pub struct Step {
    pub key: u64,
    pub kind: Kind,
}

/// The operations of one thread in one phase: a stretch that is gone through again until there were enough.
pub struct Steps {
    stretch: Vec<Step>,
    count: u64,
}

impl Steps {
    pub fn len(&self) -> u64 {
        self.count
    }

    pub fn iter(&self) -> impl Iterator<Item = Step> {
        self.stretch.iter().copied().cycle().take(self.count as usize)
    }
}

/// Keys of one repetition: the numbers from 0 on, scattered over all of `u64` by its seed.
pub struct Keys {
    seed: u64,
}

/// Prime, and no divisor of any size: multiplying by it permutes the numbers below a size.
const SCATTER: usize = 2_654_435_761;

/// A stretch is as long as the map is large, so that it takes little of a cache that the map fits in, within these
/// bounds.
const STRETCH: std::ops::RangeInclusive<usize> = 16_384..=1_000_000;

impl Keys {
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The key of a number: two rounds of splitmix64's finalizer, which is one to one.
    fn key(&self, number: usize) -> u64 {
        let mut key = (number as u64).wrapping_add(self.seed);
        for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
            key = (key ^ (key >> 30)).wrapping_mul(factor);
        }
        key ^ (key >> 31)
    }

    /// The first `count` keys.
    pub fn all(&self, count: usize) -> impl Iterator<Item = u64> {
        (0..count).map(|number| self.key(number))
    }

    /// Puts every key in once; `part` of `threads`.
    pub fn inserts(&self, entries: usize, threads: usize, part: u64) -> Steps {
        let numbers = (part as usize..entries).step_by(threads);
        let stretch: Vec<Step> = numbers.map(|number| Step { key: self.key(number), kind: Kind::Put }).collect();
        Steps { count: stretch.len() as u64, stretch }
    }

    /// Reads of keys that are there, and `updates` per cent puts, each key as likely as another.
    pub fn uniform(&self, entries: usize, count: u64, updates: u32, part: u64) -> Steps {
        let mut rng = self.rng(part, 1);
        self.draw(entries, count, || {
            let kind = if rng.u32(..100) < updates { Kind::Put } else { Kind::Get };
            (rng.usize(..entries), kind)
        })
    }

    /// As [`uniform`](Self::uniform), the key of rank n as likely as 1 / n^0.99.
    pub fn zipf(&self, entries: usize, count: u64, updates: u32, part: u64) -> Steps {
        let mut rng = self.rng(part, 2);
        let mut ranks = StdRng::seed_from_u64(rng.u64(..));
        let zipf = Zipf::new(entries as f64, 0.99).expect("entries are more than none, and the exponent positive");
        self.draw(entries, count, || {
            let kind = if rng.u32(..100) < updates { Kind::Put } else { Kind::Get };
            let rank = zipf.sample(&mut ranks) as usize - 1;
            (rank.wrapping_mul(SCATTER) % entries, kind)
        })
    }

    /// 70 % reads over twice the entries; 10 % puts of keys that are there; 10 % puts and 10 % removals of as many
    /// other keys, about half of which are there once it goes on.
    pub fn churn(&self, entries: usize, count: u64, part: u64) -> Steps {
        let mut rng = self.rng(part, 3);
        self.draw(entries, count, || match rng.u32(..100) {
            0..70 => (rng.usize(..2 * entries), Kind::Get),
            70..80 => (rng.usize(..entries), Kind::Put),
            80..90 => (rng.usize(entries..2 * entries), Kind::Put),
            _ => (rng.usize(entries..2 * entries), Kind::Remove),
        })
    }

    fn rng(&self, part: u64, phase: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed ^ (phase << 32 | part))
    }

    fn draw(&self, entries: usize, count: u64, mut step: impl FnMut() -> (usize, Kind)) -> Steps {
        let length = entries.clamp(*STRETCH.start(), *STRETCH.end()).min(count as usize);
        let drawn = (0..length).map(|_| step());
        let stretch = drawn.map(|(number, kind)| Step { key: self.key(number), kind }).collect();
        Steps { stretch, count }
    }
}
