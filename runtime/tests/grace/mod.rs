//! Grace periods for models of hand-overs: a reader-writer lock that is taken and let go. Whoever waits has waited for
//! every reader of before. That orders more than real grace periods do; what those order is `loom_reclaim`'s claim.

use rheostat_runtime::map::switch::Grace;
use rheostat_runtime::sync::{RwLock, RwLockReadGuard};

pub struct Readers(pub RwLock<()>);

// SAFETY: the lock is written to when all are gone that read it, and read by none meanwhile.
unsafe impl Grace for Readers {
    type Guard<'a> = RwLockReadGuard<'a, ()>;

    fn pin(&self) -> RwLockReadGuard<'_, ()> {
        self.0.read()
    }

    fn synchronize(&self) {
        drop(self.0.write());
    }
}
