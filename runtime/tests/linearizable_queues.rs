//! Every queue under two to eight threads: long runs by the rules that decide queues (nothing lost, twice, overtaken,
//! or said to be empty when it was not), and windows of a few operations, the limit among them, by exhaustive search.

use rheostat_linearize::fifo::{self, Contract, Empty, Order, Tally};
use rheostat_linearize::{Limits, Log, Operation, QueueCall, QueueReturn, Recorder, check};
use rheostat_runtime::queue::{
    Consumer, HandOverError, Kind, PopError, Producer, PushError, Queue, Ring, Segmented, spsc,
};
use rheostat_runtime::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use rheostat_runtime::sync::atomic::{AtomicBool, AtomicUsize};
use std::ops::Range;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

const SEED: u64 = 0x5eed_2026;
/// Operations of one long run, of all threads.
const OPERATIONS: usize = 16_000;

type History = Vec<Operation<QueueCall, QueueReturn>>;
type QueueLog = Log<QueueCall, QueueReturn>;

/// A queue of numbers, as a history sees it.
trait Subject: Sync {
    const CONTRACT: Contract;
    fn of_capacity(capacity: usize) -> Self;
    fn push(&self, item: u64) -> bool;
    fn pop(&self) -> Option<u64>;
    fn push_run(&self, items: &mut Vec<u64>);
    fn pop_run(&self, out: &mut Vec<u64>, max: usize);
}

/// Whether it was pushed, into what nobody closes.
fn is_in(pushed: Result<(), PushError<u64>>) -> bool {
    match pushed {
        Ok(()) => true,
        Err(PushError::Full(_)) => false,
        Err(PushError::Closed(_)) => unreachable!("nobody closes it"),
    }
}

/// What was popped, of what nobody closes.
fn found(popped: Result<u64, PopError>) -> Option<u64> {
    match popped {
        Ok(item) => Some(item),
        Err(PopError::Empty) => None,
        Err(PopError::Closed) => unreachable!("nobody closes it"),
    }
}

/// A ring's item is there for consumers when its slot is filled, in the order of the slots: a producer that has won a
/// slot and not filled it yet hides the items behind it.
impl Subject for Ring<u64> {
    const CONTRACT: Contract = Contract { order: Order::Total, empty: Empty::LagsPushes, drained: true };

    fn of_capacity(capacity: usize) -> Self {
        Ring::with_start(capacity, capacity, usize::MAX - 100).unwrap()
    }
    fn push(&self, item: u64) -> bool {
        is_in(self.try_push(item))
    }
    fn pop(&self) -> Option<u64> {
        found(self.try_pop())
    }
    fn push_run(&self, items: &mut Vec<u64>) {
        self.push_bulk(items);
    }
    fn pop_run(&self, out: &mut Vec<u64>, max: usize) {
        self.pop_bulk(out, max);
    }
}

/// Without handles all pushes go to one lane, one after the other.
impl Subject for Segmented<u64> {
    const CONTRACT: Contract = Contract { order: Order::Total, empty: Empty::Exact, drained: true };

    fn of_capacity(_unbounded: usize) -> Self {
        Segmented::new()
    }
    fn push(&self, item: u64) -> bool {
        Segmented::push(self, item);
        true
    }
    fn pop(&self) -> Option<u64> {
        Segmented::pop(self)
    }
    fn push_run(&self, items: &mut Vec<u64>) {
        self.push_bulk(items);
    }
    fn pop_run(&self, out: &mut Vec<u64>, max: usize) {
        self.pop_bulk(out, max);
    }
}

/// A push that begins when another has ended goes to the same structure or a later one, whichever threads they are of;
/// and each kind keeps that order itself. So the order is total, whatever is turned.
impl Subject for Queue<u64> {
    const CONTRACT: Contract = Contract { order: Order::Total, empty: Empty::LagsPushes, drained: true };

    fn of_capacity(capacity: usize) -> Self {
        Queue::new(Kind::Segmented, capacity).unwrap()
    }
    fn push(&self, item: u64) -> bool {
        is_in(self.try_push(item))
    }
    fn pop(&self) -> Option<u64> {
        found(self.try_pop())
    }
    fn push_run(&self, items: &mut Vec<u64>) {
        self.push_bulk(items);
    }
    fn pop_run(&self, out: &mut Vec<u64>, max: usize) {
        self.pop_bulk(out, max);
    }
}

