//! Size classes: eight to the octave from 16 bytes to 64 KiB, so that rounding up wastes less than an eighth.
//!
//! | class | sizes | step | blocks aligned to |
//! |---|---|---|---|
//! | 0 | 16 | | 16 |
//! | 1..=8 | 18 to 32 | 2 | 2 or more |
//! | 9..=16 | 36 to 64 | 4 | 4 or more |
//! | .. | | doubles with each octave | the step, or more |
//! | 89..=96 | 36 864 to 65 536 | 4 096 | 4 096 within a slab, so 64 |

use crate::sync::OnceLock;

const STEPS: usize = 8;
const SMALLEST_BITS: u32 = 4;
const GREATEST_BITS: u32 = 16;

/// Number of size classes.
pub(super) const CLASSES: usize = (GREATEST_BITS - SMALLEST_BITS) as usize * STEPS + 1;
/// Blocks longer than this come straight from the system.
pub(super) const GREATEST: usize = 1 << GREATEST_BITS;
/// What slabs and large blocks are aligned to: a cache line.
pub(super) const ALIGNMENT: usize = 64;

/// A size class, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SizeClass(u8);

impl SizeClass {
    /// The least class whose blocks hold `len` bytes; `None` when only a large block does.
    pub(super) fn of(len: usize) -> Option<Self> {
        if len > GREATEST {
            return None;
        }
        if len <= 1 << SMALLEST_BITS {
            return Some(Self(0));
        }
        let last = len - 1;
        let octave = last.ilog2();
        let step = (last >> (octave - 3)) % STEPS;
        Some(Self(((octave - SMALLEST_BITS) as usize * STEPS + step + 1) as u8))
    }

    /// The least class whose blocks hold `len` bytes and all start on a cache line.
    pub(super) fn aligned_of(len: usize) -> Option<Self> {
        let multiple = len.max(1).checked_next_multiple_of(ALIGNMENT)?;
        let mut class = Self::of(multiple)?;
        while !class.bytes().is_multiple_of(ALIGNMENT) {
            class.0 += 1;
        }
        Some(class)
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..CLASSES as u8).map(Self)
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Bytes of a block.
    pub(super) fn bytes(self) -> usize {
        match self.index().checked_sub(1) {
            None => 1 << SMALLEST_BITS,
            Some(above) => (STEPS + above % STEPS + 1) << (SMALLEST_BITS as usize + above / STEPS - 3),
        }
    }

    /// The class's value of the label `size_class`. Made once in a process: there are as many as classes.
    pub(super) fn label(self) -> &'static str {
        static LABELS: OnceLock<Vec<&'static str>> = OnceLock::new();
        let all = || SizeClass::all().map(|class| &*class.bytes().to_string().leak()).collect();
        LABELS.get_or_init(all)[self.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_fits_with_less_than_an_eighth_to_spare() {
        for len in 0..=GREATEST {
            let class = SizeClass::of(len).unwrap();
            let bytes = class.bytes();
            assert!(bytes >= len, "{len} does not fit {bytes}");
            assert!(len < 16 || (bytes - len) * 8 < bytes, "{len} wastes too much of {bytes}");
            assert!(class.0 == 0 || SizeClass(class.0 - 1).bytes() < len, "{len} fits a lesser class than {bytes}");
        }
        assert_eq!(SizeClass::of(GREATEST).unwrap().index(), CLASSES - 1);
        assert_eq!(SizeClass::of(GREATEST + 1), None);
    }

    #[test]
    fn aligned_classes_are_multiples_of_a_line() {
        for len in 0..=GREATEST {
            let bytes = SizeClass::aligned_of(len).unwrap().bytes();
            assert!(bytes >= len && bytes.is_multiple_of(ALIGNMENT), "{len} in {bytes}");
        }
        assert_eq!(SizeClass::aligned_of(usize::MAX), None);
        assert_eq!(SizeClass::aligned_of(65).unwrap().label(), "128");
    }
}
