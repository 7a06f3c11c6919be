//! How a map whose values live in a pool comes by a block when the pool has none left: by what was removed and may
//! still be read. Alone in its process, since that waits for the readers of the process's domain.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_runtime::map::{Backend, BytesMap, FIXED_BUCKETS, MapError, MapLimits};
use rheostat_runtime::pool::{Level, Pool, PoolError, PoolLimits};
use rheostat_runtime::reclaim;
use std::sync::mpsc::channel;
use std::thread;

const LEN: usize = 8000;

fn refusal_of<T>(tried: Result<T, MapError>) -> bool {
    matches!(tried, Err(MapError::Pool { why: PoolError::Exhausted { .. }, .. }))
}

/// One test: as two they would read beside each other.
#[test]
fn what_was_removed_makes_room_unless_a_reader_sleeps() {
    room_is_looked_for_no_more_than_it_may_be_there();
    a_reader_who_sleeps_has_it_refused();
}

fn room_is_looked_for_no_more_than_it_may_be_there() {
    for backend in [Backend::Sharded, Backend::Fixed, Backend::Flat] {
        let pool = Pool::new("values", Level::Mutex, PoolLimits { bytes_max: 1 << 20 }).unwrap();
        let map = BytesMap::in_pool("tested", backend, MapLimits::default(), FIXED_BUCKETS, pool).unwrap();
        let put = |key: u32| map.insert(&key.to_le_bytes(), vec![key as u8; LEN].into());
        let full = (0u32..).find(|&key| put(key).is_err()).unwrap();
        // One for one, each at the first try: nobody else reads.
        for removed in 0..full {
            assert!(map.remove(&removed.to_le_bytes()).is_some());
            assert_eq!(put(full + removed), Ok(None), "{removed} of {full} on {backend}");
            assert!(refusal_of(put(2 * full)), "there was room for two on {backend}");
        }
        // Nothing is retired now: refusing is a look at counts, and disturbs nobody with a barrier.
        let domain = reclaim::process_domain();
        while domain.flush() > 0 {}
        let before = domain.statistics();
        assert!((0..1000).all(|_| refusal_of(put(2 * full))), "there is room on {backend}");
        assert_eq!(domain.statistics(), before);
    }
}

fn a_reader_who_sleeps_has_it_refused() {
    let pool = Pool::new("values", Level::Mutex, PoolLimits { bytes_max: 1 << 20 }).unwrap();
    let map = BytesMap::in_pool("tested", Backend::Flat, MapLimits::default(), FIXED_BUCKETS, pool).unwrap();
    let put = |key: u32| map.insert(&key.to_le_bytes(), vec![key as u8; LEN].into());
    let full = (0u32..).find(|&key| put(key).is_err()).unwrap();
    thread::scope(|scope| {
        let (pinned, is_pinned) = channel();
        let (release, released) = channel::<()>();
        scope.spawn(move || {
            let _guard = reclaim::pin();
            pinned.send(()).unwrap();
            _ = released.recv();
        });
        is_pinned.recv().unwrap();
        assert!(map.remove(&0u32.to_le_bytes()).is_some());
        let periods = reclaim::process_domain().statistics().periods;
        assert!((0..10).all(|_| refusal_of(put(full))), "the reader might see the value that was removed");
        assert_eq!(reclaim::process_domain().statistics().periods, periods, "the first has not ended");
        // Under a guard of its own it cannot wait either.
        let guard = reclaim::pin();
        assert!(refusal_of(put(full)));
        drop((guard, release));
    });
    assert_eq!(put(full), Ok(None));
}