/// The turnable queue on a kind of choice, by its place among all.
struct OfKind<const KIND: usize>(Queue<u64>);

impl<const KIND: usize> Subject for OfKind<KIND> {
    const CONTRACT: Contract = Queue::<u64>::CONTRACT;

    fn of_capacity(capacity: usize) -> Self {
        Self(Queue::new(Kind::ALL[KIND], capacity).unwrap())
    }
    fn push(&self, item: u64) -> bool {
        Subject::push(&self.0, item)
    }
    fn pop(&self) -> Option<u64> {
        Subject::pop(&self.0)
    }
    fn push_run(&self, items: &mut Vec<u64>) {
        self.0.push_run(items);
    }
    fn pop_run(&self, out: &mut Vec<u64>, max: usize) {
        self.0.pop_run(out, max);
    }
}

fn jitter() {
    if fastrand::u8(..) < 8 {
        thread::yield_now();
    }
}

fn push(queue: &impl Subject, log: &mut QueueLog, item: u64) {
    log.record(QueueCall::Push(item), |_| QueueReturn::Pushed(queue.push(item)));
}

fn pop(queue: &impl Subject, log: &mut QueueLog) -> QueueReturn {
    *log.record(QueueCall::Pop, |_| QueueReturn::Popped(queue.pop()))
}

