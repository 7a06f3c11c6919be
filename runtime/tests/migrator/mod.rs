//! The thread that moves the keys of a map, as tests meet it, and how they wait for it.
#![allow(dead_code, reason = "each test uses its part")]

use rheostat_runtime::map::Backend;
use rheostat_runtime::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for any machine; a test that waits so long has failed.
pub const LONG: Duration = Duration::from_secs(20);

/// Every way from one backend to another, and to itself.
pub fn pairs() -> impl Iterator<Item = (Backend, Backend)> + Clone {
    Backend::ALL.into_iter().flat_map(|from| Backend::ALL.map(|to| (from, to)))
}

/// Whether the calling thread is one.
pub fn is_migrator() -> bool {
    thread::current().name() == Some("map-handover")
}

/// Waits until that is so.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "waited in vain for: {what}");
        thread::sleep(Duration::from_micros(100));
    }
}

/// Plans that migrators have put in force since this was first asked. Without debug assertions there are no steps to
/// count them by.
pub fn plans() -> u64 {
    #[cfg(debug_assertions)]
    WATCHED.call_once(|| {
        rheostat_runtime::sync::watch(|step| {
            if step == rheostat_runtime::sync::Step::MapPlanned && is_migrator() {
                PLANS.fetch_add(1, Relaxed);
            }
        });
    });
    PLANS.load(Relaxed)
}

static PLANS: AtomicU64 = AtomicU64::new(0);
#[cfg(debug_assertions)]
static WATCHED: std::sync::Once = std::sync::Once::new();

/// Waits until there are more; goes on at once where they are not counted, and meets the plan or the one before.
pub fn until_planned(before: u64) {
    until("the next plan", || plans() > before || !cfg!(debug_assertions));
}
