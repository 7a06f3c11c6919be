//! The pool that threads allocate from and a host turns: `pool.NAME`.

use super::adaptive::Decision;
use super::block::Block;
use super::core::{Core, LARGE};
use super::error::{LevelRefused, LevelTurned, PoolError, PoolLimits, PoolSetupError};
use super::guard::Door;
use super::level::{Level, LevelAsked, LevelError};
use super::row::Event;
use super::setup::PoolSetup;
use super::size_class::{ALIGNMENT_MAX, Fit, SizeClass};
use super::tending::Tending;
use crate::observe::families::{
    POOL_ALLOCS, POOL_CACHE_FILLS, POOL_CACHE_FLUSHES, POOL_CAS_FAILURES, POOL_DEPOT_EXCHANGES, POOL_FREES, POOL_LEVEL,
    POOL_LIMIT, POOL_LIVE, POOL_LOCK_CONTENTIONS, POOL_MAPPED, POOL_REFUSALS, POOL_REMOTE_FREES, POOL_REQUESTED,
    POOL_SLABS,
};
use crate::observe::{
    Address, Kind, Knob, Moment, OwnTurn, Range, Reading, Resource, TurnError, Turned, Value, now, words,
};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Arc, Mutex};
use std::fmt;

const LINE_BYTES: usize = 64;
const LEVEL: &str = "level";
const LEVEL_HELP: &str =
    "Concurrency level; at auto the pool chooses. Blocks in use stay valid; free ones are handed over.";
const GUARDED: &str = "guarded";
const GUARDED_HELP: &str =
    "Whether overruns, writes after a free, double and foreign frees are caught; costs time and memory while it is on.";
const SWITCH: [&str; 2] = ["off", "on"];
const LEVELS: Range = Range::Choice(&words!(LevelAsked));

/// A pool of blocks, at the address `pool.NAME`; its knobs are `level` and `guarded`.
///
/// ```
/// use rheostat_runtime::pool::{Level, Pool, PoolLimits};
///
/// let pool = Pool::new("batches", Level::ThreadCached, PoolLimits::default()).unwrap();
/// let mut block = pool.alloc(1000).unwrap();
/// block.fill(7);
/// pool.turn_level(Level::LockFree).unwrap();
/// assert_eq!((block.len(), block.capacity(), block[999]), (1000, 1024, 7));
/// ```
pub struct Pool {
    address: Address,
    core: Arc<Core>,
    /// What is asked for, by its word. Written with `tending` held, so that who chooses a level and who says one take turns.
    asked: AtomicU32,
    tending: Mutex<Tending>,
}

impl Pool {
    /// A pool at a level, or one that chooses. At `fixed` it takes all its memory now, otherwise as blocks are needed.
    ///
    /// # Errors
    /// When `name` breaks the rule for names, or the system refuses the addresses, or the memory of a fixed pool.
    pub fn new(name: &str, level: impl Into<LevelAsked>, limits: PoolLimits) -> Result<Arc<Pool>, PoolSetupError> {
        Self::with_setup(name, PoolSetup { level: level.into(), limits, ..PoolSetup::default() })
    }

