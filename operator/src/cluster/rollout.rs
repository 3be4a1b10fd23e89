//! Which broker may be restarted next. Pure: from the StatefulSet, its pods and the image to one step.
//!
//! The StatefulSet updates only pods whose number is at or above its `partition`. At rest that is the number of brokers, so
//! that nothing restarts by itself, whoever changes the template; a roll lowers it by one at a time.

use std::fmt;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use model::{BrokerId, MetadataImage, TopicName};

/// A StatefulSet as its controller last saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) replicas: i32,
    pub(super) partition: i32,
    /// Revision of the template; `None` while the StatefulSet's controller has not seen the last change.
    pub(super) revision: Option<String>,
}

/// A broker's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broker {
    pub(super) id: i32,
    pub(super) revision: String,
    pub(super) ready: bool,
    pub(super) terminating: bool,
}

/// What is next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Every pod runs the template.
    Settled,
    /// The StatefulSet's controller has to look first.
    Unseen,
    /// This broker may be restarted now: that becomes the partition.
    Restart(i32),
    /// This broker is being restarted.
    Restarting(i32),
    /// This broker is next, but not now.
    Hold(i32, Obstacle),
}

/// Why a broker may not go now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Another broker is not there, or not ready.
    NotReady(i32),
    /// A partition would fall below `min.insync.replicas`, or below what it can have.
    Partition {
        topic: TopicName,
        partition: usize,
        /// In-sync replicas without the broker.
        left: usize,
        needed: usize,
    },
}

impl Set {
    pub(super) fn of(set: &StatefulSet) -> Option<Self> {
        let spec = set.spec.as_ref()?;
        let strategy = spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
        let status = set.status.as_ref();
        let seen = status.is_some_and(|status| status.observed_generation == set.metadata.generation);
        Some(Self {
            replicas: spec.replicas.unwrap_or(1),
            partition: strategy.and_then(|rolling| rolling.partition).unwrap_or(0),
            revision: status
                .filter(|_| seen)
                .and_then(|status| status.update_revision.clone()),
        })
    }
}

impl Broker {
    pub(super) fn of(id: i32, pod: &Pod) -> Self {
        let labels = pod.metadata.labels.as_ref();
        Self {
            id,
            revision: labels
                .and_then(|labels| labels.get("controller-revision-hash").cloned())
                .unwrap_or_default(),
            ready: is_ready(pod),
            terminating: pod.metadata.deletion_timestamp.is_some(),
        }
    }
}

/// Whether Kubernetes calls the pod ready.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .filter(|condition| condition.type_ == "Ready")
        .any(|condition| condition.status == "True")
}

impl Step {
    /// The partition that the StatefulSet should have.
    pub(super) fn partition(&self, set: &Set) -> i32 {
        match self {
            Self::Settled => set.replicas,
            Self::Restart(id) => *id,
            Self::Unseen | Self::Restarting(_) | Self::Hold(..) => set.partition.min(set.replicas),
        }
    }
}

/// What is next.
pub(super) fn step(set: &Set, brokers: &[Broker], image: &MetadataImage) -> Step {
    let Some(revision) = &set.revision else {
        return Step::Unseen;
    };
    let outdated = brokers.iter().filter(|broker| broker.revision != *revision);
    let Some(next) = outdated.max_by_key(|broker| broker.id) else {
        return Step::Settled;
    };
    if next.id >= set.partition || next.terminating {
        return Step::Restarting(next.id);
    }
    // Everybody else must be there. To restart one that is not ready costs nothing, and a new template may be its cure.
    let absent = (0..set.replicas).filter(|id| next.ready && *id != next.id).find(|id| {
        let found = brokers.iter().find(|broker| broker.id == *id);
        found.is_none_or(|broker| broker.terminating || !broker.ready)
    });
    if let Some(absent) = absent {
        return Step::Hold(next.id, Obstacle::NotReady(absent));
    }
    match may_go(image, BrokerId(next.id)) {
        Ok(()) => Step::Restart(next.id),
        Err(obstacle) => Step::Hold(next.id, obstacle),
    }
}

/// Whether every partition keeps its `min.insync.replicas` without this broker. One that cannot, because it has no replicas
/// to spare, must at least have all the others in sync.
pub(super) fn may_go(image: &MetadataImage, broker: BrokerId) -> Result<(), Obstacle> {
    let eligible = |id: BrokerId| image.broker(id).is_some_and(model::BrokerRegistration::is_eligible);
    for topic in image.topics().values() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            // Out of sync it is no loss.
            if !partition.isr.contains(&broker) {
                continue;
            }
            let others = partition.isr.iter().filter(|id| **id != broker && eligible(**id));
            let left = others.count();
            let needed = image
                .min_insync_replicas(topic, partition)
                .min(partition.replicas.len().saturating_sub(1));
            if left < needed {
                return Err(Obstacle::Partition {
                    topic: topic.name.clone(),
                    partition: index,
                    left,
                    needed,
                });
            }
        }
    }
    Ok(())
}

/// Whether any one broker may be taken away.
pub(super) fn any_may_go(image: &MetadataImage) -> Result<(), Obstacle> {
    let eligible = image.brokers().values().filter(|broker| broker.is_eligible());
    eligible.map(|broker| broker.id).try_for_each(|id| may_go(image, id))
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady(id) => write!(f, "broker {id} is not ready"),
            Self::Partition {
                topic,
                partition,
                left,
                needed,
            } => write!(
                f,
                "partition {partition} of topic {topic} would have {left} in-sync replicas left, and needs {needed}"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
