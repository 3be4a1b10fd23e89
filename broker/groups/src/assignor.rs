//! Who shall have which partitions: the assignors that run on the server (KIP-848). Pure functions of a group's
//! subscriptions, the topics, and the target before.

use std::collections::{BTreeMap, BTreeSet};

use model::TopicId;

use crate::consumer_group::ConsumerGroup;
use crate::ids::{InstanceId, MemberId};
use crate::partitions::Partitions;
use crate::topics::Topics;

mod range;
mod uniform;

/// The assignors that there are, by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// As many partitions for each as possible, and as few moves as that takes. The default.
    Uniform,
    /// Neighbouring partitions of each topic: partition 3 of two topics of equal size belongs to one member.
    Range,
}

impl Assignor {
    /// All of them, the default first.
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The assignor of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// A target for every member of the group.
    pub(crate) fn assign(self, group: &ConsumerGroup, topics: &Topics) -> BTreeMap<MemberId, Partitions> {
        let subscriptions = Subscriptions::of(group, topics);
        let assigned = match self {
            Self::Uniform => uniform::assign(&subscriptions),
            Self::Range => range::assign(&subscriptions),
        };
        subscriptions
            .members
            .into_iter()
            .map(|member| member.id)
            .zip(assigned)
            .collect()
    }
}

/// What an assignor looks at.
#[derive(Debug, Default)]
struct Subscriptions {
    /// Static members first, by their instance ids, so that they keep their places; then the others by their ids.
    members: Vec<Subscriber>,
    /// The topics that exist and that somebody subscribes to: who, as places in `members`, in order.
    topics: BTreeMap<TopicId, Subscribed>,
}

#[derive(Debug)]
struct Subscriber {
    id: MemberId,
    /// The target before.
    had: Partitions,
}

#[derive(Debug, Default)]
struct Subscribed {
    partitions: i32,
    members: Vec<usize>,
}

impl Subscriptions {
    fn of(group: &ConsumerGroup, topics: &Topics) -> Self {
        let place = |instance: Option<&InstanceId>| (instance.is_none(), instance.cloned());
        let mut order: Vec<_> = group.members().collect();
        order.sort_by_cached_key(|(id, member)| (place(member.metadata.instance_id.as_ref()), (*id).clone()));
        let mut all = Self::default();
        for (id, member) in order {
            let at = all.members.len();
            let names: BTreeSet<&str> = group.subscribed_by(member).collect();
            for (topic, partitions) in names.into_iter().filter_map(|name| topics.get(name)) {
                let subscribed = all.topics.entry(topic).or_default();
                subscribed.partitions = partitions;
                subscribed.members.push(at);
            }
            all.members.push(Subscriber {
                id: id.clone(),
                had: group.target(id.as_str()),
            });
        }
        all
    }
}

#[cfg(test)]
mod tests;
