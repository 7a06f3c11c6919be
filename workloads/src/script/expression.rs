//! The language of thresholds: `map.get.p99 < 50us and throughput >= 1M/s`.
//!
//! ```text
//! expression = condition { "and" condition }
//! condition  = path comparison quantity
//! comparison = ">=" | "<=" | ">" | "<" | "==" | "!="
//! path       = name { "." name }
//! ```
//!
//! The language is total: a condition that passes the parser can be evaluated on any result, and says pass, fail or
//! inconclusive. What was not measured is inconclusive, never zero. Conditions joined by `and` are judged and shown one
//! by one: which of them failed, and by how much, is what one wants to know.

use super::document::Known;
use crate::unit::{Dimension, Quantity};
use rheostat_api as api;
use std::fmt;
use std::ops::Range;

/// One condition of a threshold, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    text: String,
    metric: Metric,
    comparison: Comparison,
    bound: f64,
}

/// What an expression can ask of a result.
#[derive(Debug, Clone, PartialEq)]
enum Metric {
    /// `throughput`, `items`, `delivered` and the like, of the phase.
    Phase(PhaseFigure),
    /// `TARGET.OP.p99` and the like.
    Op { target: String, op: String, of: Latency, figure: OpFigure },
    /// `check.violations`.
    Violations,
    /// `events.made`, `events.failed`, `events.took` (the slowest).
    Events(EventFigure),
}

/// Which time of an operation is meant.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Latency {
    /// From when it was due, where it was due at some time; else from its start.
    Either,
    /// From its start to its end.
    Service,
    /// From when it was due to its end.
    Response,
}

const LATENCIES: [(&str, Latency, Dimension); 2] =
    [("service", Latency::Service, Dimension::Time), ("response", Latency::Response, Dimension::Time)];

#[derive(Debug, Clone, Copy, PartialEq)]
enum PhaseFigure {
    Throughput,
    /// Of the worst tenth of a second.
    ThroughputMin,
    /// What was done of what was due.
    Delivered,
    /// Bytes by which the process grew at most.
    Memory,
    Bandwidth,
    Items,
    Duration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum OpFigure {
    Count,
    Throughput,
    HitRatio,
    Fairness,
    Max,
    /// A quantile, in thousandths.
    Quantile(u16),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum EventFigure {
    Made,
    Failed,
    Took,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    AtLeast,
    AtMost,
    Above,
    Below,
    Equal,
    Unequal,
}

const PHASE_FIGURES: [(&str, PhaseFigure, Dimension); 7] = [
    ("throughput", PhaseFigure::Throughput, Dimension::Rate),
    ("throughput_min", PhaseFigure::ThroughputMin, Dimension::Rate),
    ("delivered", PhaseFigure::Delivered, Dimension::Number),
    ("memory", PhaseFigure::Memory, Dimension::Size),
    ("bandwidth", PhaseFigure::Bandwidth, Dimension::ByteRate),
    ("items", PhaseFigure::Items, Dimension::Number),
    ("duration", PhaseFigure::Duration, Dimension::Time),
];

const OP_FIGURES: [(&str, OpFigure, Dimension); 9] = [
    ("count", OpFigure::Count, Dimension::Number),
    ("throughput", OpFigure::Throughput, Dimension::Rate),
    ("hit_ratio", OpFigure::HitRatio, Dimension::Number),
    ("fairness", OpFigure::Fairness, Dimension::Number),
    ("p50", OpFigure::Quantile(500), Dimension::Time),
    ("p90", OpFigure::Quantile(900), Dimension::Time),
    ("p99", OpFigure::Quantile(990), Dimension::Time),
    ("p999", OpFigure::Quantile(999), Dimension::Time),
    ("max", OpFigure::Max, Dimension::Time),
];

const EVENT_FIGURES: [(&str, EventFigure, Dimension); 3] = [
    ("made", EventFigure::Made, Dimension::Number),
    ("failed", EventFigure::Failed, Dimension::Number),
    ("took", EventFigure::Took, Dimension::Time),
];

/// Longest first, so that `>=` is not read as `>`.
const COMPARISONS: [(&str, Comparison); 6] = [
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    (">", Comparison::Above),
    ("<", Comparison::Below),
];

/// Target names that would shadow a metric of the language.
pub(super) const RESERVED: [&str; 2] = ["check", "events"];

/// Samples that must lie beyond a quantile before it says anything.
const TAIL_SAMPLES: u64 = 10;

/// What came of a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It held.
    Pass,
    /// It did not.
    Fail,
    /// There was no data, or too little to say.
    Inconclusive,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Inconclusive => "inconclusive",
        })
    }
}

