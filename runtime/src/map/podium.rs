//! The greatest counters of a walk.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

/// The `n` greatest counters seen so far, each key once: a walk without locks meets a key again that is removed and
/// put back while it passes, and then one of its values counts.
///
/// Memory: two entries for each of the `n`. A counter that does not make it costs one comparison.
pub(super) struct Podium {
    n: usize,
    /// In the order of the result. The last one is the first to go.
    order: BTreeSet<(Reverse<i64>, Box<[u8]>)>,
    values: HashMap<Box<[u8]>, i64>,
}

impl Podium {
    pub(super) fn new(n: usize) -> Self {
        Self { n, order: BTreeSet::new(), values: HashMap::new() }
    }

    /// Looks at a counter.
    pub(super) fn consider(&mut self, key: &[u8], value: i64) {
        let full = self.order.len() >= self.n;
        let beaten = |(least, last): &(Reverse<i64>, Box<[u8]>)| (Reverse(value), key) < (*least, &**last);
        if full && !self.order.last().is_some_and(beaten) {
            return;
        }
        if let Some(met) = self.values.insert(key.into(), value) {
            self.order.remove(&(Reverse(met), key.into()));
        } else if full && let Some((_, gone)) = self.order.pop_last() {
            self.values.remove(&gone);
        }
        self.order.insert((Reverse(value), key.into()));
    }

    /// Greatest first, equal ones by key.
    pub(super) fn into_top(self) -> Vec<(Box<[u8]>, i64)> {
        self.order.into_iter().map(|(Reverse(value), key)| (key, value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(n: usize, met: &[(&str, i64)]) -> Vec<(String, i64)> {
        let mut podium = Podium::new(n);
        met.iter().for_each(|&(key, value)| podium.consider(key.as_bytes(), value));
        podium.into_top().into_iter().map(|(key, value)| (String::from_utf8(key.into()).unwrap(), value)).collect()
    }

    #[test]
    fn a_key_met_twice_takes_one_place() {
        let met = [("a", 5), ("b", 4), ("a", 6), ("c", 3), ("a", 6), ("d", 2)];
        assert_eq!(top(3, &met), [("a".into(), 6), ("b".into(), 4), ("c".into(), 3)]);
        assert_eq!(top(0, &met), []);
    }

    #[test]
    fn equal_counts_go_by_key() {
        assert_eq!(top(2, &[("c", 1), ("b", 1), ("a", 1)]), [("a".into(), 1), ("b".into(), 1)]);
    }
}
