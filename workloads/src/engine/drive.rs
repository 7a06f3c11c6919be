//! The loop every worker runs: draw an operation, do it, count it, time it. In a closed loop one in many is timed; in
//! an open one each is, from when it was due.

use super::arrival::Arrivals;
use super::gate::{Done, Gate};
use crate::generate::Stream;
use rheostat_runtime::observe::{Moment, Spread, now};
use rheostat_runtime::sync::{Arc, hint};
use std::time::Duration;

/// What a worker does, over and over.
pub(super) trait Driver: Send {
    /// An operation about to be done.
    type Op;

    /// Draws the operation at `index`; not part of what is timed.
    fn draw(&mut self, index: u64) -> Self::Op;

    /// Does it. `None` when the phase ended before it could be done. `since` is when its time began, if it is timed.
    fn perform(&mut self, op: Self::Op, since: Option<Moment>, gate: &Gate) -> Option<Performed>;
}

/// An operation that was done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Performed {
    /// Which one, as an index into the group's operations.
    pub op: usize,
    /// Whether the key was there, the push accepted, the pop answered.
    pub hit: bool,
}

/// What the workers of a group time into, one for each operation.
#[derive(Debug)]
pub(super) struct OpSpread {
    pub name: &'static str,
    /// Its share of the mix.
    pub share: f64,
    /// From start to end.
    pub service: Spread,
    /// From when it was due to its end; in an open loop only.
    pub response: Spread,
}

impl OpSpread {
    pub fn new(name: &'static str, share: f64) -> Self {
        Self { name, share, service: Spread::new(), response: Spread::new() }
    }
}

/// How one worker is to run.
pub(super) struct Shift {
    /// Operations to do; `None` until the gate is closed.
    pub quota: Option<u64>,
    /// When they are due; `None` for a closed loop.
    pub arrivals: Option<Arrivals>,
    /// How long the worker is busy with something else after each.
    pub think: Duration,
    /// Draws the jitter of the sample.
    pub jitter: Stream,
    /// One in how many operations of a closed loop is timed, on average.
    pub sample_1_in: u64,
    pub ops: Arc<[OpSpread]>,
    pub done: Arc<Done>,
}

/// What one worker did.
#[derive(Debug)]
pub(super) struct Shiftwork {
    pub began: Moment,
    pub ended: Moment,
    /// Done and hit, by operation.
    pub counts: Vec<(u64, u64)>,
    /// Operations that were due and not done; `None` in a closed loop.
    pub left: Option<u64>,
}

/// Operations between two looks of others at how far a worker is.
const PUBLISH_EVERY: u64 = 64;

/// A wait shorter than this is spun through: to be woken takes about as long.
const SPIN: Duration = Duration::from_micros(80);

/// Steps in which what was left undone is put into the response times.
const LEFT_STEPS: u64 = 100;

/// Runs a worker's loop to its end.
pub(super) fn drive<D: Driver>(driver: &mut D, shift: Shift, gate: &Gate) -> Shiftwork {
    let began = gate.pass();
    let mut counts = vec![(0u64, 0u64); shift.ops.len()];
    let (done, left) = match shift.arrivals {
        None => (closed_loop(driver, &shift, gate, &mut counts), None),
        Some(arrivals) => open_loop(driver, &shift, arrivals, gate, began, &mut counts),
    };
    let ended = now();
    shift.done.set(done);
    Shiftwork { began, ended, counts, left }
}

/// One operation after the other. How many were done.
fn closed_loop<D: Driver>(driver: &mut D, shift: &Shift, gate: &Gate, counts: &mut [(u64, u64)]) -> u64 {
    let quota = shift.quota.unwrap_or(u64::MAX);
    let gap = |index| 1 + shift.jitter.below(index, 2 * shift.sample_1_in - 1);
    let mut timed = gap(u64::MAX) - 1;
    let mut index = 0;
    while index < quota && !gate.is_stopped() {
        let op = driver.draw(index);
        let performed = if index == timed {
            timed += gap(index);
            let start = now();
            let performed = driver.perform(op, Some(start), gate);
            if let Some(Performed { op, .. }) = performed {
                shift.ops[op].service.record(start.elapsed().as_nanos() as u64);
            }
            performed
        } else {
            driver.perform(op, None, gate)
        };
        let Some(Performed { op, hit }) = performed else { break };
        counts[op].0 += 1;
        counts[op].1 += u64::from(hit);
        index += 1;
        if index.is_multiple_of(PUBLISH_EVERY) {
            shift.done.set(index);
        }
        if !shift.think.is_zero() && pause(now(), shift.think, gate) {
            break;
        }
    }
    index
}

/// Every operation when it is due, or at once where that has passed. How many were done, and how many were due and
/// were not: those are in the response times with what they had waited.
fn open_loop<D: Driver>(
    driver: &mut D,
    shift: &Shift,
    mut arrivals: Arrivals,
    gate: &Gate,
    began: Moment,
    counts: &mut [(u64, u64)],
) -> (u64, Option<u64>) {
    let quota = shift.quota.unwrap_or(u64::MAX);
    let mut index = 0;
    while index < quota {
        let op = driver.draw(index);
        let due = arrivals.next();
        if pause(began, due, gate) {
            // What is due only later is not missing.
            let waited = began.elapsed();
            let left = if due > waited { 0 } else { leave(shift, &arrivals, due, waited) };
            return (index, Some(left));
        }
        let due_at = Moment(began.0 + due.as_nanos() as u64);
        let start = now();
        let Some(Performed { op, hit }) = driver.perform(op, Some(due_at), gate) else {
            return (index, Some(leave(shift, &arrivals, due, began.elapsed())));
        };
        let end = now();
        shift.ops[op].service.record(end.since(start).as_nanos() as u64);
        shift.ops[op].response.record(end.since(due_at).as_nanos() as u64);
        counts[op].0 += 1;
        counts[op].1 += u64::from(hit);
        index += 1;
        shift.done.set(index);
        // A worker that thinks is not there for what becomes due meanwhile; that shows in its response times.
        if !shift.think.is_zero() {
            pause(now(), shift.think, gate);
        }
    }
    (index, Some(0))
}

