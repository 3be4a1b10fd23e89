//! OffsetFetch: a read, whose answer the shell sends when everything that it shows is committed.
//! Source: Kafka's `OffsetMetadataManager.fetchOffsets`.

use model::TopicId;
use protocol::ErrorCode;
use protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use uuid::Uuid;

use crate::group_coordinator::GroupCoordinator;
use crate::offset_commit::check_epoch;
use crate::records::CommittedOffset;

/// From here on a request names several groups.
const GROUPS_SINCE: i16 = 8;
/// From here on a response has an error of its own; before, each partition repeats it.
const GROUP_ERROR_SINCE: i16 = 2;
/// "No offset committed."
const NO_OFFSET: i64 = -1;

impl GroupCoordinator {
    /// What a group has committed. An unknown group has committed nothing, which is no error.
    pub fn fetch_offsets(&self, request: &OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
        if let Err(error) = self.may_fetch(request) {
            return OffsetFetchResponseGroup {
                group_id: request.group_id.clone(),
                error_code: error.code(),
                ..OffsetFetchResponseGroup::default()
            };
        }
        let committed = self.durable.offsets(&request.group_id);
        let topics = match &request.topics {
            None => committed
                .into_iter()
                .flatten()
                .map(|(topic, partitions)| OffsetFetchResponseTopics {
                    name: topic.clone(),
                    topic_id: Uuid::nil(),
                    partitions: partitions
                        .iter()
                        .map(|(index, offset)| fetched(*index, Some(offset)))
                        .collect(),
                })
                .collect(),
            Some(topics) => topics
                .iter()
                .map(|topic| {
                    let partitions = committed.and_then(|topics| topics.get(&topic.name));
                    let lookup = |index: &i32| {
                        let committed = partitions.and_then(|partitions| partitions.get(index));
                        committed.filter(|committed| is_of(committed, topic.topic_id))
                    };
                    OffsetFetchResponseTopics {
                        name: topic.name.clone(),
                        topic_id: topic.topic_id,
                        partitions: topic
                            .partition_indexes
                            .iter()
                            .map(|index| fetched(*index, lookup(index)))
                            .collect(),
                    }
                })
                .collect(),
        };
        OffsetFetchResponseGroup {
            group_id: request.group_id.clone(),
            topics,
            error_code: ErrorCode::None.code(),
        }
    }
}

impl GroupCoordinator {
    /// A member of a consumer group that is behind must not go on from where another is. Who does not say who it is may read; an
    /// empty name is one that nobody has. Source: Kafka's `ConsumerGroup.validateOffsetFetch`.
    fn may_fetch(&self, request: &OffsetFetchRequestGroup) -> Result<(), ErrorCode> {
        let Some(group) = self.durable.consumer_group(&request.group_id) else {
            return Ok(());
        };
        let id = request.member_id.as_deref();
        if id.is_none() && request.member_epoch < 0 {
            return Ok(());
        }
        let member = group.member(id.unwrap_or_default()).ok_or(ErrorCode::UnknownMemberId)?;
        check_epoch(member, request.member_epoch)
    }
}

/// False if both the commit and the question name a topic by its id, and it is not the same: one of the same name was deleted
/// meanwhile.
fn is_of(committed: &CommittedOffset, topic_id: Uuid) -> bool {
    topic_id.is_nil() || committed.topic_id.is_none_or(|TopicId(id)| id == topic_id)
}

/// The same error for every partition of a topic.
pub fn refused_topic(topic: &OffsetFetchRequestTopics, error: ErrorCode) -> OffsetFetchResponseTopics {
    OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partition_indexes
            .iter()
            .map(|index| OffsetFetchResponsePartitions {
                error_code: error.code(),
                ..fetched(*index, None)
            })
            .collect(),
    }
}

fn fetched(index: i32, committed: Option<&CommittedOffset>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: index,
        committed_offset: committed.map_or(NO_OFFSET, |offset| offset.offset),
        committed_leader_epoch: committed.map_or(-1, |offset| offset.leader_epoch),
        metadata: Some(committed.map(|offset| offset.metadata.clone()).unwrap_or_default()),
        error_code: ErrorCode::None.code(),
    }
}

/// The groups that a request of any version asks about.
pub fn groups_of(request: OffsetFetchRequest, version: i16) -> Vec<OffsetFetchRequestGroup> {
    if version >= GROUPS_SINCE {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        topics
            .into_iter()
            .map(|topic| OffsetFetchRequestTopics {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
                ..OffsetFetchRequestTopics::default()
            })
            .collect()
    });
    vec![OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..OffsetFetchRequestGroup::default()
    }]
}

/// The answer of a broker that cannot tell. Versions that have no error of the group get it in every partition asked for.
pub fn refused(request: &OffsetFetchRequestGroup, version: i16, error: ErrorCode) -> OffsetFetchResponseGroup {
    let mut topics = Vec::new();
    if version < GROUP_ERROR_SINCE {
        topics.extend(request.topics.iter().flatten().map(|topic| refused_topic(topic, error)));
    }
    OffsetFetchResponseGroup {
        group_id: request.group_id.clone(),
        topics,
        error_code: error.code(),
    }
}

/// The groups' answers in the form of any version.
pub fn response_of(groups: Vec<OffsetFetchResponseGroup>, version: i16) -> OffsetFetchResponse {
    if version >= GROUPS_SINCE {
        return OffsetFetchResponse {
            groups,
            ..OffsetFetchResponse::default()
        };
    }
    let mut response = OffsetFetchResponse::default();
    for group in groups {
        response.error_code = group.error_code;
        response.topics.extend(group.topics.into_iter().map(|topic| {
            OffsetFetchResponseTopic {
                name: topic.name,
                partitions: topic
                    .partitions
                    .into_iter()
                    .map(|partition| OffsetFetchResponsePartition {
                        partition_index: partition.partition_index,
                        committed_offset: partition.committed_offset,
                        committed_leader_epoch: partition.committed_leader_epoch,
                        metadata: partition.metadata,
                        error_code: partition.error_code,
                    })
                    .collect(),
            }
        }));
    }
    response
}
