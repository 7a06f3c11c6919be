//! The parts in which a map on flat tables is walked: by the first bits of a position.

const BITS: u32 = 8;

pub(super) const STRIPES: usize = 1 << BITS;

pub(super) fn stripe_of(position: u64) -> usize {
    (position >> (u64::BITS - BITS)) as usize
}

/// The first and the last position of a stripe.
pub(super) fn positions_of(stripe: usize) -> (u64, u64) {
    let first = (stripe as u64) << (u64::BITS - BITS);
    (first, first | u64::MAX >> BITS)
}
