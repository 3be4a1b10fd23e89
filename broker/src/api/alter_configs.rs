//! AlterConfigs and IncrementalAlterConfigs: decided by the controller.

use broker_network::{Response, Responses};
use bytes::Bytes;
use controller::admin::{AlterPlan, Alteration};
use protocol::messages::{alter_configs, incremental_alter_configs};
use protocol::{ApiKey, ErrorCode};

use super::call::{BadRequest, Call, ReplyTo};
use super::forward::{Client, forward};
use crate::context::{BrokerContext, METADATA_PATIENCE};

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let key = call.reply.api.key;
    // Decoded here too, so that nonsense closes its connection before it travels.
    let refusal = Refusal::of(call, key)?;
    let slot = responses.push_later();
    let broker = call.broker.clone();
    let client = Client::of(call);
    let reply = call.reply;
    let body = Bytes::copy_from_slice(call.body);
    tokio::task::spawn_local(async move {
        // The request names no timeout; the client's own is longer than this by default.
        match forward(&broker, &client, key, reply.version, body.clone(), METADATA_PATIENCE).await {
            Ok(answer) => {
                wait_for_altered(&broker, key, reply.version, &body).await;
                let mut bytes = reply.start();
                bytes.extend_from_slice(&answer);
                slot.complete(Response::owned(bytes));
            }
            Err(error) => refusal.answer(reply, slot, &error.to_string()),
        }
    });
    Ok(())
}

/// Waits until nothing of what could be changed is still to be changed here.
async fn wait_for_altered(broker: &BrokerContext, key: ApiKey, version: i16, body: &[u8]) {
    let image = broker.metadata.image();
    let Ok(plan) = AlterPlan::decode(&image, key, version, body) else {
        return;
    };
    if plan.validate_only {
        return;
    }
    let pending: Vec<Alteration> = plan
        .resources
        .into_iter()
        .filter_map(|resource| resource.plan.ok())
        .collect();
    drop(image);
    let shown = broker
        .metadata
        .wait_for(METADATA_PATIENCE, |image| {
            pending.iter().all(|alteration| alteration.is_done(image))
        })
        .await;
    if !shown {
        tracing::warn!("a changed configuration has not arrived here yet");
    }
}

/// What is answered when the controller cannot be asked: retriable, it may be there in a moment.
enum Refusal {
    Whole(Vec<(i8, String)>),
    Piecewise(Vec<(i8, String)>),
}

impl Refusal {
    fn of(call: &Call<'_>, key: ApiKey) -> Result<Self, BadRequest> {
        if key == ApiKey::AlterConfigs {
            let request: alter_configs::AlterConfigsRequest = call.decode()?;
            let named = request
                .resources
                .into_iter()
                .map(|r| (r.resource_type, r.resource_name));
            return Ok(Self::Whole(named.collect()));
        }
        let request: incremental_alter_configs::IncrementalAlterConfigsRequest = call.decode()?;
        let named = request
            .resources
            .into_iter()
            .map(|r| (r.resource_type, r.resource_name));
        Ok(Self::Piecewise(named.collect()))
    }

    fn answer(self, reply: ReplyTo, slot: broker_network::Slot, reason: &str) {
        let error_code = ErrorCode::RequestTimedOut.code();
        let error_message = Some(reason.to_owned());
        match self {
            Self::Whole(named) => {
                let responses = named.into_iter().map(|(resource_type, resource_name)| {
                    alter_configs::AlterConfigsResourceResponse {
                        error_code,
                        error_message: error_message.clone(),
                        resource_type,
                        resource_name,
                    }
                });
                let response = alter_configs::AlterConfigsResponse {
                    responses: responses.collect(),
                    ..alter_configs::AlterConfigsResponse::default()
                };
                reply.answer_later(slot, &response);
            }
            Self::Piecewise(named) => {
                let responses = named.into_iter().map(|(resource_type, resource_name)| {
                    incremental_alter_configs::AlterConfigsResourceResponse {
                        error_code,
                        error_message: error_message.clone(),
                        resource_type,
                        resource_name,
                    }
                });
                let response = incremental_alter_configs::IncrementalAlterConfigsResponse {
                    responses: responses.collect(),
                    ..incremental_alter_configs::IncrementalAlterConfigsResponse::default()
                };
                reply.answer_later(slot, &response);
            }
        }
    }
}
