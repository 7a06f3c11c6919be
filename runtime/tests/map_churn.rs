//! Keys that come and go in maps that stay as long as they are: memory stays as well.
#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_runtime::alloc::{Tracked, totals};
use rheostat_runtime::map::{Backend, Map};
use std::alloc::System;

#[global_allocator]
static GLOBAL: Tracked<System> = Tracked::new(System);

const ENTRIES: u64 = 50_000;
const ROUNDS: usize = 20_000;

fn live_bytes() -> u64 {
    let counts = totals().expect("this process tracks").map(|(_, counts)| counts);
    counts.iter().map(|counts| counts.allocated_bytes - counts.freed_bytes).sum()
}

/// A key that is removed may leave something behind in its table. Where that makes a table be copied, the copy has to
/// be done before the next is due: papaya as it comes has 240 MiB more after this, and the more the longer it goes on.
#[test]
fn a_key_that_comes_and_goes_takes_no_memory() {
    for backend in Backend::ALL {
        let map = Map::<u64, u64>::new(backend);
        (0..ENTRIES).for_each(|key| assert_eq!(map.insert(key, key), None));
        let before = live_bytes();
        for round in 0..ROUNDS {
            assert_eq!(map.remove(&7), Some(7), "{backend}, round {round}");
            assert_eq!(map.insert(7, 7), None, "{backend}, round {round}");
        }
        let more = live_bytes().saturating_sub(before);
        assert!(more < 6 << 20, "{backend} takes {more} bytes more for {ENTRIES} entries after {ROUNDS} rounds");
        assert_eq!(map.len() as u64, ENTRIES);
    }
}
