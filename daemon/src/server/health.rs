//! Whether the daemon is there, and what it can be asked.

use super::refusal::Refusal;
use crate::app::App;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use rheostat_api::Problem;
use std::sync::Arc;

/// Answers as long as the process turns. A second line says what does not, if anything: a daemon that only cannot look
/// at itself still serves, and ending it would lose what it holds.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = String)))]
pub(super) async fn alive(State(app): State<Arc<App>>) -> String {
    app.sampler.trouble().map_or_else(|| "alive\n".to_owned(), |trouble| format!("alive\n{trouble}\n"))
}

/// Answers once everything configured runs and while it is looked at, until stopping begins.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses((status = 200, body = String), (status = 503, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<&'static str, Refusal> {
    if app.stopping() {
        return Err(Refusal::busy("stopping", "the daemon is stopping"));
    }
    app.sampler.trouble().map_or(Ok("ready\n"), |trouble| Err(Refusal::busy("standstill", trouble)))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "health", responses((status = 200, content_type = "application/json")))]
pub(super) async fn document(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.document()).into_response()
}
