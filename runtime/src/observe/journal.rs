//! Who turned what, when, from, to, why, and how long the hand-over took.

use super::{Address, Value};
use crate::sync::{Mutex, RwLock};
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, SystemTime};

/// Changes kept in memory; a host that wants more appends them to a file through [`Journal::on_change`].
const KEPT: usize = 4096;

/// Characters of a reason; what is longer is cut.
const REASON_CHARS_MAX: usize = 400;

/// Who turned a knob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person or program at the API: `uid 1000`, `token`.
    User(String),
    /// A workload run, by its id.
    Run(String),
    /// Code in this process.
    Process,
    /// The resource itself.
    Auto,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::User(who) => f.write_str(who),
            Actor::Run(id) => write!(f, "run {id}"),
            Actor::Process => f.write_str("process"),
            Actor::Auto => f.write_str("auto"),
        }
    }
}

/// How a change ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// In force, hand-over done.
    Applied,
    /// In force, hand-over still settling when the turn returned; how it ends takes this one's place.
    Settling,
    /// Refused or undone, with the reason.
    Failed(String),
    /// Nobody saw how it ended, and why that is so.
    Unknown(String),
}

/// One turned knob.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Rises by one with each change of this journal.
    pub id: u64,
    /// Wall-clock time at which the turn had been made.
    pub at: SystemTime,
    /// Who turned it.
    pub actor: Actor,
    /// The resource.
    pub address: Address,
    /// Its knob.
    pub knob: String,
    /// Value before.
    pub from: Value,
    /// Value asked for.
    pub to: Value,
    /// How it ended.
    pub outcome: Outcome,
    /// How long the hand-over took; so far, while it is settling.
    pub took: Duration,
    /// Why it was turned, where whoever turned it said so: the resource itself does, also of what it turned back. At most
    /// 400 characters.
    pub reason: Option<String>,
}

type Listener = Box<dyn Fn(&Change) + Send + Sync>;

/// The changes of a registry, newest last, the last 4096 kept.
#[derive(Default)]
pub struct Journal {
    kept: Mutex<Kept>,
    listener: RwLock<Option<Listener>>,
}

#[derive(Default)]
struct Kept {
    changes: VecDeque<Change>,
    last_id: u64,
}

impl Journal {
    /// Makes `listener` hear of every change, in order of id, before the turn that made it returns; and once more of one
    /// that was settling then, when it has ended.
    pub fn on_change(&self, listener: impl Fn(&Change) + Send + Sync + 'static) {
        *self.listener.write() = Some(Box::new(listener));
    }

    /// Continues after changes that an earlier process left behind.
    pub fn resume(&self, earlier: impl IntoIterator<Item = Change>) {
        let mut kept = self.kept.lock();
        for change in earlier {
            kept.last_id = kept.last_id.max(change.id);
            kept.keep(change);
        }
    }

    /// The changes after `id`, oldest first.
    pub fn since(&self, id: u64) -> Vec<Change> {
        self.kept.lock().changes.iter().filter(|change| change.id > id).cloned().collect()
    }

    /// The id of the newest change; 0 before the first.
    pub fn last_id(&self) -> u64 {
        self.kept.lock().last_id
    }

    /// Keeps the change that `make` makes of its id and the time.
    pub(super) fn record(&self, make: impl FnOnce(u64, SystemTime) -> Change) -> Change {
        let mut kept = self.kept.lock();
        kept.last_id += 1;
        let mut change = make(kept.last_id, SystemTime::now());
        if let Some(reason) = &mut change.reason
            && let Some((cut, _)) = reason.char_indices().nth(REASON_CHARS_MAX)
        {
            reason.truncate(cut);
        }
        kept.keep(change.clone());
        // Under the lock, so that listeners hear of changes in the order of their ids.
        if let Some(listener) = &*self.listener.read() {
            listener(&change);
        }
        change
    }

    /// Says how a change ended that was settling when it was recorded.
    pub(super) fn end(&self, ended: &Change) {
        let mut kept = self.kept.lock();
        if let Ok(index) = kept.changes.binary_search_by_key(&ended.id, |change| change.id) {
            kept.changes[index] = ended.clone();
        }
        if let Some(listener) = &*self.listener.read() {
            listener(ended);
        }
    }
}

impl Kept {
    fn keep(&mut self, change: Change) {
        if self.changes.len() == KEPT {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }
}
