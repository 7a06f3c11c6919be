//! The queue used by one thread: exact answers, and the same answers as a plain deque, whatever is turned meanwhile.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use rheostat_runtime::queue::{
    CAPACITY_MAX, CapacityError, ERAS_MAX, HandOver, HandOverError, Kind, KindError, PopError, PushError, Queue,
};

#[test]
fn kinds_are_spelled_as_they_are_read() {
    for kind in Kind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    let error: KindError = "vector".parse::<Kind>().unwrap_err();
    let known = Kind::ALL.map(Kind::as_str).join(", ");
    assert_eq!(error.to_string(), format!("`vector` is not a queue kind: write {known}"));
}

#[test]
fn a_capacity_out_of_range_is_refused_with_the_range() {
    for kind in Kind::ALL {
        assert_eq!(Queue::<u8>::new(kind, 0).unwrap_err(), CapacityError { requested: 0, max: CAPACITY_MAX });
        let queue = Queue::<u8>::new(kind, 3).unwrap();
        let refused = HandOverError::Capacity(CapacityError { requested: usize::MAX, max: CAPACITY_MAX });
        assert_eq!(queue.set_capacity(usize::MAX).unwrap_err(), refused);
        assert_eq!((queue.kind(), queue.capacity()), (Some(kind), 3));
    }
}

#[test]
fn each_kind_keeps_its_limit_exactly_for_one_thread() {
    for kind in Kind::ALL {
        for capacity in [1, 2, 3, 100, 1000, 5000] {
            let queue = Queue::new(kind, capacity).unwrap();
            for item in 0..capacity {
                queue.try_push(item).unwrap();
            }
            assert!(queue.is_full());
            assert!(matches!(queue.try_push(7), Err(PushError::Full(7))), "{kind} of {capacity}");
            assert_eq!(queue.push_bulk(&mut vec![7]), 0);
            assert!(matches!(queue.push_timeout(7, Duration::from_millis(1)), Err(PushError::Full(7))));
        }
    }
}

#[test]
fn what_was_pushed_before_a_turn_is_popped_before_what_was_pushed_after() {
    for from in Kind::ALL {
        for to in Kind::ALL {
            let queue = Queue::new(from, 8).unwrap();
            queue.push_all(&mut (0..4).collect()).unwrap();
            let drained = from == to;
            let before = HandOver { kind: from, capacity: 8, drained };
            assert_eq!(queue.turn(to, 8), Ok(before));
            queue.push_all(&mut (4..8).collect()).unwrap();
            assert!(matches!(queue.try_push(8), Err(PushError::Full(8))), "both structures count, {from} to {to}");
            assert_eq!((queue.len(), queue.kind()), (8, Some(to)));
            (0..8).for_each(|item| assert_eq!(queue.try_pop(), Ok(item)));
            assert_eq!(queue.try_pop(), Err(PopError::Empty));
            assert!(queue.settle());
        }
    }
}

#[test]
fn an_empty_queue_is_handed_over_at_once() {
    let queue = Queue::<u8>::new(Kind::Ring, 4).unwrap();
    for kind in Kind::ALL.into_iter().cycle().take(10 * ERAS_MAX) {
        assert!(queue.set_kind(kind).unwrap().drained);
    }
}

#[test]
fn turned_below_its_length_it_drains_before_it_takes_more() {
    for (kind, other) in [(Kind::Ring, Kind::SegQueue), (Kind::SegQueue, Kind::ArrayQueue)] {
        for to in [kind, other] {
            let queue = Queue::new(kind, 8).unwrap();
            queue.push_all(&mut (0..8).collect()).unwrap();
            let _ = queue.turn(to, 2).unwrap();
            for popped in 0..6 {
                assert!(matches!(queue.try_push(8), Err(PushError::Full(8))));
                assert_eq!(queue.len(), 8 - popped);
                assert_eq!(queue.try_pop(), Ok(popped));
            }
            assert!(queue.try_push(8).is_err());
            assert_eq!(queue.try_pop(), Ok(6));
            queue.try_push(8).unwrap();
            assert_eq!((queue.try_pop(), queue.try_pop()), (Ok(7), Ok(8)));
        }
    }
}

#[test]
fn too_many_hand_overs_that_nobody_drains_are_refused() {
    let queue = Queue::new(Kind::ArrayQueue, 100).unwrap();
    for turn in 0..ERAS_MAX {
        queue.try_push(turn).unwrap();
        assert!(!queue.set_capacity(101 + turn).unwrap().drained);
    }
    let refused = queue.set_kind(Kind::Ring).unwrap_err();
    assert_eq!(refused.to_string(), "8 hand-overs wait for their items to be popped: pop some first");
    assert_eq!((queue.try_pop(), queue.kind()), (Ok(0), Some(Kind::ArrayQueue)));
    let _ = queue.set_kind(Kind::Ring).unwrap();
    assert_eq!(queue.capacity(), 100 + ERAS_MAX);
}

