//! `resources`, `changes` and `runs`: one line each.

use super::answer::Answer;
use crate::exit::{Exit, Failure};
use crate::scrub::Scrub;
use crate::{units, wording};
use rheostat_api::{Client, Resource, RunState};
use serde::Serialize;

/// `rheostat resources`.
pub async fn resources(client: &Client, answer: &mut Answer) -> Result<Exit, Failure> {
    let objects = client.resources().await?;
    list(objects, answer, |resource| {
        let knobs = resource.knobs.iter().map(|knob| format!("{}={}", knob.name, knob.value));
        let pool = resource.pool.as_ref().map(|pool| format!("in {pool}"));
        let refused = resource.samples.iter().filter(|sample| sample.family == "rheostat_pool_refusals_total");
        let refused: f64 = refused.filter_map(|sample| sample.value).sum();
        let refused = (refused > 0.0).then(|| format!("refused={}", units::grouped(refused).replace(' ', "")));
        let said: Vec<_> = knobs.chain(pool).chain(refused).collect();
        format!("{:<32} {:<10} {}", resource.address, resource.kind, said.join(" ")).trim_end().to_owned()
    })
}

/// `rheostat changes [--since ID]`.
pub async fn changes(client: &Client, since: u64, answer: &mut Answer) -> Result<Exit, Failure> {
    let objects = client.changes(since).await?;
    list(objects, answer, |change| {
        let effect = wording::effect(change).map_or_else(String::new, |effect| format!(": {effect}"));
        let when = units::clock(change.at_ms);
        let unwritten = if change.journalled { "" } else { " (in memory only: the journal file cannot be written)" };
        format!("{:>5}  {when}  {:<12} {}{effect}{unwritten}", change.id, change.actor, wording::change(change))
    })
}

/// `rheostat runs`.
pub async fn runs(client: &Client, answer: &mut Answer) -> Result<Exit, Failure> {
    let objects = client.runs().await?;
    list(objects, answer, |run| {
        let state = match (run.state, run.verdict) {
            (RunState::Queued, _) => "queued".to_owned(),
            (RunState::Running, _) => wording::run(run, wording::mean_rates(run)),
            (RunState::Finished, Some(verdict)) => wording::verdict(verdict).to_owned(),
            (RunState::Finished, None) => "finished".to_owned(),
        };
        format!("{}  {}  {:<20} {state}", run.id, units::clock(run.submitted_ms), run.name)
    })
}

fn list<T: Scrub + Serialize>(
    mut objects: Vec<T>,
    answer: &mut Answer,
    line: impl Fn(&T) -> String,
) -> Result<Exit, Failure> {
    for object in &mut objects {
        if answer.is_json() {
            answer.object(object)?;
        } else {
            object.scrub();
            answer.line(line(object))?;
        }
    }
    answer.flush()?;
    Ok(Exit::Pass)
}

/// A resource's samples as name and value.
pub fn samples(resource: &Resource) -> impl Iterator<Item = (String, String)> {
    resource.samples.iter().map(|sample| {
        let labels: Vec<_> = sample.labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let value = match (&sample.value, &sample.quantiles) {
            (Some(value), _) if value.fract() == 0.0 => units::grouped(*value),
            (Some(value), _) => format!("{value:.6}"),
            (None, Some(spread)) => format!(
                "p50 {}  p99 {}  max {}  n {}",
                units::or_unknown(spread.p50, units::latency),
                units::or_unknown(spread.p99, units::latency),
                units::latency(spread.max),
                units::grouped(spread.count as f64)
            ),
            (None, None) => units::UNKNOWN.to_owned(),
        };
        (format!("{}{labels}", sample.family), value)
    })
}
