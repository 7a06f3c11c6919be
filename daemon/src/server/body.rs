//! JSON bodies, read within limits.

use super::guard::too_large;
use super::refusal::Refusal;
use crate::plain::plainly;
use axum::body::Body;
use axum::http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// Reads a body of at most `limit` bytes. Text that is no JSON is a bad request; JSON that says something else than
/// what is asked for cannot be processed. Nesting is bounded by serde_json, at 128.
pub(super) async fn json<T: DeserializeOwned>(body: Body, limit: usize) -> Result<T, Refusal> {
    let bytes = match Limited::new(body, limit).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large(limit)),
        Err(error) => {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "bad-body", format!("the body broke off: {error}")));
        }
    };
    serde_json::from_slice(&bytes).map_err(|error| match error.classify() {
        Category::Data => {
            let (text, place) = (error.to_string(), format!("line {}, column {}", error.line(), error.column()));
            let what = plainly(text.split(" at line ").next().unwrap_or_default());
            let detail = format!("the body does not fit: {what} ({place})");
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-type", detail)
        }
        Category::Io | Category::Syntax | Category::Eof => {
            Refusal::new(StatusCode::BAD_REQUEST, "bad-json", format!("the body is no JSON: {error}"))
        }
    })
}

/// Refuses more of something than is taken at a time.
pub(super) fn few(what: &str, n: usize, max: usize) -> Result<(), Refusal> {
    if n <= max {
        return Ok(());
    }
    let detail =
        format!("{n} {what} are more than the {max} that are taken at a time (limits.operations): send them in parts");
    Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-many", detail))
}
