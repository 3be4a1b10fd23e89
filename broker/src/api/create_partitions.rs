//! CreatePartitions: decided by the controller.

use broker_network::{Response, Responses};
use bytes::Bytes;
use protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use protocol::{ApiKey, ErrorCode, Message, Reader};

use super::call::{BadRequest, Call};
use super::forward::{Client, forward, patience};
use crate::context::{BrokerContext, METADATA_PATIENCE};

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: CreatePartitionsRequest = call.decode()?;
    let slot = responses.push_later();
    let broker = call.broker.clone();
    let client = Client::of(call);
    let reply = call.reply;
    let body = Bytes::copy_from_slice(call.body);
    tokio::task::spawn_local(async move {
        let patience = patience(request.timeout_ms);
        match forward(
            &broker,
            &client,
            ApiKey::CreatePartitions,
            reply.version,
            body,
            patience,
        )
        .await
        {
            Ok(answer) => {
                if !request.validate_only {
                    wait_for_grown(&broker, reply.version, &request, &answer).await;
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

/// Waits until this broker shows the partitions that the controller says it added.
async fn wait_for_grown(broker: &BrokerContext, version: i16, request: &CreatePartitionsRequest, answer: &[u8]) {
    let Ok(answer) = CreatePartitionsResponse::decode(&mut Reader::new(answer), version) else {
        return;
    };
    let grown = |name: &str| {
        answer
            .results
            .iter()
            .any(|result| result.name == name && result.error_code == 0)
    };
    let grown: Vec<_> = request.topics.iter().filter(|topic| grown(&topic.name)).collect();
    let shown = broker
        .metadata
        .wait_for(METADATA_PATIENCE, |image| {
            grown.iter().all(|topic| {
                // Deleted meanwhile: there is nothing to wait for.
                let there = image.topic_by_name(&topic.name);
                there.is_none_or(|there| there.partitions.len() as i64 >= i64::from(topic.count))
            })
        })
        .await;
    if !shown {
        tracing::warn!("added partitions have not arrived here yet");
    }
}

/// Retriable: the controller may be there in a moment.
fn refused(request: &CreatePartitionsRequest, reason: &str) -> CreatePartitionsResponse {
    let results = request.topics.iter().map(|topic| CreatePartitionsTopicResult {
        name: topic.name.clone(),
        error_code: ErrorCode::RequestTimedOut.code(),
        error_message: Some(reason.to_owned()),
    });
    CreatePartitionsResponse {
        results: results.collect(),
        ..CreatePartitionsResponse::default()
    }
}
