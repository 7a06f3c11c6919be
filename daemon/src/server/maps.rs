//! Reads of hosted maps.

use super::refusal::Refusal;
use crate::app::App;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use rheostat_api::{Entries, Entry, Problem, Scan};
use rheostat_runtime::map::{CounterMap, CursorError};
use rheostat_runtime::observe::{Address, Kind};
use serde::Deserialize;
use std::any::Any;
use std::sync::Arc;

/// Entries at most in one answer.
const ENTRIES_MAX: usize = 10_000;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    /// The key, as text.
    key: String,
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
    responses((status = 200, body = Entry), (status = 404, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(Key { key }): Query<Key>,
) -> Result<Json<Entry>, Refusal> {
    app.aside(move |app| match map(app, &name)?.get(key.as_bytes()) {
        Some(value) => Ok(Json(Entry { key, value })),
        None => Err(Refusal::new(StatusCode::NOT_FOUND, "no-such-key", format!("map.{name} has no key `{key}`"))),
    })
    .await
}

/// The entries of the greatest values.
#[utoipa::path(
    get, path = "/maps/{name}/top", tag = "maps", params(("name" = String, Path, description = "name of the map"), Most),
    responses((status = 200, body = Entries), (status = 404, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn top(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(Most { n }): Query<Most>,
) -> Result<Json<Entries>, Refusal> {
    app.aside(move |app| {
        let top = map(app, &name)?.top(bounded("n", n)?);
        Ok(Json(Entries { entries: top.into_iter().map(entry).collect() }))
    })
    .await
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
    app.aside(move |app| {
        let map = map(app, &name)?;
        let limit = bounded("limit", limit)?;
        let refuse = |error: CursorError| Refusal::new(StatusCode::BAD_REQUEST, "no-cursor", error.to_string());
        let cursor = cursor.map(|cursor| cursor.parse().map_err(refuse)).transpose()?;
        let (entries, next) = map.scan(cursor, limit);
        let entries = entries.into_iter().map(entry).collect();
        Ok(Json(Scan { entries, next: next.map(|next| next.to_string()) }))
    })
    .await
}

/// A map of counters, whoever hosts it: the configuration or a run under way.
fn map(app: &App, name: &str) -> Result<Arc<CounterMap>, Refusal> {
    let resource: Arc<dyn Any + Send + Sync> = app.host.registry.get(&Address::new(Kind::Map, name)?)?;
    let other = |_| {
        let detail = format!("map.{name} does not hold counters, which is what can be read here");
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "no-counters", detail)
    };
    resource.downcast().map_err(other)
}

fn bounded(what: &str, n: usize) -> Result<usize, Refusal> {
    if (1..=ENTRIES_MAX).contains(&n) {
        return Ok(n);
    }
    let detail = format!("{n} is out of range: {what} takes a whole number from 1 to {ENTRIES_MAX}");
    Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "out-of-range", detail))
}

fn entry((key, value): (Box<[u8]>, i64)) -> Entry {
    Entry { key: String::from_utf8_lossy(&key).into_owned(), value }
}
