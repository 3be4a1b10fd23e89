//! ConsumerGroupDescribe: consumer groups of KIP-848 with their members.

use broker_groups::consumer_description::refused;
use broker_network::Responses;
use protocol::messages::consumer_group_describe::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};

use super::call::{BadRequest, Call};
use super::group::OPERATIONS;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: ConsumerGroupDescribeRequest = call.decode()?;
    let groups = request
        .group_ids
        .iter()
        .map(|group| {
            let shard = call.broker.groups.shard_of(group);
            let described = shard.and_then(|shard| shard.read(|groups| groups.describe_consumer_group(group)));
            let mut described = described.unwrap_or_else(|error| refused(group, error));
            if request.include_authorized_operations {
                described.authorized_operations = OPERATIONS;
            }
            described
        })
        .collect();
    let body = ConsumerGroupDescribeResponse {
        groups,
        ..ConsumerGroupDescribeResponse::default()
    };
    call.answer(responses, &body)
}
