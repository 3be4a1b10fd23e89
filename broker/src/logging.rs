//! Log lines: for people on a terminal, JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error, once per process. `filter` is `--log`; a bad one falls back to `info` and says so.
pub fn start(filter: &str) {
    let (parsed, complaint) = match parse(filter) {
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

/// A word alone is a level. The library would take any other for a part of the program, of which everything is logged, and
/// nothing of the rest: not even why the broker does not start.
fn parse(filter: &str) -> Result<EnvFilter, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let mut words = filter
        .split(',')
        .map(str::trim)
        .filter(|part| !part.contains(['=', '[']));
    let level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    match words.find(|word| !level(word)) {
        Some(word) => Err(format!("{word:?} is no level: write one of {}", LEVELS.join(", "))),
        None => EnvFilter::try_new(filter).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_complained_of() {
        for good in ["info", "WARN", "off", "info,broker_log=debug", "broker::lease=trace"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["foo", "info,broker_log", "infos", "info,broker_log=loud", ""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
