//! Scans, page by page.
//!
//! Entries have an order that no insertion, removal or growth changes: by position, a bijection of the key's hash.
//! A cursor is a position, and a page holds the entries of one interval of positions. So:
//! I1  No key comes twice in a scan: the intervals of its pages are disjoint.
//! I2  A key that is there from the first page to the last comes exactly once: the intervals cover all positions.
//! I3  A key that comes or goes meanwhile may or may not come. The scan as a whole is no snapshot.
//!
//! Price: a page of `sharded` looks at every entry of the shards it touches (1/256 of the map each) and holds one
//! shard's read lock at a time; a page of `lock_free` or `papaya` looks at every entry of the map.

use super::structure::Structure;
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

/// One page; `read` makes of a value what the page holds, or leaves the entry out. It may run under a lock.
pub(super) fn page<K: Ord + Clone, V, T>(
    table: &impl Structure<K, V>,
    cursor: Option<Cursor>,
    limit: usize,
    mut read: impl FnMut(&V) -> Option<T>,
) -> Page<K, T> {
    let after = cursor.map(|Cursor(after)| after);
    let mut gathered = Gathered { entries: Vec::new(), after, until: u64::MAX, limit: limit.max(1) };
    for stripe in table.stripe_of(after.unwrap_or(0))..table.stripes() {
        table.walk(stripe, |position, key, value| {
            if gathered.wants(position)
                && let Some(value) = read(value)
            {
                gathered.add(position, key.clone(), value);
            }
        });
        if gathered.is_full() {
            break;
        }
    }
    gathered.into_page()
}

/// Shows every entry to `f` with no lock held; `read` makes of a value what is shown, or leaves the entry out, and may
/// run under a lock.
pub(super) fn visit<K: Clone, V, T>(
    table: &impl Structure<K, V>,
    mut read: impl FnMut(&V) -> Option<T>,
    mut f: impl FnMut(&K, &T),
) {
    let mut entries = Vec::new();
    for stripe in 0..table.stripes() {
        table.walk(stripe, |_, key, value| entries.extend(read(value).map(|shown| (key.clone(), shown))));
        entries.drain(..).for_each(|(key, shown)| f(&key, &shown));
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
