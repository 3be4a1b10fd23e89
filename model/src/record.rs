//! The records of the metadata log: the only way to change metadata.
//!
//! Each kind has a version. A reader that meets a kind or a version that it does not know stops (METADATA 9), and so
//! does one that meets a field it does not know: nothing is ever skipped.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::broker::{Endpoint, FeatureRange};
use crate::config_scope::ConfigScope;
use crate::frame_error::FrameError;
use crate::ids::{
    BrokerEpoch, BrokerId, ClusterId, ControllerEpoch, DirectoryId, IncarnationId, Lineage, Nonce, PartitionIndex,
    ProducerId, TopicId, TopicName,
};
use crate::topic::Assignment;

macro_rules! records {
    ($($(#[$doc:meta])* $name:ident = $version:literal,)*) => {
        /// One change of the cluster's metadata.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Record {
            $($(#[$doc])* $name($name),)*
        }

        impl Record {
            /// The record's kind, as written in the log.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name),)* }
            }

            /// The version of this kind that this build writes.
            pub fn version(&self) -> u16 {
                match self { $(Self::$name(_) => $version,)* }
            }

            pub(crate) fn encode_data(&self) -> Result<Box<RawValue>, serde_json::Error> {
                match self { $(Self::$name(data) => serde_json::value::to_raw_value(data),)* }
            }

            pub(crate) fn decode_data(kind: &str, version: u16, data: &RawValue) -> Result<Self, FrameError> {
                let known = match kind {
                    $(stringify!($name) => {
                        if version == $version {
                            return serde_json::from_str(data.get()).map(Self::$name).map_err(|cause| {
                                FrameError::Malformed { what: stringify!($name), cause: cause.to_string() }
                            });
                        }
                        $version
                    })*
                    _ => return Err(FrameError::UnknownRecord { kind: kind.chars().take(64).collect(), version }),
                };
                Err(FrameError::UnknownVersion { kind: kind.to_owned(), version, known })
            }
        }

        $(impl From<$name> for Record {
            fn from(data: $name) -> Self {
                Self::$name(data)
            }
        })*
    };
}

records! {
    /// The first record of a lineage.
    ClusterFormatted = 1,
    /// A controller begins: it acts only after this is in the log (METADATA 1).
    ControllerElected = 1,
    /// Nothing; settles a lost answer when nothing else waits (METADATA 2).
    Noop = 1,
    /// A feature gets a finalized level.
    FeatureLevelSet = 1,
    /// A broker process is known, fenced at first.
    BrokerRegistered = 1,
    /// A broker may lead.
    BrokerUnfenced = 1,
    /// A broker is out: it leaves every ISR and leads nothing.
    BrokerFenced = 1,
    /// A broker asked to leave: its leaderships move.
    BrokerShutdownRequested = 1,
    /// A broker is forgotten.
    BrokerUnregistered = 1,
    /// A topic with its whole assignment.
    TopicCreated = 1,
    /// More partitions of a topic.
    PartitionsAdded = 1,
    /// Configuration of the cluster, a broker, a topic or a consumer group.
    ConfigSet = 1,
    /// A topic is gone; a tombstone stays (METADATA 25).
    TopicRemoved = 1,
    /// Every registered broker has purged a removed topic: its tombstone goes (METADATA 25).
    TopicPurged = 1,
    /// A partition's ISR, leader or replicas.
    PartitionChanged = 1,
    /// A broker leads again where it is the preferred leader.
    PreferredLeadersElected = 1,
    /// Logs of a broker that lives have failed: others lead.
    ReplicasFailed = 1,
    /// A block of producer ids belongs to a broker.
    ProducerIdsAllocated = 1,
}

/// The first record of a lineage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFormatted {
    /// The cluster's id, for the life of its data.
    pub cluster_id: ClusterId,
    /// This history of the log.
    pub lineage: Lineage,
    /// Finalized feature levels from the start; `barnabas.version` must be among them.
    pub features: BTreeMap<String, i16>,
}

/// A controller begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerElected {
    /// One more than the epoch before.
    pub epoch: ControllerEpoch,
    /// Tells two controllers apart that believe to have one epoch (METADATA 7).
    pub nonce: Nonce,
    /// Who it is, for people (`<pod>_<pod uid>_<ip:port>`).
    pub holder: String,
}

/// Nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noop {}

/// A feature gets a finalized level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureLevelSet {
    /// The feature, such as `barnabas.version`.
    pub name: String,
    /// Its finalized level.
    pub level: i16,
}

