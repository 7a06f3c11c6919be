//! The clock of a history, and the part of it that each thread keeps.
//!
//! I1  What a thread notes is its own: nothing is shared but the clock, which is read and never written. A shared
//!     counter would order the very operations whose order is in question.
//! I2  An operation takes effect between its two times. `began` is read before anything of the call can run, and
//!     `ended` after everything of it is there for other cores to see, the stores in the core's buffer included.
//! O1  On x86-64, `lfence` after the first reading keeps the call's loads behind it, and `mfence; lfence` before the
//!     second keeps the reading behind its stores and loads (Intel SDM vol. 2, RDTSC). Elsewhere a SeqCst fence does
//!     both; it orders memory and not, by the letter, the reading of a counter.
//!
//! Price: 200 ns an operation (127..308 while others used the machine; `examples/overhead.rs` tells), which makes a
//! structure look less contended than it is; 40 bytes, and the call with its return. The fences also stand between two
//! operations of one thread and hide whatever only their reordering would show; without them a reading could come
//! before the call's last store is seen by anybody, and
//! correct structures would be accused.

use crate::Operation;
use quanta::Clock;
use std::sync::Arc;
use std::sync::atomic::{Ordering::SeqCst, fence};

/// The clock of one history: the processor's counter where it is constant and the same on all cores, as quanta finds,
/// else `CLOCK_MONOTONIC`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    clock: Arc<Clock>,
    start: u64,
}

/// One thread's part of a history.
#[derive(Debug)]
pub struct Log<C, R> {
    recorder: Recorder,
    thread: usize,
    /// Times in here are the clock's own until they are handed out.
    operations: Vec<Operation<C, R>>,
}

impl Recorder {
    /// A clock that starts now.
    pub fn new() -> Self {
        let clock = Arc::new(Clock::new());
        let start = clock.raw();
        Self { clock, start }
    }

    /// A thread's empty log.
    pub fn log<C, R>(&self, thread: usize) -> Log<C, R> {
        Log { recorder: self.clone(), thread, operations: Vec::new() }
    }

    #[inline(always)]
    fn before_call(&self) -> u64 {
        let now = self.clock.raw();
        settle_loads(); // O1
        now
    }

    #[inline(always)]
    fn after_call(&self) -> u64 {
        fence(SeqCst); // O1: `mfence` or a locked instruction, which empties the store buffer.
        settle_loads();
        self.clock.raw()
    }

    fn nanoseconds(&self, raw: u64) -> u64 {
        if raw == u64::MAX { raw } else { self.clock.delta_as_nanos(self.start, raw) }
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

#[inline(always)]
fn settle_loads() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: `lfence` is part of SSE2, which every x86-64 has; it touches no memory.
    unsafe {
        std::arch::x86_64::_mm_lfence();
    }
    #[cfg(not(target_arch = "x86_64"))]
    fence(SeqCst);
}

impl<C, R> Log<C, R> {
    /// Makes a call and notes it; returns what it returned. Should it panic, it is noted as one that has not returned.
    #[inline]
    pub fn record(&mut self, call: C, perform: impl FnOnce(&C) -> R) -> &R {
        // In its place before the clock is read, so that no growing vector makes the operation look longer.
        let thread = self.thread;
        self.operations.push(Operation { thread, began: 0, ended: u64::MAX, call, returned: None });
        let operation = self.operations.last_mut().expect("just pushed");
        operation.began = self.recorder.before_call();
        let returned = perform(&operation.call);
        operation.ended = self.recorder.after_call();
        operation.returned.insert(returned)
    }

    /// What was noted, in the order in which this thread did it. A history is the operations of all threads, in any
    /// order.
    pub fn into_operations(self) -> Vec<Operation<C, R>> {
        let Self { recorder, mut operations, .. } = self;
        for operation in &mut operations {
            operation.began = recorder.nanoseconds(operation.began);
            operation.ended = recorder.nanoseconds(operation.ended);
        }
        operations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn operations_of_a_thread_follow_each_other() {
        let mut log = Recorder::new().log(7);
        (0..100).for_each(|number| _ = log.record(number, |number| number * 2));
        let operations = log.into_operations();
        assert!(operations.iter().all(|op| op.began <= op.ended && op.thread == 7));
        assert!(operations.iter().all(|op| op.returned == Some(op.call * 2)));
        assert!(operations.windows(2).all(|pair| pair[0].ended <= pair[1].began));
    }

    #[test]
    fn a_call_that_panics_never_returned() {
        let mut log = Recorder::new().log::<_, ()>(0);
        catch_unwind(AssertUnwindSafe(|| _ = log.record("call", |_| panic!("on purpose")))).unwrap_err();
        let operations = log.into_operations();
        assert_eq!((operations[0].ended, operations[0].returned), (u64::MAX, None));
    }
}
