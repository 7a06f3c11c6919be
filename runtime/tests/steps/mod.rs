//! Watches the steps of protocols: threads give way at them now and then, and one of them is held up at a step of
//! choice.
#![allow(dead_code, reason = "each test uses its part")]

use rheostat_runtime::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use rheostat_runtime::sync::{Step, watch};
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for any machine; a test that waits so long has failed.
pub const LONG: Duration = Duration::from_secs(20);

/// Who is to be held up, and who is.
struct Order {
    step: Option<Step>,
    /// Threads that may pass before.
    pass: u32,
    held: bool,
    /// Orders there have been: a thread that is held goes on when its order is not the one in force any more.
    number: u64,
}

static ORDER: Mutex<Order> = Mutex::new(Order { step: None, pass: 0, held: false, number: 0 });
static CHANGED: Condvar = Condvar::new();
/// The step of the order plus one, so that other steps cost no lock.
static WANTED: AtomicUsize = AtomicUsize::new(0);
/// What decides who gives way.
static DICE: AtomicU64 = AtomicU64::new(0);

fn order() -> MutexGuard<'static, Order> {
    ORDER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watcher(step: Step) {
    let roll = DICE.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
    // The finalizer of splitmix64: the dice are a counter.
    let roll = (roll ^ roll >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let roll = (roll ^ roll >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33;
    if roll.is_multiple_of(1024) {
        thread::sleep(Duration::from_micros(50 + roll % 150));
    } else if roll.is_multiple_of(16) {
        thread::yield_now();
    }
    if WANTED.load(Relaxed) == step as usize + 1 {
        stop_at(step);
    }
}

#[cold]
fn stop_at(step: Step) {
    let mut order = order();
    if order.step != Some(step) || order.held {
        return;
    }
    if order.pass > 0 {
        order.pass -= 1;
        return;
    }
    order.held = true;
    CHANGED.notify_all();
    let number = order.number;
    while order.number == number {
        order = CHANGED.wait(order).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Watches steps from now on, with these dice, and lets one test at a time do so.
pub fn watched(seed: u64) -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    static WATCHED: Once = Once::new();
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    DICE.store(seed, Relaxed);
    WATCHED.call_once(|| watch(watcher));
    one
}

/// An order to hold up a thread, which ends when this is dropped.
pub struct Hold(());

/// Holds up the thread that comes to a step after so many others.
pub fn hold(step: Step, pass: u32) -> Hold {
    let mut order = order();
    *order = Order { step: Some(step), pass, held: false, number: order.number + 1 };
    WANTED.store(step as usize + 1, Relaxed);
    Hold(())
}

impl Hold {
    /// Waits until a thread is held up.
    pub fn wait(&self) {
        let began = Instant::now();
        let mut order = order();
        while !order.held {
            assert!(began.elapsed() < LONG, "nobody comes to {:?}", order.step);
            order = CHANGED.wait_timeout(order, Duration::from_millis(100)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Hold {
    /// Lets the thread go on.
    pub fn let_go(&self) {
        let mut order = order();
        *order = Order { step: None, pass: 0, held: false, number: order.number + 1 };
        WANTED.store(0, Relaxed);
        CHANGED.notify_all();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Waits until a count of what others do has grown by so much.
pub fn until_grown(what: &str, count: impl Fn() -> u64, by: u64) {
    let (began, first) = (Instant::now(), count());
    while count() < first + by {
        assert!(began.elapsed() < LONG, "waited in vain for {what}: {} of {by}", count() - first);
        thread::sleep(Duration::from_micros(200));
    }
}
