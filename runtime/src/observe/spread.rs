//! A log-linear histogram: 16 buckets to the octave, so a quantile is at most 6.25 % off; one row per thread.
//!
//! Same protocol as [`Cells`](super::Cells): a row is written by the thread that holds it. Rows (8 KiB) are made
//! when a thread first records, so a histogram nobody touches costs nothing.
//!
//! Bucket `b` holds the values of `(lower(b), lower(b + 1)]`: upper ends are included, so that the powers of two
//! which are exported as Prometheus' `le` bounds are exact.

use super::cells::{THREAD_ROWS, add_in_row, row};
use crate::sync::OnceLock;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

const SUB_BITS: u32 = 4;
const SUBS: u64 = 1 << SUB_BITS;
const BUCKETS: usize = ((64 - SUB_BITS as usize) + 1) * SUBS as usize;

#[derive(Debug)]
struct Row {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    max: AtomicU64,
}

/// A histogram that any number of threads record into, each into its own row.
#[derive(Debug)]
pub struct Spread {
    rows: Box<[OnceLock<Box<Row>>]>,
}

impl Default for Spread {
    fn default() -> Self {
        Self { rows: (0..=THREAD_ROWS).map(|_| OnceLock::new()).collect() }
    }
}

impl Spread {
    /// An empty histogram.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records one value, by convention nanoseconds. Wait-free but for a thread's first record; a few nanoseconds.
    #[inline]
    pub fn record(&self, value: u64) {
        self.record_n(value, 1);
    }

    /// Records a value that `n` records shared.
    #[inline]
    pub fn record_n(&self, value: u64, n: u64) {
        let index = row();
        let row = self.rows[index].get_or_init(new_row);
        add_in_row(index, &row.buckets[bucket(value)], n);
        add_in_row(index, &row.sum, value.saturating_mul(n));
        if row.max.load(Relaxed) < value {
            row.max.fetch_max(value, Relaxed);
        }
    }

    /// All rows merged, as they stand.
    pub fn snapshot(&self) -> Snapshot {
        let mut merged = Snapshot { buckets: vec![0; BUCKETS], sum: 0, max: 0 };
        for row in self.rows.iter().filter_map(OnceLock::get) {
            for (total, cell) in merged.buckets.iter_mut().zip(&row.buckets) {
                *total += cell.load(Relaxed);
            }
            merged.sum = merged.sum.saturating_add(row.sum.load(Relaxed));
            merged.max = merged.max.max(row.max.load(Relaxed));
        }
        merged
    }
}

#[cold]
fn new_row() -> Box<Row> {
    let zero = || AtomicU64::new(0);
    Box::new(Row { buckets: std::array::from_fn(|_| zero()), sum: zero(), max: zero() })
}

/// The bucket that holds `value`.
#[inline(always)]
fn bucket(value: u64) -> usize {
    // One less, so that the upper end of each bucket belongs to it.
    let value = value.saturating_sub(1);
    if value < SUBS {
        return value as usize;
    }
    let octave = 63 - value.leading_zeros();
    let sub = (value >> (octave - SUB_BITS)) & (SUBS - 1);
    (u64::from(octave - SUB_BITS + 1) * SUBS + sub) as usize
}

/// The greatest value that bucket `index` holds.
fn upper(index: usize) -> u64 {
    let (octave, sub) = (index as u64 / SUBS, index as u64 % SUBS);
    if octave == 0 {
        return sub + 1;
    }
    let width = 1u128 << (octave - 1);
    u64::try_from((u128::from(SUBS + sub) + 1) * width).unwrap_or(u64::MAX)
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    buckets: Vec<u64>,
    sum: u64,
    max: u64,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], sum: 0, max: 0 }
    }
}

impl Snapshot {
    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The greatest value ever recorded, exactly. A difference of snapshots keeps the later one's.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The value that a share `q` (0 to 1) of the records does not exceed, to within one bucket (6.25 %).
    /// `None` when nothing was recorded: no data is not zero.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let index = self.buckets.iter().position(|&n| {
            seen += n;
            seen >= rank
        })?;
        Some(upper(index).min(self.max.max(1)))
    }

    /// How many recorded values were at most `bound`. Exact when `bound` is a power of two.
    pub fn at_most(&self, bound: u64) -> u64 {
        self.buckets.iter().enumerate().take_while(|&(index, _)| upper(index) <= bound).map(|(_, n)| n).sum()
    }

    /// What was recorded since `earlier`, a snapshot of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        let buckets = self.buckets.iter().zip(&earlier.buckets).map(|(now, then)| now.saturating_sub(*then)).collect();
        Snapshot { buckets, sum: self.sum.saturating_sub(earlier.sum), max: self.max }
    }

    /// Adds another histogram's records to this one.
    pub fn merge(&mut self, other: &Snapshot) {
        for (total, n) in self.buckets.iter_mut().zip(&other.buckets) {
            *total += n;
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket() {
        for shift in 0..64 {
            for value in [(1u64 << shift) - 1, 1 << shift, (1 << shift) + 1, (1u64 << shift) | ((1 << shift) / 3)] {
                let index = bucket(value);
                assert!(value <= upper(index), "{value} above bucket {index}");
                assert!(index == 0 || value > upper(index - 1), "{value} below bucket {index}");
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_of_a_known_set() {
        let spread = Spread::new();
        assert_eq!(spread.snapshot().quantile(0.5), None);
        (1..=1000).for_each(|value| spread.record(value * 1000));
        let snapshot = spread.snapshot();
        for (q, exact) in [(0.5, 500_000.0), (0.99, 990_000.0), (1.0, 1_000_000.0)] {
            let found = snapshot.quantile(q).unwrap() as f64;
            assert!(found >= exact && found <= exact * 1.0625, "q{q}: {found} is not just above {exact}");
        }
        assert_eq!((snapshot.count(), snapshot.sum(), snapshot.max()), (1000, 500_500_000, 1_000_000));
    }

    #[test]
    fn powers_of_two_are_exact_bounds() {
        let spread = Spread::new();
        [1023, 1024, 1025].into_iter().for_each(|value| spread.record(value));
        assert_eq!((spread.snapshot().at_most(1024), spread.snapshot().at_most(2048)), (2, 3));
    }

    #[test]
    fn a_difference_holds_what_came_between() {
        let spread = Spread::new();
        spread.record(10);
        let before = spread.snapshot();
        spread.record_n(100, 3);
        let between = spread.snapshot().since(&before);
        assert_eq!((between.count(), between.sum(), between.quantile(0.0)), (3, 300, Some(100)));
    }
}