/// All threads push and pop at random; then what is left is popped. With `runs`, some of the operations are bulks, each
/// noted as that many operations of the bulk's two times.
fn history<Q: Subject>(queue: &Q, threads: usize, runs: bool) -> History {
    let (recorder, start) = (Recorder::new(), Barrier::new(threads));
    let mut operations: History = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|index| {
                let (recorder, start) = (&recorder, &start);
                scope.spawn(move || {
                    fastrand::seed(SEED ^ (index as u64) << 32);
                    let (mut log, mut bulks) = (recorder.log(index), recorder.log(index));
                    start.wait();
                    for number in 0..OPERATIONS / threads {
                        let first = (number << 16 | index << 8) as u64;
                        match fastrand::u8(..if runs { 8 } else { 4 }) {
                            0 | 1 => push(queue, &mut log, first),
                            2 | 3 => _ = pop(queue, &mut log),
                            4 | 5 => {
                                let items: Vec<u64> = (first..first + fastrand::u64(2..9)).collect();
                                bulks.record((true, items.clone()), |_| {
                                    let mut left = items.clone();
                                    queue.push_run(&mut left);
                                    items[..items.len() - left.len()].to_vec()
                                });
                            }
                            _ => {
                                bulks.record((false, Vec::new()), |_| {
                                    let mut out = Vec::new();
                                    queue.pop_run(&mut out, 8);
                                    out
                                });
                            }
                        }
                        jitter();
                    }
                    let mut operations = log.into_operations();
                    bulks.into_operations().into_iter().for_each(|bulk| spread(bulk, &mut operations));
                    operations
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let mut log = recorder.log(threads);
    while pop(queue, &mut log) != QueueReturn::Popped(None) {}
    operations.extend(log.into_operations());
    operations
}

/// A bulk as single operations. What a bulk push had no room for was not pushed, and one that pops nothing is left out:
/// unlike a pop, it does not say that there was nothing.
fn spread(bulk: Operation<(bool, Vec<u64>), Vec<u64>>, operations: &mut History) {
    let Operation { thread, began, ended, call: (is_push, _), returned } = bulk;
    operations.extend(returned.into_iter().flatten().map(|item| {
        let (call, returned) = if is_push {
            (QueueCall::Push(item), QueueReturn::Pushed(true))
        } else {
            (QueueCall::Pop, QueueReturn::Popped(Some(item)))
        };
        Operation { thread, began, ended, call, returned: Some(returned) }
    }));
}

fn long_runs_are_those_of_a_queue<Q: Subject>() {
    for threads in [2, 3, 4, 8] {
        for runs in [false, true] {
            let operations = history(&Q::of_capacity(64), threads, runs);
            let what = format!("{threads} threads, in runs: {runs}");
            let Tally { popped, .. } =
                fifo::check(&operations, Q::CONTRACT).unwrap_or_else(|fault| panic!("{what}: {fault}"));
            assert!(popped > OPERATIONS / 8, "{what}: only {popped} popped");
        }
    }
}

/// Lets threads start a round together, to within what it takes a line to travel: a barrier that sleeps wakes them one
/// after the other, and a round is over before the second is awake.
struct Starter(AtomicUsize);

impl Starter {
    fn wait(&self, round: usize, threads: usize) {
        self.0.fetch_add(1, AcqRel);
        let mut looks = 0;
        while self.0.load(Acquire) < (round + 1) * threads {
            looks += 1;
            if looks % 200 == 0 {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

/// Queues of two, each for a few operations of two or three threads. What the contract allows to lag is left out:
/// refused pushes beside a pop in flight, and empty pops beside a push.
fn windows_are_linearizable<Q: Subject>(threads: usize) {
    const ROUNDS: usize = 1_000;
    let (recorder, starter) = (Recorder::new(), Starter(AtomicUsize::new(0)));
    let queues: Vec<Q> = (0..ROUNDS).map(|_| Q::of_capacity(2)).collect();
    let logs: Vec<Vec<History>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|index| {
                let (recorder, starter, queues) = (&recorder, &starter, &queues);
                scope.spawn(move || {
                    fastrand::seed(SEED ^ (index as u64) << 32);
                    let rounds = queues.iter().enumerate().map(|(round, queue)| {
                        let mut log = recorder.log(index);
                        starter.wait(round, threads);
                        for number in 0..12 / threads {
                            if fastrand::bool() {
                                push(queue, &mut log, (number << 8 | index) as u64);
                            } else {
                                pop(queue, &mut log);
                            }
                        }
                        log.into_operations()
                    });
                    rounds.collect()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let specification = rheostat_linearize::Queue { capacity: Some(2) };
    let mut refused = 0;
    for round in 0..ROUNDS {
        let all: History = logs.iter().flat_map(|rounds| rounds[round].clone()).collect();
        let beside = |operation: &Operation<QueueCall, QueueReturn>, other: fn(&QueueCall) -> bool| {
            all.iter().any(|one| other(&one.call) && !one.is_before(operation) && !operation.is_before(one))
        };
        let held: History = all
            .iter()
            .filter(|operation| match operation.returned {
                Some(QueueReturn::Pushed(false)) => !beside(operation, |call| *call == QueueCall::Pop),
                Some(QueueReturn::Popped(None)) if Q::CONTRACT.empty == Empty::LagsPushes => {
                    !beside(operation, |call| *call != QueueCall::Pop)
                }
                _ => true,
            })
            .cloned()
            .collect();
        refused += held.iter().filter(|operation| operation.returned == Some(QueueReturn::Pushed(false))).count();
        check(&specification, &held, Limits::default()).assert(format_args!("round {round} of {threads} threads"));
    }
    assert!(refused > 0, "no queue was ever full");
}

#[test]
fn long_runs_of_a_ring() {
    long_runs_are_those_of_a_queue::<Ring<u64>>();
}

#[test]
fn long_runs_of_a_segmented_queue() {
    long_runs_are_those_of_a_queue::<Segmented<u64>>();
}

/// Producers by handles share nothing, so only what one of them pushed is in order. "Empty" is a walk along the lanes:
/// some push beside it explains what it missed in a lane that it had passed.
#[test]
fn long_runs_of_a_segmented_queue_by_handles() {
    for threads in [2, 4, 8] {
        let queue = Arc::new(Segmented::new());
        let (recorder, start) = (Recorder::new(), Barrier::new(threads));
        let mut operations: History = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|index| {
                    let (mut producer, mut consumer) = (Segmented::producer(&queue), Segmented::consumer(&queue));
                    let (recorder, start) = (&recorder, &start);
                    scope.spawn(move || {
                        fastrand::seed(SEED ^ (index as u64) << 32);
                        let mut log = recorder.log(index);
                        start.wait();
                        for number in 0..OPERATIONS / threads {
                            if fastrand::bool() {
                                let item = (number << 16 | index << 8) as u64;
                                log.record(QueueCall::Push(item), |_| {
                                    producer.push(item);
                                    QueueReturn::Pushed(true)
                                });
                            } else {
                                log.record(QueueCall::Pop, |_| QueueReturn::Popped(consumer.pop()));
                            }
                            jitter();
                        }
                        log.into_operations()
                    })
                })
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        let mut log = recorder.log(threads);
        while pop(&*queue, &mut log) != QueueReturn::Popped(None) {}
        operations.extend(log.into_operations());
        let contract = Contract { order: Order::PerProducer, empty: Empty::LagsPushes, drained: true };
        let tally = fifo::check(&operations, contract).unwrap_or_else(|fault| panic!("{threads} threads: {fault}"));
        assert!(tally.popped > OPERATIONS / 8, "{threads} threads: {tally:?}");
    }
}

#[test]
fn long_runs_of_a_queue_in_a_storm_of_turns() {
    for threads in [2, 4, 8] {
        for runs in [false, true] {
            let (queue, done, turns) = (Queue::of_capacity(64), AtomicBool::new(false), AtomicUsize::new(0));
            let operations = thread::scope(|scope| {
                scope.spawn(|| {
                    fastrand::seed(SEED + 7);
                    loop {
                        match queue.turn(fastrand::choice(Kind::ALL).unwrap(), fastrand::usize(1..65)) {
                            Ok(_) => _ = turns.fetch_add(1, Relaxed),
                            Err(HandOverError::Undrained { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                        // Asked after a turn: on a busy machine all may be done before the first.
                        if done.load(Relaxed) {
                            break;
                        }
                        thread::yield_now();
                    }
                });
                let operations = history(&queue, threads, runs);
                done.store(true, Relaxed);
                operations
            });
            let what = format!("{threads} threads, in runs: {runs}, {turns:?} turns");
            let Tally { popped, .. } =
                fifo::check(&operations, Queue::<u64>::CONTRACT).unwrap_or_else(|fault| panic!("{what}: {fault}"));
            assert!(popped > OPERATIONS / 16 && turns.load(Relaxed) > 0, "{what}: only {popped} popped");
        }
    }
}

#[test]
fn long_runs_of_a_queue_on_each_kind() {
    const { assert!(Kind::ALL.len() == 4) };
    long_runs_are_those_of_a_queue::<OfKind<0>>();
    long_runs_are_those_of_a_queue::<OfKind<1>>();
    long_runs_are_those_of_a_queue::<OfKind<2>>();
    long_runs_are_those_of_a_queue::<OfKind<3>>();
}

/// Every pair of kinds, turned once in the midst of a run.
#[test]
fn long_runs_of_a_queue_from_each_kind_to_each() {
    for (from, to) in Kind::ALL.into_iter().flat_map(|from| Kind::ALL.map(|to| (from, to))) {
        let (queue, done) = (Queue::new(from, 64).unwrap(), AtomicBool::new(false));
        let operations = thread::scope(|scope| {
            let turner = scope.spawn(|| {
                // While the other threads are at work, however few cores there are: not before some items are in.
                while queue.is_empty() && !done.load(Relaxed) {
                    thread::yield_now();
                }
                queue.turn(to, 48).unwrap()
            });
            let operations = history(&queue, 3, true);
            done.store(true, Relaxed);
            assert_eq!(turner.join().unwrap().kind, from);
            operations
        });
        let Tally { popped, .. } =
            fifo::check(&operations, Queue::<u64>::CONTRACT).unwrap_or_else(|fault| panic!("{from} to {to}: {fault}"));
        assert!(popped > OPERATIONS / 8, "{from} to {to}: only {popped} popped");
        assert_eq!(queue.kind(), Some(to));
    }
}

/// Kinds that keep an exact limit themselves.
#[test]
fn windows_of_a_queue_on_a_ring_and_on_an_array_queue() {
    assert_eq!([Kind::ALL[0], Kind::ALL[2]], [Kind::Ring, Kind::ArrayQueue]);
    windows_are_linearizable::<OfKind<0>>(3);
    windows_are_linearizable::<OfKind<2>>(3);
}

/// The segmented queue behind the face, whose limit it keeps.
#[test]
fn windows_of_a_turnable_queue() {
    windows_are_linearizable::<Queue<u64>>(2);
    windows_are_linearizable::<Queue<u64>>(3);
}

#[test]
fn windows_of_a_ring() {
    windows_are_linearizable::<Ring<u64>>(2);
    windows_are_linearizable::<Ring<u64>>(3);
}

/// One producer and one consumer overlap so little that the search manages the whole run, refused pushes and all.
#[test]
fn whole_runs_of_an_spsc_ring() {
    const ROUNDS: u64 = 50;
    // On a busy machine one thread may be through before the other begins.
    let met = (0..ROUNDS).any(|round| spsc_run(round) > 8);
    assert!(met, "in none of {ROUNDS} rounds did both threads use the ring at once");
}

/// Both ends at work, and what they did checked. How many items came out.
fn spsc_run(round: u64) -> u64 {
    const EACH: u64 = 4_000;
    let (mut producer, mut consumer) = spsc::ring_with_start::<u64>(8, usize::MAX - 100).unwrap();
    let (recorder, starter) = (Recorder::new(), Starter(AtomicUsize::new(0)));
    let operations: History = thread::scope(|scope| {
        let pushes = scope.spawn(|| {
            fastrand::seed(SEED + 2 * round);
            let mut log = recorder.log(0);
            starter.wait(0, 2);
            for item in 0..EACH {
                log.record(QueueCall::Push(item), |_| QueueReturn::Pushed(producer.try_push(item).is_ok()));
                jitter();
            }
            log.into_operations()
        });
        let pops = scope.spawn(|| {
            fastrand::seed(SEED + 2 * round + 1);
            let mut log = recorder.log(1);
            starter.wait(0, 2);
            for _ in 0..EACH {
                log.record(QueueCall::Pop, |_| QueueReturn::Popped(consumer.try_pop().ok()));
                jitter();
            }
            log.into_operations()
        });
        pushes.join().unwrap().into_iter().chain(pops.join().unwrap()).collect()
    });
    let contract = Contract { order: Order::Total, empty: Empty::Exact, drained: false };
    let tally = fifo::check(&operations, contract).unwrap_or_else(|fault| panic!("{fault}"));
    check(&rheostat_linearize::Queue { capacity: Some(8) }, &operations, Limits::default()).assert("spsc");
    tally.popped as u64
}

/// Handles that are the only ones of their kind go without compare-exchange until another joins them: a producer and a
/// consumer alone for a while, then with a guest each, again and again.
#[test]
fn handles_that_guests_join_and_leave() {
    const VISITS: usize = 8;
    /// More steps than it takes a handle to find that it is alone.
    const ALONE: usize = 1_500;
    const VISIT: usize = 200;
    let (producer, consumer) = Ring::with_start(64, 64, usize::MAX - 100).unwrap().split();
    let recorder = Recorder::new();
    let operations = Mutex::new(History::new());
    let keep = |log: QueueLog| operations.lock().unwrap().extend(log.into_operations());
    let pushes = |producer: &Producer<u64>, log: &mut QueueLog, thread: usize, numbers: Range<usize>| {
        for number in numbers {
            let item = (thread << 32 | number) as u64;
            log.record(QueueCall::Push(item), |_| QueueReturn::Pushed(producer.try_push(item).is_ok()));
            jitter();
        }
    };
    let pops = |consumer: &Consumer<u64>, log: &mut QueueLog, count: usize| {
        for _ in 0..count {
            log.record(QueueCall::Pop, |_| QueueReturn::Popped(consumer.try_pop().ok()));
            jitter();
        }
    };
    let consumer = thread::scope(|scope| {
        let (recorder, keep, pushes, pops) = (&recorder, &keep, &pushes, &pops);
        scope.spawn(move || {
            fastrand::seed(SEED);
            let mut log = recorder.log(0);
            for visit in 0..VISITS {
                let first = visit * (ALONE + VISIT);
                pushes(&producer, &mut log, 0, first..first + ALONE);
                let guest = producer.clone();
                let guest = scope.spawn(move || {
                    fastrand::seed(SEED + visit as u64);
                    let mut log = recorder.log(2 + visit);
                    pushes(&guest, &mut log, 2 + visit, 0..VISIT);
                    keep(log);
                });
                pushes(&producer, &mut log, 0, first + ALONE..first + ALONE + VISIT);
                guest.join().unwrap();
            }
            keep(log);
        });
        let consumes = scope.spawn(move || {
            fastrand::seed(SEED + 1);
            let mut log = recorder.log(1);
            for visit in 0..VISITS {
                pops(&consumer, &mut log, ALONE);
                let guest = consumer.clone();
                let guest = scope.spawn(move || {
                    fastrand::seed(SEED - visit as u64);
                    let mut log = recorder.log(2 + VISITS + visit);
                    pops(&guest, &mut log, VISIT);
                    keep(log);
                });
                pops(&consumer, &mut log, VISIT);
                guest.join().unwrap();
            }
            keep(log);
            consumer
        });
        consumes.join().unwrap()
    });
    let mut log = recorder.log(2 + 2 * VISITS);
    while !consumer.is_empty() {
        pops(&consumer, &mut log, 1);
    }
    keep(log);
    let operations = operations.into_inner().unwrap();
    let tally = fifo::check(&operations, Ring::<u64>::CONTRACT).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(tally.popped >= 64, "not even one ringful went through: {tally:?}");
}
