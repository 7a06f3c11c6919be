//! Pools that choose their level, tended as a host does it.

#![cfg(not(any(rt_loom, rt_shuttle)))]

use rheostat_runtime::observe::families::POOL_LEVEL;
use rheostat_runtime::observe::{Actor, Change, Measure, Moment, Outcome, Reading, Registry, Resource, Value, now};
use rheostat_runtime::pool::{Level, LevelAsked, Pool, PoolLimits, PoolSetup, Preset};
use rheostat_runtime::sync::atomic::{AtomicBool, Ordering};
use rheostat_runtime::sync::{Arc, thread};
use std::time::{Duration, Instant};

fn word(word: &str) -> Value {
    Value::Choice(word.to_owned())
}

fn hosted(pool: &Arc<Pool>) -> Registry {
    let registry = Registry::new();
    registry.add(pool.clone()).unwrap();
    registry
}

/// A made-up moment at which a pool is looked at.
fn second(n: u64) -> Moment {
    Moment(n * 1_000_000_000)
}

/// Changes that pools have made of their own accord.
fn own(registry: &Registry) -> Vec<Change> {
    registry.journal().since(0).into_iter().filter(|change| change.actor == Actor::Auto).collect()
}

fn level_read(pool: &Pool) -> &'static str {
    let mut reading = Reading::default();
    pool.read(&mut reading);
    let in_force = |sample: &&rheostat_runtime::observe::Sample| {
        sample.family.name == POOL_LEVEL.name && matches!(sample.measure, Measure::Level(1.0))
    };
    reading.samples.iter().find(in_force).unwrap().labels[0]
}

#[test]
fn the_knob_says_what_was_asked_for_and_the_reading_what_is_in_force() {
    let pool = Pool::new("chooser", LevelAsked::Auto, PoolLimits::default()).unwrap();
    let registry = hosted(&pool);
    let turn = |to: &str| registry.turn(pool.address(), "level", word(to), Actor::Process);
    assert_eq!((pool.level_asked(), pool.knobs()[0].value.clone()), (LevelAsked::Auto, word("auto")));
    let start = pool.level();
    assert!(matches!(start, Level::Mutex | Level::LockFree | Level::ThreadCached), "{start}");
    assert_eq!(level_read(&pool), start.as_str());
    let change = turn("mutex").unwrap();
    assert_eq!((&change.from, &change.to, &change.reason), (&word("auto"), &word("mutex"), &None));
    assert_eq!((pool.level_asked(), level_read(&pool)), (LevelAsked::At(Level::Mutex), "mutex"));
    // Where it is, it stays until there is a reason.
    assert_eq!(turn("auto").unwrap().from, word("mutex"));
    assert_eq!((pool.level_asked(), level_read(&pool)), (LevelAsked::Auto, "mutex"));
    assert_eq!(registry.tend_all(now()), []);
}

#[test]
fn a_level_that_is_not_its_to_choose_is_left_with_the_reason() {
    let pool = Pool::new("chooser", Level::Fixed, PoolLimits { bytes_max: 1 << 20 }).unwrap();
    let registry = hosted(&pool);
    let block = pool.alloc(100).unwrap();
    assert_eq!(registry.tend_all(now()), [], "nobody has asked it to choose");
    pool.turn_level(LevelAsked::Auto).unwrap();
    assert_eq!(pool.level(), Level::Fixed);
    assert_eq!(registry.tend_all(second(1)), [], "the first look has nothing to compare with");
    registry.tend_all(second(2));
    let [change] = own(&registry).try_into().unwrap();
    assert_eq!(
        (change.from, change.to, change.outcome),
        (word("fixed"), word(pool.level().as_str()), Outcome::Applied)
    );
    assert_ne!(pool.level(), Level::Fixed);
    let reason = change.reason.unwrap();
    assert!(reason.starts_with("fixed is not a level to choose: ") && reason.contains("1024 KiB"), "{reason}");
    assert_eq!((pool.level_asked(), block.len()), (LevelAsked::Auto, 100));
}

/// A fifth of a second later, as far as the registry is told.
fn look_later(registry: &Registry, at: &mut Moment) -> Vec<Change> {
    at.0 += 200_000_000;
    registry.tend_all(*at)
}

#[test]
fn a_level_that_was_asked_for_is_stayed_at_whatever_is_observed() {
    for level in [Level::Fixed, Level::LockFree] {
        let pool = Pool::new("told", level, PoolLimits { bytes_max: 4 << 20 }).unwrap();
        let (registry, mut at) = (hosted(&pool), now());
        let mut look_while_busy = || -> Vec<Change> {
            let look = |_| {
                // In a fifth of a second: a thread that does nothing else, which would be worth a cache.
                (0..110_000).for_each(|_| drop(pool.alloc(64).unwrap()));
                look_later(&registry, &mut at)
            };
            (0..4).flat_map(look).collect()
        };
        assert_eq!(look_while_busy(), [], "nobody has asked it to choose");
        pool.turn_level(LevelAsked::Auto).unwrap();
        pool.turn_level(level).unwrap();
        assert_eq!(look_while_busy(), [], "what it was asked before is over");
        assert_eq!((pool.level_asked(), pool.level()), (LevelAsked::At(level), level));
    }
}

