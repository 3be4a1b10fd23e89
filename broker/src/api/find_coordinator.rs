//! FindCoordinator: who coordinates a group or a transaction.

use broker_groups::coordinator::{self, CoordinatorType, FindError};
use broker_network::Responses;
use model::BrokerId;
use protocol::ErrorCode;
use protocol::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

use super::{BadRequest, Call};

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: FindCoordinatorRequest = call.decode()?;
    // Version 4 asks for many keys and is answered per key; before, there is one of each.
    if call.version() >= 4 {
        let coordinators = request
            .coordinator_keys
            .iter()
            .map(|key| find(call, request.key_type, key))
            .collect();
        return call.answer(
            responses,
            &FindCoordinatorResponse {
                coordinators,
                ..FindCoordinatorResponse::default()
            },
        );
    }
    let found = find(call, request.key_type, &request.key);
    let body = FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    };
    call.answer(responses, &body)
}

fn find(call: &Call<'_>, key_type: i8, key: &str) -> Coordinator {
    let found = CoordinatorType::try_from(key_type).and_then(|kind| coordinator::find(kind, key));
    let refused = |error: ErrorCode, message: String| Coordinator {
        key: key.to_owned(),
        node_id: -1,
        port: -1,
        error_code: error.code(),
        error_message: Some(message),
        ..Coordinator::default()
    };
    match found {
        Ok(found) => reachable(call, found.broker, key).unwrap_or_else(|| {
            refused(
                ErrorCode::CoordinatorNotAvailable,
                "the coordinator is not reachable by this listener".to_owned(),
            )
        }),
        Err(error @ FindError::NotAvailable(_)) => refused(ErrorCode::CoordinatorNotAvailable, error.to_string()),
        Err(error) => refused(ErrorCode::InvalidRequest, error.to_string()),
    }
}

fn reachable(call: &Call<'_>, broker: BrokerId, key: &str) -> Option<Coordinator> {
    let image = call.broker.metadata.image();
    let brokers = call.broker.brokers(&image, &call.connection.listener);
    let found = brokers.into_iter().find(|listed| listed.id == broker)?;
    Some(Coordinator {
        key: key.to_owned(),
        node_id: found.id.0,
        host: found.host,
        port: i32::from(found.port),
        error_message: None,
        ..Coordinator::default()
    })
}
