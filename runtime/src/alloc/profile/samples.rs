//! The samples that live, by address: open addressing with linear probing, and deletion by moving back what follows
//! (Knuth, volume 3, 6.4, algorithm R), so that a table that is filled and emptied for years has no tombstones.

use std::ops::{AddAssign, SubAssign};

/// Samples that can live at once: 6 GiB at the default interval.
pub const SAMPLES_MAX: usize = SLOTS / 4 * 3;
const SLOTS: usize = 1 << 14;

/// Blocks and bytes that samples stand for. Whole numbers, in 65536ths of a block, so that what is added in one order
/// and taken away in another comes to nothing in the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weight {
    parts: u64,
    pub bytes: u64,
}

impl Weight {
    const PART_BITS: u32 = 16;

    /// That of a block which was sampled with this probability.
    pub(super) fn of(bytes: usize, probability: f64) -> Self {
        let blocks = 1.0 / probability;
        let parts = blocks * f64::from(1u32 << Self::PART_BITS);
        Self { parts: parts.round() as u64, bytes: (blocks * bytes as f64).round() as u64 }
    }

    /// Blocks, to the nearest.
    pub(super) fn blocks(self) -> u64 {
        self.parts.saturating_add(1 << (Self::PART_BITS - 1)) >> Self::PART_BITS
    }
}

impl AddAssign for Weight {
    fn add_assign(&mut self, other: Self) {
        self.parts = self.parts.wrapping_add(other.parts);
        self.bytes = self.bytes.wrapping_add(other.bytes);
    }
}

impl SubAssign for Weight {
    fn sub_assign(&mut self, other: Self) {
        self.parts = self.parts.wrapping_sub(other.parts);
        self.bytes = self.bytes.wrapping_sub(other.bytes);
    }
}

/// A block that was sampled and is not freed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    /// 0 in a free slot.
    pub address: usize,
    pub site: u16,
    /// The scope it was allocated in.
    pub name: u16,
    /// What it stands for.
    pub weight: Weight,
}

pub(super) struct Samples {
    slots: Box<[Sample]>,
    len: usize,
}

impl Samples {
    pub(super) fn new() -> Self {
        Self { slots: vec![Sample::default(); SLOTS].into(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_full(&self) -> bool {
        self.len >= SAMPLES_MAX
    }

    pub(super) fn has(&self, address: usize) -> bool {
        self.slots[self.slot(address)].address == address
    }

    /// Adds a sample whose address is not there. The table must not be full.
    pub(super) fn insert(&mut self, sample: Sample) {
        let slot = self.slot(sample.address);
        self.slots[slot] = sample;
        self.len += 1;
    }

    pub(super) fn remove(&mut self, address: usize) -> Option<Sample> {
        let mut hole = self.slot(address);
        let found = self.slots[hole];
        if found.address != address {
            return None;
        }
        let mut next = hole;
        loop {
            next = (next + 1) % SLOTS;
            let follower = self.slots[next];
            if follower.address == 0 {
                break;
            }
            // One that would not be found behind the hole moves into it.
            let distance = |from: usize, to: usize| to.wrapping_sub(from) % SLOTS;
            if distance(home(follower.address), next) >= distance(hole, next) {
                self.slots[hole] = follower;
                hole = next;
            }
        }
        self.slots[hole] = Sample::default();
        self.len -= 1;
        Some(found)
    }

    /// The slot of an address, or the free one where it would go. There always is one: the table is never full.
    fn slot(&self, address: usize) -> usize {
        let mut slot = home(address);
        while ![0, address].contains(&self.slots[slot].address) {
            slot = (slot + 1) % SLOTS;
        }
        slot
    }
}

fn home(address: usize) -> usize {
    // Addresses are those of pages; the upper bits of the product are the mixed ones.
    (address as u64 >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize >> (64 - SLOTS.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn as_a_hash_map_would() {
        let (mut samples, mut model) = (Samples::new(), HashMap::new());
        let mut random = fastrand::Rng::with_seed(7);
        for step in 0..200_000 {
            // Few enough addresses that they meet, and more than once around the end of the table.
            let address = (random.usize(1..20_000)) << 12;
            if let Some(weight) = model.remove(&address) {
                assert!(samples.has(address));
                assert_eq!(samples.remove(address).map(|sample| sample.weight), Some(weight), "step {step}");
            } else if !samples.is_full() {
                assert!(!samples.has(address) && samples.remove(address).is_none());
                let weight = Weight::of(step, 0.5);
                samples.insert(Sample { address, weight, ..Sample::default() });
                model.insert(address, weight);
            }
            assert_eq!(samples.len(), model.len());
        }
        assert!(model.len() > SLOTS / 3);
        for (address, weight) in model {
            assert_eq!(samples.remove(address).map(|sample| sample.weight), Some(weight));
        }
        assert!(samples.len() == 0 && samples.slots.iter().all(|slot| slot.address == 0));
    }
}
