//! Scopes, and which one a thread is in.
//!
//! Writers: the thread-local cells, their thread alone.
//! I1  `TALLY` is null, or points into the row that this thread holds; rows are never freed (I2 of the ledger), so it
//!     can be followed. It is null before the thread has a row and after it gave it back.
//! I2  Nothing here allocates while a thread is on its way to a row but the registration of `TENANCY`, which may; what
//!     is allocated then is counted in the shared tally, because `SEAT` says so.

use super::ledger::{Class, Counts, Ledger, OTHER, OUTSIDE, Row, SCOPES, Tally};
use super::profile::{self, Sampled};
use crate::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};
use crate::sync::{Mutex, OnceLock};
use std::cell::Cell;
use std::marker::PhantomData;

/// Scopes that are told apart at a time; further ones are counted as one, under [`Class::Other`].
pub const SCOPES_MAX: usize = SCOPES - OTHER - 1;

/// Names of scopes that a process can tell apart in its life; a scope whose name is one too many is called `other`.
/// They are kept to its end, 64 KiB at most: what was sampled in a scope may outlive it.
pub const NAMES_MAX: usize = 512;
/// The number of `other`.
pub(super) const OTHER_NAME: u16 = OTHER as u16;
const NAME_BYTES_MAX: usize = 128;

/// By number; [`OUTSIDE`] and [`OTHER`] are named for good.
static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
/// The name of the scope that has a place. Relaxed: written before a thread can be in that scope.
static NAME_AT: [AtomicU16; SCOPES] = [const { AtomicU16::new(0) }; SCOPES];

static LEDGER: OnceLock<Ledger> = OnceLock::new();
/// Set by the first allocation that comes through [`Tracked`](super::Tracked).
static TRACKED: AtomicBool = AtomicBool::new(false);

fn ledger() -> &'static Ledger {
    LEDGER.get_or_init(Ledger::new)
}

/// Where a thread stands with its row.
#[derive(Clone, Copy)]
enum Seat {
    /// It has not asked for one.
    Unasked,
    /// It is asking, or has been refused, or has given its row back.
    None,
    /// It holds this one.
    Taken(&'static Row),
}

thread_local! {
    // Const and without a destructor, so that reading it is one load, and right at any time of a thread's life.
    static TALLY: Cell<*const Tally> = const { Cell::new(std::ptr::null()) };
    static SEAT: Cell<Seat> = const { Cell::new(Seat::Unasked) };
    static TENANCY: Cell<Option<Tenancy>> = const { Cell::new(None) };
}

/// Gives the row back when its thread ends.
struct Tenancy(&'static Row);

impl Drop for Tenancy {
    fn drop(&mut self) {
        // What this thread still does after this point goes to the shared tally.
        TALLY.set(std::ptr::null());
        SEAT.set(Seat::None);
        self.0.give_back();
    }
}

/// Counts a block allocated by the calling thread.
#[inline(always)]
pub(super) fn allocated(bytes: usize) {
    // SAFETY: null or a tally of this thread's row (I1).
    match unsafe { TALLY.get().as_ref() } {
        Some(tally) => tally.allocated(bytes),
        None => first(Counts::allocation(bytes)),
    }
}

/// Counts a block freed by the calling thread.
#[inline(always)]
pub(super) fn freed(bytes: usize) {
    // SAFETY: null or a tally of this thread's row (I1).
    match unsafe { TALLY.get().as_ref() } {
        Some(tally) => tally.freed(bytes),
        None => first(Counts::free(bytes)),
    }
}

/// Counts for a thread that has no row: on its way to one, or on its way out.
#[cold]
fn first(counts: Counts) {
    TRACKED.store(true, Relaxed);
    seat();
    ledger().add_shared(counts);
}

/// The row of the calling thread, taken if it has none yet. It is then outside of every scope.
fn seat() -> Option<&'static Row> {
    match SEAT.get() {
        Seat::Taken(row) => Some(row),
        Seat::None => None,
        Seat::Unasked => {
            SEAT.set(Seat::None); // I2
            let row = ledger().take_row()?;
            if TENANCY.try_with(|tenancy| tenancy.set(Some(Tenancy(row)))).is_err() {
                // A thread that is being torn down cannot promise to give a row back.
                row.give_back();
                return None;
            }
            SEAT.set(Seat::Taken(row));
            TALLY.set(row.tally(OUTSIDE));
            Some(row)
        }
    }
}

/// True once something was allocated through [`Tracked`](super::Tracked): the process has opted in.
pub fn is_tracked() -> bool {
    TRACKED.load(Relaxed)
}

/// What every class of scopes has come to since the process started; their sum is what the process did. A class counts
/// scopes that have ended too. `None` in a process that does not track.
pub fn totals() -> Option<[(Class, Counts); Class::ALL.len()]> {
    is_tracked().then(|| ledger().totals())
}

/// Scopes open now that are told apart.
pub fn open_scopes() -> usize {
    ledger().open_scopes()
}

/// The name of a number that was given to one.
pub(crate) fn name(number: u16) -> &'static str {
    match usize::from(number) {
        OUTSIDE => Class::Outside.as_str(),
        OTHER => Class::Other.as_str(),
        number => NAMES.lock()[number - OTHER - 1],
    }
}

