//! DescribeGroups and ListGroups: reads. Source: Kafka's `GroupMetadataManager.describeGroups`, `listGroups`.

use protocol::ErrorCode;
use protocol::messages::describe_groups::DescribedGroup;
use protocol::messages::list_groups::ListedGroup;

use crate::group::Phase;
use crate::group_coordinator::GroupCoordinator;
use crate::member::Member;

/// From here on an unknown group is an error (KIP-1043); before, it is a group in state `Dead`.
const NOT_FOUND_SINCE: i16 = 6;
/// Kafka's name of the groups kept here; those of KIP-848 will be `Consumer`.
const CLASSIC: &str = "Classic";

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
                unknown.error_message = Some(format!("Group {group_id} not found."));
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

    /// The groups in one of these states and of one of these types; an empty filter lets all pass. Kafka compares both
    /// without case.
    pub fn list(&self, states: &[String], types: &[String]) -> Vec<ListedGroup> {
        let passes = |filter: &[String], name: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        if !passes(types, CLASSIC) {
            return Vec::new();
        }
        self.groups
            .values()
            .filter(|group| passes(states, group.phase.name()))
            .map(|group| ListedGroup {
                group_id: group.id.as_str().to_owned(),
                protocol_type: group.protocol_type.clone().unwrap_or_default(),
                group_state: group.phase.name().to_owned(),
                group_type: CLASSIC.to_owned(),
            })
            .collect()
    }
}
