//! Admin requests travel to the controller as the bytes they came in, and this broker shows the result before it answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use control::AdminRequest;
use model::MetadataImage;
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest, CreateTopicsResponse};
use protocol::{ApiKey, ErrorCode, Message, Reader};

use super::call::Call;
use crate::context::{BrokerContext, METADATA_PATIENCE};
use crate::controller_link::LinkError;

/// There is no authentication yet; the controller is told what Kafka calls that.
const ANONYMOUS: &str = "User:ANONYMOUS";

/// What is said of the client to the controller.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) listener: Arc<str>,
    host: Arc<str>,
    name: String,
}

impl Client {
    pub(super) fn of(call: &Call<'_>) -> Self {
        Self {
            listener: Arc::clone(&call.connection.listener),
            host: Arc::clone(&call.connection.host),
            name: call.client_id.to_owned(),
        }
    }
}

/// Hands a request to the controller.
pub(super) async fn forward(
    broker: &BrokerContext,
    client: &Client,
    key: ApiKey,
    version: i16,
    body: Bytes,
    patience: Duration,
) -> Result<Bytes, LinkError> {
    let request = |session| AdminRequest {
        session,
        principal: ANONYMOUS.to_owned(),
        listener: client.listener.to_string(),
        client_id: client.name.clone(),
        client_host: client.host.to_string(),
        api_key: key.code(),
        api_version: version,
        body,
    };
    // While nobody may lead, nothing can be placed: that is the first moment of a cluster, and it passes.
    let placeable = |image: &MetadataImage| image.brokers().values().any(|broker| broker.is_eligible());
    broker
        .metadata
        .wait_for(patience.min(METADATA_PATIENCE), placeable)
        .await;
    let answer = broker.controller.forward(request, patience).await;
    if let Err(error) = &answer {
        tracing::warn!(api = %key, client = %client.host, %error, "an admin request got no answer from the controller");
    }
    answer
}

/// A timeout that a client gave in milliseconds, within reason.
pub(super) fn patience(timeout_ms: i32) -> Duration {
    Duration::from_millis(timeout_ms.clamp(100, 300_000) as u64)
}

/// Creates topics for a client that only mentioned them, and waits until this broker knows them.
pub(super) async fn create_and_wait(broker: &BrokerContext, client: &Client, topics: Vec<CreatableTopic>) {
    let request = CreateTopicsRequest {
        topics,
        ..CreateTopicsRequest::default()
    };
    let version = ApiKey::CreateTopics.api().accepted.max;
    let mut body = Vec::new();
    if let Err(error) = request.encode(&mut body, version) {
        tracing::error!(%error, "a request of our own cannot be encoded");
        return;
    }
    let sent = forward(
        broker,
        client,
        ApiKey::CreateTopics,
        version,
        Bytes::from(body),
        METADATA_PATIENCE,
    )
    .await;
    if let Ok(answer) = sent {
        wait_for_created(broker, version, &answer).await;
    }
}

/// Waits until this broker shows the topics that the controller says it made.
pub(super) async fn wait_for_created(broker: &BrokerContext, version: i16, answer: &[u8]) {
    let Ok(answer) = CreateTopicsResponse::decode(&mut Reader::new(answer), version) else {
        return;
    };
    let made = |error: i16| error == 0 || error == ErrorCode::TopicAlreadyExists.code();
    let names: Vec<&str> = answer
        .topics
        .iter()
        .filter(|topic| made(topic.error_code))
        .map(|topic| topic.name.as_str())
        .collect();
    let shown = broker
        .metadata
        .wait_for(METADATA_PATIENCE, |image| {
            names.iter().all(|name| image.topic_by_name(name).is_some())
        })
        .await;
    if !shown {
        tracing::warn!(?names, "created topics have not arrived here yet");
    }
}
