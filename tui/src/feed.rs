//! Where snapshots come from: one task that reads the stream, asks for history and changes beside it, and comes back
//! when the host does.

use crate::family;
use crate::msg::Msg;
use crate::scrub::Scrub;
use futures_util::StreamExt;
use rheostat_api::{Change, Client, ClientError, Outcome, Snapshot};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, timeout};

/// First and greatest wait before the host is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A host that has said nothing for this long, at four snapshots a second, is gone or stuck.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// A question beside the stream may hold it up this long.
const ASIDE_MAX: Duration = Duration::from_secs(2);
/// Effects of changes are measured a while after; they are asked for this often until they are.
const EFFECTS_EVERY: Duration = Duration::from_secs(5);
/// A change whose effect was not measured by then never will be.
const EFFECT_DUE_MS: u64 = 120_000;
/// History is asked for so many resources; the trends of more begin empty.
const HISTORY_RESOURCES_MAX: usize = 64;

/// Feeds the dashboard until it is closed.
pub async fn run(client: Client, dashboard: Sender<Msg>) {
    let mut attempt = 0;
    loop {
        let why = match follow(&client, &dashboard, &mut attempt).await {
            Ok(Closed) => return,
            Err(why) => why,
        };
        let retry_in = backoff(attempt, fastrand::f64());
        attempt = attempt.saturating_add(1);
        if dashboard.send(Msg::FeedLost { why, retry_in }).await.is_err() {
            return;
        }
        tokio::time::sleep(retry_in).await;
    }
}

/// The dashboard is closed: there is nobody left to feed.
struct Closed;

/// Doubles with each attempt up to the greatest wait, and takes between half and all of it, so that many dashboards
/// of one host do not come back in step. `jitter` is between 0 and 1.
fn backoff(attempt: u32, jitter: f64) -> Duration {
    let wait = RETRY_FIRST.saturating_mul(2_u32.saturating_pow(attempt)).min(RETRY_MAX);
    wait.mul_f64(0.5 + 0.5 * jitter)
}

/// One connection, from the first snapshot to its end; why it ended, in words.
async fn follow(client: &Client, dashboard: &Sender<Msg>, attempt: &mut u32) -> Result<Closed, String> {
    let stream = timeout(SILENCE_MAX, client.stream()).await.map_err(|_| "it does not answer".to_owned())?;
    let mut stream = pin!(stream.map_err(words)?);
    let mut ledger = Ledger::default();
    let mut greeted = false;
    loop {
        let snapshot = tokio::select! {
            snapshot = timeout(SILENCE_MAX, stream.next()) => snapshot,
            () = dashboard.closed() => return Ok(Closed),
        };
        let snapshot = snapshot.map_err(|_| format!("it has said nothing for {}s", SILENCE_MAX.as_secs()))?;
        let mut snapshot = snapshot.ok_or("it ended the stream")?.map_err(words)?;
        snapshot.scrub();
        *attempt = 0;
        let news = ledger.due(&snapshot);
        let past = if greeted { vec![] } else { traced(&snapshot) };
        greeted = true;
        if dashboard.send(Msg::Snapshot(Box::new(snapshot))).await.is_err() {
            return Ok(Closed);
        }
        for (address, family) in past {
            if let Ok(Ok(history)) = timeout(ASIDE_MAX, client.history(&address, Some(family), 1000)).await
                && dashboard.send(Msg::History(history)).await.is_err()
            {
                return Ok(Closed);
            }
        }
        if let Some(since) = news
            && let Ok(Ok(mut changes)) = timeout(ASIDE_MAX, client.changes(since)).await
        {
            changes.scrub();
            ledger.take(&changes);
            if dashboard.send(Msg::Changes(changes)).await.is_err() {
                return Ok(Closed);
            }
        }
    }
}

/// The resources whose trend is drawn, and the family it is drawn of.
fn traced(snapshot: &Snapshot) -> Vec<(String, &'static str)> {
    let traced = snapshot
        .resources
        .iter()
        .filter_map(|resource| Some((resource.address.clone(), family::throughput(&resource.kind)?)));
    traced.take(HISTORY_RESOURCES_MAX).collect()
}

/// The reason alone: where the host is, and how to start one, is on screen or useless there.
fn words(error: ClientError) -> String {
    let mut text = match error {
        ClientError::Unreachable { why, .. } | ClientError::Broken { why, .. } => why,
        ClientError::Refused(problem) => problem.detail,
        other => other.to_string(),
    };
    text.scrub();
    text
}

/// Which changes are known, and which of them still wait for their effect.
#[derive(Default)]
struct Ledger {
    asked: bool,
    newest: u64,
    /// Id and time of each change whose effect may yet come.
    open: Vec<(u64, u64)>,
    effects_asked: Option<Instant>,
}

impl Ledger {
    /// The change after which changes are to be asked for now, if they are.
    fn due(&mut self, snapshot: &Snapshot) -> Option<u64> {
        if !self.asked {
            return Some(0);
        }
        if snapshot.last_change > self.newest {
            return Some(self.newest);
        }
        self.open.retain(|(_, at_ms)| snapshot.at_ms.saturating_sub(*at_ms) < EFFECT_DUE_MS);
        let oldest = self.open.first()?.0;
        if self.effects_asked.is_some_and(|at| at.elapsed() < EFFECTS_EVERY) {
            return None;
        }
        self.effects_asked = Some(Instant::now());
        Some(oldest.saturating_sub(1))
    }

    fn take(&mut self, changes: &[Change]) {
        self.asked = true;
        self.newest = changes.iter().map(|change| change.id).fold(self.newest, u64::max);
        for change in changes {
            self.open.retain(|(id, _)| *id != change.id);
            if change.effect.is_none() && matches!(change.outcome, Outcome::Applied | Outcome::Settling) {
                self.open.push((change.id, change.at_ms));
            }
        }
        self.open.sort_unstable();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch;

    #[test]
    fn waits_double_up_to_a_limit_and_never_pass_it() {
        assert_eq!(backoff(0, 1.0), RETRY_FIRST);
        assert_eq!(backoff(1, 1.0), RETRY_FIRST * 2);
        for attempt in [5, 10, 31, 32, u32::MAX] {
            assert_eq!(backoff(attempt, 1.0), RETRY_MAX);
            assert_eq!(backoff(attempt, 0.0), RETRY_MAX / 2);
        }
    }

    #[test]
    fn changes_are_asked_for_once_and_effects_until_they_come() {
        let mut ledger = Ledger::default();
        let mut snapshot = sketch::snapshot(8);
        assert_eq!(ledger.due(&snapshot), Some(0));
        let mut changes = sketch::changes();
        changes[0].effect = None;
        ledger.take(&changes);
        assert_eq!(ledger.due(&snapshot), Some(0), "the effect of change 1 is still to come");
        assert_eq!(ledger.due(&snapshot), None, "but was just asked for");
        snapshot.last_change = 3;
        assert_eq!(ledger.due(&snapshot), Some(2));
        ledger.take(&sketch::changes());
        assert!(ledger.open.is_empty(), "measured, or refused and so without effect");
    }
}
