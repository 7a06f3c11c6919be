//! What asks a command to end before its time: Ctrl-C, a SIGTERM, or that its terminal hangs up.

use tokio::signal::unix::{SignalKind, signal};

/// Waits to be asked by Ctrl-C or SIGTERM. From this call on, and not only once it is awaited, the signals end the
/// process no more.
pub fn interrupted() -> impl Future<Output = ()> {
    let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(came);
    async {
        tokio::select! {
            () = interrupt => {}
            () = terminate => {}
        }
    }
}

/// The same for one that has something to undo, which the end of its terminal must not keep it from.
pub fn interrupted_or_hung_up() -> impl Future<Output = ()> {
    let interrupted = interrupted();
    let hung_up = (!is_ignored(SignalKind::hangup())).then(|| came(SignalKind::hangup()));
    async {
        match hung_up {
            None => interrupted.await,
            Some(hung_up) => tokio::select! {
                () = interrupted => {}
                () = hung_up => {}
            },
        }
    }
}

fn came(kind: SignalKind) -> impl Future<Output = ()> {
    let signal = signal(kind);
    async {
        match signal {
            Ok(mut signal) => _ = signal.recv().await,
            // Then the system's default for the signal is still in force.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Whether the process was begun with the signal ignored, as `nohup` does: to listen to it would undo that.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}
