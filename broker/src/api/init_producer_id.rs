//! InitProducerId: an id for an idempotent producer. Every default producer asks for one before its first record.

use std::time::Duration;

use broker_network::Responses;
use model::ProducerId;
use protocol::ErrorCode;
use protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::call::{BadRequest, Call};

/// How long a client waits for the controller; afterwards it is told to try again.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: InitProducerIdRequest = call.decode()?;
    // Fatal for the producer, on purpose: nobody coordinates transactions yet, and waiting would change nothing.
    if request.transactional_id.is_some() {
        return call.answer(responses, &refused(ErrorCode::InvalidRequest));
    }
    // Only a transactional producer takes its id up again.
    if request.producer_id != -1 || request.producer_epoch != -1 {
        let both = request.producer_id != -1 && request.producer_epoch != -1;
        if !both {
            return call.answer(responses, &refused(ErrorCode::InvalidRequest));
        }
    }
    if let Some(id) = call.broker.producer_ids.at_hand() {
        return call.answer(responses, &granted(id));
    }
    let slot = responses.push_later();
    let broker = call.broker.clone();
    let reply = call.reply;
    tokio::task::spawn_local(async move {
        let body = match broker.producer_ids.wait(PATIENCE).await {
            Some(id) => granted(id),
            None => refused(ErrorCode::CoordinatorNotAvailable),
        };
        reply.answer_later(slot, &body);
    });
    Ok(())
}

fn granted(id: ProducerId) -> InitProducerIdResponse {
    InitProducerIdResponse {
        producer_id: id.0,
        producer_epoch: 0,
        ..InitProducerIdResponse::default()
    }
}

fn refused(error: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: error.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    }
}
