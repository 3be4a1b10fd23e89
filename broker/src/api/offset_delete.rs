//! OffsetDelete: committed offsets that nobody needs.

use broker_groups::{Request, Response};
use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::group::submit;
use super::{BadRequest, Call};

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: OffsetDeleteRequest = call.decode()?;
    let group = request.group_id.clone();
    submit(
        call,
        responses,
        &group,
        Request::DeleteOffsets(request),
        |answer| match answer {
            Ok(Response::DeleteOffsets(body)) => body,
            Ok(_) => refused(ErrorCode::UnknownServerError),
            Err(error) => refused(error),
        },
    );
    Ok(())
}

fn refused(error: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse {
        error_code: error.code(),
        ..OffsetDeleteResponse::default()
    }
}
