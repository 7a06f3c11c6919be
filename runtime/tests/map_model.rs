//! Maps on every backend, beside a plain one: whatever one thread does, both say the same.

#![cfg(not(any(rt_loom, rt_shuttle)))]

mod pages;

use pages::scan_all;
use proptest::prelude::*;
use rheostat_runtime::map::{Backend, CounterMap, Map, MapLimits};
use std::collections::HashMap;

#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    Insert(u8, i32),
    Remove(u8),
    InsertIfAbsent(u8, i32),
    Update(u8, i32),
    Upsert(u8, i32),
    CompareExchange(u8, i32, i32),
    RemoveIf(u8, i32),
    Retain(i32),
    Reserve(usize),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..40u8;
    // Few values, so that comparisons hit.
    let value = || 0..4i32;
    let step = prop_oneof![
        4 => key().prop_map(Step::Get),
        6 => (key(), value()).prop_map(|(key, value)| Step::Insert(key, value)),
        4 => key().prop_map(Step::Remove),
        4 => (key(), any::<i32>()).prop_map(|(key, value)| Step::Update(key, value)),
        4 => (key(), any::<i32>()).prop_map(|(key, value)| Step::Upsert(key, value)),
        4 => (key(), value()).prop_map(|(key, value)| Step::InsertIfAbsent(key, value)),
        4 => (key(), value(), value()).prop_map(|(key, seen, new)| Step::CompareExchange(key, seen, new)),
        4 => (key(), value()).prop_map(|(key, value)| Step::RemoveIf(key, value)),
        1 => value().prop_map(Step::Retain),
        1 => (0..500usize).prop_map(Step::Reserve),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_thread_sees_a_plain_map(steps in steps(), limit in 1..50usize) {
        for backend in Backend::ALL {
            let map = Map::<u8, i32>::new(backend);
            let mut model = HashMap::new();
            for step in &steps {
                match *step {
                    Step::Get(key) => {
                        prop_assert_eq!(map.get(&key), model.get(&key).copied());
                        prop_assert_eq!(map.get_with(&key, |value| value / 2), model.get(&key).map(|value| value / 2));
                        prop_assert_eq!(map.contains(&key), model.contains_key(&key));
                    }
                    Step::Insert(key, value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    Step::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    Step::Update(key, n) => {
                        let replaced = model.get_mut(&key).map(|value| {
                            let old = *value;
                            *value = old.wrapping_mul(3) ^ n;
                            old
                        });
                        prop_assert_eq!(map.update(&key, |value| value.wrapping_mul(3) ^ n), replaced);
                    }
                    Step::Upsert(key, n) => {
                        let replaced = model.get(&key).copied();
                        model.entry(key).and_modify(|value| *value ^= n).or_insert(n);
                        prop_assert_eq!(map.upsert(key, n, |value| value ^ n), replaced);
                    }
                    Step::InsertIfAbsent(key, value) => {
                        let there = model.contains_key(&key);
                        prop_assert_eq!(map.insert_if_absent(key, value), if there { Err(value) } else { Ok(()) });
                        model.entry(key).or_insert(value);
                    }
                    Step::CompareExchange(key, seen, new) => {
                        let expected = match model.get_mut(&key) {
                            Some(value) if *value == seen => Ok(std::mem::replace(value, new)),
                            other => Err(other.copied()),
                        };
                        prop_assert_eq!(map.compare_exchange(&key, &seen, &new), expected);
                    }
                    Step::RemoveIf(key, limit) => {
                        let goes = model.get(&key).copied().filter(|value| *value <= limit);
                        goes.inspect(|_| _ = model.remove(&key));
                        prop_assert_eq!(map.remove_if(&key, |value| *value <= limit), goes);
                    }
                    Step::Retain(limit) => {
                        let before = model.len();
                        model.retain(|key, value| *value != limit || key % 2 == 0);
                        prop_assert_eq!(map.retain(|key, value| *value != limit || key % 2 == 0), before - model.len());
                    }
                    Step::Reserve(additional) => map.reserve(additional),
                    Step::Clear => {
                        prop_assert_eq!(map.clear(), model.len());
                        model.clear();
                    }
                }
                prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
            }
            let scanned = scan_all(&map, limit);
            prop_assert_eq!(scanned.len(), model.len());
            prop_assert_eq!(scanned.into_iter().collect::<HashMap<_, _>>(), model.clone());
            let sum = |sum: i64, value: &i32| sum.wrapping_add(i64::from(*value));
            prop_assert_eq!(map.fold(0, |so_far, _, value| sum(so_far, value)), model.values().fold(0, sum));
        }
    }

    #[test]
    fn the_top_is_the_head_of_the_sorted(counts in prop::collection::btree_map(0..60u8, -5..5i64, 0..60), n in 0..70usize) {
        for backend in Backend::ALL {
            let map = CounterMap::new("tested", backend, MapLimits::default()).unwrap();
            counts.iter().for_each(|(&key, &count)| assert_eq!(map.add(&[key], count), Ok(count)));
            let mut sorted: Vec<(Box<[u8]>, i64)> = counts.iter().map(|(&key, &n)| (Box::from([key]), n)).collect();
            sorted.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
            sorted.truncate(n);
            prop_assert_eq!(map.top(n), sorted);
        }
    }
}
