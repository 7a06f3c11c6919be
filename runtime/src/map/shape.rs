//! How a table stands: for backends that have one we can look into.

/// Chains that are looked at to tell how long they are.
pub(super) const CHAINS: usize = 250;

/// A look at the table a map is in. Chains are sampled, evenly over the table; nothing is of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct TableShape {
    /// Entries over slots (`flat`) or over buckets (`fixed`).
    pub load: f64,
    /// The share of the table that has moved to the next one; `None` while nothing moves.
    pub moved: Option<f64>,
    /// Chains that were looked at.
    pub chains: u64,
    /// Steps to the end of all of them together: cache lines (`flat`) or entries (`fixed`).
    pub steps: u64,
    /// Steps to the end of the longest.
    pub longest: u64,
}

impl TableShape {
    pub(super) fn look_at(&mut self, steps: usize) {
        self.chains += 1;
        self.steps += steps as u64;
        self.longest = self.longest.max(steps as u64);
    }

    /// Steps to find that a key is not there, on average; 0 when no chain was looked at.
    pub fn mean(&self) -> f64 {
        self.steps as f64 / self.chains.max(1) as f64
    }
}
