//! SyncGroup: the leader hands in the assignment, everyone gets its part of it.

use broker_groups::{Request, Response};
use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::call::{BadRequest, Call};
use super::group::submit;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: SyncGroupRequest = call.decode()?;
    let group = request.group_id.clone();
    submit(call, responses, &group, Request::Sync(request), |answer| match answer {
        Ok(Response::Sync(body)) => body,
        Ok(_) => refused(ErrorCode::UnknownServerError),
        Err(error) => refused(error),
    });
    Ok(())
}

fn refused(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: error.code(),
        ..SyncGroupResponse::default()
    }
}
