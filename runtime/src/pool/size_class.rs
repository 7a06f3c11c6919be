//! Size classes: eight to the octave from 16 bytes to 64 KiB, so that rounding up wastes less than an eighth.
//!
//! | class | sizes | step | blocks aligned to |
//! |---|---|---|---|
//! | 0 | 16 | | 16 |
//! | 1..=8 | 18 to 32 | 2 | 2 or more |
//! | 9..=16 | 36 to 64 | 4 | 4 or more |
//! | .. | | doubles with each octave | the step, or more |
//! | 89..=96 | 36 864 to 65 536 | 4 096 | 4 096 |
//!
//! Chunks begin on pages, and more, so a block is aligned to the greatest power of two in its size, up to 65 536.

#[cfg(not(any(rt_loom, rt_shuttle)))]
use crate::sync::OnceLock;

const STEPS: usize = 8;
const SMALLEST_BITS: u32 = 4;
const GREATEST_BITS: u32 = 16;

/// Number of size classes.
pub(super) const CLASSES: usize = (GREATEST_BITS - SMALLEST_BITS) as usize * STEPS + 1;
/// The longest blocks of a class; longer ones are large.
pub(super) const GREATEST: usize = 1 << GREATEST_BITS;
/// The coarsest alignment that can be asked for: a page, to which large blocks are aligned too.
pub(super) const ALIGNMENT_MAX: usize = 4096;

/// The classes of lengths up to 1 KiB: a load instead of ten instructions. Above that every class is a multiple of 128.
type Short = [u8; 1025];

/// The classes of greater lengths, by how often this goes into what is less: above 1 KiB every class is a multiple of
/// it.
static LONG: [u8; GREATEST / LONG_STEP] = {
    let mut classes = [0; GREATEST / LONG_STEP];
    let mut index = 0;
    while index < classes.len() {
        classes[index] = SizeClass::computed((index + 1) * LONG_STEP).0;
        index += 1;
    }
    classes
};
const LONG_STEP: usize = 128;

/// By alignment: 2, 4 .. 64.
static SHORT: [Short; 6] = [short(2), short(4), short(8), short(16), short(32), short(64)];

/// Where every length goes to the class that its multiple of `alignment` goes to, which is one itself: the steps of an
/// octave either divide the alignment, and then the multiple is a class of its own, or are multiples of it.
const fn short(alignment: usize) -> Short {
    let mut classes = [0; 1025];
    let mut len = 0;
    while len < classes.len() {
        // Nothing is a block too.
        let multiple = if len == 0 { alignment } else { len.next_multiple_of(alignment) };
        classes[len] = SizeClass::computed(multiple).0;
        len += 1;
    }
    classes
}

/// Which class a pool serves a length from, by how its blocks are aligned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    short: &'static Short,
    alignment: usize,
}

impl Fit {
    /// For blocks that are all aligned to a power of two from 2 to 64; `None` for any other number.
    pub(super) fn aligned(alignment: usize) -> Option<Self> {
        let (_, short) = SHORT.iter().enumerate().find(|(index, _)| 2 << index == alignment)?;
        Some(Self { short, alignment })
    }

    /// What all blocks are aligned to.
    pub(super) fn alignment(self) -> usize {
        self.alignment
    }

    /// The least class whose blocks hold `len` bytes and are aligned so; `None` when only a large block does.
    #[inline(always)]
    pub(super) fn class(self, len: usize) -> Option<SizeClass> {
        match self.short.get(len) {
            Some(&class) => Some(SizeClass(class)),
            None => LONG.get((len - 1) / LONG_STEP).map(|&class| SizeClass(class)),
        }
    }
}

/// A size class, by its index, which is below [`CLASSES`]: that is how each is made (`computed`, `at`, `all`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SizeClass(u8);

impl SizeClass {
    /// The least class whose blocks hold `len` bytes; `None` when only a large block does.
    #[inline(always)]
    pub(super) fn of(len: usize) -> Option<Self> {
        Fit { short: &SHORT[0], alignment: 2 }.class(len)
    }

    /// The least class whose blocks hold `len` bytes, of which there are at most [`GREATEST`].
    const fn computed(len: usize) -> Self {
        if len <= 1 << SMALLEST_BITS {
            return Self(0);
        }
        let last = len - 1;
        let octave = last.ilog2();
        let step = (last >> (octave - 3)) % STEPS;
        Self(((octave - SMALLEST_BITS) as usize * STEPS + step + 1) as u8)
    }

    /// The least class whose blocks hold `len` bytes and all start at a multiple of `alignment`, a power of two up to
    /// [`ALIGNMENT_MAX`]; `None` when only a large block does.
    pub(super) fn aligned_of(len: usize, alignment: usize) -> Option<Self> {
        let multiple = len.max(1).checked_next_multiple_of(alignment)?;
        let mut class = Self::of(multiple)?;
        while !class.bytes().is_multiple_of(alignment) {
            class.0 += 1;
        }
        Some(class)
    }

    /// The class of that index.
    ///
    /// # Panics
    /// When there is none.
    pub(super) fn at(index: usize) -> Self {
        assert!(index < CLASSES, "class {index} of {CLASSES}");
        Self(index as u8)
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..CLASSES as u8).map(Self)
    }

    #[inline(always)]
    pub(super) fn index(self) -> usize {
        let index = usize::from(self.0);
        // SAFETY: every class is made with an index that is less. So no array of classes looks whether it has this one.
        unsafe { std::hint::assert_unchecked(index < CLASSES) };
        index
    }

    /// Bytes of a block.
    #[inline]
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
    fn aligned_classes_are_multiples_of_the_alignment() {
        for alignment in (0..=12).map(|bits| 1 << bits) {
            for len in 0..=GREATEST {
                let bytes = SizeClass::aligned_of(len, alignment).unwrap().bytes();
                assert!(bytes >= len && bytes.is_multiple_of(alignment), "{len} in {bytes} at {alignment}");
            }
            assert_eq!(SizeClass::aligned_of(usize::MAX, alignment), None);
        }
        assert_eq!(SizeClass::aligned_of(65, 64).unwrap().label(), "128");
    }
    #[test]
    fn what_fits_is_the_least_class_that_is_aligned() {
        for alignment in (1..=6).map(|bits| 1 << bits) {
            let fit = Fit::aligned(alignment).unwrap();
            for len in 0..=GREATEST {
                assert_eq!(fit.class(len), SizeClass::aligned_of(len, alignment), "{len} at {alignment}");
            }
            assert_eq!(fit.class(GREATEST + 1), None);
        }
        assert!([0, 1, 3, 24, 128, usize::MAX].into_iter().all(|alignment| Fit::aligned(alignment).is_none()));
    }
}
