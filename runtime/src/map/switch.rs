//! Where a map's operations find their table: in front of every operation, and nothing but a branch while no hand-over
//! is under way. `handover` has the protocol and the argument for it.

use super::settled::{Put, PutAbsent, Revise, Take, Touch, View};
use super::structure::{Revision, Structure, Under, hash_at, position};
use crate::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed,
    Ordering::Release,
};
use crate::sync::{Arc, MODELLED, Mutex, MutexGuard, Step};
use std::borrow::Borrow;
use std::hash::Hash;
use std::marker::PhantomData;
use std::ptr;

/// Grace periods, as the protocol needs them: [`reclaim`](crate::reclaim) or a model's own.
///
/// # Safety
/// A switch frees a plan after [`synchronize`](Self::synchronize). That returns only when every guard is gone that was taken
/// before it was called, and what was done under those happened before it returns; what is done under a guard that is taken
/// later happens after what came before the call. [`leave_with`](Self::leave_with) drops the guard it is given.
pub unsafe trait Grace: Send + Sync {
    /// What a reader holds.
    type Guard<'a>
    where
        Self: 'a;
    /// Begins to read.
    fn pin(&self) -> Self::Guard<'_>;
    /// Begins to read, if that can be done at once, as never under a guard of the thread's; `None` says no more than that
    /// [`pin_after_all`](Self::pin_after_all) has to be called.
    fn pin_at_once(&self) -> Option<Self::Guard<'_>> {
        Some(self.pin())
    }
    /// Begins to read where that could not be done at once, unless the thread is where it must not.
    fn pin_after_all(&self) -> Self::Guard<'_> {
        self.pin()
    }
    /// Drops the guard and passes `result` on.
    fn leave_with<R>(guard: Self::Guard<'_>, result: R) -> R {
        drop(guard);
        result
    }
    /// Waits for every guard taken before this call. The caller holds none.
    fn synchronize(&self);
    /// What a guard of [`pin`](Self::pin) or [`pin_at_once`](Self::pin_at_once) is to a structure.
    fn under<'a>(_guard: &'a Self::Guard<'_>) -> Under<'a> {
        Under::NOTHING
    }
}

/// Locks by hash: one while an operation changes a key of its part. A byte each, for the length of a hand-over, and so many
/// because of threads that lose their core with one in hand: until they have it back, all wait who come to that lock, so
/// hardly anybody should.
const STRIPES: usize = if MODELLED { 1 } else { 1 << 16 };

/// What serialises the writers of a key while it may be in either of two tables.
pub(super) struct Stripes {
    locks: Box<[Mutex<()>]>,
    /// Acquisitions that had to wait.
    waits: AtomicU64,
    #[cfg(not(any(rt_loom, rt_shuttle)))]
    stalls: crate::observe::Spread,
}

impl Stripes {
    pub(super) fn new() -> Self {
        Self {
            locks: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            waits: AtomicU64::new(0),
            #[cfg(not(any(rt_loom, rt_shuttle)))]
            stalls: crate::observe::Spread::new(),
        }
    }

    pub(super) fn lock(&self, hash: u64) -> MutexGuard<'_, ()> {
        // By bits that have no part in the order of walks: a migrator that goes by positions would else take one lock
        // thousands of times in a row, and who waits for that would see little of it.
        let lock = &self.locks[hash as usize % STRIPES];
        lock.try_lock().unwrap_or_else(|| self.wait(lock))
    }

    #[cold]
    fn wait<'a>(&self, lock: &'a Mutex<()>) -> MutexGuard<'a, ()> {
        self.waits.fetch_add(1, Relaxed);
        #[cfg(any(rt_loom, rt_shuttle))]
        return lock.lock();
        #[cfg(not(any(rt_loom, rt_shuttle)))]
        {
            let start = crate::observe::now();
            let guard = lock.lock();
            self.stalls.record(start.elapsed().as_nanos() as u64);
            guard
        }
    }

    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub(super) fn waits(&self) -> u64 {
        self.waits.load(Relaxed)
    }

    #[cfg(not(any(rt_loom, rt_shuttle)))]
    pub(super) fn stalls(&self) -> crate::observe::Snapshot {
        self.stalls.snapshot()
    }
}

/// How far a walk over `from` is.
#[derive(Default)]
pub(super) struct Swept {
    /// So many stripes of it, from the first on, hold no key any more (I5).
    stripes: AtomicUsize,
    /// Whether most keys have moved: then reads that may look in either table look in `to` first. A hint.
    most: AtomicBool,
}

