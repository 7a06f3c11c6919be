//! Hosted queues: pushed to and popped from, one item or many.
//!
//! A push accepts items from the first on and stops at the one there is no room for, so what one sender pushed keeps
//! its order; the answer says how many were accepted. Those stay in the queue also when the client hangs up while it
//! waits for room for the others.
//!
//! A pop delivers at most once. It takes items in the moment in which the answer is made, not before: one that waits
//! holds nothing, and when its client hangs up it ends with nothing taken. But HTTP says to nobody that an answer
//! arrived, so items whose answer is lost on its way are lost. Who cannot bear that keeps the items elsewhere until
//! they are done with.

use super::body;
use super::refusal::Refusal;
use crate::app::App;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rheostat_api::{ByteString, Pop, Popped, Problem, Push, Pushed};
use rheostat_runtime::observe::{Address, Kind, Resource};
use rheostat_runtime::queue::HostedQueue;
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

/// Pushes items in their order. Those that were accepted come first; a refusal means that none was.
#[utoipa::path(
    post, path = "/queues/{name}/push", tag = "queues", params(("name" = String, Path, description = "name of the queue")),
    request_body = Push,
    responses(
        (status = 200, body = Pushed, description = "how many were accepted, from the first on, and why the others were not"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "no such queue"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "the queue is closed"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "too many items, or an item or the body is too long; none was accepted"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "the wait is longer than a request may take; none was accepted"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "the queue stayed full; none was accepted"),
    ),
)]
pub(super) async fn push(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Pushed>, Refusal> {
    let limits = &app.config.limits;
    let Push { items, wait_ms } = body::json(body, limits.upload_bytes).await?;
    let (queue, wait) = (find(&app, &name)?, patience(&app, wait_ms)?);
    body::few("items", items.len(), limits.operations)?;
    for (index, ByteString(item)) in items.iter().enumerate() {
        if item.len() > limits.value_bytes {
            let detail =
                format!("item {index} has {} bytes, more than limits.value_bytes = {}", item.len(), limits.value_bytes);
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-long", detail));
        }
    }
    let all = items.len();
    let mut left: Vec<Box<[u8]>> = items.into_iter().map(|ByteString(item)| item.into()).collect();
    tokio::select! {
        // What there is room for is taken also without a wait.
        biased;
        // Why it ended shows in the queue.
        _ = queue.push_all_async(&mut left) => {}
        () = tokio::time::sleep(wait) => {}
        () = app.streams_end.cancelled() => {}
    }
    if !left.is_empty() {
        queue.count_rejected(left.len());
    }
    let pushed = all - left.len();
    let error = (!left.is_empty()).then(|| not_pushed(&queue, left.len()));
    match error {
        Some(refusal) if pushed == 0 => Err(refusal),
        error => Ok(Json(Pushed { pushed, error: error.map(|refusal| refusal.problem()) })),
    }
}

/// Pops items, waiting for the first if asked to. Delivers at most once: what an answer carries is out of the queue,
/// and lost with the answer if that does not arrive; a request that is given up while it waits has taken nothing.
#[utoipa::path(
    post, path = "/queues/{name}/pop", tag = "queues", params(("name" = String, Path, description = "name of the queue")),
    request_body = Pop,
    responses(
        (status = 200, body = Popped, description = "up to `max` items in their order, fewer also when they are large; none when the queue stayed empty"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "no such queue"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "the queue is closed and drained"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`max` or the wait is out of range; none was taken"),
    ),
)]
pub(super) async fn pop(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Popped>, Refusal> {
    let limits = &app.config.limits;
    let Pop { max, wait_ms } = body::json(body, limits.body_bytes).await?;
    let (queue, wait) = (find(&app, &name)?, patience(&app, wait_ms)?);
    if !(1..=limits.operations).contains(&max) {
        let detail = format!("{max} is out of range: max takes a whole number from 1 to {}", limits.operations);
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "out-of-range", detail));
    }
    let first = tokio::select! {
        biased;
        popped = queue.pop_async() => Some(popped),
        () = tokio::time::sleep(wait) => None,
        () = app.streams_end.cancelled() => None,
    };
    // From here to the answer nothing is awaited: this cannot be given up with items in hand.
    let mut items = Vec::new();
    match first {
        Some(Ok(item)) => items.push(ByteString(item.into())),
        Some(Err(_)) => return Err(closed(&queue, "and drained: there will be no more items")),
        None => queue.count_empty_pop(),
    }
    let mut bytes: usize = items.iter().map(|item| item.0.len()).sum();
    while !items.is_empty() && items.len() < max && bytes < limits.upload_bytes && !queue.is_empty() {
        let Ok(item) = queue.try_pop() else { break };
        bytes += item.len();
        items.push(ByteString(item.into()));
    }
    Ok(Json(Popped { items }))
}

/// The queue of that name, whoever hosts it: the configuration or a run under way.
fn find(app: &App, name: &str) -> Result<Arc<HostedQueue>, Refusal> {
    let address = Address::new(Kind::Queue, name)?;
    let resource: Arc<dyn Any + Send + Sync> = app.host.registry.get(&address)?;
    resource.downcast().map_err(|_| {
        let detail = format!("{address} does not hold byte strings, which is what this API pushes and pops");
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "no-byte-strings", detail)
    })
}

/// How long a request may wait: not so long that it would be ended for taking too long.
fn patience(app: &App, wait_ms: u64) -> Result<Duration, Refusal> {
    let (wait, max) = (Duration::from_millis(wait_ms), app.config.limits.request_timeout * 2 / 3);
    if wait <= max {
        return Ok(wait);
    }
    let detail = format!("{wait_ms} is out of range: wait_ms takes a whole number from 0 to {}", max.as_millis());
    Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "out-of-range", detail))
}

fn not_pushed(queue: &HostedQueue, left: usize) -> Refusal {
    if queue.is_closed() {
        return closed(queue, "and takes nothing more");
    }
    let (address, capacity) = (queue.address(), queue.capacity());
    let detail = format!(
        "{address} is full at {capacity} items, {left} were left over: pop some, wait with wait_ms, or turn {address}.capacity up"
    );
    Refusal::busy("queue-full", detail)
}

fn closed(queue: &HostedQueue, why: &str) -> Refusal {
    Refusal::new(StatusCode::CONFLICT, "closed", format!("{} is closed {why}", queue.address()))
}