#[test]
fn a_closed_queue_gives_back_drains_and_then_says_so() {
    for kind in Kind::ALL {
        let queue = Queue::new(kind, 4).unwrap();
        queue.try_push(1).unwrap();
        queue.close();
        queue.close();
        assert!(queue.is_closed());
        assert!(matches!(queue.try_push(2), Err(PushError::Closed(2))));
        assert_eq!(queue.push(2).unwrap_err().0, 2);
        let mut rest = vec![2, 3];
        assert!(queue.push_all(&mut rest).is_err());
        assert_eq!(rest, [2, 3]);
        assert_eq!(queue.set_kind(Kind::Ring), Err(HandOverError::Closed));
        let mut out = Vec::new();
        assert_eq!(queue.pop_bulk_within(&mut out, 9, None), Ok(1));
        assert_eq!(queue.pop_bulk_within(&mut out, 9, None), Err(PopError::Closed));
        assert_eq!(queue.try_pop(), Err(PopError::Closed));
        assert!(queue.pop().is_err());
    }
}

/// Who waits for room must not wait for it to be drained.
#[test]
fn a_full_queue_that_is_closed_says_closed() {
    for kind in Kind::ALL {
        let queue = Queue::new(kind, 1).unwrap();
        queue.try_push(1).unwrap();
        queue.close();
        assert!(matches!(queue.try_push(2), Err(PushError::Closed(2))), "{kind}");
        assert_eq!(queue.push(2).unwrap_err().0, 2);
        assert!(queue.push_all(&mut vec![2]).is_err());
        assert_eq!((queue.try_pop(), queue.try_pop()), (Ok(1), Err(PopError::Closed)));
    }
}

#[test]
fn what_is_left_is_dropped_once() {
    let item = Rc::new(());
    for kind in Kind::ALL {
        let queue = Queue::new(kind, 9).unwrap();
        (0..3).for_each(|_| queue.try_push(item.clone()).unwrap());
        for to in Kind::ALL {
            let _ = queue.set_kind(to).unwrap();
            queue.try_push(item.clone()).unwrap();
        }
        drop(queue.try_pop().unwrap());
        queue.close();
        assert_eq!(Rc::strong_count(&item), 1 + 3 + Kind::ALL.len() - 1);
        drop(queue);
        assert_eq!(Rc::strong_count(&item), 1);
    }
}

#[derive(Debug, Clone)]
enum Op {
    Push,
    PushBulk(usize),
    Pop,
    PopBulk(usize),
    Turn(Kind, usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => Just(Op::Push),
        2 => (0usize..9).prop_map(Op::PushBulk),
        4 => Just(Op::Pop),
        2 => (0usize..9).prop_map(Op::PopBulk),
        1 => (prop::sample::select(&Kind::ALL[..]), 1usize..9).prop_map(|(kind, capacity)| Op::Turn(kind, capacity)),
    ];
    prop::collection::vec(op, 0..200)
}

proptest! {
    #[test]
    fn it_is_a_bounded_deque_whatever_is_turned(ops in ops()) {
        let queue = Queue::new(Kind::Ring, 4).unwrap();
        let (mut model, mut capacity, mut next) = (VecDeque::new(), 4, 0);
        for op in ops {
            match op {
                Op::Push => {
                    prop_assert_eq!(queue.try_push(next).is_ok(), model.len() < capacity);
                    if model.len() < capacity {
                        model.push_back(next);
                    }
                    next += 1;
                }
                Op::PushBulk(count) => {
                    let mut items: Vec<usize> = (next..next + count).collect();
                    let room = capacity.saturating_sub(model.len()).min(count);
                    prop_assert_eq!(queue.push_bulk(&mut items), room);
                    prop_assert_eq!(items, (next + room..next + count).collect::<Vec<_>>());
                    model.extend(next..next + room);
                    next += count;
                }
                Op::Pop => prop_assert_eq!(queue.try_pop().ok(), model.pop_front()),
                Op::PopBulk(max) => {
                    let mut out = Vec::new();
                    // A run ends where a structure does.
                    while let left = max - out.len()
                        && queue.pop_bulk(&mut out, left) > 0
                    {}
                    prop_assert_eq!(out, model.drain(..max.min(model.len())).collect::<Vec<_>>());
                }
                Op::Turn(kind, to) => match queue.turn(kind, to) {
                    Ok(_) => capacity = to,
                    Err(error) => prop_assert_eq!(error, HandOverError::Undrained { eras: ERAS_MAX }),
                }
            }
            prop_assert_eq!((queue.len(), queue.capacity()), (model.len(), capacity));
        }
    }
}
