//! A daemon under test: started in a folder of its own, stopped when dropped.

use rheostat_api::{Client, Endpoint};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(12);

/// Hosts a map that a slow pipeline counts into: enough to read, turn, scrape and drain.
pub const SMALL: &str = r#"
[map.words]
[queue.jobs]
capacity = 64
[pipeline.words]
source = { files = ["input.txt"], repeat = true, bytes_per_second = 65536 }
[[pipeline.words.stage]]
name = "split"
op = "words"
[[pipeline.words.stage]]
name = "count"
op = "count"
map = "words"
"#;

/// What a daemon needs to run, kept between runs of it.
pub struct Place {
    folder: Arc<tempfile::TempDir>,
}

impl Place {
    pub fn new(config: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("rheostat.toml"), config).unwrap();
        std::fs::write(folder.path().join("input.txt"), "the quick brown fox jumps over the lazy dog\n").unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("run/control.sock")
    }

    /// `rheostatd` with everything of it in this folder and metrics on a free port.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rheostatd"));
        for name in ["CONFIG", "SOCKET", "LISTEN", "METRICS", "STATE_DIR", "LOG"] {
            command.env_remove(format!("RHEOSTAT_{name}"));
        }
        command
            .arg("--config")
            .arg(self.path("rheostat.toml"))
            .arg("--socket")
            .arg(self.socket())
            .arg("--state-dir")
            .arg(self.path("state"))
            .args(["--metrics", "127.0.0.1:0"]);
        command
    }

    /// Starts a daemon and waits until it is ready.
    pub fn start(&self, args: &[&str]) -> Rheostatd {
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, saying) = (child.stderr.take().unwrap(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *saying.lock().unwrap() += &(line + "\n");
            }
        });
        let daemon = Rheostatd { child, said, socket: self.socket(), _folder: Arc::clone(&self.folder) };
        until("the daemon to be ready", || {
            assert!(daemon.is_running(), "the daemon ended: {}", daemon.said());
            daemon.said().contains("metrics on") && daemon.get("/v1/readyz").is_ok_and(|answer| answer.status == 200)
        });
        daemon
    }

    /// Runs a daemon that is expected to end by itself; its exit code and what it said.
    pub fn fail(&self, args: &[&str]) -> (i32, String) {
        let mut child = self.command().args(args).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if began.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("the daemon was expected to end by itself");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap_or(-1), said)
    }
}

/// A running daemon.
pub struct Rheostatd {
    child: Child,
    said: Arc<Mutex<String>>,
    socket: PathBuf,
    /// Stays as long as the daemon may need it.
    _folder: Arc<tempfile::TempDir>,
}

impl Drop for Rheostatd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Rheostatd {
    /// Everything on its standard error so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub fn is_running(&self) -> bool {
        Path::new("/proc").join(self.child.id().to_string()).join("exe").read_link().is_ok()
    }

    pub fn client(&self) -> Client {
        Client::new(Endpoint::Unix(self.socket.clone())).unwrap()
    }

    /// The address it printed after `what`, as in `metrics on http://`.
    pub fn address(&self, what: &str) -> String {
        let said = self.said();
        let rest = said.split(what).nth(1).unwrap_or_else(|| panic!("no `{what}` in: {said}"));
        rest.split(['/', ',']).next().unwrap().to_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the daemon did not end; it said: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn connect(&self) -> std::io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    pub fn get(&self, path: &str) -> std::io::Result<Answer> {
        ask(self.connect()?, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// Sends a body as JSON.
    pub fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        ask(self.connect().unwrap(), &format!("{head}{body}")).unwrap()
    }
}

/// An answer, taken apart as far as tests need.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The body of a refusal, which every refusal has.
    pub fn problem(&self) -> rheostat_api::Problem {
        assert!(self.head.contains("application/problem+json"), "no problem+json: {self:?}");
        let problem: rheostat_api::Problem = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem.status, self.status);
        problem
    }
}

/// Sends bytes as they are and reads to the end.
pub fn ask(mut stream: impl Read + Write, request: &str) -> std::io::Result<Answer> {
    // A daemon that refuses early may close before all is sent; its answer is there all the same.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        ended?;
        return Err(std::io::Error::other(format!("no answer: {text:?}")));
    };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

pub fn tcp(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Waits for something to come true.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs the client's calls.
pub fn block_on<T>(call: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, call).await.expect("a call took too long") })
}
