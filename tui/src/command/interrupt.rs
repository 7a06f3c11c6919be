//! What asks a command to end before its time: Ctrl-C, or a SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

/// Waits to be asked. From this call on, and not only once it is awaited, the signals end the process no more.
pub fn interrupted() -> impl Future<Output = ()> {
    let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async move {
        let [interrupt, terminate] = signals.map(async |signal| match signal {
            Ok(mut signal) => _ = signal.recv().await,
            // Then the system's default for the signal is still in force.
            Err(_) => std::future::pending().await,
        });
        tokio::select! {
            () = interrupt => {}
            () = terminate => {}
        }
    }
}
