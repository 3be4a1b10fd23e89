//! A topic, its assignment, and what is kept of a removed one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Entity};
use crate::ids::{BrokerId, MetadataOffset, PartitionIndex, TopicId, TopicName};
use crate::partition::PartitionImage;

/// A topic with its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicImage {
    /// The topic's id.
    pub id: TopicId,
    /// The topic's name.
    pub name: TopicName,
    /// Its partitions; the index in this list is the partition's number.
    pub partitions: Vec<PartitionImage>,
    /// Configuration set on the topic itself, by Kafka's names. Defaults are not in it.
    pub config: BTreeMap<String, String>,
    /// `flush.messages=1` since the topic was created: no replica ever told anybody of a record that was not on its disk. A
    /// topic that got the setting later has records from before, of which nobody knows whether they are.
    pub always_flushed: bool,
}

impl TopicImage {
    /// Whether a broker holds a replica of any partition.
    pub fn has_replica_on(&self, broker: BrokerId) -> bool {
        self.partitions
            .iter()
            .any(|partition| partition.replicas.contains(&broker))
    }

    /// One partition.
    pub fn partition(&self, index: PartitionIndex) -> Option<&PartitionImage> {
        usize::try_from(index.0)
            .ok()
            .and_then(|index| self.partitions.get(index))
    }

    /// All partitions with their numbers.
    pub fn indexed(&self) -> impl Iterator<Item = (PartitionIndex, &PartitionImage)> {
        self.partitions
            .iter()
            .enumerate()
            .map(|(index, partition)| (PartitionIndex(index as i32), partition))
    }

    /// Replicas of partition 0: what Kafka shows as the topic's replication factor.
    pub fn replication_factor(&self) -> usize {
        self.partitions.first().map_or(0, |partition| partition.replicas.len())
    }

    /// The same once its reassignment is done.
    pub fn target_replication_factor(&self) -> usize {
        self.partitions
            .first()
            .map_or(0, |partition| partition.target_replicas().count())
    }

    /// The topic without its partitions: those are entities of their own, so that a change of one is cheap to digest.
    pub(crate) fn digest(&self) -> Digest {
        let entity = Entity::new("topic")
            .bytes(self.id.0.as_bytes())
            .text(self.name.as_str())
            .number(self.partitions.len() as i64)
            .texts(self.config.iter());
        let entity = if self.always_flushed {
            entity.text("always flushed")
        } else {
            entity
        };
        entity.digest()
    }
}

/// Replicas of consecutive partitions, as one flat column: all partitions of a topic have as many replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// Replicas per partition, at least 1.
    pub replication_factor: u16,
    /// The replicas of the first partition in order of preference, then those of the second, ...
    pub replicas: Vec<BrokerId>,
}

impl Assignment {
    /// An assignment from one list per partition; `None` if the lists are empty or differ in length.
    pub fn from_lists(lists: &[Vec<BrokerId>]) -> Option<Self> {
        let replication_factor = lists.first()?.len();
        let even = replication_factor > 0 && lists.iter().all(|list| list.len() == replication_factor);
        even.then(|| Self {
            replication_factor: replication_factor as u16,
            replicas: lists.iter().flatten().copied().collect(),
        })
    }

    /// The replicas of each partition.
    pub fn partitions(&self) -> impl ExactSizeIterator<Item = &[BrokerId]> {
        self.replicas.chunks(usize::from(self.replication_factor.max(1)))
    }

    /// How many partitions are assigned.
    pub fn partition_count(&self) -> usize {
        self.partitions().len()
    }

    /// Whether every partition has its full count of distinct replicas, and there is at least one partition.
    pub fn is_whole(&self) -> bool {
        let factor = usize::from(self.replication_factor);
        let whole = factor > 0 && !self.replicas.is_empty() && self.replicas.len().is_multiple_of(factor);
        whole
            && self.partitions().all(|replicas| {
                replicas
                    .iter()
                    .enumerate()
                    .all(|(at, id)| id.0 >= 0 && !replicas[..at].contains(id))
            })
    }
}

/// What is kept of a removed topic until every registered broker has purged its data (METADATA 25).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// The removed topic's id.
    pub id: TopicId,
    /// The name it had.
    pub name: TopicName,
    /// The offset of its `TopicRemoved`.
    pub offset: MetadataOffset,
}

impl Tombstone {
    pub(crate) fn digest(&self) -> Digest {
        Entity::new("tombstone")
            .bytes(self.id.0.as_bytes())
            .text(self.name.as_str())
            .number(self.offset.0)
            .digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_whole_only_with_distinct_replicas_for_each_partition() {
        let ids = |list: &[i32]| list.iter().copied().map(BrokerId).collect::<Vec<_>>();
        let assignment = Assignment::from_lists(&[ids(&[0, 1]), ids(&[1, 2])]).expect("even lists");
        assert_eq!(assignment.partition_count(), 2);
        assert!(assignment.is_whole());
        assert!(Assignment::from_lists(&[ids(&[0, 1]), ids(&[1])]).is_none());
        assert!(Assignment::from_lists(&[]).is_none());
        assert!(
            !Assignment {
                replication_factor: 2,
                replicas: ids(&[0, 0])
            }
            .is_whole()
        );
        assert!(
            !Assignment {
                replication_factor: 2,
                replicas: ids(&[0, 1, 2])
            }
            .is_whole()
        );
        assert!(
            !Assignment {
                replication_factor: 0,
                replicas: ids(&[0])
            }
            .is_whole()
        );
    }
}
