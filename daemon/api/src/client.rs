//! The typed client: every route of the API as a method, over a Unix socket or loopback TCP.

use crate::{
    Add, ByteString, Catalogue, Change, Changes, Delete, Entries, Entry, History, KnobValue, MapBatch, MapOp,
    MapOutcome, MapOutcomes, MapValue, PoolBlocks, Pop, Popped, Problem, Push, Pushed, Put, Resource, Resources, Run,
    RunResult, Runs, Scan, Shipped, Snapshot, Submission, Turns,
};
use futures_util::{Stream, StreamExt, TryStreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::fmt;
use std::io;
use std::iter;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::io::StreamReader;

/// A line of the stream longer than this is refused: a snapshot of 5 000 series is about 1 MiB.
const STREAM_LINE_BYTES_MAX: usize = 16 << 20;
/// A call answers within this or fails; turning a knob may take as long as its slowest hand-over.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where a daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// `http://127.0.0.1:PORT` with a bearer token.
    Tcp {
        /// Scheme, host and port.
        url: String,
        /// The token.
        token: String,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
            Endpoint::Tcp { url, .. } => f.write_str(url),
        }
    }
}

/// The socket a daemon listens on, and a client looks for, when nobody says otherwise:
/// `$XDG_RUNTIME_DIR/rheostat/control.sock`, or `/run/rheostat/control.sock` for root,
/// or `rheostat-UID/control.sock` in the folder for temporary files.
pub fn default_socket() -> PathBuf {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata("/proc/self").map(|meta| meta.uid());
    let folder = match (std::env::var_os("XDG_RUNTIME_DIR"), uid) {
        (Some(folder), _) if !folder.is_empty() => PathBuf::from(folder).join("rheostat"),
        (_, Ok(0)) => PathBuf::from("/run/rheostat"),
        (_, uid) => std::env::temp_dir().join(format!("rheostat-{}", uid.unwrap_or(u32::MAX))),
    };
    folder.join("control.sock")
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody answers there.
    #[error("no daemon answers at {endpoint}: {why}; start one with `rheostatd`, or name its socket with --socket")]
    Unreachable {
        /// Where it was looked for.
        endpoint: String,
        /// What the system said.
        why: String,
    },
    /// The socket is another user's.
    #[error("{endpoint} is not open to this user: {why}; only {users} may use it")]
    Denied {
        /// The socket.
        endpoint: String,
        /// What the system said.
        why: String,
        /// Who may use it.
        users: String,
    },
    /// The daemon refused.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// The connection broke or the answer made no sense.
    #[error("the daemon at {endpoint} answered wrongly: {why}")]
    Broken {
        /// Who answered.
        endpoint: String,
        /// What was wrong.
        why: String,
    },
}

/// A client of one daemon. Cheap to clone; connections are pooled.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Endpoint,
    base: String,
    http: reqwest::Client,
}

