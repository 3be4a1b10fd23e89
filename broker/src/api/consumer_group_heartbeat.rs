//! ConsumerGroupHeartbeat: a member of a consumer group joins, stays, moves on and leaves (KIP-848).

use broker_groups::{Request, Response};
use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::call::{BadRequest, Call};
use super::group::submit;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: ConsumerGroupHeartbeatRequest = call.decode()?;
    let group = request.group_id.clone();
    submit(
        call,
        responses,
        &group,
        Request::ConsumerHeartbeat(request),
        |answer| match answer {
            Ok(Response::ConsumerHeartbeat(body)) => body,
            Ok(_) => refused(ErrorCode::UnknownServerError),
            Err(error) => refused(error),
        },
    );
    Ok(())
}

fn refused(error: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: error.code(),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}
