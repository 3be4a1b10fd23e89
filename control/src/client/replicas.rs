//! The addresses behind the controller's name.
//!
//! They are looked up now and then while all is well. When a node is drained, the controller, this broker and the name
//! server may leave at once, and the successor must be found without a name.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

/// How long the name server may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The same for somebody who waits, and has addresses of a moment ago.
const HASTE: Duration = Duration::from_millis(200);

/// After so long the name is looked up again although nobody needs it yet.
const REFRESH: Duration = Duration::from_secs(5);

/// Addresses that were told so lately are as good as those that would be told now.
const RECENT: Duration = Duration::from_secs(12);

/// How long addresses stand in for those that the name server does not tell.
const LASTING: Duration = Duration::from_mins(1);

/// See the module. Clones share what is known.
#[derive(Debug, Clone)]
pub(super) struct Replicas {
    target: String,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Vec<String>,
    /// When the name server told them.
    told: Option<Instant>,
    /// When it was asked last.
    asked: Option<Instant>,
    /// When it last failed to tell them, and why.
    failed: Option<(Instant, String)>,
}

impl Known {
    fn not_older_than(&self, age: Duration) -> Vec<String> {
        let lasting = self.told.is_some_and(|told| told.elapsed() < age);
        if lasting { self.addresses.clone() } else { Vec::new() }
    }
}

impl Replicas {
    /// Those of `host:port`; none is known yet.
    pub(super) fn new(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            known: Arc::default(),
        }
    }

    /// The addresses that were told lately: nobody has to be asked for them.
    pub(super) fn at_hand(&self) -> Vec<String> {
        self.known.lock().not_older_than(RECENT)
    }

    /// The addresses of this moment, or those of a moment ago and why there are no newer ones.
    pub(super) async fn resolve(&self) -> (Vec<String>, Option<String>) {
        let stranded = self.known.lock().not_older_than(LASTING).is_empty();
        self.resolve_within(if stranded { PATIENCE } else { HASTE }).await
    }

    async fn resolve_within(&self, patience: Duration) -> (Vec<String>, Option<String>) {
        {
            let mut known = self.known.lock();
            // Who asks in turn does not wait in turn.
            if let Some((at, failure)) = &known.failed
                && at.elapsed() < PATIENCE
            {
                return (known.not_older_than(LASTING), Some(failure.clone()));
            }
            known.asked = Some(Instant::now());
        }
        let failure = match timeout(patience, lookup_host(&self.target)).await {
            Ok(Ok(addresses)) => {
                let addresses: Vec<_> = addresses.map(|address| address.to_string()).collect();
                let mut known = self.known.lock();
                known.told = Some(Instant::now());
                known.failed = None;
                known.addresses.clone_from(&addresses);
                return (addresses, None);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {patience:?}"),
        };
        let failure = format!("cannot resolve {}: {failure}", self.target);
        let mut known = self.known.lock();
        known.failed = Some((Instant::now(), failure.clone()));
        (known.not_older_than(LASTING), Some(failure))
    }

    /// Looks the name up in the background, if the last time was long ago.
    pub(super) fn refresh(&self) {
        let due = |asked: Instant| asked.elapsed() >= REFRESH;
        if self.known.lock().asked.is_none_or(due) {
            let replicas = self.clone();
            // Beside the call that noticed, which has somebody to ask already.
            tokio::spawn(async move { replicas.resolve_within(PATIENCE).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known_for(age: Duration) -> Replicas {
        let replicas = Replicas::new("no-such-host.invalid:9405");
        *replicas.known.lock() = Known {
            addresses: vec!["10.0.0.7:9405".to_owned()],
            told: Instant::now().checked_sub(age),
            ..Known::default()
        };
        replicas
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_resolved_still_has_the_addresses_of_a_moment_ago() {
        let (addresses, failure) = known_for(LASTING / 2).resolve().await;
        assert_eq!(addresses, ["10.0.0.7:9405"]);
        assert!(failure.is_some_and(|failure| failure.contains("no-such-host.invalid:9405")));
        let (addresses, failure) = known_for(LASTING).resolve().await;
        assert!(addresses.is_empty() && failure.is_some(), "{addresses:?}");
    }

    #[tokio::test]
    async fn what_the_name_server_tells_replaces_what_was_known() {
        let replicas = Replicas::new("127.0.0.1:9405");
        replicas.known.lock().addresses = vec!["10.0.0.7:9405".to_owned()];
        assert_eq!(replicas.resolve().await, (vec!["127.0.0.1:9405".to_owned()], None));
        assert_eq!(replicas.at_hand(), ["127.0.0.1:9405"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_name_is_looked_up_again_when_some_time_has_passed() {
        let replicas = Replicas::new("127.0.0.1:9405");
        replicas.resolve().await;
        let asked = || replicas.known.lock().asked;
        let first = asked();
        replicas.refresh();
        tokio::task::yield_now().await;
        assert_eq!(asked(), first);
        tokio::time::advance(REFRESH).await;
        replicas.refresh();
        tokio::task::yield_now().await;
        assert_ne!(asked(), first);
    }
}