#[test]
fn asked_to_choose_again_it_begins_anew() {
    let pool = Pool::new("chooser", Level::Fixed, PoolLimits { bytes_max: 4 << 20 }).unwrap();
    let (registry, mut at) = (hosted(&pool), now());
    for _ in 0..3 {
        // The first look only sees what there is. A move from before, and its pause, are of no account.
        pool.turn_level(Level::Fixed).unwrap();
        pool.turn_level(LevelAsked::Auto).unwrap();
        let changes = [look_later(&registry, &mut at), look_later(&registry, &mut at)].concat();
        assert!(matches!(&changes[..], [left] if left.from == word("fixed")), "{changes:?}");
    }
}

#[test]
fn a_pool_with_all_its_memory_from_the_start_is_fixed_and_stays_so() {
    let pool = Pool::with_setup("chooser", PoolSetup { level: LevelAsked::Auto, ..Preset::Realtime.setup() }).unwrap();
    let registry = hosted(&pool);
    for look in 1..=10 {
        (0..2000).for_each(|_| drop(pool.alloc(64).unwrap()));
        assert_eq!(registry.tend_all(second(look)), []);
    }
    assert_eq!((pool.level_asked(), pool.level()), (LevelAsked::Auto, Level::Fixed));
}

#[test]
fn a_preset_with_more_at_the_start_than_the_limit_grows_all_the_same() {
    for preset in [Preset::Performance, Preset::Memory] {
        let limits = PoolLimits { bytes_max: 1 << 20 };
        let setup = PoolSetup { level: LevelAsked::Auto, limits, ..preset.setup() };
        let pool = Pool::with_setup("chooser", setup).unwrap();
        assert!(matches!(pool.level(), Level::Mutex | Level::LockFree | Level::ThreadCached), "{}", pool.level());
        assert!(pool.alloc(100_000).is_ok(), "which `fixed` would refuse");
    }
}

/// A thread that has a lock gives way now and then, so that others find it taken, however few cores there are and
/// whoever else uses them. A build without debug assertions has no steps to give way at, and leaves it to chance.
fn give_way_under_locks() {
    #[cfg(debug_assertions)]
    rheostat_runtime::sync::watch(|step| {
        use rheostat_runtime::sync::atomic::AtomicU64;
        static LOCKS: AtomicU64 = AtomicU64::new(0);
        if step == rheostat_runtime::sync::Step::PoolLocked && LOCKS.fetch_add(1, Ordering::Relaxed).is_multiple_of(32)
        {
            thread::yield_now();
        }
    });
}

#[test]
fn threads_that_wait_for_a_lock_make_it_leave_the_level_mutex_and_it_does_not_flap() {
    give_way_under_locks();
    let pool = Pool::new("chooser", Level::Mutex, PoolLimits::default()).unwrap();
    let registry = hosted(&pool);
    registry.turn(pool.address(), "level", word("auto"), Actor::Process).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    (0..100).for_each(|_| drop(pool.alloc(64).unwrap()));
                }
            });
        }
        let tend = |until: &dyn Fn() -> bool| {
            let began = Instant::now();
            while !until() && began.elapsed() < Duration::from_secs(20) {
                registry.tend_all(now());
                thread::sleep(Duration::from_millis(300));
            }
        };
        tend(&|| !own(&registry).is_empty());
        let began = Instant::now();
        tend(&|| began.elapsed() > Duration::from_secs(4));
        over.store(true, Ordering::Relaxed);
    });
    let moves = own(&registry);
    if moves.is_empty() && !cfg!(debug_assertions) {
        eprintln!("threads did not find a lock taken often enough");
        return;
    }
    let first = moves.first().expect("somebody waited");
    assert_eq!((&first.from, &first.to, &first.outcome), (&word("mutex"), &word("thread_cached"), &Outcome::Applied));
    let reason = first.reason.as_deref().unwrap();
    assert!(reason.contains(" threads, ") && reason.ends_with("of them waited for a lock"), "{reason}");
    // On a machine that others use it may seem to have done harm, and is taken back once, but no more than that.
    assert!(moves.len() <= 2, "{moves:#?}");
    if let Some(back) = moves.get(1) {
        assert!(back.reason.as_deref().unwrap().contains("it did not help"), "{back:?}");
    }
    assert_eq!(pool.level_asked(), LevelAsked::Auto);
    assert_eq!(level_read(&pool), moves.last().unwrap().to.to_string());
}
