//! What a change did: the rate of its resource before and after it, from the seconds that history keeps.
//!
//! Ten seconds before, two discarded while the change takes hold, ten after. Of a change whose turn returned before it had
//! settled, the seconds after are counted from when it has: the hand-over belongs to neither side. The ratio of the means gets Welch's
//! interval on the log scale; the verdict says no more than the interval allows, with a margin of 3 % within which
//! nothing is called better or worse. A further change of the same subject ends a measurement early, and the seconds
//! it disturbed are in nobody's window. Neighbouring seconds resemble each other more than Welch assumes, so the
//! interval is a little too narrow.
//!
//! Beside a pool's rate stands how often threads met in it, before and after: at every level that is counted. Maps and queues
//! have kinds that do not count it, so nothing is told of theirs: none would look like less.

use crate::history::History;
use rheostat_api::{Contention, EFFECT_MARGIN as MARGIN, Effect, Verdict};
use rheostat_runtime::observe::{Address, Change, Family, Kind, Outcome, families};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Seconds before a change, and after it, that are compared.
const WINDOW: u64 = 10;
/// Seconds after a change that belong to neither side.
const DISCARDED: u64 = 2;
/// Fewer seconds than this on a side have no interval worth the name, and so no effect is told.
const LEAST: usize = 3;
/// Effects kept, as many as changes are.
const KEPT: usize = 4096;

/// Effects measured and being measured.
#[derive(Default)]
pub(crate) struct Effects {
    fresh: Vec<Change>,
    /// Heard of while they were settling, and not again since.
    settling: BTreeSet<u64>,
    /// Heard of again.
    ended: Vec<Change>,
    pending: Vec<Pending>,
    /// When each subject was last turned.
    turned_at: HashMap<Address, u64>,
    measured: BTreeMap<u64, Effect>,
}

struct Pending {
    /// Those made in one second share their effect: nothing can tell them apart.
    changes: Vec<Change>,
    subject: Subject,
    before: Vec<f64>,
    /// Mean of how often threads met in the same seconds.
    met_before: Option<f64>,
    /// The second in which it was made, or had settled.
    step: u64,
}

impl Pending {
    /// Still on its way: what comes after it has yet to begin.
    fn is_settling(&self) -> bool {
        self.changes.iter().any(|change| change.outcome == Outcome::Settling)
    }
}

/// Whose rate shows what a change did.
#[derive(Clone)]
struct Subject {
    address: Address,
    family: &'static Family,
    /// What threads that meet are counted by; nothing where a change may turn to what does not count it.
    contention: &'static [&'static Family],
}

static OF_POOLS: [&Family; 2] = [&families::POOL_LOCK_CONTENTIONS, &families::POOL_CAS_FAILURES];

impl Subject {
    /// A stage is judged by what its pipeline takes in: a stage may be turned to no avail, or to another's.
    fn of(address: &Address) -> Option<Self> {
        let family = match address.kind() {
            Kind::Pipeline | Kind::Stage => &families::PIPELINE_SOURCE_BYTES,
            Kind::Queue => &families::QUEUE_DEQUEUED,
            Kind::Map => &families::MAP_OPS,
            Kind::Pool => &families::POOL_ALLOCS,
            Kind::Scheduler => &families::SCHEDULER_REGIONS,
            _ => return None,
        };
        let address = match address.stage_name() {
            Some(_) => Address::new(Kind::Pipeline, address.name()).ok()?,
            None => address.clone(),
        };
        let contention = if address.kind() == Kind::Pool { &OF_POOLS[..] } else { &[] };
        Some(Self { address, family, contention })
    }

    fn rates(&self, history: &History, end: u64, seconds: u64) -> Vec<f64> {
        history.rates(&self.address, self.family, end, seconds)
    }

    /// How often threads met in those seconds, on average; `None` where that is not known.
    fn met(&self, history: &History, end: u64, seconds: u64) -> Option<f64> {
        let of_family = self.contention.iter().map(|family| history.rates(&self.address, family, end, seconds));
        of_family.map(|rates| (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)).sum()
    }
}

impl Effects {
    /// Takes over effects that an earlier process measured.
    pub(crate) fn resume(&mut self, measured: impl IntoIterator<Item = (u64, Effect)>) {
        self.measured.extend(measured);
    }

    /// Hears of a change, and once more of one that was settling, when it has ended.
    pub(crate) fn heard(&mut self, change: &Change) {
        if self.settling.remove(&change.id) {
            self.ended.push(change.clone());
        } else if matches!(change.outcome, Outcome::Applied | Outcome::Settling) {
            self.fresh.push(change.clone());
            if change.outcome == Outcome::Settling {
                self.settling.insert(change.id);
            }
        }
    }

