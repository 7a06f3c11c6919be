//! The flat map's orderings, every interleaving of two or three threads up to two preemptions. Buckets of two slots,
//! keys of one word, values of two.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_flat
//! ```
//!
//! Keys hash to themselves, so that a model says which chain it is about. Writers are on the main thread of a model
//! where one will do: loom hides earlier loads of a thread that loads a cell before it stores to it.
#![cfg(rt_loom)]

use loom::sync::Arc;
use loom::thread;
use rheostat_runtime::map::structure::{Revision, Structure, Under};
use rheostat_runtime::map::{FlatMap, Pointed};
use rheostat_runtime::reclaim;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

struct Identity;
struct Itself(u64);

impl BuildHasher for Identity {
    type Hasher = Itself;
    fn build_hasher(&self) -> Itself {
        Itself(0)
    }
}

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys here are integers");
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

type Map = FlatMap<u64, [u64; 2], Identity>;

/// Explores, and says when there was less to explore than two threads that meet would give.
fn model(least: usize, threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 20_000;
    let schedules = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = schedules.clone();
    builder.check(move || {
        counter.fetch_add(1, Relaxed);
        threads();
    });
    let explored = schedules.load(Relaxed);
    assert!(explored >= least, "only {explored} schedules: the threads do not meet");
}

/// A map of one bucket.
fn map() -> Arc<Map> {
    Arc::new(FlatMap::with_sequences_at(0, 2, Identity))
}

fn whole(n: u64) -> [u64; 2] {
    [n, !n]
}

fn assert_whole(value: [u64; 2]) -> u64 {
    assert_eq!(value[1], !value[0], "a torn value");
    value[0]
}

#[test]
fn a_read_beside_two_writes_is_of_one_of_them() {
    model(20, || {
        let map = map();
        map.insert(1, whole(1));
        let reader = {
            let map = map.clone();
            thread::spawn(move || {
                let first = assert_whole(map.get(&1).expect("it is never removed"));
                let second = assert_whole(map.get(&1).expect("it is never removed"));
                assert!(first <= second, "a read went back");
            })
        };
        map.insert(1, whole(2));
        map.insert(1, whole(3));
        reader.join().unwrap();
    });
}

#[test]
fn a_read_beside_a_removal_and_an_insertion_into_its_slot() {
    model(20, || {
        let map = map();
        map.insert(1, whole(1));
        let reader = {
            let map = map.clone();
            thread::spawn(move || {
                if let Some(value) = map.get(&1) {
                    assert_eq!(assert_whole(value), 1, "the value of another key");
                }
            })
        };
        assert_eq!(map.remove(&1), Some(whole(1)));
        map.insert(2, whole(2));
        reader.join().unwrap();
    });
}

#[test]
fn two_writers_take_turns() {
    model(10, || {
        let map = map();
        map.insert(1, whole(0));
        let other = {
            let map = map.clone();
            thread::spawn(move || assert_whole(map.update(&1, |[n, _]| whole(n + 1)).unwrap()))
        };
        let ours = assert_whole(map.update(&1, |[n, _]| whole(n + 1)).unwrap());
        let theirs = other.join().unwrap();
        assert_eq!(ours + theirs, 1, "both replaced the same value");
        assert_eq!(map.get(&1), Some(whole(2)));
    });
}

#[test]
fn one_of_two_inserts_a_key_and_one_removes_it() {
    model(10, || {
        let map = map();
        let other = {
            let map = map.clone();
            thread::spawn(move || (map.insert_if_absent(1, whole(5)).is_none(), map.remove(&1)))
        };
        let won = map.insert_if_absent(1, whole(7)).is_none();
        let (other_won, removed) = other.join().unwrap();
        assert!(won || other_won);
        let left = map.get(&1);
        let expected = if won && other_won { [Some(whole(7)), None] } else { [None, None] };
        assert!(
            removed.is_some() && (left == expected[0] || left == expected[1]),
            "{won} {other_won} {removed:?} {left:?}"
        );
    });
}

/// Who looks for a key before locking its chain must not miss what another has put in by then.
#[test]
fn of_two_that_put_a_key_in_one_replaces_the_other() {
    model(10, || {
        let map = map();
        let other = {
            let map = map.clone();
            thread::spawn(move || map.insert(1, whole(5)))
        };
        let ours = map.insert(1, whole(7));
        let theirs = other.join().unwrap();
        let left = map.remove(&1);
        assert!(
            (ours, theirs, left) == (None, Some(whole(7)), Some(whole(5)))
                || (ours, theirs, left) == (Some(whole(5)), None, Some(whole(7))),
            "{ours:?} {theirs:?} {left:?}"
        );
        assert_eq!(map.get(&1), None, "it was in there twice");
    });
}

