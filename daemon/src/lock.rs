//! One daemon per socket, proved by a lock that dies with its holder.
//!
//! The lock is an flock on a file beside the socket, which the kernel gives up when the process ends, however it
//! ends. The file is never removed: removing it would let two daemons hold locks on two files of one name. Whoever
//! holds the lock may remove a socket that nobody answers on, and no other.

use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another daemon is there.
    #[error("another daemon ({holder}) holds {}; stop it, or choose another socket with --socket", .socket.display())]
    Held {
        /// The socket.
        socket: PathBuf,
        /// Who holds it.
        holder: String,
    },
    /// Something that is no socket stands in its place.
    #[error("{} exists and is no socket; remove it, or choose another socket with --socket", .0.display())]
    Foreign(PathBuf),
    /// The folder can be written by others, who could put their own socket in place of ours.
    #[error("{} belongs to uid {owner} or can be written by others; choose a socket in a folder of your own", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The system refused.
    #[error("cannot {doing} {}: {error}", .path.display())]
    System {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// A listening socket and the lock that makes it ours. Dropping it removes the socket.
#[derive(Debug)]
pub(crate) struct Claim {
    socket: PathBuf,
    listener: UnixListener,
    _lock: File,
}

impl Claim {
    /// Takes the lock, clears away a dead socket, and listens.
    pub(crate) fn take(socket: &Path) -> Result<Self, LockError> {
        let system = |doing, path: &Path| {
            let path = path.to_owned();
            move |error| LockError::System { doing, path, error }
        };
        let folder = socket.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(system("create the folder", folder))?;
        check_folder(folder)?;

        let lock_path = socket.with_added_extension("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(system("open the lock", &lock_path))?;
        if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(system("lock", &lock_path)(error.into()));
            }
            let mut holder = String::new();
            // Who holds it is a courtesy; that it is held is what counts.
            let _ = lock.read_to_string(&mut holder);
            return Err(LockError::Held { socket: socket.to_owned(), holder: holder.trim().to_owned() });
        }
        let name_holder = |lock: &mut File| {
            lock.set_len(0)?;
            lock.rewind()?;
            write!(lock, "pid {}", std::process::id())
        };
        name_holder(&mut lock).map_err(system("write to the lock", &lock_path))?;

        clear_dead(socket)?;
        let listener = UnixListener::bind(socket).map_err(system("listen on", socket))?;
        // Between bind and this, peer credentials keep strangers out.
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))
            .map_err(system("set the mode of", socket))?;
        listener.set_nonblocking(true).map_err(system("set up", socket))?;
        Ok(Self { socket: socket.to_owned(), listener, _lock: lock })
    }

    /// The listening socket.
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Still under the lock, so it can only be our own.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Refuses a folder in which others could exchange our socket for theirs.
fn check_folder(folder: &Path) -> Result<(), LockError> {
    const STICKY: u32 = 0o1000;
    let meta = std::fs::metadata(folder).map_err(|error| LockError::System {
        doing: "look at",
        path: folder.to_owned(),
        error,
    })?;
    let ours = meta.uid() == rustix::process::geteuid().as_raw() || meta.uid() == 0;
    let others_write = meta.mode() & 0o022 != 0 && meta.mode() & STICKY == 0;
    if ours && !others_write {
        return Ok(());
    }
    Err(LockError::Folder { folder: folder.to_owned(), owner: meta.uid() })
}

/// Removes a socket that is proved dead; leaves everything else.
fn clear_dead(socket: &Path) -> Result<(), LockError> {
    let system = |doing, error| LockError::System { doing, path: socket.to_owned(), error };
    match std::fs::symlink_metadata(socket) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system("look at", error)),
        Ok(meta) if !meta.file_type().is_socket() => return Err(LockError::Foreign(socket.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(socket) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(socket).map_err(|error| system("remove the dead socket", error))
        }
        // It answers although nobody holds the lock: some other program's, or a daemon whose lock was removed.
        Ok(_) => Err(LockError::Held { socket: socket.to_owned(), holder: "one that holds no lock".into() }),
        Err(error) => Err(system("find out who answers on", error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_the_dead_are_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("own/control.sock");
        let first = Claim::take(&socket).unwrap();
        assert_eq!(std::fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(socket.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        let refused = Claim::take(&socket).unwrap_err().to_string();
        assert!(refused.contains(&format!("pid {}", std::process::id())), "{refused}");
        drop(first);
        assert!(!socket.exists());

        // A listener that went without removing its socket, as after kill -9.
        drop(UnixListener::bind(&socket).unwrap());
        assert!(socket.exists());
        drop(Claim::take(&socket).unwrap());
    }

    #[test]
    fn what_is_alive_or_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let alive = UnixListener::bind(&socket).unwrap();
        assert!(matches!(Claim::take(&socket), Err(LockError::Held { .. })));
        drop(alive);
        std::fs::remove_file(&socket).unwrap();
        std::fs::write(&socket, "a file of somebody's").unwrap();
        assert!(matches!(Claim::take(&socket), Err(LockError::Foreign(_))));
        assert!(socket.exists());
    }
}
