//! What was done to a pool that nobody may do, and who did it as far as that is known.

use super::book::{Book, Damage, Record};
use crate::alloc;
use crate::observe::{Moment, THREAD_ROWS, now, row};
use crate::pool::core::LARGE;
use crate::pool::size_class::SizeClass;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{Arc, Mutex, RwLock, thread};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Faults that are kept to be read.
pub const FAULTS_KEPT: usize = 64;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// Bytes behind those asked for were written.
    Overrun,
    /// Bytes before a block were written.
    Underrun,
    /// A block was written to that was free.
    WriteAfterFree,
    /// A block was given back that was free.
    DoubleFree,
    /// A pointer was given back that is in no block of the pool.
    Foreign,
    /// A pointer was given back that is in a block of the pool, and not its beginning.
    Inside,
    /// A block was given back by another layout than it was allocated by.
    Layout,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [FaultKind; 7] = [
        FaultKind::Overrun,
        FaultKind::Underrun,
        FaultKind::WriteAfterFree,
        FaultKind::DoubleFree,
        FaultKind::Foreign,
        FaultKind::Inside,
        FaultKind::Layout,
    ];

    /// The kind as it is spelled in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            FaultKind::Overrun => "overrun",
            FaultKind::Underrun => "underrun",
            FaultKind::WriteAfterFree => "write_after_free",
            FaultKind::DoubleFree => "double_free",
            FaultKind::Foreign => "foreign",
            FaultKind::Inside => "inside",
            FaultKind::Layout => "layout",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the thread that comes upon a fault does, after it has been counted, kept and handed to the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnFault {
    /// It goes on: the pool is as whole as it was, as what the guard sees is kept away from it.
    #[default]
    Count,
    /// It panics with the fault for a message, unless it is panicking already. For tests, which should fail there.
    Panic,
}

/// Who did something to a block, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deed {
    scope: u16,
    row: u16,
    at: Moment,
}

impl Deed {
    /// By the calling thread, now.
    pub(super) fn here(row: usize) -> Self {
        Self { scope: alloc::current_scope(), row: row as u16, at: now() }
    }

    /// The allocation scope the thread was in; `outside` when it was in none or the process does not track.
    pub fn scope(&self) -> &'static str {
        alloc::scope_name(self.scope)
    }

    /// The row of the thread, which is its number in the process for as long as it lives; `None` for a thread that had
    /// to do without one.
    pub fn row(&self) -> Option<usize> {
        Some(usize::from(self.row)).filter(|&row| row < THREAD_ROWS)
    }

    /// When it was.
    pub fn at(&self) -> Moment {
        self.at
    }

    pub(super) fn scope_number(&self) -> u16 {
        self.scope
    }
}

/// A deed as it is told when a fault is found.
struct Told(Deed, Moment);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told(deed, found) = self;
        match deed.row() {
            Some(row) => write!(f, "by thread {row} in scope {}", deed.scope())?,
            None => write!(f, "by a thread without a row in scope {}", deed.scope())?,
        }
        match found.since(deed.at) {
            Duration::ZERO => Ok(()),
            earlier => write!(f, " {earlier:.1?} earlier"),
        }
    }
}

/// Something that was done to a pool and may not be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// What it was.
    pub kind: FaultKind,
    /// The pool.
    pub pool: String,
    /// Where the block begins; for a pointer that is in no block, the pointer.
    pub address: usize,
    /// Where it showed, in bytes from there; before it for an underrun.
    pub offset: isize,
    /// Bytes of the class's blocks; `None` for large blocks and what is no block.
    pub class: Option<usize>,
    /// Bytes that were asked for, where that is known.
    pub len: Option<usize>,
    /// Bytes that were asked for by what was said when it was given back; for faults of layout.
    pub said: Option<usize>,
    /// Who allocated the block; `None` when it was not guarded then, or is not known.
    pub allocated: Option<Deed>,
    /// Who freed it, if it was free.
    pub freed: Option<Deed>,
    /// Who came upon the fault: for what is given back, who did that.
    pub found: Deed,
}

impl Fault {
    /// At the calling thread, of a block as far as it is known.
    pub(super) fn here(kind: FaultKind, pool: String, address: usize, record: Option<&Record>) -> Self {
        let class = record.map(|record| usize::from(record.class)).filter(|&class| class != LARGE);
        Self {
            kind,
            pool,
            address,
            offset: 0,
            class: class.map(|class| SizeClass::at(class).bytes()),
            len: record.filter(|record| record.allocated.is_some()).map(|record| record.len),
            said: None,
            allocated: record.and_then(|record| record.allocated),
            freed: record.and_then(|record| record.freed),
            found: Deed::here(row()),
        }
    }

