//! What every request can reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker_network::{ConnectionLimit, IdleLimit, SilentConnections};
use model::config;
use model::{BrokerId, ClusterId, Endpoint, MetadataImage, PartitionIndex, TopicId};
use protocol::ErrorCode;

use crate::clock::monotonic;
use crate::controller_link::ControllerLink;
use crate::departures::Departures;
use crate::fetches::Fetches;
use crate::groups::GroupManager;
use crate::metadata_cache::MetadataCache;
use crate::metrics::BrokerMetrics;
use crate::producer_ids::ProducerIds;
use crate::refusal::Refusal;
use crate::replica_fetcher::ReplicaFetchers;
use crate::replica_manager::ReplicaManager;

/// How long a request that changed metadata waits until this broker shows the change.
pub const METADATA_PATIENCE: Duration = Duration::from_secs(5);

/// Descriptors kept for segments and their indexes at least, out of all that the process may open.
const DESCRIPTORS_FOR_LOGS: u64 = 4096;

/// One broker, as its request handlers see it.
#[derive(Debug)]
pub struct BrokerContext {
    /// Who we are.
    pub id: BrokerId,
    /// Where clients of each listener are sent for this broker.
    pub endpoints: Vec<Endpoint>,
    /// This broker's failure domain.
    pub rack: Option<String>,
    /// What is known of the cluster.
    pub metadata: Arc<MetadataCache>,
    /// The partitions here.
    pub replicas: Arc<ReplicaManager>,
    /// Those that fetch from other brokers for them.
    pub fetchers: ReplicaFetchers,
    /// Brokers that went away a moment ago.
    pub departures: Arc<Departures>,
    /// What fetch requests share.
    pub fetches: Arc<Fetches>,
    /// The consumer groups coordinated here.
    pub groups: Arc<GroupManager>,
    /// The way to the controller.
    pub controller: Arc<ControllerLink>,
    /// Ids for idempotent producers.
    pub producer_ids: Arc<ProducerIds>,
    /// Files and connections that this process may have open.
    pub descriptors: u64,
    /// How many of them are for clients.
    pub max_connections: ConnectionLimit,
    /// How long a connection may ask nothing.
    pub idle_limit: IdleLimit,
    /// Ends connections over which nothing came while this host was cut off.
    pub silent_connections: SilentConnections,
    /// Counters.
    pub metrics: BrokerMetrics,
    /// Set once, at the beginning of the end.
    pub stopping: AtomicBool,
}

/// A broker as one listener shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedBroker {
    /// Its id.
    pub id: BrokerId,
    /// Where clients of the listener reach it.
    pub host: String,
    /// Where clients of the listener reach it.
    pub port: u16,
    /// Its failure domain.
    pub rack: Option<String>,
    /// The controller lets it lead nothing.
    pub fenced: bool,
    /// Clients are told of it: it may lead, or could a moment ago.
    pub listed: bool,
}

impl BrokerContext {
    /// Makes this broker be what `image` says to this process. The image is on disk already (METADATA 8).
    pub fn apply(&self, image: &MetadataImage) {
        let standing = self.controller.standing();
        self.follow_settings(image);
        self.departures.follow(&self.metadata.image(), image, monotonic());
        let following = self.replicas.apply(image, standing);
        self.leave_room_for_logs();
        self.fetchers.apply(image, standing, following);
    }

    /// All brokers that clients of `listener` can reach, this one always among them, in the order of their ids.
    pub fn brokers(&self, image: &MetadataImage, listener: &str) -> Vec<ListedBroker> {
        let now = monotonic();
        let mut brokers: Vec<ListedBroker> = image
            .brokers()
            .values()
            .filter(|broker| broker.id != self.id)
            .filter_map(|broker| {
                let endpoint = broker.endpoint(listener)?;
                Some(ListedBroker {
                    id: broker.id,
                    host: endpoint.host.clone(),
                    port: endpoint.port,
                    rack: broker.rack.clone(),
                    fenced: !broker.is_eligible(),
                    listed: broker.is_eligible() || self.departures.is_listed(broker.id, now),
                })
            })
            .collect();
        if let Some(endpoint) = self.endpoints.iter().find(|endpoint| endpoint.listener == listener) {
            // From our own settings: they hold even before the controller has heard of them.
            brokers.push(ListedBroker {
                id: self.id,
                host: endpoint.host.clone(),
                port: endpoint.port,
                rack: self.rack.clone(),
                fenced: false,
                listed: true,
            });
        }
        brokers.sort_by_key(|broker| broker.id);
        brokers
    }

    /// A log that can open no file is offline: clients are refused sooner. Each log has a file open, and for moments more.
    fn leave_room_for_logs(&self) {
        let logs = self.replicas.topics().partitions().count() as u64;
        let reserved = DESCRIPTORS_FOR_LOGS.max(logs + logs / 16 + DESCRIPTORS_FOR_LOGS / 4);
        self.max_connections.leave_room(self.descriptors, reserved);
    }

    /// Obeys what the cluster's configuration says of this process, beyond its partitions.
    fn follow_settings(&self, image: &MetadataImage) {
        let idle = config::cluster_value(image.cluster_config(), "connections.max.idle.ms");
        if let Some(ms) = idle.and_then(|idle| idle.parse().ok()) {
            self.idle_limit.set(ms);
        }
    }

    /// Whether the process is on its way out: waiting requests are answered with what there is.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// What is said of a topic that has no partition here: it is elsewhere, or unknown.
    pub fn not_here(&self, name: &str, index: i32) -> Refusal {
        let image = self.metadata.image();
        match image.topic_by_name(name) {
            Some(topic) if topic.partition(PartitionIndex(index)).is_some() => Refusal::new(
                ErrorCode::NotLeaderOrFollower,
                "this broker does not hold the partition",
            ),
            _ => Refusal::new(ErrorCode::UnknownTopicOrPartition, "no such topic or partition"),
        }
    }

    /// The same for a topic that is named by its id.
    pub fn id_not_here(&self, id: TopicId, index: i32) -> Refusal {
        let image = self.metadata.image();
        match image.topic(id) {
            Some(topic) => self.not_here(topic.name.as_str(), index),
            None => Refusal::new(ErrorCode::UnknownTopicId, "no topic has that id"),
        }
    }

    /// The cluster's id; empty only before this broker has ever heard from a controller.
    pub fn cluster_id(&self, image: &MetadataImage) -> String {
        image.cluster_id().map(ClusterId::to_string).unwrap_or_default()
    }
}