/// The names an expression may use: the operations that can be measured on each target; `None` where only the host
/// knows them.
pub(super) type Vocabulary = std::collections::BTreeMap<String, Option<Vec<String>>>;

/// The ranges between the words `and`.
fn split_at_and(text: &str) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut offset = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        if word.trim_end() == "and" {
            parts.push(start..offset);
            start = offset + word.len();
        }
        offset += word.len();
    }
    parts.push(start..text.len());
    parts
}

impl Condition {
    /// Reads conditions joined by `and`; all faults, each with its place in `text`. Without a vocabulary, names go
    /// unchecked.
    pub(super) fn parse_all(text: &str, known: Option<&Vocabulary>) -> Result<Vec<Self>, Vec<(Range<usize>, String)>> {
        let parts = split_at_and(text).into_iter().map(|part| Self::parse(text, part, known));
        let (mut conditions, mut faults) = (Vec::new(), Vec::new());
        for part in parts {
            match part {
                Ok(condition) => conditions.push(condition),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(conditions) } else { Err(faults) }
    }

    /// True if it asks anything of a phase.
    pub(super) fn needs_phase(&self) -> bool {
        !matches!(self.metric, Metric::Violations)
    }

    fn parse(text: &str, part: Range<usize>, known: Option<&Vocabulary>) -> Result<Self, (Range<usize>, String)> {
        let whole = trimmed(text, part.clone());
        let side = &text[part.clone()];
        let Some((at, sign, comparison)) = COMPARISONS
            .iter()
            .filter_map(|(sign, comparison)| side.find(sign).map(|at| (at, *sign, *comparison)))
            .min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())))
        else {
            let message = "a condition compares a metric with a number: `throughput >= 1M/s`; \
                           join conditions with `and`";
            return Err((whole, message.into()));
        };
        let path = trimmed(text, part.start..part.start + at);
        let bound = trimmed(text, part.start + at + sign.len()..part.end);
        let (metric, dimension) = Metric::parse(&text[path.clone()], known).map_err(|why| (path, why))?;
        match Quantity::parse(&text[bound.clone()]) {
            Some(quantity) if quantity.dimension == dimension => {
                Ok(Self { text: text[whole].to_owned(), metric, comparison, bound: quantity.base })
            }
            _ => {
                let message = format!("`{}` is not {}", &text[bound.clone()], dimension.example().replace('"', "`"));
                Err((bound, message))
            }
        }
    }

    /// Judges a result: what was measured, or what there was too little of to say; and what is to be made of it.
    pub fn judge(&self, phase: Option<&api::Phase>, checks: &[api::Check]) -> (Result<f64, String>, Outcome) {
        let measured = self.metric.of(phase, checks);
        let outcome = match measured {
            Ok(value) if self.comparison.holds(value, self.bound) => Outcome::Pass,
            Ok(_) => Outcome::Fail,
            Err(_) => Outcome::Inconclusive,
        };
        (measured, outcome)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A range without the white space at its ends.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let inner = &text[range.clone()];
    let start = range.start + (inner.len() - inner.trim_start().len());
    start..(start + inner.trim().len())
}

impl Comparison {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Comparison::AtLeast => value >= bound,
            Comparison::AtMost => value <= bound,
            Comparison::Above => value > bound,
            Comparison::Below => value < bound,
            Comparison::Equal => value == bound,
            Comparison::Unequal => value != bound,
        }
    }
}

