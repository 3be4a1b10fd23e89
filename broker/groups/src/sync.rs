//! SyncGroup: the leader hands in the assignment, everyone is told its part once that is durable.
//! Source: Kafka's `GroupMetadataManager.classicGroupSyncToClassicGroup`.

use std::collections::HashMap;

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use crate::agenda::{Agenda, Pending};
use crate::exchange::{Context, Response, Ticket};
use crate::group::{Assigning, Group, Phase};
use crate::group_coordinator::GroupCoordinator;
use crate::ids::MemberId;
use crate::rebalance::sync_error;
use crate::timers::Timer;

/// From here on a member says which protocol it means.
const PROTOCOL_SINCE: i16 = 5;

impl GroupCoordinator {
    pub(crate) fn sync(&mut self, context: &Context<'_>, ticket: Ticket, request: SyncGroupRequest) {
        let checked = if request.group_id.is_empty() {
            Err(ErrorCode::InvalidGroupId)
        } else if context.version >= PROTOCOL_SINCE
            && (request.protocol_type.is_none() || request.protocol_name.is_none())
        {
            Err(ErrorCode::InconsistentGroupProtocol)
        } else if self.durable.consumer_group(&request.group_id).is_some() {
            return self.sync_with_consumer_group(ticket, &request);
        } else {
            self.groups
                .get_mut(request.group_id.as_str())
                .ok_or(ErrorCode::UnknownMemberId)
                .and_then(|group| check(group, &request).map(|()| group))
        };
        match checked {
            Ok(group) => sync_member(group, &mut self.agenda, ticket, request),
            Err(error) => self.agenda.reply(ticket, Response::Sync(sync_error(error))),
        }
    }
}

fn check(group: &Group, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
    group.check_member(&request.member_id, request.group_instance_id.as_deref())?;
    if request.generation_id != group.generation.0 {
        return Err(ErrorCode::IllegalGeneration);
    }
    let differs = |asked: &Option<String>, ours: &Option<String>| asked.is_some() && ours.is_some() && asked != ours;
    if differs(&request.protocol_type, &group.protocol_type) || differs(&request.protocol_name, &group.protocol) {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    Ok(())
}

fn sync_member(group: &mut Group, agenda: &mut Agenda, ticket: Ticket, request: SyncGroupRequest) {
    match group.phase {
        Phase::PreparingRebalance(_) => {
            agenda.reply(ticket, Response::Sync(sync_error(ErrorCode::RebalanceInProgress)));
        }
        Phase::CompletingRebalance(assigning) => {
            has_synced(group, agenda, &request.member_id);
            let is_leader = group.is_leader(&request.member_id);
            if let Some(member) = group.members.get_mut(request.member_id.as_str())
                && let Some(earlier) = member.awaiting_sync.replace(ticket)
            {
                agenda.reply(earlier, Response::Sync(sync_error(ErrorCode::RebalanceInProgress)));
            }
            if is_leader && assigning == Assigning::ByLeader {
                group.phase = Phase::CompletingRebalance(Assigning::ToLog);
                hand_in(group, agenda, request);
            }
        }
        Phase::Stable => {
            has_synced(group, agenda, &request.member_id);
            let assignment = group
                .members
                .get(request.member_id.as_str())
                .map(|member| member.assignment.clone())
                .unwrap_or_default();
            let response = SyncGroupResponse {
                error_code: ErrorCode::None.code(),
                protocol_type: group.protocol_type.clone(),
                protocol_name: group.protocol.clone(),
                assignment,
                ..SyncGroupResponse::default()
            };
            agenda.reply(ticket, Response::Sync(response));
        }
        Phase::Empty => agenda.reply(ticket, Response::Sync(sync_error(ErrorCode::UnknownMemberId))),
    }
}

fn has_synced(group: &mut Group, agenda: &mut Agenda, member: &str) {
    group.pending_sync.remove(member);
    if group.pending_sync.is_empty() {
        agenda.cancel(Timer::Sync(group.id.clone()));
    }
}

/// Writes the leader's assignment. Who is in the group and not in it gets an empty one.
fn hand_in(group: &Group, agenda: &mut Agenda, request: SyncGroupRequest) {
    let assignments: HashMap<MemberId, Bytes> = request
        .assignments
        .into_iter()
        .filter_map(|part| {
            let (id, _) = group.members.get_key_value(part.member_id.as_str())?;
            Some((id.clone(), part.assignment))
        })
        .collect();
    let record = group.to_record(&assignments);
    let then = Pending::Assignment {
        group: group.id.clone(),
        generation: group.generation,
        assignments,
    };
    agenda.write(vec![record], then);
}
