//! OffsetCommit. Source: Kafka's `OffsetMetadataManager.commitOffset`, `ClassicGroup.validateOffsetCommit`; KIP-1251.

use model::TopicId;
use protocol::ErrorCode;
use protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};

use crate::agenda::Pending;
use crate::consumer_group::{ConsumerGroup, ConsumerMember};
use crate::epoch::Epoch;
use crate::exchange::{Context, Response, Ticket};
use crate::group::{Group, Phase};
use crate::group_coordinator::GroupCoordinator;
use crate::ids::GroupId;
use crate::rebalance;
use crate::records::{CommittedOffset, GroupRecord};

/// From here on an unknown group has an error of its own.
const GROUP_ID_NOT_FOUND_SINCE: i16 = 9;
/// From here on the generation may be a member's epoch (KIP-848).
const MEMBER_EPOCH_SINCE: i16 = 9;
/// `retention_time_ms` of a client that leaves the retention to the broker.
const DEFAULT_RETENTION: i64 = -1;

impl GroupCoordinator {
    pub(crate) fn commit(&mut self, context: &Context<'_>, ticket: Ticket, request: OffsetCommitRequest) {
        if let Err(error) = self.may_commit(context, &request) {
            return self.agenda.reply(ticket, Response::Commit(refused(request, error)));
        }
        self.agenda.stats.offset_commits += 1;
        // A commit is a sign of life.
        if let Some(group) = self.groups.get(request.group_id.as_str())
            && matches!(group.phase, Phase::Stable | Phase::PreparingRebalance(_))
        {
            rebalance::heard_from(group, &mut self.agenda, &request.member_id);
        }

        let group = GroupId::from(request.group_id.as_str());
        let now_ms = context.now.wall_ms;
        let expire_timestamp_ms =
            (request.retention_time_ms != DEFAULT_RETENTION).then(|| now_ms.saturating_add(request.retention_time_ms));
        let metadata_max = self.agenda.settings.offset_metadata_max;
        let mut records = Vec::new();
        let mut response = OffsetCommitResponse::default();
        for topic in request.topics {
            let topic_id = Some(TopicId(topic.topic_id)).filter(|TopicId(id)| !id.is_nil());
            let mut answered = OffsetCommitResponseTopic {
                name: topic.name,
                topic_id: topic.topic_id,
                partitions: Vec::new(),
            };
            for partition in topic.partitions {
                let index = partition.partition_index;
                let error = if has_too_much_metadata(&partition, metadata_max) {
                    ErrorCode::OffsetMetadataTooLarge
                } else {
                    records.push(GroupRecord::Offset {
                        group: group.clone(),
                        topic: answered.name.clone(),
                        partition: index,
                        offset: Some(committed_offset(partition, now_ms, expire_timestamp_ms, topic_id)),
                    });
                    ErrorCode::None
                };
                answered.partitions.push(OffsetCommitResponsePartition {
                    partition_index: index,
                    error_code: error.code(),
                });
            }
            response.topics.push(answered);
        }
        if records.is_empty() {
            self.agenda.reply(ticket, Response::Commit(response));
        } else {
            self.agenda.write(records, Pending::Commit { ticket, response });
        }
    }