    /// What the change of this id did, once measured.
    pub(crate) fn of(&self, id: u64) -> Option<&Effect> {
        self.measured.get(&id)
    }

    /// A second has passed. Returns the changes whose effect is known now.
    pub(crate) fn step(&mut self, history: &History) -> Vec<(Change, Effect)> {
        let now = history.steps();
        let mut done = Vec::new();
        for change in std::mem::take(&mut self.fresh) {
            let Some(subject) = Subject::of(&change.address) else { continue };
            let together = |pending: &&mut Pending| pending.step == now && pending.subject.address == subject.address;
            if let Some(pending) = self.pending.iter_mut().find(together) {
                pending.changes.push(change);
                continue;
            }
            let interrupted: Vec<_> =
                self.pending.extract_if(.., |pending| pending.subject.address == subject.address).collect();
            // The newest second holds the end of the change itself, and as many before it what it took.
            let took = u64::try_from(change.took.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
            let end = now.saturating_sub(1).saturating_sub(took);
            // Earlier ones may hold the one before it, and a hand-over that goes on leaves none to compare with.
            let undisturbed = match self.turned_at.get(&subject.address) {
                Some(_) if interrupted.iter().any(Pending::is_settling) => 0,
                Some(at) => end.saturating_sub(at + DISCARDED),
                None => end,
            };
            done.extend(interrupted.into_iter().map(|pending| (pending, now - 1)));
            let before = subject.rates(history, end, undisturbed.min(WINDOW));
            let met_before = subject.met(history, end, undisturbed.min(WINDOW));
            self.turned_at.insert(subject.address.clone(), now);
            self.pending.push(Pending { changes: vec![change], subject, before, met_before, step: now });
        }
        for change in std::mem::take(&mut self.ended) {
            self.settled(change, now);
        }
        let is_due = |pending: &Pending| !pending.is_settling() && now >= pending.step + DISCARDED + WINDOW;
        let due = self.pending.extract_if(.., |pending| is_due(pending));
        done.extend(due.map(|pending| (pending, now)));
        done.retain(|(pending, _)| !pending.is_settling());
        let mut measured = Vec::new();
        for (pending, end) in done {
            let seconds = end.saturating_sub(pending.step + DISCARDED);
            let after = pending.subject.rates(history, end, seconds.min(WINDOW));
            let met_after = pending.subject.met(history, end, seconds.min(WINDOW));
            if let Some(mut effect) = compare(pending.subject.family, &pending.before, &after) {
                let met = pending.met_before.zip(met_after).filter(|_| !pending.subject.contention.is_empty());
                effect.contention = met.map(|(before, after)| Contention { before, after });
                for change in pending.changes {
                    self.measured.insert(change.id, effect.clone());
                    measured.push((change, effect.clone()));
                }
            }
        }
        while self.measured.len() > KEPT {
            self.measured.pop_first();
        }
        measured
    }

    /// A change that was settling has ended: what comes after it begins now, if it is in force.
    fn settled(&mut self, ended: Change, now: u64) {
        let Some(subject) = Subject::of(&ended.address) else { return };
        self.turned_at.insert(subject.address, now);
        for pending in &mut self.pending {
            if let Some(change) = pending.changes.iter_mut().find(|change| change.id == ended.id) {
                *change = ended.clone();
                pending.step = now;
            }
            pending.changes.retain(|change| matches!(change.outcome, Outcome::Applied | Outcome::Settling));
        }
        self.pending.retain(|pending| !pending.changes.is_empty());
    }
}

/// Compares two windows; `None` when nothing flowed in one of them, or for too short a time, so that there is no
/// ratio to speak of.
fn compare(family: &Family, before: &[f64], after: &[f64]) -> Option<Effect> {
    let (before, after) = (Window::of(before)?, Window::of(after)?);
    if before.seconds.min(after.seconds) < LEAST {
        return None;
    }
    let ratio = after.mean / before.mean;
    // The variance of a mean's logarithm is that of the mean over its square.
    let (v, w) = (before.relative_variance(), after.relative_variance());
    let freedom = (v + w).powi(2) / (v * v / (before.seconds as f64 - 1.0) + w * w / (after.seconds as f64 - 1.0));
    let reach = if v + w > 0.0 { student(freedom) * (v + w).sqrt() } else { 0.0 };
    let (lo, hi) = (ratio * (-reach).exp(), ratio * reach.exp());
    let verdict = match () {
        () if lo > 1.0 + MARGIN => Verdict::Better,
        () if hi < 1.0 - MARGIN => Verdict::Worse,
        () if lo >= 1.0 - MARGIN && hi <= 1.0 + MARGIN => Verdict::Same,
        () => Verdict::Inconclusive,
    };
    Some(Effect {
        family: family.name.to_owned(),
        before: before.mean,
        after: after.mean,
        ratio,
        lo,
        hi,
        verdict,
        contention: None,
    })
}

struct Window {
    seconds: usize,
    mean: f64,
    variance: f64,
}

impl Window {
    fn of(rates: &[f64]) -> Option<Self> {
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        let squares: f64 = rates.iter().map(|rate| (rate - mean).powi(2)).sum();
        let variance = squares / (rates.len() as f64 - 1.0).max(1.0);
        (mean > 0.0).then_some(Self { seconds: rates.len(), mean, variance })
    }

