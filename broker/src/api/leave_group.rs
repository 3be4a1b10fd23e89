//! LeaveGroup: members go, or are removed.

use broker_groups::{Request, Response};
use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};

use super::call::{BadRequest, Call};
use super::group::submit;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: LeaveGroupRequest = call.decode()?;
    let group = request.group_id.clone();
    submit(
        call,
        responses,
        &group,
        Request::Leave(request),
        |answer| match answer {
            Ok(Response::Leave(body)) => body,
            Ok(_) => refused(ErrorCode::UnknownServerError),
            Err(error) => refused(error),
        },
    );
    Ok(())
}

fn refused(error: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse {
        error_code: error.code(),
        ..LeaveGroupResponse::default()
    }
}