impl Swept {
    pub(super) fn stripes(&self) -> usize {
        self.stripes.load(Acquire) // O4
    }

    /// One more stripe is empty.
    pub(super) fn advance(&self, stripes: usize) {
        self.stripes.store(stripes, Release); // O4
    }

    pub(super) fn tell_most_moved(&self) {
        self.most.store(true, Relaxed);
    }

    fn has_passed<K, V>(&self, from: &impl Structure<K, V>, hash: u64) -> bool {
        from.stripe_of(position(hash)) < self.stripes()
    }
}

/// Where keys are, and what an operation has to do. Immutable but for how far a move is; one takes the place of another.
pub(super) enum Plan<S> {
    /// In one table.
    Settled(Arc<S>),
    /// In one table, and writers hold the stripe of their key, so that a hand-over can begin.
    Opening(Arc<S>, Arc<Stripes>),
    /// In `from` or `to`; writers move their key before they change it.
    Moving { from: Arc<S>, to: Arc<S>, stripes: Arc<Stripes>, swept: Arc<Swept> },
    /// In `from` or `to`; writers leave their key where it is and put new ones into `from`.
    Halting { from: Arc<S>, to: Arc<S>, stripes: Arc<Stripes> },
}

impl<S> Plan<S> {
    /// The tables, in the order in which readers look.
    pub(super) fn tables(&self) -> (&Arc<S>, Option<&Arc<S>>) {
        match self {
            Plan::Settled(table) | Plan::Opening(table, _) => (table, None),
            Plan::Moving { from, to, .. } | Plan::Halting { from, to, .. } => (from, Some(to)),
        }
    }
}

/// Where a write goes, for as long as the writer holds this.
pub(super) struct Place<'g, S> {
    pub(super) table: &'g S,
    _stripe: Option<MutexGuard<'g, ()>>,
}

/// The pointer to the plan, and every operation's way through it.
pub struct Switch<K, V, S, G: Grace> {
    plan: AtomicPtr<Plan<S>>,
    /// The table of a settled plan, else null: what the plan says too, one load sooner (handover's I6).
    settled: AtomicPtr<S>,
    /// Whether a reader should try a glance first. Relaxed: nothing but time depends on it.
    glances: AtomicBool,
    grace: G,
    /// Operations that found another plan at their end than at their beginning, and began again.
    retries: AtomicU64,
    entries: PhantomData<fn() -> (K, V)>,
}

// SAFETY: what is behind the pointer is the switch's own `Plan`, whose parts are `Send` and `Sync` when `S` is.
unsafe impl<K, V, S: Send + Sync, G: Grace> Send for Switch<K, V, S, G> {}
// SAFETY: as above.
unsafe impl<K, V, S: Send + Sync, G: Grace> Sync for Switch<K, V, S, G> {}

