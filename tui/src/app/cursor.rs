//! The selected row of a list whose rows come and go.

/// Remembers the row by what it is, and where it was for when it has gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    key: Option<String>,
    index: usize,
}

impl Cursor {
    /// The selected index among these rows; `None` if there are none.
    pub fn index(&self, keys: &[String]) -> Option<usize> {
        let last = keys.len().checked_sub(1)?;
        let found = self.key.as_ref().and_then(|key| keys.iter().position(|other| other == key));
        Some(found.unwrap_or(self.index.min(last)))
    }

    /// Moves by so many rows and stops at the ends.
    pub fn step(&mut self, by: isize, keys: &[String]) {
        if let Some(index) = self.index(keys) {
            self.put(index.saturating_add_signed(by), keys);
        }
    }

    /// Selects the row at `index`, or the last.
    pub fn put(&mut self, index: usize, keys: &[String]) {
        self.index = index.min(keys.len().saturating_sub(1));
        self.key = keys.get(self.index).cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_selection_follows_its_row_and_outlives_it() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.index(&[]), None);
        cursor.step(1, &keys("a b c"));
        assert_eq!(cursor.index(&keys("a b c")), Some(1));
        assert_eq!(cursor.index(&keys("new a b c")), Some(2), "it follows `b`");
        assert_eq!(cursor.index(&keys("a c d")), Some(1), "`b` has gone: its place stays selected");
        assert_eq!(cursor.index(&keys("a")), Some(0));
    }

    #[test]
    fn moves_stop_at_the_ends() {
        let (mut cursor, rows) = (Cursor::default(), keys("a b c"));
        cursor.step(isize::MIN, &rows);
        assert_eq!(cursor.index(&rows), Some(0));
        cursor.step(isize::MAX, &rows);
        assert_eq!(cursor.index(&rows), Some(2));
        cursor.step(1, &[]);
    }
}
