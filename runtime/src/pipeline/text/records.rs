//! A batch of byte strings in one block of a pool: bytes grow from the front, their ends from the back.
//!
//! ```text
//! | the|quick|brown| ....free.... | 13 | 8 | 3 |
//! ```
//! So a batch is one allocation whatever it holds, and goes back to its pool as one, on whichever thread drops it.

use crate::pipeline::Batch;
use crate::pool::{Block, Pool};
use crate::sync::Arc;

/// Bytes of a block that batches are made of.
pub(super) const BLOCK_BYTES: usize = 64 << 10;

const END_BYTES: usize = size_of::<u32>();

#[derive(Debug)]
enum Store {
    Pooled(Block),
    /// The pool was at its limit. A stage that waited for a block might wait for one that only it can free, so the
    /// batch lives on the heap instead; the pool counts the refusal.
    Heap(Box<[u8]>),
}

/// Records as byte strings.
#[derive(Debug)]
pub struct Records {
    store: Store,
    pool: Arc<Pool>,
    /// Bytes filled from the front.
    filled: usize,
    len: usize,
}

impl Records {
    /// An empty batch with room for `bytes`, ends included.
    pub(super) fn with_room(pool: &Arc<Pool>, bytes: usize) -> Self {
        let store = match pool.alloc(bytes) {
            Ok(block) => Store::Pooled(block),
            Err(_) => Store::Heap(vec![0; bytes].into()),
        };
        Self { store, pool: pool.clone(), filled: 0, len: 0 }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.store {
            Store::Pooled(block) => block,
            Store::Heap(bytes) => bytes,
        }
    }

    fn all(&self) -> &[u8] {
        match &self.store {
            Store::Pooled(block) => block,
            Store::Heap(bytes) => bytes,
        }
    }

    /// Bytes that a further record may have.
    pub(super) fn room(&self) -> usize {
        (self.all().len() - self.filled).saturating_sub((self.len + 1) * END_BYTES)
    }

    /// The bytes that a further record may fill from the front, to be made one by [`Records::seal`].
    pub(super) fn spare_mut(&mut self) -> &mut [u8] {
        let (from, room) = (self.filled, self.room());
        &mut self.bytes_mut()[from..from + room]
    }

    /// Makes the first `bytes` of the spare room a record.
    pub(super) fn seal(&mut self, bytes: usize) {
        self.filled += bytes;
        self.len += 1;
        let (end, filled) = (self.end_at(self.len), self.filled as u32);
        self.bytes_mut()[end..end + END_BYTES].copy_from_slice(&filled.to_le_bytes());
    }

    /// Adds a record. The block grows when it has no room for it.
    #[inline]
    pub fn push(&mut self, record: &[u8]) {
        if self.room() < record.len() {
            self.grow(record.len());
        }
        self.spare_mut()[..record.len()].copy_from_slice(record);
        self.seal(record.len());
    }

    #[cold]
    fn grow(&mut self, record: usize) {
        let needed = self.filled + record + (self.len + 1) * END_BYTES;
        let mut grown = Self::with_room(&self.pool, needed.next_power_of_two());
        (0..self.len).for_each(|index| grown.push(self.get(index)));
        *self = grown;
    }

    /// Where the end of the `n`-th record (from 1) is kept.
    fn end_at(&self, n: usize) -> usize {
        self.all().len() - n * END_BYTES
    }

    fn end_of(&self, n: usize) -> usize {
        if n == 0 {
            return 0;
        }
        let at = self.end_at(n);
        let bytes = self.all()[at..at + END_BYTES].try_into().expect("four bytes make an end");
        u32::from_le_bytes(bytes) as usize
    }

    /// The record at `index`.
    ///
    /// # Panics
    /// When there is none.
    #[inline]
    pub fn get(&self, index: usize) -> &[u8] {
        assert!(index < self.len, "record {index} of {}", self.len);
        &self.all()[self.end_of(index)..self.end_of(index + 1)]
    }

    /// The record pushed last.
    pub(super) fn last_mut(&mut self) -> &mut [u8] {
        let (start, end) = (self.end_of(self.len - 1), self.filled);
        &mut self.bytes_mut()[start..end]
    }

    /// The records from `index` on.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = &[u8]> {
        let (ends, mut start) = (self.all(), self.end_of(index));
        let from_back = ends[self.end_at(self.len)..self.end_at(index)].rchunks_exact(END_BYTES);
        from_back.map(move |end| {
            let end = u32::from_le_bytes(end.try_into().expect("four bytes make an end")) as usize;
            &ends[std::mem::replace(&mut start, end)..end]
        })
    }
}

impl Batch for Records {
    fn len(&self) -> usize {
        self.len
    }

    fn bytes(&self) -> usize {
        self.filled
    }

    fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.filled = self.end_of(len);
            self.len = len;
        }
    }

    fn is_full(&self) -> bool {
        // An average record must still fit, lest each further one makes the block grow.
        // A block that grew for a long record is full whatever room the growing left.
        self.filled >= BLOCK_BYTES || self.room() < BLOCK_BYTES / 16
    }

    fn describe(&self, index: usize) -> Vec<u8> {
        self.get(index).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Level, PoolLimits};

    fn empty(bytes: usize) -> Records {
        let pool = Pool::new("test", Level::Mutex, PoolLimits::default()).unwrap();
        Records::with_room(&pool, bytes)
    }

    #[test]
    fn records_come_back_as_they_went_in() {
        let mut records = empty(64);
        let words: Vec<Vec<u8>> = (0..200u8).map(|n| vec![n; usize::from(n % 23)]).collect();
        words.iter().for_each(|word| records.push(word));
        assert_eq!(records.len(), 200);
        assert!(words.iter().enumerate().all(|(index, word)| records.get(index) == &word[..]));
        for from in [0, 1, 199, 200] {
            assert!(records.iter_from(from).eq(words[from..].iter().map(Vec::as_slice)), "from {from}");
        }
        records.truncate(7);
        records.push(b"last");
        assert_eq!((records.len(), records.get(6), records.get(7)), (8, &words[6][..], &b"last"[..]));
    }

    #[test]
    fn a_batch_of_long_records_fills_up() {
        let mut records = empty(BLOCK_BYTES);
        let long = vec![b'x'; BLOCK_BYTES * 3 / 4];
        let pushed = (1..100).find(|_| {
            records.push(&long);
            records.is_full()
        });
        assert_eq!(pushed, Some(2), "a block that grew for a long record went on growing");
    }
}
