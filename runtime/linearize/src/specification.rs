//! What structures do when one thread at a time uses them.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;

/// A structure without concurrency: given its state, a call has one outcome.
pub trait Specification {
    /// What is in it.
    type State: Clone + Eq + Hash;
    /// An operation with its arguments.
    type Call: Clone + Debug;
    /// What an operation returns.
    type Return: Clone + PartialEq + Debug;

    /// The state at first.
    fn initial(&self) -> Self::State;

    /// The state after `call`, and what it returns.
    fn apply(&self, state: &Self::State, call: &Self::Call) -> (Self::State, Self::Return);
}

/// One key of a map, with a number or nothing.
#[derive(Debug, Clone, Copy)]
pub struct Register;

/// What can be done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegisterCall {
    /// Read.
    Get,
    /// Put in, whatever there was.
    Insert(i64),
    /// Put in unless there is something.
    InsertIfAbsent(i64),
    /// Take out.
    Remove,
    /// Add to what is there; nothing when nothing is.
    Add(i64),
    /// Add to what is there, or put in.
    AddOrInsert(i64),
    /// Put `new` in if `current` is there.
    CompareExchange {
        /// What has to be there.
        current: i64,
        /// What takes its place.
        new: i64,
    },
    /// Take out what is there if it is that.
    RemoveIf(i64),
}

/// What a call on a key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegisterReturn {
    /// What was there before.
    Found(Option<i64>),
    /// Whether it did what it was to do ([`InsertIfAbsent`](RegisterCall::InsertIfAbsent) and
    /// [`RemoveIf`](RegisterCall::RemoveIf)).
    Did(bool),
}

impl Specification for Register {
    type State = Option<i64>;
    type Call = RegisterCall;
    type Return = RegisterReturn;

    fn initial(&self) -> Option<i64> {
        None
    }

    fn apply(&self, state: &Option<i64>, call: &RegisterCall) -> (Option<i64>, RegisterReturn) {
        use RegisterReturn::{Did, Found};
        let was = *state;
        match *call {
            RegisterCall::Get => (was, Found(was)),
            RegisterCall::Insert(value) => (Some(value), Found(was)),
            RegisterCall::InsertIfAbsent(value) => (was.or(Some(value)), Did(was.is_none())),
            RegisterCall::Remove => (None, Found(was)),
            RegisterCall::Add(n) => (was.map(|value| value + n), Found(was)),
            RegisterCall::AddOrInsert(n) => (Some(was.unwrap_or(0) + n), Found(was)),
            RegisterCall::CompareExchange { current, new } => {
                (if was == Some(current) { Some(new) } else { was }, Found(was))
            }
            RegisterCall::RemoveIf(value) => (was.filter(|&was| was != value), Did(was == Some(value))),
        }
    }
}

/// A queue of numbers.
#[derive(Debug, Clone, Copy)]
pub struct Queue {
    /// Items that it takes at most, if it has a bound.
    pub capacity: Option<usize>,
}

/// What can be done to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueCall {
    /// Add behind the last.
    Push(u64),
    /// Take the first.
    Pop,
}

/// What a queue says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueReturn {
    /// Whether there was room.
    Pushed(bool),
    /// The first item, or that there was none.
    Popped(Option<u64>),
}

impl Specification for Queue {
    type State = VecDeque<u64>;
    type Call = QueueCall;
    type Return = QueueReturn;

    fn initial(&self) -> VecDeque<u64> {
        VecDeque::new()
    }

    fn apply(&self, state: &VecDeque<u64>, call: &QueueCall) -> (VecDeque<u64>, QueueReturn) {
        let mut state = state.clone();
        let returned = match *call {
            QueueCall::Push(item) => {
                let room = self.capacity.is_none_or(|capacity| state.len() < capacity);
                if room {
                    state.push_back(item);
                }
                QueueReturn::Pushed(room)
            }
            QueueCall::Pop => QueueReturn::Popped(state.pop_front()),
        };
        (state, returned)
    }
}

/// A set of small numbers. Each of its calls says whether the number was there.
#[derive(Debug, Clone, Copy)]
pub struct Set;

/// What can be done to a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetCall {
    /// Ask for.
    Contains(u32),
    /// Put in.
    Insert(u32),
    /// Take out.
    Remove(u32),
}

impl Specification for Set {
    type State = BTreeSet<u32>;
    type Call = SetCall;
    type Return = bool;

    fn initial(&self) -> BTreeSet<u32> {
        BTreeSet::new()
    }

    fn apply(&self, state: &BTreeSet<u32>, call: &SetCall) -> (BTreeSet<u32>, bool) {
        let mut state = state.clone();
        let was_there = match call {
            SetCall::Contains(number) => state.contains(number),
            SetCall::Insert(number) => !state.insert(*number),
            SetCall::Remove(number) => state.remove(number),
        };
        (state, was_there)
    }
}