    fn relative_variance(&self) -> f64 {
        self.variance / self.seconds as f64 / (self.mean * self.mean)
    }
}

/// The 97.5th percentile of Student's t.
fn student(freedom: f64) -> f64 {
    const TABLE: [f64; 20] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086,
    ];
    // Windows of ten seconds have 18 degrees at most; rounding down widens the interval.
    let row = (freedom as usize).clamp(1, TABLE.len());
    TABLE[row - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rheostat_runtime::observe::{Actor, Moment, Reading, Value};
    use std::time::{Duration, SystemTime};

    fn verdict(before: &[f64], after: &[f64]) -> Option<Verdict> {
        compare(&families::PIPELINE_SOURCE_BYTES, before, after).map(|effect| effect.verdict)
    }

    #[test]
    fn verdicts_say_what_the_interval_allows() {
        let steady = [100.0, 101.0, 99.0, 100.0, 100.5, 99.5];
        let doubled = steady.map(|rate| rate * 2.0);
        let noisy = [20.0, 180.0, 90.0, 10.0, 200.0, 110.0];
        assert_eq!(verdict(&steady, &doubled), Some(Verdict::Better));
        assert_eq!(verdict(&doubled, &steady), Some(Verdict::Worse));
        assert_eq!(verdict(&steady, &steady), Some(Verdict::Same));
        assert_eq!(verdict(&steady, &noisy), Some(Verdict::Inconclusive));
        assert_eq!(verdict(&steady, &doubled[..2]), None, "two seconds say nothing");
        assert_eq!(verdict(&[0.0; 6], &steady), None);
        assert_eq!(verdict(&[], &steady), None);
        assert_eq!(verdict(&[50.0; 6], &[75.0; 6]), Some(Verdict::Better), "no variance at all");
    }

    #[test]
    fn the_interval_is_welchs() {
        // By hand: means 10 and 20, variances 2.5 and 10 of five points each, so relative variances 0.005 and
        // 0.005, freedom 8, t 2.306, reach 0.2306.
        let effect =
            compare(&families::MAP_OPS, &[8.0, 9.0, 10.0, 11.0, 12.0], &[16.0, 18.0, 20.0, 22.0, 24.0]).unwrap();
        assert!((effect.ratio - 2.0).abs() < 1e-12);
        assert!((effect.lo - 2.0 * (-0.2306f64).exp()).abs() < 1e-9, "{effect:?}");
        assert!((effect.hi - 2.0 * 0.2306f64.exp()).abs() < 1e-9, "{effect:?}");
    }

    /// What was measured of changes of a pool in those seconds, where threads had met so often by each second.
    fn measured(changes: &[u64], met: impl Fn(u64) -> u64) -> Vec<Effect> {
        let address: Address = "pool.batches".parse().unwrap();
        let (mut history, mut effects, mut measured) = (History::new(10), Effects::default(), Vec::new());
        for second in 1..=30u64 {
            let mut reading = Reading { at: Moment(second * 1_000_000_000), samples: Vec::new() };
            reading.total(&families::POOL_ALLOCS, &["64"], 1000 * second);
            // Two classes, one of which is never met at.
            reading.total(&families::POOL_LOCK_CONTENTIONS, &["64"], met(second) * 15 / 16);
            reading.total(&families::POOL_LOCK_CONTENTIONS, &["128"], 0);
            reading.total(&families::POOL_CAS_FAILURES, &["64"], met(second) / 16);
            history.step(second * 1000, std::iter::once((&address, &reading)));
            if changes.contains(&second) {
                effects.heard(&Change {
                    id: second,
                    at: SystemTime::now(),
                    actor: Actor::Process,
                    address: address.clone(),
                    knob: "level".into(),
                    from: Value::Choice("mutex".into()),
                    to: Value::Choice("thread_cached".into()),
                    outcome: Outcome::Applied,
                    took: Duration::ZERO,
                    reason: None,
                });
            }
            measured.extend(effects.step(&history).into_iter().map(|(_, effect)| effect));
        }
        measured
    }

    #[test]
    fn a_pools_effect_says_how_often_threads_met_also_when_they_no_longer_do() {
        let measured = measured(&[12], |second| 320 * second.min(12));
        let [effect] = &measured[..] else { panic!("{measured:?}") };
        assert_eq!((effect.verdict, effect.ratio), (Verdict::Same, 1.0));
        assert_eq!(effect.contention, Some(Contention { before: 320.0, after: 0.0 }));
    }

    /// A map read every second, whose rate is 1000 before a turn that is journalled in second 14, two seconds after it began,
    /// 100 for as long as its hand-over takes, and 2000 once that has ended. Says what was measured, and when.
    fn hand_over(end: Option<(u64, Outcome)>) -> Vec<(u64, Outcome, f64)> {
        let address: Address = "map.sessions".parse().unwrap();
        let (mut history, mut effects, mut ops, mut measured) = (History::new(10), Effects::default(), 0, Vec::new());
        let ends = end.as_ref().map_or(u64::MAX, |(second, _)| *second);
        let mut change = Change {
            id: 1,
            at: SystemTime::now(),
            actor: Actor::Process,
            address: address.clone(),
            knob: "backend".into(),
            from: Value::Choice("sharded".into()),
            to: Value::Choice("lock_free".into()),
            outcome: Outcome::Settling,
            took: Duration::from_secs(2),
            reason: None,
        };
        for second in 1..=60u64 {
            ops += if second < 12 {
                1000
            } else if second <= ends {
                100
            } else {
                2000
            };
            let mut reading = Reading { at: Moment(second * 1_000_000_000), samples: Vec::new() };
            reading.total(&families::MAP_OPS, &["get", "hit"], ops);
            history.step(second * 1000, std::iter::once((&address, &reading)));
            if second == 14 {
                effects.heard(&change);
            }
            if let Some((_, outcome)) = end.as_ref().filter(|(ended, _)| *ended == second) {
                (change.outcome, change.took) = (outcome.clone(), Duration::from_secs(ends - 12));
                effects.heard(&change);
            }
            let told = effects.step(&history).into_iter();
            measured.extend(told.map(|(change, effect)| (second, change.outcome, effect.ratio)));
        }
        measured
    }

    #[test]
    fn a_hand_over_is_measured_from_its_end_and_is_in_neither_window() {
        assert_eq!(hand_over(Some((30, Outcome::Applied))), [(42, Outcome::Applied, 2.0)]);
        assert_eq!(hand_over(Some((14, Outcome::Applied))), [(26, Outcome::Applied, 2.0)], "in the same second");
        assert_eq!(hand_over(Some((30, Outcome::Failed("turned back".into())))), [], "not in force");
        assert_eq!(hand_over(None), [], "not yet");
    }

    #[test]
    fn how_often_threads_met_before_a_change_is_that_since_the_change_before() {
        // 960 a second up to the first change and while it takes hold, then 320, and none after the second.
        let measured = measured(&[6, 12], |second| 960 * second.min(8) + 320 * second.clamp(8, 12) - 320 * 8);
        let contention: Vec<_> = measured.into_iter().map(|effect| effect.contention.unwrap()).collect();
        let expected = [Contention { before: 960.0, after: 320.0 }, Contention { before: 320.0, after: 0.0 }];
        assert_eq!(contention, expected);
    }

    #[test]
    fn a_change_is_measured_and_the_next_one_cuts_it_short() {
        let address: Address = "pipeline.words".parse().unwrap();
        let (mut history, mut effects, mut bytes) = (History::new(10), Effects::default(), 0);
        let mut measured = Vec::new();
        for second in 1..=45u64 {
            bytes += if second <= 12 { 1000 } else { 1500 };
            let mut reading = Reading { at: Moment(second * 1_000_000_000), samples: Vec::new() };
            reading.total(&families::PIPELINE_SOURCE_BYTES, &[], bytes);
            history.step(second * 1000, std::iter::once((&address, &reading)));
            for id in [12, 18, 20, 30, 3000].into_iter().filter(|id| [second, second * 100].contains(id)) {
                effects.heard(&Change {
                    id,
                    at: SystemTime::now(),
                    actor: Actor::Process,
                    address: "pipeline.words.count".parse().unwrap(),
                    knob: "workers".into(),
                    from: Value::Integer(1),
                    to: Value::Integer(2),
                    outcome: Outcome::Applied,
                    took: Duration::ZERO,
                    reason: None,
                });
            }
            measured
                .extend(effects.step(&history).into_iter().map(|(change, effect)| (second, change.id, effect.verdict)));
        }
        // The second and the third came so soon after another that no undisturbed second was left to compare with.
        assert_eq!(measured, [(18, 12, Verdict::Better), (42, 30, Verdict::Same), (42, 3000, Verdict::Same)]);
        assert_eq!(effects.of(12).unwrap().ratio, 1.5);
    }
}
