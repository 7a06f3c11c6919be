//! Structures that are broken on purpose, each in a way that real ones have been, under real threads: each is found
//! out, and its sound sibling is not accused.

use rheostat_linearize::fifo::{self, Contract, Empty, Fault, Order};
use rheostat_linearize::{
    Limits, Operation, QueueCall, QueueReturn, Recorder, Register, RegisterCall, RegisterReturn, Verdict, check, split,
};
use std::collections::{HashMap, VecDeque};
use std::sync::{Barrier, Mutex};
use std::thread;

const THREADS: usize = 4;
const ROUNDS: u64 = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    Nothing,
    /// `add` reads and writes in two critical sections.
    LostUpdate,
    /// `get` answers from a copy that it made a while ago.
    StaleRead,
    /// A migrator copies an entry, and puts the copy in later, whatever happened meanwhile.
    ResurrectedDelete,
}

/// A locked map, broken or not.
struct Table {
    broken: Break,
    entries: Mutex<HashMap<u8, i64>>,
    copy: Mutex<HashMap<u8, i64>>,
}

impl Table {
    fn perform(&self, key: u8, call: RegisterCall, rng: &mut fastrand::Rng) -> RegisterReturn {
        use RegisterReturn::Found;
        let mut entries = self.entries.lock().unwrap();
        match call {
            RegisterCall::Get if self.broken == Break::StaleRead && rng.u8(..8) == 0 => {
                let mut copy = self.copy.lock().unwrap();
                let stale = copy.get(&key).copied();
                copy.clone_from(&entries);
                Found(stale)
            }
            RegisterCall::Get => Found(entries.get(&key).copied()),
            RegisterCall::Insert(value) => Found(entries.insert(key, value)),
            RegisterCall::Remove => Found(entries.remove(&key)),
            RegisterCall::AddOrInsert(n) => {
                let was = entries.get(&key).copied();
                if self.broken == Break::LostUpdate {
                    drop(entries);
                    thread::yield_now();
                    entries = self.entries.lock().unwrap();
                }
                entries.insert(key, was.unwrap_or(0) + n);
                Found(was)
            }
            _ => unreachable!("not drawn"),
        }
    }

    /// Moves entries as a hand-over would, by its lights.
    fn migrate(&self) {
        if self.broken == Break::ResurrectedDelete {
            let copy = self.entries.lock().unwrap().clone();
            thread::yield_now();
            self.entries.lock().unwrap().extend(copy);
        }
    }
}

/// Keys of a history of all threads on a table, with what was found of each.
fn verdicts(broken: Break, seed: u64) -> Vec<Verdict<Register>> {
    let table = Table { broken, entries: Mutex::default(), copy: Mutex::default() };
    let (recorder, start) = (Recorder::new(), Barrier::new(THREADS));
    let mut operations = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|index| {
                let (table, recorder, start) = (&table, &recorder, &start);
                scope.spawn(move || {
                    let mut rng = fastrand::Rng::with_seed(seed << 8 | index as u64);
                    let mut log = recorder.log(index);
                    start.wait();
                    for round in 0..ROUNDS {
                        let key = rng.u8(..2);
                        let unique = (round << 8 | index as u64) as i64 * 1000;
                        let call = match rng.u8(..4) {
                            0 => RegisterCall::Get,
                            1 => RegisterCall::Insert(unique),
                            2 => RegisterCall::Remove,
                            _ => RegisterCall::AddOrInsert(1),
                        };
                        log.record((key, call), |_| table.perform(key, call, &mut rng));
                        if rng.u8(..8) == 0 {
                            table.migrate();
                        }
                    }
                    log.into_operations()
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| operations.extend(thread.join().unwrap()));
    });
    split(operations).into_values().map(|history| check(&Register, &history, Limits::default())).collect()
}

#[test]
fn a_sound_map_is_not_accused() {
    for seed in 0..10 {
        verdicts(Break::Nothing, seed).iter().for_each(|verdict| verdict.assert(format_args!("seed {seed}")));
    }
}

