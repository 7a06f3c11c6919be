//! Blocks that are longer than any class's: regions of their own, a few of which are kept for the next.
//!
//! I1  A region is in use, with its start in `live`, or kept. Its bytes are held (I2 of `ground`) in either case.
//! Progress: blocking. The system is asked with the lock released.

use super::ground::{Ground, NoMemory};
use super::region::Region;
use crate::sync::Mutex;
use std::collections::BTreeMap;
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
    kept: Vec<Region>,
    kept_bytes: usize,
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
                if ground.hold(bytes, 1).is_err() {
                    self.release_kept(ground);
                    ground.hold(bytes, 1)?;
                }
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

    /// Takes a block back; false when it is none of ours.
    pub fn put(&self, start: NonNull<u8>, ground: &Ground) -> bool {
        let mut regions = self.regions.lock();
        let Some(region) = regions.live.remove(&(start.as_ptr() as usize)) else { return false };
        let bytes = region.bytes();
        regions.live_bytes -= bytes;
        if regions.kept_bytes + bytes <= KEPT_BYTES_MAX.min(ground.bytes_max() / 8) {
            regions.kept_bytes += bytes;
            regions.kept.push(region);
        } else {
            drop(regions);
            drop(region);
            ground.let_go(bytes);
        }
        true
    }

    /// Where the block begins in which an address lies.
    pub fn find(&self, address: NonNull<u8>) -> Option<NonNull<u8>> {
        let address = address.as_ptr() as usize;
        let regions = self.regions.lock();
        let (start, region) = regions.live.range(..=address).next_back()?;
        (address - start < region.bytes()).then(|| region.start())
    }

    /// Gives kept regions back to the system; says how many bytes.
    pub fn release_kept(&self, ground: &Ground) -> usize {
        let mut regions = self.regions.lock();
        let (kept, bytes) = (std::mem::take(&mut regions.kept), std::mem::take(&mut regions.kept_bytes));
        drop(regions);
        drop(kept);
        ground.let_go(bytes);
        bytes
    }

    /// Bytes in use, and kept.
    pub fn bytes(&self) -> (usize, usize) {
        let regions = self.regions.lock();
        (regions.live_bytes, regions.kept_bytes)
    }
}

impl Regions {
    fn take_kept(&mut self, bytes: usize) -> Option<Region> {
        let fits = |region: &&Region| region.bytes() >= bytes && region.bytes() - bytes <= bytes / SPARE_SHARE;
        let least = self.kept.iter().filter(fits).map(Region::bytes).min()?;
        let at = self.kept.iter().position(|region| region.bytes() == least)?;
        self.kept_bytes -= least;
        Some(self.kept.swap_remove(at))
    }
}
