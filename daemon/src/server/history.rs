//! What was.

use super::refusal::Refusal;
use crate::app::App;
use axum::Json;
use axum::extract::{Query, State};
use rheostat_api::{History, Problem};
use rheostat_runtime::observe::Address;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The resource.
    address: String,
    /// One family; all without it.
    family: Option<String>,
    /// Distance of points: below 10000 the last 15 minutes by seconds, else the last 6 hours by tens of seconds.
    #[serde(default = "by_seconds")]
    step_ms: u64,
}

fn by_seconds() -> u64 {
    1000
}

/// The past of one resource.
#[utoipa::path(
    get, path = "/history", tag = "history", params(Wanted),
    responses((status = 200, body = History), (status = 404, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn of(State(app): State<Arc<App>>, Query(wanted): Query<Wanted>) -> Result<Json<History>, Refusal> {
    let address: Address = wanted.address.parse()?;
    app.aside(move |app| {
        let history = app.history.lock();
        let found = history.of(&address, wanted.family.as_deref(), wanted.step_ms);
        drop(history);
        if found.series.is_empty() {
            // Nothing known of it: either it is no resource, or it has not been looked at yet.
            app.host.registry.get(&address)?;
        }
        Ok(Json(found))
    })
    .await
}
