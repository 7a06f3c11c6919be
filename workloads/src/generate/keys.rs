//! The keys a worker asks for.

use super::{Scatter, Stream, YcsbZipf, Zipf};
use crate::script::Keys;
use rheostat_runtime::sync::CachePadded;
use rheostat_runtime::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes of a key.
pub const KEY_BYTES: usize = 16;

/// The keys of one worker, by index.
#[derive(Debug, Clone, Copy)]
pub struct KeyStream {
    draw: Draw,
    stream: Stream,
    scatter: Scatter,
}

#[derive(Debug, Clone, Copy)]
enum Draw {
    Uniform(u64),
    Zipfian(Zipf),
    YcsbZipfian(YcsbZipf),
    Latest(Zipf),
    Hotspot { hot: u64, share: f64, items: u64 },
    Sequential { start: u64, items: u64 },
}

impl KeyStream {
    /// The keys of a worker. All workers of a run scatter alike, so that they share their hot keys.
    pub fn new(keys: Keys, seed: u64, worker: u64) -> Self {
        let stream = Stream::new(seed, worker).branch(0);
        let draw = match keys {
            Keys::Uniform { items } => Draw::Uniform(items),
            Keys::Zipfian { items, theta } => Draw::Zipfian(Zipf::new(items, theta)),
            Keys::YcsbZipfian { items } => Draw::YcsbZipfian(YcsbZipf::new(items)),
            Keys::Latest { items, theta } => Draw::Latest(Zipf::new(items, theta)),
            Keys::Hotspot { items, hot_set, hot_share } => {
                Draw::Hotspot { hot: ((items as f64 * hot_set) as u64).clamp(1, items), share: hot_share, items }
            }
            // Workers start apart, or they would walk in step over the same keys.
            Keys::Sequential { items } => Draw::Sequential { start: stream.below(u64::MAX, items), items },
        };
        Self { draw, stream, scatter: Scatter::new(keys.items(), seed) }
    }

    /// The number of the key at `index`. `frontier` is asked where the latest keys are the hottest.
    #[inline]
    pub fn at(&self, index: u64, frontier: &Frontier) -> u64 {
        let rank = match &self.draw {
            Draw::Uniform(items) => self.stream.below(index, *items),
            Draw::Zipfian(zipf) => zipf.at(self.stream, index) - 1,
            // YCSB scatters by its own hash already.
            Draw::YcsbZipfian(zipf) => return zipf.at(self.stream, index),
            // The latest key is the hottest wherever it lies, so there is nothing to scatter.
            Draw::Latest(zipf) => return frontier.latest().saturating_sub(zipf.at(self.stream, index)),
            Draw::Hotspot { hot, share, items } => {
                let pick = self.stream.branch(index);
                let cold = items - hot;
                if cold == 0 || self.stream.unit(index) < *share {
                    pick.below(0, *hot)
                } else {
                    hot + pick.below(0, cold)
                }
            }
            Draw::Sequential { start, items } => return (start + index) % items,
        };
        self.scatter.of(rank)
    }

    /// The key of that number: sixteen hexadecimal digits, so that it can be read where keys are shown.
    #[inline]
    pub fn spell(number: u64) -> [u8; KEY_BYTES] {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut key = [0; KEY_BYTES];
        for (place, digit) in key.iter_mut().enumerate() {
            *digit = DIGITS[(number >> (60 - 4 * place) & 0xf) as usize];
        }
        key
    }

    /// The number of a key as [`spell`](Self::spell) writes it; `None` for anything else.
    pub fn number(key: &[u8]) -> Option<u64> {
        let text = std::str::from_utf8(key).ok().filter(|text| text.len() == KEY_BYTES)?;
        u64::from_str_radix(text, 16).ok()
    }
}

/// How far the keys of a map reach: numbers are handed out once, to whoever inserts a new key.
///
/// Both words are counts and publish nothing: a key drawn near the frontier may still be on its way in, for as many
/// keys as there are workers that insert, and a read of it then misses.
#[derive(Debug)]
pub struct Frontier {
    issued: CachePadded<AtomicU64>,
    acknowledged: CachePadded<AtomicU64>,
}

