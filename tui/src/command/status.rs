//! The host in one line: what `rheostat` prints a second without a terminal, and `rheostat stream` four times.

use super::answer::Answer;
use crate::app::Look;
use crate::attach::Attached;
use crate::exit::{Exit, Failure};
use crate::scrub::Scrub;
use crate::summary::Summary;
use crate::{family, units};
use futures_util::StreamExt;
use rheostat_api::{Client, Resource, Snapshot};
use std::pin::pin;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

const LINE_EVERY: Duration = Duration::from_secs(1);

/// Prints a line a second until `lasting` has passed, the reader has left or a signal says so; then a summary.
pub async fn watch(host: &Attached, lasting: Option<Duration>, answer: &mut Answer) -> Result<Exit, Failure> {
    let mut stream = pin!(host.client().stream().await?);
    let mut look = Look::default();
    let mut summary = Summary::default();
    let mut lines = interval(LINE_EVERY);
    lines.set_missed_tick_behavior(MissedTickBehavior::Skip);
    lines.reset();
    let end = lasting.map(|lasting| Instant::now() + lasting);
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let exit = loop {
        tokio::select! {
            snapshot = stream.next() => {
                let mut snapshot = received(snapshot, host.client())?;
                if !answer.is_json() {
                    snapshot.scrub();
                }
                summary.take(&snapshot);
                look.take(snapshot);
            }
            _ = lines.tick() => if let Some(latest) = look.latest() {
                if answer.is_json() { answer.object(latest)? } else { answer.line(line(&look, latest))? }
                answer.flush()?;
            },
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => break Exit::Pass,
            _ = interrupted.recv() => break Exit::Signal(SignalKind::interrupt().as_raw_value()),
            _ = terminated.recv() => break Exit::Signal(SignalKind::terminate().as_raw_value()),
        }
    };
    if !answer.is_json() {
        answer.line(summary)?;
    }
    answer.flush()?;
    Ok(exit)
}

/// `rheostat stream`.
pub async fn stream(client: &Client, count: Option<u64>, answer: &mut Answer) -> Result<Exit, Failure> {
    let mut stream = pin!(client.stream().await?);
    let mut look = Look::default();
    if !answer.is_json() {
        // A line has rates, which are the difference of two snapshots.
        look.take(received(stream.next().await, client)?);
    }
    for _ in 0..count.unwrap_or(u64::MAX) {
        let mut snapshot = received(stream.next().await, client)?;
        if answer.is_json() {
            answer.object(&snapshot)?;
        } else {
            snapshot.scrub();
            look.take(snapshot);
            if let Some(latest) = look.latest() {
                answer.line(line(&look, latest))?;
            }
        }
        answer.flush()?;
    }
    Ok(Exit::Pass)
}

fn received(
    snapshot: Option<Result<Snapshot, rheostat_api::ClientError>>,
    client: &Client,
) -> Result<Snapshot, Failure> {
    let snapshot = snapshot.ok_or_else(|| {
        Failure::new(Exit::Unreachable, format!("the daemon at {} ended the stream", client.endpoint()))
            .advise("it was stopped or restarted; see its log, and attach again")
    })?;
    Ok(snapshot?)
}

/// `12s  pipeline.words 214 MB/s  1.92M records/s  workers 1+1  map.words 41 203 entries  rss 61 MiB`.
pub fn line(look: &Look, latest: &Snapshot) -> String {
    let mut parts = vec![units::elapsed(latest.uptime_s)];
    for resource in &latest.resources {
        match resource.kind.as_str() {
            "pipeline" => parts.push(pipeline(look, latest, resource)),
            "map" => {
                let entries = units::or_unknown(resource.value(family::MAP_ENTRIES), units::grouped);
                parts.push(format!("{} {entries} entries", resource.address));
            }
            "queue" => {
                let rate = units::or_unknown(look.throughput(resource), units::rate);
                parts.push(format!("{} {rate}", resource.address));
            }
            _ => {}
        }
    }
    parts.push(format!("rss {}", units::memory(latest.host.rss_bytes as f64)));
    if latest.host.history_left_out > 0 {
        let series = units::grouped(latest.host.history_left_out as f64);
        parts.push(format!("no history of {series} series: raise limits.history_series"));
    }
    parts.join("  ")
}

fn pipeline(look: &Look, latest: &Snapshot, pipeline: &Resource) -> String {
    let bytes = units::or_unknown(look.throughput(pipeline), units::bytes_rate);
    let stages: Vec<_> = stages(latest, pipeline).collect();
    // Stages split and filter records: the busiest one says how many flow.
    let flow: Vec<_> = stages.iter().filter_map(|stage| look.rate(&stage.address, family::STAGE_IN_ITEMS)).collect();
    let records = units::or_unknown(flow.iter().copied().reduce(f64::max), units::count);
    let workers: Vec<_> =
        stages.iter().map(|stage| units::or_unknown(stage.value(family::STAGE_WORKERS), units::count)).collect();
    format!("{} {bytes}  {records} records/s  workers {}", pipeline.address, workers.join("+"))
}

/// The stages of a pipeline.
fn stages<'a>(snapshot: &'a Snapshot, pipeline: &'a Resource) -> impl Iterator<Item = &'a Resource> {
    let below = |stage: &&Resource| {
        stage.kind == "stage" && stage.address.strip_prefix(&pipeline.address).is_some_and(|rest| rest.starts_with('.'))
    };
    snapshot.resources.iter().filter(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch;

    #[test]
    fn a_line_says_what_flows_and_what_it_costs() {
        let mut look = Look::default();
        (0..9).for_each(|step| look.take(sketch::snapshot(step)));
        let line = super::line(&look, look.latest().unwrap());
        assert_eq!(
            line,
            "2s  pipeline.words 214 MB/s  1.9M records/s  workers 1+2  queue.orders 88k/s  map.words 41 203 entries  \
             rss 61 MiB"
        );
        let mut full = look.latest().unwrap().clone();
        full.host.history_left_out = 7382;
        let told = super::line(&look, &full);
        assert_eq!(told, format!("{line}  no history of 7 382 series: raise limits.history_series"));
    }
}
