//! Freeing a table that is left, off the path of those who use the map.
//!
//! What lies in small pages the system takes back page by page: 26 ms for 320 MiB, against 0.8 in large ones. The
//! operation whose guard was the last to leave would pay for that, and by the lock on the process's memory everybody
//! who asks the system for some. So a thread of its own frees a table that is large, slice by slice. Where none is to
//! be had, the table is freed on the spot.

use super::table::Table;
use super::words::Plain;

#[cfg(any(rt_loom, rt_shuttle))]
pub(super) fn discard<K: Plain, V: Plain>(table: Box<Table<K, V>>) {
    drop(table);
}

#[cfg(not(any(rt_loom, rt_shuttle)))]
pub(super) fn discard<K: Plain, V: Plain>(table: Box<Table<K, V>>) {
    /// From here on a table is large: what is smaller takes less than a millisecond.
    const LARGE: usize = 8 << 20;
    let table = Left(table);
    if table.0.bytes() >= LARGE {
        let free = move || {
            let table = table;
            table.0.give_back_slices();
        };
        // Refused, the closure is dropped, and the table with it.
        _ = crate::sync::thread::Builder::new().name("flat-discard".to_owned()).spawn(free);
    }
}

/// A table that nobody else can reach.
#[cfg(not(any(rt_loom, rt_shuttle)))]
struct Left<K, V>(Box<Table<K, V>>);

// SAFETY: it was retired, and its grace period is over (I4); it owns atomics and memory, which any thread may free.
#[cfg(not(any(rt_loom, rt_shuttle)))]
unsafe impl<K, V> Send for Left<K, V> {}