impl<K, V, S, G> Switch<K, V, S, G>
where
    K: Clone,
    V: Clone,
    S: Structure<K, V>,
    G: Grace,
{
    /// A map that begins in `table`.
    pub fn new(table: S, grace: G) -> Self {
        let glances = AtomicBool::new(table.can_be_glanced_at());
        let table = Arc::new(table);
        let settled = AtomicPtr::new(Arc::as_ptr(&table).cast_mut());
        let plan = Box::into_raw(Box::new(Plan::Settled(table)));
        Self { plan: AtomicPtr::new(plan), settled, glances, grace, retries: AtomicU64::new(0), entries: PhantomData }
    }

    /// The plan in force. It stays in memory while the guard is held (O1).
    #[inline(always)]
    pub(super) fn plan<'g>(&self, _guard: &'g G::Guard<'_>) -> &'g Plan<S> {
        // SAFETY: a plan is freed by `install` after a grace period, and the guard holds that up.
        unsafe { &*self.plan.load(Acquire) }
    }

    pub(super) fn pin(&self) -> G::Guard<'_> {
        self.grace.pin()
    }

    /// Whether `plan` is in force still. Compared by address: under the guard it is not given to another.
    #[inline(always)]
    pub(super) fn is_still(&self, plan: &Plan<S>) -> bool {
        ptr::eq(self.plan.load(Acquire), plan)
    }

    fn again(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// Times an operation had to begin again because the plan changed.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Puts a plan in force, waits for every operation that may follow the one before, and frees that.
    pub(super) fn install(&self, plan: Plan<S>) {
        let table = match &plan {
            Plan::Settled(table) => Arc::as_ptr(table).cast_mut(),
            _ => ptr::null_mut(),
        };
        // Gone before the plan that knows better is there, and back when it is there again (I6).
        if !cfg!(rt_mutant = "handover_settled_stays") {
            self.settled.store(ptr::null_mut(), Release);
        }
        self.glances.store(matches!(&plan, Plan::Settled(table) if table.can_be_glanced_at()), Relaxed);
        let before = self.plan.swap(Box::into_raw(Box::new(plan)), AcqRel);
        if !table.is_null() {
            self.settled.store(table, Release); // O1
        }
        Step::MapPlanned.reached();
        if !cfg!(rt_mutant = "handover_no_synchronize") {
            self.grace.synchronize();
        }
        // SAFETY: it came from `Box::into_raw`, was swapped out once, and those that loaded it are done.
        let before = unsafe { Box::from_raw(before) };
        if cfg!(rt_mutant = "handover_no_synchronize") {
            std::mem::forget(before); // The mutant is to lose updates, not to crash.
        }
    }

    /// The table, while no hand-over is under way; `None` says no more than that the plan has to be asked.
    ///
    /// # Safety
    /// The table is good for as long as the guard is held, wherever that goes meanwhile.
    #[inline(always)]
    unsafe fn settled_while_held(&self, _guard: &G::Guard<'_>) -> Option<&S> {
        // SAFETY: the plan of this table is in force, or the one that takes its place waits for a grace period before it frees
        // it (I6), and the guard holds that up, as the caller sees to.
        unsafe { self.settled.load(Acquire).as_ref() } // O1
    }

    /// Shows the value, once; a `look` that knows that may be one that can be called only once.
    #[inline]
    pub fn view<Q, R>(&self, hash: u64, key: &Q, look: impl FnMut(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        match self.grace.pin_at_once() {
            Some(guard) => self.view_under(guard, hash, key, look),
            None => self.view_after_all(hash, key, look),
        }
    }

    /// A clone of the value.
    #[inline(always)]
    pub fn get<Q>(&self, hash: u64, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        if !self.glances.load(Relaxed) {
            return self.get_without_glance(hash, key);
        }
        let Some(guard) = self.grace.pin_at_once() else { return self.get_without_glance(hash, key) };
        // SAFETY: the guard is held until the end.
        if let Some(table) = unsafe { self.settled_while_held(&guard) }
            && let Some(found) = table.glance(G::under(&guard), hash, key, V::clone)
        {
            return G::leave_with(guard, found);
        }
        self.get_under(guard, hash, key)
    }

    /// A clone of the value, where a glance is no use. This and the next come last, so that a glance saves no registers for
    /// them.
    #[inline(never)]
    fn get_without_glance<Q>(&self, hash: u64, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.view(hash, key, V::clone)
    }

    /// A clone of the value, where a glance did not tell.
    #[cold]
    #[inline(never)]
    fn get_under<'s, Q>(&'s self, guard: G::Guard<'s>, hash: u64, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.view_under(guard, hash, key, V::clone)
    }

    #[inline(always)]
    fn view_under<'s, Q, R>(&'s self, guard: G::Guard<'s>, hash: u64, key: &Q, look: impl FnMut(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        // SAFETY: the guard goes along with the table, and is dropped after the last use of it.
        match unsafe { self.settled_while_held(&guard) } {
            Some(table) => table.perform(View::<G, Q, _> { guard, hash, key, look }),
            None => self.view_in_motion(guard, hash, key, look),
        }
    }

    /// In a thread that holds a guard already, or never held one.
    #[cold]
    #[inline(never)]
    fn view_after_all<Q, R>(&self, hash: u64, key: &Q, look: impl FnMut(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.view_under(self.grace.pin_after_all(), hash, key, look)
    }

    #[cold]
    #[inline(never)]
    fn view_in_motion<Q, R>(&self, guard: G::Guard<'_>, hash: u64, key: &Q, mut look: impl FnMut(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let under = G::under(&guard);
        loop {
            let plan = self.plan(&guard);
            let found = match plan {
                Plan::Settled(table) | Plan::Opening(table, _) => table.view(under, hash, key, &mut look),
                Plan::Moving { from, to, swept, .. } => {
                    look_in_both(&**from, &**to, Some(swept), under, hash, key, &mut look)
                }
                Plan::Halting { from, to, .. } => look_in_both(&**from, &**to, None, under, hash, key, &mut look),
            };
            if found.is_some() || self.is_still(plan) {
                return found;
            }
            self.again();
        }
    }

    /// Where a write of `key` goes. Whoever writes holds the guard and this until it is done.
    fn place<'g, Q>(&self, guard: &'g G::Guard<'_>, hash: u64, key: &Q) -> Place<'g, S>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        loop {
            let plan = self.plan(guard);
            if let Plan::Settled(table) = plan {
                return Place { table, _stripe: None };
            }
            if let Some(place) = self.place_under_stripe(plan, hash, key) {
                return place;
            }
            self.again();
        }
    }

    /// `None` when the plan has changed by the time the stripe is locked.
    #[cold]
    fn place_under_stripe<'g, Q>(&self, plan: &'g Plan<S>, hash: u64, key: &Q) -> Option<Place<'g, S>>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let (Plan::Opening(_, stripes) | Plan::Moving { stripes, .. } | Plan::Halting { stripes, .. }) = plan else {
            return None;
        };
        let stripe = stripes.lock(hash);
        Step::MapLocked.reached();
        if !cfg!(rt_mutant = "handover_no_recheck") && !self.is_still(plan) {
            return None;
        }
        let table = match plan {
            Plan::Settled(table) | Plan::Opening(table, _) => table,
            Plan::Moving { from, to, swept, .. } => {
                if !swept.has_passed(&**from, hash) {
                    carry(&**from, &**to, hash, key);
                }
                to
            }
            Plan::Halting { from, to, .. } => {
                let here = from.view(Under::NOTHING, hash, key, |_| ()).is_some();
                let there = to.view(Under::NOTHING, hash, key, |_| ()).is_some();
                if here && there {
                    // A move that panicked half-way left both, equal: undo it.
                    to.take(Under::NOTHING, hash, key, |_| ());
                }
                if there && !here { to } else { from }
            }
        };
        Some(Place { table, _stripe: Some(stripe) })
    }

    /// Shows the value to one who changes it in place: a write, unlike [`view`](Self::view).
    #[inline]
    pub fn touch<Q, R>(&self, hash: u64, key: &Q, touch: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        match self.grace.pin_at_once() {
            Some(guard) => self.touch_under(guard, hash, key, touch),
            None => aside(|| self.touch_under(self.grace.pin_after_all(), hash, key, touch)),
        }
    }

    #[inline(always)]
    fn touch_under<Q, R>(&self, guard: G::Guard<'_>, hash: u64, key: &Q, touch: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        // SAFETY: the guard goes along with the table, and is dropped after the last use of it.
        match unsafe { self.settled_while_held(&guard) } {
            Some(table) => table.perform(Touch::<G, Q, _> { guard, hash, key, touch }),
            None => aside(move || self.place(&guard, hash, key).table.view(G::under(&guard), hash, key, touch)),
        }
    }

    /// See [`Structure::put`].
    #[inline]
    pub fn put<R>(&self, hash: u64, key: K, value: V, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Hash + Ord,
    {
        match self.grace.pin_at_once() {
            Some(guard) => self.put_under(guard, hash, key, value, look),
            None => aside(|| self.put_under(self.grace.pin_after_all(), hash, key, value, look)),
        }
    }

    #[inline(always)]
    fn put_under<R>(&self, guard: G::Guard<'_>, hash: u64, key: K, value: V, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Hash + Ord,
    {
        // SAFETY: the guard goes along with the table, and is dropped after the last use of it.
        match unsafe { self.settled_while_held(&guard) } {
            Some(table) => table.perform(Put::<K, V, G, _> { guard, hash, key, value, look }),
            None => aside(move || {
                let place = self.place(&guard, hash, &key);
                place.table.put(G::under(&guard), hash, key, value, look)
            }),
        }
    }

    /// See [`Structure::put_absent`].
    #[inline]
    pub fn put_absent(&self, hash: u64, key: K, value: V) -> Result<(), V>
    where
        K: Hash + Ord,
    {
        match self.grace.pin_at_once() {
            Some(guard) => self.put_absent_under(guard, hash, key, value),
            None => aside(|| self.put_absent_under(self.grace.pin_after_all(), hash, key, value)),
        }
    }

    #[inline(always)]
    fn put_absent_under(&self, guard: G::Guard<'_>, hash: u64, key: K, value: V) -> Result<(), V>
    where
        K: Hash + Ord,
    {
        // SAFETY: the guard goes along with the table, and is dropped after the last use of it.
        match unsafe { self.settled_while_held(&guard) } {
            Some(table) => table.perform(PutAbsent::<K, V, G> { guard, hash, key, value }),
            None => aside(move || {
                let place = self.place(&guard, hash, &key);
                place.table.put_absent(G::under(&guard), hash, key, value)
            }),
        }
    }

    /// See [`Structure::revise`].
    #[inline]
    pub fn revise<Q, R>(&self, hash: u64, key: &Q, revise: impl FnMut(&V) -> (Revision<V>, R)) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        match self.grace.pin_at_once() {
            Some(guard) => self.revise_under(guard, hash, key, revise),
            None => aside(|| self.revise_under(self.grace.pin_after_all(), hash, key, revise)),
        }
    }

    #[inline(always)]
    fn revise_under<Q, R>(
        &self,
        guard: G::Guard<'_>,
        hash: u64,
        key: &Q,
        revise: impl FnMut(&V) -> (Revision<V>, R),
    ) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        // SAFETY: the guard goes along with the table, and is dropped after the last use of it.
        match unsafe { self.settled_while_held(&guard) } {
            Some(table) => table.perform(Revise::<G, Q, _> { guard, hash, key, revise }),
            None => aside(move || self.place(&guard, hash, key).table.revise(G::under(&guard), hash, key, revise)),
        }
    }

    /// See [`Structure::take`].
    #[inline]
    pub fn take<Q, R>(&self, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        match self.grace.pin_at_once() {
            Some(guard) => self.take_under(guard, hash, key, look),
            None => aside(|| self.take_under(self.grace.pin_after_all(), hash, key, look)),
        }
    }

    #[inline(always)]
    fn take_under<Q, R>(&self, guard: G::Guard<'_>, hash: u64, key: &Q, look: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        // SAFETY: the guard goes along with the table, and is dropped after the last use of it.
        match unsafe { self.settled_while_held(&guard) } {
            Some(table) => table.perform(Take::<G, Q, _> { guard, hash, key, look }),
            None => aside(move || self.place(&guard, hash, key).table.take(G::under(&guard), hash, key, look)),
        }
    }

    /// How many entries there are. During a hand-over a key in motion may count twice: one for each stripe.
    pub fn len(&self) -> usize {
        let guard = self.grace.pin();
        let (table, other) = self.plan(&guard).tables();
        table.len() + other.map_or(0, |other| other.len())
    }

    /// Whether there are none; may lag as [`len`](Self::len) does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room in the table that new keys go to.
    pub fn reserve(&self, additional: usize) {
        let guard = self.grace.pin();
        let (table, other) = self.plan(&guard).tables();
        other.unwrap_or(table).reserve(additional);
    }

    /// Removes every entry that is there when its turn comes and says how many it removed itself.
    pub fn clear(&self) -> usize
    where
        K: Hash + Ord,
    {
        let guard = self.grace.pin();
        if let Plan::Settled(table) = self.plan(&guard) {
            return table.clear();
        }
        drop(guard);
        // One by one: whoever removes a key while tables change has to hold its stripe.
        let mut keys = Vec::new();
        self.look_through(|position, key, _| keys.push((hash_at(position), key.clone())));
        keys.into_iter().filter(|(hash, key)| self.take(*hash, key, |_| ()).is_some()).count()
    }

    /// Shows every entry, those in motion perhaps twice, and all of them again when the plan changes meanwhile.
    pub fn look_through(&self, mut visit: impl FnMut(u64, &K, &V)) {
        loop {
            let guard = self.grace.pin();
            let plan = self.plan(&guard);
            let (table, other) = plan.tables();
            for table in [Some(table), other].into_iter().flatten() {
                (0..table.stripes()).for_each(|stripe| table.walk(stripe, &mut visit));
            }
            if self.is_still(plan) {
                return;
            }
            self.again();
        }
    }
}

