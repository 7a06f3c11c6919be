//! What a map's tables count, kept by the map: a table goes when the map is handed over, and what it has counted stays
//! and is counted on, so that no total ever falls. Each part begins when the map is first on a backend that has it.

use super::contention::Contention;
use super::flat::Met;
use super::stalls::Stalls;
use crate::observe::Cells;
use crate::sync::{Arc, OnceLock};

#[derive(Clone, Default)]
pub(super) struct Record(Arc<Parts>);

#[derive(Default)]
struct Parts {
    contention: OnceLock<Arc<Contention>>,
    lost: OnceLock<Arc<Cells<1>>>,
    met: OnceLock<Arc<Met>>,
    stalls: OnceLock<Arc<Stalls>>,
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

    /// For flat tables to count what operations meet in.
    pub(super) fn count_met(&self) -> Arc<Met> {
        self.0.met.get_or_init(Arc::default).clone()
    }

    /// For a table that does not show its contention to be watched with.
    pub(super) fn watch_stalls(&self) -> Arc<Stalls> {
        self.0.stalls.get_or_init(Arc::default).clone()
    }

    /// Waits for locks, and the work of shards.
    pub(super) fn contention(&self) -> Option<&Contention> {
        self.0.contention.get().map(|contention| &**contention)
    }

    /// Compare-exchanges that operations have lost to others.
    pub(super) fn lost(&self) -> Option<u64> {
        self.0.lost.get().map(|lost| lost.sum(0))
    }
    /// What operations met on flat tables.
    pub(super) fn met(&self) -> Option<&Met> {
        self.0.met.get().map(|met| &**met)
    }

    /// What sampling has found on tables that do not show their contention.
    pub(super) fn stalls(&self) -> Option<&Stalls> {
        self.0.stalls.get().map(|stalls| &**stalls)
    }
}
