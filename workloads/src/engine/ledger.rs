//! Books that are kept beside the structures, so that what they did can be held against what they should have done.
//!
//! Every worker keeps its own; they are added up when it has ended.

use rheostat_runtime::observe::Moment;

/// Who pushed an item, and as which one: the first sixteen bytes of every item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    /// The producer; no two of a run are alike.
    pub producer: u64,
    /// Counts up from 0 with each item of that producer.
    pub sequence: u64,
}

impl Tag {
    /// Writes the tag to the front of an item.
    pub fn stamp(self, item: &mut [u8]) {
        item[..8].copy_from_slice(&self.producer.to_le_bytes());
        item[8..16].copy_from_slice(&self.sequence.to_le_bytes());
    }

    /// Reads the tag of an item; `None` if it is too short to have one.
    pub fn of(item: &[u8]) -> Option<Self> {
        let (producer, rest) = item.split_first_chunk()?;
        let (sequence, _) = rest.split_first_chunk()?;
        Some(Self { producer: u64::from_le_bytes(*producer), sequence: u64::from_le_bytes(*sequence) })
    }
}

/// Where an item says since when it is on its way, in nanoseconds of the clock; 0 for one that is not timed.
const STAMP: std::ops::Range<usize> = 16..24;

/// Notes on an item since when it is on its way, if it has room for that.
pub(super) fn set_out(item: &mut [u8], since: Moment) {
    if let Some(stamp) = item.get_mut(STAMP) {
        stamp.copy_from_slice(&since.0.max(1).to_le_bytes());
    }
}

/// Since when an item is on its way, if that was noted.
pub(super) fn since(item: &[u8]) -> Option<Moment> {
    let stamp = u64::from_le_bytes(item.get(STAMP)?.try_into().expect("a stamp has eight bytes"));
    (stamp > 0).then_some(Moment(stamp))
}

/// A multiset of tags, as its size and a sum of hashes: two that are equal have the same members but for one chance
/// in 2^64, whatever came in between: an item lost and another doubled do not cancel out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub count: u64,
    fingerprint: u64,
}

impl Tally {
    pub fn add(&mut self, tag: Tag) {
        self.count += 1;
        let hash = crate::generate::Stream::new(tag.producer, 0).at(tag.sequence);
        self.fingerprint = self.fingerprint.wrapping_add(hash);
    }

    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.fingerprint = self.fingerprint.wrapping_add(other.fingerprint);
    }
}

/// The book of a queue.
#[derive(Debug, Clone, Default)]
pub(super) struct QueueBook {
    pub pushed: Tally,
    pub popped: Tally,
    /// Items that one consumer got out of the order in which their producer pushed them, or twice.
    pub disordered: u64,
    /// Items without a tag: pushed by nobody of this run.
    pub foreign: u64,
    /// The last sequence seen of each producer; of one consumer's book only.
    last: Vec<(u64, u64)>,
}

impl QueueBook {
    /// Notes an item that was accepted.
    pub fn push(&mut self, tag: Tag) {
        self.pushed.add(tag);
    }

    /// Notes an item that came out.
    pub fn pop(&mut self, item: &[u8]) {
        let Some(tag) = Tag::of(item) else {
            self.foreign += 1;
            return;
        };
        self.popped.add(tag);
        match self.last.iter_mut().find(|(producer, _)| *producer == tag.producer) {
            Some((_, last)) => {
                self.disordered += u64::from(tag.sequence <= *last);
                *last = tag.sequence;
            }
            None => self.last.push((tag.producer, tag.sequence)),
        }
    }

    /// Adds the book of another worker.
    pub fn merge(&mut self, other: Self) {
        self.pushed.merge(other.pushed);
        self.popped.merge(other.popped);
        self.disordered += other.disordered;
        self.foreign += other.foreign;
    }
}

