//! Plain data as words.
//!
//! A value of `n` bytes takes `n / 8` words, rounded up; what is left of the last word is zero, so that equal bytes
//! are equal words.

use bytemuck::{AnyBitPattern, NoUninit, bytes_of, bytes_of_mut};

/// Data that is its bytes and nothing more: every byte initialised, every pattern of bytes a value. Integers, arrays
/// of them, and structures for which [`bytemuck`](https://docs.rs/bytemuck) holds; no references, no padding.
///
/// A map's keys are equal when their bytes are.
///
/// ```compile_fail,E0277
/// // Seven bytes of padding: not plain.
/// let map = rheostat_runtime::map::FlatMap::<u64, (u8, u64)>::new();
/// ```
/// ```compile_fail,E0277
/// // Not its bytes: a heap value belongs into `Map`, which keeps it behind a pointer.
/// let map = rheostat_runtime::map::FlatMap::<u64, String>::new();
/// ```
pub trait Plain: NoUninit + AnyBitPattern {}

impl<T: NoUninit + AnyBitPattern> Plain for T {}

const WORD: usize = size_of::<u64>();

/// How many words a `T` takes.
pub(super) const fn words_in<T>() -> usize {
    size_of::<T>().div_ceil(WORD)
}

/// One word of a value.
#[inline(always)]
pub(super) fn word<T: Plain>(value: &T, index: usize) -> u64 {
    let bytes = &bytes_of(value)[index * WORD..];
    match bytes.first_chunk() {
        Some(whole) => u64::from_ne_bytes(*whole),
        None => {
            let mut last = [0; WORD];
            last[..bytes.len()].copy_from_slice(bytes);
            u64::from_ne_bytes(last)
        }
    }
}

/// Whether two values are the same bytes.
pub(super) fn are_same<T: Plain>(a: &T, b: &T) -> bool {
    bytes_of(a) == bytes_of(b)
}

/// The value whose words these are.
#[inline(always)]
pub(super) fn gather<T: Plain>(word: impl Fn(usize) -> u64) -> T {
    let mut value = T::zeroed();
    for (index, bytes) in bytes_of_mut(&mut value).chunks_mut(WORD).enumerate() {
        bytes.copy_from_slice(&word(index).to_ne_bytes()[..bytes.len()]);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Plain + PartialEq + std::fmt::Debug>(value: T, words: usize) {
        assert_eq!(words_in::<T>(), words);
        let kept: Vec<u64> = (0..words).map(|index| word(&value, index)).collect();
        assert_eq!(gather::<T>(|index| kept[index]), value);
    }

    #[test]
    fn values_of_any_size_survive() {
        round_trip((), 0);
        round_trip(0xa5_u8, 1);
        round_trip(u64::MAX, 1);
        round_trip(-7_i128, 2);
        round_trip([1_u8, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 2);
        round_trip([3_u32, 2, 1], 2);
    }

    #[test]
    fn the_rest_of_the_last_word_is_zero() {
        assert_eq!(word(&[0xff_u8; 3], 0).count_ones(), 24);
    }
}
