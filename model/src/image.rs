//! The cluster's metadata after some prefix of the log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::apply_error::ApplyError;
use crate::broker::BrokerRegistration;
use crate::config::TopicConfig;
use crate::config_scope::ConfigScope;
use crate::digest::{Digest, Entity};
use crate::frame::Frame;
use crate::ids::{
    BrokerId, ClusterId, ControllerEpoch, GroupName, Lineage, MetadataOffset, Nonce, PartitionIndex, ProducerId,
    TopicId, TopicName,
};
use crate::partition::PartitionImage;
use crate::record::Record;
use crate::topic::{Tombstone, TopicImage};

/// Who writes the log: what a stream of records begins with (METADATA 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogIdentity {
    /// The history.
    pub lineage: Lineage,
    /// The controller's epoch.
    pub controller_epoch: ControllerEpoch,
    /// The nonce of its `ControllerElected`.
    pub nonce: Nonce,
}

impl LogIdentity {
    /// Whether a node that has seen `self` may follow `offered`: never a lower epoch, nor the same epoch with another
    /// nonce (METADATA 7). Another lineage is not for this function to judge.
    pub fn accepts(&self, offered: &Self) -> bool {
        self.lineage == offered.lineage
            && (offered.controller_epoch > self.controller_epoch
                || (offered.controller_epoch == self.controller_epoch && offered.nonce == self.nonce))
    }
}

static NOTHING: BTreeMap<String, String> = BTreeMap::new();

/// What is set for the whole cluster, by whom, and for its groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClusterConfigs {
    /// By the command line.
    pub(crate) fixed: BTreeMap<String, String>,
    /// While the cluster runs.
    pub(crate) dynamic: BTreeMap<String, String>,
    /// For single consumer groups.
    pub(crate) groups: BTreeMap<GroupName, BTreeMap<String, String>>,
}

/// The cluster's metadata after some prefix of the log. Cloning is cheap: the large parts are shared.
#[derive(Clone)]
pub struct MetadataImage {
    pub(crate) cluster_id: Option<ClusterId>,
    pub(crate) identity: LogIdentity,
    pub(crate) controller: String,
    pub(crate) offset: MetadataOffset,
    pub(crate) chain_hash: Digest,
    pub(crate) hash: Digest,
    pub(crate) features: BTreeMap<String, i16>,
    pub(crate) features_offset: MetadataOffset,
    pub(crate) next_producer_id: ProducerId,
    pub(crate) configs: Arc<ClusterConfigs>,
    /// As they count together; no entity of its own.
    pub(crate) cluster_config: Arc<BTreeMap<String, String>>,
    pub(crate) broker_configs: Arc<BTreeMap<BrokerId, BTreeMap<String, String>>>,
    pub(crate) brokers: Arc<BTreeMap<BrokerId, Arc<BrokerRegistration>>>,
    pub(crate) topics: Arc<BTreeMap<TopicId, Arc<TopicImage>>>,
    pub(crate) topic_ids: Arc<BTreeMap<TopicName, TopicId>>,
    pub(crate) tombstones: Arc<BTreeMap<TopicId, Tombstone>>,
}

impl Default for MetadataImage {
    fn default() -> Self {
        Self::empty()
    }
}

impl MetadataImage {
    /// The image before the first record.
    pub fn empty() -> Self {
        let mut image = Self {
            cluster_id: None,
            identity: LogIdentity {
                lineage: Lineage::default(),
                controller_epoch: ControllerEpoch(0),
                nonce: Nonce::default(),
            },
            controller: String::new(),
            offset: MetadataOffset::NONE,
            chain_hash: Digest::ZERO,
            hash: Digest::ZERO,
            features: BTreeMap::new(),
            features_offset: MetadataOffset::NONE,
            next_producer_id: ProducerId(0),
            configs: Arc::default(),
            cluster_config: Arc::default(),
            broker_configs: Arc::default(),
            brokers: Arc::default(),
            topics: Arc::default(),
            topic_ids: Arc::default(),
            tombstones: Arc::default(),
        };
        image.hash = image.cluster_digest();
        image
    }

    /// Applies a record as the next one and gives the frame to append: the controller's way.
    ///
    /// On an error nothing has changed.
    pub fn append(&mut self, record: Record) -> Result<Frame, ApplyError> {
        let offset = self.offset.next();
        self.apply(&record, offset)?;
        let frame = Frame {
            offset,
            record,
            image_hash: self.hash,
            chain_hash: self.chain_hash,
        };
        self.offset = offset;
        self.chain_hash = frame.chain_after();
        Ok(frame)
    }

