//! Finding a daemon; and where nobody named one and none answers, hosting one in this process. Even that one is
//! spoken to through its API, on a socket of its own.

use crate::exit::Failure;
use rheostat_api::{Client, ClientError, Endpoint, default_socket};
use std::path::PathBuf;

/// What a daemon in this process hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosting {
    /// The demo.
    Demo,
    /// Nothing: nothing shall disturb a run that is measured.
    Nothing,
}

/// Where to look for a daemon.
#[derive(Debug)]
pub struct Whereabouts {
    endpoint: Endpoint,
    /// Whether somebody named the place: then a daemon is expected there, and one of our own will not do.
    named: bool,
    /// Whether stderr is for errors alone: scripts read it.
    silent: bool,
}

impl Whereabouts {
    /// At the socket or the address that was named, else at the default socket. Silent, it says nothing on stderr but errors.
    ///
    /// # Errors
    /// When a TCP address comes without a token.
    pub fn new(named: Option<&str>, silent: bool) -> Result<Self, Failure> {
        let endpoint = match named.filter(|name| !name.is_empty()) {
            None => return Ok(Self { endpoint: Endpoint::Unix(default_socket()), named: false, silent }),
            Some(url) if url.starts_with("http://") => {
                let token = std::env::var("RHEOSTAT_TOKEN").map_err(|_| {
                    Failure::usage(format!("{url} is a daemon on TCP, and those ask for a token"))
                        .advise("set RHEOSTAT_TOKEN to the content of the daemon's token file")
                })?;
                Endpoint::Tcp { url: url.to_owned(), token: token.trim().to_owned() }
            }
            Some(name) => match name.split_once("://") {
                Some((scheme, _)) => {
                    return Err(Failure::usage(format!("no daemon is spoken to over {scheme}://"))
                        .advise("name a socket by its path, or a daemon on TCP as http://127.0.0.1:PORT"));
                }
                // As messages spell it.
                None => Endpoint::Unix(PathBuf::from(name.strip_prefix("unix:").unwrap_or(name))),
            },
        };
        Ok(Self { endpoint, named: true, silent })
    }

