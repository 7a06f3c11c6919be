//! Byte strings of hosted maps that live in a pool: where they are, what is refused, and that none is lost or kept, also
//! while the map moves and the pool's level is turned.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_runtime::map::{Backend, Bytes, BytesMap, FIXED_BUCKETS, MapError, MapLimits};
use rheostat_runtime::observe::families::{MAP_REFUSED, POOL_ALLOCS, POOL_FAULTS, POOL_FREES, POOL_LIVE};
use rheostat_runtime::observe::{Address, Family, Reading, Resource};
use rheostat_runtime::pool::{Level, Pool, PoolError, PoolLimits, SharedBlock};
use rheostat_runtime::reclaim;
use rheostat_runtime::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const MIB: usize = 1 << 20;
/// How many hand-overs a storm has.
const STORM: usize = if cfg!(debug_assertions) { 20 } else { 300 };

fn pool_at(level: Level, bytes_max: usize) -> Arc<Pool> {
    Pool::new("values", level, PoolLimits { bytes_max }).unwrap()
}

fn map_in(pool: &Arc<Pool>, backend: Backend) -> Arc<BytesMap> {
    BytesMap::in_pool("tested", backend, MapLimits::default(), FIXED_BUCKETS, pool.clone()).unwrap()
}

fn total(resource: &dyn Resource, family: &Family) -> f64 {
    let mut reading = Reading::default();
    resource.read(&mut reading);
    reading.total_of(family).map(|total| total as f64).or(reading.level_of(family)).unwrap_or(0.0)
}

/// Waits until nothing of the pool is in use any more: what maps retire is dropped a while after.
fn comes_home(pool: &Pool) -> bool {
    (0..1000).any(|_| {
        reclaim::synchronize().unwrap();
        let home = total(pool, &POOL_LIVE) == 0.0;
        if !home {
            thread::sleep(Duration::from_millis(1));
        }
        home
    })
}

#[test]
fn values_lie_in_the_pool_wherever_they_came_from() {
    let pool = pool_at(Level::ThreadCached, 64 * MIB);
    let other = pool_at(Level::Mutex, 64 * MIB);
    for backend in Backend::ALL {
        let map = map_in(&pool, backend);
        assert_eq!(map.pool().map(Address::to_string).as_deref(), Some("pool.values"));
        let (heap, made) = (Bytes::from(vec![1; 100]), map.value(&[2; 100]).unwrap());
        let foreign = Bytes::in_pool(&other, &[3; 100]).unwrap();
        assert!(heap.is_in(None) && made.is_in(Some(&pool)) && foreign.is_in(Some(&other)));
        let before = total(&*pool, &POOL_ALLOCS);
        for (key, value) in [(b"a", heap), (b"b", made), (b"c", foreign)] {
            assert_eq!(map.insert(key, value.clone()), Ok(None));
            let kept = map.get(key).unwrap();
            assert!(kept.is_in(Some(&pool)) && kept == value, "{kept:?} on {backend}");
        }
        assert_eq!(total(&*pool, &POOL_ALLOCS) - before, 2.0, "the one that was made for the map is not copied");
        let entry = size_of::<(Box<[u8]>, Bytes)>() + 1 + 100 + SharedBlock::OVERHEAD;
        assert_eq!(map.bytes(), 3 * entry);
        // A value outlives its entry, and the map, with whoever has it.
        let out = map.remove(b"b").unwrap();
        drop(map);
        assert_eq!(*out, [2; 100]);
    }
    assert!(comes_home(&pool), "{} bytes are in use", total(&*pool, &POOL_LIVE));
    let on_heap = BytesMap::new("tested", Backend::Flat, MapLimits::default()).unwrap();
    on_heap.insert(b"a", Bytes::in_pool(&pool, b"from a pool").unwrap()).unwrap();
    assert!(on_heap.get(b"a").unwrap().is_in(None) && on_heap.pool().is_none());
}

#[test]
fn a_pool_goes_with_the_last_value_that_is_in_it() {
    let pool = pool_at(Level::LockFree, 4 * MIB);
    let map = map_in(&pool, Backend::Sharded);
    map.insert(b"key", vec![9; 5000].into()).unwrap();
    drop(pool);
    let value = map.get(b"key").unwrap();
    drop(map);
    thread::spawn(move || assert_eq!(*value, [9; 5000])).join().unwrap();
}

