//! The daemon with its demo, in folders of its own.

use rheostat_api::{Client, Endpoint, KnobValue, RunState, Submission};
use rheostat_daemon::{Config, Daemon, Overrides};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const RUN_LIMIT: Duration = Duration::from_secs(30);

/// A shipped workload, made short.
struct Workload {
    file: &'static str,
    text: &'static str,
    vars: &'static [(&'static str, &'static str)],
}

/// Each touches what the demo alone leaves at rest.
const WORKLOADS: [Workload; 2] = [
    Workload {
        file: "map-mixed.toml",
        text: include_str!("../../../workloads/scripts/map-mixed.toml"),
        vars: &[("items", "1000"), ("duration", "2s")],
    },
    Workload {
        file: "queue-ping.toml",
        text: include_str!("../../../workloads/scripts/queue-ping.toml"),
        vars: &[("duration", "1s")],
    },
];

/// A running host; drained and stopped when dropped.
pub struct Host {
    daemon: Option<Daemon>,
    runtime: tokio::runtime::Runtime,
    client: Client,
    _folder: TempDir,
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.stop();
        }
    }
}

impl Host {
    /// Starts one; whoever else runs on this machine keeps socket, port and journal.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("control.sock");
        let overrides = Overrides {
            socket: Some(socket.clone()),
            metrics: Some("127.0.0.1:0".into()),
            state_dir: Some(folder.path().join("state")),
            ..Overrides::default()
        };
        let config = Config::load(&overrides).unwrap_or_else(|faults| panic!("{faults}"));
        let daemon = rheostat_daemon::start(config).unwrap_or_else(|error| panic!("{error}"));
        // With a thread of its own, which sees the host close an idle connection while nobody waits for an answer.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let client = Client::new(Endpoint::Unix(socket)).expect("a client");
        Self { daemon: Some(daemon), runtime: runtime.expect("a runtime"), client, _folder: folder }
    }

    /// Where metrics are served.
    pub fn metrics(&self) -> SocketAddr {
        self.daemon.as_ref().and_then(Daemon::metrics).expect("metrics are served")
    }

    /// Turns knobs and has each workload run to its end.
    pub fn work(&self) {
        self.runtime.block_on(async {
            let resources = self.client.resources().await.expect("resources");
            let backend = |word: &str| KnobValue::Choice(word.into());
            let turns = [
                ("stage", 0, "workers", KnobValue::Integer(3)),
                ("scheduler", 0, "threads", KnobValue::Integer(3)),
                ("map", 0, "backend", backend("fixed")),
                ("map", 1, "backend", backend("flat")),
                ("allocator", 0, "sampling", KnobValue::Integer(65_536)),
            ];
            for (kind, which, knob, to) in turns {
                let resource = resources.iter().filter(|resource| resource.kind == kind).nth(which).expect(kind);
                let turned = self.client.turn(&resource.address, knob, to.clone()).await;
                turned.unwrap_or_else(|error| panic!("{}.{knob}={to}: {error}", resource.address));
            }
            for workload in WORKLOADS {
                self.run(workload).await;
            }
        });
    }

    async fn run(&self, workload: Workload) {
        let Workload { file, text, vars } = workload;
        let vars = vars.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let submission = Submission { file: file.into(), text: text.into(), inputs: Vec::new(), vars };
        let run = self.client.submit(&submission).await.unwrap_or_else(|error| panic!("{file}: {error}"));
        let began = Instant::now();
        loop {
            let run = self.client.run(&run.id).await.unwrap_or_else(|error| panic!("{file}: {error}"));
            if run.state == RunState::Finished {
                // Whether it was fast enough is not asked here, but it must have driven what it says.
                return assert_eq!(run.error, None, "{file}");
            }
            assert!(began.elapsed() < RUN_LIMIT, "{file} has not finished in {RUN_LIMIT:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Every knob of every kind of resource hosted.
    pub fn knobs(&self) -> BTreeSet<(String, String)> {
        let resources = self.runtime.block_on(self.client.resources()).expect("resources");
        let of = |resource: rheostat_api::Resource| {
            let kind = resource.kind;
            resource.knobs.into_iter().map(move |knob| (kind.clone(), knob.name))
        };
        resources.into_iter().flat_map(of).collect()
    }
}
