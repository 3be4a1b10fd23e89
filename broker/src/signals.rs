//! SIGINT and SIGTERM: the first asks, the second does not wait.

use tokio::signal::unix::{SignalKind, signal};

use crate::error::StartError;

/// As a shell reports a process that was interrupted.
const INTERRUPTED: i32 = 130;

/// Ready at the first SIGINT or SIGTERM. From then on a second one ends the process at once.
pub fn stop_requested() -> Result<impl Future<Output = ()>, StartError> {
    let handler = |kind| {
        signal(kind).map_err(|source| StartError::System {
            what: "a signal handler",
            source,
        })
    };
    let mut interrupt = handler(SignalKind::interrupt())?;
    let mut terminate = handler(SignalKind::terminate())?;
    let (asked, stop) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        let _ = asked.send(());
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(INTERRUPTED);
    });
    Ok(async move {
        let _ = stop.await;
    })
}