    fn may_commit(&self, context: &Context<'_>, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
        if let Some(group) = self.durable.consumer_group(&request.group_id) {
            return self.check_consumer(group, request, context.version);
        }
        match self.groups.get(request.group_id.as_str()) {
            Some(group) => check(group, request),
            // An admin client, or a consumer that assigns partitions to itself ("simple consumer").
            None if request.generation_id_or_member_epoch < 0 => Ok(()),
            None if context.version >= GROUP_ID_NOT_FOUND_SINCE => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// Source: Kafka's `ConsumerGroup.validateOffsetCommit`.
    fn check_consumer(
        &self,
        group: &ConsumerGroup,
        request: &OffsetCommitRequest,
        version: i16,
    ) -> Result<(), ErrorCode> {
        let epoch = request.generation_id_or_member_epoch;
        if epoch < 0 && group.members().len() == 0 {
            return Ok(());
        }
        let member = group.member(&request.member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if !member.is_classic() && version < MEMBER_EPOCH_SINCE {
            return Err(ErrorCode::UnsupportedVersion);
        }
        if Epoch(epoch) < member.current.epoch && self.has_had(member, request) {
            // It commits what it read while the answer that moves it on is on its way (KIP-1251).
            return Ok(());
        }
        check_epoch(member, epoch)
    }

    /// Whether the member has had all that it commits since the epoch that it names. Source: Kafka's
    /// `createAssignmentEpochValidator`, which refuses the whole request for one partition.
    fn has_had(&self, member: &ConsumerMember, request: &OffsetCommitRequest) -> bool {
        let told = Epoch(request.generation_id_or_member_epoch);
        let metadata_max = self.agenda.settings.offset_metadata_max;
        request.topics.iter().all(|topic| {
            let named = Some(TopicId(topic.topic_id)).filter(|TopicId(id)| !id.is_nil());
            let id = named.or_else(|| self.topics.get(&topic.name).map(|(id, _)| id));
            let had = |index| {
                id.and_then(|id| member.current.since.get(id, index))
                    .is_some_and(|since| told >= since)
            };
            topic
                .partitions
                .iter()
                // What is refused for itself is not looked at.
                .filter(|partition| !has_too_much_metadata(partition, metadata_max))
                .all(|partition| had(partition.partition_index))
        })
    }
}

fn has_too_much_metadata(partition: &OffsetCommitRequestPartition, max: usize) -> bool {
    let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
    metadata.encode_utf16().count() > max
}

fn check(group: &Group, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
    let generation = request.generation_id_or_member_epoch;
    if generation < 0 && group.phase == Phase::Empty {
        return Ok(());
    }
    let names_itself = generation >= 0 || !request.member_id.is_empty() || request.group_instance_id.is_some();
    if !names_itself {
        return Err(ErrorCode::UnknownMemberId);
    }
    group.check_member(&request.member_id, request.group_instance_id.as_deref())?;
    if generation != group.generation.0 {
        return Err(ErrorCode::IllegalGeneration);
    }
    if matches!(group.phase, Phase::CompletingRebalance(_)) {
        // Its generation is right, but the assignment that it commits for is not made yet.
        return Err(ErrorCode::RebalanceInProgress);
    }
    Ok(())
}

/// A member's epoch must be the present one; how it is told otherwise depends on the protocol that it speaks.
pub(crate) fn check_epoch(member: &ConsumerMember, epoch: i32) -> Result<(), ErrorCode> {
    if member.current.epoch.0 == epoch {
        Ok(())
    } else if member.is_classic() {
        Err(ErrorCode::IllegalGeneration)
    } else {
        Err(ErrorCode::StaleMemberEpoch)
    }
}

fn committed_offset(
    partition: OffsetCommitRequestPartition,
    now_ms: i64,
    expire_timestamp_ms: Option<i64>,
    topic_id: Option<TopicId>,
) -> CommittedOffset {
    CommittedOffset {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch.max(-1),
        metadata: partition.committed_metadata.unwrap_or_default(),
        commit_timestamp_ms: now_ms,
        expire_timestamp_ms,
        topic_id,
    }
}

/// The same error for every partition of a request: also what a broker answers that does not coordinate the group.
pub fn refused(request: OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse {
    let topics = request
        .topics
        .into_iter()
        .map(|topic| OffsetCommitResponseTopic {
            name: topic.name,
            topic_id: topic.topic_id,
            partitions: topic
                .partitions
                .into_iter()
                .map(|partition| OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: error.code(),
                })
                .collect(),
        })
        .collect();
    OffsetCommitResponse {
        topics,
        ..OffsetCommitResponse::default()
    }
}