#[test]
fn broken_maps_are_found_out() {
    for broken in [Break::LostUpdate, Break::StaleRead, Break::ResurrectedDelete] {
        let found = (0..20).flat_map(|seed| verdicts(broken, seed)).find_map(|verdict| match verdict {
            Verdict::Violation(found) => Some(found),
            _ => None,
        });
        let found = found.unwrap_or_else(|| panic!("{broken:?} went unseen"));
        let shown = found.to_string();
        assert!(shown.lines().count() <= 16, "{broken:?} takes a page to show:\n{shown}");
        assert!(!found.could_return().contains(found.culprit().returned.as_ref().unwrap()), "{broken:?}:\n{shown}");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    Nothing,
    /// Items go to one of two lanes, and come out of the fuller one.
    Reorders,
    /// A pop that cannot have the lock at once says that there is nothing.
    EmptyWhenBusy,
    /// A pop looks at an item and takes it out later.
    TakesTwice,
    /// A push that cannot have the lock at once drops its item.
    LosesWhenBusy,
}

struct Lanes {
    flaw: Flaw,
    lanes: [Mutex<VecDeque<u64>>; 2],
}

impl Lanes {
    fn perform(&self, call: QueueCall, rng: &mut fastrand::Rng) -> QueueReturn {
        let second = self.flaw == Flaw::Reorders && rng.bool();
        let lane = &self.lanes[usize::from(second)];
        match call {
            QueueCall::Push(item) => {
                if self.flaw == Flaw::LosesWhenBusy {
                    if let Ok(mut items) = lane.try_lock() {
                        items.push_back(item);
                    }
                } else {
                    let mut items = lane.lock().unwrap();
                    items.push_back(item);
                    // Held across a turn of another thread, so that "busy" happens on few cores as well.
                    if rng.u8(..16) == 0 {
                        thread::yield_now();
                    }
                }
                QueueReturn::Pushed(true)
            }
            QueueCall::Pop if self.flaw == Flaw::EmptyWhenBusy => {
                QueueReturn::Popped(lane.try_lock().ok().and_then(|mut items| items.pop_front()))
            }
            QueueCall::Pop if self.flaw == Flaw::TakesTwice => {
                let first = lane.lock().unwrap().front().copied();
                if rng.u8(..16) == 0 {
                    thread::yield_now();
                }
                first.inspect(|_| _ = lane.lock().unwrap().pop_front());
                QueueReturn::Popped(first)
            }
            QueueCall::Pop => {
                let mut items = lane.lock().unwrap();
                if rng.u8(..16) == 0 {
                    thread::yield_now();
                }
                QueueReturn::Popped(items.pop_front())
            }
        }
    }
}

fn run_queue(flaw: Flaw, seed: u64) -> Vec<Operation<QueueCall, QueueReturn>> {
    let queue = Lanes { flaw, lanes: Default::default() };
    let (recorder, start) = (Recorder::new(), Barrier::new(THREADS));
    let mut operations = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|index| {
                let (queue, recorder, start) = (&queue, &recorder, &start);
                scope.spawn(move || {
                    let mut rng = fastrand::Rng::with_seed(seed << 8 | index as u64);
                    let mut log = recorder.log(index);
                    start.wait();
                    for round in 0..10 * ROUNDS {
                        let item = round << 8 | index as u64;
                        let call = if rng.bool() { QueueCall::Push(item) } else { QueueCall::Pop };
                        log.record(call, |_| queue.perform(call, &mut rng));
                    }
                    log.into_operations()
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| operations.extend(thread.join().unwrap()));
    });
    // Nobody is left to be in the way.
    let mut log = recorder.log(THREADS);
    for lane in &queue.lanes {
        while let QueueReturn::Popped(Some(_)) =
            log.record(QueueCall::Pop, |_| QueueReturn::Popped(lane.lock().unwrap().pop_front()))
        {}
    }
    operations.extend(log.into_operations());
    operations
}

const STRICT: Contract = Contract { order: Order::Total, empty: Empty::Exact, drained: true };

#[test]
fn a_sound_queue_is_not_accused() {
    for seed in 0..10 {
        let tally = fifo::check(&run_queue(Flaw::Nothing, seed), STRICT).unwrap_or_else(|fault| panic!("{fault}"));
        assert!(tally.popped > 100 && tally.empties > 0, "{tally:?}");
    }
}

#[test]
fn broken_queues_are_found_out() {
    type Names = fn(&Fault) -> bool;
    let expected: [(Flaw, Names); 4] = [
        (Flaw::Reorders, |fault| matches!(fault, Fault::Overtaken { .. })),
        (Flaw::EmptyWhenBusy, |fault| matches!(fault, Fault::NotEmpty { .. })),
        (Flaw::TakesTwice, |fault| matches!(fault, Fault::Twice { .. })),
        (Flaw::LosesWhenBusy, |fault| matches!(fault, Fault::Lost { .. })),
    ];
    for (flaw, is_it) in expected {
        let faults = (0..40).filter_map(|seed| fifo::check(&run_queue(flaw, seed), STRICT).err());
        let fault = faults.take(1).next().unwrap_or_else(|| panic!("{flaw:?} went unseen"));
        assert!(is_it(&fault), "{flaw:?} was taken for: {fault}");
    }
}
