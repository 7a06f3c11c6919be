//! The blocks of a pool that are in use, as intervals: no two may share a byte, and each is aligned.

use rheostat_runtime::pool::Block;
use rheostat_runtime::sync::Mutex;
use std::collections::BTreeMap;

/// Ends by starts.
#[derive(Default)]
pub struct InUse(Mutex<BTreeMap<usize, usize>>);

impl InUse {
    /// A block was handed out.
    pub fn enter(&self, block: &Block) {
        let (start, end) = (block.as_ptr() as usize, block.as_ptr() as usize + block.capacity());
        let mut blocks = self.0.lock();
        let before = blocks.range(..end).next_back();
        assert!(before.is_none_or(|(_, &other)| other <= start), "{start:#x}..{end:#x} overlaps {before:x?}");
        // To the greatest power of two in its size, up to a page; a large block to a page, whatever its length.
        let alignment = if block.capacity() > 1 << 16 { 12 } else { block.capacity().trailing_zeros().min(12) };
        assert_eq!(start % (1 << alignment), 0, "{start:#x} of {}", block.capacity());
        blocks.insert(start, end);
    }

    /// A block is about to be given back.
    pub fn leave(&self, block: &Block) {
        assert!(self.0.lock().remove(&(block.as_ptr() as usize)).is_some(), "left without having entered");
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}
