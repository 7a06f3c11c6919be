//! From a configuration to a daemon that serves, and back to nothing.

use crate::allocator;
use crate::app::App;
use crate::config::Config;
use crate::effects::Effects;
use crate::folder;
use crate::host::{Host, HostError};
use crate::journal::JournalFile;
use crate::lock::{Claim, LockError};
use crate::runs::Runs;
use crate::sampler;
use crate::server::{self, Door, Guard, Listener, Manners, Permits, Token, Traffic};
use crate::wire;
use rheostat_api::{Change, Outcome};
use rheostat_runtime::observe::{Registry, now};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Scrapes under way at once; more are refused, they would get the same text.
const SCRAPES: usize = 16;
/// Time for answers under way to leave, after everything else has stopped; a client that has not finished asking by
/// then is cut off.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why a daemon did not start. Whatever had been started by then is stopped again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The control socket cannot be had.
    #[error(transparent)]
    Socket(#[from] LockError),
    /// A resource cannot be started.
    #[error(transparent)]
    Host(#[from] HostError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {what}: {error}; {advice}")]
    Listen {
        /// `control` or `metrics`.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The state folder, the journal or the token cannot be used.
    #[error("cannot {doing} {}: {error}; choose another folder with --state-dir, or make this one yours", .path.display())]
    State {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The system refused threads.
    #[error("cannot start a thread: {0}")]
    Threads(#[source] io::Error),
}

/// How stopping went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stopped {
    /// What had not drained when the stop limit was reached.
    pub hung: Vec<String>,
}

/// A daemon at work. [`Daemon::stop`] ends it properly; dropping it leaves its threads to the end of the process.
pub struct Daemon {
    app: Arc<App>,
    listeners: Vec<String>,
    metrics: Option<SocketAddr>,
    closing: CancellationToken,
    tracker: TaskTracker,
    runtime: tokio::runtime::Runtime,
    threads: Vec<JoinHandle<()>>,
    claim: Claim,
}

/// Starts everything a configuration says. Returns when all of it serves. Call it from a thread that may wait.
///
/// # Errors
/// When a socket, an address or a file cannot be had, or a resource cannot be started.
pub fn start(config: Config) -> Result<Daemon, StartError> {
    // Calibrates the clock, once, before anything is timed.
    now();
    for variable in allocator::apply(&config.allocator) {
        tracing::warn!(variable, "this option of the allocator acts only at the start of a process; set the variable");
    }
    let claim = Claim::take(&config.control.socket)?;
    let (mut journal, mut resumed) = open_state(&config)?;
    // What was settling when the process before this one ended, nobody saw end.
    for change in resumed.iter_mut().filter(|change| change.outcome == Outcome::Settling) {
        change.outcome = Outcome::Unknown;
        change.why = Some("the daemon ended before it had settled".to_owned());
        journal.write(change);
    }
    let mut effects = Effects::default();
    effects.resume(resumed.iter().filter_map(|change| Some((change.id, change.effect.clone()?))));
    let token = match config.control.listen {
        Some(_) => {
            Some(Token::of(&config.control.token_file).map_err(state("use the token", &config.control.token_file))?)
        }
        None => None,
    };
    let control = config.control.listen.map(|address| bind("control", address)).transpose()?;
    let metrics = config.metrics.map(|address| bind_metrics(address, config.overrides.metrics_may_move)).transpose()?;

    let host = Host::start(&config.resources, &config.limits)?;
    host.registry.journal().resume(resumed.into_iter().filter_map(wire::change_of));
    let results = config.state_dir.join("results");
    let runs = Runs::open(Arc::clone(&host.registry), results.clone(), config.limits.runs_queued)
        .map_err(state("use the results in", &results))?;
    let app = Arc::new(App::new(config, host, journal, effects, runs));

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(32)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(StartError::Threads)?;
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.into()).spawn(work).map_err(StartError::Threads)
    };
    let (sampled, runs) = (Arc::clone(&app), Arc::clone(&app.runs));
    let threads = vec![
        spawn("sampler", Box::new(move || sampler::run(&sampled)))?,
        spawn("runs", Box::new(move || runs.work()))?,
    ];

    let (closing, tracker) = (CancellationToken::new(), TaskTracker::new());
    tracker.spawn_on(sampler::watch(Arc::clone(&app), closing.clone()), runtime.handle());
    let bound = Bound { socket: claim.listener().map_err(StartError::Threads)?, control, token, metrics };
    let guarded = runtime.enter();
    let (listeners, metrics) = open_doors(&app, bound, &closing, &tracker).map_err(StartError::Threads)?;
    drop(guarded);
    Ok(Daemon { app, listeners, metrics, closing, tracker, runtime, threads, claim })
}

/// The listening sockets, bound but not yet served.
struct Bound {
    socket: std::os::unix::net::UnixListener,
    control: Option<std::net::TcpListener>,
    token: Option<Token>,
    metrics: Option<std::net::TcpListener>,
}

fn open_doors(
    app: &Arc<App>,
    bound: Bound,
    closing: &CancellationToken,
    tracker: &TaskTracker,
) -> io::Result<(Vec<String>, Option<SocketAddr>)> {
    let limits = &app.config.limits;
    let manners = Manners {
        header_bytes: limits.header_bytes,
        headers: limits.headers,
        header_timeout: limits.header_timeout,
        request_timeout: limits.request_timeout,
    };
    let shared = Arc::new(Semaphore::new(limits.connections - limits.connections_reserved));
    let reserved = Arc::new(Semaphore::new(limits.connections_reserved));
    let none = || Arc::new(Semaphore::new(0));
    let body_bytes_max = limits.body_bytes.max(limits.upload_bytes);
    let router = server::control(Arc::clone(app)).0;
    let mut opened = Vec::new();
    let mut open = |door: Door, listener: Listener, auth: &str| {
        opened.push(format!("{}, {auth}", door.name));
        tracker.spawn(Arc::new(door).serve(listener, closing.clone(), tracker.clone()));
    };

    let socket = Door {
        name: format!("control on unix:{}", app.config.control.socket.display()),
        guard: Guard { port: None, token: None, owner_only: true, body_bytes_max },
        router: router.clone(),
        permits: Permits { shared: Arc::clone(&shared), reserved },
        manners,
        traffic: Arc::clone(&app.traffic),
    };
    open(socket, Listener::Unix(tokio::net::UnixListener::from_std(bound.socket)?), "for this user and root");
    if let Some(listener) = bound.control {
        let address = listener.local_addr()?;
        let door = Door {
            name: format!("control on http://{address}"),
            guard: Guard { port: Some(address.port()), token: bound.token, owner_only: false, body_bytes_max },
            router,
            permits: Permits { shared, reserved: none() },
            manners,
            traffic: Arc::clone(&app.traffic),
        };
        let auth = format!("for who holds the token in {}", app.config.control.token_file.display());
        open(door, Listener::Tcp(tokio::net::TcpListener::from_std(listener)?), &auth);
    }
    let mut metrics = None;
    if let Some(listener) = bound.metrics {
        let address = listener.local_addr()?;
        let door = Door {
            name: format!("metrics on http://{address}/metrics"),
            guard: Guard { port: Some(address.port()), token: None, owner_only: false, body_bytes_max: 0 },
            router: server::exposition(Arc::clone(app)),
            permits: Permits { shared: Arc::new(Semaphore::new(SCRAPES)), reserved: none() },
            manners,
            // Scrapes are no control requests.
            traffic: Arc::new(Traffic::default()),
        };
        open(door, Listener::Tcp(tokio::net::TcpListener::from_std(listener)?), "for every local user, read only");
        metrics = Some(address);
    }
    Ok((opened, metrics))
}

fn bind(what: &'static str, address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let advice = match what {
        "metrics" => "choose another with --metrics, or --metrics off",
        _ => "choose another with --listen",
    };
    listen().map_err(|error| StartError::Listen { what, address, error, advice })
}

