//! The search for an order: Wing and Gong's, with Lowe's memory.
//!
//! Sources: J. Wing, C. Gong, Testing and Verifying Concurrent Objects, JPDC 17 (1993); G. Lowe, Testing for
//! Linearizability, CCPE 29 (2017), whose linked list and memory of configurations these are.
//!
//! The beginnings and ends of operations stand in a list in order of time. An operation that begins before the first
//! end in the list may be next in the order: if the specification lets it return what it did, both its entries are
//! lifted out and the search starts again from the front. When the first end is reached, its operation should have
//! been next some time ago: the last choice is taken back.
//!
//! I1  The list holds the entries of the operations that are not in the order yet, and no others.
//! I2  A configuration is the set of those in the order, with the state they led to. What can follow depends on nothing
//!     else, so one that was seen before is not entered again.
//! I3  Operations that have not returned have a beginning and no end: they may come anywhere after it, or never.

use crate::{Operation, Specification};
use foldhash::fast::RandomState;
use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

/// How far a search may go.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Time of one [`check`](crate::check), the search for a counterexample included.
    pub time: Duration,
    /// Bytes that the remembered configurations may take, the heap behind their states not counted.
    pub memory_bytes: usize,
}

impl Default for Limits {
    /// Ten seconds and 256 MiB.
    fn default() -> Self {
        Self { time: Duration::from_secs(10), memory_bytes: 256 << 20 }
    }
}

/// What a search ran out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// [`Limits::time`].
    Time,
    /// [`Limits::memory_bytes`].
    Memory,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Exhausted::Time => "the search ran out of time",
            Exhausted::Memory => "the search ran out of memory for configurations",
        })
    }
}

/// When a search has to be over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    memory_bytes: usize,
}

impl Limits {
    pub(crate) fn deadline(self) -> Deadline {
        Deadline { at: Instant::now() + self.time, memory_bytes: self.memory_bytes }
    }
}

/// Steps between two looks at the clock.
const STEPS_PER_LOOK: usize = 1024;

/// Whether some order explains the operations, which are sorted by `began`.
///
/// With `wild`, the index of one that has not returned, all orders are gone through, `false` is the answer, and `saw`
/// is shown what that one would return in each place where it may come.
pub(crate) fn explains<S: Specification>(
    specification: &S,
    operations: &[Operation<S::Call, S::Return>],
    deadline: Deadline,
    wild: Option<usize>,
    mut saw: impl FnMut(S::Return),
) -> Result<bool, Exhausted> {
    let mut list = List::new(operations);
    let mut placed = Placed::new(operations.len());
    let mut memory = HashSet::with_hasher(RandomState::default());
    let mut memory_bytes = 0;
    let mut unfinished = operations.iter().filter(|operation| operation.returned.is_some()).count();
    let mut state = specification.initial();
    let mut order = Vec::new();
    let mut at = list.first();
    let mut steps = 0usize;
    while unfinished > 0 || wild.is_some() {
        steps += 1;
        if steps.is_multiple_of(STEPS_PER_LOOK) && Instant::now() > deadline.at {
            return Err(Exhausted::Time);
        }
        let Entry::Begin(index) = list.entry(at) else {
            let Some((index, before)) = order.pop() else { return Ok(false) };
            state = before;
            placed.take_back(index);
            unfinished += usize::from(operations[index].returned.is_some());
            list.put_back(index);
            at = list.after_begin(index);
            continue;
        };
        let operation = &operations[index];
        let (next, returns) = specification.apply(&state, &operation.call);
        if operation.returned.as_ref().is_none_or(|returned| *returned == returns) {
            placed.place(index);
            let configuration = (placed.packed(), next.clone());
            let bytes = size_of_val(&configuration) + size_of_val(&*configuration.0.words);
            if memory.insert(configuration) {
                memory_bytes += bytes;
                if memory_bytes > deadline.memory_bytes {
                    return Err(Exhausted::Memory);
                }
                if wild == Some(index) {
                    saw(returns);
                }
                order.push((index, std::mem::replace(&mut state, next)));
                unfinished -= usize::from(operation.returned.is_some());
                list.lift(index);
                at = list.first();
                continue;
            }
            placed.take_back(index);
        }
        at = list.after_begin(index);
    }
    Ok(true)
}