    /// A pool made as the setup says.
    ///
    /// # Errors
    /// As for [`new`](Self::new), and for an alignment that is none or too coarse, and when the system refuses the memory
    /// that is to be there from the start.
    pub fn with_setup(name: &str, setup: PoolSetup) -> Result<Arc<Pool>, PoolSetupError> {
        let address = Address::new(Kind::Pool, name)?;
        let (pool, alignment) = (|| address.to_string(), setup.alignment);
        let refused = || PoolSetupError::Alignment { pool: pool(), alignment, max: PoolSetup::ALIGNMENTS_MAX };
        let fit = Fit::aligned(alignment).ok_or_else(refused)?;
        let refused = || PoolSetupError::System { pool: pool(), bytes: setup.limits.bytes_max };
        let tending = Tending::new(&setup);
        let level = match setup.level {
            LevelAsked::At(level) => level,
            LevelAsked::Auto => tending.start(),
        };
        let core = Core::new(name, level, fit, &setup).ok_or_else(refused)?;
        let asked = AtomicU32::new(setup.level.word());
        Ok(Arc::new(Pool { address, core, asked, tending: Mutex::new(tending) }))
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The level in force.
    pub fn level(&self) -> Level {
        self.core.stock.level().expect("a pool is closed when nobody has it any more")
    }

    /// The level that was asked for, or that the pool chooses.
    pub fn level_asked(&self) -> LevelAsked {
        LevelAsked::from_word(self.asked.load(Ordering::Relaxed))
    }

    /// Turns to another level. Other threads allocate and free meanwhile; blocks in use stay valid and are freed by the
    /// level that is then in force. Takes as long as the slowest operation under way, some microseconds, and time in
    /// proportion to the free blocks in magazines.
    ///
    /// Turned to [`Auto`](LevelAsked::Auto) it stays where it is and from then on turns itself whenever it is tended
    /// ([`Resource::tend`]) and has seen reason to. A level that it would not choose, `unlocked` or `fixed`, is left when it
    /// is next tended.
    ///
    /// # Errors
    /// To `unlocked` when more than one living thread has used the pool; to `fixed` when more is given out than the
    /// limit, or the system has not the memory. The pool then runs on as it was, and goes on choosing if it did.
    pub fn turn_level(&self, to: impl Into<LevelAsked>) -> Result<LevelTurned, LevelRefused> {
        let turned = self.turn_asked(to.into());
        self.core.raise_found(); // A handler may turn the level too.
        turned
    }

    fn turn_asked(&self, asked: LevelAsked) -> Result<LevelTurned, LevelRefused> {
        let mut tending = self.tending.lock();
        let level = match asked {
            LevelAsked::At(level) => level,
            LevelAsked::Auto => self.level(),
        };
        let turned = self.core.turn(level)?;
        if self.level_asked() != asked {
            self.asked.store(asked.word(), Ordering::Relaxed);
            tending.forget();
        }
        Ok(turned)
    }

    /// Bytes held from the system now: carved for blocks, in use or free, and large blocks.
    pub fn held_bytes(&self) -> usize {
        self.core.ground.held()
    }

    /// Gives what idles back to the system: magazines are emptied, chunks without blocks in use released, as are large
    /// blocks that were kept. Says how many bytes that is. A fixed pool keeps everything.
    pub fn trim(&self) -> usize {
        self.core.trim(0)
    }

    /// A block of `len` bytes. They may hold what an earlier holder wrote. What it costs, and who may have to wait for whom, is
    /// said at [`Level`]; more than 64 KiB takes a lock, and a system call unless a region that fits was kept.
    ///
    /// # Errors
    /// When the pool is at its limit or the system out of memory; at `unlocked`, to all threads but the first that
    /// allocated; at `fixed`, for more than 64 KiB.
    #[inline]
    pub fn alloc(&self, len: usize) -> Result<Block, PoolError> {
        match self.core.fit.class(len) {
            Some(class) => self.alloc_class(class, len),
            None => self.alloc_large(len, false),
        }
    }

    /// A block of `len` bytes, all zero.
    ///
    /// # Errors
    /// As for [`alloc`](Self::alloc).
    pub fn alloc_zeroed(&self, len: usize) -> Result<Block, PoolError> {
        match self.core.fit.class(len) {
            Some(class) => self.alloc_class(class, len).map(|mut block| {
                block.fill(0);
                block
            }),
            None => self.alloc_large(len, true),
        }
    }

    /// A block of `len` bytes that starts on a cache line (64 bytes).
    ///
    /// # Errors
    /// As for [`alloc`](Self::alloc).
    #[inline]
    pub fn alloc_aligned(&self, len: usize) -> Result<Block, PoolError> {
        self.alloc_aligned_to(len, LINE_BYTES)
    }

    /// A block of `len` bytes that starts at a multiple of `alignment`, a power of two up to 4096.
    ///
    /// # Errors
    /// As for [`alloc`](Self::alloc), and for any other alignment.
    #[inline]
    pub fn alloc_aligned_to(&self, len: usize, alignment: usize) -> Result<Block, PoolError> {
        if !alignment.is_power_of_two() || alignment > ALIGNMENT_MAX {
            return Err(PoolError::Alignment { pool: self.core.address(), alignment, max: ALIGNMENT_MAX });
        }
        match SizeClass::aligned_of(len, alignment.max(self.core.fit.alignment())) {
            Some(class) => self.alloc_class(class, len),
            None => self.alloc_large(len, false),
        }
    }

    #[inline(always)]
    fn alloc_class(&self, class: SizeClass, len: usize) -> Result<Block, PoolError> {
        let (start, row, tag) = self.core.alloc(class, len, Door::Block)?;
        // SAFETY: just allocated so.
        Ok(unsafe { Block::new(&self.core, start, tag, row, len) })
    }

    #[cold]
    #[inline(never)]
    fn alloc_large(&self, len: usize, zeroed: bool) -> Result<Block, PoolError> {
        let (start, row, tag, used) = self.core.alloc_large(len, Door::Block)?;
        // SAFETY: just allocated so.
        let mut block = unsafe { Block::new(&self.core, start, tag, row, len) };
        if zeroed && used {
            block.fill(0);
        }
        Ok(block)
    }

    /// Says what is known of one class, if it was ever used.
    fn read_class(&self, reading: &mut Reading, class: SizeClass) {
        let counts = self.core.counts(class.index());
        if counts.is_untouched() {
            return;
        }
        let labels = &[class.label()];
        let extent = self.core.ground.extent(class.index());
        reading.total(&POOL_ALLOCS, labels, counts.allocs);
        reading.total(&POOL_FREES, labels, counts.frees);
        reading.level(&POOL_LIVE, labels, (counts.live() * class.bytes() as u64) as f64);
        reading.level(&POOL_REQUESTED, labels, counts.requested_bytes() as f64);
        reading.level(&POOL_SLABS, labels, extent.carved as f64);
        reading.level(&POOL_MAPPED, labels, extent.chunks as f64);
        reading.total(&POOL_REFUSALS, labels, counts.of(Event::Refusal));
        reading.total(&POOL_REMOTE_FREES, labels, counts.of(Event::RemoteFree));
        reading.total(&POOL_CACHE_FILLS, labels, counts.of(Event::Fill));
        reading.total(&POOL_CACHE_FLUSHES, labels, counts.of(Event::Flush));
        reading.total(&POOL_DEPOT_EXCHANGES, labels, counts.of(Event::Exchange));
        reading.total(&POOL_LOCK_CONTENTIONS, labels, counts.of(Event::LockWait));
        reading.total(&POOL_CAS_FAILURES, labels, counts.of(Event::CasFailure));
    }

    /// Large blocks have no cache, no chunk, and no lock that is worth counting.
    fn read_large(&self, reading: &mut Reading) {
        let counts = self.core.counts(LARGE);
        if counts.is_untouched() {
            return;
        }
        let labels = &["large"];
        let (live, kept) = self.core.large.bytes();
        reading.total(&POOL_ALLOCS, labels, counts.allocs);
        reading.total(&POOL_FREES, labels, counts.frees);
        reading.level(&POOL_LIVE, labels, live as f64);
        reading.level(&POOL_REQUESTED, labels, counts.requested_bytes() as f64);
        reading.level(&POOL_SLABS, labels, (live + kept) as f64);
        reading.level(&POOL_MAPPED, labels, (live + kept) as f64);
        reading.total(&POOL_REFUSALS, labels, counts.of(Event::Refusal));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.core.close();
    }
}

impl Resource for Pool {
    fn address(&self) -> &Address {
        &self.address
    }

