//! Hosted maps: read, changed, and both many at a time.
//!
//! An operation is done whole or not at all, and a refusal means not at all. A batch is refused whole for what is
//! wrong with it; once that is past, each of its operations is done or refused on its own, in their order, and the
//! answer says which. Operations of others may come between. A request that was read whole is done whole, whether or
//! not its client waits for the answer.

use super::any_map::AnyMap;
use super::body;
use super::refusal::Refusal;
use crate::app::App;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use rheostat_api::{
    Add, ByteString, Delete, Entries, Entry, MapBatch, MapOp, MapOutcome, MapOutcomes, Problem, Put, Scan,
};
use serde::Deserialize;
use std::sync::Arc;

/// Entries at most in one answer.
const ENTRIES_MAX: usize = 10_000;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    /// The key, as text.
    key: Option<String>,
    /// The key, as base64 with its padding; in place of `key`.
    key_base64: Option<String>,
}

impl Key {
    fn bytes(self) -> Result<ByteString, Refusal> {
        let refuse = |detail: String| Refusal::new(StatusCode::BAD_REQUEST, "no-key", detail);
        match (self.key, self.key_base64) {
            (Some(text), None) => Ok(text.into()),
            (None, Some(base64)) => {
                ByteString::from_base64(&base64).map_err(|why| refuse(format!("key_base64: {why}")))
            }
            _ => Err(refuse("name one key: key=TEXT, or key_base64=BASE64 for one that is no text".into())),
        }
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Most {
    /// How many entries, 10000 at most.
    #[serde(default = "ten")]
    n: usize,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// The `next` of the page before; the first page without it.
    cursor: Option<String>,
    /// How many entries, 10000 at most.
    #[serde(default = "thousand")]
    limit: usize,
}

fn ten() -> usize {
    10
}

fn thousand() -> usize {
    1000
}

/// The value of one key.
#[utoipa::path(
    get, path = "/maps/{name}/get", tag = "maps", params(("name" = String, Path, description = "name of the map"), Key),
    responses(
        (status = 200, body = Entry),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "no such map or key"),
    ),
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(key): Query<Key>,
) -> Result<Json<Entry>, Refusal> {
    let key = key.bytes()?;
    app.aside(move |app| match AnyMap::find(app, &name)?.get(&key.0)? {
        Some(value) => Ok(Json(Entry { key, value })),
        None => Err(Refusal::new(StatusCode::NOT_FOUND, "no-such-key", format!("map.{name} has no key `{key}`"))),
    })
    .await
}

/// The entries of the greatest values of a map of counters.
#[utoipa::path(
    get, path = "/maps/{name}/top", tag = "maps", params(("name" = String, Path, description = "name of the map"), Most),
    responses(
        (status = 200, body = Entries),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "it does not hold counters"),
    ),
)]
pub(super) async fn top(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(Most { n }): Query<Most>,
) -> Result<Json<Entries>, Refusal> {
    app.aside(move |app| Ok(Json(Entries { entries: AnyMap::find(app, &name)?.top(bounded("n", n)?)? }))).await
}

/// One page of all entries, in no order that means anything.
#[utoipa::path(
    get, path = "/maps/{name}/scan", tag = "maps", params(("name" = String, Path, description = "name of the map"), Page),
    responses((status = 200, body = Scan), (status = 404, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn scan(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(Page { cursor, limit }): Query<Page>,
) -> Result<Json<Scan>, Refusal> {
    app.aside(move |app| Ok(Json(AnyMap::find(app, &name)?.scan(cursor, bounded("limit", limit)?)?))).await
}

/// Puts a value in the place of any that is there, which comes back as `previous`.
#[utoipa::path(
    post, path = "/maps/{name}/put", tag = "maps", params(("name" = String, Path, description = "name of the map")),
    request_body = Put,
    responses(
        (status = 200, body = MapOutcome),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "no such map"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "the map is full; nothing was changed"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "the key, the value or the body is too long"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "the map holds no values of that kind"),
    ),
)]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<MapOutcome>, Refusal> {
    let Put { key, value } = body::json(body, app.config.limits.upload_bytes).await?;
    one(&app, name, MapOp::Put { key, value }).await
}

/// Adds to a counter, which begins at 0, and says what it came to. Counters stop at both ends of what 64 bits hold.
#[utoipa::path(
    post, path = "/maps/{name}/add", tag = "maps", params(("name" = String, Path, description = "name of the map")),
    request_body = Add,
    responses(
        (status = 200, body = MapOutcome),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "no such map"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "the map is full; nothing was changed"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "the key or the body is too long"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "it does not hold counters"),
    ),
)]
pub(super) async fn add(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<MapOutcome>, Refusal> {
    let Add { key, by } = body::json(body, app.config.limits.upload_bytes).await?;
    one(&app, name, MapOp::Add { key, by }).await
}

/// Takes an entry out; its value comes back as `previous`, which is absent when there was none.
#[utoipa::path(
    post, path = "/maps/{name}/delete", tag = "maps", params(("name" = String, Path, description = "name of the map")),
    request_body = Delete,
    responses(
        (status = 200, body = MapOutcome),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "no such map"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "the key or the body is too long"),
    ),
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<MapOutcome>, Refusal> {
    let Delete { key } = body::json(body, app.config.limits.upload_bytes).await?;
    one(&app, name, MapOp::Delete { key }).await
}

/// Does many operations in their order. Any refusal of the batch as a whole means that none was done; an answer of 200
/// has an outcome for each, with an `error` for those that were not done, and the others were.
#[utoipa::path(
    post, path = "/maps/{name}/batch", tag = "maps", params(("name" = String, Path, description = "name of the map")),
    request_body = MapBatch,
    responses(
        (status = 200, body = MapOutcomes, description = "an outcome for each operation, in their order"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "no such map"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "too many operations, or a key, a value or the body is too long; none was done"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "an operation that this kind of map does not have, or a value it does not hold; none was done"),
    ),
)]
pub(super) async fn batch(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<MapOutcomes>, Refusal> {
    let MapBatch { operations } = body::json(body, app.config.limits.upload_bytes).await?;
    body::few("operations", operations.len(), app.config.limits.operations)?;
    app.aside(move |app| {
        let map = AnyMap::find(app, &name)?;
        for (index, op) in operations.iter().enumerate() {
            map.check(op).map_err(|refusal| refusal.within(format_args!("operation {index}")))?;
        }
        let outcome = |op| {
            map.apply(op)
                .unwrap_or_else(|refusal| MapOutcome { error: Some(refusal.problem()), ..MapOutcome::default() })
        };
        Ok(Json(MapOutcomes { outcomes: operations.iter().map(outcome).collect() }))
    })
    .await
}

async fn one(app: &Arc<App>, name: String, op: MapOp) -> Result<Json<MapOutcome>, Refusal> {
    app.aside(move |app| {
        let map = AnyMap::find(app, &name)?;
        map.check(&op)?;
        Ok(Json(map.apply(&op)?))
    })
    .await
}

fn bounded(what: &str, n: usize) -> Result<usize, Refusal> {
    if (1..=ENTRIES_MAX).contains(&n) {
        return Ok(n);
    }
    let detail = format!("{n} is out of range: {what} takes a whole number from 1 to {ENTRIES_MAX}");
    Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "out-of-range", detail))
}