impl Client {
    /// A client that will speak to `endpoint`; connects when first used.
    ///
    /// # Errors
    /// When the token cannot be a header, or the system refuses to make a client.
    pub fn new(endpoint: Endpoint) -> Result<Self, ClientError> {
        let builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).no_proxy();
        let broken = |why: String| ClientError::Broken { endpoint: endpoint.to_string(), why };
        let (builder, base) = match &endpoint {
            Endpoint::Unix(path) => (builder.unix_socket(path.clone()), "http://localhost".to_owned()),
            Endpoint::Tcp { url, token } => {
                let mut value = reqwest::header::HeaderValue::from_str(&format!("Bearer {token}"))
                    .map_err(|_| broken("the token holds characters that no header may hold".into()))?;
                value.set_sensitive(true);
                let headers = [(reqwest::header::AUTHORIZATION, value)].into_iter().collect();
                (builder.default_headers(headers), url.trim_end_matches('/').to_owned())
            }
        };
        let http = builder.build().map_err(|error| broken(chain(&error)))?;
        Ok(Self { endpoint, base, http })
    }

    /// Where this client speaks to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether the daemon is there and ready: `GET /v1/readyz`.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.send(self.http.get(self.url("readyz"))).await.map(drop)
    }

    /// `GET /v1/resources`.
    pub async fn resources(&self) -> Result<Vec<Resource>, ClientError> {
        Ok(self.get::<Resources>("resources", &[]).await?.resources)
    }

    /// `GET /v1/resources/{address}`.
    pub async fn resource(&self, address: &str) -> Result<Resource, ClientError> {
        self.get(&format!("resources/{}", escape(address)), &[]).await
    }

    /// `PATCH /v1/resources/{address}/knobs`.
    pub async fn turn(&self, address: &str, knob: &str, to: KnobValue) -> Result<Vec<Change>, ClientError> {
        let turns = Turns([(knob.to_owned(), to)].into());
        let request = self.http.patch(self.url(&format!("resources/{}/knobs", escape(address))));
        Ok(self.ask::<Changes>(request.json(&turns)).await?.changes)
    }

    /// `GET /v1/changes`: those after the change `since`, oldest first.
    pub async fn changes(&self, since: u64) -> Result<Vec<Change>, ClientError> {
        Ok(self.get::<Changes>("changes", &[("since", &since.to_string())]).await?.changes)
    }

    /// `GET /v1/history`: all series of a resource, or those of one family.
    pub async fn history(&self, address: &str, family: Option<&str>, step_ms: u64) -> Result<History, ClientError> {
        let step = step_ms.to_string();
        let mut query = vec![("address", address), ("step_ms", &step)];
        query.extend(family.map(|family| ("family", family)));
        self.get("history", &query).await
    }

    /// `GET /v1/workloads`: those that ship.
    pub async fn workloads(&self) -> Result<Vec<Shipped>, ClientError> {
        Ok(self.get::<Catalogue>("workloads", &[]).await?.workloads)
    }

    /// `POST /v1/runs`.
    pub async fn submit(&self, submission: &Submission) -> Result<Run, ClientError> {
        self.ask(self.http.post(self.url("runs")).json(submission)).await
    }

    /// `POST /v1/runs/check`: validates a workload without running it.
    pub async fn check(&self, submission: &Submission) -> Result<(), ClientError> {
        self.send(self.http.post(self.url("runs/check")).json(submission)).await.map(drop)
    }

    /// `GET /v1/runs`, newest first.
    pub async fn runs(&self) -> Result<Vec<Run>, ClientError> {
        Ok(self.get::<Runs>("runs", &[]).await?.runs)
    }

    /// `GET /v1/runs/{id}`.
    pub async fn run(&self, id: &str) -> Result<Run, ClientError> {
        self.get(&format!("runs/{}", escape(id)), &[]).await
    }

    /// `POST /v1/runs/{id}/cancel`.
    pub async fn cancel(&self, id: &str) -> Result<Run, ClientError> {
        self.ask(self.http.post(self.url(&format!("runs/{}/cancel", escape(id))))).await
    }

    /// `GET /v1/runs/{id}/result`.
    pub async fn result(&self, id: &str) -> Result<RunResult, ClientError> {
        self.get(&format!("runs/{}/result", escape(id)), &[]).await
    }

    /// `GET /v1/maps/{name}/get`; `None` when the key is not there.
    pub async fn map_get(&self, map: &str, key: &ByteString) -> Result<Option<Entry>, ClientError> {
        let base64 = key.to_base64();
        let query = key.as_text().map_or(("key_base64", base64.as_str()), |text| ("key", text));
        match self.get(&format!("maps/{}/get", escape(map)), &[query]).await {
            Err(ClientError::Refused(problem)) if problem.kind == "urn:rheostat:no-such-key" => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// `GET /v1/maps/{name}/top`: the `n` entries of the greatest values.
    pub async fn map_top(&self, map: &str, n: usize) -> Result<Vec<Entry>, ClientError> {
        Ok(self.get::<Entries>(&format!("maps/{}/top", escape(map)), &[("n", &n.to_string())]).await?.entries)
    }

    /// `GET /v1/maps/{name}/scan`: one page.
    pub async fn map_scan(&self, map: &str, cursor: Option<&str>, limit: usize) -> Result<Scan, ClientError> {
        let limit = limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        self.get(&format!("maps/{}/scan", escape(map)), &query).await
    }

    /// `POST /v1/maps/{name}/put`; what it replaced.
    pub async fn map_put(&self, map: &str, put: &Put) -> Result<Option<MapValue>, ClientError> {
        Ok(self.post::<MapOutcome>("maps", map, "put", put).await?.previous)
    }

    /// `POST /v1/maps/{name}/add`; what it came to.
    pub async fn map_add(&self, map: &str, add: &Add) -> Result<Option<MapValue>, ClientError> {
        Ok(self.post::<MapOutcome>("maps", map, "add", add).await?.value)
    }

    /// `POST /v1/maps/{name}/delete`; what it took out.
    pub async fn map_delete(&self, map: &str, key: &ByteString) -> Result<Option<MapValue>, ClientError> {
        Ok(self.post::<MapOutcome>("maps", map, "delete", &Delete { key: key.clone() }).await?.previous)
    }

    /// `POST /v1/maps/{name}/batch`: an outcome for each operation, in their order.
    pub async fn map_batch(&self, map: &str, operations: Vec<MapOp>) -> Result<Vec<MapOutcome>, ClientError> {
        Ok(self.post::<MapOutcomes>("maps", map, "batch", &MapBatch { operations }).await?.outcomes)
    }

    /// `POST /v1/queues/{name}/push`. When not even the first item was accepted, that is an error.
    pub async fn queue_push(&self, queue: &str, push: &Push) -> Result<Pushed, ClientError> {
        self.post("queues", queue, "push", push).await
    }

    /// `POST /v1/queues/{name}/pop`; nothing when the queue stayed empty. What was taken is out of the queue, also
    /// when the answer is lost on its way.
    pub async fn queue_pop(&self, queue: &str, pop: &Pop) -> Result<Vec<ByteString>, ClientError> {
        Ok(self.post::<Popped>("queues", queue, "pop", pop).await?.items)
    }

    /// `GET /v1/pools/{name}/blocks`: who has blocks of it, and the last faults of its guard.
    pub async fn pool_blocks(&self, pool: &str) -> Result<PoolBlocks, ClientError> {
        self.get(&format!("pools/{}/blocks", escape(pool)), &[]).await
    }

    /// `GET /v1/heap/profile`: gzipped protobuf, as pprof reads it.
    pub async fn heap_profile(&self) -> Result<Vec<u8>, ClientError> {
        let response = self.send(self.http.get(self.url("heap/profile"))).await?;
        Ok(response.bytes().await.map_err(|error| self.failed(&error))?.into())
    }

    /// `GET /v1/stream`: a snapshot four times a second, until the daemon goes.
    pub async fn stream(&self) -> Result<impl Stream<Item = Result<Snapshot, ClientError>> + use<>, ClientError> {
        let request = self.http.get(self.url("stream")).header("accept", "application/x-ndjson");
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        let bytes = refused(response).await?.bytes_stream().map_err(io::Error::other);
        let lines = FramedRead::new(StreamReader::new(bytes), LinesCodec::new_with_max_length(STREAM_LINE_BYTES_MAX));
        let endpoint = self.endpoint.to_string();
        Ok(lines.map(move |line| {
            let broken = |why: String| ClientError::Broken { endpoint: endpoint.clone(), why };
            let line = line.map_err(|error| broken(chain(&error)))?;
            serde_json::from_str(&line).map_err(|error| broken(error.to_string()))
        }))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.base)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, ClientError> {
        let query: Vec<_> = query.iter().map(|(key, value)| format!("{key}={}", escape(value))).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        self.ask(self.http.get(format!("{}{mark}{}", self.url(path), query.join("&")))).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        kind: &str,
        name: &str,
        verb: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.ask(self.http.post(self.url(&format!("{kind}/{}/{verb}", escape(name)))).json(body)).await
    }

    async fn ask<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, ClientError> {
        let body = self.send(request).await?.bytes().await.map_err(|error| self.failed(&error))?;
        serde_json::from_slice(&body)
            .map_err(|error| ClientError::Broken { endpoint: self.endpoint.to_string(), why: error.to_string() })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, ClientError> {
        let response = request.timeout(CALL_TIMEOUT).send().await.map_err(|error| self.failed(&error))?;
        refused(response).await
    }

    fn failed(&self, error: &reqwest::Error) -> ClientError {
        let (endpoint, why) = (self.endpoint.to_string(), chain(error));
        if let (Endpoint::Unix(path), true) = (&self.endpoint, is_denied(error)) {
            return ClientError::Denied { endpoint, why, users: users(path) };
        }
        if error.is_connect() {
            ClientError::Unreachable { endpoint, why }
        } else {
            ClientError::Broken { endpoint, why }
        }
    }
}

/// Passes an answer of success on, and turns any other into the problem it carries.
async fn refused(response: reqwest::Response) -> Result<reqwest::Response, ClientError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.bytes().await.unwrap_or_default();
    Err(ClientError::Refused(serde_json::from_slice(&body).unwrap_or_else(|_| Problem {
        kind: "about:blank".into(),
        title: status.canonical_reason().unwrap_or("unknown").into(),
        status: status.as_u16(),
        detail: format!("the daemon answered {status}: {}", String::from_utf8_lossy(&body)),
    })))
}

/// Whether the system let nobody like this user in.
fn is_denied(error: &(dyn Error + 'static)) -> bool {
    let mut causes = iter::successors(Some(error), |&cause| cause.source());
    causes.any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    })
}

/// Who may use a socket: its owner and root. Where it lies out of sight, the innermost folder that can be seen tells.
fn users(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let seen = path.ancestors().find_map(|place| std::fs::metadata(place).ok());
    match seen.map(|meta| meta.uid()) {
        Some(0) => "root".to_owned(),
        Some(uid) => format!("uid {uid} and root"),
        None => "its owner and root".to_owned(),
    }
}

/// The causes of an error, the deepest last. Where there are any, the error's own text is left out: reqwest's only
/// repeats the address, at a length that pushes what the system said out of sight.
fn chain(error: &dyn Error) -> String {
    let causes: Vec<_> = iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string).collect();
    if causes.is_empty() { error.to_string() } else { causes.join(": ") }
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn escape(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}
