//! Ending connections over which nothing came while this host was cut off.
//!
//! A client whose packets were lost waits for its TCP's next try, and each wait is twice the one before: after a cut of 14 s
//! that may be another 12 s. A reset tells it at once, and it goes to whoever leads now.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

/// The way to tell all network threads.
#[derive(Debug, Clone)]
pub struct SilentConnections(Arc<watch::Sender<Option<Instant>>>);

impl Default for SilentConnections {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl SilentConnections {
    /// Resets every connection whose last request came before `since`, give or take a second. What they wait for is lost to
    /// them, as it is when a broker dies.
    pub fn reset(&self, since: Instant) {
        self.0.send_replace(Some(since));
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Instant>> {
        self.0.subscribe()
    }
}
