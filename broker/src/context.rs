//! What every request can reach.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::{BrokerId, ClusterId, Endpoint, MetadataImage, PartitionIndex, TopicId, TopicName};
use protocol::ErrorCode;
use protocol::leader::{CurrentLeader, NodeEndpoint};
use protocol::topic::Topic;

use crate::controller_link::ControllerLink;
use crate::groups::GroupManager;
use crate::metadata_cache::MetadataCache;
use crate::metrics::BrokerMetrics;
use crate::partition::Refusal;
use crate::producer_ids::ProducerIds;
use crate::replica_manager::ReplicaManager;

/// How long a request that changed metadata waits until this broker shows the change.
pub const METADATA_PATIENCE: Duration = Duration::from_secs(5);

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
    pub metadata: MetadataCache,
    /// The partitions here.
    pub replicas: ReplicaManager,
    /// The consumer groups coordinated here.
    pub groups: GroupManager,
    /// The way to the controller.
    pub controller: ControllerLink,
    /// Ids for idempotent producers.
    pub producer_ids: ProducerIds,
    /// Counters.
    pub metrics: BrokerMetrics,
    /// Set once, at the beginning of the end.
    pub stopping: AtomicBool,
}

/// Where a partition is led that a client looked for here (KIP-951).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderHint {
    topic_id: TopicId,
    topic: TopicName,
    index: i32,
    leader: CurrentLeader,
    broker: Option<ListedBroker>,
}

impl LeaderHint {
    /// Whether it speaks of this partition.
    pub fn is_for(&self, topic: Topic<'_>, index: i32) -> bool {
        let same = match topic {
            Topic::Name(name) => self.topic.as_str() == name,
            Topic::Id(id) => self.topic_id.as_uuid() == id,
        };
        same && self.index == index
    }

    /// Who leads, and in which epoch.
    pub fn leader(&self) -> CurrentLeader {
        self.leader
    }

    /// Where the leader listens.
    pub fn endpoint(&self) -> Option<NodeEndpoint<'_>> {
        let broker = self.broker.as_ref()?;
        Some(NodeEndpoint {
            node_id: broker.id.0,
            host: &broker.host,
            port: broker.port,
            rack: broker.rack.as_deref(),
        })
    }
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
}

impl BrokerContext {
    /// All brokers that clients of `listener` can reach, this one always among them, in the order of their ids.
    pub fn brokers(&self, image: &MetadataImage, listener: &str) -> Vec<ListedBroker> {
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
            });
        }
        brokers.sort_by_key(|broker| broker.id);
        brokers
    }

    /// Whether the process is on its way out: waiting requests are answered with what there is.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Where a partition is led, as far as the image knows.
    pub fn leader_hint(&self, topic: Topic<'_>, index: i32, listener: &str) -> Option<LeaderHint> {
        let image = self.metadata.image();
        let topic = match topic {
            Topic::Name(name) => image.topic_by_name(name),
            Topic::Id(id) => image.topic(TopicId(id)),
        }?;
        let partition = topic.partition(PartitionIndex(index))?;
        let leader = partition.leader.filter(|leader| *leader != self.id)?;
        let broker = self
            .brokers(&image, listener)
            .into_iter()
            .find(|broker| broker.id == leader);
        Some(LeaderHint {
            topic_id: topic.id,
            topic: topic.name.clone(),
            index,
            leader: CurrentLeader {
                leader_id: leader.0,
                leader_epoch: partition.leader_epoch.0,
            },
            broker,
        })
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