impl Metric {
    fn parse(path: &str, known: Option<&Vocabulary>) -> Result<(Self, Dimension), String> {
        let parts: Vec<&str> = path.split('.').collect();
        match parts[..] {
            ["check", "violations"] => Ok((Metric::Violations, Dimension::Number)),
            ["check", ..] => Err(format!("unknown metric `{path}`; of checks there is `check.violations`")),
            ["events", figure] => named(&EVENT_FIGURES, "figure of events", figure)
                .map(|(figure, dimension)| (Metric::Events(figure), dimension)),
            [figure] => named(&PHASE_FIGURES, "metric", figure)
                .map(|(figure, dimension)| (Metric::Phase(figure), dimension))
                .map_err(|why| format!("{why}; of one operation, write TARGET.OPERATION.p99")),
            [target, op, figure] | [target, op, _, figure] => {
                if let Some(known) = known {
                    let Some(ops) = known.get(target) else {
                        return Err(Known::of("target", known.keys().map(String::as_str)).unknown(target));
                    };
                    if let Some(ops) = ops
                        && !ops.iter().any(|known| known == op)
                    {
                        return Err(Known::of("operation", ops.iter().map(String::as_str)).unknown(op));
                    }
                }
                let (figure, dimension) = named(&OP_FIGURES, "figure", figure)?;
                let of = match parts[..] {
                    [_, _, latency, _] if dimension == Dimension::Time => named(&LATENCIES, "time", latency)?.0,
                    [_, _, latency, _] => return Err(format!("`{latency}` goes with a time, such as p99 or max")),
                    _ => Latency::Either,
                };
                Ok((Metric::Op { target: target.to_owned(), op: op.to_owned(), of, figure }, dimension))
            }
            _ => Err(format!(
                "`{path}` is no metric: write throughput, items, delivered or another of the phase, \
                 TARGET.OPERATION.p99, TARGET.OPERATION.service.p99, events.failed, or check.violations"
            )),
        }
    }

    fn of(&self, phase: Option<&api::Phase>, checks: &[api::Check]) -> Result<f64, String> {
        let of_phase = || phase.ok_or_else(|| "its phase was never begun".to_owned());
        match self {
            Metric::Violations => {
                // A check that compared nothing has found nothing out: neither a violation nor its absence.
                let blind = checks.iter().find(|check| check.verdict == api::CheckVerdict::Inconclusive);
                let violations = checks.iter().filter(|check| check.verdict == api::CheckVerdict::Fail).count();
                match (blind, checks.is_empty()) {
                    (Some(check), _) => Err(format!("the check {} compared nothing", check.name)),
                    (None, true) => Err("nothing was checked".to_owned()),
                    (None, false) => Ok(violations as f64),
                }
            }
            Metric::Phase(figure) => {
                let phase = of_phase()?;
                if phase.duration_ns == 0 {
                    return Err("the phase took no time".to_owned());
                }
                match figure {
                    PhaseFigure::Duration => Ok(phase.duration_ns as f64),
                    _ if phase.items == 0 => Err("nothing was done in the phase".to_owned()),
                    PhaseFigure::Items => Ok(phase.items as f64),
                    PhaseFigure::Throughput => Ok(phase.items_per_s),
                    PhaseFigure::ThroughputMin => {
                        phase.items_per_s_min.ok_or_else(|| "the phase was too short to look at its parts".to_owned())
                    }
                    PhaseFigure::Delivered => phase.delivered().ok_or_else(|| "nothing was due at any time".to_owned()),
                    PhaseFigure::Memory => match phase.memory_growth_bytes {
                        Some(bytes) => Ok(bytes as f64),
                        None => Err("the memory of the process was not measured".to_owned()),
                    },
                    PhaseFigure::Bandwidth if phase.bytes == 0 => Err("no bytes were read".to_owned()),
                    PhaseFigure::Bandwidth => Ok(phase.bytes_per_s),
                }
            }
            Metric::Op { target, op, of, figure } => {
                let mut ops = of_phase()?.ops.iter();
                let row = ops.find(|row| row.target == *target && row.op == *op && row.count > 0);
                figure.of(row.ok_or_else(|| format!("no {op} of {target} was done"))?, *of)
            }
            Metric::Events(figure) => {
                let events = &of_phase()?.events;
                let made = events.iter().filter(|event| event.error.is_none());
                match figure {
                    EventFigure::Made => Ok(made.count() as f64),
                    EventFigure::Failed if events.is_empty() => Err("no knob was turned".to_owned()),
                    EventFigure::Failed => Ok((events.len() - made.count()) as f64),
                    EventFigure::Took => match made.map(|event| event.took_ns).max() {
                        Some(ns) => Ok(ns as f64),
                        None => Err("no knob was turned".to_owned()),
                    },
                }
            }
        }
    }
}