/// Puts what was due and not done, the last of it at `due`, into the response times. How many those are.
fn leave(shift: &Shift, arrivals: &Arrivals, due: Duration, waited: Duration) -> u64 {
    let left = 1 + arrivals.due_by(waited);
    let oldest = waited.saturating_sub(due).as_nanos() as u64;
    let steps = left.min(LEFT_STEPS);
    for step in 0..steps {
        let many = left * (step + 1) / steps - left * step / steps;
        let age = oldest - oldest / steps * step;
        for op in shift.ops.iter() {
            op.response.record_n(age, (many as f64 * op.share).round() as u64);
        }
    }
    left
}

/// Waits until `wait` has passed since `from`; true if the gate was stopped before.
fn pause(from: Moment, wait: Duration, gate: &Gate) -> bool {
    loop {
        let left = wait.saturating_sub(from.elapsed());
        if gate.is_stopped() {
            return true;
        }
        if left.is_zero() {
            return false;
        }
        if left > SPIN {
            gate.sleep(left - SPIN);
        } else {
            hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Schedule;
    use rheostat_runtime::sync::thread;

    struct Count(u64);

    impl Driver for Count {
        type Op = u64;
        fn draw(&mut self, index: u64) -> u64 {
            index
        }
        fn perform(&mut self, op: u64, _: Option<Moment>, _: &Gate) -> Option<Performed> {
            self.0 += 1;
            (op < 100_000).then_some(Performed { op: (op % 2) as usize, hit: op.is_multiple_of(4) })
        }
    }

    fn shift(quota: Option<u64>) -> Shift {
        let jitter = Stream::new(1, 1);
        let ops = Arc::from([OpSpread::new("even", 0.5), OpSpread::new("odd", 0.5)]);
        let think = Duration::ZERO;
        Shift { quota, arrivals: None, think, jitter, sample_1_in: 64, ops, done: Arc::default() }
    }

    #[test]
    fn one_in_many_is_timed_and_all_are_counted() {
        let (gate, shift) = (Gate::default(), shift(None));
        let (ops, done) = (shift.ops.clone(), shift.done.clone());
        gate.open();
        let work = drive(&mut Count(0), shift, &gate);
        assert_eq!(work.counts, [(50_000, 25_000), (50_000, 0)]);
        assert_eq!((work.left, done.get()), (None, 100_000));
        let timed: Vec<u64> = ops.iter().map(|op| op.service.snapshot().count()).collect();
        // 1562 on average; the jitter keeps the sample from locking on to the alternation of the two.
        assert!((1400..1750).contains(&timed.iter().sum::<u64>()), "{timed:?}");
        assert!(timed.iter().all(|n| (600..1000).contains(n)), "{timed:?}");
    }

    #[test]
    fn a_quota_is_kept_and_a_closed_gate_ends_it() {
        let gate = Gate::default();
        gate.open();
        let mut count = Count(0);
        drive(&mut count, shift(Some(10)), &gate);
        assert_eq!(count.0, 10);
        gate.stop();
        drive(&mut count, shift(None), &gate);
        assert_eq!(count.0, 10);
    }

    /// Stalls in one operation and never again.
    struct Stalls(bool);

    impl Driver for Stalls {
        type Op = ();
        fn draw(&mut self, _: u64) {}
        fn perform(&mut self, (): (), _: Option<Moment>, gate: &Gate) -> Option<Performed> {
            if std::mem::take(&mut self.0) {
                gate.sleep(Duration::from_millis(100));
            }
            Some(Performed { op: 0, hit: true })
        }
    }

    fn planned(quota: Option<u64>) -> Shift {
        let schedule = Schedule { poisson: false, rate: 1000.0, ramp: None, burst: None };
        let arrivals = Some(Arrivals::new(schedule, None, 0, 1, Stream::new(1, 2)));
        Shift { arrivals, ..shift(quota) }
    }

    #[test]
    fn what_a_stall_holds_up_counts_from_when_it_was_due() {
        let (gate, shift) = (Gate::default(), planned(Some(150)));
        let ops = shift.ops.clone();
        gate.open();
        let work = drive(&mut Stalls(true), shift, &gate);
        let (service, response) = (ops[0].service.snapshot(), ops[0].response.snapshot());
        assert_eq!((work.left, service.count(), response.count()), (Some(0), 150, 150));
        // One operation was slow, and a hundred were late by half of that on average: a closed loop would not know.
        let late = |spread: &rheostat_runtime::observe::Snapshot| spread.count() - spread.at_most(1 << 24);
        assert!((late(&service), late(&response) > 60) == (1, true), "{} {}", late(&service), late(&response));
    }

    #[test]
    fn what_was_due_and_never_started_is_not_left_out() {
        let (gate, shift) = (Gate::default(), planned(None));
        let ops = shift.ops.clone();
        gate.open();
        let work = thread::scope(|scope| {
            let working = scope.spawn(|| drive(&mut Stalls(true), shift, &gate));
            gate.sleep(Duration::from_millis(60));
            gate.stop();
            working.join().unwrap()
        });
        let (done, left) = (work.counts[0].0, work.left.unwrap());
        assert!(done <= 1 && left >= 50, "{done} done, {left} left");
        let waited = ops[0].response.snapshot();
        assert!(waited.max() >= 50_000_000 && waited.count() >= left / 2, "{} {}", waited.max(), waited.count());
    }
}
