//! Steps of protocols by name, so that a test can hold a thread up at each of them, or have it give way there.
//!
//! A step is a load where debug assertions are on, and nothing where they are not, nor under a model, whose scheduler
//! stops threads anywhere.

/// Where a thread can be held up. The name says what has just been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The hand-over of a map has put a plan in force and has yet to wait for those who follow the one before.
    MapPlanned,
    /// A writer has locked the stripe of its key and has yet to look whether the plan is the same still.
    MapLocked,
    /// A key on its way is in both tables, its stripe locked.
    MapCopied,
    /// A key on its way is in the new table only, its stripe locked still.
    MapMoved,
    /// The migrator has met no key any more in a part of the old table and has yet to say so.
    MapSwept,
    /// A turn of a queue has put a structure behind the newest, which producers still fill.
    QueueLinked,
    /// Producers are sent to the new structure, and the old one takes pushes still.
    QueueRedirected,
    /// The old structure takes no push any more, and consumers do not know.
    QueueClosed,
    /// The old structure is sealed, and nobody who sleeps has been told.
    QueueSealed,
    /// A producer has chosen a structure, and has yet to push.
    QueueChosen,
    /// A consumer has found the oldest structure drained and has yet to leave it.
    QueueDrained,
    /// A consumer has left the oldest structure and has yet to retire it.
    QueueLeft,
    /// A writer has claimed a stripe of a flat table that moves.
    FlatClaimed,
    /// The entries of a chain are in the next table, the chain locked and bare of its forward mark.
    FlatCopied,
    /// A stripe is moved and has yet to be counted.
    FlatMoved,
    /// The last stripe is counted, and the table that is empty now is the current one still.
    FlatFinished,
    /// A thread has locked a size class of a pool, or its depot, and has yet to reach for blocks.
    PoolLocked,
}

impl Step {
    /// Every step.
    pub const ALL: [Step; 17] = [
        Step::MapPlanned,
        Step::MapLocked,
        Step::MapCopied,
        Step::MapMoved,
        Step::MapSwept,
        Step::QueueLinked,
        Step::QueueRedirected,
        Step::QueueClosed,
        Step::QueueSealed,
        Step::QueueChosen,
        Step::QueueDrained,
        Step::QueueLeft,
        Step::FlatClaimed,
        Step::FlatCopied,
        Step::FlatMoved,
        Step::FlatFinished,
        Step::PoolLocked,
    ];

    /// Tells the watcher, if there is one, that the calling thread has come to this step.
    #[inline(always)]
    pub(crate) fn reached(self) {
        #[cfg(all(debug_assertions, not(any(rt_loom, rt_shuttle))))]
        watched::tell(self);
    }
}

#[cfg(all(debug_assertions, not(any(rt_loom, rt_shuttle))))]
pub use watched::watch;

#[cfg(all(debug_assertions, not(any(rt_loom, rt_shuttle))))]
mod watched {
    use super::Step;
    use std::sync::OnceLock;

    static WATCHER: OnceLock<fn(Step)> = OnceLock::new();

    /// From now on `watcher` is called at every step by the thread that comes to it, whatever that has locked. Once in
    /// a process.
    ///
    /// # Panics
    /// When there is one already.
    pub fn watch(watcher: fn(Step)) {
        assert!(WATCHER.set(watcher).is_ok(), "the steps of this process are watched already");
    }

    #[inline]
    pub(super) fn tell(step: Step) {
        if let Some(watcher) = WATCHER.get() {
            watcher(step);
        }
    }
}
