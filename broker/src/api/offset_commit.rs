//! OffsetCommit: how far a group has come.

use broker_groups::{Request, Response, offset_commit::refused};
use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::offset_commit::{OffsetCommitRequest, OffsetCommitResponse};

use super::group::submit;
use super::{BadRequest, Call};

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let mut request: OffsetCommitRequest = call.decode()?;
    let mut unknown = request.clone();
    {
        let image = call.broker.metadata.image();
        request
            .topics
            .retain(|topic| image.topic_by_name(&topic.name).is_some());
        unknown
            .topics
            .retain(|topic| image.topic_by_name(&topic.name).is_none());
    }
    let unknown = refused(unknown, ErrorCode::UnknownTopicOrPartition);
    if request.topics.is_empty() && !unknown.topics.is_empty() {
        return call.answer(responses, &unknown);
    }
    let group = request.group_id.clone();
    let asked = request.clone();
    submit(call, responses, &group, Request::Commit(request), move |answer| {
        let mut body = match answer {
            Ok(Response::Commit(body)) => body,
            Ok(_) => refused(asked, ErrorCode::UnknownServerError),
            Err(error) => refused(asked, error),
        };
        body.topics.extend(unknown.topics);
        OffsetCommitResponse { ..body }
    });
    Ok(())
}
