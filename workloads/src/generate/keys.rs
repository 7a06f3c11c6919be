//! The keys a worker asks for.

use super::{Scatter, Stream, Zipf};
use crate::script::Keys;

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
}

impl KeyStream {
    /// The keys of a worker. All workers of a run scatter alike, so that they share their hot keys.
    pub fn new(keys: Keys, seed: u64, worker: u64) -> Self {
        let draw = match keys {
            Keys::Uniform { items } => Draw::Uniform(items),
            Keys::Zipfian { items, theta } => Draw::Zipfian(Zipf::new(items, theta)),
        };
        Self { draw, stream: Stream::new(seed, worker).branch(0), scatter: Scatter::new(keys.items(), seed) }
    }

    /// The number of the key at `index`.
    #[inline]
    pub fn at(&self, index: u64) -> u64 {
        let rank = match &self.draw {
            Draw::Uniform(items) => self.stream.below(index, *items),
            Draw::Zipfian(zipf) => zipf.at(self.stream, index) - 1,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZIPFIAN: Keys = Keys::Zipfian { items: 1000, theta: 0.99 };

    #[test]
    fn the_same_seed_asks_for_the_same_keys() {
        let keys = |seed, worker| {
            let stream = KeyStream::new(ZIPFIAN, seed, worker);
            (0..1000).map(|index| stream.at(index)).collect::<Vec<_>>()
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
            (0..50_000).for_each(|index| counts[stream.at(index) as usize] += 1);
            (0..1000).max_by_key(|&key| counts[key]).unwrap()
        };
        assert_eq!(hottest(0), hottest(7));
    }

    #[test]
    fn keys_are_spelled_in_order() {
        assert_eq!(&KeyStream::spell(0x1f), b"000000000000001f");
        assert!(KeyStream::spell(9) < KeyStream::spell(10));
    }
}