#[test]
fn a_pool_without_a_block_refuses_and_loses_nothing() {
    const LEN: usize = 8000;
    for backend in Backend::ALL {
        let pool = pool_at(Level::Mutex, MIB);
        let map = map_in(&pool, backend);
        let mut kept = 0u32;
        let refused = loop {
            match map.insert(&kept.to_le_bytes(), vec![kept as u8; LEN].into()) {
                Ok(None) => kept += 1,
                Ok(Some(_)) => panic!("{kept} was there"),
                Err(refused) => break refused,
            }
        };
        assert!(matches!(&refused, MapError::Pool { why: PoolError::Exhausted { max: MIB, .. }, .. }), "{refused:?}");
        let text = refused.to_string();
        assert!(text.starts_with("map.tested keeps its values in a pool, and pool.values has no block of "), "{text}");
        assert!(text.ends_with("free some or raise bytes_max"), "{text}");
        assert!(kept >= 100 && map.len() == kept as usize, "{kept} values of {LEN} bytes in a MiB");
        let (bytes, key) = (map.bytes(), 0u32.to_le_bytes());
        assert!(map.insert(&key, vec![7; LEN].into()).is_err(), "a value is replaced by one beside it");
        assert!(map.value(&[7; LEN]).is_err());
        assert_eq!((map.bytes(), total(&*map, &MAP_REFUSED)), (bytes, 3.0));
        for key in 0..kept {
            assert_eq!(map.get(&key.to_le_bytes()).unwrap()[..], [key as u8; LEN], "{key} on {backend}");
        }
        // What is removed makes room: a single one where nobody has to wait for others' collectors. Other tests hold guards
        // of the process's domain, or are dropping what is in it, and may be interrupted there; `map_pool_room` is alone.
        let removed = if matches!(backend, Backend::LockFree | Backend::Papaya) { kept } else { 1 };
        (0..removed).for_each(|key| assert!(map.remove(&key.to_le_bytes()).is_some()));
        let put = (0..1000).any(|_| {
            let put = map.insert(&key, vec![8; LEN].into());
            if put.is_err() {
                thread::sleep(Duration::from_millis(1));
            }
            put == Ok(None)
        });
        assert!(put, "there is no room on {backend} for one in the place of {removed}");
        assert_eq!(map.get(&key).unwrap()[..], [8; LEN]);
    }
}

#[test]
fn what_a_level_does_not_give_is_said() {
    let pool = pool_at(Level::Fixed, 4 * MIB);
    let map = map_in(&pool, Backend::Sharded);
    let refused = map.insert(b"key", vec![1; 100_000].into()).unwrap_err();
    assert!(matches!(refused, MapError::Pool { why: PoolError::TooLong { .. }, .. }), "{refused:?}");
    let pool = pool_at(Level::Unlocked, 4 * MIB);
    let map = map_in(&pool, Backend::Sharded);
    map.insert(b"mine", vec![1; 10].into()).unwrap();
    let refused = thread::scope(|scope| scope.spawn(|| map.insert(b"theirs", vec![2; 10].into())).join().unwrap());
    assert!(matches!(&refused, Err(MapError::Pool { why: PoolError::NotOwner { .. }, .. })), "{refused:?}");
    assert!(thread::scope(|scope| scope.spawn(|| map.remove(b"mine")).join().unwrap()).is_some());
}

#[test]
fn a_guard_that_is_turned_finds_nothing_to_say_of_shared_values() {
    let pool = pool_at(Level::ThreadCached, 16 * MIB);
    let map = map_in(&pool, Backend::Sharded);
    let key = |n: u32| n.to_le_bytes();
    for guarded in [true, false, true] {
        pool.turn_guarded(guarded);
        // Each value replaces one that was handed out before the turn, and is shared beyond its own removal.
        let shared: Vec<_> = (0..500u32)
            .map(|n| {
                map.insert(&key(n), vec![n as u8; n as usize].into()).unwrap();
                map.get(&key(n)).unwrap()
            })
            .collect();
        (0..500).step_by(3).for_each(|n| assert!(map.remove(&key(n)).is_some()));
        assert!(shared.iter().zip(0..500u32).all(|(value, n)| value[..] == vec![n as u8; n as usize]));
    }
    drop(map);
    assert!(comes_home(&pool), "{} bytes are in use", total(&*pool, &POOL_LIVE));
    assert_eq!(total(&*pool, &POOL_FAULTS), 0.0);
}

