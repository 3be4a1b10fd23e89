//! ConsumerGroupDescribe: a read. Source: Kafka's `ConsumerGroup.asDescribedGroup`.

use protocol::ErrorCode;
use protocol::messages::consumer_group_describe::{Assignment, DescribedGroup, Member, TopicPartitions};

use crate::assignor::Assignor;
use crate::group_coordinator::GroupCoordinator;
use crate::ids::InstanceId;
use crate::partitions::Partitions;

/// `member_type`: by JoinGroup, or by ConsumerGroupHeartbeat.
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

impl GroupCoordinator {
    /// A consumer group with its members, what they have and what they shall have.
    pub fn describe_consumer_group(&self, id: &str) -> DescribedGroup {
        if id.is_empty() {
            return refused(id, ErrorCode::InvalidGroupId);
        }
        let Some(group) = self.durable.consumer_group(id) else {
            let message = if self.groups.contains_key(id) {
                format!("Group {id} is not a consumer group.")
            } else {
                format!("Group {id} not found.")
            };
            return DescribedGroup {
                error_message: Some(message),
                ..refused(id, ErrorCode::GroupIdNotFound)
            };
        };
        let members = group.members().map(|(id, member)| Member {
            member_id: id.as_str().to_owned(),
            instance_id: member
                .metadata
                .instance_id
                .as_ref()
                .map(|id: &InstanceId| id.as_str().to_owned()),
            rack_id: member.metadata.rack_id.clone(),
            member_epoch: member.current.epoch.0,
            client_id: member.metadata.client_id.clone(),
            client_host: member.metadata.client_host.clone(),
            subscribed_topic_names: member.metadata.subscribed_topics.iter().cloned().collect(),
            // The field may be null, but Kafka never leaves it so.
            subscribed_topic_regex: Some(member.metadata.subscribed_regex.clone().unwrap_or_default()),
            assignment: self.named(&member.current.assigned),
            target_assignment: self.named(&group.target(id.as_str())),
            member_type: if member.is_classic() {
                CLASSIC_MEMBER
            } else {
                CONSUMER_MEMBER
            },
        });
        DescribedGroup {
            group_state: group.state().name().to_owned(),
            group_epoch: group.epoch().0,
            assignment_epoch: group.assignment_epoch().0,
            assignor_name: group.preferred_assignor().unwrap_or(Assignor::ALL[0].name()).to_owned(),
            members: members.collect(),
            ..refused(id, ErrorCode::None)
        }
    }

    fn named(&self, partitions: &Partitions) -> Assignment {
        let topics = partitions.topics().filter_map(|(id, indexes)| {
            Some(TopicPartitions {
                topic_id: id.as_uuid(),
                topic_name: self.topics.name(id)?.to_owned(),
                partitions: indexes.iter().copied().collect(),
            })
        });
        Assignment {
            topic_partitions: topics.collect(),
        }
    }
}

/// What a broker answers that cannot tell.
pub fn refused(id: &str, error: ErrorCode) -> DescribedGroup {
    DescribedGroup {
        error_code: error.code(),
        group_id: id.to_owned(),
        ..DescribedGroup::default()
    }
}
