//! Who leads and who holds what: ElectLeaders, AlterPartitionReassignments and ListPartitionReassignments, all decided by
//! the controller.

use broker_network::{Response, Responses};
use bytes::Bytes;
use protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};
use protocol::messages::elect_leaders::{ElectLeadersRequest, ElectLeadersResponse};
use protocol::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use protocol::{ErrorCode, Message, Request};

use super::call::{BadRequest, Call};
use super::forward::{Client, forward, patience};

/// ElectLeaders.
pub(super) fn elect(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: ElectLeadersRequest = call.decode()?;
    pass_on(call, responses, &request, request.timeout_ms, |_| {
        ElectLeadersResponse {
            // Before version 1 it has no place; an answer without results is one that says nothing was elected.
            error_code: ErrorCode::RequestTimedOut.code(),
            ..ElectLeadersResponse::default()
        }
    });
    Ok(())
}

/// AlterPartitionReassignments.
pub(super) fn reassign(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: AlterPartitionReassignmentsRequest = call.decode()?;
    pass_on(call, responses, &request, request.timeout_ms, |reason| {
        AlterPartitionReassignmentsResponse {
            error_code: ErrorCode::RequestTimedOut.code(),
            error_message: Some(reason),
            ..AlterPartitionReassignmentsResponse::default()
        }
    });
    Ok(())
}

/// ListPartitionReassignments: the controller is asked, because this broker may be behind.
pub(super) fn list(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: ListPartitionReassignmentsRequest = call.decode()?;
    pass_on(call, responses, &request, request.timeout_ms, |reason| {
        ListPartitionReassignmentsResponse {
            error_code: ErrorCode::RequestTimedOut.code(),
            error_message: Some(reason),
            ..ListPartitionReassignmentsResponse::default()
        }
    });
    Ok(())
}

fn pass_on<R: Request>(
    call: &Call<'_>,
    responses: &mut Responses,
    _: &R,
    timeout_ms: i32,
    refused: impl FnOnce(String) -> R::Response + 'static,
) where
    R::Response: Message,
{
    let slot = responses.push_later();
    let broker = call.broker.clone();
    let client = Client::of(call);
    let reply = call.reply;
    let body = Bytes::copy_from_slice(call.body);
    tokio::task::spawn_local(async move {
        let patience = patience(timeout_ms);
        match forward(&broker, &client, R::KEY, reply.version, body, patience).await {
            Ok(answer) => {
                let mut bytes = reply.start();
                bytes.extend_from_slice(&answer);
                slot.complete(Response::owned(bytes));
            }
            Err(error) => reply.answer_later(slot, &refused(error.to_string())),
        }
    });
}