impl Frontier {
    /// Keys `0..loaded` are there, or about to be.
    pub fn new(loaded: u64) -> Self {
        Self {
            issued: CachePadded::new(AtomicU64::new(loaded)),
            acknowledged: CachePadded::new(AtomicU64::new(loaded)),
        }
    }

    /// A number that nobody else gets.
    #[inline]
    pub fn next(&self) -> u64 {
        self.issued.fetch_add(1, Relaxed)
    }

    /// A new key has been put in.
    #[inline]
    pub fn acknowledge(&self) {
        self.acknowledged.fetch_add(1, Relaxed);
    }

    /// One past the latest key put in.
    #[inline]
    pub fn latest(&self) -> u64 {
        self.acknowledged.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZIPFIAN: Keys = Keys::Zipfian { items: 1000, theta: 0.99 };

    #[test]
    fn the_same_seed_asks_for_the_same_keys() {
        let keys = |seed, worker| {
            let stream = KeyStream::new(ZIPFIAN, seed, worker);
            (0..1000).map(|index| stream.at(index, &Frontier::new(0))).collect::<Vec<_>>()
        };
        assert_eq!(keys(42, 0), keys(42, 0));
        assert_ne!(keys(42, 0), keys(42, 1));
        assert_ne!(keys(42, 0), keys(43, 0));
    }

    #[test]
    fn workers_share_their_hot_key() {
        let hottest = |worker| {
            let stream = KeyStream::new(ZIPFIAN, 42, worker);
            let mut counts = vec![0; 1000];
            (0..50_000).for_each(|index| counts[stream.at(index, &Frontier::new(0)) as usize] += 1);
            (0..1000).max_by_key(|&key| counts[key]).unwrap()
        };
        assert_eq!(hottest(0), hottest(7));
    }

    #[test]
    fn the_latest_keys_are_the_hottest_wherever_the_frontier_is() {
        let stream = KeyStream::new(Keys::Latest { items: 1000, theta: 0.99 }, 42, 0);
        let frontier = Frontier::new(1000);
        for _ in 0..500 {
            let number = frontier.next();
            assert!(number >= 1000);
            frontier.acknowledge();
        }
        let drawn: Vec<u64> = (0..10_000).map(|index| stream.at(index, &frontier)).collect();
        assert!(drawn.iter().all(|number| (500..1500).contains(number)), "no key older than the window");
        let hottest = drawn.iter().filter(|number| **number == 1499).count();
        assert!((1100..1500).contains(&hottest), "rank 1 of 1000 has 13 %: {hottest}");
    }

    #[test]
    fn a_hotspot_gets_its_share() {
        let keys = Keys::Hotspot { items: 1000, hot_set: 0.2, hot_share: 0.8 };
        let stream = KeyStream::new(keys, 42, 3);
        let mut counts = vec![0u64; 1000];
        (0..100_000).for_each(|index| counts[stream.at(index, &Frontier::new(0)) as usize] += 1);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let hot: u64 = counts[..200].iter().sum();
        assert!((79_000..81_000).contains(&hot), "{hot} of 100 000 draws went to the hot fifth");
        assert!(counts[999] > 5, "cold keys are drawn too");
    }

    #[test]
    fn sequential_keys_come_in_order_and_start_over() {
        let stream = KeyStream::new(Keys::Sequential { items: 10 }, 42, 3);
        let drawn: Vec<u64> = (0..20).map(|index| stream.at(index, &Frontier::new(0))).collect();
        assert!(drawn.windows(2).all(|pair| pair[1] == (pair[0] + 1) % 10), "{drawn:?}");
    }

    #[test]
    fn keys_are_read_back() {
        for number in [0, 31, u64::MAX] {
            assert_eq!(KeyStream::number(&KeyStream::spell(number)), Some(number));
        }
        assert_eq!((KeyStream::number(b"short"), KeyStream::number(b"000000000000001g")), (None, None));
    }

    #[test]
    fn keys_are_spelled_in_order() {
        assert_eq!(&KeyStream::spell(0x1f), b"000000000000001f");
        assert!(KeyStream::spell(9) < KeyStream::spell(10));
    }
}
