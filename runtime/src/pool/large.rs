//! Blocks that are longer than any class's: regions of their own, a few of which are kept for the next.
//!
//! Those kept are the last that came home, so that of a guarded pool they are the ones most likely to be touched all
//! the same. One that is longer than all that may be kept goes back to the system at once.
//!
//! I1  A region is in use, with its start in `live`, or kept. Its bytes are held (I2 of `ground`) in either case.
//! I2  Who takes a region from either has it in hand. It goes back to the system once whoever notes free blocks has
//!     been told to forget this one, and so does not read there any more (I2 of the guard's `book`).
//! Progress: blocking. The system is asked with the lock released.

use super::ground::{Ground, NoMemory};
use super::region::Region;
use crate::sync::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::ptr::NonNull;

const PAGE_BYTES: usize = 4096;
/// Bytes that are kept at most.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// A kept region is used again when it is longer than what is needed by less than a quarter.
const SPARE_SHARE: usize = 4;

/// The large blocks of a pool.
#[derive(Debug, Default)]
pub struct Large {
    regions: Mutex<Regions>,
}

#[derive(Debug, Default)]
struct Regions {
    live: BTreeMap<usize, Region>,
    live_bytes: usize,
    /// The oldest first.
    kept: VecDeque<Region>,
    kept_bytes: usize,
}

/// A block that an address lies in.
#[derive(Debug, Clone, Copy)]
pub struct Located {
    /// Where it begins.
    pub start: NonNull<u8>,
    /// How long it is.
    pub bytes: usize,
    /// Whether it is in use, rather than kept.
    pub in_use: bool,
}

/// Bytes that are kept at most of a pool.
fn kept_bytes_max(ground: &Ground) -> usize {
    KEPT_BYTES_MAX.min(ground.bytes_max() / 8)
}

impl Large {
    /// Bytes of the least block for `len` bytes; `None` when they cannot be counted.
    pub fn bytes_for(len: usize) -> Option<usize> {
        len.checked_next_multiple_of(PAGE_BYTES)
    }

    /// A block of `bytes`, as [`bytes_for`](Self::bytes_for) says, aligned to a page, and whether it may hold what an
    /// earlier holder wrote.
    pub fn take(&self, bytes: usize, ground: &Ground) -> Result<(NonNull<u8>, bool), NoMemory> {
        let kept = self.regions.lock().take_kept(bytes);
        let used = kept.is_some();
        let region = match kept {
            Some(region) => region,
            None => {
                ground.hold(bytes, 1)?;
                Region::committed(bytes, ground.huge_pages()).ok_or_else(|| {
                    ground.let_go(bytes);
                    NoMemory::System { bytes }
                })?
            }
        };
        let start = region.start();
        let mut regions = self.regions.lock();
        regions.live_bytes += region.bytes();
        regions.live.insert(start.as_ptr() as usize, region);
        Ok((start, used))
    }

    /// Whether a block of so many bytes is kept when it comes home.
    pub fn keeps(bytes: usize, ground: &Ground) -> bool {
        bytes <= kept_bytes_max(ground)
    }

    /// Takes a block back; false when it is none of ours that is in use. What is to be forgotten is told so (I2).
    pub fn put(&self, start: NonNull<u8>, ground: &Ground, forget: impl Fn(NonNull<u8>)) -> bool {
        let mut regions = self.regions.lock();
        let Some(region) = regions.live.remove(&(start.as_ptr() as usize)) else { return false };
        let bytes = region.bytes();
        regions.live_bytes -= bytes;
        if Self::keeps(bytes, ground) {
            regions.kept_bytes += bytes;
            regions.kept.push_back(region);
            drop(regions);
            self.release(kept_bytes_max(ground), ground, forget);
        } else {
            drop(regions);
            part_with(region, ground, forget);
        }
        true
    }

    /// The block in which an address lies.
    pub fn find(&self, address: NonNull<u8>) -> Option<Located> {
        let address = address.as_ptr() as usize;
        let holds = |region: &&Region| address.wrapping_sub(region.start().as_ptr() as usize) < region.bytes();
        let located = |region: &Region, in_use| Located { start: region.start(), bytes: region.bytes(), in_use };
        let regions = self.regions.lock();
        let live = regions.live.range(..=address).next_back().map(|(_, region)| region).filter(holds);
        let kept = || regions.kept.iter().find(holds).map(|region| located(region, false));
        live.map(|region| located(region, true)).or_else(kept)
    }

    /// Gives kept regions back to the system; says how many bytes.
    pub fn release_kept(&self, ground: &Ground, forget: impl Fn(NonNull<u8>)) -> usize {
        self.release(0, ground, forget)
    }

    /// The oldest, until no more than so many bytes are kept.
    fn release(&self, most: usize, ground: &Ground, forget: impl Fn(NonNull<u8>)) -> usize {
        let mut released = 0;
        loop {
            let oldest = self.regions.lock().take_beyond(most);
            let Some(region) = oldest else { return released };
            released += region.bytes();
            part_with(region, ground, &forget);
        }
    }

    /// Bytes in use, and kept.
    pub fn bytes(&self) -> (usize, usize) {
        let regions = self.regions.lock();
        (regions.live_bytes, regions.kept_bytes)
    }
}

/// Gives a region back to the system (I2).
fn part_with(region: Region, ground: &Ground, forget: impl Fn(NonNull<u8>)) {
    let bytes = region.bytes();
    forget(region.start());
    drop(region);
    ground.let_go(bytes);
}

impl Regions {
    fn take_kept(&mut self, bytes: usize) -> Option<Region> {
        let fits = |region: &&Region| region.bytes() >= bytes && region.bytes() - bytes <= bytes / SPARE_SHARE;
        let least = self.kept.iter().filter(fits).map(Region::bytes).min()?;
        let at = self.kept.iter().position(|region| region.bytes() == least)?;
        self.kept_bytes -= least;
        self.kept.remove(at)
    }

    /// The oldest one kept, if those are more than so many bytes.
    fn take_beyond(&mut self, most: usize) -> Option<Region> {
        let region = (self.kept_bytes > most).then(|| self.kept.pop_front())??;
        self.kept_bytes -= region.bytes();
        Some(region)
    }
}
