//! A hosted queue as a host sees it: knobs, readings, the journal.

use std::time::Duration;

use rheostat_runtime::observe::families::*;
use rheostat_runtime::observe::{Actor, Outcome, Reading, Registry, RegistryError, Resource, TurnError, Value};
use rheostat_runtime::queue::{HOSTED_CAPACITY_MAX, HostedQueue, Kind, PopError, PushError};

fn item(number: u8) -> Box<[u8]> {
    Box::new([number])
}

fn read(queue: &HostedQueue) -> Reading {
    let mut reading = Reading::default();
    queue.read(&mut reading);
    reading
}

/// The label of the one sample of a family that is 1.
fn chosen(reading: &Reading, name: &str) -> Vec<&'static str> {
    let of = reading.samples.iter().filter(|sample| sample.family.name == name);
    of.filter(|sample| format!("{:?}", sample.measure) == "Level(1.0)")
        .flat_map(|sample| sample.labels.clone())
        .collect()
}

#[test]
fn its_kind_turns_by_name_and_the_journal_tells() {
    let registry = Registry::new();
    let queue = HostedQueue::new("jobs", Kind::Ring, 8).unwrap();
    registry.add(queue.clone()).unwrap();
    for number in 0..3 {
        queue.try_push(item(number)).unwrap();
    }
    let turn = |knob, to| registry.turn(queue.address(), knob, to, Actor::Process);
    let change = turn("kind", Value::Choice("segmented".into())).unwrap();
    assert_eq!((change.from, change.outcome), (Value::Choice("ring".into()), Outcome::Settling));
    queue.try_push(item(3)).unwrap();
    assert_eq!(read(&queue).level_of(&QUEUE_HANDING_OVER), Some(1.0));
    for number in 0..4 {
        assert_eq!(queue.try_pop(), Ok(item(number)));
    }
    let reading = read(&queue);
    assert_eq!(reading.level_of(&QUEUE_HANDING_OVER), Some(0.0));
    assert_eq!(chosen(&reading, QUEUE_KIND.name), ["segmented"]);
    let change = turn("capacity", Value::Integer(2)).unwrap();
    assert_eq!((change.from, change.outcome), (Value::Integer(8), Outcome::Applied));
    let refused = turn("kind", Value::Choice("stack".into()));
    assert!(matches!(refused, Err(RegistryError::Turn(TurnError::Range { .. }))), "{refused:?}");
    assert_eq!(registry.journal().since(0).len(), 2);
}

#[test]
fn counts_go_on_across_turns() {
    let queue = HostedQueue::new("jobs", Kind::SegQueue, 2).unwrap();
    for (number, kind) in Kind::ALL.into_iter().enumerate() {
        queue.turn("kind", &Value::Choice(kind.to_string())).unwrap();
        queue.try_push(item(1)).unwrap();
        queue.push_timeout(item(2), Duration::ZERO).unwrap();
        assert!(matches!(queue.try_push(item(3)), Err(PushError::Full(_))));
        assert!(matches!(queue.push_timeout(item(3), Duration::from_millis(1)), Err(PushError::Full(_))));
        assert_eq!(queue.pop_timeout(Duration::ZERO), Ok(item(1)));
        assert_eq!(queue.try_pop(), Ok(item(2)));
        assert_eq!(queue.try_pop(), Err(PopError::Empty));
        assert_eq!(queue.pop_timeout(Duration::from_millis(1)), Err(PopError::Empty));
        let (reading, rounds) = (read(&queue), number as u64 + 1);
        assert_eq!(reading.total_of(&QUEUE_ENQUEUED), Some(2 * rounds));
        assert_eq!(reading.total_of(&QUEUE_DEQUEUED), Some(2 * rounds));
        assert_eq!(reading.total_of(&QUEUE_REJECTED), Some(2 * rounds));
        assert_eq!(reading.total_of(&QUEUE_EMPTY_POPS), Some(2 * rounds));
        assert_eq!((reading.level_of(&QUEUE_DEPTH), reading.level_of(&QUEUE_CAPACITY)), (Some(0.0), Some(2.0)));
        assert!(reading.total_of(&QUEUE_FULL_TIME) >= Some(1_000_000 * rounds));
        assert!(reading.total_of(&QUEUE_EMPTY_TIME) >= Some(1_000_000 * rounds));
    }
}

#[test]
fn lost_exchanges_show_once_a_kind_has_counted_them() {
    let queue = HostedQueue::new("jobs", Kind::SegQueue, 8).unwrap();
    let shown = || {
        let reading = read(&queue);
        let of = reading.samples.iter().filter(|sample| sample.family.name == QUEUE_CAS_FAILURES.name);
        of.map(|sample| sample.labels.clone()).collect::<Vec<_>>()
    };
    assert!(shown().is_empty(), "crossbeam's queues do not say");
    for kind in ["segmented", "ring", "array_queue"] {
        queue.turn("kind", &Value::Choice(kind.into())).unwrap();
        assert_eq!(shown(), [["push"], ["pop"]], "{kind}");
    }
}

#[test]
fn one_item_in_64_is_timed() {
    let queue = HostedQueue::new("jobs", Kind::Segmented, HOSTED_CAPACITY_MAX).unwrap();
    for _ in 0..HOSTED_CAPACITY_MAX {
        queue.try_push(item(0)).unwrap();
    }
    while queue.try_pop().is_ok() {}
    let timed = read(&queue).samples.into_iter().find_map(|sample| match sample.measure {
        rheostat_runtime::observe::Measure::Spread(waits) if sample.family.name == QUEUE_WAIT.name => {
            Some(waits.count())
        }
        _ => None,
    });
    let expected = (HOSTED_CAPACITY_MAX / 64) as u64;
    assert!((expected / 2..expected * 2).contains(&timed.unwrap()), "{timed:?} of about {expected}");
}

#[test]
fn closed_it_drains_and_has_no_kind_to_turn() {
    let queue = HostedQueue::new("jobs", Kind::ArrayQueue, 4).unwrap();
    queue.try_push(item(1)).unwrap();
    queue.close();
    assert!(matches!(queue.try_push(item(2)), Err(PushError::Closed(_))));
    assert!(queue.knobs().iter().all(|knob| knob.name != "kind"));
    let refused = queue.turn("capacity", &Value::Integer(9)).unwrap_err();
    assert_eq!(refused.to_string(), "capacity was not turned: the queue is closed");
    assert_eq!((queue.try_pop(), queue.try_pop()), (Ok(item(1)), Err(PopError::Closed)));
    assert!(HostedQueue::new("jobs", Kind::SegQueue, HOSTED_CAPACITY_MAX + 1).is_err());
}
