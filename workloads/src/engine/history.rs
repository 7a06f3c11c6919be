//! What workers asked of keys and were answered, and whether some order of it explains every answer.

use super::ledger::MapBook;
use rheostat_api as api;
use rheostat_linearize::{
    Limits, Log, Operation, Recorder, Register, RegisterCall, RegisterReturn, Verdict, check, split,
};
use rheostat_runtime::observe::now;
use std::time::Duration;

/// Operations on keys with what they returned.
pub(super) type History = Vec<Operation<(u64, RegisterCall), RegisterReturn>>;

/// Time for one key's operations, and for all: a history that takes longer is not decided.
const KEY_LIMITS: Limits = Limits { time: Duration::from_secs(10), memory_bytes: 256 << 20 };
const TIME_MAX: Duration = Duration::from_secs(60);

/// What a worker keeps while it loads a map: its book, and its part of the history where one is checked.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub book: MapBook,
    log: Option<Log<(u64, RegisterCall), RegisterReturn>>,
}

impl Desk {
    /// The desk of a worker; what it does is noted if there is a recorder.
    pub fn new(recorder: Option<&Recorder>, worker: u64) -> Self {
        Self { book: MapBook::default(), log: recorder.map(|recorder| recorder.log(worker as usize)) }
    }

    /// Performs an operation on a key, and notes it: `found` says what was there before.
    #[inline]
    pub fn record<T>(
        &mut self,
        key: u64,
        call: RegisterCall,
        perform: impl FnOnce() -> T,
        found: impl FnOnce(&T) -> Option<i64>,
    ) -> T {
        let Some(log) = &mut self.log else { return perform() };
        let mut answer = None;
        log.record((key, call), |_| RegisterReturn::Found(found(answer.insert(perform()))));
        answer.expect("performed just now")
    }

    /// The book, and the worker's part of the history.
    pub fn close(self) -> (MapBook, History) {
        (self.book, self.log.map(Log::into_operations).unwrap_or_default())
    }
}

/// Whether what was asked of a target's keys, from when it was made, can have been done in some order that keeps to the
/// times of the operations.
pub(super) fn judge(target: &str, history: History) -> api::Check {
    let began = now();
    let (mut keys, mut compared, mut undecided, mut violation) = (0, 0, 0, None);
    for (key, operations) in split(history) {
        let verdict = if began.elapsed() < TIME_MAX {
            check(&Register, &operations, KEY_LIMITS)
        } else {
            undecided += 1;
            continue;
        };
        match verdict {
            Verdict::Linearizable => {}
            Verdict::Undecided(_) => {
                undecided += 1;
                continue;
            }
            Verdict::Violation(found) => violation = violation.or(Some((key, found))),
        }
        keys += 1;
        compared += operations.len() as u64;
    }
    let detail = match &violation {
        Some((key, found)) => {
            let culprit = found.culprit();
            let could = found.could_return().iter().map(|returned| format!("{returned:?}"));
            let could = could.collect::<Vec<_>>().join(" or ");
            let returned = culprit.returned;
            format!(
                "{target}: of key {key:016x} nothing explains {:?}, which returned {returned:?} and could return {could}",
                culprit.call
            )
        }
        None if compared == 0 => format!("{target}: nothing could be compared"),
        None => format!("{target}: {compared} operations on {keys} keys, in some order that keeps to their times"),
    };
    let detail = if undecided > 0 { format!("{detail}; {undecided} keys were not decided in time") } else { detail };
    let pass = violation.is_none() && undecided == 0 && compared > 0;
    // What was not decided is no violation, though some of it was compared.
    let compared = if violation.is_none() && !pass { 0 } else { compared };
    api::Check::new("linearizable", pass, compared, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two workers, one after the other: the second reads what it is given.
    fn history(read: Option<i64>) -> History {
        let recorder = Recorder::new();
        let (mut first, mut second) = (Desk::new(Some(&recorder), 0), Desk::new(Some(&recorder), 1));
        first.record(7, RegisterCall::Insert(10), || None, |found| *found);
        first.record(7, RegisterCall::Insert(20), || Some(10), |found| *found);
        second.record(7, RegisterCall::Get, || read, |found| *found);
        [first, second].into_iter().flat_map(|desk| desk.close().1).collect()
    }

    #[test]
    fn a_stale_read_is_no_order_and_is_told() {
        let fresh = judge("kv", history(Some(20)));
        assert!(fresh.verdict == api::CheckVerdict::Pass && fresh.compared == 3, "{fresh:?}");
        let stale = judge("kv", history(Some(10)));
        assert!(stale.verdict == api::CheckVerdict::Fail && stale.compared == 3, "{stale:?}");
        assert!(
            stale.detail.contains("Get, which returned Some(Found(Some(10))) and could return Found(Some(20))"),
            "{stale:?}"
        );
    }

    #[test]
    fn nothing_is_noted_without_a_recorder_and_nothing_compared_is_no_pass() {
        let mut desk = Desk::new(None, 0);
        assert_eq!(desk.record(1, RegisterCall::Get, || Some(3), |found| *found), Some(3));
        let check = judge("kv", desk.close().1);
        assert!(check.verdict == api::CheckVerdict::Inconclusive, "{check:?}");
    }
}
