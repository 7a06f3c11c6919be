//! What a thread promises to pools: to have its row vacated when it ends.

use super::core::Core;
use crate::sync::{Arc, Weak};
use std::cell::RefCell;

/// The rows a thread has promised to have vacated.
struct Tenancies(Vec<(Weak<Core>, usize)>);

impl Drop for Tenancies {
    fn drop(&mut self) {
        for (core, row) in &self.0 {
            if let Some(core) = core.upgrade() {
                core.vacate(*row);
            }
        }
    }
}

thread_local! {
    static TENANCIES: RefCell<Tenancies> = const { RefCell::new(Tenancies(Vec::new())) };
}

/// Makes the calling thread promise to vacate the row; false when it is past promising.
#[cold]
pub(super) fn promise(core: &Arc<Core>, row: usize) -> bool {
    let add = |tenancies: &RefCell<Tenancies>| {
        let kept = &mut tenancies.borrow_mut().0;
        // Pools that ended meanwhile would pile up in a thread that outlives many.
        kept.retain(|(core, _)| core.strong_count() > 0);
        kept.push((Arc::downgrade(core), row));
    };
    TENANCIES.try_with(add).is_ok()
}
