//! Events: knobs turned on time while a phase runs.

use super::cast::Cast;
use super::gate::Gate;
use crate::script::{Event, KnobName};
use rheostat_api as api;
use rheostat_runtime::observe::{Moment, Value, now};
use std::time::Duration;

/// Makes the turns of a phase, each at its time or as soon after it as the turn before has ended, until all are made, the
/// gate is stopped or a pipeline of the run's own has come to its end. A turn that meets that end is none, and no failure.
pub(super) fn make_turns(events: &[Event], cast: &Cast<'_>, gate: &Gate) -> Vec<api::Event> {
    let began = gate.pass();
    let mut made = Vec::new();
    let mut next: Vec<(Duration, u64)> = events.iter().map(|event| (event.at, 0)).collect();
    loop {
        let due = next.iter().enumerate().filter(|(index, (_, done))| *done < events[*index].count);
        let Some((index, (at, done))) = due.min_by_key(|(_, (at, _))| *at).map(|(index, due)| (index, *due)) else {
            return made;
        };
        if gate.sleep(at.saturating_sub(began.elapsed())) {
            return made;
        }
        let event = &events[index];
        for (knob, values) in &event.set {
            let event = turn(cast, knob, &values[(done % values.len() as u64) as usize], began);
            if event.error.is_some() && cast.is_ending(&knob.resource) {
                return made;
            }
            made.push(event);
        }
        next[index] = (at + event.every, done + 1);
    }
}

fn turn(cast: &Cast<'_>, knob: &KnobName, to: &Value, began: Moment) -> api::Event {
    let at = now();
    let turned = cast.turn(knob, to.clone());
    let at_ns = at.since(began).as_nanos() as u64;
    let (from, took, error) = match turned {
        Ok(change) => (change.from, change.took, None),
        Err(error) => (cast.value(knob).unwrap_or_else(|| to.clone()), Duration::ZERO, Some(error.to_string())),
    };
    let wire = |value: &Value| match value {
        Value::Integer(number) => api::KnobValue::Integer(*number),
        Value::Choice(word) => api::KnobValue::Choice(word.clone()),
    };
    let took_ns = took.as_nanos() as u64;
    api::Event { at_ns, knob: knob.to_string(), from: wire(&from), to: wire(to), took_ns, error }
}
