//! Heartbeat: a member is alive, and learns whether it must join again.
//! Source: Kafka's `GroupMetadataManager.classicGroupHeartbeatToClassicGroup`.

use protocol::ErrorCode;
use protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use crate::exchange::{Response, Ticket};
use crate::group::Phase;
use crate::group_coordinator::GroupCoordinator;
use crate::rebalance;

impl GroupCoordinator {
    pub(crate) fn heartbeat(&mut self, ticket: Ticket, request: &HeartbeatRequest) {
        let error = self.heard(request).err().unwrap_or(ErrorCode::None);
        let response = HeartbeatResponse {
            error_code: error.code(),
            ..HeartbeatResponse::default()
        };
        if self.durable.consumer_group(&request.group_id).is_some() {
            self.agenda.reply_in_order(ticket, Response::Heartbeat(response));
        } else {
            self.agenda.reply(ticket, Response::Heartbeat(response));
        }
    }

    fn heard(&mut self, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        if self.durable.consumer_group(&request.group_id).is_some() {
            return self.heard_in_consumer_group(request);
        }
        let group = self
            .groups
            .get(request.group_id.as_str())
            .ok_or(ErrorCode::UnknownMemberId)?;
        group.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != group.generation.0 {
            return Err(ErrorCode::IllegalGeneration);
        }
        rebalance::heard_from(group, &mut self.agenda, &request.member_id);
        match group.phase {
            Phase::PreparingRebalance(_) => Err(ErrorCode::RebalanceInProgress),
            Phase::CompletingRebalance(_) | Phase::Stable => Ok(()),
            Phase::Empty => Err(ErrorCode::UnknownMemberId),
        }
    }
}
