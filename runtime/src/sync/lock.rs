//! Locks with one face: parking_lot in production (no poisoning, clean under TSan), the model's own under a model.
//!
//! A panic while a guard is held unlocks and leaves the data as it stands, so what a lock guards must be whole
//! at every point where user code could panic. In this crate no user code runs under a lock.

#[cfg(not(any(rt_loom, rt_shuttle)))]
pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[cfg(any(rt_loom, rt_shuttle))]
pub use modelled::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[cfg(any(rt_loom, rt_shuttle))]
// The faces are parking_lot's, and documented there.
#[allow(missing_docs)]
mod modelled {
    use std::time::Duration;

    #[cfg(rt_loom)]
    use loom::sync as model;
    #[cfg(all(rt_shuttle, not(rt_loom)))]
    use shuttle::sync as model;

    pub use model::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

    /// parking_lot's face over the model's mutex.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(model::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Self(model::Mutex::new(value))
        }
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
        }
        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    /// parking_lot's face over the model's reader-writer lock.
    #[derive(Debug, Default)]
    pub struct RwLock<T>(model::RwLock<T>);

    impl<T> RwLock<T> {
        pub fn new(value: T) -> Self {
            Self(model::RwLock::new(value))
        }
        pub fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
        }
        pub fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner())
        }
    }

    /// parking_lot's face over the model's condition variable. Models have no clock, so a timed wait may return
    /// at once: callers loop on their condition anyway.
    #[derive(Debug, Default)]
    pub struct Condvar(model::Condvar);

    /// What a timed wait says.
    #[derive(Debug)]
    pub struct WaitTimeoutResult(bool);
    impl WaitTimeoutResult {
        pub fn timed_out(&self) -> bool {
            self.0
        }
    }

    impl Condvar {
        pub fn new() -> Self {
            Self(model::Condvar::new())
        }
        pub fn notify_one(&self) {
            self.0.notify_one();
        }
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
        pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            replace_with(guard, |guard| self.0.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner()));
        }
        pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _limit: Duration) -> WaitTimeoutResult {
            self.wait(guard);
            WaitTimeoutResult(false)
        }
    }

    /// Runs a by-value step on a guard held by reference. The step must not unwind: the guard would be dropped twice.
    fn replace_with<'a, T>(slot: &mut MutexGuard<'a, T>, step: impl FnOnce(MutexGuard<'a, T>) -> MutexGuard<'a, T>) {
        struct AbortOnUnwind;
        impl Drop for AbortOnUnwind {
            fn drop(&mut self) {
                std::process::abort();
            }
        }
        let bomb = AbortOnUnwind;
        // SAFETY: the value read out is either put back below, or the process ends, so it is never dropped twice.
        unsafe {
            let guard = std::ptr::read(slot);
            std::ptr::write(slot, step(guard));
        }
        std::mem::forget(bomb);
    }
}
