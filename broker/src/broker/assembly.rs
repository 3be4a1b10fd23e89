//! A broker put together from its parts.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use broker_network::{ConnectionLimit, IdleLimit, SilentConnections};
use model::{BrokerId, Endpoint, MetadataImage};

use crate::context::BrokerContext;
use crate::controller_link::ControllerLink;
use crate::departures::Departures;
use crate::groups::GroupManager;
use crate::metadata_cache::MetadataCache;
use crate::metrics::BrokerMetrics;
use crate::producer_ids::ProducerIds;
use crate::replica_fetcher::ReplicaFetchers;
use crate::replica_manager::ReplicaManager;

/// What differs from broker to broker; the rest begins empty.
pub(super) struct Assembly {
    pub(super) id: BrokerId,
    /// Its failure domain.
    pub(super) rack: Option<String>,
    /// Where clients of each listener are sent.
    pub(super) endpoints: Vec<Endpoint>,
    /// The listener over which brokers talk to each other, if it is not the first.
    pub(super) inter_broker_listener: Option<String>,
    /// What the disk knows of the cluster.
    pub(super) image: MetadataImage,
    pub(super) replicas: ReplicaManager,
    pub(super) controller: ControllerLink,
    /// Files and connections that this process may have open.
    pub(super) descriptors: u64,
    pub(super) metrics: BrokerMetrics,
}

impl Assembly {
    /// Gives each part what it needs of the others.
    pub(super) fn assemble(self) -> BrokerContext {
        let metadata = Arc::new(MetadataCache::new(self.image));
        let replicas = Arc::new(self.replicas);
        let controller = Arc::new(self.controller);
        let departures = Arc::new(Departures::default());
        let groups = Arc::new(GroupManager::new(Arc::clone(&metadata), Arc::clone(&replicas)));
        let fetchers = ReplicaFetchers::new(
            self.id,
            Arc::clone(&replicas),
            Arc::clone(&departures),
            self.inter_broker_listener,
        );
        BrokerContext {
            id: self.id,
            endpoints: self.endpoints,
            rack: self.rack,
            metadata,
            replicas,
            fetchers,
            departures,
            fetches: Arc::default(),
            groups,
            producer_ids: Arc::new(ProducerIds::new(Arc::clone(&controller))),
            controller,
            descriptors: self.descriptors,
            max_connections: ConnectionLimit::new(0),
            idle_limit: IdleLimit::default(),
            silent_connections: SilentConnections::default(),
            metrics: self.metrics,
            stopping: AtomicBool::new(false),
        }
    }
}