fn number_of(name: &str) -> u16 {
    let mut names = NAMES.lock();
    let known = names.iter().position(|known| *known == name);
    let index = known.unwrap_or(names.len());
    if index == names.len() {
        if index >= NAMES_MAX - OTHER - 1 {
            return OTHER_NAME;
        }
        names.push(name.chars().take(NAME_BYTES_MAX / 4).collect::<String>().leak());
    }
    (index + OTHER + 1) as u16
}

/// The number of the name of the scope that the calling thread is in.
pub(crate) fn current_name() -> u16 {
    match SEAT.get() {
        Seat::Taken(row) => NAME_AT[row.place_of(TALLY.get())].load(Relaxed),
        Seat::Unasked | Seat::None => OUTSIDE as u16,
    }
}

/// Work that allocations are charged to: a stage, the source of a pipeline, the workers of a run.
///
/// Threads enter it; what they allocate and free while they are in it is counted in it. A scope that is one too many
/// ([`SCOPES_MAX`]) is counted with the others of its kind under [`Class::Other`], and says nothing of its own.
///
/// ```
/// use rheostat_runtime::alloc::{Class, Scope, Tracked};
///
/// #[global_allocator]
/// static GLOBAL: Tracked<std::alloc::System> = Tracked::new(std::alloc::System);
///
/// let parsing = Scope::new(Class::Other, "parsing");
/// let parsed = {
///     let _in = parsing.enter();
///     vec![0u8; 1000]
/// };
/// assert_eq!(parsing.counts().unwrap().allocated_bytes, 1000);
/// drop(parsed); // Freed elsewhere: the scope's own count of freed bytes stays.
/// assert_eq!(parsing.counts().unwrap().freed_bytes, 0);
/// ```
#[derive(Debug)]
pub struct Scope {
    place: usize,
}

impl Scope {
    /// A scope in which nothing was done yet. Its name is what heap profiles call it: the address of the resource, if
    /// it is one's. Takes a lock; for when work is set up, not for when it is done.
    pub fn new(class: Class, name: &str) -> Self {
        let place = ledger().open(class);
        let number = if place == OTHER { OTHER_NAME } else { number_of(name) };
        NAME_AT[place].store(number, Relaxed);
        Self { place }
    }

    /// Charges what the calling thread does to this scope, until the guard is dropped; the scope it was in before then
    /// goes on. Two thread-local stores; the first time in a thread's life it takes a row too. Guards are dropped in
    /// the reverse order of their making, or the scope that a thread is in is not the one it looks.
    #[inline]
    pub fn enter(&self) -> Entered<'_> {
        let row = if is_tracked() { seat() } else { None };
        let before = row.map(|row| TALLY.replace(row.tally(self.place)));
        Entered { before, scope: PhantomData }
    }

    /// What was done in it so far. `None` if it is not told apart, or the process does not track.
    pub fn counts(&self) -> Option<Counts> {
        (self.place != OTHER && is_tracked()).then(|| ledger().counts(self.place))
    }

    /// What samples say of the scopes of its name; `None` if it is not told apart, or nobody has asked for samples yet.
    pub fn sampled(&self) -> Option<Sampled> {
        let name = NAME_AT[self.place].load(Relaxed);
        if name == OTHER_NAME { None } else { profile::of_scope(name) }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        ledger().close(self.place);
    }
}

/// The calling thread is in a scope for as long as this lives.
#[derive(Debug)]
#[must_use = "the scope is left when the guard is dropped"]
pub struct Entered<'s> {
    /// `None` when nothing is counted on this thread.
    before: Option<*const Tally>,
    /// Also keeps the guard on its thread.
    scope: PhantomData<(&'s Scope, *const ())>,
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        // A thread that has given its row back meanwhile must not count in it (I1).
        if let (Some(before), Seat::Taken(_)) = (self.before, SEAT.get()) {
            TALLY.set(before);
        }
    }
}
