//! Whether a history of any length is that of a queue.
//!
//! Source: A. Bouajjani, M. Emmi, C. Enea, J. Hamza, On Reducing Linearizability to State Reachability, ICALP 2015.
//! When no item is pushed twice, a history of an unbounded queue is linearizable if and only if four things never
//! happen: a pop of what was not pushed before, two pops of one item, an item that comes out after a later one though
//! it went in and is asked for in time, and an "empty" while something was inside throughout. Each is looked for by
//! sorting.
//!
//! What is not looked at: whether a push that was refused found the queue full.

#![expect(clippy::result_large_err, reason = "a fault is the end of a test; its size costs nobody anything")]

use crate::{Operation, QueueCall, QueueReturn};
use std::collections::HashMap;

/// An operation on a queue of numbers, no two of which are equal.
pub type QueueOperation = Operation<QueueCall, QueueReturn>;

/// Between which items a queue keeps the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Between all of them, by the times of their pushes: linearizable.
    Total,
    /// Between those that one thread pushed.
    PerProducer,
}

/// When a pop may say that there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empty {
    /// If at some moment of its own there was nothing: linearizable.
    Exact,
    /// Also while some push is in flight: a producer that has a place and has not filled it yet hides those behind it.
    LagsPushes,
}

/// What a queue promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contract {
    /// Between which items it keeps the order.
    pub order: Order,
    /// When it may say that it is empty.
    pub empty: Empty,
    /// Whether the history goes on until everything was popped, so that what was not is lost.
    pub drained: bool,
}

/// What was looked at, for a test to see that it was something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Items that were popped.
    pub popped: usize,
    /// Pops that found nothing.
    pub empties: usize,
    /// Those of them that [`Empty::LagsPushes`] alone explains.
    pub lagged: usize,
}

/// What a queue must not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An item that nobody had pushed came out, or one whose push had been refused.
    #[error("popped and never pushed: {pop:?}")]
    Invented {
        /// Its pop.
        pop: QueueOperation,
    },
    /// An item came out before it went in.
    #[error("popped before it was pushed: {pop:?}, {push:?}")]
    Early {
        /// Its pop.
        pop: QueueOperation,
        /// Its push.
        push: QueueOperation,
    },
    /// An item came out twice.
    #[error("popped twice: {first:?}, {second:?}")]
    Twice {
        /// One pop.
        first: QueueOperation,
        /// The other.
        second: QueueOperation,
    },
    /// An item never came out of a queue that was drained.
    #[error("lost: {push:?}")]
    Lost {
        /// Its push.
        push: QueueOperation,
    },
    /// An item was pushed after another and popped before it.
    #[error("overtaken: {push:?} came before {later_push:?}, and {later_pop:?} before {}",
        pop.as_ref().map_or("any pop of it".to_owned(), |pop| format!("{pop:?}")))]
    Overtaken {
        /// Push of the first item.
        push: QueueOperation,
        /// Its pop, if there was one.
        pop: Option<QueueOperation>,
        /// Push of the second.
        later_push: QueueOperation,
        /// Its pop.
        later_pop: QueueOperation,
    },
    /// A pop said that there was nothing while there was something.
    #[error("said to be empty and was not: {pop:?}; at every moment between, something was inside")]
    NotEmpty {
        /// The pop.
        pop: QueueOperation,
    },
}

/// An item's way through the queue.
#[derive(Clone, Copy)]
struct Passage<'a> {
    push: &'a QueueOperation,
    pop: Option<&'a QueueOperation>,
    /// When its pop began; never, if nothing can have popped it.
    pop_began: u64,
}

/// Looks for the first fault of each kind. O(n log n).
///
/// # Errors
/// The fault.
///
/// # Panics
/// When an item was pushed twice.
pub fn check(operations: &[QueueOperation], contract: Contract) -> Result<Tally, Fault> {
    let passages = passages(operations, contract.drained)?;
    match contract.order {
        Order::Total => keeps_order(passages.clone())?,
        Order::PerProducer => {
            let mut producers = HashMap::<usize, Vec<Passage>>::new();
            for passage in &passages {
                producers.entry(passage.push.thread).or_default().push(*passage);
            }
            producers.into_values().try_for_each(keeps_order)?;
        }
    }
    let empties: Vec<&QueueOperation> =
        operations.iter().filter(|operation| operation.returned == Some(QueueReturn::Popped(None))).collect();
    let lagged = unjustified(&passages, &empties);
    match contract.empty {
        Empty::Exact => lagged.first().map_or(Ok(()), |pop| Err(Fault::NotEmpty { pop: (*pop).clone() })),
        Empty::LagsPushes => beside_a_push(operations, &lagged),
    }?;
    let popped = passages.iter().filter(|passage| passage.pop.is_some()).count();
    Ok(Tally { popped, empties: empties.len(), lagged: lagged.len() })
}

