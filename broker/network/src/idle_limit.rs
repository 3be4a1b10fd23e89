//! How long a connection may ask nothing: a setting that may come after the first connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Far enough away to be never, and still a number that a time can be added to.
const NEVER: u64 = u64::MAX / 4;

/// Kafka's `connections.max.idle.ms`, shared by all network threads.
#[derive(Debug, Clone)]
pub struct IdleLimit(Arc<AtomicU64>);

impl Default for IdleLimit {
    /// Kafka's ten minutes.
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(600_000)))
    }
}

impl IdleLimit {
    /// Milliseconds from now on; below zero no connection is closed for it.
    pub fn set(&self, ms: i64) {
        self.0
            .store(u64::try_from(ms).unwrap_or(NEVER).min(NEVER), Ordering::Relaxed);
    }

    pub(crate) fn ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_millis(self.ms())
    }
}
