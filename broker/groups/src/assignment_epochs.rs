//! Since which epoch a member has each of its partitions (KIP-1251): a commit of an epoch since then is its own, whatever the
//! member has been told meanwhile; one of before is of a former life, and another may have had the partition in between.

use std::collections::BTreeMap;

use model::TopicId;

use crate::epoch::Epoch;
use crate::partitions::Partitions;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssignmentEpochs(BTreeMap<TopicId, BTreeMap<i32, Epoch>>);

impl AssignmentEpochs {
    /// All of these since one epoch.
    pub fn of(partitions: &Partitions, epoch: Epoch) -> Self {
        Self::default().kept(partitions, epoch)
    }

    /// Since when this one; `None` if it is not among them.
    pub fn get(&self, topic: TopicId, index: i32) -> Option<Epoch> {
        self.0.get(&topic)?.get(&index).copied()
    }

    /// Adds one, or says anew since when it is.
    pub fn insert(&mut self, topic: TopicId, index: i32, epoch: Epoch) {
        self.0.entry(topic).or_default().insert(index, epoch);
    }

    /// Those of these partitions, and no others: each since when it was, or since `epoch` if it is new.
    pub(crate) fn kept(&self, partitions: &Partitions, epoch: Epoch) -> Self {
        let mut kept = Self::default();
        for (topic, index) in partitions.iter() {
            kept.insert(topic, index, self.get(topic, index).unwrap_or(epoch));
        }
        kept
    }
}
