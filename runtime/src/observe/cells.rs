//! Per-thread counters: adding costs one relaxed load and store to a cache line no other thread writes.
//!
//! Writers: `rows[i]` by the thread that holds row `i`, plainly; `rows[SHARED]` by every thread past the table,
//! by `fetch_add`. Readers sum all rows at any time.
//! I1  A row has at most one holder: rows are taken from and returned to one free list, under its lock.
//! O1  That lock is also what lets a row's next holder see its last holder's final count, so that adding by load
//!     and store loses nothing across threads that come and go.
//! O2  Adds and reads are Relaxed: a count publishes nothing. A sum may miss adds in flight, but is never torn,
//!     and never falls from one look to the next, because each row only grows and is read in program order.
//! Progress: wait-free to add and to read, but for a thread's first add in its life, which takes the lock.

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{CachePadded, Mutex};
use std::cell::Cell;

/// Threads that can hold a row of their own at once; the others share one more row.
pub const THREAD_ROWS: usize = 64;

const SHARED: usize = THREAD_ROWS;
const UNASKED: usize = usize::MAX;

static FREE_ROWS: Mutex<FreeRows> = Mutex::new(FreeRows { returned: Vec::new(), next: 0 });

struct FreeRows {
    returned: Vec<usize>,
    next: usize,
}

/// Gives the row back when its thread ends.
struct Tenancy(usize);

impl Drop for Tenancy {
    fn drop(&mut self) {
        // What this thread still counts after this point goes to the shared row.
        ROW.set(SHARED);
        FREE_ROWS.lock().returned.push(self.0);
    }
}

thread_local! {
    static ROW: Cell<usize> = const { Cell::new(UNASKED) };
    static TENANCY: Cell<Option<Tenancy>> = const { Cell::new(None) };
}

/// The row of the calling thread, [`THREAD_ROWS`] if it shares the last one.
#[inline(always)]
pub(crate) fn row() -> usize {
    let row = ROW.get();
    if row == UNASKED { take_row() } else { row }
}

/// The row of the calling thread, [`THREAD_ROWS`] if it shares the last one, and a greater number if it has not asked
/// for one yet: for those who look into a table of rows anyway, and call [`row`] when they find none.
#[inline(always)]
pub(crate) fn row_if_known() -> usize {
    ROW.get()
}

#[cold]
fn take_row() -> usize {
    let mut free = FREE_ROWS.lock();
    let row = free.returned.pop().or_else(|| {
        free.next += 1;
        Some(free.next - 1).filter(|&row| row < THREAD_ROWS)
    });
    drop(free);
    let row = match row {
        // A thread that is already being torn down cannot promise to give a row back.
        Some(row) if TENANCY.try_with(|tenancy| tenancy.set(Some(Tenancy(row)))).is_ok() => row,
        Some(row) => {
            FREE_ROWS.lock().returned.push(row);
            SHARED
        }
        None => SHARED,
    };
    ROW.set(row);
    row
}

/// Adds to a cell of the caller's row.
#[inline(always)]
pub(super) fn add_in_row(row: usize, cell: &AtomicU64, n: u64) {
    if row == SHARED {
        cell.fetch_add(n, Relaxed);
    } else {
        cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
    }
}

/// `N` counters, each kept once per thread and summed when read. 64-bit; wraps after centuries.
///
/// Memory: 65 rows of `N` * 8 bytes rounded up to a cache line pair.
#[derive(Debug)]
pub struct Cells<const N: usize> {
    rows: Box<[CachePadded<[AtomicU64; N]>]>,
}

impl<const N: usize> Default for Cells<N> {
    fn default() -> Self {
        let rows = (0..=THREAD_ROWS).map(|_| CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0)))).collect();
        Self { rows }
    }
}

impl<const N: usize> Cells<N> {
    /// All counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `n` to counter `index`. About 0.8 ns, whatever the number of threads.
    ///
    /// # Panics
    /// When `index >= N`.
    #[inline(always)]
    pub fn add(&self, index: usize, n: u64) {
        let row = row();
        add_in_row(row, &self.rows[row][index], n);
    }

    /// The sum of counter `index` over all threads.
    pub fn sum(&self, index: usize) -> u64 {
        self.rows.iter().fold(0, |sum, row| sum.wrapping_add(row[index].load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::thread;

    #[test]
    fn counts_of_threads_that_come_and_go_add_up() {
        let cells = Cells::<2>::new();
        // More threads than rows, in waves, so that rows are shared, returned and taken again.
        for _ in 0..3 {
            thread::scope(|scope| {
                for _ in 0..THREAD_ROWS + 20 {
                    scope.spawn(|| (0..1000).for_each(|n| cells.add((n % 2) as usize, 2)));
                }
            });
        }
        let expected = 3 * (THREAD_ROWS as u64 + 20) * 1000;
        assert_eq!((cells.sum(0), cells.sum(1)), (expected, expected));
    }

    #[test]
    fn a_row_is_returned_when_its_thread_ends() {
        for _ in 0..10 * THREAD_ROWS {
            let row = thread::spawn(row).join().unwrap();
            assert!(row < THREAD_ROWS, "rows leak: a lone thread had to share");
        }
    }
}
