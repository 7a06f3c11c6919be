//! Workload runs.

use super::body;
use super::refusal::Refusal;
use crate::app::App;
use crate::runs::RunError;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rheostat_api::{Catalogue, Problem, Run, RunResult, Shipped, Submission};
use rheostat_workloads::catalogue;
use std::sync::Arc;

impl From<RunError> for Refusal {
    fn from(error: RunError) -> Self {
        let text = error.to_string();
        match error {
            RunError::Faults(_) | RunError::Unhosted { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-workload", text)
            }
            RunError::Full(_) => Self::busy("too-many-runs", text),
            RunError::Stopping => Self::busy("stopping", text),
            RunError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "no-such-run", text),
            RunError::NotEnded(_) => Self::new(StatusCode::CONFLICT, "not-ended", text),
            RunError::NoResult(..) => Self::new(StatusCode::NOT_FOUND, "no-result", text),
        }
    }
}

/// The workloads that ship, each with its text.
#[utoipa::path(get, path = "/workloads", tag = "runs", responses((status = 200, body = Catalogue)))]
pub(super) async fn catalogue() -> Json<Catalogue> {
    let shipped = catalogue::SCRIPTS.iter().map(|(name, text)| Shipped {
        name: (*name).to_owned(),
        summary: catalogue::summary(text),
        text: (*text).to_owned(),
    });
    Json(Catalogue { workloads: shipped.collect() })
}

/// Queues a workload; it runs when those before it have ended.
#[utoipa::path(
    post, path = "/runs", tag = "runs", request_body = Submission,
    responses(
        (status = 201, body = Run),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "everything wrong with it"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "too many wait already"),
    ),
)]
pub(super) async fn submit(State(app): State<Arc<App>>, body: Body) -> Result<Response, Refusal> {
    let submission: Submission = body::json(body, app.config.limits.upload_bytes).await?;
    let run = app.aside(move |app| Ok(app.runs.submit(&submission)?)).await?;
    Ok((StatusCode::CREATED, [("location", format!("/v1/runs/{}", run.id))], Json(run)).into_response())
}

/// Says everything wrong with a workload, without running it.
#[utoipa::path(
    post, path = "/runs/check", tag = "runs", request_body = Submission,
    responses((status = 204), (status = 422, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn check(State(app): State<Arc<App>>, body: Body) -> Result<StatusCode, Refusal> {
    let submission: Submission = body::json(body, app.config.limits.upload_bytes).await?;
    app.aside(move |app| {
        app.runs.check(&submission)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// All runs, newest first; of those that ended, the last 64, and the last 16 that were cancelled before they began.
#[utoipa::path(get, path = "/runs", tag = "runs", responses((status = 200, body = rheostat_api::Runs)))]
pub(super) async fn list(State(app): State<Arc<App>>) -> Json<rheostat_api::Runs> {
    Json(rheostat_api::Runs { runs: app.runs.list() })
}

/// One run as it stands.
#[utoipa::path(
    get, path = "/runs/{id}", tag = "runs", params(("id" = String, Path, description = "id of the run")),
    responses((status = 200, body = Run), (status = 404, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn one(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Run>, Refusal> {
    Ok(Json(app.runs.get(&id)?))
}

/// Asks a run to end early; what it has done by then is still checked and reported.
#[utoipa::path(
    post, path = "/runs/{id}/cancel", tag = "runs", params(("id" = String, Path, description = "id of the run")),
    responses((status = 200, body = Run), (status = 404, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn cancel(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Run>, Refusal> {
    Ok(Json(app.runs.cancel(&id)?))
}

/// What a run measured.
#[utoipa::path(
    get, path = "/runs/{id}/result", tag = "runs", params(("id" = String, Path, description = "id of the run")),
    responses(
        (status = 200, body = RunResult),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "no such run, or none of its own"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "it has not ended"),
    ),
)]
pub(super) async fn result(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let result = app.runs.result(&id)?;
    Ok(Json(&*result).into_response())
}
