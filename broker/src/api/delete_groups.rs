//! DeleteGroups: groups without members, with all that they committed.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker_groups::{Request, Response};
use broker_network::Responses;
use parking_lot::Mutex;
use protocol::ErrorCode;
use protocol::messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use uuid::Uuid;

use super::call::{BadRequest, Call};
use crate::groups::Caller;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let mut request: DeleteGroupsRequest = call.decode()?;
    // A name that comes twice is deleted, and answered, once.
    let mut named = BTreeSet::new();
    request.groups_names.retain(|group| named.insert(group.clone()));
    if request.groups_names.is_empty() {
        return call.answer(responses, &DeleteGroupsResponse::default());
    }
    // Each group has a coordinator of its own; the last to answer completes the response.
    let missing = request.groups_names.len();
    let (slot, reply) = (responses.push_later(), call.reply);
    let results: Vec<DeletableGroupResult> = Vec::with_capacity(missing);
    let gathered = Arc::new(Mutex::new((results, Some(slot))));
    for group in request.groups_names {
        let caller = Caller {
            version: call.version(),
            client_id: call.client_id,
            host: &call.connection.host,
            fresh: Uuid::nil(),
        };
        let gathered = Arc::clone(&gathered);
        let name = group.clone();
        let answer = move |answer| {
            let error = match answer {
                Ok(Response::DeleteGroup(error)) | Err(error) => error,
                Ok(_) => ErrorCode::UnknownServerError,
            };
            let mut gathered = gathered.lock();
            gathered.0.push(DeletableGroupResult {
                group_id: name,
                error_code: error.code(),
            });
            if gathered.0.len() == missing
                && let Some(slot) = gathered.1.take()
            {
                let results = std::mem::take(&mut gathered.0);
                let body = DeleteGroupsResponse {
                    results,
                    ..DeleteGroupsResponse::default()
                };
                reply.answer_later(slot, &body);
            }
        };
        let request = Request::DeleteGroup(group.clone());
        call.broker.groups.submit(&caller, &group, request, Box::new(answer));
    }
    Ok(())
}