#[test]
fn of_two_that_take_a_key_out_one_gets_it() {
    model(10, || {
        let map = map();
        map.insert(1, whole(1));
        let other = {
            let map = map.clone();
            thread::spawn(move || (map.remove(&1), map.insert(2, whole(2))))
        };
        let ours = map.remove(&1);
        let (theirs, before) = other.join().unwrap();
        assert!([(ours, theirs), (theirs, ours)].contains(&(Some(whole(1)), None)), "{ours:?} {theirs:?}");
        assert_eq!((before, map.get(&1), map.get(&2)), (None, None, Some(whole(2))));
    });
}

/// The chain gives its spare up while it is read, and another chain of the same pool takes it over.
#[test]
fn a_spare_goes_from_one_chain_to_another_under_a_reader() {
    const HALF: u64 = 1 << 63;
    // The multiplier that makes positions of hashes is odd, so it keeps the top bit of a hash that has no other.
    model(20, || {
        let map: Arc<Map> = Arc::new(FlatMap::with_sequences_at(0, 4, Identity));
        let mut low = (0..).filter(|key: &u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15) < HALF);
        let mut high = (0..).filter(|key: &u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >= HALF);
        let here: Vec<u64> = low.by_ref().take(3).collect();
        let there: Vec<u64> = high.by_ref().take(3).collect();
        here.iter().chain(&there[..2]).for_each(|key| _ = map.insert(*key, whole(*key)));
        let sought = here[2];
        let reader = {
            let map = map.clone();
            thread::spawn(move || {
                assert_eq!(map.get(&sought), Some(whole(sought)), "a key that moved within its chain was hidden");
            })
        };
        // Another thread than the one that gave the spare up: it may have been in its own chain before that.
        let taker = {
            let (map, key) = (map.clone(), there[2]);
            thread::spawn(move || assert_eq!(map.insert(key, whole(key)), None))
        };
        // The hole is filled from the spare, which is so left empty.
        map.remove(&here[0]);
        reader.join().unwrap();
        taker.join().unwrap();
    });
}

/// Readers go on to the next table, and find there what was moved.
#[test]
fn a_move_hides_nothing_from_a_reader() {
    model(20, || {
        let map = map();
        map.insert(1, whole(1));
        let reader = {
            let map = map.clone();
            thread::spawn(move || assert_eq!(map.get(&1), Some(whole(1)), "a move hid the key"))
        };
        map.begin_growth();
        reader.join().unwrap();
    });
}

/// A walk that gives up reading takes the lock, and may find then that the chain has moved.
#[test]
fn a_walk_beside_writes_and_a_move_meets_the_key_once() {
    model(20, || {
        let map = map();
        map.insert(1, whole(1));
        let walker = {
            let map = map.clone();
            thread::spawn(move || {
                let mut met = 0;
                map.for_each(|key, value| met += u32::from((*key, assert_whole(*value) > 0) == (1, true)));
                assert_eq!(met, 1);
            })
        };
        map.insert(1, whole(2));
        map.insert(1, whole(3));
        map.begin_growth();
        walker.join().unwrap();
    });
}

#[test]
fn a_write_beside_a_move_is_in_the_next_table() {
    model(20, || {
        let map = map();
        map.insert(1, whole(1));
        let writer = {
            let map = map.clone();
            thread::spawn(move || {
                assert_eq!(map.insert(1, whole(2)), Some(whole(1)));
                map.insert(2, whole(9));
            })
        };
        map.begin_growth();
        writer.join().unwrap();
        assert_eq!((map.get(&1), map.get(&2)), (Some(whole(2)), Some(whole(9))));
    });
}

/// A reader of two moves, both of which retire a table that it may be in.
#[test]
fn a_table_outlives_its_readers() {
    model(20, || {
        let map = map();
        map.insert(1, whole(1));
        let reader = {
            let map = map.clone();
            thread::spawn(move || assert_eq!(map.get(&1), Some(whole(1)), "a move hid the key"))
        };
        map.begin_growth();
        map.shrink_to_fit();
        reader.join().unwrap();
    });
}

#[test]
fn sequences_wrap_under_a_reader() {
    model(20, || {
        let map: Arc<Map> = Arc::new(FlatMap::with_sequences_at(u64::MAX - 3, 2, Identity));
        map.insert(1, whole(1));
        let reader = {
            let map = map.clone();
            thread::spawn(move || assert_whole(map.get(&1).expect("it is never removed")))
        };
        map.insert(1, whole(2));
        map.insert(1, whole(3));
        reader.join().unwrap();
    });
}

/// Says when it is dropped. Which one it is is read before it could be gone.
struct Watched(usize, std::sync::Arc<[AtomicBool; 3]>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.1[self.0].store(true, Relaxed);
    }
}

