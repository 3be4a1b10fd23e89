//! What every part of the operator works with.

use kube::Client;

use crate::events::Events;
use crate::metrics::Metrics;
use crate::seats::Seats;
use crate::surroundings::Surroundings;
use crate::watches::Watches;

/// What every part of the operator works with. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Namespace of the operator itself, which tells releases apart.
    pub home: String,
    /// The one namespace that is watched; all if none.
    pub namespace: Option<String>,
    /// What is there.
    pub watches: Watches,
    /// The controllers of this replica.
    pub seats: Seats,
    /// Where decisions are told.
    pub events: Events,
    /// What is counted.
    pub metrics: Metrics,
    /// What broker pods need to know.
    pub around: Surroundings,
    /// Identity in Leases: `<pod>_<pod uid>_<host:port>`.
    pub identity: String,
    /// Name of this replica's pod.
    pub pod: String,
}
