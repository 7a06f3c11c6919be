//! Small random histories, sound ones and corrupted ones, shown to our search and to stateright's, which shares no line
//! with it: they agree on every one. Queues are shown to the rules of `fifo` as well.

use rheostat_linearize::fifo::{self, Contract, Empty, Order};
use rheostat_linearize::{
    Limits, Operation, Queue, QueueCall, QueueReturn, Register, RegisterCall, RegisterReturn, Set, SetCall,
    Specification, Verdict, check,
};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

const HISTORIES: u64 = 3_000;
const OPERATIONS: usize = 9;

/// A specification as stateright wants it.
struct Reference<S: Specification> {
    specification: S,
    state: S::State,
}

impl<S: Specification + Clone> Clone for Reference<S> {
    fn clone(&self) -> Self {
        Self { specification: self.specification.clone(), state: self.state.clone() }
    }
}

impl<S: Specification> SequentialSpec for Reference<S> {
    type Op = S::Call;
    type Ret = S::Return;

    fn invoke(&mut self, call: &S::Call) -> S::Return {
        let (state, returned) = self.specification.apply(&self.state, call);
        self.state = state;
        returned
    }
}

/// What is random about histories of one specification.
struct Draw<S: Specification> {
    call: fn(&mut fastrand::Rng, u64) -> S::Call,
    wrong: fn(&mut fastrand::Rng, &S::Call) -> S::Return,
}

/// A history that is linearizable, by way of taking effect at one moment between beginning and end, with no two equal
/// times; then, in two of three cases, one or two returns are made up. Operations that are still under way when the
/// budget of operations is spent have not returned.
fn history<S: Specification>(
    specification: &S,
    draw: &Draw<S>,
    rng: &mut fastrand::Rng,
) -> Vec<Operation<S::Call, S::Return>> {
    /// An operation under way, and what it will return once it has taken effect.
    type Flight<S> = Option<(usize, Option<<S as Specification>::Return>)>;
    let mut operations: Vec<Operation<S::Call, S::Return>> = Vec::new();
    let mut state = specification.initial();
    let mut threads: Vec<Flight<S>> = (0..rng.usize(1..=4)).map(|_| None).collect();
    for now in 0.. {
        let thread = rng.usize(..threads.len());
        threads[thread] = match threads[thread].take() {
            None if operations.len() == OPERATIONS => break,
            None => {
                let call = (draw.call)(rng, now);
                operations.push(Operation { thread, began: now, ended: u64::MAX, call, returned: None });
                Some((operations.len() - 1, None))
            }
            Some((index, None)) => {
                let (next, returns) = specification.apply(&state, &operations[index].call);
                state = next;
                Some((index, Some(returns)))
            }
            Some((index, returned)) => {
                operations[index].ended = now;
                operations[index].returned = returned;
                None
            }
        };
    }
    for _ in 0..rng.usize(..3) {
        let operation = &mut operations[rng.usize(..OPERATIONS)];
        operation.returned = operation.returned.is_some().then(|| (draw.wrong)(rng, &operation.call));
    }
    operations
}

fn stateright_agrees<S: Specification + Copy>(specification: S, operations: &[Operation<S::Call, S::Return>]) -> bool {
    let initial = Reference { specification, state: specification.initial() };
    let mut tester = LinearizabilityTester::<usize, _>::new(initial);
    let mut events: Vec<(u64, usize, bool)> = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        events.push((operation.began, index, false));
        if operation.returned.is_some() {
            events.push((operation.ended, index, true));
        }
    }
    events.sort_unstable();
    for (_, index, is_end) in events {
        let operation = &operations[index];
        if is_end {
            tester.on_return(operation.thread, operation.returned.clone().unwrap()).unwrap();
        } else {
            tester.on_invoke(operation.thread, operation.call.clone()).unwrap();
        }
    }
    tester.is_consistent()
}

