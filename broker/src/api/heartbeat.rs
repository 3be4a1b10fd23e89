//! Heartbeat: a member is alive.

use broker_groups::{Request, Response};
use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use super::call::{BadRequest, Call};
use super::group::submit;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: HeartbeatRequest = call.decode()?;
    let group = request.group_id.clone();
    submit(
        call,
        responses,
        &group,
        Request::Heartbeat(request),
        |answer| match answer {
            Ok(Response::Heartbeat(body)) => body,
            Ok(_) => refused(ErrorCode::UnknownServerError),
            Err(error) => refused(error),
        },
    );
    Ok(())
}

fn refused(error: ErrorCode) -> HeartbeatResponse {
    // While a coordinator is being loaded it cannot tell, and nobody's session runs: the member goes on as it is.
    let loading = error == ErrorCode::CoordinatorLoadInProgress;
    let error = if loading { ErrorCode::None } else { error };
    HeartbeatResponse {
        error_code: error.code(),
        ..HeartbeatResponse::default()
    }
}