    /// A client of the daemon there; connects when first used.
    ///
    /// # Errors
    /// When there can be no such client.
    pub fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(self.endpoint.clone())?)
    }

    /// Attaches to the daemon that answers there. If none does and none was named, hosts one for as long as this
    /// command runs, and says so on stderr unless that is for errors alone.
    ///
    /// # Errors
    /// When none answers, or none can be hosted.
    pub async fn attach_or_start(&self, hosting: Hosting) -> Result<Attached, Failure> {
        let client = self.client()?;
        match client.ready().await {
            // One that is not ready yet, or stopping, answers all the same.
            Ok(()) | Err(ClientError::Refused(_)) => {
                Ok(Attached { label: self.endpoint.to_string(), client, own: None })
            }
            Err(unreachable @ ClientError::Unreachable { .. }) if !self.named => {
                start(self, unreachable.into(), hosting).await
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A daemon that answers.
pub struct Attached {
    label: String,
    client: Client,
    own: Option<own::Daemon>,
}

impl Attached {
    /// How it is called on screen.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// A client of it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Lets go of it; stops it if it is our own.
    pub async fn leave(self) {
        if let Some(daemon) = self.own {
            daemon.stop().await;
        }
    }
}

#[cfg(feature = "embedded")]
async fn start(at: &Whereabouts, _: Failure, hosting: Hosting) -> Result<Attached, Failure> {
    use std::io::Write;

    let what = match hosting {
        Hosting::Demo => "hosting the demo",
        Hosting::Nothing => "hosting one",
    };
    if !at.silent {
        let looked_at = &at.endpoint;
        let said = format!("rheostat: no daemon answers at {looked_at}; {what} in this process until it ends");
        // Stderr may be closed; that is no reason not to start.
        let _ = writeln!(std::io::stderr(), "{said}");
    }
    let daemon = own::Daemon::start(hosting).await?;
    let client = Client::new(Endpoint::Unix(daemon.socket().to_owned()))?;
    Ok(Attached { label: "this process".to_owned(), client, own: Some(daemon) })
}

#[cfg(not(feature = "embedded"))]
async fn start(_: &Whereabouts, unreachable: Failure, _: Hosting) -> Result<Attached, Failure> {
    Err(unreachable)
}

#[cfg(feature = "embedded")]
fn cannot_host(cause: impl std::fmt::Display) -> Failure {
    Failure::new(crate::exit::Exit::Error, "no daemon answers, and none could be hosted in this process")
        .because(cause)
        .advise("start one with `rheostatd`, or name its socket with --socket PATH")
}

/// A daemon of our own.
#[cfg(feature = "embedded")]
mod own {
    use super::{Hosting, cannot_host};
    use crate::exit::Failure;
    use rheostat_daemon::config::{Config, Overrides};
    use std::fs::{self, DirBuilder};
    use std::io;
    use std::os::unix::fs::DirBuilderExt;
    use std::path::{Path, PathBuf};
    use std::time::{SystemTime, UNIX_EPOCH};

    /// A daemon in this process, and the folder that holds its socket and state. Dropped, it leaves nothing behind.
    pub struct Daemon {
        daemon: Option<rheostat_daemon::Daemon>,
        folder: Folder,
    }

    impl Daemon {
        pub async fn start(hosting: Hosting) -> Result<Self, Failure> {
            // It waits for sockets, files and threads.
            let started = tokio::task::spawn_blocking(move || {
                let folder = Folder::make().map_err(cannot_host)?;
                let config = Config::load(&folder.overrides(hosting).map_err(cannot_host)?).map_err(cannot_host)?;
                let daemon = rheostat_daemon::start(config).map_err(cannot_host)?;
                Ok(Self { daemon: Some(daemon), folder })
            });
            started.await.map_err(cannot_host)?
        }

        pub fn socket(&self) -> &Path {
            &self.folder.socket
        }

        pub async fn stop(mut self) {
            if let Some(daemon) = self.daemon.take() {
                // Whatever had not drained was the demo's, and goes with it.
                let _ = tokio::task::spawn_blocking(|| daemon.stop()).await;
            }
        }
    }

    impl Drop for Daemon {
        fn drop(&mut self) {
            // Only on the way out of a panic: its runtime may not be dropped within ours, and ends with the process.
            std::mem::forget(self.daemon.take());
        }
    }

    /// A folder that only this user may enter.
    struct Folder {
        path: PathBuf,
        socket: PathBuf,
    }

    impl Folder {
        fn make() -> io::Result<Self> {
            let moment = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
            let path = std::env::temp_dir().join(format!("rheostat-{}-{moment:08x}", std::process::id()));
            // Fails if it is there already: then it is not ours.
            DirBuilder::new().mode(0o700).create(&path)?;
            Ok(Self { socket: path.join("control.sock"), path })
        }

        fn overrides(&self, hosting: Hosting) -> io::Result<Overrides> {
            let overrides = Overrides {
                socket: Some(self.socket.clone()),
                state_dir: Some(self.path.join("state")),
                metrics_may_move: true,
                ..Overrides::default()
            };
            match hosting {
                Hosting::Demo => Ok(overrides),
                Hosting::Nothing => {
                    let config = self.path.join("rheostat.toml");
                    fs::write(&config, "# A daemon that hosts nothing but the run it was started for.\n")?;
                    Ok(Overrides { config: Some(config), metrics: Some("off".to_owned()), ..overrides })
                }
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            // A folder for temporary files forgives what cannot be removed.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Without the feature there is none.
#[cfg(not(feature = "embedded"))]
mod own {
    pub enum Daemon {}

    impl Daemon {
        pub async fn stop(self) {
            match self {}
        }
    }
}
