//! The ends that await: a task that waits is woken, and one that goes away takes no wake with it. A wake that is lost
//! is a deadlock, which loom reports.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_ring_async
//! ```
#![cfg(rt_loom)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc as Shared;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::Arc;
use loom::thread;
use rheostat_runtime::queue::Ring;
use rheostat_runtime::sync::{Backoff, Condvar, Mutex};

fn model(threads: impl Fn() + Send + Sync + 'static) {
    model_to(2, threads);
}

fn model_to(preemptions: usize, threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions)); // LOOM_MAX_PREEMPTIONS, or this.
    builder.check(threads);
}

#[derive(Default)]
struct Sleeper {
    woken: Mutex<bool>,
    bell: Condvar,
}

impl Wake for Sleeper {
    fn wake(self: Shared<Self>) {
        *self.woken.lock() = true;
        self.bell.notify_one();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let sleeper = Shared::new(Sleeper::default());
    let waker = Waker::from(sleeper.clone());
    let mut future = pin!(future);
    let mut backoff = Backoff::new();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let mut woken = sleeper.woken.lock();
        if !*woken {
            backoff = Backoff::new();
        }
        while !*woken {
            sleeper.bell.wait(&mut woken);
        }
        *woken = false;
        drop(woken);
        backoff.snooze(); // A future that woke itself waits for somebody's step.
    }
}

/// Polls once; drops the future if that was not enough.
fn poll_and_cancel<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[test]
fn a_task_gets_the_item() {
    model(|| {
        let ring = Arc::new(Ring::new(2).unwrap());
        let consumer = ring.clone();
        let consumer = thread::spawn(move || block_on(consumer.pop_async()).unwrap());
        ring.try_push(7).unwrap();
        assert_eq!(consumer.join().unwrap(), 7);
    });
}

#[test]
fn a_task_gets_the_room() {
    model(|| {
        let ring = Arc::new(Ring::new(1).unwrap());
        ring.try_push(1).unwrap();
        let producer = ring.clone();
        let producer = thread::spawn(move || block_on(producer.push_async(2)).unwrap());
        assert_eq!(ring.try_pop(), Ok(1));
        producer.join().unwrap();
        assert_eq!(ring.try_pop(), Ok(2));
    });
}

#[test]
fn a_cancelled_pop_leaves_the_wake_to_another_task() {
    model(|| {
        let ring = Arc::new(Ring::new(2).unwrap());
        let (leaver, stayer) = (ring.clone(), ring.clone());
        let leaver = thread::spawn(move || poll_and_cancel(leaver.pop_async()).is_some());
        let stayer = thread::spawn(move || block_on(stayer.pop_async()).unwrap());
        ring.try_push(1).unwrap();
        if leaver.join().unwrap() {
            ring.try_push(2).unwrap();
        }
        stayer.join().unwrap();
    });
}

#[test]
fn a_cancelled_push_leaves_the_wake_to_a_thread() {
    // With two preemptions this one takes more than a minute; it was seen to pass.
    model_to(1, || {
        let ring = Arc::new(Ring::new(1).unwrap());
        ring.try_push(0).unwrap();
        let (leaver, stayer) = (ring.clone(), ring.clone());
        let leaver = thread::spawn(move || poll_and_cancel(leaver.push_async(1)).is_some());
        let stayer = thread::spawn(move || stayer.push(2).unwrap());
        assert_eq!(ring.try_pop(), Ok(0));
        if leaver.join().unwrap() {
            ring.pop().unwrap();
        }
        stayer.join().unwrap();
        assert_eq!(ring.len(), 1);
    });
}

#[test]
fn a_task_and_a_thread_share_a_run() {
    model(|| {
        let ring = Arc::new(Ring::new(2).unwrap());
        let (task, sleeper) = (ring.clone(), ring.clone());
        let task = thread::spawn(move || block_on(task.pop_async()).unwrap());
        let sleeper = thread::spawn(move || sleeper.pop().unwrap());
        assert_eq!(ring.push_bulk(&mut vec![1, 2]), 2);
        assert_eq!(task.join().unwrap() + sleeper.join().unwrap(), 3);
    });
}

#[test]
fn close_wakes_tasks_on_both_ends() {
    model(|| {
        let (full, empty) = (Arc::new(Ring::new(1).unwrap()), Arc::new(Ring::<i32>::new(1).unwrap()));
        full.try_push(1).unwrap();
        let (producer, consumer) = (full.clone(), empty.clone());
        let producer = thread::spawn(move || assert_eq!(block_on(producer.push_async(2)).unwrap_err().0, 2));
        let consumer = thread::spawn(move || assert!(block_on(consumer.pop_async()).is_err()));
        full.close();
        empty.close();
        producer.join().unwrap();
        consumer.join().unwrap();
    });
}
