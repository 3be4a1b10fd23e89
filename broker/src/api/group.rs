//! What all requests to one group have in common.

use broker_groups::{Request, Response};
use broker_network::Responses;
use controller_host::entropy::random_bytes;
use model::{MetadataImage, PartitionIndex, TopicId};
use protocol::{ErrorCode, Message};
use uuid::Uuid;

use super::call::Call;
use crate::groups::{Answer, Caller};

/// Everything is allowed as long as there is no authorizer: the operations that apply to a group, a bit each
/// (read, delete, describe, describe configs, alter configs).
pub(super) const OPERATIONS: i32 = 0b1101_0100_1000;

/// Hands a request to the coordinator of `group`, if that is here; `to_body` makes the response of what it says.
pub(super) fn submit<M: Message>(
    call: &Call<'_>,
    responses: &mut Responses,
    group: &str,
    request: Request,
    to_body: impl FnOnce(Result<Response, ErrorCode>) -> M + Send + 'static,
) {
    let (slot, reply) = (responses.push_later(), call.reply);
    let answer: Answer = Box::new(move |answer| reply.answer_later(slot, &to_body(answer)));
    let Some(fresh) = fresh(&request) else {
        return answer(Err(ErrorCode::CoordinatorNotAvailable));
    };
    let caller = Caller {
        version: call.version(),
        client_id: call.client_id,
        // As Java prints an address, which is what tools show.
        host: &format!("/{}", call.connection.host),
        fresh,
    };
    call.broker.groups.submit(&caller, group, request, answer);
}

/// The first version of OffsetCommit and OffsetFetch that names topics by id.
pub(super) const NAMES_TOPICS_BY_ID: i16 = 10;

/// The name of the topic with that id.
pub(super) fn name_of(image: &MetadataImage, id: Uuid) -> Option<String> {
    image.topic(TopicId(id)).map(|topic| topic.name.to_string())
}

/// Whether there is such a partition.
pub(super) fn exists(image: &MetadataImage, topic: &str, index: i32) -> bool {
    image
        .topic_by_name(topic)
        .is_some_and(|topic| topic.partition(PartitionIndex(index)).is_some())
}

/// Chance for those that may need it; `None` if the system has none.
fn fresh(request: &Request) -> Option<Uuid> {
    if !matches!(request, Request::Join(_) | Request::ConsumerHeartbeat(_)) {
        return Some(Uuid::nil());
    }
    match random_bytes() {
        Ok(bytes) => Some(uuid_of(bytes)),
        Err(error) => {
            tracing::error!(%error, "no random bytes for a member id");
            None
        }
    }
}

/// A random (version 4) UUID.
fn uuid_of(mut bytes: [u8; 16]) -> Uuid {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid::from_bytes(bytes)
}
