//! OffsetCommit: how far a group has come.

use broker_groups::{Request, Response, offset_commit::refused};
use broker_network::Responses;
use model::MetadataImage;
use protocol::ErrorCode;
use protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse, OffsetCommitResponseTopic,
};

use super::call::{BadRequest, Call};
use super::group::{NAMES_TOPICS_BY_ID, exists, name_of, submit};
use super::merge::merge;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: OffsetCommitRequest = call.decode()?;
    let (request, unknown) = split(&call.broker.metadata.image(), call.version(), request);
    if request.topics.is_empty() && !unknown.is_empty() {
        let body = OffsetCommitResponse {
            topics: unknown,
            ..OffsetCommitResponse::default()
        };
        return call.answer(responses, &body);
    }
    let group = request.group_id.clone();
    let asked = request.clone();
    submit(call, responses, &group, Request::Commit(request), move |answer| {
        let body = match answer {
            Ok(Response::Commit(body)) => body,
            Ok(_) => refused(asked, ErrorCode::UnknownServerError),
            Err(error) => refused(asked, error),
        };
        OffsetCommitResponse {
            topics: merge(
                body.topics,
                unknown,
                |topic| (topic.name.clone(), topic.topic_id),
                |topic, more| topic.partitions.extend(more.partitions),
            ),
            ..body
        }
    });
    Ok(())
}

/// The part of a request that speaks of partitions that there are, each topic with its name and id, and the answer to the rest.
fn split(
    image: &MetadataImage,
    version: i16,
    mut request: OffsetCommitRequest,
) -> (OffsetCommitRequest, Vec<OffsetCommitResponseTopic>) {
    let mut unknown = Vec::new();
    let mut refuse = |topic: OffsetCommitRequestTopic, error| {
        if !topic.partitions.is_empty() {
            let topics = vec![topic];
            unknown.extend(
                refused(
                    OffsetCommitRequest {
                        topics,
                        ..OffsetCommitRequest::default()
                    },
                    error,
                )
                .topics,
            );
        }
    };
    for mut topic in std::mem::take(&mut request.topics) {
        if version >= NAMES_TOPICS_BY_ID {
            let Some(name) = name_of(image, topic.topic_id) else {
                refuse(topic, ErrorCode::UnknownTopicId);
                continue;
            };
            topic.name = name;
        } else if let Some(known) = image.topic_by_name(&topic.name) {
            topic.topic_id = known.id.0;
        }
        let (known, others) = std::mem::take(&mut topic.partitions)
            .into_iter()
            .partition(|partition| exists(image, &topic.name, partition.partition_index));
        refuse(
            OffsetCommitRequestTopic {
                partitions: others,
                ..topic.clone()
            },
            ErrorCode::UnknownTopicOrPartition,
        );
        topic.partitions = known;
        if !topic.partitions.is_empty() {
            request.topics.push(topic);
        }
    }
    (request, unknown)
}
