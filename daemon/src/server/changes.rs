//! The journal of changes.

use super::refusal::Refusal;
use crate::app::App;
use axum::Json;
use axum::extract::{Query, State};
use rheostat_api::Changes;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    /// Only changes after the one of this id.
    #[serde(default)]
    since: u64,
}

/// Who turned what, when, from, to; oldest first, the last 4096 at most.
#[utoipa::path(get, path = "/changes", tag = "changes", params(Since), responses((status = 200, body = Changes)))]
pub(super) async fn list(State(app): State<Arc<App>>, Query(query): Query<Since>) -> Result<Json<Changes>, Refusal> {
    // The journal's lock is held while a change reaches the disk.
    app.aside(move |app| Ok(Json(Changes { changes: app.changes(query.since) }))).await
}
