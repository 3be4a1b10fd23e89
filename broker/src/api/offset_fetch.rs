//! OffsetFetch: how far groups have come.

use broker_groups::offset_fetch::{groups_of, refused, response_of};
use broker_network::Responses;
use protocol::messages::offset_fetch::OffsetFetchRequest;

use super::{BadRequest, Call};

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: OffsetFetchRequest = call.decode()?;
    let version = call.version();
    let answers = groups_of(request, version)
        .iter()
        .map(|group| {
            let shard = call.broker.groups.shard_of(call.broker, &group.group_id);
            let fetched = shard.and_then(|shard| shard.read(|groups| groups.fetch_offsets(group)));
            fetched.unwrap_or_else(|error| refused(group, version, error))
        })
        .collect();
    call.answer(responses, &response_of(answers, version))
}
