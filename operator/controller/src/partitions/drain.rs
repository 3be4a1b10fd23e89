//! A broker is emptied before it goes: its replicas move to the others.

use std::collections::BTreeSet;

use model::{BrokerId, MetadataImage, PartitionIndex, TopicId};
use protocol::ErrorCode;

use super::reassign;
use crate::append::Appender;
use crate::effect::Refusal;
use crate::placement;
use crate::topic_error::TopicError;

/// Partitions that move for drains at the same time: enough to be fast, few enough to leave the brokers their work.
const AT_ONCE: usize = 100;

/// Begins moves as far as there is room, and says how many partitions still have a replica on the broker.
///
/// `without` names the brokers that get nothing, this one among them.
pub(crate) fn drain(log: &mut Appender, broker: BrokerId, without: &BTreeSet<BrokerId>) -> Result<usize, Refusal> {
    let held = held(log.latest(), broker);
    check(log.latest(), broker, &held, without)?;
    let moving = held
        .iter()
        .filter(|(topic, index)| is_leaving(log.latest(), *topic, *index, broker));
    let room = AT_ONCE.saturating_sub(moving.count());
    let waiting: Vec<_> = held
        .iter()
        .copied()
        .filter(|(topic, index)| !is_leaving(log.latest(), *topic, *index, broker))
        .take(room)
        .collect();
    if !waiting.is_empty() {
        log.admit()?;
    }
    for (topic, index) in waiting {
        let image = log.latest();
        let (Some(found), Some(partition)) = (image.topic(topic), image.partition(topic, index)) else {
            continue;
        };
        let mut target: Vec<_> = partition.target_replicas().collect();
        let Some(place) = target.iter().position(|id| *id == broker) else {
            continue;
        };
        target.remove(place);
        let candidates = placement::candidates(image, without);
        // In the place of the one that goes, so that leaders stay as even as they were.
        if let Some(other) = placement::another(&candidates, Some(found), &target) {
            target.insert(place, other);
            reassign::begin(log, topic, index, &target)?;
        }
    }
    Ok(held.len())
}

/// One sentence if the broker can never be emptied.
fn check(
    image: &MetadataImage,
    broker: BrokerId,
    held: &[(TopicId, PartitionIndex)],
    without: &BTreeSet<BrokerId>,
) -> Result<(), Refusal> {
    let others = image.brokers().keys().filter(|id| !without.contains(id)).count();
    for (topic, index) in held {
        let Some((found, partition)) = image.topic(*topic).zip(image.partition(*topic, *index)) else {
            continue;
        };
        let wanted = partition.target_replicas().count();
        if wanted > others {
            let message = format!(
                "broker {broker} cannot be emptied: topic {} has {wanted} replicas of each partition and only {others} broker(s) would be left to hold them",
                found.name
            );
            return Err(TopicError::new(ErrorCode::InvalidReplicationFactor, message).into());
        }
    }
    Ok(())
}

fn held(image: &MetadataImage, broker: BrokerId) -> Vec<(TopicId, PartitionIndex)> {
    let topics = image.topics().values();
    let each = topics.flat_map(|topic| {
        topic
            .indexed()
            .map(move |(index, partition)| (topic.id, index, partition))
    });
    each.filter(|(_, _, partition)| partition.replicas.contains(&broker))
        .map(|(topic, index, _)| (topic, index))
        .collect()
}

fn is_leaving(image: &MetadataImage, topic: TopicId, index: PartitionIndex, broker: BrokerId) -> bool {
    image
        .partition(topic, index)
        .is_some_and(|partition| partition.removing.contains(&broker))
}
