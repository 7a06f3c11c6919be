//! moodycamel's ConcurrentQueue, with a token for each producer and consumer.

use super::{CAPACITY, Consumer, Ends, Peer, Producer, contender};
use crate::Options;
use crate::measure::Contender;
use crossbeam::utils::Backoff;
use std::ffi::c_void;
use std::sync::Arc;

unsafe extern "C" {
    fn moody_new(capacity: usize) -> *mut c_void;
    fn moody_free(queue: *mut c_void);
    fn moody_producer_new(queue: *mut c_void) -> *mut c_void;
    fn moody_producer_free(token: *mut c_void);
    fn moody_consumer_new(queue: *mut c_void) -> *mut c_void;
    fn moody_consumer_free(token: *mut c_void);
    fn moody_push(queue: *mut c_void, token: *mut c_void, item: u64) -> bool;
    fn moody_push_run(queue: *mut c_void, token: *mut c_void, items: *const u64, count: usize) -> bool;
    fn moody_pop(queue: *mut c_void, token: *mut c_void, out: *mut u64) -> bool;
    fn moody_pop_run(queue: *mut c_void, token: *mut c_void, out: *mut u64, max: usize) -> usize;
}

struct Queue(*mut c_void);

// SAFETY: the queue is made for many threads; its tokens are with one end each, which is used through `&mut`.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the ends hold this through an `Arc`, so it is the last to go and goes once.
        unsafe { moody_free(self.0) }
    }
}

/// An end: its token goes before its share of the queue.
struct End {
    token: *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    queue: Arc<Queue>,
}

// SAFETY: a token may go from thread to thread as long as one at a time uses it, which `&mut` sees to.
unsafe impl Send for End {}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: made in `ends`, freed once, while the queue is still there.
        unsafe { (self.free)(self.token) }
    }
}

struct Moodycamel;

impl Peer for Moodycamel {
    type Producer = End;
    type Consumer = End;
    fn ends(producers: usize, consumers: usize) -> Option<Ends<Self>> {
        // SAFETY: no requirements.
        let queue = Arc::new(Queue(unsafe { moody_new(CAPACITY) }));
        let end = |new: unsafe extern "C" fn(*mut c_void) -> *mut c_void, free| {
            // SAFETY: the queue is there, and `new` and `free` are of one kind.
            End { token: unsafe { new(queue.0) }, free, queue: queue.clone() }
        };
        let producers = (0..producers).map(|_| end(moody_producer_new, moody_producer_free)).collect();
        Some((producers, (0..consumers).map(|_| end(moody_consumer_new, moody_consumer_free)).collect()))
    }
}

impl Producer for End {
    fn push(&mut self, item: u64) {
        // SAFETY: queue and token are there, and the token is ours.
        assert!(unsafe { moody_push(self.queue.0, self.token, item) }, "out of memory");
    }
    fn push_run(&mut self, items: &mut Vec<u64>) {
        // SAFETY: as above; the pointer is to as many items.
        let pushed = unsafe { moody_push_run(self.queue.0, self.token, items.as_ptr(), items.len()) };
        assert!(pushed, "out of memory");
        items.clear();
    }
}

impl Consumer for End {
    fn pop(&mut self) -> u64 {
        let (backoff, mut item) = (Backoff::new(), 0);
        // SAFETY: as above; the pointer is to one item.
        while !unsafe { moody_pop(self.queue.0, self.token, &mut item) } {
            backoff.snooze();
        }
        item
    }
    fn pop_run(&mut self, out: &mut Vec<u64>, max: usize) {
        let (backoff, had) = (Backoff::new(), out.len());
        out.resize(had + max, 0);
        loop {
            // SAFETY: as above; the pointer is to `max` items.
            let popped = unsafe { moody_pop_run(self.queue.0, self.token, out[had..].as_mut_ptr(), max) };
            if popped > 0 {
                out.truncate(had + popped);
                return;
            }
            backoff.snooze();
        }
    }
}

pub(super) fn contenders(options: Options) -> Vec<Contender<'static>> {
    vec![contender::<Moodycamel>("moodycamel, tokens (C++)", options)]
}