/// A reader follows a pointer that is swapped out, and retired, and freed as soon as may be.
#[test]
fn a_node_outlives_its_readers() {
    model(20, || {
        let dropped = std::sync::Arc::new([const { AtomicBool::new(false) }; 3]);
        let map = Arc::new(Pointed::<u64, Watched>::with_capacity(2));
        let value = |n| Watched(n, dropped.clone());
        map.put(Under::NOTHING, 1, 1, value(0), |_| ());
        let reader = {
            let (map, dropped) = (map.clone(), dropped.clone());
            thread::spawn(move || {
                map.view(Under::NOTHING, 1, &1, |value| {
                    let which = value.0;
                    // A point at which the writer may go on.
                    loom::sync::atomic::AtomicU64::new(0).load(loom::sync::atomic::Ordering::Relaxed);
                    assert!(!dropped[which].load(Relaxed), "freed under a reader");
                });
            })
        };
        assert_eq!(map.put(Under::NOTHING, 1, 1, value(1), |_| ()), Some(()));
        reclaim::process_domain().flush();
        assert_eq!(map.take(Under::NOTHING, 1, &1, |_| ()), Some(()));
        reclaim::process_domain().flush();
        reader.join().unwrap();
        drop(map);
        reclaim::synchronize().unwrap();
        assert_eq!(dropped.each_ref().map(|dropped| dropped.load(Relaxed)), [true, true, false]);
    });
}

/// The model sees whether what was written into it is read without an order between the two.
struct Cell(loom::cell::UnsafeCell<u64>);

// SAFETY: nobody writes a value in place.
unsafe impl Sync for Cell {}

/// Who reads a node reads what its maker wrote, also through a table that it was moved to.
#[test]
fn a_node_is_read_as_it_was_made() {
    model(20, || {
        let map = Arc::new(Pointed::<u64, Cell>::with_capacity(2));
        let reader = {
            let map = map.clone();
            thread::spawn(move || {
                // SAFETY: nobody writes a value in place.
                let value = map.view(Under::NOTHING, 1, &1, |value| value.0.with(|value| unsafe { *value }));
                assert!(value.is_none_or(|value| value == 7));
            })
        };
        map.put(Under::NOTHING, 1, 1, Cell(loom::cell::UnsafeCell::new(7)), |_| ());
        map.begin_growth();
        reader.join().unwrap();
    });
}

#[test]
fn two_revisions_of_a_node_are_both_in() {
    model(10, || {
        let map = Arc::new(Pointed::<u64, u64>::with_capacity(2));
        map.put(Under::NOTHING, 1, 1, 0, |_| ());
        let add =
            |map: &Pointed<u64, u64>| map.revise(Under::NOTHING, 1, &1, |value| (Revision::Replace(value + 1), *value));
        let other = {
            let map = map.clone();
            thread::spawn(move || add(&map))
        };
        let (ours, theirs) = (add(&map), other.join().unwrap());
        assert!(ours.max(theirs) == Some(1) && ours.min(theirs) == Some(0), "both replaced the same value");
        assert_eq!(map.view(Under::NOTHING, 1, &1, |value| *value), Some(2));
    });
}

/// Keys of one hash: their list is replaced by one of them while the other does so too.
#[test]
fn keys_of_one_hash_come_and_go_beside_each_other() {
    model(20, || {
        let map = Arc::new(Pointed::<u64, u64>::with_capacity(2));
        map.put(Under::NOTHING, 1, 1, 10, |_| ());
        let other = {
            let map = map.clone();
            thread::spawn(move || assert_eq!(map.put_absent(Under::NOTHING, 1, 2, 20), Ok(())))
        };
        assert_eq!(map.put_absent(Under::NOTHING, 1, 3, 30), Ok(()));
        assert_eq!(map.take(Under::NOTHING, 1, &1, |value| *value), Some(10));
        other.join().unwrap();
        assert_eq!([1, 2, 3].map(|key| map.view(Under::NOTHING, 1, &key, |value| *value)), [None, Some(20), Some(30)]);
        assert_eq!(map.clear(), 2);
    });
}

#[test]
fn a_change_in_place_is_not_lost_to_a_move() {
    use loom::sync::atomic::{AtomicU64, Ordering};
    model(20, || {
        let map = Arc::new(Pointed::<u64, AtomicU64>::with_capacity(2));
        map.put(Under::NOTHING, 1, 1, AtomicU64::new(0), |_| ());
        let other = {
            let map = map.clone();
            thread::spawn(move || map.view(Under::NOTHING, 1, &1, |value| value.fetch_add(1, Ordering::Relaxed)))
        };
        map.begin_growth();
        assert_eq!(
            map.view(Under::NOTHING, 1, &1, |value| value.fetch_add(2, Ordering::Relaxed)).map(|before| before < 2),
            Some(true)
        );
        assert!(other.join().unwrap().is_some());
        assert_eq!(map.view(Under::NOTHING, 1, &1, |value| value.load(Ordering::Relaxed)), Some(3));
    });
}
