//! Scans, page by page.
//!
//! Entries have an order that no insertion, removal or growth changes: by position, a bijection of the key's hash.
//! A cursor is a position, and a page holds the entries of one interval of positions. So:
//! I1  No key comes twice in a scan: the intervals of its pages are disjoint.
//! I2  A key that is there from the first page to the last comes exactly once: the intervals cover all positions.
//! I3  A key that comes or goes meanwhile may or may not come. The scan as a whole is no snapshot.
//!
//! During a hand-over an interval is gathered from both tables, in the order in which keys move, so that one in motion
//! is met at least once; its second meeting is struck out by key. If the plan has changed by then, it is gathered
//! again.
//!
//! Price: a page of `sharded` looks at every entry of the shards it touches (1/256 of the map each) and holds one
//! shard's read lock at a time; a page of `fixed` looks at its own entries and those of 16 buckets at either
//! end; one of `flat` at its own and at 1/256 of the map; one of `lock_free` or `papaya` at every entry of the map.

use super::structure::Structure;
use super::switch::{Grace, Switch};
use std::fmt;
use std::str::FromStr;

/// Where a scan goes on: past every entry already returned. Good for the map that gave it, for as long as the map
/// lives; any other map takes it for some place in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(u64);

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a cursor: pass `next` of the page before as it came, or none to start")]
pub struct CursorError(String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let refuse = || CursorError(text.chars().take(40).collect());
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refuse());
        }
        u64::from_str_radix(text, 16).map(Cursor).map_err(|_| refuse())
    }
}

/// One page of a scan: its entries in the scan's order, and where the next page starts.
pub type Page<K, T> = (Vec<(K, T)>, Option<Cursor>);

/// The entries of one interval of positions, gathered in whatever order they are met.
struct Gathered<K, T> {
    entries: Vec<(u64, K, T)>,
    after: Option<u64>,
    /// Entries past this position are left to later pages.
    until: u64,
    limit: usize,
}

impl<K: Ord, T> Gathered<K, T> {
    fn wants(&self, position: u64) -> bool {
        self.after.is_none_or(|after| position > after) && position <= self.until
    }

    fn add(&mut self, position: u64, key: K, value: T) {
        self.entries.push((position, key, value));
        if self.entries.len() >= self.limit.saturating_mul(2) {
            self.cut();
        }
    }

    /// Lets go of what lies past the limit. Linear, and needed once in `limit` entries. Entries of equal position
    /// stay or go together: a cursor could not tell them apart.
    fn cut(&mut self) {
        if self.entries.len() > self.limit {
            let (_, last, _) = self.entries.select_nth_unstable_by_key(self.limit - 1, |entry| entry.0);
            self.until = last.0;
            self.entries.retain(|entry| entry.0 <= self.until);
        }
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= self.limit
    }

    fn into_page(mut self) -> Page<K, T> {
        self.cut();
        let full = self.is_full();
        self.entries.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        // A walk without locks meets a key again that is removed and put back while it passes.
        self.entries.dedup_by(|b, a| (a.0, &a.1) == (b.0, &b.1));
        let next = full.then(|| self.entries.last().map(|entry| Cursor(entry.0))).flatten();
        (self.entries.into_iter().map(|(_, key, value)| (key, value)).collect(), next)
    }
}

impl<K: Ord + Clone, T> Gathered<K, T> {
    fn new(after: Option<u64>, until: u64, limit: usize) -> Self {
        Self { entries: Vec::new(), after, until, limit }
    }

    /// Adds what one table has in the interval. A page that is full of entries of one table shrinks the interval for
    /// the other.
    fn gather<V>(&mut self, table: &impl Structure<K, V>, read: &mut impl FnMut(&V) -> Option<T>) {
        let mut stripe = table.stripe_of(self.after.unwrap_or(0));
        while stripe <= table.stripe_of(self.until) {
            table.walk(stripe, |position, key, value| {
                if self.wants(position)
                    && let Some(value) = read(value)
                {
                    self.add(position, key.clone(), value);
                }
            });
            self.cut();
            stripe += 1;
        }
    }
}

impl<K, V, S, G> Switch<K, V, S, G>
where
    K: Ord + Clone,
    V: Clone,
    S: Structure<K, V>,
    G: Grace,
{
    /// What the tables hold in an interval, in the order in which a key moves; again if the plan changes meanwhile.
    fn gather<T>(
        &self,
        interval: impl Fn(usize) -> Gathered<K, T>,
        read: &mut impl FnMut(&V) -> Option<T>,
    ) -> Gathered<K, T> {
        loop {
            let guard = self.pin();
            let plan = self.plan(&guard);
            let (table, other) = plan.tables();
            let mut gathered = interval(other.map_or(usize::MAX, |other| other.stripes()).min(table.stripes()));
            gathered.gather(&**table, read);
            if let Some(other) = other {
                gathered.gather(&**other, read);
            }
            if self.is_still(plan) {
                return gathered;
            }
        }
    }

    /// One page; `read` makes of a value what the page holds, or leaves the entry out. It may run under a lock.
    pub(super) fn page<T>(
        &self,
        cursor: Option<Cursor>,
        limit: usize,
        mut read: impl FnMut(&V) -> Option<T>,
    ) -> Page<K, T> {
        let after = cursor.map(|Cursor(after)| after);
        self.gather(|_| Gathered::new(after, u64::MAX, limit.max(1)), &mut read).into_page()
    }

    /// Shows every entry once to `f` with no lock held; `read` makes of a value what is shown, or leaves the entry out,
    /// and may run under a lock.
    pub(super) fn visit<T>(&self, mut read: impl FnMut(&V) -> Option<T>, mut f: impl FnMut(&K, &T)) {
        let mut after = None;
        loop {
            // As many entries at a time as the coarser of the tables has to look at anyway.
            let interval = |stripes: usize| {
                let length = u64::MAX / stripes as u64;
                Gathered::new(after, after.map_or(length, |after: u64| after.saturating_add(length)), usize::MAX)
            };
            let gathered = self.gather(interval, &mut read);
            let until = gathered.until;
            gathered.into_page().0.iter().for_each(|(key, shown)| f(key, shown));
            if until == u64::MAX {
                return;
            }
            after = Some(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_over_the_wire() {
        for position in [0, 1, u64::MAX] {
            assert_eq!(Cursor(position).to_string().parse(), Ok(Cursor(position)));
        }
        for text in ["", "0", "zzzzzzzzzzzzzzzz", "+fffffffffffffff", "00000000000000000"] {
            assert!(text.parse::<Cursor>().is_err(), "{text:?} passed for a cursor");
        }
    }
}