/// A broker process is known, fenced at first. Its broker epoch is the offset of this record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerRegistered {
    /// The broker's id.
    pub id: BrokerId,
    /// This process.
    pub incarnation: IncarnationId,
    /// Its data directory; another one than before means that the data is gone.
    pub directory_id: DirectoryId,
    /// The pod it runs in.
    pub pod_uid: Option<String>,
    /// The boot of its node.
    pub boot_id: Option<String>,
    /// Where its listeners are reached.
    pub endpoints: Vec<Endpoint>,
    /// Its failure domain.
    pub rack: Option<String>,
    /// Feature levels that it knows.
    pub features: BTreeMap<String, FeatureRange>,
    /// Whether nothing can have been lost since the former incarnation (METADATA 16).
    pub clean: bool,
}

/// A broker may lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerUnfenced {
    /// The broker.
    pub id: BrokerId,
    /// The registration that is meant.
    pub epoch: BrokerEpoch,
}

/// A broker is out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerFenced {
    /// The broker.
    pub id: BrokerId,
    /// The registration that is meant.
    pub epoch: BrokerEpoch,
}

/// A broker asked to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerShutdownRequested {
    /// The broker.
    pub id: BrokerId,
    /// The registration that is meant.
    pub epoch: BrokerEpoch,
}

/// A broker is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerUnregistered {
    /// The broker.
    pub id: BrokerId,
    /// The registration that is meant.
    pub epoch: BrokerEpoch,
}

/// A topic with its whole assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicCreated {
    /// The topic's id.
    pub id: TopicId,
    /// The topic's name.
    pub name: TopicName,
    /// Replicas of every partition.
    pub assignment: Assignment,
    /// Configuration set on the topic.
    pub config: BTreeMap<String, String>,
}

/// More partitions of a topic, after those it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionsAdded {
    /// The topic.
    pub topic: TopicId,
    /// Replicas of the new partitions.
    pub assignment: Assignment,
}

/// Configuration of the cluster, a broker, a topic or a consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigSet {
    /// Whose.
    pub scope: ConfigScope,
    /// Values by key; `None` takes a key back to its default.
    pub entries: BTreeMap<String, Option<String>>,
}

/// A topic is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicRemoved {
    /// The topic.
    pub id: TopicId,
}

/// Every registered broker has purged a removed topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicPurged {
    /// The removed topic.
    pub id: TopicId,
}

/// A partition's ISR, leader or replicas. An absent field stays as it was; the partition epoch rises by 1 in any
/// case, even if nothing differs, so that earlier proposals die (METADATA 12). The ELR follows from the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionChanged {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The new ISR, in assignment order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isr: Option<Vec<BrokerId>>,
    /// The new leader; it must be in the ISR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<BrokerId>,
    /// The new replicas, in order of preference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Vec<BrokerId>>,
    /// Replicas being added by a reassignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adding: Option<Vec<BrokerId>>,
    /// Replicas being removed by a reassignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removing: Option<Vec<BrokerId>>,
    /// The leader may lack committed records: it is the whole ISR, and what the others have beyond it is given up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unclean: bool,
}

impl PartitionChanged {
    /// A change of nothing but the partition epoch.
    pub fn of(topic: TopicId, partition: PartitionIndex) -> Self {
        Self {
            topic,
            partition,
            isr: None,
            leader: None,
            replicas: None,
            adding: None,
            removing: None,
            unclean: false,
        }
    }
}

/// A broker leads again, in one record, every partition whose first replica it is and in whose ISR it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreferredLeadersElected {
    /// The broker.
    pub id: BrokerId,
    /// Its registration.
    pub epoch: BrokerEpoch,
}

/// Logs of a broker that lives have failed, in one record whatever their number. It leads none of these partitions, and what
/// it had acknowledged there may be lost, as after an unclean restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicasFailed {
    /// The broker.
    pub id: BrokerId,
    /// Its registration.
    pub epoch: BrokerEpoch,
    /// The partitions by topic.
    pub partitions: BTreeMap<TopicId, BTreeSet<PartitionIndex>>,
}

/// A block of producer ids belongs to a broker: those from the end of the block before up to `next`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProducerIdsAllocated {
    /// The broker.
    pub broker: BrokerId,
    /// The registration that asked.
    pub epoch: BrokerEpoch,
    /// The first id after the block.
    pub next: ProducerId,
}
