//! JoinGroup: answered when the whole group is there.

use broker_groups::{Request, Response};
use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};

use super::group::submit;
use super::{BadRequest, Call};

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: JoinGroupRequest = call.decode()?;
    let group = request.group_id.clone();
    submit(call, responses, &group, Request::Join(request), |answer| match answer {
        Ok(Response::Join(body)) => body,
        Ok(_) => refused(ErrorCode::UnknownServerError),
        Err(error) => refused(error),
    });
    Ok(())
}

fn refused(error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error.code(),
        // Versions before 7 have no null.
        protocol_name: Some(String::new()),
        ..JoinGroupResponse::default()
    }
}