    /// Applies a frame that somebody else made, after checking that it follows and that the fold agrees (METADATA 6).
    ///
    /// On an error this image must be dropped, not used: a fold that differs is found only after it was made. Keep a
    /// clone, which is cheap, or apply to one.
    pub fn apply_frame(&mut self, frame: &Frame) -> Result<(), ApplyError> {
        let expected = self.offset.next();
        if frame.offset != expected {
            return Err(ApplyError::Gap {
                expected,
                found: frame.offset,
            });
        }
        // METADATA 6: the record before must be the one that the controller saw ...
        if frame.chain_hash != self.chain_hash {
            return Err(ApplyError::ChainDiffers { offset: frame.offset });
        }
        self.apply(&frame.record, frame.offset)?;
        // ... and the image after must be the one that it made.
        if frame.image_hash != self.hash {
            return Err(ApplyError::FoldDiffers { offset: frame.offset });
        }
        self.offset = frame.offset;
        self.chain_hash = frame.chain_after();
        Ok(())
    }

    /// The cluster's id; `None` before `ClusterFormatted`.
    pub fn cluster_id(&self) -> Option<&ClusterId> {
        self.cluster_id.as_ref()
    }

    /// The history, the controller's epoch and its nonce.
    pub fn identity(&self) -> LogIdentity {
        self.identity
    }

    /// The history that this image belongs to.
    pub fn lineage(&self) -> Lineage {
        self.identity.lineage
    }

    /// The epoch of the last `ControllerElected`.
    pub fn controller_epoch(&self) -> ControllerEpoch {
        self.identity.controller_epoch
    }

    /// Who the controller said it is.
    pub fn controller(&self) -> &str {
        &self.controller
    }

    /// The last record in this image; [`MetadataOffset::NONE`] if none.
    pub fn offset(&self) -> MetadataOffset {
        self.offset
    }

    /// The chain digest after the last record.
    pub fn chain_hash(&self) -> Digest {
        self.chain_hash
    }

    /// The digest of the whole image: one per entity, combined by XOR (METADATA 6).
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// Finalized feature levels.
    pub fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }

    /// The offset at which [`Self::features`] last changed: Kafka's `FinalizedFeaturesEpoch`.
    pub fn features_offset(&self) -> MetadataOffset {
        self.features_offset
    }

    /// The first producer id in no block yet.
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }

    /// All registered brokers, fenced or not.
    pub fn brokers(&self) -> &BTreeMap<BrokerId, Arc<BrokerRegistration>> {
        &self.brokers
    }

    /// One registered broker.
    pub fn broker(&self, id: BrokerId) -> Option<&BrokerRegistration> {
        self.brokers.get(&id).map(|broker| &**broker)
    }

    /// Whether partitions may be led by the broker.
    pub fn is_eligible(&self, id: BrokerId) -> bool {
        self.broker(id).is_some_and(BrokerRegistration::is_eligible)
    }

    /// All topics, by id.
    pub fn topics(&self) -> &BTreeMap<TopicId, Arc<TopicImage>> {
        &self.topics
    }

    /// All topic names in order, with their ids.
    pub fn topic_ids(&self) -> &BTreeMap<TopicName, TopicId> {
        &self.topic_ids
    }

    /// One topic.
    pub fn topic(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics.get(&id)
    }

    /// One topic by name.
    pub fn topic_by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topic_ids.get(name).and_then(|id| self.topics.get(id))
    }

    /// One partition.
    pub fn partition(&self, topic: TopicId, index: PartitionIndex) -> Option<&PartitionImage> {
        self.topics.get(&topic).and_then(|topic| topic.partition(index))
    }

    /// Removed topics whose data may still be on some broker (METADATA 25).
    pub fn tombstones(&self) -> &BTreeMap<TopicId, Tombstone> {
        &self.tombstones
    }

    /// Cluster-wide configuration as it counts, by the names that were set.
    pub fn cluster_config(&self) -> &BTreeMap<String, String> {
        &self.cluster_config
    }

    /// The part of it that was set while the cluster runs.
    pub fn dynamic_config(&self) -> &BTreeMap<String, String> {
        &self.configs.dynamic
    }

    /// The part of it that the command line gives.
    pub fn static_config(&self) -> &BTreeMap<String, String> {
        &self.configs.fixed
    }

    /// A broker's own configuration.
    pub fn broker_config(&self, id: BrokerId) -> Option<&BTreeMap<String, String>> {
        self.broker_configs.get(&id)
    }

    /// What single consumer groups have set; none of them is empty.
    pub fn group_configs(&self) -> &BTreeMap<GroupName, BTreeMap<String, String>> {
        &self.configs.groups
    }

    /// What counts on one broker where a topic says nothing: its own configuration over the cluster's.
    pub fn effective_config(&self, broker: BrokerId) -> Arc<BTreeMap<String, String>> {
        match self.broker_configs.get(&broker) {
            Some(own) => Arc::new(overlaid(&self.cluster_config, own)),
            None => Arc::clone(&self.cluster_config),
        }
    }

    /// The configurations that a value is looked up in.
    pub fn layers<'a>(
        &'a self,
        topic: &'a BTreeMap<String, String>,
        broker: Option<BrokerId>,
    ) -> crate::config::Layers<'a> {
        let own = broker.and_then(|id| self.broker_configs.get(&id));
        crate::config::Layers {
            topic,
            broker: own.unwrap_or(&NOTHING),
            cluster: &self.configs.dynamic,
            fixed: &self.configs.fixed,
        }
    }

    /// A topic's configuration with cluster defaults filled in (METADATA 10: from the image, never from a local setting).
    pub fn topic_config(&self, topic: &TopicImage) -> TopicConfig {
        TopicConfig::resolve(&self.cluster_config, &topic.config)
    }

    /// `min.insync.replicas` as it counts for a partition: at most its replica count (METADATA 10).
    pub fn min_insync_replicas(&self, topic: &TopicImage, partition: &PartitionImage) -> usize {
        partition.effective_min_insync_replicas(self.configured_min_insync_replicas(&topic.config))
    }

    pub(crate) fn configured_min_insync_replicas(&self, topic_config: &BTreeMap<String, String>) -> usize {
        crate::config::min_insync_replicas(&self.cluster_config, topic_config)
    }

    pub(crate) fn cluster_digest(&self) -> Digest {
        let mut entity = Entity::new("cluster")
            .optional_text(self.cluster_id.as_ref().map(ClusterId::as_str))
            .bytes(self.identity.lineage.0.as_bytes())
            .number(self.identity.controller_epoch.0)
            .bytes(self.identity.nonce.0.as_bytes())
            .text(&self.controller)
            .number(self.features_offset.0)
            .number(self.next_producer_id.0)
            .number(self.features.len() as i64);
        for (name, level) in &self.features {
            entity = entity.text(name).number(i64::from(*level));
        }
        entity.digest()
    }

    /// The digest counted anew from every entity: what [`Self::hash`] must equal.
    pub fn recount_hash(&self) -> Digest {
        let mut hash = self.cluster_digest();
        hash.toggle(config_digest(&ConfigScope::Static, &self.configs.fixed));
        hash.toggle(config_digest(&ConfigScope::Cluster, &self.configs.dynamic));
        for (id, config) in self.broker_configs.iter() {
            hash.toggle(config_digest(&ConfigScope::Broker(*id), config));
        }
        for (group, config) in &self.configs.groups {
            hash.toggle(config_digest(&ConfigScope::Group(group.clone()), config));
        }
        for broker in self.brokers.values() {
            hash.toggle(broker.digest());
        }
        for tombstone in self.tombstones.values() {
            hash.toggle(tombstone.digest());
        }
        for topic in self.topics.values() {
            hash.toggle(topic.digest());
            for (index, partition) in topic.indexed() {
                hash.toggle(partition.digest(topic.id, index));
            }
        }
        hash
    }
}

