//! How many brokers there may be now. Pure: a broker goes only when no partition has a replica on it.

use model::{BrokerId, MetadataImage};

/// How many brokers there may be now, and why not as many as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scale {
    /// As many as asked.
    As(i32),
    /// More than asked, until this broker holds nothing.
    Draining { keep: i32, broker: i32, left: usize },
    /// More than asked: it cannot be, for this reason.
    Refused { keep: i32, why: String },
}

impl Scale {
    /// How many brokers there may be.
    pub(super) fn brokers(&self) -> i32 {
        match self {
            Self::As(brokers) => *brokers,
            Self::Draining { keep, .. } | Self::Refused { keep, .. } => *keep,
        }
    }
}

/// From what is asked and what is there.
pub(super) fn plan(wanted: i32, there: i32, image: &MetadataImage) -> Scale {
    if wanted >= there {
        return Scale::As(wanted);
    }
    let too_few = |factor: usize| i32::try_from(factor).is_ok_and(|factor| factor > wanted);
    if let Some(topic) = image
        .topics()
        .values()
        .find(|topic| too_few(topic.replication_factor()))
    {
        return Scale::Refused {
            keep: there,
            why: format!(
                "topic {} has {} replicas of each partition, which {wanted} brokers cannot hold: lower its replicationFactor first",
                topic.name,
                topic.replication_factor()
            ),
        };
    }
    // From the highest down, as the StatefulSet takes them away.
    let held = (wanted..there)
        .rev()
        .map(|id| (id, replicas_on(image, BrokerId(id))))
        .find(|(_, left)| *left > 0);
    match held {
        // Those above it are empty already.
        Some((broker, left)) => Scale::Draining {
            keep: broker + 1,
            broker,
            left,
        },
        None => Scale::As(wanted),
    }
}

/// How many partitions have, get or lose a replica there.
pub(super) fn replicas_on(image: &MetadataImage, broker: BrokerId) -> usize {
    let partitions = image.topics().values().flat_map(|topic| &topic.partitions);
    partitions
        .filter(|partition| {
            [&partition.replicas, &partition.adding, &partition.removing]
                .into_iter()
                .any(|list| list.contains(&broker))
        })
        .count()
}

/// Registered brokers that have no pod to come back in.
pub(super) fn departed(image: &MetadataImage, brokers: i32, has_pod: impl Fn(i32) -> bool) -> Vec<BrokerId> {
    let registered = image.brokers().keys().copied();
    registered
        .filter(|id| id.0 >= brokers && !has_pod(id.0) && replicas_on(image, *id) == 0)
        .collect()
}

#[cfg(test)]
mod tests;
