//! What leaders propose as in-sync replicas (Kafka's `AlterPartition`).
//!
//! The checks and their order are those of Kafka's `ReplicationControlManager.validateAlterPartitionData`; a leader acts on
//! the difference between them. Two rules are stricter: there is no wildcard for a broker epoch (METADATA 13), and a
//! proposal that changes nothing is committed all the same, so that the one before it dies (METADATA 12).

use model::record::PartitionChanged;
use model::{BrokerId, IsrMember, IsrOutcome, IsrProposal, LeaderEpoch, MetadataImage, PartitionEpoch, PartitionImage};
use protocol::ErrorCode;

use crate::append::Appender;
use crate::effect::{Refusal, Reply};
use crate::input::SessionId;
use crate::partitions::reassign;
use crate::session::check_session;

/// Decides each proposal on what was decided before it. The reply is for after the commit.
pub(crate) fn alter(log: &mut Appender, session: SessionId, proposals: &[IsrProposal]) -> Result<Reply, Refusal> {
    check_session(log.latest(), session)?;
    let mut outcomes = Vec::with_capacity(proposals.len());
    for proposal in proposals {
        outcomes.push(decide(log, session.broker, proposal)?);
    }
    Ok(Reply::AlterPartition(outcomes))
}

fn decide(log: &mut Appender, proposer: BrokerId, proposal: &IsrProposal) -> Result<IsrOutcome, Refusal> {
    let error = match check(log.latest(), proposer, proposal) {
        Ok(partition) => {
            // METADATA 5: these pass a full log, so nothing is asked of it here.
            let isr = partition.replicas.iter().copied();
            let isr = isr.filter(|id| proposal.isr.iter().any(|member| member.broker == *id));
            let isr: Vec<_> = isr.collect();
            let changed = PartitionChanged {
                isr: Some(isr.clone()),
                ..PartitionChanged::of(proposal.topic, proposal.partition)
            };
            let changed = reassign::completed(partition, &isr, changed);
            log.propose(changed)?;
            let leader = log.latest().partition(proposal.topic, proposal.partition);
            // A move that ended with it may have taken the proposer's leadership: it must wait for the metadata.
            if leader.is_some_and(|partition| partition.leader == Some(proposer)) {
                ErrorCode::None
            } else {
                ErrorCode::NewLeaderElected
            }
        }
        Err(error) => error,
    };
    Ok(outcome(log.latest(), proposal, error))
}

/// Whether the proposal can be taken. The order of the checks is Kafka's.
fn check<'a>(
    image: &'a MetadataImage,
    proposer: BrokerId,
    proposal: &IsrProposal,
) -> Result<&'a PartitionImage, ErrorCode> {
    let topic = image.topic(proposal.topic).ok_or(ErrorCode::UnknownTopicId)?;
    let partition = topic
        .partition(proposal.partition)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    // Who knows more than this controller has heard of a newer one.
    if proposal.leader_epoch > partition.leader_epoch || proposal.partition_epoch > partition.partition_epoch {
        return Err(ErrorCode::NotController);
    }
    if proposal.leader_epoch < partition.leader_epoch {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    if partition.leader != Some(proposer) {
        return Err(ErrorCode::InvalidRequest);
    }
    if proposal.partition_epoch < partition.partition_epoch {
        return Err(ErrorCode::InvalidUpdateVersion);
    }
    let members = &proposal.isr;
    let sound = members.iter().enumerate().all(|(at, member)| {
        partition.replicas.contains(&member.broker) && !members[..at].iter().any(|other| other.broker == member.broker)
    });
    if !sound || !members.iter().any(|member| member.broker == proposer) {
        return Err(ErrorCode::InvalidRequest);
    }
    if !members.iter().all(|member| may_be_in_sync(image, *member)) {
        return Err(ErrorCode::IneligibleReplica);
    }
    Ok(partition)
}

/// METADATA 13: registered by that very epoch, unfenced, and not about to leave.
fn may_be_in_sync(image: &MetadataImage, member: IsrMember) -> bool {
    image
        .broker(member.broker)
        .is_some_and(|broker| broker.is_eligible() && broker.epoch == member.epoch)
}

fn outcome(image: &MetadataImage, proposal: &IsrProposal, error: ErrorCode) -> IsrOutcome {
    let partition = image.partition(proposal.topic, proposal.partition);
    IsrOutcome {
        topic: proposal.topic,
        partition: proposal.partition,
        error_code: error as i16,
        leader: partition.and_then(|partition| partition.leader),
        leader_epoch: partition.map_or(LeaderEpoch(-1), |partition| partition.leader_epoch),
        partition_epoch: partition.map_or(PartitionEpoch(-1), |partition| partition.partition_epoch),
        isr: partition.map(|partition| partition.isr.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
