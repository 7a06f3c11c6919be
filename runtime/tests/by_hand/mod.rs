//! Futures polled by hand, with wakers that count.

use rheostat_runtime::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// A waker that counts how often it is called.
#[derive(Default)]
pub struct Calls(AtomicUsize);

impl Calls {
    pub fn waker() -> (Arc<Self>, Waker) {
        let calls = Arc::new(Self::default());
        (calls.clone(), Waker::from(calls))
    }

    pub fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Polls a future once.
pub fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}