/// Shows each of many histories to both, and to `also` with the verdict.
fn cross_check<S: Specification + Copy>(
    specification: S,
    draw: Draw<S>,
    also: impl Fn(&[Operation<S::Call, S::Return>], bool),
) {
    let mut sound = 0;
    for seed in 0..HISTORIES {
        let operations = history(&specification, &draw, &mut fastrand::Rng::with_seed(seed));
        let verdict = check(&specification, &operations, Limits::default());
        assert!(!matches!(verdict, Verdict::Undecided(_)), "seed {seed}: {verdict:?}");
        let ours = verdict.is_linearizable();
        assert_eq!(ours, stateright_agrees(specification, &operations), "seed {seed}: {verdict:?}\n{operations:#?}");
        if let Verdict::Violation(found) = verdict {
            // The counterexample is one: any of the returns it names makes the history up to there whole.
            let end = found.culprit().ended;
            for could in found.could_return() {
                let mut mended: Vec<_> =
                    operations.iter().filter(|operation| operation.began <= end).cloned().collect();
                for operation in &mut mended {
                    if operation.ended == end {
                        operation.returned = Some(could.clone());
                    } else if operation.ended > end {
                        (operation.ended, operation.returned) = (u64::MAX, None);
                    }
                }
                assert!(stateright_agrees(specification, &mended), "seed {seed}: {could:?} does not mend\n{found}");
            }
        }
        also(&operations, ours);
        sound += u64::from(ours);
    }
    assert!((HISTORIES / 4..HISTORIES * 3 / 4).contains(&sound), "{sound} of {HISTORIES} are linearizable: one-sided");
}

#[test]
fn on_registers() {
    fn call(rng: &mut fastrand::Rng, now: u64) -> RegisterCall {
        match rng.u8(..8) {
            0 | 1 => RegisterCall::Get,
            2 => RegisterCall::Insert(now as i64),
            3 => RegisterCall::InsertIfAbsent(rng.i64(..4)),
            4 => RegisterCall::Remove,
            5 => RegisterCall::AddOrInsert(1),
            6 => RegisterCall::Add(1),
            _ => RegisterCall::CompareExchange { current: rng.i64(..4), new: rng.i64(..4) },
        }
    }
    fn wrong(rng: &mut fastrand::Rng, call: &RegisterCall) -> RegisterReturn {
        match call {
            RegisterCall::InsertIfAbsent(_) | RegisterCall::RemoveIf(_) => RegisterReturn::Did(rng.bool()),
            _ => RegisterReturn::Found(rng.bool().then(|| rng.i64(..6))),
        }
    }
    cross_check(Register, Draw { call, wrong }, |_, _| ());
}

#[test]
fn on_sets() {
    fn call(rng: &mut fastrand::Rng, _: u64) -> SetCall {
        let number = rng.u32(..2);
        rng.choice([SetCall::Contains(number), SetCall::Insert(number), SetCall::Remove(number)]).unwrap()
    }
    cross_check(Set, Draw { call, wrong: |rng, _| rng.bool() }, |_, _| ());
}

fn queue_call(rng: &mut fastrand::Rng, now: u64) -> QueueCall {
    if rng.bool() { QueueCall::Push(now) } else { QueueCall::Pop }
}

fn wrong_pop(rng: &mut fastrand::Rng, call: &QueueCall) -> QueueReturn {
    match call {
        QueueCall::Push(_) => QueueReturn::Pushed(true),
        QueueCall::Pop => QueueReturn::Popped(rng.bool().then(|| rng.u64(..24))),
    }
}

#[test]
fn on_bounded_queues() {
    fn wrong(rng: &mut fastrand::Rng, call: &QueueCall) -> QueueReturn {
        match call {
            QueueCall::Push(_) => QueueReturn::Pushed(rng.bool()),
            QueueCall::Pop => wrong_pop(rng, call),
        }
    }
    cross_check(Queue { capacity: Some(2) }, Draw { call: queue_call, wrong }, |_, _| ());
}

#[test]
fn on_unbounded_queues_and_so_do_the_rules_of_fifo() {
    let contract = Contract { order: Order::Total, empty: Empty::Exact, drained: false };
    let draw = Draw { call: queue_call, wrong: wrong_pop };
    cross_check(Queue { capacity: None }, draw, |operations, linearizable| {
        // A pop that never returned may have taken an item, which the rules allow for without telling which.
        let pops_in_flight = operations.iter().filter(|o| o.call == QueueCall::Pop && o.returned.is_none()).count();
        let by_rule = fifo::check(operations, contract);
        if pops_in_flight == 0 {
            assert_eq!(by_rule.is_ok(), linearizable, "{by_rule:?}\n{operations:#?}");
        } else {
            assert!(by_rule.is_ok() || !linearizable, "{by_rule:?}\n{operations:#?}");
        }
    });
}