impl OpFigure {
    fn of(self, row: &api::OpResult, latency: Latency) -> Result<f64, String> {
        let times = match latency {
            Latency::Either => row.response.as_ref().or(row.service.as_ref()),
            Latency::Service => row.service.as_ref(),
            Latency::Response => row.response.as_ref(),
        };
        let untimed = || format!("none of {} operations was timed", row.count);
        match self {
            OpFigure::Count => Ok(row.count as f64),
            OpFigure::Throughput => Ok(row.per_s),
            OpFigure::HitRatio => Ok(row.hits as f64 / row.count as f64),
            OpFigure::Fairness => row.fairness.ok_or_else(|| "there was one worker: nobody to be fair to".to_owned()),
            OpFigure::Max => times.filter(|times| times.count > 0).map(|times| times.max).ok_or_else(untimed),
            OpFigure::Quantile(thousandths) => {
                let times = times.ok_or_else(untimed)?;
                let share = u64::from(1000 - thousandths);
                let beyond = times.count * share / 1000;
                let quantile = match thousandths {
                    500 => times.p50,
                    900 => times.p90,
                    990 => times.p99,
                    _ => times.p999,
                };
                quantile.filter(|_| beyond >= TAIL_SAMPLES).ok_or_else(|| {
                    let wanted = (TAIL_SAMPLES * 1000).div_ceil(share);
                    format!("too few samples: {} of {wanted}", times.count)
                })
            }
        }
    }
}

