//! DeleteTopics: decided by the controller.

use broker_network::{Response, Responses};
use bytes::Bytes;
use model::TopicId;
use protocol::messages::delete_topics::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use protocol::{ApiKey, ErrorCode, Message, Reader};

use super::call::{BadRequest, Call};
use super::forward::{Client, forward, patience};
use crate::context::{BrokerContext, METADATA_PATIENCE};

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: DeleteTopicsRequest = call.decode()?;
    let slot = responses.push_later();
    let broker = call.broker.clone();
    let client = Client::of(call);
    let reply = call.reply;
    let body = Bytes::copy_from_slice(call.body);
    tokio::task::spawn_local(async move {
        // Names now: after the deletion the ids say nothing.
        let doomed = ids(&broker, &request);
        let patience = patience(request.timeout_ms);
        match forward(&broker, &client, ApiKey::DeleteTopics, reply.version, body, patience).await {
            Ok(answer) => {
                wait_for_deleted(&broker, reply.version, &answer, &doomed).await;
                let mut bytes = reply.start();
                bytes.extend_from_slice(&answer);
                slot.complete(Response::owned(bytes));
            }
            Err(error) => reply.answer_later(slot, &refused(&request, &error.to_string())),
        }
    });
    Ok(())
}

/// The topics that are meant, as far as this broker knows them.
fn ids(broker: &BrokerContext, request: &DeleteTopicsRequest) -> Vec<TopicId> {
    let image = broker.metadata.image();
    let by_name = |name: &str| image.topic_by_name(name).map(|topic| topic.id);
    let named = request.topic_names.iter().filter_map(|name| by_name(name));
    let listed = request.topics.iter().filter_map(|topic| match &topic.name {
        Some(name) => by_name(name),
        None => Some(TopicId(topic.topic_id)),
    });
    named.chain(listed).collect()
}

async fn wait_for_deleted(broker: &BrokerContext, version: i16, answer: &[u8], doomed: &[TopicId]) {
    let Ok(answer) = DeleteTopicsResponse::decode(&mut Reader::new(answer), version) else {
        return;
    };
    // With a refusal among them it is not worth sorting out which: the client looks again anyway.
    if answer.responses.iter().any(|result| result.error_code != 0) {
        return;
    }
    let gone = broker
        .metadata
        .wait_for(METADATA_PATIENCE, |image| {
            doomed.iter().all(|id| image.topic(*id).is_none())
        })
        .await;
    if !gone {
        tracing::warn!(?doomed, "deleted topics are still shown here");
    }
}

/// Retriable: the controller may be there in a moment.
fn refused(request: &DeleteTopicsRequest, reason: &str) -> DeleteTopicsResponse {
    let result = |name: Option<String>, topic_id| DeletableTopicResult {
        name,
        topic_id,
        error_code: ErrorCode::RequestTimedOut.code(),
        error_message: Some(reason.to_owned()),
    };
    let named = request
        .topic_names
        .iter()
        .map(|name| result(Some(name.clone()), uuid::Uuid::nil()));
    let listed = request
        .topics
        .iter()
        .map(|topic| result(topic.name.clone(), topic.topic_id));
    DeleteTopicsResponse {
        responses: named.chain(listed).collect(),
        ..DeleteTopicsResponse::default()
    }
}
