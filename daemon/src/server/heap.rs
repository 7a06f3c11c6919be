//! Heap profiles.

use super::refusal::Refusal;
use crate::app::App;
use crate::{heap, wire};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rheostat_api::Problem;
use rheostat_runtime::alloc::profile;
use std::sync::Arc;

/// What has been sampled of the heap, as pprof reads it: gzipped protobuf, with the scope of each sample as a label.
#[utoipa::path(
    get, path = "/heap/profile", tag = "resources",
    responses(
        (status = 200, content_type = "application/octet-stream", description = "for `go tool pprof` and its like"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "nothing was sampled yet"),
    ),
)]
pub(super) async fn profile(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    // Names are looked up in the binary's debug information, which takes a second.
    let bytes = app.aside(|_| {
        let taken = profile::heap_profile().ok_or_else(|| {
            let detail = "nothing has been sampled: turn allocator.process.sampling to 524288, and ask again later";
            Refusal::new(StatusCode::CONFLICT, "no-heap-profile", detail)
        })?;
        heap::encode(&taken, wire::now_ms())
            .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "no-heap-profile", error.to_string()))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"heap.pb.gz\""),
    ];
    Ok((headers, bytes.await?).into_response())
}
