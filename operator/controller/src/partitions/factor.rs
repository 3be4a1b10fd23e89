//! Another number of replicas for a topic that is there: a move that adds followers or takes some away.

use std::collections::BTreeSet;

use model::{BrokerId, MetadataImage, PartitionImage, TopicId};
use protocol::ErrorCode;

use super::reassign;
use crate::append::Appender;
use crate::effect::Refusal;
use crate::placement;
use crate::topic_error::TopicError;

/// Partitions that begin to move in one append: their records must fit in the log.
const AT_ONCE: usize = 100;

/// Gives every partition `factor` replicas. Larger topics begin in portions; who asked asks again.
pub(crate) fn change(
    log: &mut Appender,
    topic: TopicId,
    factor: usize,
    without: &BTreeSet<BrokerId>,
) -> Result<(), Refusal> {
    let Some(image) = log.latest().topic(topic).cloned() else {
        return Ok(());
    };
    let wrong = image
        .indexed()
        .filter(|(_, one)| one.target_replicas().count() != factor);
    let wrong: Vec<_> = wrong.map(|(index, _)| index).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    log.admit()?;
    for index in wrong.iter().take(AT_ONCE) {
        let latest = log.latest();
        let Some(partition) = latest.partition(topic, *index) else {
            continue;
        };
        let target = if partition.target_replicas().count() < factor {
            raised(latest, topic, partition, factor, without)?
        } else {
            lowered(latest, partition, factor)
        };
        reassign::begin(log, topic, *index, &target)?;
    }
    if wrong.len() > AT_ONCE {
        let left = wrong.len() - AT_ONCE;
        return Err(Refusal::Pending(format!(
            "{AT_ONCE} partitions of topic {} begin to change their replicas, {left} follow",
            image.name
        )));
    }
    Ok(())
}

fn raised(
    image: &MetadataImage,
    topic: TopicId,
    partition: &PartitionImage,
    factor: usize,
    without: &BTreeSet<BrokerId>,
) -> Result<Vec<BrokerId>, TopicError> {
    let candidates = placement::candidates(image, without);
    let mut target: Vec<_> = partition.target_replicas().collect();
    while target.len() < factor {
        let Some(next) = placement::another(&candidates, image.topic(topic).map(|topic| &**topic), &target) else {
            let message = format!(
                "Replication factor was {factor}: only {} broker(s) can take replicas now.",
                candidates.len()
            );
            return Err(TopicError::new(ErrorCode::InvalidReplicationFactor, message));
        };
        target.push(next);
    }
    Ok(target)
}

/// Followers go, those first that are not in sync, then from the end of the list.
fn lowered(image: &MetadataImage, partition: &PartitionImage, factor: usize) -> Vec<BrokerId> {
    let mut target: Vec<_> = partition.target_replicas().collect();
    while target.len() > factor.max(1) {
        let spare = |id: &BrokerId| !partition.isr.contains(id) || !image.is_eligible(*id);
        let at = target.iter().rposition(spare).unwrap_or(target.len() - 1);
        target.remove(at);
    }
    target
}
