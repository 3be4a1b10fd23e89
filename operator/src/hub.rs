//! Wakes whoever works on a cluster when something of it changes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::names::ClusterNames;

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The Cluster itself.
    Cluster,
    /// A Topic that refers to it.
    Topic,
    /// Its controller Lease.
    ControllerLease,
    /// A broker's Lease.
    BrokerLease,
    /// Its StatefulSet or one of its pods.
    Brokers,
}

/// One signal for each cluster and kind, that anybody may wait for. Signals coalesce; none is lost.
#[derive(Default)]
pub struct Hub {
    signals: Mutex<HashMap<(String, String, Kind), watch::Sender<()>>>,
}

impl Hub {
    /// Something of that kind changed.
    pub fn touch(&self, names: &ClusterNames, kind: Kind) {
        self.with(names, kind, |signal| signal.send_replace(()));
    }

    /// Waits for changes of that kind from now on.
    pub fn subscribe(&self, names: &ClusterNames, kind: Kind) -> watch::Receiver<()> {
        self.with(names, kind, watch::Sender::subscribe)
    }

    fn with<T>(&self, names: &ClusterNames, kind: Kind, act: impl FnOnce(&watch::Sender<()>) -> T) -> T {
        let mut signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (names.namespace.clone(), names.cluster.clone(), kind);
        act(signals.entry(key).or_insert_with(|| watch::Sender::new(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_wakes_its_own_cluster_and_kind_only() {
        let hub = Hub::default();
        let (one, two) = (ClusterNames::new("a", "x"), ClusterNames::new("b", "x"));
        let mut ours = hub.subscribe(&one, Kind::Topic);
        let mut other = hub.subscribe(&two, Kind::Topic);
        let mut leases = hub.subscribe(&one, Kind::BrokerLease);
        hub.touch(&one, Kind::Topic);
        assert!(ours.has_changed().unwrap());
        assert!(!other.has_changed().unwrap());
        assert!(!leases.has_changed().unwrap());
        ours.mark_unchanged();
        other.mark_unchanged();
        leases.mark_unchanged();
    }

    #[test]
    fn a_change_before_the_wait_is_not_lost() {
        let hub = Hub::default();
        let names = ClusterNames::new("a", "x");
        let receiver = hub.subscribe(&names, Kind::Topic);
        hub.touch(&names, Kind::Topic);
        hub.touch(&names, Kind::Topic);
        assert!(receiver.has_changed().unwrap());
    }
}