/// Shows the value of a key that may be in either table.
#[cold]
fn look_in_both<K, V, S, Q, R>(
    from: &S,
    to: &S,
    swept: Option<&Swept>,
    under: Under<'_>,
    hash: u64,
    key: &Q,
    mut show: impl FnMut(&V) -> R,
) -> Option<R>
where
    K: Borrow<Q>,
    Q: Hash + Ord + ?Sized,
    S: Structure<K, V>,
{
    if swept.is_some_and(|swept| swept.has_passed(from, hash)) {
        return to.view(under, hash, key, show);
    }
    let there =
        if swept.is_some_and(|swept| swept.most.load(Relaxed)) { to.view(under, hash, key, &mut show) } else { None };
    if cfg!(rt_mutant = "handover_new_then_old") {
        return there
            .or_else(|| to.view(under, hash, key, &mut show))
            .or_else(|| from.view(under, hash, key, &mut show));
    }
    // After a miss in `to` too this order has to be kept: the key may have moved meanwhile.
    there.or_else(|| from.view(under, hash, key, &mut show)).or_else(|| to.view(under, hash, key, &mut show))
}

/// Keeps what is rarely done out of the way of what mostly is: inlined, it would have every operation save registers for it.
#[cold]
#[inline(never)]
fn aside<R>(rare: impl FnOnce() -> R) -> R {
    rare()
}

