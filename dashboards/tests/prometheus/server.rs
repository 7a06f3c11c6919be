//! A Prometheus at work, and its HTTP API.

use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(15);
const SCRAPES_LIMIT: Duration = Duration::from_secs(20);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Another process may take the port between our asking for a free one and Prometheus listening on it.
const START_TRIES: usize = 3;

/// Where `prometheus` and `promtool` are.
#[derive(Debug)]
pub struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Looks on the PATH, then where .ci/run unpacks Debian's package, and says where it looked when there is neither.
    pub fn find() -> Result<Self, String> {
        let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/usr/bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path)
            .chain([unpacked])
            .find(|folder| ["prometheus", "promtool"].iter().all(|tool| folder.join(tool).is_file()));
        found.map(|folder| Self { folder }).ok_or_else(|| {
            "neither the PATH nor target/tools/usr/bin has prometheus and promtool; .ci/run gets them".to_owned()
        })
    }

    /// Runs promtool and returns what it said.
    ///
    /// # Panics
    /// When promtool finds anything wrong.
    pub fn promtool(&self, arguments: &[&str], folder: &Path, input: &str) {
        let mut child = Command::new(self.folder.join("promtool"))
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool starts");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("promtool reads its input");
        let output = child.wait_with_output().expect("promtool ends");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {arguments:?} ended with {}:\n{said}", output.status);
    }

    /// Starts Prometheus with the `prometheus.yml` in `folder`, which also takes its data and its log.
    pub fn prometheus(&self, folder: &Path) -> Prometheus {
        for _ in 0..START_TRIES {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
            let address = free.expect("a free port");
            let log = std::fs::File::create(folder.join("prometheus.log")).expect("a log");
            let child = Command::new(self.folder.join("prometheus"))
                .arg("--config.file=prometheus.yml")
                .arg("--storage.tsdb.path=data")
                .arg(format!("--web.listen-address={address}"))
                .current_dir(folder)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("prometheus starts");
            let mut prometheus = Prometheus { child, address };
            if prometheus.becomes_ready() {
                return prometheus;
            }
        }
        let log = std::fs::read_to_string(folder.join("prometheus.log")).unwrap_or_default();
        panic!("prometheus did not become ready in {START_LIMIT:?}, {START_TRIES} times; it said\n{log}");
    }
}

/// A Prometheus of our own; killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It is gone already if this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn becomes_ready(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < START_LIMIT {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return false;
            }
            if get(self.address, "/-/ready", &[]).is_ok_and(|(status, _)| status == 200) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    /// Waits until the host has been scraped so many times.
    pub fn await_scrapes(&self, enough: f64) {
        let began = Instant::now();
        loop {
            let up = self.ask("/api/v1/query", &[("query", r#"sum_over_time(up{job="rheostat"}[5m])"#)]);
            let scrapes = up.ok().and_then(|data| number(&data["result"][0]["value"][1])).unwrap_or_default();
            if scrapes >= enough {
                return;
            }
            assert!(began.elapsed() < SCRAPES_LIMIT, "{scrapes} scrapes in {SCRAPES_LIMIT:?}: does the host answer?");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The `data` of an answer, or what Prometheus has against the question.
    pub fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let (_, body) = get(self.address, path, query).map_err(|error| format!("{path}: {error}"))?;
        let mut answer: Value = serde_json::from_str(&body).map_err(|error| format!("{path}: {error} in {body}"))?;
        if answer["status"] == "success" { Ok(answer["data"].take()) } else { Err(answer["error"].to_string()) }
    }
}

/// The number in a sample, if it is one: Prometheus sends them as text, NaN and infinities among them.
pub fn number(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// One GET over a connection of its own. HTTP/1.0, so that the end of the answer is the end of the connection.
pub fn get(address: SocketAddr, path: &str, query: &[(&str, &str)]) -> io::Result<(u16, String)> {
    let query: Vec<_> = query.iter().map(|(key, value)| format!("{key}={}", escaped(value))).collect();
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    write!(stream, "GET {path}?{} HTTP/1.0\r\nHost: {address}\r\n\r\n", query.join("&"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let broken = || io::Error::other(format!("no HTTP answer: {answer:.200}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
    Ok((status, body.to_owned()))
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
