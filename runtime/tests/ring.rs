//! The ring used by one thread: exact answers, and the same answers as a plain deque.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rheostat_runtime::queue::{CAPACITY_MAX, CapacityError, PopError, PushError, Ring};

#[test]
fn a_capacity_out_of_range_is_refused_with_the_range() {
    assert_eq!(Ring::<u8>::new(0).unwrap_err(), CapacityError { requested: 0, max: CAPACITY_MAX });
    let error = Ring::<u8>::new(CAPACITY_MAX + 1).unwrap_err();
    assert_eq!(error.to_string(), "queue capacity 16777217 is out of range: choose 1 to 16777216");
    assert!(Ring::<u8>::new(usize::MAX).is_err());
    assert_eq!(Ring::<u8>::with_allocation(9, 8).unwrap_err(), CapacityError { requested: 9, max: 8 });
    let ring = Ring::<u8>::with_allocation(3, 5).unwrap();
    assert_eq!((ring.capacity(), ring.allocation()), (3, 8));
    assert_eq!(ring.set_limit(0).unwrap_err(), CapacityError { requested: 0, max: 8 });
    assert_eq!(ring.set_limit(9).unwrap_err(), CapacityError { requested: 9, max: 8 });
    assert_eq!(ring.set_limit(8), Ok(3));
}

#[test]
fn a_capacity_that_is_no_power_of_two_is_kept_exactly() {
    for capacity in 1..20 {
        let ring = Ring::new(capacity).unwrap();
        for item in 0..capacity {
            ring.try_push(item).unwrap();
        }
        assert!(ring.is_full());
        assert!(matches!(ring.try_push(99), Err(PushError::Full(99))));
        assert_eq!(ring.push_bulk(&mut vec![99]), 0);
    }
}

#[test]
fn a_lowered_limit_drains_and_a_raised_one_lets_in() {
    let ring = Ring::with_allocation(8, 8).unwrap();
    ring.push_all(&mut (0..8).collect()).unwrap();
    assert_eq!(ring.set_limit(2), Ok(8));
    for popped in 0..6 {
        assert!(matches!(ring.try_push(8), Err(PushError::Full(8))));
        assert_eq!(ring.len(), 8 - popped);
        assert_eq!(ring.try_pop(), Ok(popped));
    }
    assert!(ring.try_push(8).is_err());
    assert_eq!(ring.try_pop(), Ok(6));
    ring.try_push(8).unwrap();
    assert!(ring.try_push(9).is_err());
    ring.set_limit(3).unwrap();
    ring.try_push(9).unwrap();
    assert_eq!((ring.pushed(), ring.popped()), (10, 7));
}

#[test]
fn a_closed_ring_gives_back_drains_and_then_says_so() {
    let ring = Ring::new(4).unwrap();
    ring.try_push(1).unwrap();
    ring.close();
    ring.close();
    assert!(ring.is_closed());
    assert!(matches!(ring.try_push(2), Err(PushError::Closed(2))));
    assert!(matches!(ring.push_timeout(2, Duration::from_secs(9)), Err(PushError::Closed(2))));
    assert_eq!(ring.push(2).unwrap_err().0, 2);
    let mut rest = vec![2, 3];
    assert_eq!(ring.push_bulk(&mut rest), 0);
    assert!(ring.push_all(&mut rest).is_err());
    assert_eq!(rest, [2, 3]);
    let mut out = Vec::new();
    assert_eq!(ring.pop_bulk_until(&mut out, 9, || false, None), Ok(1));
    assert_eq!(ring.pop_bulk_until(&mut out, 9, || false, None), Err(PopError::Closed));
    assert_eq!(ring.try_pop(), Err(PopError::Closed));
    assert!(ring.pop().is_err());
    assert_eq!(ring.pop_timeout(Duration::from_secs(9)), Err(PopError::Closed));
}

#[test]
fn time_runs_out_on_both_ends() {
    let ring = Ring::new(1).unwrap();
    let (brief, begin) = (Duration::from_millis(20), Instant::now());
    assert_eq!(ring.pop_timeout(brief), Err(PopError::Empty));
    assert!(begin.elapsed() >= brief);
    assert_eq!(ring.pop_timeout(Duration::ZERO), Err(PopError::Empty));
    ring.push(1).unwrap();
    assert!(matches!(ring.push_timeout(2, brief), Err(PushError::Full(2))));
    assert!(begin.elapsed() >= 2 * brief);
    assert_eq!(ring.pop_until(|| true, None), Ok(1), "what is there is popped in any case");
    assert_eq!(ring.pop_until(|| true, None), Err(PopError::Empty));
    ring.push_timeout(3, Duration::MAX).unwrap();
    assert_eq!(ring.pop_timeout(Duration::MAX), Ok(3));
}

