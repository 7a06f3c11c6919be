//! What a map's tables count, kept by the map: a table goes when the map is handed over, and what it has counted stays
//! and is counted on, so that no total ever falls. Each part begins when the map is first on a backend that has it.

use super::contention::Contention;
use crate::observe::Cells;
use crate::sync::{Arc, OnceLock};

#[derive(Clone, Default)]
pub(super) struct Record(Arc<Parts>);

#[derive(Default)]
struct Parts {
    contention: OnceLock<Arc<Contention>>,
    lost: OnceLock<Arc<Cells<1>>>,
}

impl Record {
    /// For a table of so many shards to count in; a map's tables of shards have as many each.
    pub(super) fn count_contention(&self, shards: usize) -> Arc<Contention> {
        self.0.contention.get_or_init(|| Arc::new(Contention::new(shards))).clone()
    }

    /// For a table to count lost compare-exchanges in.
    pub(super) fn count_lost(&self) -> Arc<Cells<1>> {
        self.0.lost.get_or_init(|| Arc::new(Cells::new())).clone()
    }

    /// Waits for locks, and the work of shards.
    pub(super) fn contention(&self) -> Option<&Contention> {
        self.0.contention.get().map(|contention| &**contention)
    }

    /// Compare-exchanges that operations have lost to others.
    pub(super) fn lost(&self) -> Option<u64> {
        self.0.lost.get().map(|lost| lost.sum(0))
    }
}
