//! Between the runtime's own types and those that go over the wire. Inner types promise nothing to strangers, so
//! neither side derives the other.

use rheostat_api as api;
use rheostat_runtime::map::{BytesMap, CounterMap, WordMap};
use rheostat_runtime::observe::{self, Actor, Measure, Resource, Sample, Snapshot};
use std::any::{Any, TypeId};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(crate) fn millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

pub(crate) fn now_ms() -> u64 {
    millis(SystemTime::now())
}

/// A resource with its samples; `quantiles` makes the brief of a histogram.
pub(crate) fn resource(
    resource: &dyn Resource,
    samples: &[Sample],
    mut quantiles: impl FnMut(&Sample, &Snapshot) -> api::Quantiles,
) -> api::Resource {
    let samples = samples.iter().map(|sample| {
        let labels = sample.family.labels.iter().zip(&sample.labels);
        let scale = sample.family.scale();
        let (value, quantiles, strip) = match &sample.measure {
            Measure::Total(total) => (Some(*total as f64 * scale), None, None),
            // Gauges of seconds are kept in nanoseconds as counters are.
            Measure::Level(level) => (Some(level * scale).filter(|value| value.is_finite()), None, None),
            Measure::Spread(spread) => (None, Some(quantiles(sample, spread)), None),
            Measure::Strip(parts) => (None, None, Some(parts.iter().map(|&part| part as f64 * scale).collect())),
        };
        api::Sample {
            family: sample.family.name.to_owned(),
            labels: labels.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            value,
            quantiles,
            strip,
        }
    });
    api::Resource {
        address: resource.address().to_string(),
        kind: resource.address().kind().to_string(),
        pool: resource.pool().map(ToString::to_string),
        values: values(resource).map(str::to_owned),
        samples: samples.collect(),
        knobs: resource.knobs().into_iter().map(knob).collect(),
    }
}

/// What the values of a map are, as its configuration calls them.
fn values(resource: &dyn Resource) -> Option<&'static str> {
    let kinds = [
        (TypeId::of::<CounterMap>(), "counters"),
        (TypeId::of::<BytesMap>(), "bytes"),
        (TypeId::of::<WordMap>(), "words"),
    ];
    let is = Any::type_id(resource);
    kinds.into_iter().find(|(kind, _)| *kind == is).map(|(_, values)| values)
}

/// The brief of a histogram: totals from `all`, quantiles from what `recent` holds.
pub(crate) fn quantiles(all: &Snapshot, recent: &Snapshot, scale: f64) -> api::Quantiles {
    let at = |q: f64| recent.quantile(q).map(|value| value as f64 * scale);
    api::Quantiles {
        count: all.count(),
        sum: all.sum() as f64 * scale,
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: all.max() as f64 * scale,
    }
}

fn knob(knob: observe::Knob) -> api::Knob {
    api::Knob {
        name: knob.name.to_owned(),
        value: value(&knob.value),
        range: match knob.range {
            observe::Range::Integer { min, max } => api::Range::Integer { min, max },
            observe::Range::Choice(words) => {
                api::Range::Choice { choices: words.iter().map(|&word| word.to_owned()).collect() }
            }
        },
        unit: knob.unit.to_owned(),
        help: knob.help.to_owned(),
    }
}

pub(crate) fn value(value: &observe::Value) -> api::KnobValue {
    match value {
        observe::Value::Integer(number) => api::KnobValue::Integer(*number),
        observe::Value::Choice(word) => api::KnobValue::Choice(word.clone()),
    }
}

pub(crate) fn value_of(value: api::KnobValue) -> observe::Value {
    match value {
        api::KnobValue::Integer(number) => observe::Value::Integer(number),
        api::KnobValue::Choice(word) => observe::Value::Choice(word),
    }
}

pub(crate) fn change(change: &observe::Change) -> api::Change {
    let (outcome, why) = match &change.outcome {
        observe::Outcome::Applied => (api::Outcome::Applied, None),
        observe::Outcome::Settling => (api::Outcome::Settling, None),
        observe::Outcome::Failed(why) => (api::Outcome::Failed, Some(why.clone())),
        observe::Outcome::Unknown(why) => (api::Outcome::Unknown, Some(why.clone())),
    };
    api::Change {
        id: change.id,
        at_ms: millis(change.at),
        actor: change.actor.to_string(),
        resource: change.address.to_string(),
        knob: change.knob.clone(),
        from: value(&change.from),
        to: value(&change.to),
        outcome,
        why,
        took_us: change.took.as_micros() as u64,
        reason: change.reason.clone(),
        effect: None,
        journalled: true,
    }
}

/// A change read back from a journal; `None` when its resource's address is none that this build knows.
pub(crate) fn change_of(change: api::Change) -> Option<observe::Change> {
    let actor = match change.actor.split_once(' ') {
        Some(("run", id)) => Actor::Run(id.to_owned()),
        _ if change.actor == "process" => Actor::Process,
        _ if change.actor == "auto" => Actor::Auto,
        _ => Actor::User(change.actor),
    };
    Some(observe::Change {
        id: change.id,
        at: UNIX_EPOCH + Duration::from_millis(change.at_ms),
        actor,
        address: change.resource.parse().ok()?,
        knob: change.knob,
        from: value_of(change.from),
        to: value_of(change.to),
        outcome: match change.outcome {
            api::Outcome::Applied => observe::Outcome::Applied,
            api::Outcome::Settling => observe::Outcome::Settling,
            api::Outcome::Failed => observe::Outcome::Failed(change.why.unwrap_or_default()),
            api::Outcome::Unknown => observe::Outcome::Unknown(change.why.unwrap_or_default()),
        },
        took: Duration::from_micros(change.took_us),
        reason: change.reason,
    })
}
