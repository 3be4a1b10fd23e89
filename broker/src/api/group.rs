//! What all requests to one group have in common.

use broker_groups::{Request, Response};
use broker_network::Responses;
use controller_host::entropy::random_bytes;
use protocol::{ErrorCode, Message};
use uuid::Uuid;

use super::Call;
use crate::groups::{Answer, Caller};

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
    call.broker.groups.submit(call.broker, &caller, group, request, answer);
}

/// Chance for those that may need it; `None` if the system has none.
fn fresh(request: &Request) -> Option<Uuid> {
    if !matches!(request, Request::Join(_)) {
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
