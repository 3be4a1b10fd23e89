//! JoinGroup: answered when the whole group is there.

use broker_groups::{Request, Response};
use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};

use super::call::{BadRequest, Call};
use super::group::submit;

/// From here on an answer without a protocol says so with null; before, with an empty name.
const NULL_PROTOCOL_SINCE: i16 = 7;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: JoinGroupRequest = call.decode()?;
    let group = request.group_id.clone();
    let has_null = call.version() >= NULL_PROTOCOL_SINCE;
    submit(call, responses, &group, Request::Join(request), move |answer| {
        let mut body = match answer {
            Ok(Response::Join(body)) => body,
            Ok(_) => refused(ErrorCode::UnknownServerError),
            Err(error) => refused(error),
        };
        if !has_null {
            body.protocol_name.get_or_insert_default();
        }
        body
    });
    Ok(())
}

fn refused(error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error.code(),
        protocol_name: None,
        ..JoinGroupResponse::default()
    }
}
