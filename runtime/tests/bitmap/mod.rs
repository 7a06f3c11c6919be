//! Values each copy of which has a bit that is set when it is dropped.

use rheostat_runtime::reclaim;
use rheostat_runtime::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// A bit for every copy of a value: whether it was dropped.
pub struct Bitmap {
    dropped: Box<[AtomicU64]>,
    copies: AtomicUsize,
}

impl Bitmap {
    /// With room for so many copies.
    pub fn new(copies: usize) -> Arc<Self> {
        let dropped = (0..copies / 64).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { dropped, copies: AtomicUsize::new(0) })
    }

    fn is_dropped(&self, copy: usize) -> bool {
        self.dropped[copy / 64].load(Relaxed) & 1 << (copy % 64) != 0
    }

    /// Waits until every copy is dropped: threads that hand over let go of their tables after they have said that they
    /// are done, and threads that end leave what they have retired to others.
    pub fn assert_all_dropped(&self, what: &str) {
        let began = Instant::now();
        while let Some(copy) = (0..self.copies.load(Relaxed)).find(|copy| !self.is_dropped(*copy)) {
            assert!(began.elapsed() < Duration::from_secs(20), "copy {copy} is never dropped: {what}");
            reclaim::process_domain().flush();
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A number, each copy of which is on the bitmap.
pub struct Item {
    pub number: u64,
    copy: usize,
    bitmap: Arc<Bitmap>,
}

impl Item {
    pub fn new(number: u64, bitmap: &Arc<Bitmap>) -> Self {
        Self { number, copy: bitmap.copies.fetch_add(1, Relaxed), bitmap: bitmap.clone() }
    }

    pub fn with(&self, number: u64) -> Self {
        Self::new(number, &self.bitmap)
    }
}

impl Clone for Item {
    fn clone(&self) -> Self {
        assert!(!self.bitmap.is_dropped(self.copy), "a copy of what was dropped");
        self.with(self.number)
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Item {}

impl Drop for Item {
    fn drop(&mut self) {
        let bit = 1 << (self.copy % 64);
        let before = self.bitmap.dropped[self.copy / 64].fetch_or(bit, Relaxed);
        assert_eq!(before & bit, 0, "dropped twice");
    }
}
