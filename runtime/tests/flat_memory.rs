//! Flat maps in memory that was somebody else's: what is allocated has other bytes than zeroes, unless zeroes were
//! asked for. As a header, those bytes say that some slots are full.
#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_runtime::map::FlatMap;
use std::alloc::{GlobalAlloc, Layout, System};

struct Used;

// SAFETY: every call is handed to the system's allocator; bytes that nobody has written yet may have any value.
unsafe impl GlobalAlloc for Used {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            // SAFETY: the block is as long as its layout says.
            unsafe { block.write_bytes(0x5a, layout.size()) };
        }
        block
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Used = Used;

const ENTRIES: u64 = 20_000;

/// Every entry, and none besides.
fn holds(map: &FlatMap<u64, [u64; 2]>, keys: std::ops::Range<u64>) {
    assert_eq!(map.len() as u64, keys.end - keys.start);
    let mut shown = 0;
    map.for_each(|key, value| {
        assert!(keys.contains(key) && *value == [*key; 2], "{key} is {value:?}");
        shown += 1;
    });
    assert_eq!(shown, keys.end - keys.start);
    (0..ENTRIES).for_each(|key| assert_eq!(map.get(&key), keys.contains(&key).then_some([key; 2])));
}

#[test]
fn tables_are_made_of_memory_that_was_used() {
    let map = FlatMap::<u64, [u64; 2]>::new();
    (0..ENTRIES).for_each(|key| assert_eq!(map.insert(key, [key; 2]), None));
    holds(&map, 0..ENTRIES);
    // Four times the size at once: most of the homes stay empty.
    map.reserve(3 * ENTRIES as usize);
    holds(&map, 0..ENTRIES);
    (ENTRIES / 8..ENTRIES).for_each(|key| assert_eq!(map.remove(&key), Some([key; 2])));
    map.shrink_to_fit();
    holds(&map, 0..ENTRIES / 8);
    (ENTRIES / 8..ENTRIES).for_each(|key| assert_eq!(map.insert(key, [key; 2]), None));
    holds(&map, 0..ENTRIES);
    assert!(map.statistics().resizes >= 10, "no table followed another");
}