fn bind_metrics(address: SocketAddr, may_move: bool) -> Result<std::net::TcpListener, StartError> {
    match bind("metrics", address) {
        Err(StartError::Listen { .. }) if may_move => bind("metrics", SocketAddr::new(address.ip(), 0)),
        bound => bound,
    }
}

fn state(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StartError {
    let path = path.to_owned();
    move |error| StartError::State { doing, path, error }
}

fn open_state(config: &Config) -> Result<(JournalFile, Vec<Change>), StartError> {
    folder::make(&config.state_dir).map_err(state("make the state folder", &config.state_dir))?;
    let path = config.state_dir.join("journal.ndjson");
    let (journal, resumed) =
        JournalFile::open(&path, config.limits.journal_bytes as u64).map_err(state("use the journal", &path))?;
    if resumed.torn > 0 {
        tracing::warn!(bytes = resumed.torn, file = %path.display(), "the journal ended in a torn line, as after a crash; it was cut off");
    }
    if resumed.unreadable > 0 {
        tracing::warn!(lines = resumed.unreadable, file = %path.display(), "lines of the journal make no sense and were passed over");
    }
    Ok((journal, resumed.changes))
}

impl Daemon {
    #[cfg(test)]
    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// What it hosts: a program that it is part of adds its own resources here, and takes them away.
    pub fn registry(&self) -> &Registry {
        &self.app.host.registry
    }

    /// The control socket.
    pub fn socket(&self) -> &Path {
        &self.app.config.control.socket
    }

    /// Where metrics are served, if they are.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Each listener and who may use it, a line each.
    pub fn listeners(&self) -> &[String] {
        &self.listeners
    }

    /// Reads the configuration again. Knobs are what changes while a daemon runs, so nothing of it takes effect
    /// before the next start; what is wrong or different is said in the log, and the daemon runs on as it was.
    pub fn reload(&self) {
        match self.app.config.reload() {
            Err(faults) => {
                tracing::error!(error = %faults, "the configuration is wrong; the one in force stays");
            }
            Ok(config) => {
                let differences = self.app.config.differences(&config);
                if differences.is_empty() {
                    tracing::info!("the configuration is as it was");
                } else {
                    let parts = differences.join(", ");
                    tracing::warn!(parts, "the configuration changed; these parts take effect at the next start");
                }
            }
        }
    }

    /// Stops intake, drains what was taken in within the stop limit, ends streams, and lets go of the socket.
    /// Waits; call it from a thread that may.
    pub fn stop(self) -> Stopped {
        let limit = self.app.config.stop_limit;
        let began = now();
        self.app.begin_stop();
        // Runs first: they end what they started themselves.
        let mut hung: Vec<_> = self.app.runs.stop(limit).into_iter().collect();
        hung.extend(self.app.host.stop(limit.saturating_sub(began.elapsed())));
        self.app.sampler.stop();
        self.app.streams_end.cancel();
        self.closing.cancel();
        self.tracker.close();
        let told = self.runtime.block_on(async { tokio::time::timeout(LAST_WORDS, self.tracker.wait()).await });
        if told.is_err() {
            tracing::warn!(connections = self.tracker.len(), "connections were still open at the end and were cut");
        }
        self.runtime.shutdown_background();
        if hung.is_empty() {
            // A panic of one of them is on the log already.
            self.threads.into_iter().for_each(|thread| drop(thread.join()));
        }
        self.app.end_journal();
        drop(self.claim);
        Stopped { hung }
    }
}
