//! The accept loop of one listener, ours because axum's installs no timer: a head that never ends would be awaited
//! for ever.
//!
//! Each connection holds a permit, so their number is bounded; some permits are the Unix socket's alone. HTTP/1
//! only. A peer that stops reading while bytes are owed to it is cut off. When file descriptors run out the loop
//! backs off instead of spinning.

use super::guard::{Guard, Peer};
use super::patience::Patience;
use super::refusal::Refusal;
use super::traffic::Traffic;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// How long to wait after a failed accept: long enough for descriptors to be closed, short enough to go unnoticed.
const BACK_OFF: Duration = Duration::from_millis(200);

/// A listener.
pub(crate) enum Listener {
    /// The control socket.
    Unix(UnixListener),
    /// Loopback TCP.
    Tcp(TcpListener),
}

enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Listener {
    async fn accept(&self) -> io::Result<(Connection, Peer)> {
        match self {
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Connection::Unix(stream), Peer::Process { uid }))
            }
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Connection::Tcp(stream), Peer::Network))
            }
        }
    }
}

/// How many connections may be open at once.
#[derive(Clone)]
pub(crate) struct Permits {
    /// Anybody's.
    pub shared: Arc<Semaphore>,
    /// Taken when the shared ones are gone; empty for listeners without a reserve.
    pub reserved: Arc<Semaphore>,
}

impl Permits {
    fn take(&self) -> Option<OwnedSemaphorePermit> {
        let take = |permits: &Arc<Semaphore>| Arc::clone(permits).try_acquire_owned().ok();
        take(&self.shared).or_else(|| take(&self.reserved))
    }
}

/// How patient a door is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// Bytes of a head.
    pub header_bytes: usize,
    /// Fields of a head.
    pub headers: usize,
    /// Time to send a head.
    pub header_timeout: Duration,
    /// Time for a whole request; also, how long bytes may be owed to a peer that does not read.
    pub request_timeout: Duration,
}

/// A listener and everything its connections need.
pub(crate) struct Door {
    /// Where it listens, for the log.
    pub name: String,
    /// Who is let in.
    pub guard: Guard,
    /// What is behind it.
    pub router: Router,
    /// How many at once.
    pub permits: Permits,
    /// How patient it is.
    pub manners: Manners,
    /// Where its connections and requests are counted.
    pub traffic: Arc<Traffic>,
}

impl Door {
    /// Accepts until `closing`; connections are tracked by `tracker` and finish the request under way.
    pub(crate) async fn serve(self: Arc<Self>, listener: Listener, closing: CancellationToken, tracker: TaskTracker) {
        loop {
            let accepted = tokio::select! {
                () = closing.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((connection, peer)) => match self.permits.take() {
                    Some(permit) => {
                        let connection = Arc::clone(&self).converse(connection, peer, permit, closing.clone());
                        tracker.spawn(connection);
                    }
                    None => {
                        self.traffic.refuse();
                        turn_away(connection);
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, listener = %self.name, "a connection could not be accepted");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    async fn converse(
        self: Arc<Self>,
        connection: Connection,
        peer: Peer,
        _permit: OwnedSemaphorePermit,
        closing: CancellationToken,
    ) {
        let _open = self.traffic.open();
        match connection {
            Connection::Unix(stream) => self.converse_over(stream, peer, closing).await,
            Connection::Tcp(stream) => self.converse_over(stream, peer, closing).await,
        }
    }

    async fn converse_over<S>(&self, stream: S, peer: Peer, closing: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let manners = self.manners;
        let stream = TokioIo::new(Patience::new(stream, manners.request_timeout));
        let service = service_fn(|request| self.answer(request, peer));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(manners.header_timeout)
            .max_headers(manners.headers)
            .max_header_size(manners.header_bytes)
            .max_buf_size(manners.header_bytes.max(8 << 10))
            .serve_connection(stream, service);
        let mut connection = std::pin::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, listener = %self.name, "a connection ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Result<Response, Infallible> {
        let mut response = match self.guard.admit(&request, peer) {
            Ok(()) => self.route(request, peer).await,
            Err(refusal) => refusal.into_response(),
        };
        self.traffic.answered(response.status().as_u16());
        harden(&mut response);
        Ok(response)
    }

    async fn route(&self, request: Request<Incoming>, peer: Peer) -> Response {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answer = AssertUnwindSafe(self.router.clone().oneshot(request)).catch_unwind();
        match tokio::time::timeout(self.manners.request_timeout, answer).await {
            Ok(Ok(Ok(response))) => explain(response, &format!("{method} {path}")).await,
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(_)) => {
                tracing::error!(%method, path, "a request ended in a panic; the daemon goes on");
                let detail = "this request met a fault of the daemon; see its log";
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", detail).into_response()
            }
            Err(_) => {
                let detail = format!(
                    "not done within {} s; what it began may still end",
                    self.manners.request_timeout.as_secs()
                );
                Refusal::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail).into_response()
            }
        }
    }
}

/// Gives refusals that the router made, which are plain text or nothing, the form all others have.
async fn explain(response: Response, asked: &str) -> Response {
    let status = response.status();
    let problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    if status.as_u16() < 400 || problem {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let said = axum::body::to_bytes(response.into_body(), 4096).await.unwrap_or_default();
    let detail = match (status, &allow) {
        (StatusCode::NOT_FOUND, _) => format!("there is no `{asked}`; /v1/openapi.json lists what there is"),
        (StatusCode::METHOD_NOT_ALLOWED, Some(allow)) => {
            format!("`{asked}` does not work; this path takes {}", allow.to_str().unwrap_or_default())
        }
        _ => String::from_utf8_lossy(&said).into_owned(),
    };
    let kind = if status == StatusCode::NOT_FOUND { "no-such-path" } else { "bad-request" };
    let mut response = Refusal::new(status, kind, detail).into_response();
    if let Some(allow) = allow {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

/// Tells browsers to make nothing of an answer but what it says it is.
fn harden(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Says that there is no room, if the peer's buffer takes it at once, and hangs up.
fn turn_away(connection: Connection) {
    const FULL: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let fd = match connection {
        Connection::Unix(stream) => stream.into_std().map(OwnedFd::from),
        Connection::Tcp(stream) => stream.into_std().map(OwnedFd::from),
    };
    if let Ok(fd) = fd {
        // Courtesy only: the peer may be gone, or its buffer full.
        let _ = std::fs::File::from(fd).write(FULL);
    }
}
