//! Guarded pools at random: every mistake among many operations is found, and what is none is not taken for one, also
//! while guard and level turn.

#![cfg(not(any(rt_loom, rt_shuttle)))]

mod guarded;

use allocator_api2::alloc::Allocator;
use allocator_api2::vec::Vec as PoolVec;
use guarded::{MIB, bytes, give_back};
use proptest::collection;
use proptest::prelude::*;
use rheostat_runtime::pool::{Block, FaultKind, InPool, Level, Pool, PoolError, PoolLimits, PoolSetup};
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use rheostat_runtime::sync::thread;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// What is done to a pool, rightly or not. Blocks are chosen by a number, modulo those that are out.
#[derive(Debug, Clone)]
enum Step {
    Take(usize),
    Give(usize),
    Overrun(usize),
    Twice(usize),
    Inside(usize),
    Foreign,
    Layout(usize),
    WriteAfter(usize, usize),
    Guard(bool),
    Level(usize),
    Trim,
    Check,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![8 => 1..300_usize, 2 => 300..6000_usize, 1 => 60_000..80_000_usize];
    let step = prop_oneof![
        8 => len.prop_map(Step::Take),
        4 => any::<usize>().prop_map(Step::Give),
        1 => any::<usize>().prop_map(Step::Overrun),
        1 => any::<usize>().prop_map(Step::Twice),
        1 => any::<usize>().prop_map(Step::Inside),
        1 => Just(Step::Foreign),
        1 => any::<usize>().prop_map(Step::Layout),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(which, at)| Step::WriteAfter(which, at)),
        2 => any::<bool>().prop_map(Step::Guard),
        2 => (0..Level::ALL.len()).prop_map(Step::Level),
        1 => Just(Step::Trim),
        1 => Just(Step::Check),
    ];
    collection::vec(step, 1..80)
}

/// A block that is out, with its length, a byte of which it is full, and whether it went out guarded.
struct Out {
    start: NonNull<u8>,
    len: usize,
    byte: u8,
    guarded: bool,
}

/// A pool, what is out of it, and the faults that were made.
struct Tried {
    pool: Arc<Pool>,
    out: Vec<Out>,
    faults: std::collections::BTreeMap<&'static str, u64>,
}

impl Tried {
    fn new() -> Self {
        let pool = Pool::new("tried", Level::ThreadCached, PoolLimits { bytes_max: 8 * MIB }).unwrap();
        Self { pool, out: Vec::new(), faults: Default::default() }
    }

    /// One that is out, as it was filled.
    fn leave(&mut self, which: usize) -> Option<Out> {
        let out = (!self.out.is_empty()).then(|| self.out.swap_remove(which % self.out.len()))?;
        // SAFETY: it is out, and so ours.
        let bytes = unsafe { std::slice::from_raw_parts(out.start.as_ptr(), out.len) };
        assert!(bytes.iter().all(|&byte| byte == out.byte), "somebody else wrote to a block");
        Some(out)
    }

    fn made(&mut self, kind: FaultKind) {
        *self.faults.entry(kind.as_str()).or_default() += 1;
    }