    fn read(&self, reading: &mut Reading) {
        SizeClass::all().for_each(|class| self.read_class(reading, class));
        self.read_large(reading);
        let in_force = self.level();
        for level in Level::ALL {
            reading.level(&POOL_LEVEL, &[level.as_str()], f64::from(u8::from(level == in_force)));
        }
        self.core.guard.read(reading);
        reading.level(&POOL_LIMIT, &[], self.core.ground.bytes_max() as f64);
    }

    fn knobs(&self) -> Vec<Knob> {
        let value = word(self.level_asked());
        let level = Knob { name: LEVEL, value, range: LEVELS, unit: "", help: LEVEL_HELP };
        let (value, range) = (switched(self.is_guarded()), Range::Choice(&SWITCH));
        vec![level, Knob { name: GUARDED, value, range, unit: "", help: GUARDED_HELP }]
    }

    fn turn(&self, knob: &str, to: &Value) -> Result<Turned, TurnError> {
        if knob == GUARDED {
            Range::Choice(&SWITCH).check(GUARDED, to)?;
            let began = now();
            let from = self.turn_guarded(*to == switched(true));
            let settled = self.core.is_settled();
            return Ok(Turned { from: switched(from), to: to.clone(), took: began.elapsed(), settled, reason: None });
        }
        if knob != LEVEL {
            let (resource, knob) = (self.address.to_string(), knob.to_owned());
            return Err(TurnError::UnknownKnob { resource, knob, has: vec![LEVEL.to_owned(), GUARDED.to_owned()] });
        }
        LEVELS.check(LEVEL, to)?;
        let asked: LevelAsked = to.to_string().parse().map_err(|unknown: LevelError| failed(&unknown))?;
        let (began, from) = (now(), self.level_asked());
        self.turn_level(asked).map_err(|refused| failed(&refused))?;
        Ok(Turned { from: word(from), to: to.clone(), took: began.elapsed(), settled: true, reason: None })
    }

    fn settled(&self, knob: &str, to: &Value) -> Option<Result<(), TurnError>> {
        if knob == GUARDED && self.is_guarded() != (*to == switched(true)) {
            let why = "it was turned again before all that was guarded had come home".to_owned();
            return Some(Err(TurnError::Failed { knob: GUARDED.to_owned(), why }));
        }
        (knob != GUARDED || self.core.is_settled()).then_some(Ok(()))
    }

    fn tend(&self, at: Moment) -> Option<OwnTurn> {
        if self.level_asked() != LevelAsked::Auto {
            return None;
        }
        // Whoever turns it holds this, perhaps for long; there will be another look.
        let mut tending = self.tending.try_lock().filter(|_| self.level_asked() == LevelAsked::Auto)?;
        let from = self.level();
        let Decision { to, reason } = tending.look(at, &self.core, from)?;
        let began = now();
        let turned = self.core.turn(to).map(|_| began.elapsed()).map_err(|refused| failed(&refused));
        drop(tending);
        self.core.raise_found();
        Some(OwnTurn { knob: LEVEL, from: word(from.into()), to: word(to.into()), reason, turned })
    }
}

fn word(asked: LevelAsked) -> Value {
    Value::Choice(asked.as_str().to_owned())
}

fn failed(why: &dyn fmt::Display) -> TurnError {
    TurnError::Failed { knob: LEVEL.to_owned(), why: why.to_string() }
}

fn switched(on: bool) -> Value {
    Value::Choice(SWITCH[usize::from(on)].to_owned())
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.to_string();
        f.debug_struct("Pool").field("address", &address).field("level", &self.level()).finish_non_exhaustive()
    }
}
