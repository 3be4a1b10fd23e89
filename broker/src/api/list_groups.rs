//! ListGroups: the groups that are coordinated here. A client asks every broker.

use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};

use super::call::{BadRequest, Call};

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: ListGroupsRequest = call.decode()?;
    let mut body = ListGroupsResponse::default();
    match call.broker.groups.loaded_shards() {
        None => body.error_code = ErrorCode::CoordinatorLoadInProgress.code(),
        Some(shards) => {
            for shard in shards {
                // A shard that resigned meanwhile is listed by its successor.
                let listed = shard.read(|groups| groups.list(&request.states_filter, &request.types_filter));
                body.groups.extend(listed.unwrap_or_default());
            }
        }
    }
    call.answer(responses, &body)
}