    fn step(&mut self, step: &Step) -> Option<()> {
        let pool = self.pool.clone();
        // What is wrong is done to guarded pools alone: another would be broken by it.
        let guarded = pool.is_guarded();
        match *step {
            Step::Take(len) => {
                let before = pool.outstanding();
                let start: NonNull<u8> = InPool(pool.clone()).allocate(bytes(len)).ok()?.cast();
                let byte = len as u8;
                // SAFETY: just allocated.
                unsafe { start.write_bytes(byte, len) };
                let guarded = pool.outstanding().unattributed() == before.unattributed();
                self.out.push(Out { start, len, byte, guarded });
            }
            Step::Give(which) => {
                let out = self.leave(which)?;
                give_back(&pool, out.start, bytes(out.len));
            }
            Step::Overrun(which) => {
                let out = self.leave(which)?;
                if out.guarded {
                    // SAFETY: behind what is ours, and in the pool.
                    unsafe { out.start.add(out.len).write(!0xFD) };
                    self.made(FaultKind::Overrun);
                }
                give_back(&pool, out.start, bytes(out.len));
            }
            Step::Twice(which) if guarded => {
                let out = self.leave(which)?;
                give_back(&pool, out.start, bytes(out.len));
                give_back(&pool, out.start, bytes(out.len));
                self.made(FaultKind::DoubleFree);
            }
            Step::Inside(which) if guarded => {
                let out = self.leave(which).filter(|out| out.len > 1 || out.guarded)?;
                // SAFETY: in the block.
                give_back(&pool, unsafe { out.start.add(1) }, bytes(out.len));
                self.made(FaultKind::Inside);
                give_back(&pool, out.start, bytes(out.len));
            }
            Step::Foreign if guarded => {
                let mut elsewhere = 0_u8;
                give_back(&pool, NonNull::from(&mut elsewhere), bytes(1));
                self.made(FaultKind::Foreign);
            }
            Step::Layout(which) => {
                let out = self.leave(which)?;
                let wrong = usize::from(out.guarded);
                give_back(&pool, out.start, bytes(out.len + wrong));
                if out.guarded {
                    self.made(FaultKind::Layout);
                }
            }
            Step::WriteAfter(which, at) => {
                let out = self.leave(which)?;
                give_back(&pool, out.start, bytes(out.len));
                if guarded {
                    // SAFETY: nobody's bytes, in the pool.
                    unsafe { out.start.add(at % out.len).write(0) };
                    self.made(FaultKind::WriteAfterFree);
                    assert_eq!(pool.check(), 1);
                }
            }
            Step::Guard(to) => assert_eq!(pool.turn_guarded(to), guarded),
            Step::Level(to) => _ = pool.turn_level(Level::ALL[to]),
            Step::Trim => _ = pool.trim(),
            Step::Check => assert_eq!(pool.check(), 0),
            Step::Twice(_) | Step::Inside(_) | Step::Foreign => {}
        }
        Some(())
    }

    fn compare(&self) {
        for kind in FaultKind::ALL {
            let made = self.faults.get(kind.as_str()).copied().unwrap_or_default();
            assert_eq!(self.pool.faults_of(kind), made, "{kind}: {:#?}", self.pool.faults().last());
        }
        let report = self.pool.outstanding();
        let asked: usize = self.out.iter().map(|out| out.len).sum();
        let unguarded = self.out.iter().filter(|out| !out.guarded).count();
        assert_eq!((report.blocks, report.bytes), (self.out.len() as u64, asked as u64));
        assert_eq!(report.unattributed(), unguarded as u64);
    }
}

/// Whatever is done in whatever order: each mistake is found, as what it is, and nothing else is taken for one.
#[test]
fn every_mistake_is_found_and_nothing_else() {
    let cases = if cfg!(debug_assertions) { 100 } else { 2000 };
    proptest!(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }, |(steps in steps())| {
        let mut tried = Tried::new();
        for step in &steps {
            tried.step(step);
            tried.compare();
        }
        while tried.leave(0).map(|out| give_back(&tried.pool, out.start, bytes(out.len))).is_some() {}
        tried.compare();
    });
}

/// How long a storm blows: a moment, and for as long as `RHEOSTAT_STORM_S` says.
fn storm() -> Duration {
    let seconds = std::env::var("RHEOSTAT_STORM_S").ok().and_then(|seconds| seconds.parse().ok());
    seconds.map_or(Duration::from_millis(1500), Duration::from_secs)
}

