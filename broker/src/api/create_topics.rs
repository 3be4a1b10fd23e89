//! CreateTopics: decided by the controller.

use broker_network::{Response, Responses};
use bytes::Bytes;
use protocol::messages::create_topics::{CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse};
use protocol::{ApiKey, ErrorCode};

use super::call::{BadRequest, Call};
use super::forward::{Client, forward, patience, wait_for_created};

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    // Decoded here too, so that nonsense closes its connection before it travels.
    let request: CreateTopicsRequest = call.decode()?;
    let slot = responses.push_later();
    let broker = call.broker.clone();
    let client = Client::of(call);
    let reply = call.reply;
    let body = Bytes::copy_from_slice(call.body);
    tokio::task::spawn_local(async move {
        let patience = patience(request.timeout_ms);
        match forward(&broker, &client, ApiKey::CreateTopics, reply.version, body, patience).await {
            Ok(answer) => {
                if !request.validate_only {
                    wait_for_created(&broker, reply.version, &answer).await;
                }
                let mut bytes = reply.start();
                bytes.extend_from_slice(&answer);
                slot.complete(Response::owned(bytes));
            }
            Err(error) => reply.answer_later(slot, &refused(&request, &error.to_string())),
        }
    });
    Ok(())
}

/// Retriable: the controller may be there in a moment.
fn refused(request: &CreateTopicsRequest, reason: &str) -> CreateTopicsResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| CreatableTopicResult {
            name: topic.name.clone(),
            error_code: ErrorCode::RequestTimedOut.code(),
            error_message: Some(reason.to_owned()),
            ..CreatableTopicResult::default()
        })
        .collect();
    CreateTopicsResponse {
        topics,
        ..CreateTopicsResponse::default()
    }
}
