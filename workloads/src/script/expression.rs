//! The language of thresholds: `map.get.p99 < 50us and throughput >= 1M/s`.
//!
//! ```text
//! expression = condition { "and" condition }
//! condition  = path comparison quantity
//! comparison = ">=" | "<=" | ">" | "<" | "==" | "!="
//! path       = name { "." name }
//! ```
//!
//! The language is total: an expression that passes the parser can be evaluated on any result, takes time linear in
//! its length, and says pass, fail or inconclusive. What was not measured is inconclusive, never zero.

use super::document::Known;
use crate::unit::{Dimension, Quantity};
use rheostat_api as api;
use std::fmt;
use std::ops::Range;

/// A threshold's condition, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    text: String,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    metric: Metric,
    comparison: Comparison,
    bound: f64,
}

/// What an expression can ask of a result.
#[derive(Debug, Clone, PartialEq)]
enum Metric {
    /// `throughput`, `bandwidth`, `items`, `duration` of the phase.
    Phase(PhaseFigure),
    /// `TARGET.OP.p99` and the like.
    Op { target: String, op: String, figure: OpFigure },
    /// `check.violations`.
    Violations,
    /// `events.made`, `events.failed`, `events.took` (the slowest).
    Events(EventFigure),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum PhaseFigure {
    Throughput,
    Bandwidth,
    Items,
    Duration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum OpFigure {
    Count,
    Throughput,
    HitRatio,
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

const PHASE_FIGURES: [(&str, PhaseFigure, Dimension); 4] = [
    ("throughput", PhaseFigure::Throughput, Dimension::Rate),
    ("bandwidth", PhaseFigure::Bandwidth, Dimension::ByteRate),
    ("items", PhaseFigure::Items, Dimension::Number),
    ("duration", PhaseFigure::Duration, Dimension::Time),
];

const OP_FIGURES: [(&str, OpFigure, Dimension); 8] = [
    ("count", OpFigure::Count, Dimension::Number),
    ("throughput", OpFigure::Throughput, Dimension::Rate),
    ("hit_ratio", OpFigure::HitRatio, Dimension::Number),
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

impl Expression {
    /// Reads an expression; all faults, each with its place in `text`. Without a vocabulary, names go unchecked.
    pub(super) fn parse(text: &str, known: Option<&Vocabulary>) -> Result<Self, Vec<(Range<usize>, String)>> {
        let mut conditions = Vec::new();
        let mut faults = Vec::new();
        for part in split_at_and(text) {
            match Condition::parse(text, part, known) {
                Ok(condition) => conditions.push(condition),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(Self { text: text.to_owned(), conditions }) } else { Err(faults) }
    }

    /// True if it asks anything of a phase.
    pub(super) fn needs_phase(&self) -> bool {
        self.conditions.iter().any(|condition| !matches!(condition.metric, Metric::Violations))
    }

    /// True if it asks for what the checks found.
    pub(super) fn needs_checks(&self) -> bool {
        self.conditions.iter().any(|condition| matches!(condition.metric, Metric::Violations))
    }

    /// Judges a result. The value is the one that decided: of the first condition that failed, else of the first that
    /// said nothing, else of the first.
    pub fn judge(&self, phase: Option<&api::Phase>, checks: &[api::Check]) -> (Option<f64>, Outcome) {
        let judged: Vec<_> = self.conditions.iter().map(|condition| condition.judge(phase, checks)).collect();
        let of = |wanted| judged.iter().find(|(_, outcome)| *outcome == wanted).copied();
        of(Outcome::Fail)
            .or_else(|| of(Outcome::Inconclusive))
            .or_else(|| judged.first().copied())
            .unwrap_or((None, Outcome::Inconclusive))
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

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
            Some(quantity) if quantity.dimension == dimension => Ok(Self { metric, comparison, bound: quantity.base }),
            _ => {
                let message = format!("`{}` is not {}", &text[bound.clone()], dimension.example().replace('"', "`"));
                Err((bound, message))
            }
        }
    }

    fn judge(&self, phase: Option<&api::Phase>, checks: &[api::Check]) -> (Option<f64>, Outcome) {
        let Some(value) = self.metric.of(phase, checks) else { return (None, Outcome::Inconclusive) };
        let outcome = if self.comparison.holds(value, self.bound) { Outcome::Pass } else { Outcome::Fail };
        (Some(value), outcome)
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
            [target, op, figure] => {
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
                Ok((Metric::Op { target: target.to_owned(), op: op.to_owned(), figure }, dimension))
            }
            _ => Err(format!(
                "`{path}` is no metric: write throughput, bandwidth, items or duration, TARGET.OPERATION.p99, \
                 events.failed, or check.violations"
            )),
        }
    }

    fn of(&self, phase: Option<&api::Phase>, checks: &[api::Check]) -> Option<f64> {
        match self {
            Metric::Violations => {
                let compared: u64 = checks.iter().map(|check| check.compared).sum();
                let violations = checks.iter().filter(|check| !check.pass).count();
                // A check that compared nothing has found nothing out: neither a violation nor its absence.
                let blind = checks.iter().any(|check| !check.pass && check.compared == 0);
                (compared > 0 && !blind).then_some(violations as f64)
            }
            Metric::Phase(figure) => {
                let phase = phase.filter(|phase| phase.duration_ns > 0)?;
                match figure {
                    PhaseFigure::Duration => Some(phase.duration_ns as f64),
                    _ if phase.items == 0 => None,
                    PhaseFigure::Items => Some(phase.items as f64),
                    PhaseFigure::Throughput => Some(phase.items_per_s),
                    PhaseFigure::Bandwidth => (phase.bytes > 0).then_some(phase.bytes_per_s),
                }
            }
            Metric::Op { target, op, figure } => {
                let mut ops = phase?.ops.iter();
                figure.of(ops.find(|row| row.target == *target && row.op == *op && row.count > 0)?)
            }
            Metric::Events(figure) => {
                let events = &phase?.events;
                let made = events.iter().filter(|event| event.error.is_none());
                match figure {
                    EventFigure::Made => Some(made.count() as f64),
                    EventFigure::Failed => Some((events.len() - made.count()) as f64).filter(|_| !events.is_empty()),
                    EventFigure::Took => made.map(|event| event.took_ns).max().map(|ns| ns as f64),
                }
            }
        }
    }
}

impl OpFigure {
    fn of(self, row: &api::OpResult) -> Option<f64> {
        match self {
            OpFigure::Count => Some(row.count as f64),
            OpFigure::Throughput => Some(row.per_s),
            OpFigure::HitRatio => Some(row.hits as f64 / row.count as f64),
            OpFigure::Max => row.service.as_ref().filter(|service| service.count > 0).map(|service| service.max),
            OpFigure::Quantile(thousandths) => {
                let service = row.service.as_ref()?;
                let beyond = service.count * u64::from(1000 - thousandths) / 1000;
                let quantile = match thousandths {
                    500 => service.p50,
                    900 => service.p90,
                    990 => service.p99,
                    _ => service.p999,
                };
                quantile.filter(|_| beyond >= TAIL_SAMPLES)
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
            bytes: 0,
            bytes_per_s: 0.0,
            ops: vec![get],
            events: Vec::new(),
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
        }
    }

    #[test]
    fn conditions_are_judged_on_what_was_measured() {
        let phase = phase(get(5000));
        let check = |pass, compared| api::Check { name: "oracle".into(), pass, compared, detail: String::new() };
        for (text, outcome) in [
            ("throughput >= 1M/s", Outcome::Pass),
            ("throughput>=1M/s and kv.get.p99<1us", Outcome::Pass),
            ("throughput >= 1M/s and kv.get.p99 < 500ns", Outcome::Fail),
            ("kv.get.hit_ratio >= 95%", Outcome::Pass),
            ("kv.get.hit_ratio == 0.95", Outcome::Pass),
            ("kv.get.max <= 1ms", Outcome::Pass),
            // Nothing measured: no updates, no bytes, no events, and five samples beyond the 99.9th percentile.
            ("kv.update.p99 < 1h", Outcome::Inconclusive),
            ("bandwidth > 0MB/s", Outcome::Inconclusive),
            ("events.failed == 0", Outcome::Inconclusive),
            ("kv.get.p999 < 1h", Outcome::Inconclusive),
            // A failure is one, whatever else is unknown.
            ("kv.update.p99 < 1h and throughput < 1/s", Outcome::Fail),
            ("check.violations == 0", Outcome::Pass),
        ] {
            let expression = Expression::parse(text, Some(&vocabulary())).unwrap();
            assert_eq!(expression.judge(Some(&phase), &[check(true, 7)]).1, outcome, "{text}");
        }
        let violations = Expression::parse("check.violations == 0", Some(&vocabulary())).unwrap();
        for (checks, outcome) in [
            (vec![], Outcome::Inconclusive),
            (vec![check(false, 0), check(true, 9)], Outcome::Inconclusive),
            (vec![check(false, 9)], Outcome::Fail),
        ] {
            assert_eq!(violations.judge(Some(&phase), &checks).1, outcome, "{checks:?}");
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
            ("a.b.c.d < 1s", "a.b.c.d", "is no metric"),
        ] {
            let (span, why) = Expression::parse(text, Some(&vocabulary())).unwrap_err().remove(0);
            assert_eq!(&text[span], part, "{text}: {why}");
            assert!(why.contains(message), "{text}: {why}");
        }
    }
}
