//! OffsetFetch: how far groups have come. What is told is committed: an offset that could still be lost is waited for.

use std::time::Duration;

use broker_groups::offset_fetch::{groups_of, refused, refused_topic, response_of};
use broker_network::Responses;
use model::MetadataImage;
use protocol::ErrorCode;
use protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponseGroup, OffsetFetchResponseTopics,
};

use super::call::{BadRequest, Call};
use super::group::{NAMES_TOPICS_BY_ID, name_of};

/// How long the committing of an offset may take before its group is asked to come again: Kafka's
/// `offsets.commit.timeout.ms`.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: OffsetFetchRequest = call.decode()?;
    let version = call.version();
    let mut groups = groups_of(request, version);
    let image = call.broker.metadata.image();
    let mut waits = Vec::new();
    let mut answers = Vec::with_capacity(groups.len());
    for (at, group) in groups.iter_mut().enumerate() {
        let unknown = if version >= NAMES_TOPICS_BY_ID {
            by_name(&image, group)
        } else {
            Vec::new()
        };
        let shard = call.broker.groups.shard_of(&group.group_id);
        let fetched = shard.and_then(|shard| shard.read_committed(|groups| groups.fetch_offsets(group)));
        answers.push(match fetched {
            Ok((mut answer, uncommitted)) => {
                waits.extend(uncommitted.map(|uncommitted| (at, uncommitted)));
                if version >= NAMES_TOPICS_BY_ID {
                    by_id(&image, &mut answer, unknown);
                }
                answer
            }
            Err(error) => refused(group, version, error),
        });
    }
    if waits.is_empty() {
        return call.answer(responses, &response_of(answers, version));
    }
    let (slot, reply) = (responses.push_later(), call.reply);
    tokio::task::spawn_local(async move {
        for (at, uncommitted) in waits {
            if let Err(refusal) = uncommitted.committed(PATIENCE).await {
                let error = match refusal.code {
                    ErrorCode::NotLeaderOrFollower => ErrorCode::NotCoordinator,
                    _ => ErrorCode::CoordinatorNotAvailable,
                };
                if let (Some(answer), Some(group)) = (answers.get_mut(at), groups.get(at)) {
                    *answer = refused(group, version, error);
                }
            }
        }
        reply.answer_later(slot, &response_of(answers, version));
    });
    Ok(())
}

/// Gives each topic that is asked for its name; the answer to those that there are not.
fn by_name(image: &MetadataImage, group: &mut OffsetFetchRequestGroup) -> Vec<OffsetFetchResponseTopics> {
    let mut unknown = Vec::new();
    if let Some(topics) = &mut group.topics {
        topics.retain_mut(|topic| {
            let name = name_of(image, topic.topic_id);
            if name.is_none() {
                unknown.push(refused_topic(topic, ErrorCode::UnknownTopicId));
            }
            topic.name = name.unwrap_or_default();
            !topic.name.is_empty()
        });
    }
    unknown
}

/// Gives each topic its id. One that is no longer there has none, and is left out where all were asked for.
fn by_id(image: &MetadataImage, answer: &mut OffsetFetchResponseGroup, unknown: Vec<OffsetFetchResponseTopics>) {
    answer.topics.retain_mut(|topic| {
        if topic.topic_id.is_nil()
            && let Some(known) = image.topic_by_name(&topic.name)
        {
            topic.topic_id = known.id.0;
        }
        !topic.topic_id.is_nil()
    });
    if answer.error_code == ErrorCode::None.code() {
        answer.topics.extend(unknown);
    }
}