/// Moves a key to the table that it goes to, if it has not been. Under its stripe. A panic of its `Clone` leaves it where
/// it was; one in between leaves it in both, equal, and the next call completes the move. True when there was one to do.
pub(super) fn carry<K, V, S, Q>(from: &S, to: &S, hash: u64, key: &Q) -> bool
where
    K: Borrow<Q> + Clone,
    V: Clone,
    Q: Hash + Ord + ?Sized,
    S: Structure<K, V>,
{
    let Some((known, value)) = from.copy(hash, key) else { return false };
    if cfg!(rt_mutant = "handover_remove_before_put") {
        from.take(Under::NOTHING, hash, key, |_| ());
        _ = to.put_absent(Under::NOTHING, hash, known, value);
        return true;
    }
    // Refused when a move was broken off before: the copy that is there is equal.
    _ = to.put_absent(Under::NOTHING, hash, known, value);
    Step::MapCopied.reached();
    from.take(Under::NOTHING, hash, key, |_| ());
    Step::MapMoved.reached();
    true
}

impl<K, V, S, G: Grace> Drop for Switch<K, V, S, G> {
    fn drop(&mut self) {
        // SAFETY: the plan in force came from a box, and nobody can be reading it any more.
        drop(unsafe { Box::from_raw(self.plan.load(Relaxed)) });
    }
}