    /// What shows as damage: by the block that has it, or the next one's.
    pub(super) fn of_damage(damage: Damage, pool: String, book: &Book) -> Self {
        let Damage { start, at, record } = damage;
        if damage.is_front_of_next() && usize::from(record.class) != LARGE {
            let next = start + record.bytes;
            let fault = Self::here(FaultKind::Underrun, pool, next, book.of(next).as_ref());
            return Self { class: Some(record.bytes), offset: at as isize - record.bytes as isize, ..fault };
        }
        let kind = if record.freed.is_some() { FaultKind::WriteAfterFree } else { FaultKind::Overrun };
        Self { offset: at as isize, ..Self::here(kind, pool, start, Some(&record)) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pool, address, offset) = (&self.pool, self.address, self.offset);
        match self.kind {
            FaultKind::Overrun => write!(f, "{pool}: byte {offset} was written of the block at {address:#x}")?,
            FaultKind::Underrun => {
                write!(f, "{pool}: a byte was written {} before the block at {address:#x}", offset.unsigned_abs())?;
            }
            FaultKind::WriteAfterFree => {
                write!(f, "{pool}: byte {offset} was written of the block at {address:#x} after it was freed")?;
            }
            FaultKind::DoubleFree => write!(f, "{pool}: the block at {address:#x} was freed twice")?,
            FaultKind::Foreign => write!(f, "{pool}: {address:#x} was freed, which is in no block of it")?,
            FaultKind::Inside => {
                write!(f, "{pool}: byte {offset} of the block at {address:#x} was freed instead of its first")?;
            }
            FaultKind::Layout => {
                write!(f, "{pool}: the block at {address:#x} was freed by another layout than it was allocated by")?;
                if let Some(said) = self.said {
                    write!(f, ", of {said} bytes")?;
                }
            }
        }
        match (self.len, self.class) {
            (Some(len), Some(class)) => write!(f, "; {len} bytes were asked for, its class is {class}")?,
            (Some(len), None) => write!(f, "; {len} bytes were asked for")?,
            (None, Some(class)) => write!(f, "; its class is {class}")?,
            (None, None) => {}
        }
        if let Some(allocated) = self.allocated {
            write!(f, "; allocated {}", Told(allocated, self.found.at))?;
        }
        if let Some(freed) = self.freed {
            write!(f, "; freed {}", Told(freed, self.found.at))?;
        }
        write!(f, "; found {}", Told(self.found, self.found.at))
    }
}

/// Is told of every fault, on the thread that came upon it.
pub type FaultHandler = dyn Fn(&Fault) + Send + Sync;

/// The faults of a pool.
#[derive(Default)]
pub struct Faults {
    counts: [AtomicU64; FaultKind::ALL.len()],
    last: Mutex<VecDeque<Fault>>,
    handler: RwLock<Option<Arc<FaultHandler>>>,
    policy: OnFault,
}

impl Faults {
    pub fn new(policy: OnFault) -> Self {
        Self { policy, ..Self::default() }
    }

    pub fn count(&self, kind: FaultKind) -> u64 {
        self.counts[kind as usize].load(Relaxed)
    }

    /// Oldest first.
    pub fn last(&self) -> Vec<Fault> {
        self.last.lock().iter().cloned().collect()
    }

    pub fn tell(&self, handler: Arc<FaultHandler>) {
        let before = self.handler.write().replace(handler);
        // With the lock released: what it had may be blocks of this pool, with faults of their own.
        drop(before);
    }

    /// Counts and keeps a fault, tells the handler, and then does what was chosen. The pool has been put in order
    /// before, and no lock or gate of it is held.
    #[cold]
    pub fn raise(&self, fault: Fault) {
        self.counts[fault.kind as usize].fetch_add(1, Relaxed);
        {
            let mut last = self.last.lock();
            if last.len() == FAULTS_KEPT {
                last.pop_front();
            }
            last.push_back(fault.clone());
        }
        // The handler may ask for another, or allocate here.
        let handler = self.handler.read().clone();
        if let Some(handler) = handler {
            handler(&fault);
        }
        if self.policy == OnFault::Panic && !thread::panicking() {
            panic!("{fault}");
        }
    }

    /// Raises a fault and catches the panic that was chosen for it, so that the caller can put things in order first.
    pub fn raise_quietly(&self, fault: Fault) -> std::thread::Result<()> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.raise(fault)))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("counts", &self.counts).field("policy", &self.policy).finish_non_exhaustive()
    }
}
