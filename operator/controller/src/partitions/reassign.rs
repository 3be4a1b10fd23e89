//! Moves of replicas, as in Kafka (`PartitionReassignmentReplicas`, KIP-455).
//!
//! A move has two records. The first makes the replicas the new ones followed by those that go, and names both in `adding`
//! and `removing`. When all new ones are in sync, the second takes the old ones away, and the leader with them if it is one.
//! Where nobody has to catch up the first record is not needed. Taken back, a move loses those it was adding.

use model::record::PartitionChanged;
use model::{BrokerId, MetadataImage, PartitionImage, PartitionIndex, TopicId};
use protocol::ErrorCode;

use crate::append::{Appender, Sabotage};
use crate::effect::Refusal;
use crate::topic_error::TopicError;

/// Begins a move to `target`, or gives the one under way another aim.
pub(crate) fn begin(
    log: &mut Appender,
    topic: TopicId,
    index: PartitionIndex,
    target: &[BrokerId],
) -> Result<(), Refusal> {
    let Some(partition) = log.latest().partition(topic, index) else {
        return Ok(());
    };
    let changed = match log.sabotaged() {
        Sabotage::EndMoveAtOnce => Some(ended(topic, index, target.to_vec())),
        _ => change(partition, target, PartitionChanged::of(topic, index)),
    };
    if let Some(changed) = changed {
        log.propose(changed)?;
    }
    Ok(())
}

/// Takes a move back: the replicas are those from before.
pub(crate) fn cancel(log: &mut Appender, topic: TopicId, index: PartitionIndex) -> Result<(), Refusal> {
    let Some(partition) = log.latest().partition(topic, index) else {
        return Ok(());
    };
    if !partition.is_reassigning() {
        let code = ErrorCode::NoReassignmentInProgress;
        return Err(TopicError::new(code, code.text()).into());
    }
    let keeps = |id: &&BrokerId| !partition.adding.contains(id);
    let replicas: Vec<_> = partition.replicas.iter().filter(keeps).copied().collect();
    let isr: Vec<_> = replicas
        .iter()
        .copied()
        .filter(|id| partition.isr.contains(id))
        .collect();
    if isr.is_empty() {
        let message = "The reassignment cannot be taken back: only replicas that it adds are in sync.";
        return Err(TopicError::new(ErrorCode::InvalidReplicaAssignment, message).into());
    }
    let changed = PartitionChanged {
        isr: Some(isr),
        replicas: Some(replicas),
        adding: Some(Vec::new()),
        removing: Some(Vec::new()),
        ..PartitionChanged::of(topic, index)
    };
    log.propose(changed)?;
    Ok(())
}

/// The change with the end of the move in it, if the move can end with this ISR.
pub(super) fn completed(partition: &PartitionImage, isr: &[BrokerId], changed: PartitionChanged) -> PartitionChanged {
    if !partition.is_reassigning() {
        return changed;
    }
    match settled(&partition.replicas, &partition.removing, isr) {
        Some(target) => ended(changed.topic, changed.partition, target),
        None => changed,
    }
}

/// Checks a target that somebody wrote. A broker may be fenced, as in Kafka: the move waits for it.
pub(crate) fn check_target(image: &MetadataImage, target: &[BrokerId]) -> Result<(), TopicError> {
    let error = |message: String| Err(TopicError::new(ErrorCode::InvalidReplicaAssignment, message));
    if target.is_empty() {
        return error("The replica list of a partition cannot be empty.".to_owned());
    }
    for (at, id) in target.iter().enumerate() {
        if target[..at].contains(id) {
            return error(format!("The replica list has broker {id} twice."));
        }
        if image.broker(*id).is_none() {
            return error(format!("The replica list has broker {id}, which is not registered."));
        }
    }
    Ok(())
}

fn change(partition: &PartitionImage, target: &[BrokerId], changed: PartitionChanged) -> Option<PartitionChanged> {
    // What the move under way was adding and nobody wants any more goes at once: it holds nothing that others lack.
    let goes_at_once = |id: &BrokerId| partition.adding.contains(id) && !target.contains(id);
    let former: Vec<_> = partition
        .replicas
        .iter()
        .copied()
        .filter(|id| !partition.adding.contains(id))
        .collect();
    let removing: Vec<_> = partition
        .replicas
        .iter()
        .copied()
        .filter(|id| !target.contains(id) && !goes_at_once(id))
        .collect();
    let adding: Vec<_> = target.iter().copied().filter(|id| !former.contains(id)).collect();
    let replicas: Vec<_> = target.iter().chain(&removing).copied().collect();
    let isr: Vec<_> = replicas
        .iter()
        .copied()
        .filter(|id| partition.isr.contains(id))
        .collect();
    // Only members that the move was adding are in sync: they stay until another one is.
    if isr.is_empty() && !partition.isr.is_empty() {
        let mut removing = removing;
        removing.extend(partition.isr.iter().copied());
        let replicas: Vec<_> = target.iter().chain(&removing).copied().collect();
        return Some(PartitionChanged {
            replicas: Some(replicas),
            adding: Some(adding),
            removing: Some(removing),
            ..changed
        });
    }
    if replicas == partition.replicas && adding == partition.adding && removing == partition.removing {
        return None;
    }
    if let Some(target) = settled(&replicas, &removing, &isr) {
        return Some(ended(changed.topic, changed.partition, target));
    }
    Some(PartitionChanged {
        isr: (isr != partition.isr).then_some(isr),
        replicas: Some(replicas),
        adding: Some(adding),
        removing: Some(removing),
        ..changed
    })
}

/// The replicas after the move, if every one that stays is in sync.
fn settled(replicas: &[BrokerId], removing: &[BrokerId], isr: &[BrokerId]) -> Option<Vec<BrokerId>> {
    let target: Vec<_> = replicas.iter().copied().filter(|id| !removing.contains(id)).collect();
    (!target.is_empty() && target.iter().all(|id| isr.contains(id))).then_some(target)
}

fn ended(topic: TopicId, index: PartitionIndex, target: Vec<BrokerId>) -> PartitionChanged {
    PartitionChanged {
        isr: Some(target.clone()),
        replicas: Some(target),
        adding: Some(Vec::new()),
        removing: Some(Vec::new()),
        ..PartitionChanged::of(topic, index)
    }
}