#[cfg(all(test, not(any(rt_loom, rt_shuttle))))]
mod tests {
    use super::super::{Backend, Map};
    use super::*;
    use crate::sync::thread;

    /// Whether operations find the table without the plan, and whether reads begin with a glance.
    fn short_ways(map: &Map<u64, u64>) -> [bool; 2] {
        [!map.switch.settled.load(Acquire).is_null(), map.switch.glances.load(Relaxed)]
    }

    #[test]
    fn a_map_that_was_handed_over_or_came_back_is_as_quick_as_one_that_began_there() {
        let began_on = Backend::ALL.map(|backend| (backend, short_ways(&Map::new(backend))));
        let expected = |backend| began_on.iter().find(|(known, _)| *known == backend).unwrap().1;
        assert!(began_on.iter().all(|(_, [settled, _])| *settled));
        assert!(expected(Backend::Flat)[1], "plain data in place is worth a glance");
        for from in Backend::ALL {
            for to in Backend::ALL {
                let map = Map::<u64, u64>::new(from);
                (0..100).for_each(|key| _ = map.insert(key, key));
                map.turn(to).unwrap().wait(None);
                assert_eq!((map.backend(), short_ways(&map)), (to, expected(to)), "from {from}");
                // Nothing moves while this guard is held, so it is called back in time.
                let guard = crate::reclaim::pin();
                let handover = map.turn(from).unwrap();
                handover.cancel();
                drop(guard);
                handover.wait(None);
                assert_eq!((map.backend(), short_ways(&map)), (to, expected(to)), "called back from {from}");
            }
        }
    }

    #[test]
    fn who_waits_for_a_stripe_is_counted_and_timed() {
        let stripes = Stripes::new();
        let held = stripes.lock(7);
        thread::scope(|scope| {
            scope.spawn(|| drop(stripes.lock(7)));
            while stripes.waits() == 0 {
                thread::yield_now();
            }
            drop(held);
        });
        drop(stripes.lock(7));
        assert_eq!((stripes.waits(), stripes.stalls().count()), (1, 1));
    }
}