/// One configuration over another.
pub(crate) fn overlaid(below: &BTreeMap<String, String>, above: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut both = below.clone();
    both.extend(above.iter().map(|(key, value)| (key.clone(), value.clone())));
    both
}

/// The digest of a set of configuration values; an empty set is no entity at all.
pub(crate) fn config_digest(scope: &ConfigScope, config: &BTreeMap<String, String>) -> Digest {
    if config.is_empty() {
        return Digest::ZERO;
    }
    let entity = match scope {
        ConfigScope::Cluster => Entity::new("config of cluster"),
        ConfigScope::Broker(id) => Entity::new("config of broker").number(i64::from(id.0)),
        ConfigScope::Topic(id) => Entity::new("config of topic").bytes(id.0.as_bytes()),
        ConfigScope::Group(group) => Entity::new("config of group").text(group.as_str()),
        ConfigScope::Static => Entity::new("config of command line"),
    };
    entity.texts(config.iter()).digest()
}

impl fmt::Debug for MetadataImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataImage")
            .field("offset", &self.offset)
            .field("identity", &self.identity)
            .field("hash", &self.hash)
            .field("brokers", &self.brokers.len())
            .field("topics", &self.topics.len())
            .finish_non_exhaustive()
    }
}

impl PartialEq for MetadataImage {
    fn eq(&self, other: &Self) -> bool {
        self.offset == other.offset
            && self.chain_hash == other.chain_hash
            && self.hash == other.hash
            && self.identity == other.identity
            && self.cluster_id == other.cluster_id
            && self.controller == other.controller
            && self.features == other.features
            && self.features_offset == other.features_offset
            && self.next_producer_id == other.next_producer_id
            && self.configs == other.configs
            && self.broker_configs == other.broker_configs
            && self.brokers == other.brokers
            && self.topics == other.topics
            && self.topic_ids == other.topic_ids
            && self.tombstones == other.tombstones
    }
}

impl Eq for MetadataImage {}
