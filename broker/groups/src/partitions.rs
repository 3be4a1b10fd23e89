//! A set of partitions by topic id: what a member has, shall have, or must give back.

use std::collections::{BTreeMap, BTreeSet};

use model::TopicId;

/// See the module. A topic without partitions is never in it, so that two equal sets are equal values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partitions(BTreeMap<TopicId, BTreeSet<i32>>);

impl Partitions {
    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many partitions there are.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// True if this one is among them.
    pub fn contains(&self, topic: TopicId, index: i32) -> bool {
        self.0.get(&topic).is_some_and(|indexes| indexes.contains(&index))
    }

    /// Adds one.
    pub fn insert(&mut self, topic: TopicId, index: i32) {
        self.0.entry(topic).or_default().insert(index);
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (TopicId, i32)> {
        self.0
            .iter()
            .flat_map(|(topic, indexes)| indexes.iter().map(|index| (*topic, *index)))
    }

    /// The topics with their partitions, in order.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = (TopicId, &BTreeSet<i32>)> {
        self.0.iter().map(|(topic, indexes)| (*topic, indexes))
    }

    /// Those that are also in `others`, and those that are not.
    pub(crate) fn split(&self, others: &Self) -> (Self, Self) {
        self.iter().partition(|(topic, index)| others.contains(*topic, *index))
    }

    /// True if all of them are also in `others`.
    pub(crate) fn is_within(&self, others: &Self) -> bool {
        self.iter().all(|(topic, index)| others.contains(topic, index))
    }

    /// True if any of them is also in `others`.
    pub(crate) fn touches(&self, others: &Self) -> bool {
        self.iter().any(|(topic, index)| others.contains(topic, index))
    }
}

impl Extend<(TopicId, i32)> for Partitions {
    fn extend<T: IntoIterator<Item = (TopicId, i32)>>(&mut self, partitions: T) {
        for (topic, index) in partitions {
            self.insert(topic, index);
        }
    }
}

impl FromIterator<(TopicId, i32)> for Partitions {
    fn from_iter<T: IntoIterator<Item = (TopicId, i32)>>(partitions: T) -> Self {
        let mut all = Self::default();
        all.extend(partitions);
        all
    }
}