fn named<T: Copy>(figures: &[(&str, T, Dimension)], noun: &str, name: &str) -> Result<(T, Dimension), String> {
    let found = figures.iter().find(|(known, ..)| *known == name);
    found
        .map(|(_, figure, dimension)| (*figure, *dimension))
        .ok_or_else(|| Known::of(noun, figures.iter().map(|(known, ..)| *known)).unknown(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        [("kv".to_owned(), Some(vec!["get".to_owned(), "update".to_owned()]))].into()
    }

    fn phase(get: api::OpResult) -> api::Phase {
        api::Phase {
            name: "measure".into(),
            role: "measure".into(),
            duration_ns: 1_000_000_000,
            items: 2_000_000,
            items_per_s: 2e6,
            ops: vec![get],
            ..Default::default()
        }
    }

    fn get(timed: u64) -> api::OpResult {
        let service = api::Quantiles {
            count: timed,
            sum: 0.0,
            p50: Some(100.0),
            p99: Some(900.0),
            max: 1e6,
            ..Default::default()
        };
        api::OpResult {
            target: "kv".into(),
            op: "get".into(),
            count: 2_000_000,
            per_s: 2e6,
            hits: 1_900_000,
            service: Some(service),
            sample_1_in: 64,
            ..Default::default()
        }
    }

    #[test]
    fn conditions_are_judged_on_what_was_measured() {
        let phase = phase(get(5000));
        let check = |pass, compared| api::Check::new("oracle", pass, compared, String::new());
        for (text, outcome) in [
            ("throughput >= 1M/s", Outcome::Pass),
            ("kv.get.p99<1us", Outcome::Pass),
            ("kv.get.service.p99 < 500ns", Outcome::Fail),
            ("kv.get.response.p99 < 1h", Outcome::Inconclusive),
            ("kv.get.hit_ratio >= 95%", Outcome::Pass),
            ("kv.get.hit_ratio == 0.95", Outcome::Pass),
            ("kv.get.max <= 1ms", Outcome::Pass),
            // Nothing measured: no updates, no bytes, no events, and five samples beyond the 99.9th percentile.
            ("kv.update.p99 < 1h", Outcome::Inconclusive),
            ("bandwidth > 0MB/s", Outcome::Inconclusive),
            ("events.failed == 0", Outcome::Inconclusive),
            ("kv.get.p999 < 1h", Outcome::Inconclusive),
            ("delivered >= 99%", Outcome::Inconclusive),
            ("kv.get.fairness > 0.9", Outcome::Inconclusive),
            ("check.violations == 0", Outcome::Pass),
        ] {
            assert_eq!(judged(text, &phase, &[check(true, 7)]), outcome, "{text}");
        }
        for (checks, outcome) in [
            (vec![], Outcome::Inconclusive),
            (vec![check(false, 0), check(true, 9)], Outcome::Inconclusive),
            (vec![check(false, 9)], Outcome::Fail),
        ] {
            assert_eq!(judged("check.violations == 0", &phase, &checks), outcome, "{checks:?}");
        }
    }

    #[test]
    fn what_is_inconclusive_says_what_was_missing() {
        let check = |compared| api::Check::new("walks", true, compared, String::new());
        let (few, checked) = (phase(get(999)), [check(0)]);
        for (text, phase, checks, why) in [
            ("kv.get.p99 < 1us", Some(&few), &checked[..0], "too few samples: 999 of 1000"),
            ("kv.get.fairness > 0.3", Some(&few), &[], "there was one worker: nobody to be fair to"),
            ("kv.get.p99 < 1us", None, &[], "its phase was never begun"),
            ("check.violations == 0", Some(&few), &checked, "the check walks compared nothing"),
        ] {
            let condition = Condition::parse_all(text, Some(&vocabulary())).unwrap().remove(0);
            let judged = condition.judge(phase, checks);
            assert_eq!(judged, (Err(why.to_owned()), Outcome::Inconclusive), "{text}");
        }
    }

    fn judged(text: &str, phase: &api::Phase, checks: &[api::Check]) -> Outcome {
        let conditions = Condition::parse_all(text, Some(&vocabulary())).unwrap();
        assert_eq!((conditions.len(), conditions[0].to_string().as_str()), (1, text));
        conditions[0].judge(Some(phase), checks).1
    }

    #[test]
    fn what_is_joined_is_judged_apart() {
        let text = "throughput >= 1M/s and  kv.get.p99 < 500ns and kv.update.p99 < 1h";
        let conditions = Condition::parse_all(text, Some(&vocabulary())).unwrap();
        let phase = phase(get(5000));
        let judged = conditions.iter().map(|condition| (condition.to_string(), condition.judge(Some(&phase), &[])));
        assert_eq!(
            judged.collect::<Vec<_>>(),
            [
                ("throughput >= 1M/s".to_owned(), (Ok(2e6), Outcome::Pass)),
                ("kv.get.p99 < 500ns".to_owned(), (Ok(900.0), Outcome::Fail)),
                ("kv.update.p99 < 1h".to_owned(), (Err("no update of kv was done".into()), Outcome::Inconclusive)),
            ]
        );
    }

    #[test]
    fn times_are_counted_from_when_an_operation_was_due() {
        let mut row = get(5000);
        row.response = Some(api::Quantiles { count: 5000, p99: Some(1e9), ..Default::default() });
        let phase = phase(row);
        for (text, value) in [("kv.get.p99 < 1s", 1e9), ("kv.get.service.p99 < 1s", 900.0)] {
            let condition = Condition::parse_all(text, None).unwrap().remove(0);
            assert_eq!(condition.judge(Some(&phase), &[]).0, Ok(value), "{text}");
        }
    }

    #[test]
    fn refusals_name_the_part_that_is_wrong() {
        for (text, part, message) in [
            ("throughput", "throughput", "a condition compares a metric with a number"),
            ("", "", "a condition compares"),
            ("throughput >= 5", "5", "`5` is not a rate with its unit"),
            ("thruput >= 5/s", "thruput", "did you mean `throughput`?"),
            ("kv.get.p98 < 1ms", "kv.get.p98", "unknown figure `p98`; did you mean `p90`?"),
            ("kv.put.p99 < 1ms", "kv.put.p99", "unknown operation `put`"),
            ("map.get.p99 < 1ms", "map.get.p99", "unknown target `map`"),
            ("kv.get.p99 < 1ms and and items > 1", "", "a condition compares"),
            ("kv.get.p99 < 1ms or items > 1", "1ms or items > 1", "is not a time"),
            ("check.oracle == 1", "check.oracle", "check.violations"),
            ("kv.get.servise.p99 < 1s", "kv.get.servise.p99", "did you mean `service`?"),
            ("kv.get.service.count < 1", "kv.get.service.count", "`service` goes with a time"),
            ("a.b.c.d.e < 1s", "a.b.c.d.e", "is no metric"),
        ] {
            let (span, why) = Condition::parse_all(text, Some(&vocabulary())).unwrap_err().remove(0);
            assert_eq!(&text[span], part, "{text}: {why}");
            assert!(why.contains(message), "{text}: {why}");
        }
    }
}
