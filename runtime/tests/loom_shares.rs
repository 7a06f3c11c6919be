//! Models of a block that is shared: the last to leave has it to itself, and nobody else thinks so.
//!
//! ```text
//! RUSTFLAGS="--cfg rt_loom" CARGO_TARGET_DIR=target/loom cargo test -p rheostat-runtime --release --test loom_shares
//! ```
#![cfg(rt_loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize as Counted;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;
use rheostat_runtime::pool::parts::Shares;

/// What is shared, and how often it was put away.
struct Shared {
    shares: Shares,
    bytes: UnsafeCell<u32>,
    put_away: Counted,
}

// SAFETY: the cell is read by who has a share and written by the last, which the model checks.
unsafe impl Sync for Shared {}

impl Shared {
    fn one() -> Arc<Self> {
        Arc::new(Self { shares: Shares::one(), bytes: UnsafeCell::new(7), put_away: Counted::new(0) })
    }

    /// Reads what is shared, leaves, and as the last puts it away, as the next holder of a block would write it.
    fn read_and_leave(&self) {
        // SAFETY: we have a share, so nobody writes.
        assert_eq!(self.bytes.with(|bytes| unsafe { *bytes }), 7);
        if self.shares.leave() {
            // SAFETY: we were the last.
            self.bytes.with_mut(|bytes| unsafe { *bytes = 0 });
            self.put_away.fetch_add(1, Relaxed);
        }
    }
}

/// O1: what others read, they read before the last puts it away.
#[test]
fn the_last_of_three_puts_it_away() {
    loom::model(|| {
        let shared = Shared::one();
        shared.shares.join();
        shared.shares.join();
        let others: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || shared.read_and_leave())
            })
            .collect();
        shared.read_and_leave();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(shared.put_away.load(Relaxed), 1);
    });
}

/// I1: who has a share may make another and pass it on while others leave.
#[test]
fn a_share_is_passed_on_while_another_leaves() {
    loom::model(|| {
        let shared = Shared::one();
        shared.shares.join();
        let other = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.shares.join();
                shared.read_and_leave();
                shared.read_and_leave();
            })
        };
        shared.read_and_leave();
        other.join().unwrap();
        assert_eq!(shared.put_away.load(Relaxed), 1);
    });
}
