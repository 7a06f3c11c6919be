//! The stream: the newest snapshot four times a second, never a queue of them.

use super::refusal::Refusal;
use crate::app::App;
use crate::sampler::Frame;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use rheostat_api::{Problem, Snapshot};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A snapshot a line.
    Lines,
    /// Server-sent events, for browsers and curl.
    Events,
}

/// One client; counted as long as it exists.
struct Client {
    app: Arc<App>,
    frames: watch::Receiver<Arc<Frame>>,
    closing: CancellationToken,
    form: Form,
    /// Parts of the frame under way that are still to be sent, the next one last.
    parts: Vec<Bytes>,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.app.traffic.stream(-1);
    }
}

/// Snapshots as `application/x-ndjson`, or as `text/event-stream` if that is what is accepted.
#[utoipa::path(
    get, path = "/stream", tag = "stream",
    responses(
        (status = 200, body = Snapshot, content_type = "application/x-ndjson"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "too many clients"),
    ),
)]
pub(super) async fn attach(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (form, kind) = if accepts.contains("text/event-stream") {
        (Form::Events, "text/event-stream")
    } else {
        (Form::Lines, "application/x-ndjson")
    };
    let Ok(permit) = Arc::clone(&app.stream_permits).try_acquire_owned() else {
        let detail = format!("{} clients are attached, as many as may be; detach one", app.config.limits.streams);
        return Err(Refusal::busy("too-many-streams", detail));
    };
    app.traffic.stream(1);
    let client = Client {
        frames: app.sampler.attach(),
        closing: app.streams_end.clone(),
        form,
        parts: Vec::new(),
        ended: false,
        _permit: permit,
        app,
    };
    let parts = stream::unfold(client, |mut client| async {
        let part = client.next().await?;
        Some((Ok::<_, Infallible>(part), client))
    });
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(parts)).into_response())
}

impl Client {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(part) = self.parts.pop() {
            return Some(part);
        }
        if self.ended {
            return None;
        }
        let fresh = tokio::select! {
            fresh = self.frames.changed() => fresh.is_ok(),
            () = self.closing.cancelled() => false,
        };
        if !fresh {
            self.ended = true;
            // A browser would take a silent end for a fault and come back at once.
            return (self.form == Form::Events).then(|| Bytes::from_static(b"event: end\ndata: {}\n\n"));
        }
        let frame = Arc::clone(&self.frames.borrow_and_update());
        match self.form {
            Form::Lines => Some(frame.line.clone()),
            Form::Events => {
                // The line ends in one line end and the event in two.
                self.parts = vec![Bytes::from_static(b"\n"), frame.line.clone()];
                Some(Bytes::from(format!("event: snapshot\nid: {}\ndata: ", frame.seq)))
            }
        }
    }
}