fn passages(operations: &[QueueOperation], drained: bool) -> Result<Vec<Passage<'_>>, Fault> {
    let mut pushes = HashMap::new();
    let mut pops = HashMap::<u64, &QueueOperation>::new();
    // A pop that has not returned may have taken anything that nobody else took.
    let mut pop_in_flight = u64::MAX;
    for operation in operations {
        match (operation.call, operation.returned) {
            (QueueCall::Push(_), Some(QueueReturn::Pushed(false))) => {}
            (QueueCall::Push(item), _) => {
                assert!(pushes.insert(item, operation).is_none(), "{item} was pushed twice: items have to differ");
            }
            (QueueCall::Pop, Some(QueueReturn::Popped(Some(item)))) => {
                if let Some(first) = pops.insert(item, operation) {
                    return Err(Fault::Twice { first: first.clone(), second: operation.clone() });
                }
            }
            (QueueCall::Pop, None) => pop_in_flight = pop_in_flight.min(operation.began),
            (QueueCall::Pop, Some(_)) => {}
        }
    }
    for (item, pop) in &pops {
        match pushes.get(item) {
            None => return Err(Fault::Invented { pop: (*pop).clone() }),
            Some(push) if pop.is_before(push) => {
                return Err(Fault::Early { pop: (*pop).clone(), push: (*push).clone() });
            }
            Some(_) => {}
        }
    }
    let mut passages = Vec::with_capacity(pushes.len());
    for (item, push) in pushes {
        let pop = pops.get(&item).copied();
        if pop.is_none() && drained && push.returned.is_some() && pop_in_flight == u64::MAX {
            return Err(Fault::Lost { push: push.clone() });
        }
        passages.push(Passage { push, pop, pop_began: pop.map_or(pop_in_flight, |pop| pop.began) });
    }
    Ok(passages)
}

/// Goes through the items by the beginnings of their pushes; of those whose push had ended by then, the one that was
/// popped last is the one that may have been overtaken.
fn keeps_order(mut passages: Vec<Passage<'_>>) -> Result<(), Fault> {
    let mut ended = passages.clone();
    ended.sort_by_key(|passage| passage.push.ended);
    passages.sort_by_key(|passage| passage.push.began);
    let mut ended = ended.into_iter().peekable();
    let mut last: Option<Passage> = None;
    for later in passages {
        while let Some(first) = ended.next_if(|first| first.push.is_before(later.push)) {
            if last.is_none_or(|last| last.pop_began < first.pop_began) {
                last = Some(first);
            }
        }
        if let (Some(first), Some(later_pop)) = (last, later.pop)
            && later_pop.ended < first.pop_began
        {
            return Err(Fault::Overtaken {
                push: first.push.clone(),
                pop: first.pop.cloned(),
                later_push: later.push.clone(),
                later_pop: later_pop.clone(),
            });
        }
    }
    Ok(())
}

/// Those of the empty pops during all of which something was inside: from the end of an item's push to the beginning of
/// its pop it certainly was.
fn unjustified<'a>(passages: &[Passage<'_>], empties: &[&'a QueueOperation]) -> Vec<&'a QueueOperation> {
    let mut inside: Vec<(u64, u64)> =
        passages.iter().map(|passage| (passage.push.ended, passage.pop_began)).filter(|(from, to)| from < to).collect();
    inside.sort_unstable();
    // Joined where they overlap: never empty from the first time to the second.
    inside.dedup_by(|next, joined| {
        let overlaps = next.0 < joined.1;
        if overlaps {
            joined.1 = joined.1.max(next.1);
        }
        overlaps
    });
    let covered = |pop: &&QueueOperation| {
        let before = inside.partition_point(|(from, _)| *from < pop.began);
        before > 0 && inside[before - 1].1 > pop.ended
    };
    empties.iter().copied().filter(covered).collect()
}

/// Whether each of the pops has a push that overlaps it.
fn beside_a_push(operations: &[QueueOperation], pops: &[&QueueOperation]) -> Result<(), Fault> {
    let mut pushes: Vec<(u64, u64)> = operations
        .iter()
        .filter(|operation| matches!(operation.call, QueueCall::Push(_)))
        .map(|push| (push.began, push.ended))
        .collect();
    pushes.sort_unstable();
    // The second becomes the latest end so far.
    let mut latest = 0;
    pushes.iter_mut().for_each(|(_, ended)| {
        latest = latest.max(*ended);
        *ended = latest;
    });
    let alone = pops.iter().find(|pop| {
        let begun = pushes.partition_point(|(began, _)| *began <= pop.ended);
        begun == 0 || pushes[begun - 1].1 < pop.began
    });
    alone.map_or(Ok(()), |pop| Err(Fault::NotEmpty { pop: (*pop).clone() }))
}
