//! What a refused request is told.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rheostat_api::Problem;
use rheostat_runtime::observe::{AddressError, RegistryError, TurnError};
use std::fmt::Display;

/// A refusal on its way out, as `application/problem+json`.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    retry_after_s: Option<u32>,
}

impl Refusal {
    /// `kind` goes out as `urn:rheostat:kind`.
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), retry_after_s: None }
    }

    /// A limit was reached that time will lift.
    pub(crate) fn busy(kind: &'static str, detail: impl Into<String>) -> Self {
        Self { retry_after_s: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, detail) }
    }

    /// Says which part of a request was refused.
    pub(super) fn within(self, part: impl Display) -> Self {
        Self { detail: format!("{part}: {}", self.detail), ..self }
    }

    /// What goes out.
    pub(super) fn problem(&self) -> Problem {
        Problem {
            kind: format!("urn:rheostat:{}", self.kind),
            title: self.status.canonical_reason().unwrap_or("Refused").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.problem()).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        let (status, kind) = match &error {
            RegistryError::UnknownResource(_) => (StatusCode::NOT_FOUND, "no-such-resource"),
            RegistryError::Turn(error) => return Refusal::from(error.clone()),
            _ => (StatusCode::CONFLICT, "conflict"),
        };
        Self::new(status, kind, error.to_string())
    }
}

impl From<TurnError> for Refusal {
    fn from(error: TurnError) -> Self {
        let (status, kind) = match &error {
            TurnError::UnknownKnob { .. } => (StatusCode::NOT_FOUND, "no-such-knob"),
            TurnError::Type { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "wrong-type"),
            TurnError::Range { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "out-of-range"),
            _ => (StatusCode::CONFLICT, "not-turned"),
        };
        Self::new(status, kind, error.to_string())
    }
}

impl From<AddressError> for Refusal {
    fn from(error: AddressError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "no-address", error.to_string())
    }
}