#[derive(Clone, Copy)]
enum Entry {
    Begin(usize),
    End,
    /// Before the first and behind the last: nothing is left to be next.
    Edge,
}

/// Beginnings and ends in order of time (I1). Entry 0 is the edge; links are positions.
struct List {
    entries: Vec<Entry>,
    next: Vec<u32>,
    previous: Vec<u32>,
    /// Where each operation's entries are; 0 for an end that there is not (I3).
    begins: Vec<u32>,
    ends: Vec<u32>,
}

impl List {
    fn new<C, R>(operations: &[Operation<C, R>]) -> Self {
        // At equal times a beginning comes first: operations that may overlap are taken to.
        let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * operations.len());
        for (index, operation) in operations.iter().enumerate() {
            events.push((operation.began, false, index));
            if operation.returned.is_some() {
                events.push((operation.ended, true, index));
            }
        }
        events.sort_unstable();
        let count = events.len() as u32 + 1;
        let mut list = Self {
            entries: vec![Entry::Edge],
            next: (1..count).chain([0]).collect(),
            previous: [count - 1].into_iter().chain(0..count - 1).collect(),
            begins: vec![0; operations.len()],
            ends: vec![0; operations.len()],
        };
        for (_, is_end, index) in events {
            let place = if is_end { &mut list.ends } else { &mut list.begins };
            place[index] = list.entries.len() as u32;
            list.entries.push(if is_end { Entry::End } else { Entry::Begin(index) });
        }
        list
    }

    fn first(&self) -> u32 {
        self.next[0]
    }

    fn entry(&self, at: u32) -> Entry {
        self.entries[at as usize]
    }

    fn after_begin(&self, index: usize) -> u32 {
        self.next[self.begins[index] as usize]
    }

    fn lift(&mut self, index: usize) {
        for at in [self.begins[index], self.ends[index]] {
            if at != 0 {
                let (previous, next) = (self.previous[at as usize], self.next[at as usize]);
                self.next[previous as usize] = next;
                self.previous[next as usize] = previous;
            }
        }
    }

    /// Undoes the last [`lift`](Self::lift) that has not been undone: its entries still know their neighbours.
    fn put_back(&mut self, index: usize) {
        for at in [self.ends[index], self.begins[index]] {
            if at != 0 {
                let (previous, next) = (self.previous[at as usize], self.next[at as usize]);
                self.next[previous as usize] = at;
                self.previous[next as usize] = at;
            }
        }
    }
}

/// Which operations are in the order. Operations are sorted by their beginnings, so these are all up to some point and
/// few beyond, and only the words between are worth remembering.
struct Placed {
    words: Vec<u64>,
    /// Words before this one are full.
    full: usize,
    /// Words from here on are empty, or were when last looked at.
    empty: usize,
}

#[derive(PartialEq, Eq, Hash)]
struct Packed {
    full: usize,
    words: Box<[u64]>,
}

impl Placed {
    fn new(operations: usize) -> Self {
        Self { words: vec![0; operations.div_ceil(64)], full: 0, empty: 0 }
    }

    fn place(&mut self, index: usize) {
        self.words[index / 64] |= 1 << (index % 64);
        self.empty = self.empty.max(index / 64 + 1);
        while self.words.get(self.full) == Some(&u64::MAX) {
            self.full += 1;
        }
    }

    fn take_back(&mut self, index: usize) {
        self.words[index / 64] &= !(1 << (index % 64));
        self.full = self.full.min(index / 64);
        while self.empty > 0 && self.words[self.empty - 1] == 0 {
            self.empty -= 1;
        }
    }

    fn packed(&self) -> Packed {
        Packed { full: self.full, words: self.words[self.full.min(self.empty)..self.empty].into() }
    }
}
