//! DescribeGroups: groups with their members.

use broker_network::Responses;
use protocol::messages::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup};

use super::call::{BadRequest, Call};
use super::group::OPERATIONS;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: DescribeGroupsRequest = call.decode()?;
    let groups = request
        .groups
        .iter()
        .map(|group| {
            let shard = call.broker.groups.shard_of(group);
            let described = shard.and_then(|shard| shard.read(|groups| groups.describe(group, call.version())));
            let mut described = described.unwrap_or_else(|error| DescribedGroup {
                error_code: error.code(),
                group_id: group.clone(),
                ..DescribedGroup::default()
            });
            if request.include_authorized_operations {
                described.authorized_operations = OPERATIONS;
            }
            described
        })
        .collect();
    let body = DescribeGroupsResponse {
        groups,
        ..DescribeGroupsResponse::default()
    };
    call.answer(responses, &body)
}
