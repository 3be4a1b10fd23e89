//! Log lines: for people on a terminal, JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error, once per process. `filter` is `--log`; a bad one falls back to `info` and says so.
pub fn start(filter: &str) {
    let (parsed, complaint) = match EnvFilter::try_new(filter) {
        Ok(parsed) => (parsed, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        // A line that cannot be written is lost. To complain of it would be to write there, too, and to panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // A second call in one process (tests) keeps the first writer.
    let _ = if std::io::stderr().is_terminal() {
        lines.with_target(false).compact().try_init()
    } else {
        lines.json().flatten_event(true).try_init()
    };
    if let Some(error) = complaint {
        tracing::warn!(filter, %error, "--log is no filter, logging at info");
    }
}
