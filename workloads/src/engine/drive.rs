//! The closed loop every worker runs: draw an operation, do it, count it, time one in many.

use super::gate::{Done, Gate};
use crate::generate::Stream;
use rheostat_runtime::observe::{Moment, Spread, now};
use rheostat_runtime::sync::Arc;

/// What a worker does, over and over.
pub(super) trait Driver: Send {
    /// An operation about to be done.
    type Op;

    /// Draws the operation at `index`; not part of what is timed.
    fn draw(&mut self, index: u64) -> Self::Op;

    /// Does it. `None` when the phase ended before it could be done.
    fn perform(&mut self, op: Self::Op, gate: &Gate) -> Option<Performed>;
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
    pub spread: Spread,
}

/// How one worker is to run.
pub(super) struct Shift {
    /// Operations to do; `None` until the gate is closed.
    pub quota: Option<u64>,
    /// Draws the jitter of the sample.
    pub jitter: Stream,
    /// One in how many operations is timed, on average.
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
}

/// Operations between two looks of others at how far a worker is.
const PUBLISH_EVERY: u64 = 64;

/// Runs a worker's loop to its end.
pub(super) fn drive<D: Driver>(driver: &mut D, shift: &Shift, gate: &Gate) -> Shiftwork {
    let mut counts = vec![(0u64, 0u64); shift.ops.len()];
    let quota = shift.quota.unwrap_or(u64::MAX);
    let gap = |index| 1 + shift.jitter.below(index, 2 * shift.sample_1_in - 1);
    let mut timed = gap(u64::MAX) - 1;
    let began = gate.pass();
    let mut index = 0;
    while index < quota && !gate.is_stopped() {
        let op = driver.draw(index);
        let performed = if index == timed {
            timed += gap(index);
            let start = now();
            let performed = driver.perform(op, gate);
            if let Some(Performed { op, .. }) = performed {
                shift.ops[op].spread.record(start.elapsed().as_nanos() as u64);
            }
            performed
        } else {
            driver.perform(op, gate)
        };
        let Some(Performed { op, hit }) = performed else { break };
        counts[op].0 += 1;
        counts[op].1 += u64::from(hit);
        index += 1;
        if index.is_multiple_of(PUBLISH_EVERY) {
            shift.done.set(index);
        }
    }
    let ended = now();
    shift.done.set(index);
    Shiftwork { began, ended, counts }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count(u64);

    impl Driver for Count {
        type Op = u64;
        fn draw(&mut self, index: u64) -> u64 {
            index
        }
        fn perform(&mut self, op: u64, _: &Gate) -> Option<Performed> {
            self.0 += 1;
            (op < 100_000).then_some(Performed { op: (op % 2) as usize, hit: op.is_multiple_of(4) })
        }
    }

    fn shift(quota: Option<u64>) -> Shift {
        let op = |name| OpSpread { name, spread: Spread::new() };
        let jitter = Stream::new(1, 1);
        let ops = Arc::from([op("even"), op("odd")]);
        Shift { quota, jitter, sample_1_in: 64, ops, done: Arc::default() }
    }

    #[test]
    fn one_in_many_is_timed_and_all_are_counted() {
        let (gate, shift) = (Gate::default(), shift(None));
        gate.open();
        let work = drive(&mut Count(0), &shift, &gate);
        assert_eq!(work.counts, [(50_000, 25_000), (50_000, 0)]);
        assert_eq!(shift.done.get(), 100_000);
        let timed: Vec<u64> = shift.ops.iter().map(|op| op.spread.snapshot().count()).collect();
        // 1562 on average; the jitter keeps the sample from locking on to the alternation of the two.
        assert!((1400..1750).contains(&timed.iter().sum::<u64>()), "{timed:?}");
        assert!(timed.iter().all(|n| (600..1000).contains(n)), "{timed:?}");
    }

    #[test]
    fn a_quota_is_kept_and_a_closed_gate_ends_it() {
        let (gate, quota) = (Gate::default(), shift(Some(10)));
        gate.open();
        let mut count = Count(0);
        drive(&mut count, &quota, &gate);
        assert_eq!(count.0, 10);
        gate.stop();
        drive(&mut count, &shift(None), &gate);
        assert_eq!(count.0, 10);
    }
}
