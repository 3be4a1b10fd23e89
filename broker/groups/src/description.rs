//! DescribeGroups and ListGroups: reads. Source: Kafka's `GroupMetadataManager.describeGroups`, `listGroups`.

use protocol::ErrorCode;
use protocol::messages::describe_groups::DescribedGroup;
use protocol::messages::list_groups::ListedGroup;

use crate::group::{CONSUMER, Phase};
use crate::group_coordinator::GroupCoordinator;
use crate::member::Member;

/// From here on an unknown group is an error (KIP-1043); before, it is a group in state `Dead`.
const NOT_FOUND_SINCE: i16 = 6;
/// Kafka's names of the two kinds of groups.
const CLASSIC: &str = "classic";
const CONSUMER_TYPE: &str = "consumer";

impl GroupCoordinator {
    /// A group with its members; their metadata and assignments while they are settled.
    pub fn describe(&self, group_id: &str, version: i16) -> DescribedGroup {
        let Some(group) = self.groups.get(group_id) else {
            let mut unknown = DescribedGroup {
                group_id: group_id.to_owned(),
                group_state: "Dead".to_owned(),
                ..DescribedGroup::default()
            };
            if version >= NOT_FOUND_SINCE {
                unknown.error_code = ErrorCode::GroupIdNotFound.code();
                unknown.error_message = Some(if self.durable.consumer_group(group_id).is_some() {
                    format!("Group {group_id} is not a classic group.")
                } else {
                    format!("Group {group_id} not found.")
                });
            }
            return unknown;
        };
        let settled = group.protocol.as_deref().filter(|_| group.phase == Phase::Stable);
        DescribedGroup {
            group_id: group_id.to_owned(),
            group_state: group.phase.name().to_owned(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            protocol_data: settled.unwrap_or_default().to_owned(),
            members: group
                .members
                .values()
                .map(|member: &Member| member.described(settled))
                .collect(),
            ..DescribedGroup::default()
        }
    }

    /// How many members a group has; 0 if there is no such group.
    pub fn member_count(&self, group: &str) -> usize {
        let classic = self.groups.get(group).map(|group| group.members.len());
        let consumer = self.durable.consumer_group(group).map(|group| group.members().len());
        classic.or(consumer).unwrap_or(0)
    }

    /// The groups in one of these states and of one of these types; an empty filter lets all pass. Kafka compares both
    /// without case.
    pub fn list(&self, states: &[String], types: &[String]) -> Vec<ListedGroup> {
        let passes = |filter: &[String], name: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let consumer_groups = self
            .durable
            .consumer_groups()
            .filter(|(_, group)| passes(types, CONSUMER_TYPE) && passes(states, group.state().name()))
            .map(|(id, group)| ListedGroup {
                group_id: id.as_str().to_owned(),
                protocol_type: CONSUMER.to_owned(),
                group_state: group.state().name().to_owned(),
                group_type: CONSUMER_TYPE.to_owned(),
            });
        self.groups
            .values()
            .filter(|group| passes(types, CLASSIC) && passes(states, group.phase.name()))
            .map(|group| ListedGroup {
                group_id: group.id.as_str().to_owned(),
                protocol_type: group.protocol_type.clone().unwrap_or_default(),
                group_state: group.phase.name().to_owned(),
                group_type: CLASSIC.to_owned(),
            })
            .chain(consumer_groups)
            .collect()
    }
}
