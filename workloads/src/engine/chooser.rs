//! Chooses among operations by weight.

use crate::generate::Stream;
use crate::script::Mix;

/// The operations of a mix, drawn by index.
#[derive(Debug, Clone)]
pub(super) struct Chooser<O> {
    /// Each with the sum of the weights up to it.
    ops: Vec<(u64, O)>,
    total: u64,
    stream: Stream,
}

impl<O: Copy> Chooser<O> {
    pub fn new(mix: &Mix<O>, stream: Stream) -> Self {
        let mut total = 0;
        let ops = mix.0.iter().map(|(op, weight)| {
            total += weight;
            (total, *op)
        });
        Self { ops: ops.collect(), total, stream }
    }

    /// The operation at `index` and its place in the mix.
    #[inline]
    pub fn at(&self, index: u64) -> (usize, O) {
        let draw = self.stream.below(index, self.total);
        let place = self.ops.iter().position(|(sum, _)| draw < *sum).unwrap_or(0);
        (place, self.ops[place].1)
    }
}
