//! Why a record cannot be applied.

use crate::ids::{
    BrokerEpoch, BrokerId, ControllerEpoch, MetadataOffset, PartitionIndex, ProducerId, TopicId, TopicName,
};
use crate::level::KNOWN_LEVELS;

/// Why a record cannot be applied. On a controller it means that the decision was wrong; on a follower, that it must
/// stop until it gets a snapshot of the same lineage that hashes right (METADATA 6, 9).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A record is missing or came twice.
    #[error("metadata record {found} came where {expected} was next")]
    Gap {
        /// The offset that was next.
        expected: MetadataOffset,
        /// The offset that came.
        found: MetadataOffset,
    },
    /// The record was made after another history than ours.
    #[error("metadata record {offset} follows another record than the one here: the histories differ")]
    ChainDiffers {
        /// The record.
        offset: MetadataOffset,
    },
    /// The same record made another image than at the controller.
    #[error("metadata record {offset} gives another image here than at the controller")]
    FoldDiffers {
        /// The record.
        offset: MetadataOffset,
    },
    /// The log was finalized at a level that this build does not know.
    #[error("barnabas.version {level} is unknown to this version of Barnabas (knows {min} to {max}): take one that knows it", min = KNOWN_LEVELS.start(), max = KNOWN_LEVELS.end())]
    UnknownLevel {
        /// The finalized level.
        level: i16,
    },
    /// `ClusterFormatted` must come first and only once.
    #[error("record {kind} is not legal here: the log must begin with ClusterFormatted, once")]
    NotFormatted {
        /// The record's kind.
        kind: &'static str,
    },
    /// A controller epoch that is not one more than the last.
    #[error("controller epoch {found} does not follow {last}")]
    ControllerEpoch {
        /// The image's epoch.
        last: ControllerEpoch,
        /// The record's epoch.
        found: ControllerEpoch,
    },
    /// The record names a broker, or a registration of it, that is not in the image.
    #[error("broker {id} with epoch {epoch} is not registered")]
    UnknownBroker {
        /// The broker.
        id: BrokerId,
        /// The registration that was meant.
        epoch: BrokerEpoch,
    },
    /// The record names a topic that is not in the image.
    #[error("topic id {0} is unknown")]
    UnknownTopic(TopicId),
    /// The record names a partition that is not in the image.
    #[error("topic id {topic} has no partition {partition}")]
    UnknownPartition {
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: PartitionIndex,
    },
    /// The topic's name or id is taken.
    #[error("topic {name} with id {id} cannot be created: its name or its id is taken")]
    TopicTaken {
        /// The name.
        name: TopicName,
        /// The id.
        id: TopicId,
    },
    /// Replicas that are empty, doubled, uneven, or an ISR or leader outside them.
    #[error("the replicas, ISR or leader of topic id {0} contradict each other")]
    Assignment(TopicId),
    /// Producer ids must rise.
    #[error("a block of producer ids up to {next} does not follow {last}")]
    ProducerIds {
        /// The first id in no block.
        last: ProducerId,
        /// The record's end of block.
        next: ProducerId,
    },
}