#[test]
fn what_is_left_is_dropped_once() {
    let witness = Rc::new(());
    let ring = Ring::with_start(3, 4, usize::MAX - 2).unwrap();
    for _ in 0..5 {
        ring.try_push(witness.clone()).unwrap();
        ring.try_push(witness.clone()).unwrap();
        ring.try_pop().unwrap();
        let _ = ring.try_pop().unwrap();
    }
    ring.push_bulk(&mut vec![witness.clone(); 5]);
    assert_eq!(Rc::strong_count(&witness), 1 + 3);
    drop(ring);
    assert_eq!(Rc::strong_count(&witness), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Push,
    Pop,
    PushBulk(usize),
    PopBulk(usize),
    SetLimit(usize),
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Push),
        8 => Just(Step::Pop),
        4 => (0_usize..12).prop_map(Step::PushBulk),
        4 => (0_usize..12).prop_map(Step::PopBulk),
        2 => (0_usize..11).prop_map(Step::SetLimit),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn the_ring_answers_as_a_deque_does(
        allocation in 1_usize..10,
        // Below, at and far past the point where positions wrap.
        start in prop_oneof![Just(0), (0_usize..40).prop_map(|back| usize::MAX - back), any::<usize>()],
        steps in steps(),
    ) {
        let ring = Ring::with_start(allocation, allocation, start).unwrap();
        let (mut deque, mut limit, mut closed) = (VecDeque::new(), allocation, false);
        let (mut pushed, mut popped) = (0_u64, 0_u64);
        for step in steps {
            match step {
                Step::Push => match ring.try_push(pushed) {
                    Ok(()) => {
                        prop_assert!(!closed && deque.len() < limit);
                        deque.push_back(pushed);
                        pushed += 1;
                    }
                    Err(PushError::Full(item)) => prop_assert!(item == pushed && !closed && deque.len() >= limit),
                    Err(PushError::Closed(item)) => prop_assert!(item == pushed && closed),
                },
                Step::Pop => match ring.try_pop() {
                    Ok(item) => {
                        prop_assert_eq!(Some(item), deque.pop_front());
                        popped += 1;
                    }
                    Err(PopError::Empty) => prop_assert!(!closed && deque.is_empty()),
                    Err(PopError::Closed) => prop_assert!(closed && deque.is_empty()),
                },
                Step::PushBulk(count) => {
                    let mut items: Vec<u64> = (pushed..pushed + count as u64).collect();
                    let taken = ring.push_bulk(&mut items);
                    let room = if closed { 0 } else { limit.saturating_sub(deque.len()) };
                    prop_assert_eq!(taken, count.min(room));
                    prop_assert_eq!(&items, &(pushed + taken as u64..pushed + count as u64).collect::<Vec<_>>());
                    deque.extend(pushed..pushed + taken as u64);
                    pushed += taken as u64;
                }
                Step::PopBulk(max) => {
                    let mut out = vec![u64::MAX];
                    let count = ring.pop_bulk(&mut out, max);
                    prop_assert_eq!(count, max.min(deque.len()));
                    prop_assert_eq!(&out[1..], &deque.drain(..count).collect::<Vec<_>>());
                    popped += count as u64;
                }
                Step::SetLimit(to) => match ring.set_limit(to) {
                    Ok(before) => {
                        prop_assert_eq!(before, limit);
                        limit = to;
                    }
                    Err(error) => prop_assert!(to == 0 || to > error.max),
                },
                Step::Close => {
                    ring.close();
                    closed = true;
                }
            }
            prop_assert_eq!(ring.len(), deque.len());
            prop_assert_eq!((ring.pushed(), ring.popped()), (pushed, popped));
            prop_assert_eq!(ring.is_empty(), deque.is_empty());
            prop_assert_eq!(ring.is_full(), deque.len() >= limit);
            prop_assert_eq!((ring.limit(), ring.is_closed()), (limit, closed));
        }
    }
}
