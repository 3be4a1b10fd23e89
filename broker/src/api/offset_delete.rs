//! OffsetDelete: committed offsets that nobody needs.

use broker_groups::{Request, Response};
use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use super::call::{BadRequest, Call};
use super::group::{exists, submit};
use super::merge::merge;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let mut request: OffsetDeleteRequest = call.decode()?;
    let mut unknown: Vec<OffsetDeleteResponseTopic> = Vec::new();
    {
        let image = call.broker.metadata.image();
        for topic in &mut request.topics {
            let name = topic.name.clone();
            let gone = topic
                .partitions
                .extract_if(.., |partition| !exists(&image, &name, partition.partition_index));
            let partitions: Vec<_> = gone
                .map(|partition| OffsetDeleteResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: ErrorCode::UnknownTopicOrPartition.code(),
                })
                .collect();
            if !partitions.is_empty() {
                unknown.push(OffsetDeleteResponseTopic { name, partitions });
            }
        }
    }
    request.topics.retain(|topic| !topic.partitions.is_empty());
    let group = request.group_id.clone();
    submit(
        call,
        responses,
        &group,
        Request::DeleteOffsets(request),
        move |answer| match answer {
            Ok(Response::DeleteOffsets(mut body)) => {
                // An error of the whole request is told alone.
                if body.error_code == ErrorCode::None.code() {
                    body.topics = merge(
                        body.topics,
                        unknown,
                        |topic| topic.name.clone(),
                        |topic, more| topic.partitions.extend(more.partitions),
                    );
                }
                body
            }
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
