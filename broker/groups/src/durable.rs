//! What the coordinator must not forget: the last generation of each group, and the committed offsets.
//!
//! [`DurableState::replay`] is the only function that changes it, for live traffic and for recovery alike, so that a
//! coordinator that loads the log knows what the one before it had acknowledged.

use std::collections::{BTreeMap, HashMap};

use crate::consumer_group::ConsumerGroup;
use crate::ids::GroupId;
use crate::records::{CommittedOffset, ConsumerRecord, GroupMetadata, GroupRecord};

/// Offsets by topic and partition.
pub type Offsets = BTreeMap<String, BTreeMap<i32, CommittedOffset>>;

/// The fold of one partition of `__consumer_offsets`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DurableState {
    groups: HashMap<GroupId, GroupMetadata>,
    consumer_groups: HashMap<GroupId, ConsumerGroup>,
    offsets: HashMap<GroupId, Offsets>,
}

impl DurableState {
    /// Applies a record that the log holds.
    pub fn replay(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::Offset {
                group,
                topic,
                partition,
                offset: Some(offset),
            } => {
                let topics = self.offsets.entry(group.clone()).or_default();
                if let Some(partitions) = topics.get_mut(topic) {
                    partitions.insert(*partition, offset.clone());
                } else {
                    topics.insert(topic.clone(), BTreeMap::from([(*partition, offset.clone())]));
                }
            }
            GroupRecord::Offset {
                group,
                topic,
                partition,
                offset: None,
            } => self.remove_offset(group, topic, *partition),
            GroupRecord::Group {
                group,
                metadata: Some(metadata),
            } => {
                self.groups.insert(group.clone(), metadata.clone());
            }
            GroupRecord::Group { group, metadata: None } => {
                self.groups.remove(group);
            }
            GroupRecord::Consumer {
                group,
                record: ConsumerRecord::Group(None),
            } => {
                self.consumer_groups.remove(group);
            }
            GroupRecord::Consumer { group, record } => {
                if let Some(known) = self.consumer_groups.get_mut(group) {
                    known.replay(record);
                } else if !record.is_tombstone() {
                    self.consumer_groups.entry(group.clone()).or_default().replay(record);
                }
            }
        }
    }

    /// The last generation written for a group.
    pub fn group(&self, group: &str) -> Option<&GroupMetadata> {
        self.groups.get(group)
    }

    /// Every group that has a generation written.
    pub fn groups(&self) -> impl Iterator<Item = (&GroupId, &GroupMetadata)> {
        self.groups.iter()
    }

    /// A consumer group of KIP-848.
    pub fn consumer_group(&self, group: &str) -> Option<&ConsumerGroup> {
        self.consumer_groups.get(group)
    }

    /// Every consumer group of KIP-848.
    pub fn consumer_groups(&self) -> impl Iterator<Item = (&GroupId, &ConsumerGroup)> {
        self.consumer_groups.iter()
    }

    /// What a group has committed; `None` if nothing.
    pub fn offsets(&self, group: &str) -> Option<&Offsets> {
        self.offsets.get(group)
    }

    /// Every group that has committed something.
    pub fn groups_with_offsets(&self) -> impl Iterator<Item = (&GroupId, &Offsets)> {
        self.offsets.iter()
    }

    /// The offset committed for one partition.
    pub fn offset(&self, group: &str, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.offsets.get(group)?.get(topic)?.get(&partition)
    }

    /// The records that this state is made of: replayed over nothing, or over the log that made it, they are it.
    pub fn records(&self) -> impl Iterator<Item = GroupRecord> {
        let groups = self.groups.iter().map(|(group, metadata)| GroupRecord::Group {
            group: group.clone(),
            metadata: Some(metadata.clone()),
        });
        let consumer_groups = self.consumer_groups.iter().flat_map(|(id, group)| group.records(id));
        let offsets = self.offsets.iter().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, partitions)| {
                partitions.iter().map(move |(index, offset)| GroupRecord::Offset {
                    group: group.clone(),
                    topic: topic.clone(),
                    partition: *index,
                    offset: Some(offset.clone()),
                })
            })
        });
        groups.chain(consumer_groups).chain(offsets)
    }

    /// True if nothing at all is kept of the group.
    pub(crate) fn knows_nothing_of(&self, group: &str) -> bool {
        !self.groups.contains_key(group)
            && !self.consumer_groups.contains_key(group)
            && !self.offsets.contains_key(group)
    }

    /// Empty maps are removed with their last entry: a group whose offsets are gone costs nothing.
    fn remove_offset(&mut self, group: &GroupId, topic: &str, partition: i32) {
        let Some(topics) = self.offsets.get_mut(group) else {
            return;
        };
        let Some(partitions) = topics.get_mut(topic) else {
            return;
        };
        partitions.remove(&partition);
        if partitions.is_empty() {
            topics.remove(topic);
        }
        if topics.is_empty() {
            self.offsets.remove(group);
        }
    }
}
