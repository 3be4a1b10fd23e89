//! OffsetDelete: committed offsets that nobody needs.

use broker_groups::{Request, Response};
use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use super::group::{exists, submit};
use super::{BadRequest, Call};

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
                    body.topics = merged(body.topics, unknown);
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

/// A topic of which only some partitions exist is one topic in the answer.
fn merged(
    mut known: Vec<OffsetDeleteResponseTopic>,
    unknown: Vec<OffsetDeleteResponseTopic>,
) -> Vec<OffsetDeleteResponseTopic> {
    for topic in unknown {
        match known.iter_mut().find(|other| other.name == topic.name) {
            Some(other) => other.partitions.extend(topic.partitions),
            None => known.push(topic),
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, index: i32, error: ErrorCode) -> OffsetDeleteResponseTopic {
        OffsetDeleteResponseTopic {
            name: name.to_owned(),
            partitions: vec![OffsetDeleteResponsePartition {
                partition_index: index,
                error_code: error.code(),
            }],
        }
    }

    #[test]
    fn a_topic_is_answered_once_though_some_of_its_partitions_are_not_there() {
        let unknown = ErrorCode::UnknownTopicOrPartition;
        let answer = merged(
            vec![topic("mail", 0, ErrorCode::None)],
            vec![topic("mail", 9, unknown), topic("none", 0, unknown)],
        );
        let shape: Vec<_> = answer
            .iter()
            .map(|topic| (topic.name.as_str(), topic.partitions.len()))
            .collect();
        assert_eq!(shape, [("mail", 2), ("none", 1)]);
    }
}