/// The book of a map.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MapBook {
    /// What acknowledged operations meant to add to the sum of all counters, less what they took away.
    pub net: i128,
    /// Operations that changed something and were acknowledged.
    pub acknowledged: u64,
    /// Operations the map refused.
    pub refused: u64,
    /// Those among them for whose value there was no block in its pool.
    pub no_block: u64,
    /// Keys with the values that increments found there: the first of a key 0, the second 1 ...
    pub increments: Increments,
    /// Values looked at, and those among them that no operation can have put in.
    pub looked_at: u64,
    pub damaged: u64,
    /// Walks over all entries, and what was wrong with them.
    pub walks: u64,
    pub missed: u64,
    pub doubled: u64,
}

impl MapBook {
    pub fn merge(&mut self, other: Self) {
        self.net += other.net;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.no_block += other.no_block;
        self.increments.merge(other.increments);
        self.looked_at += other.looked_at;
        self.damaged += other.damaged;
        self.walks += other.walks;
        self.missed += other.missed;
        self.doubled += other.doubled;
    }
}

/// The book of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PoolBook {
    pub allocated: u64,
    pub freed: u64,
    /// Allocations the pool refused, and threads the system did.
    pub refused: u64,
    /// Blocks whose bytes had changed when they were freed: somebody else had them too.
    pub damaged: u64,
}

impl PoolBook {
    /// Adds the book of another worker.
    pub fn merge(&mut self, other: Self) {
        self.allocated += other.allocated;
        self.freed += other.freed;
        self.refused += other.refused;
        self.damaged += other.damaged;
    }
}

/// A multiset of keys with old values, as a [`Tally`] is one of tags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Increments {
    pub count: u64,
    fingerprint: u64,
}

impl Increments {
    pub fn add(&mut self, key: u64, old: i64) {
        self.count += 1;
        let hash = crate::generate::Stream::new(key, 1).at(old as u64);
        self.fingerprint = self.fingerprint.wrapping_add(hash);
    }

    /// All increments of a counter that stands at `value`, each having found the value of the one before.
    pub fn add_all(&mut self, key: u64, value: i64) {
        let stream = crate::generate::Stream::new(key, 1);
        for old in 0..value.max(0) as u64 {
            self.fingerprint = self.fingerprint.wrapping_add(stream.at(old));
        }
        self.count += value.max(0) as u64;
    }

    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.fingerprint = self.fingerprint.wrapping_add(other.fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(producer: u64, sequence: u64) -> Vec<u8> {
        let mut item = vec![0; 20];
        Tag { producer, sequence }.stamp(&mut item);
        item
    }

    #[test]
    fn a_loss_and_a_doubling_do_not_cancel_out() {
        let (mut pushed, mut popped) = (Tally::default(), Tally::default());
        (0..100).for_each(|sequence| pushed.add(Tag { producer: 1, sequence }));
        (1..100).for_each(|sequence| popped.add(Tag { producer: 1, sequence }));
        popped.add(Tag { producer: 1, sequence: 50 });
        assert_eq!(pushed.count, popped.count);
        assert_ne!(pushed, popped);
    }

    #[test]
    fn two_increments_that_found_the_same_value_are_no_permutation() {
        let (mut found, mut whole) = (Increments::default(), Increments::default());
        [2, 0, 1, 4, 3].iter().for_each(|old| found.add(7, *old));
        whole.add_all(7, 5);
        assert_eq!(found, whole);
        found.add(7, 4);
        whole.add_all(8, 1);
        assert_eq!(found.count, whole.count);
        assert_ne!(found, whole);
    }

    #[test]
    fn disorder_is_seen_per_producer() {
        let mut book = QueueBook::default();
        for (producer, sequence) in [(1, 0), (2, 0), (1, 1), (2, 5), (1, 2)] {
            book.pop(&item(producer, sequence));
        }
        assert_eq!(book.disordered, 0);
        book.pop(&item(2, 4));
        book.pop(&item(1, 2));
        book.pop(b"short");
        assert_eq!((book.disordered, book.foreign, book.popped.count), (2, 1, 7));
    }
}
