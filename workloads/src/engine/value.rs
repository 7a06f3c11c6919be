//! Values that can be told to be whole: length and every byte follow from key and version.

use crate::generate::Stream;

/// Bytes in front of a value: its key's number and its version.
const HEAD: usize = 16;

/// How long values are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    pub from: u64,
    pub to: u64,
}

/// The value of a key at a version.
pub(super) fn derived(key: u64, version: u64, lengths: Lengths) -> Box<[u8]> {
    let pattern = Stream::new(key, version);
    let mut value = vec![0; length(pattern, lengths)].into_boxed_slice();
    fill(&mut value, key, version, pattern);
    value
}

/// True if these bytes are what [`derived`] made for that key at some version, from the first to the last.
pub(super) fn is_whole(value: &[u8], key: u64, lengths: Lengths) -> bool {
    let Some((head, _)) = value.split_first_chunk::<HEAD>() else {
        // Too short to carry a version: it has as much of the key as it has room for.
        return value.iter().zip(key.to_le_bytes()).all(|(have, want)| *have == want) && !value.is_empty();
    };
    let version = u64::from_le_bytes(head[8..].try_into().expect("eight of sixteen bytes"));
    let pattern = Stream::new(key, version);
    head[..8] == key.to_le_bytes()
        && value.len() == length(pattern, lengths)
        && value[HEAD..].chunks(8).all(|word| word == &pattern.at(0).to_le_bytes()[..word.len()])
}

/// The word of a key at a version: 32 bits of each.
pub(super) fn word(key: u64, version: u64) -> u64 {
    mark(key) | version >> 32
}

/// True if [`word`] made that for this key at some version.
pub(super) fn is_word_of(word: u64, key: u64) -> bool {
    word & MARK == mark(key)
}

/// The half of a word that the key decides.
const MARK: u64 = !(u32::MAX as u64);

fn mark(key: u64) -> u64 {
    Stream::new(key, 0).at(0) & MARK
}

fn length(pattern: Stream, lengths: Lengths) -> usize {
    (lengths.from + pattern.below(1, lengths.to - lengths.from + 1)) as usize
}

fn fill(value: &mut [u8], key: u64, version: u64, pattern: Stream) {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&key.to_le_bytes());
    head[8..].copy_from_slice(&version.to_le_bytes());
    let at = value.len().min(HEAD);
    value[..at].copy_from_slice(&head[..at]);
    let word = pattern.at(0).to_le_bytes();
    value[at..].chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&word[..chunk.len()]));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: Lengths = Lengths { from: 20, to: 300 };

    #[test]
    fn a_value_is_known_again_and_any_change_of_it_is_not() {
        let value = derived(7, 3, LENGTHS);
        assert!(is_whole(&value, 7, LENGTHS) && !is_whole(&value, 8, LENGTHS));
        for at in 0..value.len() {
            let mut torn = value.clone();
            torn[at] ^= 1;
            assert!(!is_whole(&torn, 7, LENGTHS), "byte {at} may be anything");
        }
        assert!(!is_whole(&value[..value.len() - 1], 7, LENGTHS) && !is_whole(&[], 7, LENGTHS));
    }

    #[test]
    fn a_word_is_known_again_under_its_key_and_no_other() {
        let versions = (0..100).map(|version| Stream::new(1, 2).at(version));
        let words: Vec<u64> = versions.map(|version| word(7, version)).collect();
        assert!(words.iter().all(|&word| is_word_of(word, 7) && !is_word_of(word, 8)));
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]), "versions differ: {words:?}");
    }

    #[test]
    fn half_of_one_version_and_half_of_another_are_no_value() {
        let same = Lengths { from: 64, to: 64 };
        let (mut old, new) = (derived(7, 1, same), derived(7, 2, same));
        old[32..].copy_from_slice(&new[32..]);
        assert!(!is_whole(&old, 7, same));
    }

    #[test]
    fn lengths_differ_from_version_to_version() {
        let lengths: Vec<usize> = (0..100).map(|version| derived(7, version, LENGTHS).len()).collect();
        assert!(lengths.iter().all(|length| (20..=300).contains(length)));
        assert!(lengths.iter().min() < Some(&60) && lengths.iter().max() > Some(&250), "{lengths:?}");
    }

    #[test]
    fn the_shortest_values_carry_some_of_their_key() {
        let short = Lengths { from: 1, to: 1 };
        assert!(is_whole(&derived(7, 1, short), 7, short) && !is_whole(&derived(7, 1, short), 8, short));
    }
}
