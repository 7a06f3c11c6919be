//! What to show of a history that is not linearizable.
//!
//! Linearizability is prefix-closed, so there is a first operation whose return makes the history impossible, and a
//! search by halves finds it: with every operation that ended later taken for one that has not returned yet, all was
//! well until this one ended. That one, with what it could have returned, is what to show; the operations before and
//! beside it are for orientation.

use crate::search::{Deadline, explains};
use crate::{Operation, Specification};
use std::fmt;

/// The first operation that no order explains.
pub struct Counterexample<S: Specification> {
    culprit: Operation<S::Call, S::Return>,
    could_return: Vec<S::Return>,
    around: Vec<Operation<S::Call, S::Return>>,
    left_out: usize,
}

/// Operations shown before the culprit, at most.
const AROUND: usize = 12;
/// Columns of the drawn time line.
const COLUMNS: usize = 40;

impl<S: Specification> Counterexample<S> {
    /// Finds it in a history, sorted by `began`, that no order explains. Should time run out, the culprit is not the
    /// first, and yet one whose return the history up to it cannot explain.
    pub(crate) fn find(specification: &S, operations: Vec<Operation<S::Call, S::Return>>, deadline: Deadline) -> Self {
        let mut ends: Vec<u64> = operations
            .iter()
            .filter(|operation| operation.returned.is_some())
            .map(|operation| operation.ended)
            .collect();
        ends.sort_unstable();
        let until = |end: u64| -> Vec<_> {
            let began = operations.iter().filter(|operation| operation.began <= end);
            began
                .map(|operation| if operation.ended <= end { operation.clone() } else { unreturned(operation) })
                .collect()
        };
        // All is explained before `ends[low]` and not at `ends[high]`.
        let (mut low, mut high) = (0, ends.len() - 1);
        while low < high {
            let middle = low.midpoint(high);
            match explains(specification, &until(ends[middle]), deadline, None, |_| ()) {
                Ok(true) => low = middle + 1,
                Ok(false) => high = middle,
                Err(_) => break,
            }
        }
        let mut prefix = until(ends[high]);
        let culprit = prefix
            .iter()
            .position(|operation| operation.ended == ends[high])
            .expect("an end is that of an operation, which began before it");
        let could_return = possible_returns(specification, &mut prefix, culprit, deadline);
        let culprit = prefix.remove(culprit);
        // The latest to begin tell most: what is still in flight, and what just ended.
        prefix.sort_by_key(|operation| (operation.ended.min(culprit.ended), operation.began));
        let left_out = prefix.len().saturating_sub(AROUND);
        let mut around = prefix.split_off(left_out);
        around.sort_by_key(|operation| operation.began);
        Self { culprit, could_return, around, left_out }
    }

    /// The operation that ended when nothing explained the history any more.
    pub fn culprit(&self) -> &Operation<S::Call, S::Return> {
        &self.culprit
    }

    /// All that it could have returned, as far as time allowed to find out.
    pub fn could_return(&self) -> &[S::Return] {
        &self.could_return
    }

    /// The operations that ended last before the culprit did, and those that had not ended then, sorted by beginning.
    pub fn around(&self) -> &[Operation<S::Call, S::Return>] {
        &self.around
    }
}

fn unreturned<C: Clone, R>(operation: &Operation<C, R>) -> Operation<C, R> {
    let Operation { thread, began, ref call, .. } = *operation;
    Operation { thread, began, ended: u64::MAX, call: call.clone(), returned: None }
}

/// What operation `index` could have returned without making the history impossible.
fn possible_returns<S: Specification>(
    specification: &S,
    history: &mut [Operation<S::Call, S::Return>],
    index: usize,
    deadline: Deadline,
) -> Vec<S::Return> {
    let mut seen = Vec::new();
    let mut note = |returns| {
        if !seen.contains(&returns) {
            seen.push(returns);
        }
    };
    // Some of what comes up leads nowhere later, so each is tried.
    let returned = history[index].returned.take();
    _ = explains(specification, history, deadline, Some(index), &mut note);
    seen.retain(|returns| {
        history[index].returned = Some(returns.clone());
        explains(specification, history, deadline, None, |_| ()) == Ok(true)
    });
    history[index].returned = returned;
    seen
}

impl<S: Specification> fmt::Display for Counterexample<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let returned = self.culprit.returned.as_ref().expect("the culprit returned");
        write!(f, "thread {}: {:?} returned {returned:?}", self.culprit.thread, self.culprit.call)?;
        match &self.could_return[..] {
            [] => writeln!(f, ", and nothing it could return fits")?,
            could => writeln!(f, ", and could return only {could:?}")?,
        }
        if self.left_out > 0 {
            writeln!(f, "  ... {} operations before", self.left_out)?;
        }
        let mut shown: Vec<_> = self.around.iter().map(|operation| (operation, ' ')).collect();
        shown.push((&self.culprit, '*'));
        shown.sort_by_key(|(operation, _)| operation.began);
        // Times are drawn by their rank: what matters is which came first, and real ones differ by powers of ten.
        let mut times: Vec<u64> = shown.iter().flat_map(|(operation, _)| [operation.began, operation.ended]).collect();
        times.sort_unstable();
        times.dedup();
        let column =
            |time: u64| times.binary_search(&time).unwrap_or(0) * (COLUMNS - 1) / times.len().max(2).saturating_sub(1);
        for (operation, mark) in shown {
            let line: String = (0..COLUMNS)
                .map(|at| match at {
                    _ if at < column(operation.began) || at > column(operation.ended) => ' ',
                    _ if at == column(operation.began) => '[',
                    _ if at == column(operation.ended) && operation.returned.is_some() => ']',
                    _ => '-',
                })
                .collect();
            write!(f, "{mark} {line} {} ns: thread {} {:?}", operation.began, operation.thread, operation.call)?;
            match &operation.returned {
                Some(returned) => writeln!(f, " -> {returned:?} in {} ns", operation.ended - operation.began)?,
                None => writeln!(f, " -> not returned yet")?,
            }
        }
        Ok(())
    }
}
