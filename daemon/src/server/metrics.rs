//! `/metrics`.

use super::refusal::Refusal;
use crate::app::App;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Every family, as Prometheus reads it.
pub(super) async fn scrape(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    let text = app.aside(|app| Ok(app.exporter.render(app))).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
