//! `get` and `set`.

use super::answer::Answer;
use super::lists::samples;
use crate::exit::{Exit, Failure};
use crate::scrub::Scrub;
use crate::turn::Turn;
use crate::wording;
use rheostat_api::{Client, Knob, Outcome, Resource};

/// `rheostat get ADDRESS[.KNOB]`.
pub async fn get(client: &Client, address: &str, answer: &mut Answer) -> Result<Exit, Failure> {
    let mut resources = client.resources().await?;
    if !answer.is_json() {
        resources.scrub();
    }
    if let Some(resource) = resources.iter().find(|resource| resource.address == address) {
        show(resource, answer)?;
    } else {
        let (resource, knob) = find_knob(&resources, address)?;
        if answer.is_json() {
            answer.object(knob)?;
        } else {
            answer.line(format_args!(
                "{}.{} = {}   ({})",
                resource.address,
                knob.name,
                knob.value,
                wording::range(&knob.range, &knob.unit)
            ))?;
        }
    }
    answer.flush()?;
    Ok(Exit::Pass)
}

/// The knob that `path` names, or a sentence that says what there is instead.
fn find_knob<'a>(resources: &'a [Resource], path: &str) -> Result<(&'a Resource, &'a Knob), Failure> {
    let holder = path.rsplit_once('.').and_then(|(address, name)| {
        let resource = resources.iter().find(|resource| resource.address == address)?;
        Some((resource, name))
    });
    let Some((resource, name)) = holder else {
        let known: Vec<_> = resources.iter().map(|resource| resource.address.as_str()).collect();
        return Err(
            Failure::usage(format!("no resource `{path}` is hosted")).advise(format!("one of {}", known.join(", ")))
        );
    };
    let knob = resource.knob(name).ok_or_else(|| {
        let known: Vec<_> = resource.knobs.iter().map(|knob| knob.name.as_str()).collect();
        let failure = Failure::usage(format!("{} has no knob `{name}`", resource.address));
        if known.is_empty() {
            failure.advise("it has no knobs at all; `rheostat resources` lists those of others")
        } else {
            failure.advise(format!("one of {}", known.join(", ")))
        }
    })?;
    Ok((resource, knob))
}

fn show(resource: &Resource, answer: &mut Answer) -> Result<(), Failure> {
    if answer.is_json() {
        return answer.object(resource);
    }
    answer.line(format_args!("{}  ({})", resource.address, resource.kind))?;
    for knob in &resource.knobs {
        answer.line(format_args!(
            "  {} = {}   ({})  {}",
            knob.name,
            knob.value,
            wording::range(&knob.range, &knob.unit),
            knob.help
        ))?;
    }
    for (name, value) in samples(resource) {
        answer.line(format_args!("  {name:<58} {value}"))?;
    }
    Ok(())
}

/// `rheostat set ADDRESS.KNOB=VALUE...`, in the order given. None is turned unless all can be; the first that fails
/// all the same ends it.
pub async fn set(client: &Client, turns: &[Turn], answer: &mut Answer) -> Result<Exit, Failure> {
    let resources = client.resources().await?;
    for turn in turns {
        let (_, knob) = find_knob(&resources, &format!("{}.{}", turn.address, turn.knob))?;
        turn.check(knob).map_err(|fault| Failure::usage(format!("{turn}: {fault}; nothing was turned")))?;
    }
    for (index, turn) in turns.iter().enumerate() {
        let mut changes = match client.turn(&turn.address, &turn.knob, turn.to.clone()).await {
            Ok(changes) => changes,
            Err(error) if index == 0 => return Err(error.into()),
            Err(error) => return Err(halfway(turn, &turns[..index]).because(error)),
        };
        for change in &mut changes {
            if answer.is_json() {
                answer.object(change)?;
            } else {
                change.scrub();
                answer.line(wording::change(change))?;
            }
        }
        answer.flush()?;
        if !answer.is_json() && changes.iter().any(|change| !change.journalled) {
            crate::exit::warn(
                "the change is in the daemon's memory only: its journal file cannot be written, so free space there; it is \
                 written then, and lost if the daemon ends before",
            );
        }
        if changes.iter().any(|change| change.outcome == Outcome::Failed) {
            return if index == 0 { Ok(Exit::Error) } else { Err(halfway(turn, &turns[..index])) };
        }
    }
    Ok(Exit::Pass)
}

fn halfway(failed: &Turn, done: &[Turn]) -> Failure {
    let done: Vec<_> = done.iter().map(Turn::to_string).collect();
    Failure::new(Exit::Error, format!("{failed} could not be turned; already in force: {}", done.join(", ")))
}