#[test]
fn a_hand_over_moves_no_value() {
    let pool = pool_at(Level::ThreadCached, 64 * MIB);
    let map = map_in(&pool, Backend::Sharded);
    (0..2000u32).for_each(|key| _ = map.insert(&key.to_le_bytes(), vec![key as u8; 300].into()).unwrap());
    let places = |map: &BytesMap| {
        let mut places = Vec::new();
        map.for_each(|key, value| places.push((key.to_vec(), value.as_ptr() as usize)));
        places.sort_unstable();
        places
    };
    let (before, allocs) = (places(&map), total(&*pool, &POOL_ALLOCS));
    for to in [Backend::Flat, Backend::Papaya, Backend::Fixed, Backend::LockFree, Backend::Sharded] {
        assert!(map.turn_backend(to).unwrap().wait(None));
        assert_eq!(places(&map), before, "on {to}");
    }
    assert_eq!(total(&*pool, &POOL_ALLOCS), allocs);
}

/// Values are put, replaced, read, taken out and freed on other threads, while the map moves and the level turns.
#[test]
fn nothing_is_lost_or_kept_while_map_and_pool_are_turned() {
    const KEYS: u32 = 200;
    const THREADS: u32 = 4;
    let pool = pool_at(Level::Mutex, 16 * MIB);
    let map = map_in(&pool, Backend::Sharded);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for me in 0..THREADS {
            let (map, done) = (&map, &done);
            scope.spawn(move || {
                // Each key has one writer, which knows what must be there; the others check that values are whole.
                let mut random = fastrand::Rng::with_seed(u64::from(me));
                let mut mine = vec![None; KEYS as usize];
                let mut version = 0u32;
                let value = |key: u32, version: u32, len: usize| {
                    let mut value = vec![key as u8; len];
                    value[..4].copy_from_slice(&version.to_le_bytes());
                    value
                };
                while !done.load(Relaxed) {
                    let key = random.u32(0..KEYS);
                    let there = map.get(&key.to_le_bytes());
                    assert!(there.as_ref().is_none_or(|value| value[4..].iter().all(|&byte| byte == key as u8)));
                    if key % THREADS != me {
                        continue;
                    }
                    let known = &mut mine[key as usize];
                    assert_eq!(there.map(|value| value.to_vec()), *known, "key {key}");
                    if random.u8(0..4) == 0 {
                        let removed = map.remove(&key.to_le_bytes());
                        assert_eq!(removed.map(|value| value.to_vec()), known.take(), "key {key}");
                    } else {
                        version += 1;
                        let new = value(key, version, 4 + random.usize(0..3000));
                        let replaced = map.insert(&key.to_le_bytes(), new.clone().into()).unwrap();
                        assert_eq!(replaced.map(|value| value.to_vec()), known.replace(new), "key {key}");
                    }
                }
            });
        }
        scope.spawn(|| {
            let levels = [Level::ThreadCached, Level::LockFree, Level::Mutex, Level::Fixed];
            for level in levels.into_iter().cycle().take_while(|_| !done.load(Relaxed)) {
                pool.turn_level(level).unwrap();
                thread::sleep(Duration::from_millis(1));
            }
        });
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..STORM {
            let handover = map.turn_backend(Backend::ALL[random.usize(0..Backend::ALL.len())]).unwrap();
            if random.u8(0..3) == 0 {
                handover.cancel();
            }
            handover.wait(None);
            thread::sleep(Duration::from_micros(random.u64(0..3000)));
        }
        done.store(true, Relaxed);
    });
    let mut bytes = 0;
    map.for_each(|key, value| {
        assert!(value.is_in(Some(&pool)));
        bytes += size_of::<(Box<[u8]>, Bytes)>() + key.len() + value.len() + SharedBlock::OVERHEAD;
    });
    assert_eq!(map.bytes(), bytes);
    drop(map);
    assert!(comes_home(&pool), "{} bytes are in use", total(&*pool, &POOL_LIVE));
    assert_eq!(total(&*pool, &POOL_ALLOCS), total(&*pool, &POOL_FREES));
}
