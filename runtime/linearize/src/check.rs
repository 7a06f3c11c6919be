//! Whether a history is linearizable.

use crate::search::explains;
use crate::{Counterexample, Exhausted, Limits, Operation, Specification};
use std::collections::BTreeMap;
use std::fmt;

/// What a check found.
#[must_use]
pub enum Verdict<S: Specification> {
    /// Some order of the operations that keeps to their times gives each what it returned.
    Linearizable,
    /// No order does.
    Violation(Box<Counterexample<S>>),
    /// Nobody knows: the search hit one of its limits.
    Undecided(Exhausted),
}

impl<S: Specification> fmt::Debug for Verdict<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Linearizable => f.write_str("linearizable"),
            Verdict::Violation(found) => write!(f, "not linearizable\n{found}"),
            Verdict::Undecided(exhausted) => write!(f, "undecided: {exhausted}"),
        }
    }
}

impl<S: Specification> Verdict<S> {
    /// Whether an order was found.
    pub fn is_linearizable(&self) -> bool {
        matches!(self, Verdict::Linearizable)
    }

    /// Whether there is none.
    pub fn is_violation(&self) -> bool {
        matches!(self, Verdict::Violation(_))
    }

    /// Asks for [`Linearizable`](Verdict::Linearizable).
    ///
    /// # Panics
    /// On anything else, with `what` and the counterexample.
    pub fn assert(&self, what: impl fmt::Display) {
        assert!(self.is_linearizable(), "{what}: {self:?}");
    }
}

/// Checks a history, whose operations may come in any order.
///
/// Takes time linear in the operations while those that overlap are few, and exponential in how many of them overlap
/// at worst; [`Limits`] end it.
pub fn check<S: Specification>(
    specification: &S,
    operations: &[Operation<S::Call, S::Return>],
    limits: Limits,
) -> Verdict<S> {
    let deadline = limits.deadline();
    let mut sorted = operations.to_vec();
    sorted.sort_by_key(|operation| (operation.began, operation.ended));
    match explains(specification, &sorted, deadline, None, |_| ()) {
        Ok(true) => Verdict::Linearizable,
        Ok(false) => Verdict::Violation(Box::new(Counterexample::find(specification, sorted, deadline))),
        Err(exhausted) => Verdict::Undecided(exhausted),
    }
}

/// One history for each key. A history is linearizable if and only if that of each key is (Herlihy and Wing 1990,
/// locality), and these are shorter.
pub fn split<K: Ord, C, R>(operations: Vec<Operation<(K, C), R>>) -> BTreeMap<K, Vec<Operation<C, R>>> {
    let mut histories = BTreeMap::<K, Vec<_>>::new();
    for Operation { thread, began, ended, call: (key, call), returned } in operations {
        histories.entry(key).or_default().push(Operation { thread, began, ended, call, returned });
    }
    histories
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Queue, QueueCall, QueueReturn};
    use std::time::Duration;

    /// Pushes that all overlap, and pops of them that all overlap, one of which returned what nobody pushed: every
    /// order has to be gone through before that is known.
    fn hard(items: u64) -> Vec<Operation<QueueCall, QueueReturn>> {
        let operation = |thread, at, call, returned| Operation {
            thread,
            began: at,
            ended: at + 100,
            call,
            returned: Some(returned),
        };
        (0..items)
            .map(|item| operation(item as usize, item, QueueCall::Push(item), QueueReturn::Pushed(true)))
            .chain(
                (1..=items).map(|item| operation(item as usize, 200, QueueCall::Pop, QueueReturn::Popped(Some(item)))),
            )
            .collect()
    }

    #[test]
    fn what_is_within_limits_is_decided_and_what_is_not_is_said_to_be_undecided() {
        let queue = Queue { capacity: None };
        assert!(check(&queue, &hard(5), Limits::default()).is_violation());
        let little = Limits { memory_bytes: 100_000, ..Limits::default() };
        assert!(matches!(check(&queue, &hard(14), little), Verdict::Undecided(Exhausted::Memory)));
        let short = Limits { time: Duration::ZERO, ..Limits::default() };
        assert!(matches!(check(&queue, &hard(14), short), Verdict::Undecided(Exhausted::Time)));
    }

    #[test]
    fn histories_are_split_by_key() {
        let operation =
            |key: u8, call: u32| Operation { thread: 0, began: 0, ended: 1, call: (key, call), returned: Some(()) };
        let histories = split(vec![operation(1, 10), operation(2, 20), operation(1, 11)]);
        let calls = |key| histories[&key].iter().map(|operation| operation.call).collect::<Vec<_>>();
        assert_eq!((histories.len(), calls(1), calls(2)), (2, vec![10, 11], vec![20]));
    }
}
