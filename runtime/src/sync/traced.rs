//! Threads whose end ThreadSanitizer sees.
//!
//! std counts the threads of a scope that nobody joined in code that was not built for ThreadSanitizer: what they did
//! last and what comes after the scope look unordered to it. Here each thread counts itself out where it is seen to.
//! O1  A thread's count is Release and its last step; the load after the scope is Acquire, and std has returned by
//!     then, so it sees all of them.

use super::Arc;
use super::atomic::{AtomicUsize, Ordering};

pub use std::thread::*;

/// A scope, as [`std::thread::Scope`].
#[derive(Debug)]
pub struct Scope<'scope, 'env: 'scope> {
    scope: &'scope std::thread::Scope<'scope, 'env>,
    ended: Arc<AtomicUsize>,
}

/// A scope for threads, as [`std::thread::scope`].
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let ended = Arc::new(AtomicUsize::new(0));
    // The few bytes of a scope are leaked: it has to live as long as std's, which only std can say.
    let result = std::thread::scope(|scope| f(Box::leak(Box::new(Scope { scope, ended: Arc::clone(&ended) }))));
    ended.load(Ordering::Acquire); // O1
    result
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a thread, as [`std::thread::Scope::spawn`].
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let ended = Ended(Arc::clone(&self.ended));
        self.scope.spawn(move || {
            let _ended = ended;
            f()
        })
    }
}

/// Counts a thread out, also when a panic ends it.
struct Ended(Arc<AtomicUsize>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release); // O1
    }
}
