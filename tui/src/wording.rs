//! Knobs, changes and runs in words: the same in answers of the command line and on the dashboard.

use crate::units;
use rheostat_api::{Change, Contention, EFFECT_MARGIN, Effect, Outcome, Range, Run, RunState, RunVerdict, Verdict};
use std::time::Duration;

/// The values a knob takes: `1..64 threads`, `sharded|lock_free`.
pub fn range(range: &Range, unit: &str) -> String {
    match range {
        Range::Integer { min, max } => format!("{min}..{max} {unit}").trim_end().to_owned(),
        Range::Choice { choices } => choices.join("|"),
    }
}

/// `pipeline.words.count.workers: 1 -> 8, applied in 1.2ms`; behind that in parentheses why, if that was said.
pub fn change(change: &Change) -> String {
    let reason = change.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    format!("{}{reason}", turned(change))
}

fn turned(change: &Change) -> String {
    let took = units::latency(Duration::from_micros(change.took_us).as_secs_f64());
    let Change { resource, knob, from, to, .. } = change;
    match change.outcome {
        Outcome::Applied => format!("{resource}.{knob}: {from} -> {to}, applied in {took}"),
        Outcome::Settling => format!("{resource}.{knob}: {from} -> {to}, in force, still settling after {took}"),
        Outcome::Failed => {
            let why = change.why.as_deref().unwrap_or("the resource gave no reason");
            format!("{resource}.{knob}: stays {from}, {to} failed: {why}")
        }
        Outcome::Unknown => {
            let why = change.why.as_deref().unwrap_or("nobody saw it");
            format!("{resource}.{knob}: {from} -> {to}, not known how it ended: {why}")
        }
    }
}

/// What a change did, once measured: `better, 1.31x [1.18, 1.46]`.
pub fn effect(change: &Change) -> Option<String> {
    let effect = change.effect.as_ref()?;
    let word = match effect.verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::Same => "same",
        Verdict::Inconclusive => "inconclusive",
    };
    let why = match effect.verdict {
        Verdict::Inconclusive => format!(" ({})", inconclusive(effect)),
        _ => String::new(),
    };
    let met = contention(change).map_or_else(String::new, |met| format!("; {met}"));
    Some(format!("{word}, {:.2}x [{:.2}, {:.2}]{why}{met}", effect.ratio, effect.lo, effect.hi))
}

/// What of its interval keeps a verdict from being said.
fn inconclusive(effect: &Effect) -> String {
    let margin = format!("{:.0} %", EFFECT_MARGIN * 100.0);
    match () {
        () if effect.lo < 1.0 - EFFECT_MARGIN && effect.hi > 1.0 + EFFECT_MARGIN => {
            "better and worse are both in the interval".to_owned()
        }
        () => format!("the interval reaches into the {margin} around 1 that make no difference"),
    }
}

/// How often threads met before and after, where that is known: `contended 310/s, then 2/s`.
pub fn contention(change: &Change) -> Option<String> {
    let Contention { before, after } = change.effect.as_ref()?.contention.as_ref()?;
    Some(format!("contended {}, then {}", units::rate(*before), units::rate(*after)))
}

/// `words  measure  12.3M records  1.21 GB of 2 GB  214 MB/s  4s left`.
pub fn run(run: &Run, rates: Option<(f64, f64)>) -> String {
    if run.state == RunState::Queued {
        return format!("{}  queued: the runs before it are measured first", run.name);
    }
    let progress = &run.progress;
    let mut parts = vec![run.name.clone(), progress.phase.clone()];
    parts.push(format!("{} records", units::count(progress.items as f64)));
    if progress.bytes > 0 {
        let of = progress.bytes_total.map_or_else(String::new, |total| format!(" of {}", units::bytes(total as f64)));
        parts.push(format!("{}{of}", units::bytes(progress.bytes as f64)));
    }
    // One rate, so that the line fits a terminal of 80 columns.
    parts.extend(rates.map(|(items, bytes)| match progress.bytes {
        0 => format!("{} records/s", units::count(items)),
        _ => units::bytes_rate(bytes),
    }));
    parts.push(match progress.left_s {
        Some(left) => format!("{} left", units::elapsed(left.ceil())),
        None => units::elapsed(progress.elapsed_s),
    });
    parts.retain(|part| !part.is_empty());
    parts.join("  ")
}

/// Items and bytes per second since the run started.
pub fn mean_rates(run: &Run) -> Option<(f64, f64)> {
    let progress = &run.progress;
    let seconds = progress.elapsed_s;
    (seconds > 0.0).then(|| (progress.items as f64 / seconds, progress.bytes as f64 / seconds))
}

/// A verdict in words.
pub fn verdict(verdict: RunVerdict) -> &'static str {
    match verdict {
        RunVerdict::Pass => "pass",
        RunVerdict::Incorrect => "incorrect: a check failed",
        RunVerdict::Failed => "failed a threshold",
        RunVerdict::Inconclusive => "inconclusive",
        RunVerdict::Cancelled => "cancelled",
        RunVerdict::Error => "could not be run to its end",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch;

    #[test]
    fn a_change_says_how_it_ended_and_what_it_did() {
        let [measured, refused] = sketch::changes().try_into().unwrap();
        assert_eq!(change(&measured), "pipeline.words.count.workers: 1 -> 2, applied in 1.24ms");
        assert_eq!(effect(&measured).as_deref(), Some("better, 1.31x [1.18, 1.46]"));
        let mut pools = measured.clone();
        pools.effect.as_mut().unwrap().contention = Some(Contention { before: 310.0, after: 0.0 });
        assert_eq!(effect(&pools).as_deref(), Some("better, 1.31x [1.18, 1.46]; contended 310/s, then 0/s"));
        let mut close = measured.clone();
        let told = close.effect.as_mut().unwrap();
        (told.lo, told.hi, told.verdict) = (0.37, 0.98, Verdict::Inconclusive);
        assert_eq!(
            effect(&close).as_deref(),
            Some(
                "inconclusive, 1.31x [0.37, 0.98] (the interval reaches into the 3 % around 1 that make no difference)"
            )
        );
        close.effect.as_mut().unwrap().hi = 1.2;
        assert!(effect(&close).unwrap().ends_with("(better and worse are both in the interval)"));
        let lost = Change { outcome: Outcome::Unknown, why: Some("the daemon ended".into()), ..measured.clone() };
        assert!(change(&lost).ends_with("1 -> 2, not known how it ended: the daemon ended"));
        assert_eq!(change(&refused), "scheduler.main.threads: stays 2, 4 failed: the pool could not start a thread");
        assert_eq!(effect(&refused), None);
        let own = sketch::own_turn();
        let reason = "4 threads, 1.3 M operations in 1.0 s, 12 % of them waited for a lock";
        assert_eq!(change(&own), format!("pool.batches.level: mutex -> thread_cached, applied in 1.24ms ({reason})"));
    }

    #[test]
    fn ranges_are_short() {
        assert_eq!(range(&Range::Integer { min: 1, max: 64 }, "threads"), "1..64 threads");
        assert_eq!(range(&Range::Choice { choices: vec!["a".into(), "b".into()] }, ""), "a|b");
    }
}