/// Guard and level turn, each by itself, about a thousand times a second while threads allocate by either door, hand
/// blocks to each other and free them: no false alarm, and nothing lost.
#[test]
fn a_storm_of_guards_and_levels_raises_no_alarm() {
    const THREADS: usize = 3;
    const TURNS_MIN: usize = 30;
    enum Kept {
        Block(Block),
        Vec(PoolVec<u8, InPool>),
    }
    let limits = PoolLimits { bytes_max: 64 * MIB };
    let pool = Pool::with_setup("storm", PoolSetup { limits, ..PoolSetup::default() }).unwrap();
    let over = AtomicBool::new(false);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel::<Kept>()).unzip();
    let guarded_blocks = AtomicUsize::new(0);
    let (mut turns, mut guards) = (0, 0);
    thread::scope(|scope| {
        for (index, inbox) in receivers.into_iter().enumerate() {
            let (pool, over, next) = (&pool, &over, senders[(index + 1) % THREADS].clone());
            let guarded_blocks = &guarded_blocks;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(index as u64);
                let mut kept: Vec<Kept> = Vec::new();
                let free = |kept: Kept| {
                    let bytes: &[u8] = match &kept {
                        Kept::Block(block) => block,
                        Kept::Vec(bytes) => bytes,
                    };
                    let pattern = bytes.first().copied().unwrap_or_default();
                    assert!(bytes.iter().all(|&byte| byte == pattern), "somebody else wrote to a block");
                };
                while !over.load(Ordering::Relaxed) {
                    let longest = 1 << random.u32(0..13);
                    // Large ones now and then, which are poisoned, kept, and let go of for each other.
                    let large = if random.u8(0..50) == 0 { 66_000 } else { 0 };
                    let (len, byte) = (1 + large + random.usize(0..longest), random.u8(..));
                    let had = if random.bool() {
                        pool.alloc(len).map(|mut block| {
                            block.fill(byte);
                            guarded_blocks.fetch_add(usize::from(block.is_guarded()), Ordering::Relaxed);
                            Kept::Block(block)
                        })
                    } else {
                        let mut bytes = PoolVec::new_in(InPool((*pool).clone()));
                        match bytes.try_reserve_exact(len) {
                            Ok(()) => {
                                bytes.resize(len, byte);
                                Ok(Kept::Vec(bytes))
                            }
                            Err(_) => Err(PoolError::NotOwner { pool: String::new() }),
                        }
                    };
                    match had {
                        Ok(had) => match random.u8(0..3) {
                            0 => _ = next.send(had).map_err(|unsent| free(unsent.0)),
                            1 => free(had),
                            _ => kept.push(had),
                        },
                        // Level fixed has no large ones.
                        Err(PoolError::NotOwner { .. } | PoolError::TooLong { .. }) => {}
                        Err(refused) => panic!("{refused}"),
                    }
                    inbox.try_iter().for_each(&free);
                    while kept.len() > 100 {
                        free(kept.swap_remove(random.usize(0..kept.len())));
                    }
                }
                kept.into_iter().for_each(&free);
                drop(next);
                inbox.iter().for_each(&free);
            });
        }
        drop(senders);
        let mut random = fastrand::Rng::with_seed(7);
        let began = Instant::now();
        // However busy the machine is, unless the threads have panicked.
        let waits =
            || guarded_blocks.load(Ordering::Relaxed) == 0 && began.elapsed() < storm() + Duration::from_secs(20);
        while began.elapsed() < storm() || turns < TURNS_MIN || waits() {
            // Threads end in the middle of it, with something in their magazines.
            if turns % 16 == 0 {
                let pool = &pool;
                scope.spawn(move || (0..30).for_each(|len| drop(pool.alloc(len))));
            }
            if random.bool() {
                pool.turn_guarded(random.bool());
                guards += 1;
            } else {
                // Refused to more than one thread, for which there is a test elsewhere.
                _ = pool.turn_level(Level::ALL[random.usize(0..Level::ALL.len())]);
            }
            match turns % 50 {
                17 => _ = pool.trim(),
                34 => assert_eq!(pool.check(), 0),
                _ => {}
            }
            turns += 1;
            thread::sleep(Duration::from_millis(1));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(guards > 0 && guarded_blocks.load(Ordering::Relaxed) > 0, "{guards} turns of the guard");
    assert!(pool.faults().is_empty(), "{:#?}", pool.faults());
    assert!(pool.outstanding().is_empty(), "{}", pool.outstanding());
    pool.turn_level(Level::LockFree).unwrap();
    pool.trim();
    assert_eq!(pool.held_bytes(), 0, "what is free is all there is");
}
